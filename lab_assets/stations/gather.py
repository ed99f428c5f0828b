"""Gathering what the facts of some runs are made of: by a station for many runs, by the service for one, at any versions of the tables.

Belongs here: which rows are read for runs. Does not belong here: how they are read (each caller brings a reader), what follows from them
(``lab_assets.features.run_facts``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

from lab_assets.contracts.bronze import LIMS_LOTS, LIMS_SAMPLES, LIMS_SEQUENCES, PROCESSING_METHODS, SPECIFICATIONS
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.domain.in_force import RECENCY, Row
from lab_assets.domain.processing_methods import METHOD_COLUMNS, WINDOW_COLUMNS, ProcessingMethods
from lab_assets.domain.run_context import LOT_COLUMNS, PLAN_COLUMNS, SAMPLE_COLUMNS, STANDARD_ROLES, LimsRecords, sample_names
from lab_assets.domain.specifications import LIMIT_COLUMNS, Specifications
from lab_assets.features.run_facts import (
    LAST_STANDARDS,
    STANDARD_PEAK_COLUMNS,
    STANDARDS_LOOKBACK,
    RunBook,
    RunIdentity,
    SeenRun,
    standard_from,
)

if TYPE_CHECKING:
    import polars as pl


_NEVER: Final = datetime.max.replace(tzinfo=UTC)
LOOKED_BACK: Final = (timedelta(days=20), STANDARDS_LOOKBACK)
"""How far back an instrument's standards are looked for, until there are enough."""
LONGEST_RUN: Final = timedelta(days=2)
"""No run takes longer."""
RUN_COLUMNS: Final = (
    *("injection_id", "injection_name", "source", "instrument_id", "method_id", "sample_role", "injected_at_utc", "known_time_utc"),
    *("stated_sample_name", "stated_method_name", "stated_instrument_name", "instrument_changed_at_utc"),
)
PEAK_COLUMNS: Final = ("injection_id", "injection_name", "processing_id", *STANDARD_PEAK_COLUMNS)
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    LIMS_SEQUENCES.full_name: (*PLAN_COLUMNS, *RECENCY),
    LIMS_SAMPLES.full_name: (*SAMPLE_COLUMNS, *RECENCY),
    LIMS_LOTS.full_name: (*LOT_COLUMNS, *RECENCY),
    SPECIFICATIONS.full_name: (*LIMIT_COLUMNS, *RECENCY),
    PROCESSING_METHODS.full_name: tuple(dict.fromkeys((*METHOD_COLUMNS, *WINDOW_COLUMNS, *RECENCY))),
    INJECTIONS.full_name: RUN_COLUMNS,
    PEAKS.full_name: PEAK_COLUMNS,
}
"""Columns read of each table."""


class KeyedReader(Protocol):
    """Reads rows of tables by key, each caller at its own versions."""

    def keyed(self, table: TableContract, columns: Sequence[str] | None = None, **keys: Iterable[Any]) -> pl.DataFrame:
        """Return the rows whose columns hold one of the given values."""
        ...

    def rows(self, table: TableContract, columns: Sequence[str] | None = None, *, where: pl.Expr | None = None) -> pl.DataFrame:
        """Return the rows that a condition holds for; all without one."""
        ...


def gather(read: KeyedReader, runs: Sequence[RunIdentity], *, until: datetime | None = None) -> RunBook:
    """Gather everything that the facts of some runs are made of.

    Args:
        read: Reads the tables of ``COLUMNS``.
        runs: The runs; they need not be in the tables yet.
        until: Moment up to which runs have been seen; default: for each run that is in the tables its own end.
    """
    import polars as pl

    gathered = _of_sequences(read, runs)
    alone = _alone(gathered, runs, until)
    before = _standards_before(read, gathered, alone)
    plans = pl.concat([gathered.plans, before.plans]).unique(maintain_order=True)
    stated = [run.stated_sample_name for run in runs]
    samples = read.keyed(LIMS_SAMPLES, COLUMNS[LIMS_SAMPLES.full_name], sample_name=sample_names(plans.iter_rows(named=True), stated))
    lot_ids = [*samples["lot_id"].to_list(), *(run.stated_lot_id for run in runs)]
    lots = read.keyed(LIMS_LOTS, COLUMNS[LIMS_LOTS.full_name], lot_id=[lot for lot in lot_ids if lot])
    return RunBook(
        LimsRecords(*(frame.iter_rows(named=True) for frame in (plans, samples, lots))),
        gathered.methods,
        Specifications(read.keyed(SPECIFICATIONS, COLUMNS[SPECIFICATIONS.full_name], product=lots["product"]).iter_rows(named=True)),
        {seen.run.injection_id: seen for seen in (*gathered.seen, *before.seen)}.values(),
        is_of_moment=bool(alone) or any(run.instrument_id is None for run in runs),
    )


def without_own_standards(read: KeyedReader, runs: Sequence[RunIdentity]) -> list[str]:
    """Return the injections among some that are, or once were, measured against earlier standards of their instrument.

    These are the runs whose own sequence had no standard yet, as the records of then or of later say. Reads what ``gather`` does.
    """
    return [run.injection_id for run, _, _ in _alone(_of_sequences(read, runs), runs, None)]


@dataclass(frozen=True, kw_only=True)
class _Gathered:
    """Runs with their worklists, and those of them that may be standards.

    Attributes:
        plans: Every version of their worklist entries.
        ends: When each injection was over.
        seen: Those that any version plans as standards.
        methods: Processing methods.
    """

    plans: pl.DataFrame
    ends: Mapping[str, datetime]
    seen: Sequence[SeenRun]
    methods: ProcessingMethods


def _of_sequences(read: KeyedReader, runs: Sequence[RunIdentity]) -> _Gathered:
    """Gather everything that any worklist ever planned together with some runs."""
    import polars as pl

    names = pl.Series("injection_name", [run.injection_name for run in runs], dtype=pl.String).unique()
    own = read.keyed(LIMS_SEQUENCES, ["injection_name", "sequence_id"], injection_name=names).unique()
    plans = read.keyed(LIMS_SEQUENCES, COLUMNS[LIMS_SEQUENCES.full_name], sequence_id=own["sequence_id"])
    together = pl.concat([names, plans["injection_name"]]).unique()
    plans = read.keyed(LIMS_SEQUENCES, COLUMNS[LIMS_SEQUENCES.full_name], injection_name=together)
    members = read.keyed(INJECTIONS, RUN_COLUMNS, injection_name=together).drop_nulls("known_time_utc")
    return _Gathered(
        plans=plans,
        ends=dict(members.select("injection_id", "known_time_utc").iter_rows()),
        seen=_seen(read, members, plans),
        methods=ProcessingMethods(read.rows(PROCESSING_METHODS, COLUMNS[PROCESSING_METHODS.full_name]).iter_rows(named=True)),
    )


def _seen(read: KeyedReader, runs: pl.DataFrame, plans: pl.DataFrame) -> list[SeenRun]:
    """Return the runs that any version of their plans names as standards, with their named peaks."""
    standards = runs.filter(_is_in("injection_name", _planned_standards(plans)))
    peaks: dict[str, dict[str, list[Row]]] = {}
    for row in read.keyed(PEAKS, PEAK_COLUMNS, injection_name=standards["injection_name"]).drop_nulls("analyte").iter_rows(named=True):
        peaks.setdefault(row["injection_id"], {}).setdefault(row["processing_id"], []).append(row)
    return [
        SeenRun(run=identity_of(row), ended_at_utc=row["known_time_utc"], peaks=peaks.get(row["injection_id"], {}))
        for row in standards.iter_rows(named=True)
    ]


def _planned_standards(plans: pl.DataFrame) -> pl.Series:
    return plans.filter(_is_in("sample_role", sorted(STANDARD_ROLES)))["injection_name"].unique()


Alone = tuple[RunIdentity, datetime, datetime]
"""A run without standards of its own, when it began, and the moment up to which others were seen."""


def _alone(gathered: _Gathered, runs: Sequence[RunIdentity], until: datetime | None) -> list[Alone]:
    book = RunBook(LimsRecords(gathered.plans.iter_rows(named=True), (), ()), gathered.methods, Specifications(()), gathered.seen)
    found: list[Alone] = []
    for run in runs:
        seen_by = until or gathered.ends.get(run.injection_id) or run.started_at_utc
        if seen_by is None:
            continue
        begun = min(run.started_at_utc or seen_by, seen_by)
        if not book.has_own_standards(run, begun=begun):
            found.append((run, begun, seen_by))
    return found


@dataclass(frozen=True, kw_only=True)
class _Before:
    """Earlier standards of the instruments of some runs, with every version of their worklist entries."""

    plans: pl.DataFrame
    seen: Sequence[SeenRun]


def _standards_before(read: KeyedReader, gathered: _Gathered, alone: Sequence[Alone]) -> _Before:
    """Return the instrument's earlier standards that may count for runs without standards of their own.

    Of the methods that each run was ever known to be of, these are the standards seen while it ran, and going back from its begin as many
    as are needed for ``LAST_STANDARDS`` that have been known as such ever since, whatever became of the others.
    """
    records = LimsRecords(gathered.plans.iter_rows(named=True), (), ())
    book = RunBook(records, gathered.methods, Specifications(()), ())
    asked = [
        _Asked(run, begun, seen_by, instruments, methods)
        for run, begun, seen_by in alone
        if (instruments := book.instruments_of(run)) and (methods := book.methods_of(run, begun=begun))
    ]
    if not asked:
        return _Before(plans=gathered.plans.clear(), seen=())
    for looked_back in LOOKED_BACK:
        runs, plans = _planned_before(read, asked, looked_back)
        chosen, is_enough = _chosen_before(asked, runs, plans)
        if is_enough:
            break
    kept = runs.filter(_is_in("injection_id", sorted(chosen)))
    of_kept = plans.filter(_is_in("injection_name", kept["injection_name"].unique()))
    return _Before(plans=of_kept, seen=_seen(read, kept, of_kept))


@dataclass(frozen=True)
class _Asked:
    """A run whose earlier standards are looked for, with the instruments and methods it was ever known to be of."""

    run: RunIdentity
    begun: datetime
    seen_by: datetime
    instruments: set[str]
    methods: set[str]


def _planned_before(read: KeyedReader, asked: Sequence[_Asked], looked_back: timedelta) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the runs on the instruments from some time before the runs on that any plan names as standards, and their plans."""
    import polars as pl

    first, last = min(each.begun for each in asked), max(each.seen_by for each in asked)
    instruments = sorted({instrument for each in asked for instrument in each.instruments})
    # a standard is old by its end, which is some time after its begin
    since = first - looked_back - LONGEST_RUN
    once_there = pl.col("instrument_id").is_in(instruments) | pl.col("instrument_changed_at_utc").is_not_null()
    where = once_there & pl.col("injected_at_utc").is_between(since, last)
    runs = read.rows(INJECTIONS, RUN_COLUMNS, where=where).drop_nulls("known_time_utc")
    plans = read.keyed(LIMS_SEQUENCES, COLUMNS[LIMS_SEQUENCES.full_name], injection_name=runs["injection_name"])
    standards = _planned_standards(plans)
    return runs.filter(_is_in("injection_name", standards)), plans.filter(_is_in("injection_name", standards))


def _chosen_before(asked: Sequence[_Asked], runs: pl.DataFrame, plans: pl.DataFrame) -> tuple[set[str], bool]:
    """Return the standards that may count for some runs, and whether enough of them are known for each."""
    records = LimsRecords(plans.iter_rows(named=True), (), ())
    ordered = runs.sort("known_time_utc", "injection_id")
    of_method: dict[tuple[str, str], list[tuple[datetime, str, datetime]]] = {}
    columns = ("injection_id", "injection_name", "stated_instrument_name", "instrument_changed_at_utc", "known_time_utc")
    for injection_id, name, stated, moved_at, ended in ordered.select(columns).iter_rows():
        for method in {version.row["method_id"] for version in records.plans.versions(name)}:
            # one that was moved is not there for good, or was not always
            certain_from = standard_from(records, name, method) if moved_at is None else _NEVER
            for instrument in records.instruments(name, stated=stated):
                of_method.setdefault((instrument, method), []).append((ended, injection_id, certain_from))
    chosen: set[str] = set()
    is_enough = True
    for each in asked:
        for of_both in product(each.instruments, each.methods):
            standards = of_method.get(of_both, [])
            end = bisect_right(standards, each.seen_by, key=itemgetter(0))
            certain = 0
            while end > 0 and certain < LAST_STANDARDS:
                end -= 1
                ended, injection_id, certain_from = standards[end]
                chosen.add(injection_id)
                certain += max(ended, certain_from) <= each.begun and injection_id != each.run.injection_id
            is_enough = is_enough and certain == LAST_STANDARDS
    return chosen, is_enough


def _is_in(column: str, values: Sequence[str] | pl.Series) -> pl.Expr:
    import polars as pl

    return pl.col(column).is_in(pl.Series(values=values, dtype=pl.String).implode())


def identity_of(run: Row) -> RunIdentity:
    """Return a row of ``silver.injections`` as the gatherer knows a run."""
    return RunIdentity(
        injection_id=run["injection_id"],
        injection_name=run["injection_name"],
        source=run["source"],
        started_at_utc=run["injected_at_utc"],
        instrument_id=run["stated_instrument_name"],
        stated_sample_name=run["stated_sample_name"],
        stated_method_name=run["stated_method_name"],
    )
