"""Integration of one trace into rows, by hand, no Spark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lab_assets.contracts.silver import PEAKS
from lab_assets.domain.processing_methods import processing_id
from lab_assets.stations.silver.peaks import integrate_trace

X = np.arange(0, 1200.0) * 0.5  # s


def _gaussian(area: float, at_s: float, sigma_s: float) -> np.ndarray:
    return area / (sigma_s * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((X - at_s) / sigma_s) ** 2)


def _trace(y: np.ndarray, **other: Any) -> dict[str, Any]:
    return {
        "injection_id": "inj_1",
        "injection_name": "one",
        "channel": "UV",
        "x": X,
        "y": y,
        "x_unit": "s",
        "y_unit": "mAU",
        "y_factor": 1.0,
        "source_sha256": "0" * 64,
        **other,
    }


def _window(analyte: str, start: float, end: float, integration: str) -> dict[str, Any]:
    return {"analyte": analyte, "channel": None, "integration": integration, "window_start": start, "window_end": end, "window_unit": "min"}


def test_a_detected_peak_is_named_by_its_window_and_has_its_area_in_minutes() -> None:
    """Area 600 mAU*s is 10 mAU*min; the apex is at 300 s, 5 min."""
    (peak,) = integrate_trace(_trace(_gaussian(600.0, 300.0, 6.0)), [_window("API", 4.5, 5.5, "detected")], [])
    assert peak["analyte"] == "API"
    assert peak["area"] == pytest.approx(10.0, rel=1e-3)
    assert peak["area_unit"] == "mAU*min"
    assert peak["retention_time_min"] == pytest.approx(5.0, abs=1e-3)
    assert peak["plates"] == pytest.approx((300.0 / 6.0) ** 2, rel=0.01)  # N = (tR / sigma)^2 for a Gaussian
    assert set(peak) <= set(PEAKS.column_names)


def test_the_intensity_multiplier_is_applied() -> None:
    (peak,) = integrate_trace(_trace(_gaussian(600.0, 300.0, 6.0) * 1000, y_factor=0.001), [], [])
    assert peak["area"] == pytest.approx(10.0, rel=1e-3)


def test_a_fixed_window_gives_one_row_even_without_a_peak() -> None:
    """A straight line has no area above its own straight baseline."""
    (row,) = integrate_trace(_trace(0.01 * X), [_window("A", 2.0, 3.0, "fixed_window")], [])
    assert row["analyte"] == "A"
    assert row["area"] == pytest.approx(0.0, abs=1e-9)


def test_the_vendors_values_stand_beside() -> None:
    vendor = [{"retention_time": 5.01, "retention_unit": "min", "peak_name": "main", "area": 601.0, "area_unit": "mAU*s", "plates": 2400.0}]
    (peak,) = integrate_trace(_trace(_gaussian(600.0, 300.0, 6.0)), [], vendor)
    assert (peak["vendor_peak_name"], peak["vendor_area"], peak["vendor_plates"]) == ("main", 601.0, 2400.0)


def test_a_trace_over_no_time_has_no_peaks() -> None:
    assert integrate_trace(_trace(_gaussian(600.0, 300.0, 6.0), x_unit="mL"), [], []) == []


def test_other_windows_are_another_processing() -> None:
    one, other = [_window("API", 4.5, 5.5, "detected")], [_window("API", 4.4, 5.5, "detected")]
    assert processing_id(one) == processing_id(list(one)) != processing_id(other)
    assert processing_id([]) == "none"
