"""What a running injection is expected to show: its worklist entry, its lot, the method's windows, limits and latest standards.

Belongs here: finding the rows that ``lab_assets.features.reference`` wants, at the newest or at recorded table versions.
Does not belong here: turning them into an expectation, features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lab_assets.contracts.registry import contract
from lab_assets.domain.units import signal_unit_of_area
from lab_assets.features.expectation import MethodExpectation
from lab_assets.features.reference import STANDARD_ROLES, expectation_from_rows
from lab_assets.service.requests import TraceRequest
from lab_assets.service.table_cache import Snapshot, TableCache, empty_frame, load_snapshot
from lab_assets.settings import Settings

Row = Mapping[str, Any]
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "bronze.processing_methods": (),
    "bronze.specifications": (),
    "bronze.lims_sequences": (
        "injection_name", "sequence_id", "sample_name", "method_id", "weight_mg", "nominal_weight_mg", "recorded_at_utc",
    ),
    "silver.samples": ("sample_name", "lot_id"),
    "silver.lots": ("lot_id", "product"),
    "silver.injections": (
        "injection_id", "injection_name", "instrument_id", "method_id", "sequence_id", "sample_role", "weight_mg", "nominal_weight_mg",
        "standard_purity_pct", "run_time_min", "injected_at_utc", "known_time_utc",
    ),
    "silver.peaks": ("injection_id", "channel", "analyte", "area", "area_unit", "height", "retention_time_min"),
}  # fmt: skip
"""Columns read of each table; all where none are named."""
_METHOD_COLUMNS: Final = (
    ("bronze.processing_methods", "method_name"),
    ("bronze.specifications", "method_id"),
    ("bronze.lims_sequences", "method_id"),
    ("silver.injections", "method_id"),
)
LAST_STANDARDS: Final = 5
"""Standard injections used where the run's own sequence has none yet: the instrument's last of the method."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What is known of one run besides its trace.

    Attributes:
        sample_name: Sample, as posted or from the worklist.
        lot_id: Lot, as posted or of the sample.
        expectation: What the run should show; ``None`` where the method is not known at all.
        signal_unit: Unit of the signal in the standards' areas; ``None`` where there are none or they state none.
    """

    sample_name: str | None
    lot_id: str | None
    expectation: MethodExpectation | None
    signal_unit: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExpectationTables:
    """The rows expectations are made of, by what they are looked up by.

    Attributes:
        processing: Rows of ``bronze.processing_methods``.
        specifications: Rows of ``bronze.specifications``.
        worklist: Worklist entries by injection name, oldest record first.
        lot_of: Lot by sample.
        product_of: Product by lot.
        standards: Peaks of standard injections by (instrument, method), oldest first.
        run_times: (known time, run time) of injections by (instrument, method), oldest first.
        methods: Every method that some table knows.
        versions: Version of each table by ``layer.table``.
    """

    processing: Sequence[Row]
    specifications: Sequence[Row]
    worklist: Mapping[str, Sequence[Row]]
    lot_of: Mapping[str, str]
    product_of: Mapping[str, str]
    standards: Mapping[tuple[str, str], Sequence[Row]]
    run_times: Mapping[tuple[str, str], Sequence[tuple[datetime, float]]]
    methods: frozenset[str]
    versions: Mapping[str, int]

    @staticmethod
    def build(snapshots: Mapping[str, Snapshot]) -> ExpectationTables:
        """Build from one snapshot for each table of ``COLUMNS``."""
        import polars as pl

        frames = {name: snapshot.frame for name, snapshot in snapshots.items()}
        runs = (
            frames["silver.injections"].drop_nulls(["instrument_id", "method_id", "known_time_utc"]).sort("known_time_utc", "injection_id")
        )
        standards = runs.filter(pl.col("sample_role").is_in(sorted(STANDARD_ROLES))).join(
            frames["silver.peaks"].drop_nulls(["analyte"]), on="injection_id", how="inner", maintain_order="left_right"
        )
        times = runs.drop_nulls(["run_time_min"]).select("instrument_id", "method_id", "known_time_utc", "run_time_min")
        return ExpectationTables(
            processing=frames["bronze.processing_methods"].to_dicts(),
            specifications=frames["bronze.specifications"].to_dicts(),
            worklist=_grouped(frames["bronze.lims_sequences"].sort("recorded_at_utc").to_dicts(), lambda row: row["injection_name"]),
            lot_of=dict(frames["silver.samples"].select("sample_name", "lot_id").iter_rows()),
            product_of=dict(frames["silver.lots"].select("lot_id", "product").iter_rows()),
            standards=_grouped(standards.to_dicts(), _instrument_method),
            run_times={
                key: [(row["known_time_utc"], row["run_time_min"]) for row in rows]
                for key, rows in _grouped(times.to_dicts(), _instrument_method).items()
            },
            methods=frozenset(name for table, column in _METHOD_COLUMNS for name in frames[table][column].drop_nulls().unique().to_list()),
            versions={name: snapshot.version for name, snapshot in snapshots.items() if snapshot.version >= 0},
        )

    @staticmethod
    def at_versions(settings: Settings, versions: Mapping[str, int]) -> ExpectationTables:
        """Read the tables at recorded versions; a table that is not named was not there.

        Raises:
            TableUnavailableError: a version is gone.
        """
        return ExpectationTables.build(
            {
                name: load_snapshot(settings, name, version=versions[name], columns=columns or None)
                if name in versions
                else Snapshot(frame=empty_frame(contract(name), columns or contract(name).column_names), version=-1)
                for name, columns in COLUMNS.items()
            }
        )

    def facts(self, injection_id: str, request: TraceRequest, *, at: datetime) -> RunFacts:
        """Return what was known of a run at a moment."""
        entries = [row for row in self.worklist.get(request.injection_name, ()) if row["recorded_at_utc"] <= at]
        entry: Row = entries[-1] if entries else {}
        sample_name = request.sample_name or entry.get("sample_name")
        lot_id = request.lot_id or self.lot_of.get(sample_name or "")
        key = (request.instrument_id, request.method_id)
        run_time_min = request.run_time_min or self._run_time(key, at)
        standards = self._standards(key, injection_id=injection_id, sequence_id=entry.get("sequence_id"), at=at)
        expectation = None
        if run_time_min is not None:
            expectation = expectation_from_rows(
                self.processing,
                self.specifications,
                standards,
                method_id=request.method_id,
                run_time_min=run_time_min,
                product=self.product_of.get(lot_id or ""),
                channel=request.channel,
                weight_mg=entry.get("weight_mg"),
                nominal_weight_mg=entry.get("nominal_weight_mg"),
                as_of_utc=at,
            )
        signal_unit = signal_unit_of_area(standards[-1]["area_unit"] or "") if standards else None
        return RunFacts(sample_name=sample_name, lot_id=lot_id, expectation=expectation, signal_unit=signal_unit)

    def _run_time(self, key: tuple[str, str], at: datetime) -> float | None:
        known = [run_time for known_at, run_time in self.run_times.get(key, ()) if known_at <= at]
        return known[-1] if known else None

    def _standards(self, key: tuple[str, str], *, injection_id: str, sequence_id: str | None, at: datetime) -> Sequence[Row]:
        """Return the standards of the run's own sequence so far, else the instrument's last ones of the method."""
        known = [row for row in self.standards.get(key, ()) if row["known_time_utc"] <= at and row["injection_id"] != injection_id]
        own = [row for row in known if sequence_id is not None and row["sequence_id"] == sequence_id]
        if own:
            return own
        last = list(dict.fromkeys(row["injection_id"] for row in reversed(known)))[:LAST_STANDARDS]
        return [row for row in known if row["injection_id"] in last]


def _instrument_method(row: Row) -> tuple[str, str]:
    return (row["instrument_id"], row["method_id"])


def _grouped(rows: Iterable[dict[str, Any]], key: Any) -> dict[Any, list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


class LiveExpectations:
    """The expectation tables at their newest versions, rebuilt when one moves."""

    def __init__(self, tables: TableCache) -> None:
        self._tables = tables
        self._built: tuple[tuple[int, ...], ExpectationTables] | None = None

    def get(self) -> ExpectationTables:
        """Return the current tables, at most a second behind.

        Raises:
            TableUnavailableError: a table cannot be read and was never read before.
        """
        snapshots = {name: self._tables.get(name, columns or None) for name, columns in COLUMNS.items()}
        versions = tuple(snapshot.version for snapshot in snapshots.values())
        if self._built is None or self._built[0] != versions:
            self._built = (versions, ExpectationTables.build(snapshots))
        return self._built[1]
