"""What the small simulated laboratory has none of: failed systems, expired certificates, corrections, gaps, strays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from lab_assets.contracts.bronze import (
    CALIBRATIONS,
    CHAMBER_READINGS,
    CHROMATOGRAMS,
    LIMS_RESULTS,
    LIMS_SAMPLES,
    LIMS_SEQUENCES,
    PROCESSING_METHODS,
    SPECIFICATIONS,
)
from lab_assets.contracts.bronze import IMAGES as BRONZE_IMAGES
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.gold import SUITABILITY
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets_tests.stations.rows import putting
from lab_assets_tests.stations.small_laboratory import run_stations

FAILED = {
    "sequence_id": "SEQ-F", "method_id": "ASSAY-01", "instrument_id": "LC-01", "analyte": "API", "started_at_utc": datetime(2025, 1, 9, tzinfo=UTC),
    "injections": 5, "passed": False, "failures": ["tailing 2.5 above 2"],
}  # fmt: skip
"""A suitability test that failed: none of the simulated ones does."""
EXPIRED = {
    "certificate_id": "CAL-F", "instrument_id": "LC-01", "parameter": "flow", "deviation": 3.0, "tolerance": 1.0, "unit": "%", "outcome": "fail",
    "performed_at_utc": datetime(2024, 12, 31, tzinfo=UTC), "valid_until_utc": datetime(2025, 12, 31, tzinfo=UTC),
}  # fmt: skip
"""A certificate with a parameter out of tolerance; likewise."""
STRAY = {
    "injection_id": "inj_f", "injection_name": "stray", "source": "hplc_shimadzu", "sample_role": "unknown", "zone_known": True,
    "channels": ["UV"], "processing_id": "none", "source_sha256": "f",
}  # fmt: skip
"""An injection that no worklist names."""


REQUIRED = {
    "spec_id": "SPEC-F", "product": "NEBRILAT-10", "method_id": "RS-01", "analyte": "IMP-Z", "spec_high": 0.2, "unit": "%",
    "effective_from_utc": datetime(2024, 1, 2, tzinfo=UTC), "recorded_at_utc": datetime(2024, 1, 2, tzinfo=UTC),
}  # fmt: skip
"""A test that lots are held to and nobody has done."""


def put_rare_rows(lake: Lakehouse) -> None:
    """Put rows that speak of trouble into a laboratory whose tables are made."""
    put = putting(lake)
    put(CALIBRATIONS, EXPIRED)
    put(SPECIFICATIONS, REQUIRED)
    planned = lake.polars(LIMS_SEQUENCES, where=(pl.col("method_id") == "ASSAY-01") & (pl.col("sample_role") == "standard"))
    before = {"method_id": "RS-01", "recorded_at_utc": datetime(2024, 12, 1, tzinfo=UTC), "source_sha256": "shaG"}
    put(LIMS_SEQUENCES, *({**row, **before} for row in planned.to_dicts()))
    lake.append(SUITABILITY, lake.local_rows(SUITABILITY, [FAILED]))
    lake.append(INJECTIONS, lake.local_rows(INJECTIONS, [STRAY]))


def put_corrections(lake: Lakehouse) -> None:
    """Correct a weight, a value, a sample, an instrument and a method; let a chamber become warm and another fall silent; make the tables from it."""
    put = putting(lake)
    late = {"recorded_at_utc": datetime(2025, 2, 20, tzinfo=UTC), "source_file": "z.csv", "ingest_batch": 99}
    weighed = _first(lake, LIMS_SEQUENCES, pl.col("sample_role") == "sample")
    put(LIMS_SEQUENCES, {**weighed, **late, "weight_mg": weighed["weight_mg"] * 1.3, "source_sha256": "shaA"})
    last = lake.polars(LIMS_SEQUENCES, where=pl.col("sample_role") == "sample").sort("injection_name").row(-1, named=True)
    put(LIMS_SEQUENCES, {**last, **late, "sample_role": "blank", "source_sha256": "shaE"})
    planned = _first(lake, LIMS_SEQUENCES, pl.col("sample_role") == "standard")
    trace = _first(lake, CHROMATOGRAMS, pl.col("injection_name") == planned["injection_name"])
    put(CHROMATOGRAMS, {**trace, "injection_name": "moved", "instrument_name": None, "source_sha256": "shaH"})
    moved = {**planned, "injection_name": "moved"}
    put(LIMS_SEQUENCES, {**moved, "source_sha256": "shaI"}, {**moved, **late, "instrument_id": "LC-03", "source_sha256": "shaJ"})
    entered = _first(lake, LIMS_RESULTS, pl.col("analyte") == "WATER")
    put(LIMS_RESULTS, {**entered, **late, "value": 3.4, "source_sha256": "shaB"})
    pulled = _first(lake, LIMS_SAMPLES, pl.col("chamber_id").is_not_null())
    put(LIMS_SAMPLES, {**pulled, **late, "patient_initials": "P.Q.", "source_sha256": "shaC"})
    methods = lake.polars(PROCESSING_METHODS)
    later = {"effective_from_utc": datetime(2025, 1, 1, 12, tzinfo=UTC), "source_sha256": "shaD"}
    first = methods["method_name"][0]
    put(
        PROCESSING_METHODS,
        *(
            {**row, **late, **later, "window_start": row["window_start"] - 0.01}
            for row in methods.filter(pl.col("method_name") == first).to_dicts()
        ),
    )
    page = lake.polars(BRONZE_IMAGES).row(0, named=True)
    put(BRONZE_IMAGES, {**page, "page": page["page"] + 1})
    put(CHAMBER_READINGS, _reading("CH-40", datetime(2025, 1, 10, 10, 30, tzinfo=UTC), warm=55.0))
    noon = datetime(2025, 1, 11, 12, tzinfo=UTC)
    put(CHAMBER_READINGS, *(_reading("CH-40", noon + timedelta(minutes=5 * step)) for step in range(1, 40)), batch=2)
    put(CHAMBER_READINGS, *(_reading("CH-9", noon + timedelta(hours=hours)) for hours in (0, 1, 2, 9, 10)), batch=3)
    run_stations(lake)


def _first(lake: Lakehouse, table: TableContract, where: pl.Expr) -> dict[str, Any]:
    return lake.polars(table, where=where).sort("source_sha256", "source_row").row(0, named=True)


def _reading(chamber: str, at: datetime, warm: float = 40.0) -> dict[str, Any]:
    used = {"temperature_c": warm, "humidity_pct": 75.0, "set_temperature_c": 40.0, "set_humidity_pct": 75.0}
    return {"chamber_id": chamber, "read_at_utc": at, **used}
