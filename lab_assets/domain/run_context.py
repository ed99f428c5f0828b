"""The context of a run as the recording systems knew it at a moment: worklist entry, sample, lot.

Belongs here: one rule for what a run is a run of, used for the tables and for the features of a moment alike. Does not belong here: reading
the records, what the run shows.

The worklist knows best what was injected, the file knows best where. Each record counts from the time it was recorded on; a correction is
a further version and changes nothing of what was known before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from lab_assets.domain.in_force import Facts, Row

PLAN_COLUMNS: Final = (
    *("injection_name", "sequence_id", "position", "sample_name", "sample_role", "replicate", "method_id", "instrument_id", "column_id"),
    *("analyst", "weight_mg", "nominal_weight_mg", "standard_purity_pct", "recorded_at_utc"),
)
"""Columns of ``bronze.lims_sequences``; of all three also those of ``in_force.RECENCY``."""
SAMPLE_COLUMNS: Final = ("sample_name", "lot_id", "sample_type", "retest_of", "recorded_at_utc")
"""Columns of ``bronze.lims_samples``."""
LOT_COLUMNS: Final = ("lot_id", "product", "recorded_at_utc")
"""Columns of ``bronze.lims_lots``."""
STANDARD_ROLES: Final = frozenset({"standard", "suitability"})
"""Injections that others are measured against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What was known of a run beside its trace; ``None`` where nothing was.

    Attributes:
        sequence_id: Worklist.
        position: Order in the worklist.
        sample_name: Sample, standard or blank.
        sample_role: Role in the sequence, ``unknown`` without a worklist entry.
        replicate: Preparation.
        method_id: Test method.
        instrument_id: Instrument.
        column_id: Serial of the column.
        analyst: Who prepared or ran it.
        weight_mg: Weight taken, mg.
        nominal_weight_mg: Weight the method asks for, mg.
        standard_purity_pct: Purity of the standard, %.
        lot_id: Lot of the sample.
        sample_type: Why the sample is tested.
        retest_of: Sample that it is the retest of.
        product: Product of the lot.
    """

    sequence_id: str | None
    position: int | None
    sample_name: str | None
    sample_role: str
    replicate: int | None
    method_id: str | None
    instrument_id: str | None
    column_id: str | None
    analyst: str | None
    weight_mg: float | None
    nominal_weight_mg: float | None
    standard_purity_pct: float | None
    lot_id: str | None
    sample_type: str | None
    retest_of: str | None
    product: str | None


class LimsRecords:
    """Every version of the records that give runs their context."""

    def __init__(self, plans: Iterable[Row], samples: Iterable[Row], lots: Iterable[Row]) -> None:
        """Build from rows with ``PLAN_COLUMNS``, ``SAMPLE_COLUMNS``, ``LOT_COLUMNS`` and ``in_force.RECENCY``."""
        self.plans = Facts.of_rows(plans, ("injection_name",), known="recorded_at_utc")
        self.samples = Facts.of_rows(samples, ("sample_name",), known="recorded_at_utc")
        self.lots = Facts.of_rows(lots, ("lot_id",), known="recorded_at_utc")

    def context(
        self,
        injection_name: str,
        *,
        known_by: datetime | None = None,
        sample_name: str | None = None,
        method_id: str | None = None,
        instrument_id: str | None = None,
        analyst: str | None = None,
        lot_id: str | None = None,
    ) -> RunContext:
        """Return what was known of a run by a moment.

        Args:
            injection_name: Name by which the worklist plans it.
            known_by: Nothing recorded later counts; ``None``: everything recorded.
            sample_name: Sample that the file or request states; counts where no worklist names one.
            method_id: Method that it states; likewise.
            instrument_id: Instrument that it states; counts before the planned one.
            analyst: Person that it states; counts where no worklist names one.
            lot_id: Lot that a request states; counts before that of the sample.
        """
        plan: Row = self.plans.row(injection_name, known_by=known_by) or {}
        name = plan.get("sample_name") or sample_name or None
        sample: Row = (self.samples.row(name, known_by=known_by) if name is not None else None) or {}
        lot = lot_id or sample.get("lot_id")
        record: Row = (self.lots.row(lot, known_by=known_by) if lot is not None else None) or {}
        return RunContext(
            sequence_id=plan.get("sequence_id"),
            position=plan.get("position"),
            sample_name=name,
            sample_role=plan.get("sample_role") or "unknown",
            replicate=plan.get("replicate"),
            method_id=plan.get("method_id") or method_id or None,
            instrument_id=instrument_id or plan.get("instrument_id") or None,
            column_id=plan.get("column_id"),
            analyst=plan.get("analyst") or analyst or None,
            weight_mg=plan.get("weight_mg"),
            nominal_weight_mg=plan.get("nominal_weight_mg"),
            standard_purity_pct=plan.get("standard_purity_pct"),
            lot_id=lot,
            sample_type=sample.get("sample_type"),
            retest_of=sample.get("retest_of"),
            product=record.get("product"),
        )

    def known_times(self, injection_name: str, *, sample_name: str | None = None) -> set[datetime]:
        """Return when any version of the records of a run became known, in whichever version of its context they stand."""
        times = set(self.plans.known_times(injection_name))
        names = {sample_name, *(version.row["sample_name"] for version in self.plans.versions(injection_name))}
        for name in names - {None}:
            times |= self.samples.known_times(name)
            for lot in {version.row["lot_id"] for version in self.samples.versions(name)}:
                times |= self.lots.known_times(lot)
        return times

    def instruments(self, injection_name: str, *, stated: str | None) -> list[str]:
        """Return every instrument that a run was ever known to be on: the one its file states, else those its worklists plan, in order."""
        planned = {version.row["instrument_id"] for version in self.plans.versions(injection_name)}
        return [stated] if stated else sorted(planned - {None, ""})

    def instrument_changed_at(self, injection_name: str, *, stated: str | None) -> datetime | None:
        """Return when a worklist last put a run on another instrument; ``None`` where none did, or the file itself states it."""
        if len(self.instruments(injection_name, stated=stated)) < 2:
            return None
        versions = sorted(self.plans.known_times(injection_name))
        placed = [(known, self.context(injection_name, known_by=known).instrument_id) for known in versions]
        return max((known for (_, before), (known, after) in pairwise(placed) if after != before), default=None)


def sample_names(records: Iterable[Row], stated: Iterable[Any]) -> list[str]:
    """Return every sample that worklist entries or files name."""
    named = [row["sample_name"] for row in records]
    return sorted({name for name in (*named, *stated) if name})
