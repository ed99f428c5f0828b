"""What stations declare is what they read, over a small simulated laboratory: no column more, none less, nothing whole that grows.

What holds what a tagged column holds carries its tags: masks follow the tags of a table's own columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pytest

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.bronze import LIMS_SAMPLES
from lab_assets.contracts.core import Column, Kind, TableContract
from lab_assets.contracts.silver import SAMPLES
from lab_assets.lake.changes import Changes
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.all_stations import STATIONS
from lab_assets.stations.reading import Read, StationReader, UndeclaredReadError
from lab_assets.stations.runner import StationError, all_groups, conformed, make_of
from lab_assets.stations.silver.reference import LOTS_STATION, SAMPLES_STATION
from lab_assets.stations.station import Input, Station, of
from lab_assets_tests.stations.rare_rows import put_rare_rows
from lab_assets_tests.stations.small_laboratory import opened, take, write_files

each_station = pytest.mark.parametrize("station", STATIONS, ids=lambda station: station.name)
TRIGGERS = {("silver.injections", "processing_id"), ("silver.process_events", "event_id")}
"""Columns that are watched, whether they are read or not: by the first the windows of a run changed (methods themselves touch nothing), by
the second two events of one kind and time are two."""
FOUND_BY = {("silver.documents", "certificate_id"), ("silver.documents", "instrument_id")}
"""Texts that a tagged one decides and none of which can hold what it holds: numbers of known certificates, looked for in a document."""
WHOLE = [(station, each) for station in STATIONS for each in station.inputs if each.reads == "whole"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """The small laboratory with every table made; the tests of this file change nothing in it."""
    home = tmp_path_factory.mktemp("declared") / "lab"
    write_files(home / "inbox")
    with opened(home) as lake:
        take(lake)
        put_rare_rows(lake)
        yield lake


def reader(lake: Lakehouse, station: Station) -> StationReader:
    return StationReader(lake, station, {each.name: lake.version(each.table) for each in station.inputs})


def everything(lake: Lakehouse, station: Station) -> list[Read]:
    """Find all groups of a station and make them; returns what was read for it."""
    read = reader(lake, station)
    conformed(station, make_of(station, read, all_groups(station, read)))
    return read.reads


@each_station
def test_every_declared_column_is_read_and_no_other(lake: Lakehouse, station: Station) -> None:
    """A column counts as read by make and relations, or where a relation cannot do without it in the rows that changed."""
    reads = everything(lake, station)
    for each in station.inputs:
        seen = {column for read in reads if read.table == each.name for column in read.columns}
        assert seen <= set(each.columns)
        unused = [name for name in each.noticed_by if name not in seen and not _is_needed(lake, station, each, name)]
        unused = [name for name in unused if (each.name, name) not in TRIGGERS]
        unused += [name for name in each.columns if name not in {*seen, *each.noticed_by}]
        assert unused == [], f"{each.name} is declared with columns that nothing reads"


def _is_needed(lake: Lakehouse, station: Station, each: Input, column: str) -> bool:
    """Whether the relation of an input fails without a column in the rows that changed."""
    if each.touches is None:
        return False
    rows = lake.polars(each.table, [name for name in each.noticed_by if name != column])
    try:
        each.touches(reader(lake, station), Changes(added=rows, removed=rows.clear()))
    except (pl.exceptions.ColumnNotFoundError, KeyError):
        return True
    return False


@each_station
def test_whole_reads_are_declared_and_declared_ones_are_made(lake: Lakehouse, station: Station) -> None:
    reads = [read for read in everything(lake, station) if read.table != station.name]
    assert {read.table for read in reads if read.whole} == {each.name for each in station.inputs if each.reads == "whole"}


@each_station
def test_every_column_says_what_it_is_made_from(station: Station) -> None:
    silent = [name for name in station.target.column_names if name not in station.feeds]
    assert not silent, f"name in feeds of {station.name} what these columns are worked out of: {', '.join(silent)}"
    assert [name for name in station.feeds if name not in station.target.column_names] == [], "in feeds, but no columns of the table"
    declared = {f"{each.name}.{column}" for each in station.inputs for column in each.columns}
    named = {source for sources in station.feeds.values() for source in sources}
    assert sorted(named - declared) == [], "named as a source, but not declared as read"


def untagged_copies(station: Station) -> list[str]:
    """Return what is to be done for each column that holds what a tagged one holds and lacks its tags.

    That is a text among whose sources a tagged column is, unless its words are a closed list, and a column of any other kind that is one
    tagged column of the same kind and nothing else. Numbers that are worked out of texts are free.
    """
    found: list[str] = []
    for column in station.target.columns:
        named = {source: source.rpartition(".") for source in station.feeds.get(column.name, ())}
        sources = {source: contracts()[table].column(name) for source, (table, _, name) in named.items()}
        holding = {source: each.tags for source, each in sources.items() if "string" in column.kind or _is_one(column, *sources.values())}
        lacking = {tag for tags in holding.values() for tag in tags if tag not in column.tags}
        if lacking and not column.allowed and (station.name, column.name) not in FOUND_BY:
            tags = "".join(f'"{tag}", ' for tag in (*column.tags, *sorted(lacking)))
            found.append(
                f"{station.name}.{column.name} is fed by {', '.join(source for source, carried in holding.items() if lacking & {*carried})}, tagged "
                f"{', '.join(sorted(lacking))}, and would show it unmasked. Write tags=({tags.strip()}) at {column.name} in the contract "
                f"of {station.name}. Only where it can never hold what the other holds, name it in FOUND_BY of this test and say why."
            )
    return found


def _is_one(column: Column, first: Column, *more: Column) -> bool:
    return column.kind == first.kind and not more


@each_station
def test_a_column_fed_by_a_tagged_one_carries_its_tags(station: Station) -> None:
    found = untagged_copies(station)
    assert not found, "\n".join(found)


def _without_tags(table: TableContract) -> TableContract:
    return replace(table, columns=tuple(replace(column, tags=()) for column in table.columns))


@pytest.mark.parametrize(
    ("kind", "sources", "write"),
    [
        ("string", ("analyst",), 'Write tags=("personal_name",) at analyst'),
        ("string", ("recorded_at_utc", "analyst"), 'Write tags=("personal_name",) at analyst'),
        ("array<string>", ("analyst",), 'Write tags=("personal_name",) at analyst'),
        ("map<string,int64>", ("analyst", "patient_initials"), 'Write tags=("patient", "personal_name",) at analyst'),
        ("int64", ("analyst",), None),
        ("bool", ("patient_initials",), None),
        ("string", ("sample_name",), None),
    ],
)
def test_a_text_fed_by_a_tagged_one_is_found(kind: Kind, sources: tuple[str, ...], write: str | None) -> None:
    """Whoever is named in the last record, in a list, or as a key is shown; how many there are is not who."""
    columns = tuple(replace(column, kind=kind, tags=()) if column.name == "analyst" else column for column in SAMPLES.columns)
    wrong = replace(SAMPLES_STATION, target=replace(SAMPLES, columns=columns), feeds={"analyst": of(LIMS_SAMPLES, *sources)})
    found = untagged_copies(wrong)
    assert len(found) == (write is not None)
    assert all(write in one for one in found if write)


def shown_untagged(lake: Lakehouse, station: Station) -> list[str]:
    """Make a station's rows; return the untagged texts that hold what a tagged column it reads holds, whatever it says feeds them."""
    tagged = [(each.table, name) for each in station.inputs for name in each.columns if each.table.column(name).tags]
    cells = [cell for table, name in tagged for cell in lake.polars(table, [name])[name].drop_nulls().unique()]
    hidden = {text for cell in cells for text in ([cell] if isinstance(cell, str) else cell) if len(text) >= 4}
    read = reader(lake, station)
    rows = conformed(station, make_of(station, read, all_groups(station, read)))
    texts = [column.name for column in station.target.columns if "string" in column.kind and not column.tags]
    return [name for name in texts if any(text in str(shown) for shown in rows[name].to_list() for text in hidden)]


@each_station
def test_no_untagged_text_shows_what_a_tagged_one_holds(lake: Lakehouse, station: Station) -> None:
    assert shown_untagged(lake, station) == [], "give these columns the tags of what they hold, and name it in feeds"


def test_a_name_that_feeds_are_silent_about_is_found(lake: Lakehouse) -> None:
    wrong = replace(SAMPLES_STATION, target=_without_tags(SAMPLES), feeds={"analyst": of(LIMS_SAMPLES, "sample_name")})
    assert untagged_copies(wrong) == []
    assert shown_untagged(lake, wrong) == ["analyst"]


@each_station
def test_every_input_feeds_a_column(station: Station) -> None:
    """An input that feeds nothing would be read for nothing, and lineage would not show it."""
    fed = {source.rpartition(".")[0] for sources in station.feeds.values() for source in sources}
    assert [each.name for each in station.inputs if each.name not in fed] == []


@each_station
def test_a_station_that_leaves_out_an_input_is_stopped(lake: Lakehouse, station: Station) -> None:
    groups = all_groups(station, reader(lake, station))
    for each in station.inputs:
        wrong = replace(station, inputs=tuple(other for other in station.inputs if other is not each))
        with pytest.raises(UndeclaredReadError, match=f"declares no input '{each.name}'"):
            _run_through(lake, wrong, groups)


@each_station
def test_a_station_that_leaves_out_a_column_is_stopped(lake: Lakehouse, station: Station) -> None:
    """The name of the column is in the message, whether it is asked for by name or missed in the rows."""
    some = all_groups(station, reader(lake, station)).head(40)
    missed: list[str] = []
    for each in station.inputs:
        for column in each.columns:
            if (each.name, column) in TRIGGERS:
                continue
            news = tuple(name for name in each.news if name != column)
            other = replace(each, columns=tuple(name for name in each.columns if name != column), news=news)
            wrong = replace(station, inputs=tuple(other if one is each else one for one in station.inputs))
            if column not in _stopped_by(lake, wrong, some):
                missed.append(f"{each.name}.{column}")
    assert missed == []


def _stopped_by(lake: Lakehouse, station: Station, groups: pl.DataFrame) -> str:
    """Return the error that stops a station; empty where none does."""
    try:
        _run_through(lake, station, groups)
    except (UndeclaredReadError, StationError) as error:
        return str(error)
    return ""


def _run_through(lake: Lakehouse, station: Station, groups: pl.DataFrame) -> None:
    read = reader(lake, station)
    all_groups(station, read)
    conformed(station, make_of(station, read, groups))


@pytest.mark.parametrize(("station", "each"), WHOLE, ids=[f"{station.name} {each.name}" for station, each in WHOLE])
def test_reading_all_of_a_table_that_is_declared_to_be_read_by_key_is_stopped(lake: Lakehouse, station: Station, each: Input) -> None:
    by_key = replace(each, reads="touched")
    wrong = replace(station, inputs=tuple(by_key if one is each else one for one in station.inputs))
    with pytest.raises(UndeclaredReadError, match=f"reads all of {each.name}, which it declares to read by key"):
        everything(lake, wrong)


def test_only_small_reference_tables_are_read_whole() -> None:
    """Documents are searched for numbers of certificates; the other two are lists that people keep."""
    assert {each.name for _, each in WHOLE} <= {"bronze.processing_methods", "bronze.documents", "bronze.calibrations"}
    assert {each.name for _, each in WHOLE} <= contracts().keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": (LOTS_STATION.inputs[0], LOTS_STATION.inputs[0])}, "an input is declared twice"),
        ({"inputs": (replace(LOTS_STATION.inputs[0], columns=("lot_id", "colour")),)}, "bronze.lims_lots has no column"),
        ({"group": replace(LOTS_STATION.group, columns=("colour",))}, "are not columns of the table"),
    ],
    ids=["an input twice", "an unknown column", "an unknown group column"],
)
def test_a_declaration_that_cannot_be_is_refused_at_once(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(LOTS_STATION, **changes)
