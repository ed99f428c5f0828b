from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.decisions.review_path import CHECKS, GENERAL_CHECK, POLICY_VERSION, ReviewPolicy, decide
from lab_assets.features.definitions import FEATURE_NAMES
from lab_assets.modeling.explanation import Driver


def _driver(rank: int, feature: str, contribution: float = 0.5) -> Driver:
    return Driver(rank=rank, feature=feature, value=1.0, contribution=contribution, words=f"{feature} words")


def _decide(*, risk=0.5, low=None, high=None, verdict="likely_fail", features=None, drivers=(), policy=None):
    return decide(
        risk=risk,
        risk_low=risk if low is None else low,
        risk_high=risk if high is None else high,
        verdict=verdict,
        features=features or {},
        drivers=drivers,
        policy=policy,
    )


@pytest.mark.parametrize(
    ("risk", "high", "verdict", "path"),
    [
        (0.02, 0.04, "likely_pass", "fast_track"),
        (0.02, 0.10, "likely_pass", "standard"),
        (0.02, 0.04, "cannot_tell_yet", "standard"),
        (0.90, 0.95, "cannot_tell_yet", "standard"),
        (0.30, 0.40, "likely_pass", "mandatory_checks"),
        (0.15, 0.20, "likely_fail", "mandatory_checks"),
    ],
)
def test_paths(risk, high, verdict, path):
    decision = _decide(risk=risk, high=high, verdict=verdict)
    assert decision.path == path
    assert (decision.checks != ()) == (path == "mandatory_checks")
    assert decision.policy_version == POLICY_VERSION


@pytest.mark.parametrize(
    ("feature", "check"),
    [
        ("pressure_ripple_pct", "check pump seals and prime the pump"),
        ("ih_pressure_mean_bar", "check pump seals and prime the pump"),
        ("last_peak_tailing", "inspect the column and run system suitability"),
        ("ih_plates_ratio", "inspect the column and run system suitability"),
        ("storage_excursion_min", "review the chamber record of the sample"),
        ("early_impurity_pct", "second analyst reviews the integration of the early impurities"),
        ("lot_min_margin", "compare with the lot's earlier results"),
    ],
)
def test_drivers_name_checks(feature, check):
    decision = _decide(drivers=(_driver(1, feature),))
    assert decision.checks == (check,)
    assert decision.reasons[-1] == f"{check}: {feature} words"


def test_drivers_that_lower_the_risk_call_for_nothing():
    assert _decide(drivers=(_driver(1, "pressure_ripple_pct", -2.0),)).checks == (GENERAL_CHECK,)


def test_values_call_for_checks_after_the_drivers():
    decision = _decide(
        features={"ih_days_to_calibration_due": -3.0, "ih_tailing": 1.2, "pressure_ripple_pct": math.nan},
        drivers=(_driver(1, "storage_mkt_c"),),
    )
    assert decision.checks == ("review the chamber record of the sample", "check that the instrument's calibration is in force")
    assert "ih_days_to_calibration_due is -3, below 0" in decision.reasons[-1]
    assert "above 2" in _decide(features={"ih_tailing": 2.5}).reasons[-1]


def test_strongest_first_and_no_more_than_allowed():
    drivers = (_driver(2, "storage_mkt_c"), _driver(1, "ih_tailing"), _driver(3, "pressure_mean_bar"))
    decision = _decide(drivers=drivers, policy=ReviewPolicy(version="strict-7", max_checks=2))
    assert decision.checks == ("inspect the column and run system suitability", "review the chamber record of the sample")
    assert decision.policy_version == "strict-7"


def test_every_pattern_of_a_check_means_a_feature_that_exists():
    for check in CHECKS:
        for pattern in check.features:
            only = pattern.rstrip("*")
            assert any(name.startswith(only) if pattern.endswith("*") else name == only for name in FEATURE_NAMES), pattern
        assert set(check.above) | set(check.below) <= set(FEATURE_NAMES)


@pytest.mark.parametrize(("low", "risk", "high"), [(0.2, 0.1, 0.3), (0.1, 0.4, 0.3), (-0.1, 0.1, 0.3), (0.1, math.nan, 0.3)])
def test_probabilities_out_of_order_are_refused(low, risk, high):
    with pytest.raises(ValueError, match="does not hold"):
        _decide(risk=risk, low=low, high=high)


@given(
    low=st.floats(0, 1),
    mid=st.floats(0, 1),
    high=st.floats(0, 1),
    verdict=st.sampled_from(["likely_pass", "likely_fail", "cannot_tell_yet"]),
)
def test_always_a_path_with_reasons_and_never_a_fast_track_at_risk(low, mid, high, verdict):
    low, mid, high = sorted((low, mid, high))
    decision = _decide(risk=mid, low=low, high=high, verdict=verdict)
    assert len(decision.reasons) >= 2
    if decision.path == "fast_track":
        assert verdict == "likely_pass"
        assert high < 0.10
