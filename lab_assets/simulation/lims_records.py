"""What the LIMS and metrology know of the simulated laboratory, as records with the contracts' column names.

Belongs here: which event happened when and who wrote it down when. Does not belong here: file layout (``write_tables.py``).
Identifiers are made of what they name, never of a counter, so a scenario cannot shift those from before its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from lab_assets.contracts.bronze import (
    CALIBRATIONS,
    LIMS_EVENTS,
    LIMS_LOTS,
    LIMS_RESULTS,
    LIMS_SAMPLES,
    LIMS_SEQUENCES,
    PROCESSING_METHODS,
    PROVENANCE,
    SPECIFICATIONS,
)
from lab_assets.contracts.core import TableContract
from lab_assets.simulation.instruments import System
from lab_assets.simulation.laboratory import SequenceRun
from lab_assets.simulation.lots import Lot, Sample
from lab_assets.simulation.rng import rng_for
from lab_assets.simulation.world import (
    ANALYSTS,
    HARDNESS,
    LIMITS,
    METHODS,
    PRODUCTS,
    RELATIVE_RESPONSE,
    REPORTED,
    WATER,
    WINDOWS_MIN,
)
from lab_assets.simulation.write_tables import Record

_NOT_EXPORTED: Final = {column.name for column in PROVENANCE} | {"rescued"}
CALIBRATION_EVERY_DAYS: Final = 90
METROLOGIST: Final = "F. Tanaka"
REVIEWER: Final = "G. Weiss"


def columns_of(contract: TableContract) -> list[str]:
    """Return the columns of a contract that a file can bring."""
    return [name for name in contract.column_names if name not in _NOT_EXPORTED]


EXPORTS: Final[dict[str, TableContract]] = {
    "lots": LIMS_LOTS,
    "samples": LIMS_SAMPLES,
    "sequences": LIMS_SEQUENCES,
    "results": LIMS_RESULTS,
    "events": LIMS_EVENTS,
}
"""Monthly LIMS exports by file name."""


def lot_records(lots: Iterable[Lot]) -> list[Record]:
    """Return the lots' master records, recorded two hours after manufacture."""
    return [
        {
            "lot_id": lot.lot_id,
            "product": lot.product.code,
            "customer": lot.customer,
            "formulation": lot.product.formulation,
            "site": lot.site,
            "manufactured_at_utc": lot.manufactured_at,
            "batch_size_kg": lot.batch_size_kg,
            "recorded_at_utc": lot.manufactured_at + timedelta(hours=2),
        }
        for lot in lots
    ]


def sample_records(samples: Iterable[Sample], *, seed: int) -> list[Record]:
    """Return the samples, recorded within four hours of being taken and so before any sequence names them."""
    records: list[Record] = []
    for sample in samples:
        rng = rng_for(seed, "sample record", sample.sample_name)
        records.append(
            {
                "sample_name": sample.sample_name,
                "lot_id": sample.lot.lot_id,
                "sample_type": sample.kind,
                "storage_condition": sample.storage_condition,
                "chamber_id": sample.chamber_id,
                "timepoint_months": sample.months,
                "stored_at_utc": sample.stored_at,
                "sampled_at_utc": sample.sampled_at,
                "retest_of": sample.retest_of,
                "analyst": ANALYSTS[int(rng.integers(len(ANALYSTS)))].name,
                "patient_initials": sample.patient_initials,
                "recorded_at_utc": sample.sampled_at + timedelta(minutes=int(rng.integers(10, 240))),
            }
        )
    return records


def sequence_records(run: SequenceRun) -> list[Record]:
    """Return a worklist's lines, recorded before its first injection."""
    return [
        {
            "sequence_id": run.sequence_id,
            "injection_name": one.planned.injection_name,
            "position": one.planned.position,
            "sample_name": one.planned.sample_name,
            "sample_role": one.planned.role,
            "replicate": one.planned.replicate,
            "method_id": run.method_id,
            "instrument_id": one.instrument.instrument_id,
            "column_id": one.system.column_id,
            "analyst": run.analyst.name,
            "weight_mg": one.planned.weight_mg,
            "nominal_weight_mg": one.planned.nominal_weight_mg,
            "standard_purity_pct": one.planned.standard_purity_pct,
            "recorded_at_utc": run.planned_at,
        }
        for one in run.injections
    ]


def result_records(samples: Iterable[Sample], *, seed: int) -> list[Record]:
    """Return water (every release and stability sample) and hardness (release samples), measured the day they are taken."""
    records: list[Record] = []
    for sample in samples:
        tests: list[tuple[str, str, float, str]] = []
        rng = rng_for(seed, "wet tests", sample.sample_name)
        if sample.kind in {"release", "stability"}:
            uptake = 0.05 * (sample.months or 0)
            tests.append((WATER, "WATER", round(sample.lot.water_pct + uptake + 0.06 * rng.normal(), 2), "%"))
        if sample.kind == "release":
            tests.append((HARDNESS, "HARDNESS", round(sample.lot.hardness_n + 2.0 * rng.normal(), 1), "N"))
        measured = sample.sampled_at + timedelta(hours=5)
        records += [
            {
                "result_id": f"R-{sample.sample_name}-{method}",
                "sample_name": sample.sample_name,
                "method_id": method,
                "analyte": analyte,
                "value": float(value),
                "unit": unit,
                "replicate": 1,
                "analyst": ANALYSTS[int(rng.integers(len(ANALYSTS)))].name,
                "measured_at_utc": measured,
                "recorded_at_utc": measured + timedelta(hours=2),
            }
            for method, analyte, value, unit in tests
        ]
    return records


class EventBook:
    """Collects the events of lots and samples as sequences come in.

    A lot is released when every release test is reviewed and each result out of specification was not confirmed by its
    retest; it is rejected when a retest confirms one.
    """

    def __init__(self, lots: Sequence[Lot], samples: Iterable[Sample], *, seed: int) -> None:
        self._seed = seed
        self._records: list[Record] = []
        self._reviewed: dict[tuple[str, str], datetime] = {}
        self._open: dict[tuple[str, str], str] = {}
        self._decided: set[str] = set()
        for lot in lots:
            self._add(lot, None, "manufactured", at=lot.manufactured_at, by=lot.site)
        for sample in samples:
            self.add_sample(sample)

    def add_sample(self, sample: Sample) -> None:
        """Write down that a sample was taken and received."""
        self._add(sample.lot, sample.sample_name, "sampled", at=sample.sampled_at, by=REVIEWER)
        self._add(sample.lot, sample.sample_name, "received", at=sample.sampled_at + timedelta(hours=4), by=REVIEWER)

    def add_run(self, run: SequenceRun, retests: Mapping[str, Sample]) -> None:
        """Write down a sequence: prepared, analysed, reviewed, out of specification, dispositions.

        Args:
            run: The sequence.
            retests: Retest samples by name, made so far.
        """
        samples = {one.planned.sample.sample_name: one.planned.sample for one in run.injections if one.planned.sample is not None}
        for name, sample in samples.items():
            review_hours = 18 + float(rng_for(self._seed, "review", name, run.method_id).uniform(0, 50))
            reviewed = run.ended_at + timedelta(minutes=round(60 * review_hours))
            steps = (
                ("prepared", run.started_at - timedelta(minutes=30), run.analyst.name),
                ("analysed", run.ended_at, run.analyst.name),
                ("reviewed", reviewed, REVIEWER),
            )
            for event, at, by in steps:
                self._add(sample.lot, name, event, at=at, by=by, method_id=run.method_id)
            is_oos = name in run.oos_samples
            if is_oos and sample.kind != "retest":
                opened = run.ended_at + timedelta(hours=3)
                self._add(sample.lot, name, "oos_opened", at=opened, by=run.analyst.name, method_id=run.method_id)
                again = next(retest.sample_name for retest in reversed(list(retests.values())) if retest.retest_of == name)
                self._open[again, run.method_id] = name
            elif sample.kind == "retest" and sample.retest_of is not None:
                self._open.pop((name, run.method_id), None)
                closed = reviewed + timedelta(hours=6)
                self._add(sample.lot, sample.retest_of, "oos_closed", at=closed, by=REVIEWER, method_id=run.method_id)
                self._settle(sample, run.method_id, closed, confirmed=is_oos)
            else:
                self._settle(sample, run.method_id, reviewed, confirmed=False)

    def _settle(self, sample: Sample, method_id: str, at: datetime, *, confirmed: bool) -> None:
        """Note a test that is finished; decide the lot when it was the last or a failure is confirmed."""
        root = sample.retest_of or sample.sample_name
        if sample.chamber_id is not None or root.startswith("C") or sample.lot.lot_id in self._decided:
            return
        self._reviewed[sample.lot.lot_id, method_id] = at
        finished = [self._reviewed[sample.lot.lot_id, one] for one in METHODS if (sample.lot.lot_id, one) in self._reviewed]
        if confirmed or len(finished) == len(METHODS):
            self._decided.add(sample.lot.lot_id)
            event = "rejected" if confirmed else "released"
            self._add(sample.lot, None, event, at=max(finished) + timedelta(hours=20), by=REVIEWER)

    def _add(self, lot: Lot, sample_name: str | None, event: str, *, at: datetime, by: str, method_id: str | None = None) -> None:
        """Write one event down, within three hours."""
        event_id = "-".join(part for part in ("EV", sample_name or lot.lot_id, method_id, event) if part)
        late = int(rng_for(self._seed, "event", event_id).integers(5, 180))
        self._records.append(
            {
                "event_id": event_id,
                "lot_id": lot.lot_id,
                "sample_name": sample_name,
                "event": event,
                "at_utc": at,
                "performed_by": by,
                "recorded_at_utc": at + timedelta(minutes=late),
            }
        )

    def records(self) -> list[Record]:
        """Return the events written down so far, in order of recording."""
        return sorted(self._records, key=lambda record: (record["recorded_at_utc"], record["event_id"]))


def specification_records(*, start: datetime) -> list[Record]:
    """Return every limit, in force since a year before the period."""
    effective = start - timedelta(days=365)
    return [
        {
            "spec_id": f"SPEC-{product.prefix}-{limit.method_id}-{limit.analyte}",
            "product": product.code,
            "method_id": limit.method_id,
            "analyte": limit.analyte,
            "spec_low": limit.low,
            "spec_high": limit.high,
            "unit": limit.unit,
            "effective_from_utc": effective,
            "recorded_at_utc": effective,
        }
        for product in PRODUCTS
        for limit in LIMITS
    ]


def processing_records() -> list[Record]:
    """Return the processing methods: windows, external standard, relative responses."""
    return [
        {
            "method_name": method,
            "analyte": analyte,
            "channel": None,
            "integration": "detected",
            "window_start": WINDOWS_MIN[analyte][0],
            "window_end": WINDOWS_MIN[analyte][1],
            "window_unit": "min",
            "calibration": "external_standard",
            "relative_response": RELATIVE_RESPONSE[analyte],
            "reference_analyte": None if analyte == "API" else "API",
            "result_unit": "%",
        }
        for method in METHODS
        for analyte in dict.fromkeys(("API", *REPORTED[method]))
    ]


def calibration_records(systems: Iterable[System], *, seed: int, start: datetime, end: datetime) -> list[Record]:
    """Return quarterly calibrations of every system, as found; the first are 20 days before the period."""
    records: list[Record] = []
    for system in systems:
        name = system.instrument.instrument_id
        at = (start - timedelta(days=20)).replace(hour=10, minute=0, second=0, microsecond=0)
        while at < end:
            certificate = f"CAL-{name}-{at:%Y%m%d}"
            rng = rng_for(seed, "calibration", certificate)
            found = system.calibration(at)
            for parameter, (deviation, sd, tolerance, unit) in found.items():
                value = round(float(deviation + sd * rng.normal()), 3)
                records.append(
                    {
                        "certificate_id": certificate,
                        "instrument_id": name,
                        "parameter": parameter,
                        "deviation": value,
                        "tolerance": tolerance,
                        "unit": unit,
                        "outcome": "pass" if abs(value) <= tolerance else "fail",
                        "performed_at_utc": at,
                        "valid_until_utc": at + timedelta(days=CALIBRATION_EVERY_DAYS + 10),
                        "performed_by": METROLOGIST,
                    }
                )
            at += timedelta(days=CALIBRATION_EVERY_DAYS)
    return records


STATIC: Final[dict[str, TableContract]] = {"specifications": SPECIFICATIONS, "processing_methods": PROCESSING_METHODS}
"""Files written once, by file name."""

CALIBRATION_COLUMNS: Final = columns_of(CALIBRATIONS)
