"""A small change of any input of any station leaves the table as a rebuild makes it: every relation reaches as far as it has to.

Rows are changed one at a time, so that no other change touches what a relation forgets. A relation is known to be exercised where one
that reads less is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl
import pytest

from lab_assets.lake.changes import Changes
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.all_stations import STATIONS, stations
from lab_assets.stations.reading import StationReader
from lab_assets.stations.relations import injections_of_windows
from lab_assets.stations.station import Station, Touches, keys_of, touched_by
from lab_assets_tests.stations.edge_rows import put_edges, write_edge_files
from lab_assets_tests.stations.rare_rows import put_corrections, put_rare_rows
from lab_assets_tests.stations.small_changes import Net, Tried
from lab_assets_tests.stations.small_laboratory import opened, take

each_input = pytest.mark.parametrize(
    ("station", "name"),
    [(station, each.name) for station in STATIONS for each in station.inputs],
    ids=lambda each: getattr(each, "name", each),
)
NARROWS = frozenset({"without_own_standards"})
"""What is read only to name less: a relation that is blind there names more."""
REACHES_FARTHER = {
    ("silver.results", "bronze.lims_samples"): (1, "a run that no worklist names has no standards, and so no result"),
    ("silver.results", "bronze.lims_lots"): (1, "likewise"),
    ("silver.results", "bronze.specifications"): (1, "likewise"),
    ("silver.results", "bronze.processing_methods"): (1, "likewise"),
    ("features.injection_progress", "silver.injections"): (2, "that a run is measured against earlier standards shows test_look_back.py"),
    ("features.injection_progress", "bronze.lims_sequences"): (3, "no run stood in two worklists"),
    ("features.injection_progress", "bronze.processing_methods"): (2, "standards are by the method of their first samples"),
    ("features.instrument_history", "silver.injections"): (2, "methods and instruments of runs near by are read to name less"),
    ("features.injection_progress", "silver.peaks"): (2, "no standard by whose peaks others are measured was on several instruments"),
    ("features.instrument_history", "bronze.lims_sequences"): (3, "the last runs before one that comes are found by its own row as well"),
    ("features.instrument_history", "bronze.processing_methods"): (4, "later runs of the instrument are touched by any"),
}
"""Of some relations how many reads are for what the laboratory at hand does not show, and why."""

Found = Callable[[Station], tuple[Net, dict[str, list[Tried]]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """Every small change of what a station reads, tried once."""
    home = tmp_path_factory.mktemp("small")
    write_edge_files(home / "lab" / "inbox")
    known: dict[str, tuple[Net, dict[str, list[Tried]]]] = {}
    with opened(home / "lab") as lake:
        fill(lake)

        def find(station: Station) -> tuple[Net, dict[str, list[Tried]]]:
            if station.name not in known:
                net = Net(lake, station, home)
                known[station.name] = net, {each.name: [one for one in net.tried(each) if one.differing.height] for each in station.inputs}
            return known[station.name]

        yield find


def fill(lake: Lakehouse) -> None:
    take(lake)
    put_edges(lake)
    put_corrections(lake)
    put_rare_rows(lake)


@each_input
def test_a_small_change_leaves_what_a_rebuild_makes(found: Found, station: Station, name: str) -> None:
    """Step by step and anew, row by row."""
    _, tried = found(station)
    assert tried[name], f"no change exercises input {name} of {station.name}: give edge_rows.py rows on which its table rests"
    wrong = [f"{one.how}: {one.wrong.rows()[:3]}" for one in tried[name] if one.wrong.height]
    assert not wrong, f"the relation (touches) of {name} does not name these groups of {station.name}:\n" + "\n".join(wrong)


def not_noticed(net: Net, tried: list[Tried]) -> list[str]:
    """Return the reads of a relation without which it still names all that changes."""
    touches = tried[0].each.touches
    assert touches is not None
    places = {place for one in tried for place in net.places(one) if not NARROWS & {function for function, _ in place}}
    return [
        " < ".join(f"{function}:{line}" for function, line in place)
        for place in sorted(places)
        if not any(net.missed(one, touches, place) for one in tried)
    ]


@each_input
def test_a_relation_that_reads_less_is_noticed(found: Found, station: Station, name: str) -> None:
    net, tried = found(station)
    unseen = not_noticed(net, tried[name])
    allowed, _ = REACHES_FARTHER.get((station.name, name), (0, ""))
    assert len(unseen) <= allowed, f"no change of {name} shows what {station.name} reads these for:\n" + "\n".join(unseen)


# --- wrong relations are noticed


def days_beside(*offsets: int) -> Touches:
    """Return the relation of chamber readings, with other days beside."""

    def touches(_read: StationReader, changes: Changes) -> pl.DataFrame:
        days = changes.both.select("chamber_id", day=pl.col("read_at_utc").dt.date())
        return pl.concat([days.with_columns(pl.col("day") + pl.duration(days=offset)) for offset in offsets]).unique()

    return touches


def runs_of_windows(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Name the runs of changed methods without those beside them."""
    return keys_of(injections_of_windows(read, ["injection_id"], changes.both), {"injection_id": "key"})


def stored_after(read: StationReader, changes: Changes) -> pl.DataFrame:
    """Name the samples that lay in a chamber on a changed day, but not those that were put into it on that day."""
    station = stations()["features.storage_exposure"]
    samples = read.keyed(
        station.inputs[0].table, ["sample_name", "chamber_id", "stored_at_utc", "sampled_at_utc"], chamber_id=changes.both["chamber_id"]
    )
    stored = samples.drop_nulls(["stored_at_utc", "sampled_at_utc"]).join(changes.both.select("chamber_id", "day"), on="chamber_id")
    lay = pl.col("day").is_between(pl.col("stored_at_utc").dt.date(), pl.col("sampled_at_utc").dt.date(), closed="right")
    return stored.filter(lay).select("sample_name").unique()


def failed_now(_read: StationReader, changes: Changes) -> pl.DataFrame:
    """Name the instruments of changed certificates that failed, whatever an earlier record said."""
    return changes.both.filter(pl.col("outcome") == "fail").select(kind=pl.lit("calibration"), subject="instrument_id").unique()


def of_standards_only(_read: StationReader, changes: Changes) -> pl.DataFrame:
    """Name the sequences of first standards."""
    return keys_of(changes.both.filter(pl.col("sample_role") == "suitability"), ["sequence_id"])


@pytest.mark.parametrize(
    ("station", "name", "wrong"),
    [
        ("silver.storage_conditions", "bronze.chamber_readings", days_beside(0, 1)),
        ("silver.storage_conditions", "bronze.chamber_readings", days_beside(-1, 0)),
        ("silver.results", "bronze.processing_methods", runs_of_windows),
        ("silver.results", "silver.injections", touched_by(key="injection_id")),
        ("silver.results", "silver.peaks", touched_by(key="injection_id")),
        ("features.lot_history", "silver.results", touched_by(lot_id="lot_id")),
        ("features.storage_exposure", "silver.storage_conditions", stored_after),
        ("features.injection_progress", "silver.injections", touched_by(injection_id="injection_id", injection_name="injection_name")),
        ("features.instrument_history", "silver.injections", touched_by(injection_id="injection_id", instrument_id="instrument_id")),
        ("gold.exceptions", "bronze.calibrations", failed_now),
        ("gold.method_trends", "silver.results", touched_by(result_id="result_id")),
        ("gold.suitability", "silver.injections", of_standards_only),
    ],
)  # fmt: skip
def test_a_relation_that_reaches_too_short_is_noticed(found: Found, station: str, name: str, wrong: Touches) -> None:
    net, tried = found(stations()[station])
    assert any(net.missed(one, wrong) for one in tried[name])
