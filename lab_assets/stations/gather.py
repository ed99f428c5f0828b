"""Gathering what the facts of some runs are made of: by a station for many runs, by the service for one, at any versions of the tables.

Belongs here: which rows are read for runs. Does not belong here: how they are read (each caller brings a reader), what follows from them
(``lab_assets.features.run_facts``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from lab_assets.contracts.bronze import LIMS_LOTS, LIMS_SAMPLES, LIMS_SEQUENCES, PROCESSING_METHODS, SPECIFICATIONS
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.domain.in_force import RECENCY
from lab_assets.domain.processing_methods import METHOD_COLUMNS, WINDOW_COLUMNS, ProcessingMethods
from lab_assets.domain.run_context import LOT_COLUMNS, PLAN_COLUMNS, SAMPLE_COLUMNS, STANDARD_ROLES, LimsRecords, sample_names
from lab_assets.domain.specifications import LIMIT_COLUMNS, Specifications
from lab_assets.features.run_facts import LAST_STANDARDS, STANDARD_PEAK_COLUMNS, STANDARDS_LOOKBACK, RunBook, RunIdentity, SeenRun

if TYPE_CHECKING:
    import polars as pl

Row = Mapping[str, Any]

RUN_COLUMNS: Final = (
    *("injection_id", "injection_name", "source", "instrument_id", "method_id", "sample_role", "injected_at_utc", "known_time_utc"),
    *("stated_sample_name", "stated_method_name"),
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

    names = pl.Series("injection_name", [run.injection_name for run in runs], dtype=pl.String).unique()
    own = read.keyed(LIMS_SEQUENCES, ["injection_name", "sequence_id"], injection_name=names).unique()
    plans = read.keyed(LIMS_SEQUENCES, COLUMNS[LIMS_SEQUENCES.full_name], sequence_id=own["sequence_id"])
    together = pl.concat([names, plans["injection_name"]]).unique()
    plans = read.keyed(LIMS_SEQUENCES, COLUMNS[LIMS_SEQUENCES.full_name], injection_name=together)
    members = read.keyed(INJECTIONS, RUN_COLUMNS, injection_name=together)
    alone = _alone(runs, own, plans, members, until)
    before = _standards_before(read, alone)
    if before.height:
        more = read.keyed(LIMS_SEQUENCES, COLUMNS[LIMS_SEQUENCES.full_name], injection_name=before["injection_name"])
        plans = pl.concat([plans, more]).unique(maintain_order=True)
    seen = pl.concat([members, before]).unique("injection_id", maintain_order=True).drop_nulls("known_time_utc")
    planned = plans.filter(pl.col("sample_role").is_in(list(STANDARD_ROLES)))["injection_name"]
    standards = seen.filter(pl.col("injection_name").is_in(planned.unique().implode()))
    peaks: dict[str, dict[str, list[Row]]] = {}
    for row in read.keyed(PEAKS, PEAK_COLUMNS, injection_name=standards["injection_name"]).drop_nulls("analyte").iter_rows(named=True):
        peaks.setdefault(row["injection_id"], {}).setdefault(row["processing_id"], []).append(row)
    stated = [run.stated_sample_name for run in runs]
    samples = read.keyed(LIMS_SAMPLES, COLUMNS[LIMS_SAMPLES.full_name], sample_name=sample_names(plans.iter_rows(named=True), stated))
    lot_ids = [*samples["lot_id"].to_list(), *(run.stated_lot_id for run in runs)]
    lots = read.keyed(LIMS_LOTS, COLUMNS[LIMS_LOTS.full_name], lot_id=[lot for lot in lot_ids if lot])
    return RunBook(
        LimsRecords(*(frame.iter_rows(named=True) for frame in (plans, samples, lots))),
        ProcessingMethods(read.rows(PROCESSING_METHODS, COLUMNS[PROCESSING_METHODS.full_name]).iter_rows(named=True)),
        Specifications(read.keyed(SPECIFICATIONS, COLUMNS[SPECIFICATIONS.full_name], product=lots["product"]).iter_rows(named=True)),
        [
            SeenRun(run=identity_of(row), ended_at_utc=row["known_time_utc"], peaks=peaks.get(row["injection_id"], {}))
            for row in standards.iter_rows(named=True)
        ],
        is_of_moment=bool(alone) or any(run.instrument_id is None for run in runs),
    )


def _alone(
    runs: Sequence[RunIdentity], own: pl.DataFrame, plans: pl.DataFrame, members: pl.DataFrame, until: datetime | None
) -> list[tuple[RunIdentity, datetime]]:
    """Return the runs, with the moment up to which others were seen, whose own sequence had no standard that was over when they began."""
    import polars as pl

    planned = plans.filter(pl.col("sample_role").is_in(list(STANDARD_ROLES))).select("sequence_id", "injection_name").unique()
    ended = planned.join(members.select("injection_name", "known_time_utc").drop_nulls(), on="injection_name")
    first = dict(ended.group_by("sequence_id").agg(pl.col("known_time_utc").min()).iter_rows())
    sequences: dict[str, list[str]] = {}
    for name, sequence in own.iter_rows():
        sequences.setdefault(name, []).append(sequence)
    ends = dict(members.select("injection_id", "known_time_utc").iter_rows())
    found: list[tuple[RunIdentity, datetime]] = []
    for run in runs:
        seen_by = until or ends.get(run.injection_id) or run.started_at_utc
        begun = run.started_at_utc or seen_by
        if run.instrument_id is None or seen_by is None or begun is None:
            continue
        if any((at := first.get(sequence)) is not None and at <= begun for sequence in sequences.get(run.injection_name, ())):
            continue
        found.append((run, seen_by))
    return found


def _standards_before(read: KeyedReader, alone: Sequence[tuple[RunIdentity, datetime]]) -> pl.DataFrame:
    """Return the instrument's last standards of each method before each run that has none of its own."""
    import polars as pl

    if not alone:
        return read.keyed(INJECTIONS, RUN_COLUMNS, injection_name=())
    begun = min(run.started_at_utc or seen_by for run, seen_by in alone)
    last = max(seen_by for _, seen_by in alone)
    instruments = sorted({run.instrument_id for run, _ in alone if run.instrument_id is not None})
    found = read.rows(
        INJECTIONS,
        RUN_COLUMNS,
        where=pl.col("instrument_id").is_in(instruments)
        & pl.col("sample_role").is_in(list(STANDARD_ROLES))
        & pl.col("injected_at_utc").is_between(begun - STANDARDS_LOOKBACK, last),
    ).sort("known_time_utc", "injection_id")
    kept: set[str] = set()
    by_instrument = dict(found.group_by("instrument_id", maintain_order=True))
    for run, seen_by in alone:
        rows = by_instrument.get((run.instrument_id,))
        if rows is not None:
            # of every method: which one the run is of may change with its records
            seen = rows.filter(pl.col("known_time_utc") <= seen_by).group_by("method_id", maintain_order=True).tail(2 * LAST_STANDARDS)
            kept.update(seen["injection_id"])
    return found.filter(pl.col("injection_id").is_in(sorted(kept)))


def identity_of(run: Row) -> RunIdentity:
    """Return a row of ``silver.injections`` as the gatherer knows a run."""
    return RunIdentity(
        injection_id=run["injection_id"],
        injection_name=run["injection_name"],
        source=run["source"],
        started_at_utc=run["injected_at_utc"],
        instrument_id=run["instrument_id"],
        stated_sample_name=run["stated_sample_name"],
        stated_method_name=run["stated_method_name"],
    )
