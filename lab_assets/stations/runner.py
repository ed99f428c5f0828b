"""Running stations: what is news, which groups it touches, what they are made of now, and one commit of what differs.

Belongs here: the one way in which a declared table is brought up to date or made anew. Does not belong here: declarations
(``all_stations.py``), formulas.

A run that is killed anywhere repeats its work: what was committed is found to stand already. Progress is noted last.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from lab_assets.lake.changes import difference as counted_difference
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.provenance import code_version
from lab_assets.state.database import utc_text
from lab_assets.state.station_work import EVERYTHING, MADE_ANEW, Attention
from lab_assets.stations.reading import StationReader
from lab_assets.stations.set_aside import counting_failures, fail_alone, key_text, keys_named, may_set_aside, note_done, to_try_again
from lab_assets.stations.station import Input, Station
from lab_assets.stations.writing import replace_groups, rows_of

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.contracts.core import TableContract
    from lab_assets.lake.changes import Changes

_DEFINITION: Final = "#definition"
"""Key in a station's progress under which the definition is kept that the table was last made by."""


class StationError(RuntimeError):
    """A station made rows that cannot be of its table."""


@dataclass(kw_only=True)
class StationOutcome:
    """What a station did.

    Attributes:
        station: Its name.
        version: Version of the table afterwards.
        news: Rows that changed, by input.
        groups: Groups that were looked at.
        changed: Groups whose rows differ from what stood.
        rows: Rows written.
        anew: Why everything was made anew; empty when only news was worked on.
        made_first: Tables that it rests on and that were made anew before it, each with the reason; in flow order.
        set_aside: Groups that runs fail on and that were left out, by key, each with the reason.
    """

    station: str
    version: int = 0
    news: dict[str, int] = field(default_factory=dict[str, int])
    groups: int = 0
    changed: int = 0
    rows: int = 0
    anew: str = ""
    made_first: dict[str, str] = field(default_factory=dict[str, str])
    set_aside: dict[str, str] = field(default_factory=dict[str, str])

    def words(self) -> str:
        """Return what was done, for people."""
        aside = [f"{len(self.set_aside)} group(s) set aside: 'lab run aside' says why"] if self.set_aside else []
        return "; ".join([*words_of_made_first(self.made_first), self._own_words(), *aside])

    def _own_words(self) -> str:
        if self.anew:
            return f"made anew ({self.anew}): {self.changed} of {self.groups} group(s) differed, {self.rows} row(s) written"
        if not self.news and not self.groups:
            return "no news"
        counts = ", ".join(f"{count} row(s) of {name}" for name, count in self.news.items())
        return f"news: {counts}; {self.groups} group(s) looked at, {self.changed} differed, {self.rows} row(s) written"


def update(
    lake: Lakehouse,
    station: Station,
    *,
    run_id: str = "",
    rebuild: bool = False,
    say: Callable[[str], None] = lambda _line: None,
) -> StationOutcome:
    """Bring a table up to date with its inputs; those that wait to be made anew are made first.

    Args:
        lake: Tables.
        station: Its declaration.
        run_id: Run that the commits name.
        rebuild: Make every group anew, whether there is news or not.
        say: Given progress of long work.

    Raises:
        StationError: make gave rows of the wrong shape, or two of one key.
    """
    with only_one(lake, station.name), counting_failures(lake, station.name):
        return _update(lake, station, run_id=run_id, rebuild=rebuild, say=say)


def _update(lake: Lakehouse, station: Station, *, run_id: str, rebuild: bool, say: Callable[[str], None]) -> StationOutcome:
    outcome = StationOutcome(station=station.name)
    begun = utc_text()
    versions, outcome.made_first = settled_versions(lake, [each.table for each in station.inputs], run_id=run_id, say=say)
    read = StationReader(lake, station, versions)
    attention = lake.ledger.attention(station.name)
    outcome.anew = _why_anew(lake, station, attention, rebuild=rebuild)
    anew = {MADE_ANEW: lake.version(station.target)} if outcome.anew else {}
    keys = all_groups(station, read) if outcome.anew else _touched(station, read, outcome, to_try_again(lake, station.name, attention))
    outcome.groups = keys.height
    derivation = Derivation(inputs=versions, run_id=run_id, code_version=code_version(), station=str(station.version))
    lenient, aside = may_set_aside(lake, station.name), dict[str, str]()
    for done, portion in _portions(keys, station.at_once):
        aside |= _work_through(station, read, portion, outcome, derivation, lenient=lenient)
        if keys.height > station.at_once:
            say(f"{station.name}: {done} of {keys.height} group(s)")
    outcome.set_aside = _settle(lake, station, outcome, keys, aside)  # before the progress: a run killed in between forgets nothing
    lake.ledger.set_progress(station.name, versions | {_DEFINITION: definition(station)} | anew)
    if attention:
        lake.ledger.attended(station.name, attention, asked_by=begun)
    outcome.version = lake.version(station.target)
    return outcome


def settled_versions(
    lake: Lakehouse, tables: Sequence[TableContract], *, run_id: str = "", say: Callable[[str], None] = lambda _line: None
) -> tuple[dict[str, int], dict[str, str]]:
    """Return the latest versions of some tables, none of which rests on a table that waits to be made anew; such are made first.

    A table that was set back is not what its inputs make of it: who reads it takes what it lacks for the truth (incident: the lots were
    set back, the dispositions alone were materialised, and all of them were gone). Ordinary news of the tables is left to their own runs.
    Bronze has no such mark: nothing in the lake makes it, and setting it back means what it then holds.

    A table is marked before it is set back: versions read before a look that finds no mark were not read of one set back meanwhile.
    Locks are taken against the flow, of a table before those that it rests on, so that no two processes wait for one another.

    Args:
        lake: Tables.
        tables: What will be read.
        run_id: Run that the commits name.
        say: Given what is made, and progress of long work.

    Returns:
        Versions by name, and the tables that were made anew, each with the reason, in flow order.
    """
    from lab_assets.stations.all_stations import stations, upstream

    above = upstream({table.full_name for table in tables})
    made: dict[str, str] = {}
    marked = lake.ledger.to_make_anew(above)
    while True:
        for name in (name for name in above if name in marked):
            say(f"{name} is made anew first: {marked[name]}")
            try:
                made |= update(lake, stations()[name], run_id=run_id, say=say).made_first
            except Exception as error:
                error.add_note(
                    f"{name} waits to be made anew ({marked[name]}), and what rests on it is not made before; "
                    f"'lab table rebuild {name}' makes it when the cause is mended"
                )
                raise
            made[name] = marked[name]
        versions = lake.versions(tables)
        if not (marked := lake.ledger.to_make_anew(above)):
            return versions, made


def words_of_made_first(made: Mapping[str, str]) -> list[str]:
    """Return, for people, which tables were made anew before what was asked for."""
    return [f"{name} was made anew first: {reason}" for name, reason in made.items()]


def has_news(lake: Lakehouse, station: Station) -> bool:
    """Return whether a station would look at anything."""
    known = lake.ledger.progress(station.name)
    moved = any(known.get(each.name, 0) != lake.version(each.table) for each in station.inputs)
    return moved or bool(lake.ledger.attention(station.name)) or known.get(_DEFINITION, definition(station)) != definition(station)


def mark_anew(lake: Lakehouse, names: Sequence[str], reason: str) -> None:
    """Ask stations to make their tables anew at their next run."""
    lake.ledger.call_attention([Attention(station=name, kind=EVERYTHING, reason=reason) for name in names])


def definition(station: Station) -> int:
    """Return a number that changes with the station's version and with the columns of its contract."""
    stated = f"{station.version}|{station.within}|{','.join(f'{column.name}:{column.kind}' for column in station.target.columns)}"
    return int.from_bytes(hashlib.sha256(stated.encode()).digest()[:6], "big")


def _why_anew(lake: Lakehouse, station: Station, attention: Sequence[tuple[str, str]], *, rebuild: bool) -> str:
    if rebuild:
        return "asked for"
    if any(kind == EVERYTHING for kind, _ in attention):
        return "the table was set back or an interrupted write left it"
    known = lake.ledger.progress(station.name)
    if known and known.get(_DEFINITION) != definition(station):
        return "its definition changed"
    return ""


def all_groups(station: Station, read: StationReader) -> pl.DataFrame:
    """Return every group that any row of the inputs touches or that the table holds."""
    import polars as pl

    from lab_assets.lake.changes import Changes

    found = [station.group.of(read.lake.polars(station.target, sorted({*station.group.columns, *station.group.also})))]
    for each in station.inputs:
        if each.touches is not None:
            rows = read.lake.polars(each.table, list(each.noticed_by), version=read.versions[each.name])
            found.append(touched_of(station, read, each, Changes(added=rows, removed=rows.clear())))
    return pl.concat(found, how="vertical_relaxed").drop_nulls().unique().sort(station.group.names)


def _touched(station: Station, read: StationReader, outcome: StationOutcome, again: Sequence[str]) -> pl.DataFrame:
    """Return the groups that news touches, with those that were set aside and are tried again, and note the news."""
    import polars as pl

    known = read.lake.ledger.progress(station.name)
    found = [station.group.of(read.empty(station.target, station.target.column_names))]
    if again:
        found.append(keys_named(station, found[0], again))
    for each in station.inputs:
        since, until = known.get(each.name, 0), read.versions[each.name]
        if since == until:
            continue
        changes = read.lake.changes(each.table, each.noticed_by, since=since, until=until)
        if changes.is_empty():
            continue
        outcome.news[each.name] = changes.added.height or changes.removed.height
        if each.touches is not None:
            found.append(touched_of(station, read, each, changes))
    return pl.concat(found, how="vertical_relaxed").drop_nulls().unique().sort(station.group.names)


def touched_of(station: Station, read: StationReader, given: Input, changes: Changes) -> pl.DataFrame:
    """Return the groups that changed rows of an input touch; none where a change of this input alone touches nothing.

    Raises:
        StationError: the relation asks for a column that the input does not declare.
    """
    if given.touches is None:
        return station.group.of(read.empty(station.target, station.target.column_names))
    with _naming_missed_columns(station, f"the relation of {given.name}"):
        return given.touches(read, changes).select(station.group.names)


def make_of(station: Station, read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of some groups as the station makes them.

    Raises:
        StationError: make asks for a column that no input declares.
    """
    with _naming_missed_columns(station, "make"):
        return station.make(read, keys)


@contextmanager
def _naming_missed_columns(station: Station, part: str) -> Iterator[None]:
    """Turn the error about a column that is not in the rows into one that says where it is declared."""
    import polars as pl

    try:
        yield
    except (KeyError, pl.exceptions.ColumnNotFoundError) as error:
        said = str(error).partition("\n")[0]
        quoted = re.search(r"""["']([^"']+)["']""", said)
        column = quoted[1] if quoted else said
        raise StationError(
            f"{station.name}: {part} asks for {column!r}, which it has not read; declare it among the input's columns"
        ) from error


def _portions(keys: pl.DataFrame, at_once: int) -> Iterator[tuple[int, pl.DataFrame]]:
    for start in range(0, keys.height, at_once):
        portion = keys.slice(start, at_once)
        yield start + portion.height, portion


def _work_through(
    station: Station, read: StationReader, keys: pl.DataFrame, outcome: StationOutcome, derivation: Derivation, *, lenient: bool
) -> dict[str, str]:
    """Make some groups; where enough runs failed, all but those that fail alone.

    Returns:
        Groups that are set aside, by their key as text, each with the reason.
    """
    if not lenient:
        _work(station, read, keys, outcome, derivation)
        return {}
    found = fail_alone(range(keys.height), lambda some: _work(station, read, keys[some[0] : some[-1] + 1], outcome, derivation))
    return {key_text(keys.row(at, named=True)): reason for at, reason in found.items()}


def _settle(lake: Lakehouse, station: Station, outcome: StationOutcome, keys: pl.DataFrame, aside: Mapping[str, str]) -> dict[str, str]:
    """Note what is set aside, and return all of the table that is."""
    tried: set[str] = set()
    if any(each.key for each in lake.ledger.set_aside(station.name)):
        tried = {key_text(row) for row in keys.iter_rows(named=True)}
    note_done(lake, station.name, aside, tried=lambda key: bool(outcome.anew) or key in tried)
    return {each.key: each.reason for each in lake.ledger.set_aside(station.name)}


def _work(station: Station, read: StationReader, keys: pl.DataFrame, outcome: StationOutcome, derivation: Derivation) -> None:
    """Make some groups, and commit those that differ from what stands."""
    lake = read.lake
    made = conformed(station, make_of(station, read, keys))
    standing = _standing(station, read, keys, made)
    changed, replaced = difference(station, made, standing)
    if changed.is_empty():
        return
    rows = rows_of(station, made, changed)
    outcome.changed += changed.height
    outcome.rows += rows.height
    if replaced:
        replace_groups(lake, station, rows, changed, derivation)
    elif rows.height:
        lake.append(station.target, rows.to_arrow(), derivation=derivation)


def _standing(station: Station, read: StationReader, keys: pl.DataFrame, made: pl.DataFrame) -> pl.DataFrame:
    """Return what the groups have now, in the types of what was made."""
    import polars as pl

    where = station.group.where(keys)
    if station.within is not None:
        where = where & (pl.col(station.within[0]) == station.within[1])
    rows = read.lake.polars(station.target, list(station.target.column_names), where=where)
    if len(station.group.columns) > 1 and not station.group.coalesce:
        rows = rows.join(keys, on=station.group.columns, how="semi")
    return rows.cast(dict(made.schema))  # pyright: ignore[reportArgumentType]


def conformed(station: Station, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with exactly the columns and types of the table.

    Raises:
        StationError: a column is missing, has another type, or two rows have one key.
    """
    import polars as pl

    contract = station.target
    schema = dict(pl.DataFrame(pl.from_arrow(contract.arrow_schema().empty_table())).schema)
    if missing := [name for name in contract.column_names if name not in rows.columns]:
        raise StationError(f"{station.name}: make gave no column(s) {missing}")
    try:
        made = rows.select(contract.column_names).cast(schema)  # pyright: ignore[reportArgumentType]
    except pl.exceptions.PolarsError as error:
        raise StationError(f"{station.name}: make gave columns of other types: {error}") from error
    key = list(contract.primary_key)
    if key and made.height and made.select(key).is_duplicated().any():
        twice = made.filter(made.select(key).is_duplicated()).select(key).row(0)
        raise StationError(f"{station.name}: make gave two rows of the key {dict(zip(key, twice, strict=True))}")
    return made


def difference(station: Station, made: pl.DataFrame, standing: pl.DataFrame) -> tuple[pl.DataFrame, bool]:
    """Return the groups whose rows differ, and whether rows stand in any of them.

    A row that stands more often than it was made differs as well: another program may have written it again.
    """
    columns = made.columns
    new = made.join(standing, on=columns, how="anti", nulls_equal=True)
    old = standing.join(made, on=columns, how="anti", nulls_equal=True)
    # rows of different keys are made once each: those on both sides are as many on either, or some stand more than once
    if made.height - new.height != standing.height - old.height or not station.target.primary_key:
        counted = counted_difference(made, standing)
        new, old = counted.added, counted.removed
    if new.is_empty() and old.is_empty():
        return station.group.of(made.clear()), False
    changed = station.group.of(new.vstack(old))
    held = station.group.of(standing)
    replaced = changed.join(held, on=station.group.names, how="semi").height > 0
    return changed.sort(station.group.names), replaced


@contextmanager
def only_one(lake: Lakehouse, name: str) -> Iterator[None]:
    """See that one process at a time works on a table: two would both find the same rows missing."""
    folder = lake.settings.run / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"station.{name}.lock"):
        yield
