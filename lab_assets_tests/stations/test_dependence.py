"""What stations declare of dependence is what is seen when something that they read is altered, over the small laboratory.

A column that changes says so in ``feeds``; a group that changes is named by the relation of what was altered, and so noticed at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lab_assets.contracts.silver import INJECTIONS
from lab_assets.lake.changes import Changes
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.all_stations import STATIONS
from lab_assets.stations.features.histories import STORAGE_EXPOSURE_STATION
from lab_assets.stations.features.injection_progress import INJECTION_PROGRESS_STATION
from lab_assets.stations.gold.suitability import SUITABILITY_STATION
from lab_assets.stations.reading import StationReader
from lab_assets.stations.runner import update
from lab_assets.stations.silver.media import IMAGES_STATION
from lab_assets.stations.silver.peaks import PEAKS_STATION
from lab_assets.stations.silver.reference import LOTS_STATION, SAMPLES_STATION
from lab_assets.stations.silver.results import RESULTS_STATION
from lab_assets.stations.station import Input, Station, Touches
from lab_assets_tests.stations.altered import Observation, Trial, is_of_a_trace, missed_groups
from lab_assets_tests.stations.chromatography import injection
from lab_assets_tests.stations.rare_rows import put_corrections, put_rare_rows
from lab_assets_tests.stations.small_laboratory import opened, take, write_files

each_station = pytest.mark.parametrize("station", STATIONS, ids=lambda station: station.name)
each_input = pytest.mark.parametrize(
    ("station", "name"),
    [(station, each.name) for station in STATIONS for each in station.inputs],
    ids=lambda each: getattr(each, "name", each),
)
UNSEEN = {
    ("silver.peaks", "vendor_area_unit"): "no simulated vendor states one",
    ("silver.instruments", "injections"): "counts names, which are as many by other names",
    ("gold.exceptions", "kind"): "exceptions are matched by their kind",
    ("gold.exceptions", "owner_role"): "follows from the kind",
}
"""Columns that no alteration is seen to change, and why."""

Observe = Callable[[Station], tuple[Trial, list[Observation]]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("altered")


@pytest.fixture(scope="module")
def lake(home: Path) -> Iterator[Lakehouse]:
    """The small laboratory with corrections and rare rows; the tests of this file change nothing in it."""
    write_files(home / "lab" / "inbox")
    with opened(home / "lab") as lake:
        take(lake)
        put_corrections(lake)
        put_rare_rows(lake)
        yield lake


@pytest.fixture(scope="module")
def observed(lake: Lakehouse, home: Path) -> Observe:
    """Every alteration of what a station reads, tried once."""
    known: dict[str, tuple[Trial, list[Observation]]] = {}

    def observe(station: Station) -> tuple[Trial, list[Observation]]:
        if station.name not in known:
            trial = Trial(lake, station, home)
            known[station.name] = trial, trial.observe()
        return known[station.name]

    return observe


def not_declared(station: Station, observations: list[Observation]) -> list[str]:
    """Return what was altered and changed columns that it does not feed by what the station says."""
    return [
        f"{each.alteration} changes {column}"
        for each in observations
        for column in sorted(each.columns)
        if not each.alteration.sources & {*station.feeds[column]}
    ]


@each_station
def test_what_changes_a_column_is_among_what_feeds_it(observed: Observe, station: Station) -> None:
    _, observations = observed(station)
    found = not_declared(station, observations)
    assert not found, "add what was altered to the column's feeds:\n" + "\n".join(found)


def without_effect(station: Station, trial: Trial, observations: list[Observation]) -> list[str]:
    """Return the columns that no alteration of a declared source changes, unless what they hold stands in one of them as well."""
    return [
        name
        for name, sources in station.feeds.items()
        if not (station.within and name == station.within[0])
        and not any(name in each.columns and each.alteration.sources & {*sources} for each in observations)
        and not any(_is_copied(trial, name, source) for source in sources)
    ]


def _is_copied(trial: Trial, name: str, source: str) -> bool:
    """Return whether all that a column holds, and something it does, stands in a source."""
    made = trial.made[name].drop_nulls()
    table, _, column = source.rpartition(".")
    values = trial.frames[table][column].drop_nulls()
    if made.dtype == pl.Date and values.dtype.is_temporal():
        values = values.cast(pl.Date)
    return made.dtype in (pl.String, pl.Int64, pl.Date) and values.dtype == made.dtype and {*made} <= {*values} and not made.is_empty()


@each_station
def test_every_column_follows_from_what_is_said_to_feed_it(observed: Observe, station: Station) -> None:
    found = without_effect(station, *observed(station))
    unseen = [name for name in found if name not in station.target.primary_key]  # rows are matched by their key
    assert unseen == [name for table, name in UNSEEN if table == station.name], (
        f"{station.name}: no alteration of what feeds says changes {', '.join(unseen)}: name there all that it is worked out of; "
        "only where the small laboratory cannot show it, name it in UNSEEN and say why"
    )
    assert [name for name in found if not station.feeds[name]] == []


@each_station
def test_an_alteration_touches_every_group_that_it_changes(observed: Observe, station: Station) -> None:
    """What is altered is compared by the columns that are news: a change of one that is not among them is seen by nobody."""
    _, observations = observed(station)
    found = [f"{each.missed} group(s) missed: {each.alteration}" for each in observations if each.missed]
    assert not found, "the relation (touches) of what was altered does not name these groups, or the column is no news:\n" + "\n".join(
        found
    )


def missed_when_rows_come_or_go(trial: Trial, names: Sequence[str] = ()) -> list[str]:
    """Take every other row of each input away, or all of them, and give them back; return what is not touched though it changes.

    Args:
        trial: Of the station.
        names: Inputs; default: all.
    """
    found: list[str] = []
    for each in [each for each in trial.station.inputs if not names or each.name in names]:
        rows = trial.frames[each.name]
        for kept in (rows.gather_every(2), rows.gather_every(2, offset=1), rows.clear()):
            fewer = {**trial.frames, each.name: kept}
            made = trial.make(fewer)
            gone = missed_groups(trial, [each], fewer, made)
            back = missed_groups(trial, [each], trial.frames, made, before=fewer)
            found += [f"{count} group(s) missed when rows of {each.name} {did}" for count, did in ((gone, "go"), (back, "come")) if count]
    return found


@each_station
def test_rows_that_come_or_go_touch_every_group_that_changes(observed: Observe, station: Station) -> None:
    trial, _ = observed(station)
    assert missed_when_rows_come_or_go(trial) == []


@pytest.mark.parametrize("station", [RESULTS_STATION, INJECTION_PROGRESS_STATION], ids=lambda station: station.name)
def test_a_run_that_is_gone_is_looked_at(lakehouse: Lakehouse, station: Station) -> None:
    """Its name finds it no more; what was made of it would stand for ever."""
    lakehouse.append(INJECTIONS, lakehouse.local_rows(INJECTIONS, [injection("a", 1)]))
    assert update(lakehouse, station).groups == 1
    lakehouse.replace_where(INJECTIONS, lakehouse.local_rows(INJECTIONS, []), "injection_name = 'a'")
    assert update(lakehouse, station).groups == 1


def without_relation(station: Station) -> list[str]:
    return [each.name for each in station.inputs if each.touches is None]


@each_station
def test_every_input_has_a_relation(station: Station) -> None:
    assert without_relation(station) == [], "what changes in it would reach no group"


def no_news(station: Station) -> list[str]:
    """Return the columns that are read and by which a change is not noticed, but those that follow from the place of a trace."""
    unnoticed = [(each, name) for each in station.inputs for name in each.columns if name not in each.noticed_by]
    return [f"{each.name}.{name}" for each, name in unnoticed if not is_of_a_trace(each, name)]


@each_station
def test_a_change_of_any_column_that_is_read_is_news(station: Station) -> None:
    """Only what lies beside the points of a trace is left out: it follows from the file, and from where the trace stands in it."""
    assert no_news(station) == []
    assert {each.table.layer for each in station.inputs if each.news} <= {"bronze"}


# --- wrong declarations are noticed


def fed(station: Station, **feeds: tuple[str, ...]) -> Station:
    return replace(station, feeds={**station.feeds, **feeds})


def swapped(station: Station, one: str, other: str) -> Station:
    return fed(station, **{one: station.feeds[other], other: station.feeds[one]})


def with_input(station: Station, name: str, **changes: Any) -> Station:
    return replace(station, inputs=tuple(replace(each, **changes) if each.name == name else each for each in station.inputs))


@pytest.mark.parametrize(
    ("station", "one", "other"),
    [
        (LOTS_STATION, "customer", "product"),
        (SAMPLES_STATION, "stored_at_utc", "sampled_at_utc"),
        (IMAGES_STATION, "intensity_mean", "intensity_sd"),
        (PEAKS_STATION, "injection_id", "injection_name"),
        (STORAGE_EXPOSURE_STATION, "storage_mkt_c", "storage_gap_min"),
        (SUITABILITY_STATION, "tailing_max", "plates_min"),
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_swapped_sources_are_noticed(observed: Observe, station: Station, one: str, other: str) -> None:
    trial, observations = observed(station)
    wrong = swapped(station, one, other)
    assert not_declared(wrong, observations) or without_effect(wrong, trial, observations)


@each_station
def test_a_column_without_its_sources_is_noticed(observed: Observe, station: Station) -> None:
    trial, observations = observed(station)
    for name in station.feeds:
        if station.feeds[name] and (station.name, name) not in UNSEEN:
            assert name in without_effect(fed(station, **{name: ()}), trial, observations)


@each_station
def test_nearly_all_swapped_sources_are_noticed(observed: Observe, station: Station) -> None:
    """Two columns of the same sources but one may each be seen to follow from what they share."""
    trial, observations = observed(station)
    names = [name for name, sources in station.feeds.items() if sources]
    pairs = [(one, other) for one in names for other in names if one < other and not {*station.feeds[one]} & {*station.feeds[other]}]
    wrong = {pair: swapped(station, *pair) for pair in pairs}
    known = {*without_effect(station, trial, observations)}
    missed = [
        pair
        for pair, each in wrong.items()
        if not (not_declared(each, observations) or {*without_effect(each, trial, observations)} > known)
    ]
    assert len(missed) <= len(pairs) / 20, missed


def only_added(touches: Touches) -> Touches:
    """Return a relation that is blind to rows that are gone."""

    def touched(read: StationReader, changes: Changes) -> pl.DataFrame:
        return touches(read, Changes(added=changes.added, removed=changes.removed.clear()))

    return touched


@each_input
def test_a_relation_that_is_blind_to_rows_that_go_is_noticed(observed: Observe, station: Station, name: str) -> None:
    """Rows do go: a batch is undone, a table restored; what was made of them would stand for ever."""
    trial, _ = observed(station)
    touches = station.input(name).touches
    assert touches is not None
    blind = with_input(station, name, touches=only_added(touches))
    assert f"rows of {name} go" in " ".join(missed_when_rows_come_or_go(trial.of(blind), [name]))


@pytest.mark.parametrize("station", [LOTS_STATION, SUITABILITY_STATION], ids=lambda station: station.name)
def test_an_input_without_a_relation_is_noticed(lake: Lakehouse, home: Path, station: Station) -> None:
    for each in station.inputs:
        wrong = with_input(station, each.name, touches=None)
        assert without_relation(wrong) == [each.name]
        if len(station.inputs) > 1:
            assert missed_when_rows_come_or_go(Trial(lake, wrong, home)) != []


def _less(each: Input, column: str) -> tuple[str, ...]:
    return tuple(name for name in each.noticed_by if name != column)


@pytest.mark.parametrize(
    ("station", "table", "column"),
    [
        (LOTS_STATION, "bronze.lims_lots", "customer"),
        (SUITABILITY_STATION, "silver.peaks", "tailing"),
        (SUITABILITY_STATION, "silver.injections", "weight_mg"),
        (STORAGE_EXPOSURE_STATION, "silver.storage_conditions", "mkt_c"),
    ],
)
def test_a_column_that_is_no_news_is_noticed(lake: Lakehouse, home: Path, station: Station, table: str, column: str) -> None:
    wrong = with_input(station, table, news=_less(station.input(table), column))
    assert no_news(wrong) == [f"{table}.{column}"]
    missed = {source for each in Trial(lake, wrong, home).observe() if each.missed for source in each.alteration.sources}
    assert f"{table}.{column}" in missed


def test_a_place_of_traces_that_is_no_news_is_noticed() -> None:
    for column in PEAKS_STATION.input("bronze.chromatograms").news:
        wrong = with_input(PEAKS_STATION, "bronze.chromatograms", news=_less(PEAKS_STATION.input("bronze.chromatograms"), column))
        assert no_news(wrong) == [f"bronze.chromatograms.{column}"]
