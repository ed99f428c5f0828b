"""Alterations of what a station reads, by which tests find out what depends on what.

Belongs here: which columns are altered together, and how. Does not belong here: running stations (``altered.py``), what is asserted.

Names of things are altered alike wherever they stand, so that the same rows still meet; anything else is altered column by column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import polars as pl

from lab_assets.contracts.bronze import LIMS_EVENTS
from lab_assets.contracts.core import Column
from lab_assets.stations.station import Station

MARK: Final = "~"
"""What is put behind a name; no simulated name has it."""
_UNITS: Final = {"min": "s", "s": "min", "mAU": "AU", "AU": "mAU", "bar": "psi", "psi": "bar", "%": "mg/mL"}
"""Known units, each with another one that is known as well."""
_ALIKE: Final = (
    ("sample_name", "stated_sample_name", "retest_of"),
    ("method_id", "method_name", "stated_method_name"),
    ("instrument_id", "instrument_name", "stated_instrument_name"),
    ("certificate_id", "calibration_id"),
    ("analyte", "reference_analyte"),
)
"""Columns that name things of one kind, by different words."""
_NAMES: Final = frozenset(
    {
        *(
            "injection_id",
            "injection_name",
            "injected_at_text",
            "source",
            "source_sha256",
            "source_file",
            "sequence_id",
            "lot_id",
            "product",
        ),
        *("channel", "processing_id", "chamber_id", "event_id", "result_id", "column_id", "parameter", "signal"),
    }
)
_ORDERING: Final = frozenset(
    {
        "ingest_batch",
        "path_revision",
        "revises_revision",
        "source_row",
        "result_version",
        "superseded_by",
        "page",
        "peak_no",
        "point_no",
        "position",
    }
)
"""Whole numbers by which rows are told apart or put in order; other numbers are measured."""

_WORDS: Final = {"event": LIMS_EVENTS.column("event").allowed}
"""Closed lists that tables made from others do not repeat."""

Columns = frozenset[tuple[str, str]]
Frames = Mapping[str, pl.DataFrame]


@dataclass(frozen=True, kw_only=True)
class Alteration:
    """One change of what is read.

    Attributes:
        columns: Table and column of everything that is altered.
        how: What is done to the values.
        of: From old values to new ones.
    """

    columns: Columns
    how: str
    of: Callable[[pl.Expr], pl.Expr]

    @property
    def sources(self) -> frozenset[str]:
        """What is altered, as ``feeds`` names it."""
        return frozenset(f"{table}.{column}" for table, column in self.columns)

    @property
    def tables(self) -> frozenset[str]:
        """Tables that are altered."""
        return frozenset(table for table, _ in self.columns)

    def apply(self, frames: Frames) -> Frames:
        """Return what is read, altered."""
        changed: dict[str, list[pl.Expr]] = {}
        for table, column in sorted(self.columns):
            changed.setdefault(table, []).append(self.of(pl.col(column)).cast(frames[table].schema[column]).alias(column))
        return {**frames, **{table: frames[table].with_columns(every) for table, every in changed.items()}}

    def __str__(self) -> str:
        return f"{', '.join(sorted(self.sources))} {self.how}"


def alterations(station: Station) -> Iterator[Alteration]:
    """Yield what can be altered of the inputs of a station; every column that it declares is among it."""
    told: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    for each in station.inputs:
        for name in each.columns:
            if kin := kin_of(name):
                told.setdefault(kin, set()).add((each.name, name))
                continue
            for how, of in _ways(each.table.column(name)):
                yield Alteration(columns=frozenset({(each.name, name)}), how=how, of=of)
    for columns in told.values():
        yield Alteration(columns=frozenset(columns), how="renamed", of=lambda value: value + pl.lit(MARK))


def kin_of(column: str) -> tuple[str, ...]:
    """Return the columns that name things of the same kind as one does; none where it is no name."""
    return next((alike for alike in _ALIKE if column in alike), (column,) if column in _NAMES else ())


Way = tuple[str, Callable[[pl.Expr], pl.Expr]]


def _ways(column: Column) -> list[Way]:
    """Return what can be done to the values of one column."""
    if column.kind == "string":
        return _ways_of_text(column)
    ways = _BY_KIND[column.kind]
    if column.name in _ORDERING:
        ways = [("farther apart", lambda value: value * 3 + 1)]
    elif column.name == "x":
        ways = [("stretched towards the end", lambda value: value.list.eval(_towards_the_end(0.05)))]
    elif column.name.startswith("spec_"):  # limits of other rows might be crossed, which is refused
        ways = ways[:1]
    elif column.kind == "timestamp_utc" and column.nullable:
        ways = [*ways, ("unknown now and then", lambda value: pl.when(_ROW % 3 > 0).then(value))]
    return ways


def _ways_of_text(column: Column) -> list[Way]:
    if words := _WORDS.get(column.name, column.allowed):
        forth = dict(zip(words, (*words[1:], words[0]), strict=True))
        back = {after: before for before, after in forth.items()}
        return [("the next word", lambda value: value.replace(forth)), ("the word before", lambda value: value.replace(back))][
            : len(words) - 1
        ]
    if column.name.endswith("unit"):
        return [("another unit", lambda value: value.replace_strict(_UNITS, default=value + pl.lit(MARK)))]
    digits, others = [*"0123456789"], [*"1234567890"]
    return [("said differently", lambda value: value.str.replace_many(digits, others) + pl.lit(MARK))]


def _towards_the_end(by: float) -> pl.Expr:
    return pl.element() * (1 + by * pl.int_range(pl.len()) / pl.len())


_ROW: Final = pl.int_range(pl.len())
_BY_KIND: Final[Mapping[str, list[Way]]] = {
    "bool": [("the other way round", lambda value: ~value)],
    # by row, or ratios of them would stay as they are
    "float64": [
        ("measured differently", lambda value: value * (1.01 + 0.02 * (_ROW % 5)) + 0.001),
        ("of other rows", lambda value: value.reverse()),
    ],
    "int64": [("counted differently", lambda value: value + 1 + _ROW % 2)],
    "timestamp_utc": [
        ("somewhat farther apart", lambda value: value + pl.duration(minutes=7) + (value - value.min()) * 0.002),
        ("days later by row", lambda value: value + pl.duration(days=1 + _ROW * 7 % 9)),
    ],
    "date": [("a day later", lambda value: value + timedelta(days=1))],
    "array<float64>": [("higher towards the end", lambda value: value.list.eval(_towards_the_end(0.5)))],
    "array<string>": [("said differently", lambda value: value.list.eval(pl.element().str.replace_all("1", "2") + pl.lit(MARK)))],
}
