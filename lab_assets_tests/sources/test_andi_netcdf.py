"""ANDI files: six vendors' real ones against their published content, and habits written by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources.builders import andi, read, rule_of

SIX = ("DIONEX", "EXAMPLE", "ACID", "SHIMADZU", "VARIAN1", "WATERS4")


@needs_samples
@pytest.mark.parametrize("name", SIX)
def test_real_file(name: str) -> None:
    """Expected values are those in ``expected.json`` beside the files."""
    folder = samples_dir()
    assert folder is not None
    expected = json.loads((folder / "andi_cdf" / "expected.json").read_text())[f"{name}.CDF"]
    result = read((folder / "andi_cdf" / f"{name}.CDF").read_bytes(), f"{name}.CDF")
    (row,) = result.tables["chromatograms"]
    assert row["n_points"] == expected["points"]
    assert row["x"][0] == pytest.approx(expected["delay"])
    assert np.diff(row["x"]) == pytest.approx(expected["sampling_interval"], abs=1e-4)
    attributes = expected["attributes"]
    assert (row["sample_name"] or "") == (attributes["sample_name"] or "").strip()
    assert row["injected_at_text"] == attributes["injection_date_time_stamp"]
    assert row["zone_known"] is True
    if attributes["detector_unit"]:
        assert row["y_unit"] == attributes["detector_unit"]
    peaks = result.tables.get("vendor_peaks", [])
    assert len(peaks) == expected["n_peaks"]
    for peak, truth in zip(peaks, expected["peaks"], strict=True):
        assert peak["retention_time"] == pytest.approx(truth["peak_retention_time"], abs=1e-3)
        assert peak["area"] == pytest.approx(truth["peak_area"], rel=1e-6, abs=1e-4)
        assert peak["height"] == pytest.approx(truth["peak_height"], rel=1e-6, abs=1e-4)
        assert (peak["peak_name"] or "") == truth.get("peak_name", "")
        for ours, theirs in (("start_time", "peak_start_time"), ("end_time", "peak_end_time")):
            assert (peak[ours] is None) == (theirs not in truth)


@needs_samples
def test_offset_of_the_stamp_counts() -> None:
    """DIONEX.CDF states 15:44:59 at eight hours behind UTC."""
    folder = samples_dir()
    assert folder is not None
    row = read((folder / "andi_cdf" / "DIONEX.CDF").read_bytes(), "DIONEX.CDF").tables["chromatograms"][0]
    assert row["injected_at_utc"] == datetime(1990, 4, 25, 23, 44, 59, tzinfo=UTC)


def test_times_are_delay_plus_interval() -> None:
    row = read(andi(), "run.cdf").tables["chromatograms"][0]
    assert row["x"].tolist() == [0.25, 0.75, 1.25]
    assert row["y"].tolist() == [1.0, 5.0, 2.0]
    assert (row["x_unit"], row["y_unit"], row["channel"], row["injection_name"]) == ("seconds", "mAU", "UV", "run")
    assert row["injected_at_utc"] == datetime(2025, 3, 4, 4, 6, 7, tzinfo=UTC)


def test_injection_is_named_after_the_data_file_it_came_from() -> None:
    row = read(andi(attributes={"source_file_reference": "D:\\data\\SEQ_3.D"}), "export1.cdf").tables["chromatograms"][0]
    assert row["injection_name"] == "SEQ_3"


def test_pressure_goes_to_instrument_status() -> None:
    tables = read(andi(attributes={"detector_name": "Pressure", "detector_unit": "bar"}), "p.cdf").tables
    assert list(tables) == ["instrument_status"]
    assert tables["instrument_status"][0]["signal"] == "Pressure"


@pytest.mark.parametrize("stamp", ["1900,01,01,00,00,00", "39910101000000+0000", "20250230000000+0000"])
def test_impossible_dates_stay_text(stamp: str) -> None:
    result = read(andi(attributes={"injection_date_time_stamp": stamp}), "a.cdf")
    row = result.tables["chromatograms"][0]
    assert (row["injected_at_text"], row["injected_at_utc"], row["zone_known"]) == (stamp, None, False)
    assert len(result.warnings) == 1


def test_retention_in_minutes_beside_an_interval_in_seconds() -> None:
    """600 s sampled each 0.5 s; a peak at 5 min cannot be in the unit of a trace that ends at 599.5."""
    data = andi(attributes={"retention_unit": "time in minutes"}, y=np.ones(1200).tolist(), delay=0, peaks={"peak_retention_time": [5.0]})
    result = read(data, "a.cdf")
    assert result.tables["chromatograms"][0]["x_unit"] == "seconds"
    assert result.tables["vendor_peaks"][0]["retention_unit"] == "time in minutes"
    in_minutes = read(andi(attributes={"retention_unit": "minutes"}, interval=0.01, peaks={"peak_retention_time": [0.26]}), "a.cdf")
    assert in_minutes.tables["chromatograms"][0]["x_unit"] == "minutes"


def test_peaks_with_names_and_columns_of_the_standard() -> None:
    peaks = {"peak_retention_time": [0.5, 1.0], "peak_area": [7.0, float("nan")], "peak_asymmetry": [1.5, 1.0], "peak_width": [0.25, 0.5]}
    result = read(andi(peaks=peaks, names=["API", "IMP-A"], attributes={"peak_amount_unit": "ppm"}), "a.cdf")
    (peak,) = result.tables["vendor_peaks"]
    assert (peak["peak_name"], peak["area"], peak["tailing"], peak["amount_unit"]) == ("API", 7.0, 1.5, "ppm")
    assert peak["rescued"] == {"peak_width": "0.25"}
    assert [(row.rule, row.column, row.source_row) for row in result.rejected] == [("not_finite", "area", 2)]


def test_unusable_files_are_refused() -> None:
    whole = andi()
    assert rule_of(whole[:200], "a.cdf")[0] == "truncated"
    assert rule_of(andi(y=(1.0, float("nan"), 2.0)), "a.cdf") == ("not_finite", "point 2")
    assert rule_of(andi(interval=0.0), "a.cdf")[0] == "missing_variable"
    assert rule_of(whole.replace(b"ordinate_values", b"ordinate_valuez"), "a.cdf")[0] == "missing_variable"


def test_minutes_missing_falls_back_to_the_standard() -> None:
    result = read(andi(attributes={"retention_unit": ""}), "a.cdf")
    assert result.tables["chromatograms"][0]["x_unit"] == "seconds"
    assert "E1947" in result.warnings[0]
