"""What is expected of a run, from rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lab_assets.features.reference import expectation_from_rows, standard_response

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2025, 3, 1, 13, tzinfo=UTC)


def method(analyte: str, start: float, end: float, **more: Any) -> dict[str, Any]:
    return {
        "method_name": "RS-01",
        "analyte": analyte,
        "channel": "",
        "window_start": start,
        "window_end": end,
        "window_unit": "min",
        "calibration": "external_standard",
    } | more


METHODS = [
    method("API", 4.4, 5.4),
    method("IMP-A", 78, 114, window_unit="s", reference_analyte="API", relative_response=0.8),
    method("API", 1, 2, method_name="OTHER-01"),
]
STANDARDS = [
    {"analyte": "API", "area": 990.0, "height": 100.0, "retention_time_min": 4.8, "weight_mg": 10.0, "nominal_weight_mg": 10.0}
    | {"standard_purity_pct": 99.0, "known_time_utc": NOON},
    {"analyte": "API", "area": 2020.0, "height": 202.0, "retention_time_min": 4.82, "weight_mg": 20.0, "nominal_weight_mg": 10.0}
    | {"standard_purity_pct": 100.0, "known_time_utc": NOON},
    {"analyte": "API", "area": 9e9, "weight_mg": 10.0, "known_time_utc": LATER},
    {"analyte": "API", "area": 9e9, "weight_mg": 10.0, "known_time_utc": NOON, "sample_role": "sample"},
]


def spec(analyte: str, low: float | None, high: float | None, **more: Any) -> dict[str, Any]:
    row = {"product": "P1", "method_id": "RS-01", "analyte": analyte, "spec_low": low, "spec_high": high}
    return row | {"effective_from_utc": datetime(2024, 1, 1, tzinfo=UTC), "recorded_at_utc": datetime(2024, 1, 1, tzinfo=UTC)} | more


SPECS = [
    spec("API", 95.0, 105.0),
    spec("API", 97.0, 103.0, effective_from_utc=datetime(2025, 1, 1, tzinfo=UTC)),
    spec("API", 1.0, 2.0, effective_from_utc=datetime(2026, 1, 1, tzinfo=UTC)),
    spec("IMP-A", None, 0.5),
    spec("IMP-A", None, 9.0, product="P2"),
]


def expected():
    return expectation_from_rows(
        METHODS, SPECS, STANDARDS, method_id="RS-01", run_time_min=8, product="P1", weight_mg=11.0, nominal_weight_mg=10.0, as_of_utc=NOON
    )


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


def test_limits_are_those_in_force():
    made = expected()
    assert made.spec_low == {"API": 97.0}
    assert made.spec_high == {"API": 103.0, "IMP-A": 0.5}


def test_retention_of_the_standards_or_middle_of_the_window():
    assert expected().reference_retention_min == pytest.approx({"API": 4.81, "IMP-A": 1.6})
    assert expected().reference_height == {"API": 151.0}


def test_little_known_is_no_error():
    made = expectation_from_rows(
        [method("API", 4.4, 5.4, method_name="")], [], [{"analyte": "API", "area": 50.0}], method_id="X", run_time_min=8
    )
    assert made.reference_area == {"API": 50.0}
    assert expectation_from_rows([], [], [{"analyte": "API", "area": None}], method_id="X", run_time_min=8).reference_area == {}


def test_channel_selects_windows_and_standards():
    methods = [method("API", 1, 2, channel="A"), method("API", 3, 4, channel="B")]
    standards = [{"analyte": "API", "area": 10.0, "channel": "A"}, {"analyte": "API", "area": 30.0, "channel": "B"}]
    made = expectation_from_rows(methods, [], standards, method_id="RS-01", run_time_min=8, channel="B")
    assert [window.start_min for window in made.windows] == [3]
    assert made.reference_area == {"API": 30.0}


def test_unknown_window_unit_is_refused():
    with pytest.raises(ValueError, match="hours"):
        expectation_from_rows([method("API", 1, 2, window_unit="hours")], [], [], method_id="RS-01", run_time_min=8)


def test_standard_response_is_area_per_pure_mg():
    assert standard_response(STANDARDS[0]) == pytest.approx(100.0)
    assert standard_response({"area": 5.0, "weight_mg": None}) is None
