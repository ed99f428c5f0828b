"""What comes late reaches the features it concerns, and changes nothing that was known before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from lab_assets.contracts.bronze import CALIBRATIONS, CHROMATOGRAMS, INSTRUMENT_STATUS, LIMS_SEQUENCES, PROCESSING_METHODS
from lab_assets.contracts.features import INJECTION_PROGRESS, INSTRUMENT_HISTORY, LOT_HISTORY
from lab_assets.contracts.silver import INJECTIONS, PEAKS, RESULTS
from lab_assets.features.definitions import FEATURE_SET_VERSION
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.features.histories import LOT_HISTORY_STATION
from lab_assets.stations.features.injection_progress import INJECTION_PROGRESS_STATION
from lab_assets.stations.features.instrument_history import INSTRUMENT_HISTORY_STATION
from lab_assets.stations.runner import update
from lab_assets.stations.silver.peaks import PEAKS_STATION
from lab_assets_tests.stations.chromatography import EIGHT, WINDOW, X_S, injection, planned, trace
from lab_assets_tests.stations.rows import Put, at

FLOW = (PEAKS_STATION, INJECTION_PROGRESS_STATION, INSTRUMENT_HISTORY_STATION)


def bring(lake: Lakehouse, put: Put, row: dict[str, Any], area: float, *, batch: int) -> None:
    """Let an injection and its trace arrive."""
    lake.append(INJECTIONS, lake.local_rows(INJECTIONS, [row]))
    put(CHROMATOGRAMS, trace(row["injection_name"], "UV", area), batch=batch)


def flow(lake: Lakehouse) -> None:
    for station in FLOW:
        update(lake, station)


def assert_as_made_anew(lake: Lakehouse) -> None:
    assert {station.name: update(lake, station, rebuild=True).changed for station in FLOW} == dict.fromkeys((s.name for s in FLOW), 0)


def at_75(lake: Lakehouse, name: str) -> dict[str, Any]:
    rows = lake.polars(INJECTION_PROGRESS).filter((pl.col("injection_name") == name) & (pl.col("checkpoint_pct") == 75))
    return rows.sort("known_time_utc").to_dicts()[-1]


@pytest.fixture
def planned_sequence(lakehouse: Lakehouse, put: Put) -> list[dict[str, Any]]:
    """The worklist of a standard and a sample after it; neither has been run."""
    rows = [
        injection("std", 0, sample_role="standard", instrument_id="LC-1", stated_instrument_name="LC-1", column_id="C-1"),
        injection("a", 1, instrument_id="LC-1", stated_instrument_name="LC-1", column_id="C-1"),
    ]
    put(PROCESSING_METHODS, {**WINDOW, "source": "cds"})
    put(LIMS_SEQUENCES, *({**planned(row), "column_id": "C-1"} for row in rows))
    return rows


def test_a_standard_whose_file_comes_late_reaches_the_runs_measured_against_it(
    lakehouse: Lakehouse, put: Put, planned_sequence: list[dict[str, Any]]
) -> None:
    """Standard 600 and sample 660 mAU*s at equal weights: 110 %. The standard was run before the sample; its file comes after."""
    standard, sample = planned_sequence
    bring(lakehouse, put, sample, 660.0, batch=1)
    flow(lakehouse)
    assert at_75(lakehouse, "a")["main_value_pct"] is None
    bring(lakehouse, put, standard, 600.0, batch=2)
    flow(lakehouse)
    assert at_75(lakehouse, "a")["main_value_pct"] == pytest.approx(110.0, rel=0.01)
    states = lakehouse.polars(INSTRUMENT_HISTORY).sort("event_time_utc").to_dicts()
    assert [(row["injection_id"], row["ih_injections_on_column"]) for row in states] == [
        (standard["injection_id"], 1),
        (sample["injection_id"], 2),
    ]
    assert_as_made_anew(lakehouse)


def test_a_pressure_whose_file_comes_late_reaches_its_run_and_the_later_ones(
    lakehouse: Lakehouse, put: Put, planned_sequence: list[dict[str, Any]]
) -> None:
    standard, sample = planned_sequence
    bring(lakehouse, put, standard, 600.0, batch=1)
    bring(lakehouse, put, sample, 660.0, batch=1)
    flow(lakehouse)
    assert at_75(lakehouse, "std")["pressure_mean_bar"] is None
    pressure = {key: value for key, value in trace("std", "UV", 0.0).items() if key in INSTRUMENT_STATUS.column_names}
    put(INSTRUMENT_STATUS, {**pressure, "signal": "Pump Pressure", "y": [200.0] * len(X_S), "y_unit": "bar"}, batch=2)
    flow(lakehouse)
    assert at_75(lakehouse, "std")["pressure_mean_bar"] == pytest.approx(200.0)
    assert lakehouse.polars(INSTRUMENT_HISTORY)["ih_pressure_mean_bar"].to_list() == pytest.approx([200.0, 200.0])
    assert_as_made_anew(lakehouse)


def test_a_correction_is_told_as_a_state_of_the_last_run_also_when_that_comes_late(
    lakehouse: Lakehouse, put: Put, planned_sequence: list[dict[str, Any]]
) -> None:
    """A standard's weight is corrected a month later. The last run by then is the sample's, until the file of a run after it comes."""
    later = EIGHT + timedelta(days=30)
    for row in planned_sequence:
        bring(lakehouse, put, row, 600.0, batch=1)
    put(LIMS_SEQUENCES, {**planned(planned_sequence[0]), "column_id": "C-1", "weight_mg": 40.0, "recorded_at_utc": later}, batch=1)
    flow(lakehouse)

    def told_later() -> list[str]:
        return lakehouse.polars(INSTRUMENT_HISTORY).filter(pl.col("known_time_utc") == later)["injection_id"].to_list()

    assert told_later() == [planned_sequence[1]["injection_id"]]
    last = injection("b", 2, instrument_id="LC-1", stated_instrument_name="LC-1", column_id="C-1")
    put(LIMS_SEQUENCES, {**planned(last), "column_id": "C-1"}, batch=2)
    bring(lakehouse, put, last, 610.0, batch=2)
    flow(lakehouse)
    assert told_later() == [last["injection_id"]]
    assert_as_made_anew(lakehouse)


def certificate(number: str, performed: Any, valid_days: int) -> dict[str, Any]:
    row = {"certificate_id": number, "instrument_id": "LC-1", "parameter": "flow", "deviation": 0.0, "tolerance": 1.0, "unit": "%"}
    return {**row, "outcome": "pass", "performed_at_utc": performed, "valid_until_utc": performed + timedelta(days=valid_days)}


def test_days_to_calibration_due_never_know_of_a_certificate_of_the_future(
    lakehouse: Lakehouse, put: Put, planned_sequence: list[dict[str, Any]]
) -> None:
    """Due 66 days after the run; the next certificate, performed a month later, changes nothing of it."""
    standard, _ = planned_sequence
    put(CALIBRATIONS, certificate("C1", EIGHT - timedelta(days=24), 90))
    bring(lakehouse, put, standard, 600.0, batch=1)
    flow(lakehouse)
    before = lakehouse.polars(INSTRUMENT_HISTORY)
    assert before["ih_days_to_calibration_due"].to_list() == [66.0]
    put(CALIBRATIONS, certificate("C2", EIGHT + timedelta(days=30), 365), batch=2)
    flow(lakehouse)
    assert lakehouse.polars(INSTRUMENT_HISTORY).equals(before, null_equal=True)
    assert_as_made_anew(lakehouse)


def test_a_certificate_recorded_late_is_known_from_then_on(lakehouse: Lakehouse, put: Put, planned_sequence: list[dict[str, Any]]) -> None:
    """It was in force when the run began, and recorded a week later: a row beside the first, which stays."""
    standard, _ = planned_sequence
    bring(lakehouse, put, standard, 600.0, batch=1)
    flow(lakehouse)
    late = EIGHT + timedelta(days=7)
    put(CALIBRATIONS, {**certificate("C1", EIGHT - timedelta(days=24), 90), "recorded_at_utc": late}, batch=2)
    flow(lakehouse)
    rows = lakehouse.polars(INSTRUMENT_HISTORY).sort("known_time_utc").to_dicts()
    assert [(row["known_time_utc"], row["ih_days_to_calibration_due"]) for row in rows] == [
        (standard["known_time_utc"], None),
        (late, 66.0),
    ]


def test_a_corrected_certificate_is_another_state_from_its_record_on(
    lakehouse: Lakehouse, put: Put, planned_sequence: list[dict[str, Any]]
) -> None:
    """Due 66 days after the run; a week later recorded as good for a year from the same day; after two, as performed after the run."""
    standard, _ = planned_sequence
    performed = EIGHT - timedelta(days=24)
    put(CALIBRATIONS, certificate("C1", performed, 90))
    bring(lakehouse, put, standard, 600.0, batch=1)
    flow(lakehouse)
    week, fortnight = EIGHT + timedelta(days=7), EIGHT + timedelta(days=14)
    put(CALIBRATIONS, {**certificate("C1", performed, 365), "recorded_at_utc": week}, batch=2)
    flow(lakehouse)
    put(CALIBRATIONS, {**certificate("C1", EIGHT + timedelta(days=1), 365), "recorded_at_utc": fortnight}, batch=3)
    flow(lakehouse)
    rows = lakehouse.polars(INSTRUMENT_HISTORY).sort("known_time_utc").to_dicts()
    assert [(row["known_time_utc"], row["ih_days_to_calibration_due"]) for row in rows] == [
        (standard["known_time_utc"], 66.0),
        (week, 341.0),
        (fortnight, None),
    ]
    assert_as_made_anew(lakehouse)


def result(number: int, *, known: Any, value: float = 100.0) -> dict[str, Any]:
    return {
        "result_id": f"r{number}", "result_version": 1, "is_current": True, "injection_id": f"i{number}", "sample_name": "S", "lot_id": "L",
        "method_id": "ASSAY-01", "analyte": "API", "value": value, "unit": "%", "spec_low": 95.0, "spec_high": 105.0, "state": "pass",
        "replicate": number, "measured_at_utc": at(3), "known_time_utc": known,
    }  # fmt: skip


def test_a_row_of_a_lot_that_is_no_longer_computed_goes(lakehouse: Lakehouse) -> None:
    """A closing standard that comes late moves the time at which a result was known: no row of the former time stays."""
    lakehouse.append(RESULTS, lakehouse.local_rows(RESULTS, [result(1, known=at(4)), result(2, known=at(5), value=97.0)]))
    update(lakehouse, LOT_HISTORY_STATION)
    assert lakehouse.polars(LOT_HISTORY).sort("known_time_utc")["known_time_utc"].to_list() == [at(4), at(5)]
    moved = lakehouse.local_rows(RESULTS, [result(1, known=at(6))])
    lakehouse.replace_where(RESULTS, moved, "`result_id` = 'r1'")
    update(lakehouse, LOT_HISTORY_STATION)
    rows = lakehouse.polars(LOT_HISTORY).sort("known_time_utc").to_dicts()
    assert [(row["known_time_utc"], row["lot_results_known"]) for row in rows] == [(at(5), 1), (at(6), 2)]
    assert {row["feature_set_version"] for row in rows} == {FEATURE_SET_VERSION}


def test_rows_of_an_earlier_feature_set_stay_beside_those_of_today(lakehouse: Lakehouse) -> None:
    """When the definitions change, every group is made anew in today's set; a model of the earlier set keeps its rows."""
    lakehouse.append(RESULTS, lakehouse.local_rows(RESULTS, [result(1, known=at(4))]))
    update(lakehouse, LOT_HISTORY_STATION)
    old = lakehouse.polars(LOT_HISTORY).with_columns(feature_set_version=pl.lit("fs-old"), lot_min_margin=pl.lit(-7.0))
    lakehouse.replace_where(LOT_HISTORY, old.to_arrow(), "`lot_id` = 'L'")
    lakehouse.append(RESULTS, lakehouse.local_rows(RESULTS, [result(2, known=at(5))]))
    update(lakehouse, LOT_HISTORY_STATION)
    rows = lakehouse.polars(LOT_HISTORY)
    assert rows.filter(pl.col("feature_set_version") == "fs-old").equals(old, null_equal=True)
    assert rows.filter(pl.col("feature_set_version") == FEATURE_SET_VERSION).height == 2
    assert update(lakehouse, LOT_HISTORY_STATION, rebuild=True).changed == 0


def test_peaks_of_the_windows_of_before_stay_with_their_own_identity(
    lakehouse: Lakehouse, put: Put, planned_sequence: list[dict[str, Any]]
) -> None:
    """A revision in force since before the run, recorded after it: the run is integrated by it too, and one of both is current."""
    standard, _ = planned_sequence
    bring(lakehouse, put, standard, 600.0, batch=1)
    flow(lakehouse)
    revised = {
        **WINDOW,
        "window_start": 4.9,
        "source": "cds",
        "effective_from_utc": EIGHT - timedelta(days=1),
        "recorded_at_utc": EIGHT + timedelta(days=1),
    }
    put(PROCESSING_METHODS, revised, batch=2)
    changed = {**standard, "processing_id": "revised"}
    lakehouse.replace_where(INJECTIONS, lakehouse.local_rows(INJECTIONS, [changed]), f"`injection_id` = '{standard['injection_id']}'")
    flow(lakehouse)
    peaks = lakehouse.polars(PEAKS)
    assert (peaks["processing_id"].n_unique(), peaks["is_current"].sum()) == (2, 1)
