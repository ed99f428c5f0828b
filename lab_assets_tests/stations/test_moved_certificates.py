"""A certificate that was recorded for one instrument and corrected to another, in every table that follows certificates."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from lab_assets.contracts.bronze import CALIBRATIONS, CHROMATOGRAMS, DOCUMENTS, LIMS_SEQUENCES, PROCESSING_METHODS
from lab_assets.contracts.features import INSTRUMENT_HISTORY
from lab_assets.contracts.gold import EXCEPTIONS
from lab_assets.contracts.silver import DOCUMENTS as SILVER_DOCUMENTS
from lab_assets.contracts.silver import INJECTIONS, INSTRUMENTS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.features.injection_progress import INJECTION_PROGRESS_STATION
from lab_assets.stations.features.instrument_history import INSTRUMENT_HISTORY_STATION
from lab_assets.stations.gold.exceptions import EXCEPTIONS_STATION
from lab_assets.stations.runner import update
from lab_assets.stations.silver.injections import INJECTIONS_STATION
from lab_assets.stations.silver.media import DOCUMENTS_STATION
from lab_assets.stations.silver.peaks import PEAKS_STATION
from lab_assets.stations.silver.reference import INSTRUMENTS_STATION
from lab_assets_tests.stations.chromatography import EIGHT, WINDOW, injection, planned, trace
from lab_assets_tests.stations.rows import Put

FLOW = (INJECTIONS_STATION, PEAKS_STATION, INJECTION_PROGRESS_STATION, INSTRUMENT_HISTORY_STATION)
FLOW_TO_PEOPLE = (*FLOW, INSTRUMENTS_STATION, DOCUMENTS_STATION, EXCEPTIONS_STATION)
WEEK = EIGHT + timedelta(days=7)
RUNS = {"run 1": "LC-1", "run 3": "LC-3"}


def certificate(instrument: str, **more: Any) -> dict[str, Any]:
    """The failed flow of an instrument, due 66 days after the runs."""
    times = {"performed_at_utc": EIGHT - timedelta(days=24), "valid_until_utc": EIGHT + timedelta(days=66)}
    row = {"certificate_id": "CAL-7", "instrument_id": instrument, "parameter": "flow", "deviation": 3.0, "tolerance": 1.0, "unit": "%"}
    return {**row, **times, "outcome": "fail", **more}


def put_runs(put: Put) -> None:
    """A run at eight on each of two instruments, and the certificate as a document."""
    put(PROCESSING_METHODS, {**WINDOW, "source": "hplc"})
    for name, instrument in RUNS.items():
        plan = planned(injection(name, 1, instrument_id=instrument))
        put(LIMS_SEQUENCES, {**plan, "recorded_at_utc": EIGHT - timedelta(hours=1)})
        stated = {"instrument_name": instrument, "method_name": "M-1", "injected_at_utc": EIGHT}
        put(CHROMATOGRAMS, trace(name, "UV", 600.0, **stated))
    put(DOCUMENTS, {"document_name": "c.pdf", "page": 1, "n_pages": 1, "text": "Certificate: CAL-7"})


def follow(lake: Lakehouse) -> None:
    for station in FLOW_TO_PEOPLE:
        update(lake, station)


def shown(lake: Lakehouse) -> dict[str, Any]:
    """What each table says of the two instruments."""
    instruments = lake.polars(INSTRUMENTS).sort("instrument_id")
    injections = lake.polars(INJECTIONS).sort("instrument_id")
    history = lake.polars(INSTRUMENT_HISTORY).sort("instrument_id", "known_time_utc")
    return {
        "instruments": instruments.select("instrument_id", "calibration_id", "calibration_outcome").rows(),
        "injections": injections.select("instrument_id", "calibration_id", "calibration_valid").rows(),
        "exceptions": sorted(lake.polars(EXCEPTIONS).filter(pl.col("kind") == "calibration")["exception_id"]),
        "document": lake.polars(SILVER_DOCUMENTS)["instrument_id"].item(),
        "due": history.select("instrument_id", pl.col("known_time_utc") == WEEK, "ih_days_to_calibration_due").rows(),
    }


ON_THE_FIRST = {
    "instruments": [("LC-1", "CAL-7", "fail"), ("LC-3", None, None)],
    "injections": [("LC-1", "CAL-7", False), ("LC-3", None, None)],
    "exceptions": ["calibration:LC-1/CAL-7", "calibration:LC-1/use/CAL-7", "calibration:LC-3/use/none"],
    "document": "LC-1",
    "due": [("LC-1", False, 66.0), ("LC-3", False, None)],
}
CORRECTED = {
    "instruments": [("LC-1", None, None), ("LC-3", "CAL-7", "fail")],
    "injections": [("LC-1", None, None), ("LC-3", "CAL-7", False)],
    "exceptions": ["calibration:LC-1/use/none", "calibration:LC-3/CAL-7", "calibration:LC-3/use/CAL-7"],
    "document": "LC-3",
    # a week later it became known; what was known of the runs before stays
    "due": [("LC-1", False, 66.0), ("LC-1", True, None), ("LC-3", False, None), ("LC-3", True, 66.0)],
}


@pytest.mark.parametrize("is_correction_first", [False, True])
def test_a_certificate_corrected_to_another_instrument_counts_there_only(
    lakehouse: Lakehouse, put: Put, *, is_correction_first: bool
) -> None:
    put_runs(put)
    wrong, right = certificate("LC-1"), certificate("LC-3", recorded_at_utc=WEEK)
    put(CALIBRATIONS, right if is_correction_first else wrong, batch=1)
    follow(lakehouse)
    if not is_correction_first:
        assert shown(lakehouse) == ON_THE_FIRST
    put(CALIBRATIONS, wrong if is_correction_first else right, batch=2)
    follow(lakehouse)
    assert shown(lakehouse) == CORRECTED
    assert [station.name for station in FLOW_TO_PEOPLE if update(lakehouse, station, rebuild=True).changed] == []


def test_a_correction_that_is_taken_back_gives_the_certificate_back(lakehouse: Lakehouse, put: Put) -> None:
    put_runs(put)
    put(CALIBRATIONS, certificate("LC-1"), certificate("LC-3", recorded_at_utc=WEEK))
    follow(lakehouse)
    assert shown(lakehouse) == CORRECTED
    lakehouse.replace_where(CALIBRATIONS, lakehouse.local_rows(CALIBRATIONS, []), "instrument_id = 'LC-3'")
    follow(lakehouse)
    assert shown(lakehouse) == ON_THE_FIRST


def test_a_correction_that_passes_ends_the_failure_of_the_former_instrument(lakehouse: Lakehouse, put: Put) -> None:
    """It passed on LC-3, so no record of a failure is left; LC-1 has no certificate."""
    put_runs(put)
    put(CALIBRATIONS, certificate("LC-1"))
    follow(lakehouse)
    put(CALIBRATIONS, certificate("LC-3", outcome="pass", recorded_at_utc=WEEK), batch=2)
    follow(lakehouse)
    assert shown(lakehouse)["exceptions"] == ["calibration:LC-1/use/none"]
