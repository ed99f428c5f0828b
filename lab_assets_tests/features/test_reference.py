"""What is expected of a run, from the windows, limits and standards in force for it."""

from __future__ import annotations

from typing import Any

import pytest

from lab_assets.features.reference import expectation_of, standard_response


def window(analyte: str, start: float, end: float, **more: Any) -> dict[str, Any]:
    row = {"analyte": analyte, "channel": "", "window_start": start, "window_end": end, "window_unit": "min"}
    return row | {"calibration": "external_standard"} | more


WINDOWS = [
    window("API", 4.4, 5.4),
    window("IMP-A", 78, 114, window_unit="s", reference_analyte="API", relative_response=0.8),
]
LIMITS = {"API": {"spec_low": 97.0, "spec_high": 103.0}, "IMP-A": {"spec_low": None, "spec_high": 0.5}}
STANDARDS = [
    {"analyte": "API", "area": 990.0, "height": 100.0, "retention_time_min": 4.8, "weight_mg": 10.0, "nominal_weight_mg": 10.0}
    | {"standard_purity_pct": 99.0},
    {"analyte": "API", "area": 2020.0, "height": 202.0, "retention_time_min": 4.82, "weight_mg": 20.0, "nominal_weight_mg": 10.0}
    | {"standard_purity_pct": 100.0},
]


def expected():
    return expectation_of(WINDOWS, LIMITS, STANDARDS, method_id="RS-01", run_time_min=8, weight_mg=11.0, nominal_weight_mg=10.0)


def test_reference_area_is_the_external_standard_formula():
    """Both standards in force: 990 / (10 mg * 99 %) = 100 and 2020 / 20 mg = 101 per mg, mean 100.5; 11 mg taken: 1105.5 mean 100 %."""
    made = expected()
    assert made.reference_area["API"] == pytest.approx(100.5 * 11)
    assert made.reference_area["IMP-A"] == pytest.approx(100.5 * 11 * 0.8)
    area, weight, nominal = 1000.0, 11.0, 10.0
    by_formula = 100 * (area / weight) / 100.5 * (nominal / 10.0)
    assert made.value_pct("API", area) == pytest.approx(by_formula)
    assert made.main_analyte == "API"


def test_windows_are_minutes_in_order_of_elution():
    windows = expected().windows
    assert [(w.analyte, w.start_min, w.end_min) for w in windows] == [("IMP-A", pytest.approx(1.3), pytest.approx(1.9)), ("API", 4.4, 5.4)]


def test_an_empty_limit_is_no_limit():
    made = expected()
    assert made.spec_low == {"API": 97.0}
    assert made.spec_high == {"API": 103.0, "IMP-A": 0.5}


def test_retention_of_the_standards_or_middle_of_the_window():
    assert expected().reference_retention_min == pytest.approx({"API": 4.81, "IMP-A": 1.6})
    assert expected().reference_height == {"API": 151.0}


def test_little_known_is_no_error():
    made = expectation_of([window("API", 4.4, 5.4)], {}, [{"analyte": "API", "area": 50.0}], method_id="X", run_time_min=8)
    assert made.reference_area == {"API": 50.0}
    assert expectation_of([], {}, [{"analyte": "API", "area": None}], method_id="X", run_time_min=8).reference_area == {}


def test_channel_selects_windows_and_standards():
    windows = [window("API", 1, 2, channel="A"), window("API", 3, 4, channel="B")]
    standards = [{"analyte": "API", "area": 10.0, "channel": "A"}, {"analyte": "API", "area": 30.0, "channel": "B"}]
    made = expectation_of(windows, {}, standards, method_id="RS-01", run_time_min=8, channel="B")
    assert [one.start_min for one in made.windows] == [3]
    assert made.reference_area == {"API": 30.0}


def test_unknown_window_unit_is_refused():
    with pytest.raises(ValueError, match="hours"):
        expectation_of([window("API", 1, 2, window_unit="hours")], {}, [], method_id="RS-01", run_time_min=8)


def test_standard_response_is_area_per_pure_mg():
    assert standard_response(STANDARDS[0]) == pytest.approx(100.0)
    assert standard_response({"area": 5.0, "weight_mg": None}) is None
