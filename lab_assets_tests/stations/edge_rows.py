"""Rows that lie at an edge: where a relation that reaches a little too short makes a difference.

Belongs here: what neither the small laboratory nor its rare rows have. Does not belong here: how such rows are changed
(``small_changes.py``).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lab_assets.contracts.bronze import CALIBRATIONS, CHAMBER_READINGS, LIMS_RESULTS, LIMS_SAMPLES, LIMS_SEQUENCES
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets_tests.stations.rows import putting
from lab_assets_tests.stations.small_laboratory import run_stations, write_files

EDGE_CHAMBER = "CH-E"
"""Read at half past every hour of four days, and hot for the two readings beside the second midnight."""
_FIRST_DAY = datetime(2025, 1, 9, tzinfo=UTC)
_MIDNIGHT = _FIRST_DAY + timedelta(days=2)
UNPLANNED = ("SEQ2025-0003_005", "SEQ2025-0002_007")
"""Injections of samples that no worklist names: what is known of them, their files state."""
TRACED = (
    *(f"SEQ2025-0004_{number:03}" for number in range(1, 8)),
    *("SEQ2025-0001_005", "SEQ2025-0002_006", "SEQ2025-0002_007", "SEQ2025-0003_002", "SEQ2025-0003_005", "SEQ2025-0003_006"),
)
"""Injections whose traces are worked on point by point: a sequence that begins without standards of its own, and what is said otherwise."""
_LATE = {"source_file": "z.csv", "ingest_batch": 98}


def write_edge_files(inbox: Path) -> Path:
    """Write the files of the small laboratory, without the plans of some injections."""
    write_files(inbox)
    for path in (inbox / "lims").glob("sequences_*.csv"):
        rows = path.read_text().splitlines(keepends=True)
        path.write_text("".join(row for row in rows if not any(name in row for name in UNPLANNED)))
    return inbox


def put_edges(lake: Lakehouse) -> None:
    """Put rows at edges into a laboratory whose tables are made, and make the tables from them.

    A hot hour over midnight, and a sample stored over that night; a standard by another method than the samples beside it; a sample, a
    determination and an injection that were said to be of another lot first; an injection planned by another method than its file states;
    a certificate that failed, and was performed earlier, by its first record, and one that was performed between two injections.
    """
    put = putting(lake)
    put(CHAMBER_READINGS, *(_reading(hour) for hour in range(4 * 24)), batch=11)
    stored = {"stored_at_utc": _MIDNIGHT - timedelta(hours=10), "sampled_at_utc": _MIDNIGHT + timedelta(hours=9)}
    in_chamber = {**stored, "chamber_id": EDGE_CHAMBER, "storage_condition": "40C/75%", "sample_type": "stability"}
    put(
        LIMS_SAMPLES,
        {"sample_name": "S25-9101", "lot_id": "NEB25-0001", **in_chamber, "recorded_at_utc": _at(12)},
        {"sample_name": "S25-9102", "lot_id": "NEB25-0001", "sample_type": "stability", "recorded_at_utc": _at(12)},
        {"sample_name": "S25-9102", "lot_id": "NEB25-0002", "sample_type": "stability", "recorded_at_utc": _at(25)},
        batch=12,
    )
    put(
        LIMS_RESULTS,
        _determined("R-EDGE-1", "S25-9102", 3.2, _at(13)),
        _determined("R-EDGE-2", "S25-0001", 4.8, _at(13)),
        _determined("R-EDGE-2", "S25-0002", 4.8, _at(26)),
        batch=13,
    )
    plan = {row["injection_name"]: row for row in lake.polars(LIMS_SEQUENCES).sort("recorded_at_utc").to_dicts()}
    late = {**_LATE, "recorded_at_utc": datetime(2025, 2, 10, tzinfo=UTC), "source_sha256": "shaH"}
    put(
        LIMS_SEQUENCES,
        {**plan["SEQ2025-0004_007"], **late, "method_id": "ASSAY-01"},
        {**plan["SEQ2025-0003_006"], **late, "method_id": "ASSAY-01"},
        {**plan["SEQ2025-0002_006"], **late, "sample_name": "S25-0002"},
    )
    later = {**_LATE, "recorded_at_utc": datetime(2025, 2, 11, tzinfo=UTC), "source_sha256": "shaL", "method_id": "ASSAY-01"}
    put(LIMS_SEQUENCES, *({**plan[f"SEQ2025-0004_00{number}"], **later} for number in (2, 3, 4)))
    put(
        CALIBRATIONS,
        _certificate("CAL-E", "LC-02", outcome="fail", performed=datetime(2025, 1, 3, tzinfo=UTC), recorded=_at(4)),
        _certificate("CAL-E", "LC-02", outcome="pass", performed=datetime(2025, 1, 20, tzinfo=UTC), recorded=_at(20)),
        _certificate("CAL-G", "LC-01", outcome="pass", performed=datetime(2025, 1, 14, 10, tzinfo=UTC), recorded=_at(15)),
        batch=14,
    )
    run_stations(lake)


def _at(day: int) -> datetime:
    return datetime(2025, 1, day, 16, tzinfo=UTC)


def _reading(hour: int) -> dict[str, Any]:
    at = _FIRST_DAY + timedelta(hours=hour, minutes=30)
    is_hot = abs(at - _MIDNIGHT) <= timedelta(hours=1)
    used = {"temperature_c": 60.0 if is_hot else 40.0, "humidity_pct": 75.0, "set_temperature_c": 40.0, "set_humidity_pct": 75.0}
    return {"chamber_id": EDGE_CHAMBER, "read_at_utc": at, **used}


def _determined(result_id: str, sample_name: str, value: float, recorded: datetime) -> dict[str, Any]:
    test = {"method_id": "WATER-01", "analyte": "WATER", "unit": "%", "replicate": 1, "measured_at_utc": _at(13)}
    return {"result_id": result_id, "sample_name": sample_name, "value": value, **test, "recorded_at_utc": recorded}


def _certificate(certificate_id: str, instrument_id: str, *, outcome: str, performed: datetime, recorded: datetime) -> dict[str, Any]:
    found = {"parameter": "flow", "deviation": 0.4 if outcome == "pass" else 2.4, "tolerance": 1.0, "unit": "%", "outcome": outcome}
    times = {"performed_at_utc": performed, "valid_until_utc": performed + timedelta(days=200), "recorded_at_utc": recorded}
    return {"certificate_id": certificate_id, "instrument_id": instrument_id, **found, **times}
