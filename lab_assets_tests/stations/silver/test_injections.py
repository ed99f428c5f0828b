"""Injections in context: values worked out by hand over the smallest tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from lab_assets.contracts.bronze import CALIBRATIONS, CHROMATOGRAMS, LIMS_LOTS, LIMS_SAMPLES, LIMS_SEQUENCES
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.domain.injection_identity import injection_id
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.runner import update
from lab_assets.stations.silver.injections import INJECTIONS_STATION, one_per_injection
from lab_assets_tests.stations.rows import Put

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def trace(name: str = "run 1", channel: str = "A", **more: Any) -> dict[str, Any]:
    return {
        "injection_name": name,
        "source": "hplc",
        "channel": channel,
        "x": [0.0, 600.0],
        "y": [0.0, 1.0],
        "n_points": 2,
        "x_last": 600.0,
        "x_unit": "s",
        "zone_known": True,
        "injected_at_utc": NOON,
        "injected_at_text": "2026-03-01 12:00",
        "ingest_batch": 1,
        "path_revision": 1,
        "revises_path": None,
        "revises_revision": None,
        "source_sha256": f"{name}-{channel}",
        "source_row": 1,
        "source_file": "f",
        "ingested_at_utc": NOON,
        "sample_name": None,
        "instrument_name": "HPLC-1",
        "method_name": None,
        "operator": None,
        "software": None,
        **more,
    }


def test_the_identity_depends_on_source_instrument_name_and_time_only() -> None:
    """SHA-256 of ``hplc|HPLC-1|run 1|t0`` begins with these digits (``printf 'hplc|HPLC-1|run 1|t0' | sha256sum``)."""
    assert injection_id("hplc", "HPLC-1", "run 1", "t0") == "inj_1b46a415cb11c7fc"
    assert (
        injection_id("hplc", None, "run 1", "t0")
        == injection_id("hplc", "", "run 1", "t0")
        != injection_id("hplc", "HPLC-1", "run 1", "t0")
    )


def test_channels_of_one_injection_come_together_and_the_longest_trace_counts() -> None:
    rows = [trace(channel="B", x_last=12.0, x_unit="min", sample_name="S"), trace(channel="A", sample_name=None)]
    (row,) = one_per_injection(pl.DataFrame(rows)).to_dicts()
    assert (row["channels"], row["run_time_min"], row["sample_name"], row["source_sha256"]) == (["A", "B"], 12.0, "S", "run 1-A")


def test_of_a_channel_exported_twice_the_newer_file_counts() -> None:
    rows = [trace(x_last=300.0, ingest_batch=2, source_sha256="new"), trace(x_last=600.0, ingest_batch=1, source_sha256="old")]
    (row,) = one_per_injection(pl.DataFrame(rows)).to_dicts()
    assert (row["run_time_min"], row["source_sha256"]) == (5.0, "new")


def test_an_unknown_unit_gives_no_run_time() -> None:
    (row,) = one_per_injection(pl.DataFrame([trace(x_unit="scans")])).to_dicts()
    assert row["run_time_min"] is None


def certificate(number: str, at: datetime, *, outcome: str = "pass", days: int = 365) -> dict[str, Any]:
    return {
        "instrument_id": "HPLC-1",
        "certificate_id": number,
        "performed_at_utc": at,
        "valid_until_utc": at + timedelta(days=days),
        "outcome": outcome,
        "parameter": f"flow, {outcome}",
        "deviation": 0.0,
        "tolerance": 1.0,
        "unit": "%",
    }


@pytest.mark.parametrize(
    ("certificates", "expected"),
    [
        ([], (None, None)),
        ([certificate("C1", NOON + timedelta(days=1))], (None, None)),
        ([certificate("C1", NOON - timedelta(days=30)), certificate("C2", NOON - timedelta(days=2))], ("C2", True)),
        ([certificate("C1", NOON - timedelta(days=30), days=29)], ("C1", False)),
        ([certificate("C1", NOON - timedelta(days=3)), certificate("C1", NOON - timedelta(days=3), outcome="fail")], ("C1", False)),
    ],
    ids=["none", "only a later one", "the latest before", "expired the day before", "one parameter failed"],
)
def test_the_certificate_in_force_is_the_latest_before_the_injection(
    lakehouse: Lakehouse, put: Put, certificates: list[dict[str, Any]], expected: tuple[str | None, bool | None]
) -> None:
    put(CHROMATOGRAMS, trace("i"))
    if certificates:
        put(CALIBRATIONS, *certificates)
    update(lakehouse, INJECTIONS_STATION)
    (row,) = lakehouse.polars(INJECTIONS).to_dicts()
    assert (row["calibration_id"], row["calibration_valid"]) == expected


def test_a_corrected_certificate_reaches_the_injections_it_no_longer_covers(lakehouse: Lakehouse, put: Put) -> None:
    """Two days before the run it was said to be performed, and failed; then that it passed; then that it was performed a day after the run."""
    put(CHROMATOGRAMS, trace("i"))

    def in_force(row: dict[str, Any], batch: int) -> tuple[str | None, bool | None]:
        put(CALIBRATIONS, {**row, "parameter": "flow", "recorded_at_utc": NOON + timedelta(days=batch)}, batch=batch)
        update(lakehouse, INJECTIONS_STATION)
        (found,) = lakehouse.polars(INJECTIONS).to_dicts()
        return found["calibration_id"], found["calibration_valid"]

    before, after = NOON - timedelta(days=2), NOON + timedelta(days=1)
    assert in_force(certificate("C1", before, outcome="fail"), 1) == ("C1", False)
    assert in_force(certificate("C1", before), 2) == ("C1", True)
    assert in_force(certificate("C1", after), 3) == (None, None)


def planned(name: str, **more: Any) -> dict[str, Any]:
    return {
        "injection_name": name,
        "sample_name": "NEB-1",
        "sample_role": "sample",
        "method_id": "M1",
        "instrument_id": "HPLC-9",
        "position": 1,
        "sequence_id": "SEQ",
        "recorded_at_utc": NOON,
        "ingest_batch": 1,
        "path_revision": 1,
        "revises_path": None,
        "revises_revision": None,
        "source_row": 1,
        **more,
    }


def test_context_that_comes_late_reaches_its_injection_and_no_other_is_worked_again(lakehouse: Lakehouse, put: Put) -> None:
    put(CHROMATOGRAMS, trace("run 1"), trace("run 2"))
    first = update(lakehouse, INJECTIONS_STATION)
    assert (first.groups, first.changed) == (2, 2)
    put(LIMS_SAMPLES, {"sample_name": "NEB-1", "lot_id": "NEB26-0001", "sample_type": "release", "recorded_at_utc": NOON})
    put(LIMS_LOTS, {"lot_id": "NEB26-0001", "product": "NEB", "recorded_at_utc": NOON})
    put(LIMS_SEQUENCES, planned("run 1"))
    second = update(lakehouse, INJECTIONS_STATION)
    assert (second.groups, second.changed) == (1, 1)
    rows = {row["injection_name"]: row for row in lakehouse.polars(INJECTIONS).to_dicts()}
    described = ("sample_name", "lot_id", "product", "method_id", "instrument_id", "run_time_min", "sample_role")
    assert tuple(rows["run 1"][name] for name in described) == ("NEB-1", "NEB26-0001", "NEB", "M1", "HPLC-1", 10.0, "sample")
    assert (rows["run 2"]["lot_id"], rows["run 2"]["sample_role"]) == (None, "unknown")
    assert rows["run 1"]["known_time_utc"] == NOON + timedelta(minutes=10)
    assert not update(lakehouse, INJECTIONS_STATION).news
    assert update(lakehouse, INJECTIONS_STATION, rebuild=True).changed == 0
