"""Small changes of what a station reads, one row at a time, and what became of the table: step by step, and made anew.

Belongs here: which rows are changed, how, and the comparison. Does not belong here: rows to be changed (``edge_rows.py``), changes of whole
columns (``alterations.py``), what is asserted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import polars as pl
import polars.selectors as cs

from lab_assets.contracts.bronze import CHAMBER_READINGS, CHROMATOGRAMS, LIMS_SEQUENCES
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.features import INSTRUMENT_HISTORY
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.lake.changes import Changes, difference
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations import reading
from lab_assets.stations.runner import StationError, conformed, make_of, touched_of
from lab_assets.stations.station import Input, Station, Touches
from lab_assets_tests.stations.alterations import Frames
from lab_assets_tests.stations.altered import FrameReader, frames_of, is_of_a_trace
from lab_assets_tests.stations.edge_rows import EDGE_CHAMBER, TRACED


@dataclass(frozen=True)
class Effort:
    """How much is tried of one input.

    Attributes:
        rows: Rows that are taken away, one at a time, and are seen to be missed.
        tries: Rows of which so many are looked for at most.
        ways: Changes of each column.
    """

    rows: int
    tries: int
    ways: int


USUAL: Final = Effort(rows=8, tries=60, ways=2)
LESS: Final = Effort(rows=7, tries=30, ways=1)
SLOW: Final = frozenset({"silver.peaks", "silver.results", "features.injection_progress", "features.instrument_history"})
"""Stations to which less is done: they take long."""

ONE_OF_A_KIND = frozenset({("silver.peaks", "analyte")})
"""Values that no other row near by has as well: an analyte names one peak of a channel."""
NEVER_EARLIER = "known_time_utc"
"""A time that is never moved back: nothing is known before it happened."""

Lines = tuple[tuple[str, int], ...]
"""By which lines of the stations a read came to be."""


class StandingReader(FrameReader):
    """Reads inputs and the standing table from frames.

    Attributes:
        seen: By which lines something was read.
        blind: Lines by which nothing is found.
    """

    def __init__(self, lake: Lakehouse, station: Station, frames: Frames, folder: Path, *, blind: Lines) -> None:
        super().__init__(lake, station, frames, folder)
        self.seen: set[Lines] = set()
        self.blind = blind

    def _read(self, table: TableContract, columns: Sequence[str], where: pl.Expr | None) -> pl.DataFrame:
        lines = _lines()
        self.seen.add(lines)
        return self.empty(table, columns) if lines == self.blind else super()._read(table, columns, where)


def _lines() -> Lines:
    """Return the lines of stations that are at work, the innermost first."""
    frame, found = sys._getframe(1), []
    while frame is not None:
        name = frame.f_globals["__name__"]
        if name.startswith("lab_assets.stations.") and name not in (reading.__name__, "lab_assets.stations.runner"):
            found.append((frame.f_code.co_name, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A small change and what came of it.

    Attributes:
        each: The input.
        how: What was changed.
        before: Its rows before.
        after: Its rows after.
        standing: The table before.
        differing: Groups that are others than before.
        wrong: Groups that are others made step by step than made anew.
    """

    each: Input
    how: str
    before: pl.DataFrame
    after: pl.DataFrame
    standing: pl.DataFrame
    differing: pl.DataFrame
    wrong: pl.DataFrame


@dataclass(frozen=True)
class State:
    """What is read, and what is made of it."""

    frames: Frames
    made: pl.DataFrame


class Net:
    """A station over its inputs as they are, under which small changes are made."""

    def __init__(self, lake: Lakehouse, station: Station, folder: Path) -> None:
        self.lake = lake
        self.station = station
        self.folder = folder
        self.frames = frames = _frames(lake, station)
        self.none = FrameReader(lake, station, frames, folder).empty(station.target, station.target.column_names)
        self.effort = LESS if station.name in SLOW else USUAL
        self.groups = self._groups(station.inputs, frames, self.none)
        self.standing = self._made(self.groups, frames, self.none)

    def reader(self, frames: Frames, standing: pl.DataFrame, blind: Lines = ()) -> StandingReader:
        """Return a reader of inputs and of a table that stands."""
        return StandingReader(self.lake, self.station, {**frames, self.station.name: standing}, self.folder, blind=blind)

    def made_anew(self, each: Input, frames: Frames) -> pl.DataFrame:
        """Make every group that there was, or that there is since one input changed."""
        return self._made(pl.concat([self.groups, self._groups([each], frames, self.standing)]).unique(), frames, self.standing)

    def _made(self, groups: pl.DataFrame, frames: Frames, standing: pl.DataFrame) -> pl.DataFrame:
        return conformed(self.station, make_of(self.station, self.reader(frames, standing), groups.sort(groups.columns)))

    def _groups(self, inputs: Iterable[Input], frames: Frames, standing: pl.DataFrame) -> pl.DataFrame:
        read = self.reader(frames, standing)
        found = [self.station.group.of(standing)]
        for each in inputs:
            rows = frames[each.name].select(each.noticed_by)
            found.append(touched_of(self.station, read, each, Changes(added=rows, removed=rows.clear())))
        return pl.concat(found, how="vertical_relaxed").drop_nulls().unique()

    def touched(self, read: StandingReader, tried: Tried, touches: Touches) -> pl.DataFrame:
        """Return the groups that a relation names for a change."""
        columns = list(tried.each.noticed_by)
        changes = difference(tried.after.select(columns), tried.before.select(columns))
        if changes.is_empty():
            return self.groups.clear()
        return touches(read, changes).select(self.station.group.names).drop_nulls().unique()

    def tried(self, each: Input) -> Iterator[Tried]:
        """Make small changes of one input, there and back; a change that makes no table is none.

        Rows are taken away first, until enough were missed. Columns are changed in these rows.
        """
        frame = self.frames[each.name]
        missed: list[int] = []
        tries = _chosen(each, frame)
        for at in tries[: self.effort.tries]:
            found = list(self._there_and_back(each, f"row {at} gone", _replaced(frame, at, frame.clear())))
            yield from found
            missed += [at] if any(one.differing.height for one in found) else []
            if len(missed) == self.effort.rows and each.table is not CHAMBER_READINGS:
                break
        ways = self.effort.ways
        some = missed or tries[: self.effort.rows]
        for number, name in enumerate(name for name in each.noticed_by if is_changed_by_row(each, name)):
            for way in range(ways):
                at = some[(number * ways + way) % len(some)]
                for how, after in islice(_altered(each.table, name, frame, at, number + way), 1):
                    yield from self._there_and_back(each, f"{name} of row {at} {how}", after)

    def _there_and_back(self, each: Input, how: str, after: pl.DataFrame) -> Iterator[Tried]:
        frames = {**self.frames, each.name: after}
        if not self._may_be(each, after):
            return
        try:
            made = self.made_anew(each, frames)
        except (StationError, ValueError):
            return
        here, there = State(self.frames, self.standing), State(frames, made)
        yield self._tried(each, how, here, there)
        yield self._tried(each, f"{how}, undone", there, here, with_rows=self.effort is USUAL)

    def _may_be(self, each: Input, rows: pl.DataFrame) -> bool:
        """Return whether rows go with the others: a run's row follows from its plan, and is on the instrument that its file states."""
        if self.station.name != INSTRUMENT_HISTORY.full_name:
            return True
        if each.table is INJECTIONS:
            return rows.filter(pl.col("stated_instrument_name") != pl.col("instrument_id")).is_empty()
        if each.table is not LIMS_SEQUENCES:
            return True
        of_run = ["injection_name", "method_id", "instrument_id"]
        last = [
            frame.sort("recorded_at_utc").group_by("injection_name").agg(pl.col(of_run[1:]).last())
            for frame in (rows, self.frames[each.name])
        ]
        return last[0].join(last[1], on=of_run, how="anti", nulls_equal=True).is_empty()

    def _tried(self, each: Input, how: str, before: State, after: State, *, with_rows: bool = True) -> Tried:
        """Compare; of slow stations rows are compared one way, groups both ways."""
        standing = before.made
        differing = self.station.group.of(difference(after.made, standing).both)
        rows, there = before.frames[each.name], after.frames[each.name]
        one = Tried(each=each, how=how, before=rows, after=there, standing=standing, differing=differing, wrong=differing)
        if differing.is_empty():
            return one
        assert each.touches is not None
        read = self.reader(after.frames, standing)
        touched = self.touched(read, one, each.touches)
        wrong = _without(differing, touched)
        if wrong.is_empty() and with_rows:
            part = conformed(self.station, make_of(self.station, read, touched.sort(touched.columns)))
            step_by_step = pl.concat([self._kept(standing, touched), part])
            wrong = self.station.group.of(difference(_rounded(after.made), _rounded(step_by_step)).both)
        return replace(one, wrong=wrong)

    def _kept(self, standing: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that stand in no touched group."""
        group = self.station.group
        if group.coalesce:
            return standing.with_columns(key=pl.coalesce(group.columns)).join(groups, on="key", how="anti").drop("key")
        return standing.join(groups, on=group.columns, how="anti")

    def missed(self, tried: Tried, touches: Touches, blind: Lines = ()) -> bool:
        """Return whether another relation, or one that is blind in a place, misses a group that differs."""
        read = self.reader({**self.frames, tried.each.name: tried.after}, tried.standing, blind)
        return _without(tried.differing, self.touched(read, tried, touches)).height > 0

    def places(self, tried: Tried) -> set[Lines]:
        """Return by which lines the relation reads something for a change."""
        assert tried.each.touches is not None
        read = self.reader({**self.frames, tried.each.name: tried.after}, tried.standing)
        self.touched(read, tried, tried.each.touches)
        return read.seen


def _frames(lake: Lakehouse, station: Station) -> Frames:
    """Return the declared columns of every input; the readings of one chamber, and the points of some traces."""
    frames = frames_of(lake, station)
    found = {each.name: frames[each.name] for each in station.inputs if each.table not in (CHAMBER_READINGS, CHROMATOGRAMS)}
    for each in station.inputs:
        if each.table is CHAMBER_READINGS:
            found[each.name] = lake.polars(each.table, list(each.columns), where=pl.col("chamber_id") == EDGE_CHAMBER)
        elif each.table is CHROMATOGRAMS:
            where = pl.col("injection_name").is_in(TRACED) if "y" in each.columns else None
            found[each.name] = lake.polars(each.table, list(each.columns), where=where)
    return found


def _rounded(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows without the last digits of sums, which depend on the order of what is added."""
    return rows.with_columns(cs.float().round_sig_figs(10))


def _without(groups: pl.DataFrame, touched: pl.DataFrame) -> pl.DataFrame:
    return groups.join(touched, on=groups.columns, how="anti")


def is_changed_by_row(each: Input, column: str) -> bool:
    """Return whether a column may change by itself.

    Points of traces, and what follows from their place, do not; nor do names in tables that are made: a row with another name is another
    row, and the one goes and the other comes.
    """
    if each.table.layer != "bronze" and column in {*each.table.primary_key, "injection_id", "injection_name"}:
        return False
    return each.table.column(column).kind != "array<float64>" and not is_of_a_trace(each, column)


def _chosen(each: Input, rows: pl.DataFrame) -> list[int]:
    """Return rows in the order in which they are tried, near ones not after one another.

    The first and the last ones in time come first, then others and those of a seldom kind by turns; of a chamber these of each day are all.
    """
    if each.table is CHAMBER_READINGS:
        return [at for at, hour in enumerate(rows["read_at_utc"].dt.hour()) if hour in (0, 23)]
    step = next((step for step in (13, 11, 7, 5, 3) if rows.height % step), 1)
    spread = [number * step % rows.height for number in range(rows.height)]
    moments = [name for name, kind in rows.schema.items() if kind.is_temporal() and rows[name].count()]
    outer = [at for name in moments for at in (rows[name].arg_max(), rows[name].arg_min()) if at is not None]
    kinds = [name for name, kind in rows.schema.items() if kind in (pl.String, pl.Int64, pl.Boolean) and rows[name].n_unique() <= 6]
    seldom = rows.select(pl.min_horizontal(pl.lit(rows.height), *(pl.len().over(name) for name in kinds)).alias("n"))["n"].arg_sort()
    return list(dict.fromkeys([*outer[:4], *chain.from_iterable(zip(seldom if kinds else spread, spread, strict=True))]))


def _replaced(rows: pl.DataFrame, at: int, by: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows[:at], by, rows[at + 1 :]])


def _altered(table: TableContract, name: str, rows: pl.DataFrame, at: int, way: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the rows with another value in a column of one: in its place, or by a record made later."""
    values = _others(table, name, rows, at)
    if not values:
        return
    value = values[way % len(values)]
    new = rows[at].with_columns(pl.lit(value, rows.schema[name]).alias(name))
    if way % 2 and "recorded_at_utc" in rows.columns and name != "recorded_at_utc":
        later = pl.coalesce("recorded_at_utc", pl.lit(_LATE)) + pl.duration(days=30)
        named = [pl.lit("zz.csv").alias(column) for column in ("source_file",) if column in rows.columns]
        yield f"recorded later as {value}", pl.concat([rows, new.with_columns(later, *named)])
    else:
        yield f"becomes {value}", _replaced(rows, at, new)


_LATE: Final = datetime(2025, 2, 1, tzinfo=UTC)


def _others(table: TableContract, name: str, rows: pl.DataFrame, at: int) -> list[Any]:
    """Return values that a column of a row may have instead: what another row has, a little more, across a midnight, nothing."""
    column, kind, value = table.column(name), rows.schema[name], rows[name][at]
    value = value.to_list() if isinstance(value, pl.Series) else value
    held = [other for other in rows[name].drop_nulls().unique(maintain_order=True).to_list() if other != value]
    other = held[at * 7 % len(held)] if held and (table.full_name, name) not in ONE_OF_A_KIND else None
    found: list[Any] = [other]
    if kind == pl.Boolean:
        found = [not value]
    elif kind.is_float():
        found = [(value or 1.0) * 1.5 + 0.1, other]
    elif kind.is_integer():
        found = [(value or 0) + 1, other]
    elif kind == pl.Date and value is not None:
        found = [value + timedelta(days=1), value - timedelta(days=1)]
    elif kind.is_temporal() and value is not None:
        midnight = value.replace(hour=0, minute=0, second=0, microsecond=0)
        found = [midnight - timedelta(minutes=1), midnight + timedelta(days=1), value + timedelta(minutes=20), other]
    if name == "injected_at_utc" and NEVER_EARLIER in rows.columns:
        found = [moment for moment in found if moment is not None and (value is None or moment < value)]
    if name == NEVER_EARLIER:
        found = [moment for moment in found if moment is not None and (value is None or moment > value)]
    if column.nullable:
        found.append(None)
    return [each for each in found if each is not None or (column.nullable and value is not None)]
