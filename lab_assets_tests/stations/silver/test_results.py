"""Reportable values by hand: one sequence at a time, no Spark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab_assets.stations.silver.results import Calculator, Specifications, result_id, state_of

T0 = datetime(2025, 3, 1, 8, 0, tzinfo=UTC)
EXTERNAL = {
    "analyte": "API",
    "channel": None,
    "integration": "detected",
    "calibration": "external_standard",
    "slope": None,
    "intercept": None,
    "relative_response": None,
    "reference_analyte": None,
    "result_unit": "%",
}
LIMIT = {
    "product": "P",
    "method_id": "M",
    "analyte": "API",
    "spec_low": 95.0,
    "spec_high": 105.0,
    "unit": "%",
    "effective_from_utc": T0 - timedelta(days=100),
    "recorded_at_utc": T0 - timedelta(days=100),
}


def _row(name: str, role: str, area: float | None, *, weight: float, nominal: float, minutes: int = 0, **other: Any) -> dict[str, Any]:
    at = T0 + timedelta(minutes=minutes)
    return {
        "injection_id": name,
        "sequence_id": "S",
        "sample_name": name,
        "sample_role": role,
        "lot_id": "L",
        "product": "P",
        "method_id": "M",
        "replicate": 1,
        "source": "hplc",
        "weight_mg": weight,
        "nominal_weight_mg": nominal,
        "standard_purity_pct": 100.0,
        "injected_at_utc": at,
        "known_time_utc": at + timedelta(minutes=8),
        "run_time_min": 8.0,
        "channel": "UV",
        "area_unit": "mAU*min",
        "analyte": None if area is None else "API",
        "area": area,
        "retest_of": None,
        "calculation": "S",
        **other,
    }


def _calculate(rows: list[dict[str, Any]], window: dict[str, Any] = EXTERNAL) -> list[dict[str, Any]]:
    return Calculator({"method:M": [window]}, [LIMIT]).calculate(rows)


def test_external_standard_by_hand() -> None:
    """Standards: 100 and 104 for 50 and 52 mg, so 2 per mg; sample: 100 * 94 / 2 / 100 mg * (100 mg / 50 mg) = 94 %."""
    rows = [
        _row("std1", "standard", 100.0, weight=50.0, nominal=50.0),
        _row("std2", "standard", 104.0, weight=52.0, nominal=50.0, minutes=60),
        _row("sample", "sample", 94.0, weight=100.0, nominal=100.0, minutes=20),
    ]
    (result,) = _calculate(rows)
    assert result["value"] == pytest.approx(94.0)
    assert result["state"] == "fail"
    assert (result["spec_low"], result["spec_high"], result["unit"]) == (95.0, 105.0, "%")


def test_a_result_is_known_when_its_last_standard_is() -> None:
    """The closing standard starts at 60 min and runs 8 min."""
    rows = [
        _row("std", "standard", 100.0, weight=50.0, nominal=50.0, minutes=60),
        _row("sample", "sample", 100.0, weight=100.0, nominal=100.0, minutes=20),
    ]
    (result,) = _calculate(rows)
    assert result["known_time_utc"] == T0 + timedelta(minutes=68)


def test_what_was_not_detected_counts_as_zero() -> None:
    rows = [
        _row("std", "standard", 100.0, weight=50.0, nominal=50.0),
        _row("sample", "sample", None, weight=100.0, nominal=100.0, minutes=20),
    ]
    (result,) = _calculate(rows)
    assert result["value"] == 0.0


def test_without_standards_there_is_no_value() -> None:
    assert _calculate([_row("sample", "sample", 94.0, weight=100.0, nominal=100.0)]) == []


def test_blanks_and_standards_have_no_result() -> None:
    rows = [_row("std", "standard", 100.0, weight=50.0, nominal=50.0), _row("blank", "blank", 1.0, weight=1.0, nominal=1.0)]
    assert _calculate(rows) == []


def test_a_response_line_gives_the_published_concentration() -> None:
    """A1, formate on RID-10A of actolonen/Analysis_Lab: 8.36892815469249 -> 3.51566343446463."""
    line = {**EXTERNAL, "calibration": "line", "slope": 0.0729200173994742, "intercept": 2.9054010478095, "result_unit": None}
    (result,) = _calculate([_row("A1", "unknown", 8.36892815469249, weight=0.0, nominal=0.0)], line)
    assert result["value"] == pytest.approx(3.51566343446463, rel=1e-12)


def test_the_limit_in_force_counts() -> None:
    later = {**LIMIT, "spec_low": 90.0, "effective_from_utc": T0 + timedelta(days=1), "recorded_at_utc": T0}
    limits = Specifications([later, LIMIT])
    in_force = [limits.of("P", "M", "API", at) for at in (T0, T0 + timedelta(days=2))]
    assert [limit["spec_low"] for limit in in_force if limit is not None] == [95.0, 90.0]
    assert limits.of("P", "M", "API", T0 - timedelta(days=500)) is None


@pytest.mark.parametrize(("value", "state"), [(95.0, "pass"), (105.0, "pass"), (94.999, "fail"), (105.001, "fail")])
def test_a_value_on_a_limit_passes(value: float, state: str) -> None:
    assert state_of(value, 95.0, 105.0) == state


def test_a_result_without_limits_is_not_judged() -> None:
    assert state_of(1.0, None, None) == "no_spec"


def test_result_ids_follow_from_what_they_are_results_of() -> None:
    assert result_id("inj", "API", "UV") == result_id("inj", "API", "UV") != result_id("inj", "API", "RI")
