"""Stations run over altered inputs: which columns of the target change, and which groups.

Belongs here: reading altered rows, matching what was made before and after. Does not belong here: alterations (``alterations.py``), what is
asserted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from lab_assets.compute.protocol import FileRows
from lab_assets.contracts.bronze import CHROMATOGRAMS
from lab_assets.contracts.core import TableContract
from lab_assets.domain.in_force import RECENCY
from lab_assets.lake.changes import Changes, difference
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.reading import StationReader
from lab_assets.stations.runner import conformed, make_of, touched_of
from lab_assets.stations.station import Input, Station
from lab_assets.stations.traces import TRACE_POINTS
from lab_assets_tests.stations.alterations import MARK, Alteration, Frames, alterations


@dataclass(frozen=True)
class FrameRows:
    """A frame in the place of a version of a table."""

    frame: pl.DataFrame

    def whole(self) -> pl.LazyFrame:
        return self.frame.lazy()

    def where(self, condition: pl.Expr) -> pl.LazyFrame:
        return self.frame.lazy().filter(condition)


class FrameReader(StationReader):
    """Reads what a station declares from frames in the place of its inputs."""

    def __init__(self, lake: Lakehouse, station: Station, frames: Frames, folder: Path) -> None:
        super().__init__(lake, station, {each.name: 0 for each in station.inputs})
        self.frames = frames
        self.folder = folder
        self._inputs.update({name: FrameRows(frame) for name, frame in frames.items()})

    def files(self, table: TableContract, columns: Mapping[str, str], **keys: Iterable[Any]) -> FileRows:
        """Write the frame to a file and say which of its rows are meant."""
        self._declared(table, list(columns), keys, whole=False)
        path = self.folder / f"{uuid4().hex}.parquet"
        self.frames[table.full_name].write_parquet(path)
        where = {name: list(values) for name, values in keys.items()}
        return FileRows(files=[str(path)], schema=table.arrow_schema(), columns=columns, where=where, constants={"table": table.name})


def frames_of(lake: Lakehouse, station: Station) -> Frames:
    """Return the declared columns of every input of a station; of traces that are worked on point by point one in three."""
    frames = {each.name: lake.polars(each.table, list(each.columns)) for each in station.inputs}
    name = CHROMATOGRAMS.full_name
    return frames | ({name: frames[name].gather_every(3)} if name in frames and "y" in frames[name].columns else {})


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What an alteration did.

    Attributes:
        alteration: What was altered.
        columns: Columns of the target that changed in rows of the same key.
        missed: How many groups changed that no relation names for it.
    """

    alteration: Alteration
    columns: frozenset[str]
    missed: int


class Trial:
    """A station over its inputs as they are, against which alterations are seen."""

    def __init__(self, lake: Lakehouse, station: Station, folder: Path) -> None:
        self.lake = lake
        self.station = station
        self.folder = folder
        self.frames = frames_of(lake, station)
        self.groups = self._groups_of(self.frames)
        self.made = self.make(self.frames)

    def of(self, station: Station) -> Trial:
        """Return the same trial of a station that makes the same rows and differs in what it declares."""
        other = copy(self)
        other.station = station
        return other

    def observe(self) -> list[Observation]:
        """Make the station's rows once for each alteration of its inputs, and say what became of them."""
        return [self._observed(alteration) for alteration in alterations(self.station)]

    def _observed(self, alteration: Alteration) -> Observation:
        after = alteration.apply(self.frames)
        made = self.make(after)
        columns = changed_columns(self.station, self.made, made)
        missed = missed_groups(self, self.station.inputs, after, made) if is_news_at_all(self.station, alteration) else 0
        return Observation(alteration=alteration, columns=frozenset(columns), missed=missed)

    def make(self, frames: Frames) -> pl.DataFrame:
        """Make every group there is in some inputs, or was in the unaltered ones."""
        groups = self.groups if frames is self.frames else pl.concat([self.groups, self._groups_of(frames)]).unique()
        return conformed(self.station, make_of(self.station, self.reader(frames), groups.sort(groups.columns)))

    def reader(self, frames: Frames) -> FrameReader:
        """Return a reader of some inputs."""
        return FrameReader(self.lake, self.station, frames, self.folder)

    def touched(self, each: Input, before: Frames, after: Frames) -> pl.DataFrame:
        """Return the groups that the relation of an input names when the inputs go from one state to another."""
        columns = list(each.noticed_by)
        changes = difference(after[each.name].select(columns), before[each.name].select(columns))
        return touched_of(self.station, self.reader(after), each, changes)

    def _groups_of(self, frames: Frames) -> pl.DataFrame:
        read = self.reader(frames)
        rows = {each: frames[each.name] for each in self.station.inputs}
        found = [touched_of(self.station, read, each, Changes(added=new, removed=new.clear())) for each, new in rows.items()]
        return pl.concat(found).drop_nulls().unique()


def is_news_at_all(station: Station, alteration: Alteration) -> bool:
    """Return whether an alteration is one of rows that may change: not of what lies beside the points of a trace."""
    return not any(is_of_a_trace(station.input(table), column) for table, column in alteration.columns)


def is_of_a_trace(each: Input, column: str) -> bool:
    """Return whether a column follows from the place of its trace: files are read once, and never change."""
    points = any(each.table.column(name).kind == "array<float64>" for name in each.columns)
    return points and column in {*TRACE_POINTS, *RECENCY} - {"source", "source_sha256", "ingest_batch"}


def missed_groups(trial: Trial, inputs: Iterable[Input], after: Frames, made: pl.DataFrame, before: Frames | None = None) -> int:
    """Return how many groups differ and are not named by the relations of some inputs.

    Args:
        trial: Of the station.
        inputs: Those whose relations are asked.
        after: What the inputs are afterwards.
        made: What is made of them.
        before: What they were; default: as they are in the laboratory.
    """
    before = trial.frames if before is None else before
    differing = trial.station.group.of(difference(trial.made, made).both)
    found = [trial.touched(each, before, after) for each in inputs if not before[each.name].equals(after[each.name])]
    touched = pl.concat([trial.groups.clear(), *found], how="vertical_relaxed")
    return differing.join(touched, on=differing.columns, how="anti").height


STAND_INS = {"silver.injections": ("injection_name",), "silver.results": ("result_id", "known_time_utc")}
"""Keys that rows are matched by where the table's own is worked out of what is altered, or numbers what comes and goes."""
_COUNTING = ("step_no",)
"""Numbers in a key that count its rows: where there are more or fewer, they have changed."""
_WORKED_OUT = ("processing_id",)
"""Names that are worked out of what is altered: matched by order, as times and numbers are."""


def changed_columns(station: Station, before: pl.DataFrame, after: pl.DataFrame) -> set[str]:
    """Return the columns in which rows of the same key differ.

    Rows are the same whose keys are, names with and without a mark alike; times and numbers in a key are matched by their order. A number
    by which a key counts changes where there are more or fewer rows to be counted.
    """
    key = STAND_INS.get(station.name, station.target.primary_key)
    names = [name for name in key if before.schema[name] == pl.String and name not in _WORKED_OUT]
    others = [name for name in key if name not in names]
    old, new = _numbered(before, names, others), _numbered(after, names, others)
    found: set[str] = set()
    counts = [name for name in others if name in _COUNTING]
    if counts and _sizes(old, names).join(_sizes(new, names), on=_keys(names)).filter(pl.col("__of") != pl.col("__of_right")).height:
        found.add(counts[-1])
    alike = old.join(new, on=[*_keys(names), "__no", "__of"], suffix="__after")
    # where rows came or went, those of one time or number are the same
    exact = [pl.col(name).alias(f"__{name}") for name in others]
    same = [*_keys(names), *_keys(others)]
    apart = old.with_columns(exact).join(new.with_columns(exact), on=same, suffix="__after").filter(pl.col("__of") != pl.col("__of__after"))
    matched = pl.concat([alike, apart.select(alike.columns)])
    differs = matched.select(_differs(name, before.schema[name]).any() for name in before.columns)
    return found | {name for name in before.columns if differs[name].item()}


def _sizes(rows: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    return rows.select(*_keys(names), "__of").unique()


def _differs(name: str, kind: pl.DataType) -> pl.Expr:
    """Return whether a value changed; a number by more than the order in which others were added up."""
    old, new = pl.col(name), pl.col(f"{name}__after")
    if not kind.is_float():
        return old.ne_missing(new).alias(name)
    is_far = (old - new).abs() > 1e-9 * pl.max_horizontal(old.abs(), 1.0)
    return (old.is_null().ne(new.is_null()) | is_far.fill_null(value=False)).alias(name)


def _keys(names: list[str]) -> list[str]:
    return [f"__{name}" for name in names]


def _numbered(rows: pl.DataFrame, names: list[str], others: list[str]) -> pl.DataFrame:
    plain = [pl.col(name).str.replace_all(MARK, "", literal=True).alias(f"__{name}") for name in names]
    keys = _keys(names)
    sized = rows.with_columns(plain).sort([*keys, *others])
    return sized.with_columns(pl.int_range(pl.len()).over(keys).alias("__no"), pl.len().over(keys).alias("__of"))
