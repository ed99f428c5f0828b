from __future__ import annotations

from lab_assets.domain.suitability import SuitabilityCriteria, SuitabilityMeasures, judge_suitability

STRICT = SuitabilityCriteria(min_plates=2000, min_resolution=1.5, max_rsd_pct=2.0)
GOOD = SuitabilityMeasures(plates=2000, tailing=1.8, resolution=1.5, rsd_pct=2.0, signal_to_noise=10)


def test_values_on_their_limits_pass() -> None:
    assert judge_suitability(GOOD, STRICT).state == "pass"
    assert judge_suitability(SuitabilityMeasures(tailing=0.8, signal_to_noise=10)).failures == ()


def test_every_failing_criterion_is_named() -> None:
    bad = SuitabilityMeasures(plates=1999, tailing=2.1, resolution=1.4, rsd_pct=2.1, signal_to_noise=9.9)
    verdict = judge_suitability(bad, STRICT)
    assert verdict.state == "fail"
    assert verdict.failures == (
        "plates 1999 < 2000",
        "tailing 2.1 > 1.8",
        "resolution 1.4 < 1.5",
        "rsd_pct 2.1 > 2",
        "signal_to_noise 9.9 < 10",
    )
    assert judge_suitability(SuitabilityMeasures(tailing=0.7, signal_to_noise=99)).failures == ("tailing 0.7 < 0.8",)


def test_what_is_asked_for_and_missing_fails() -> None:
    assert judge_suitability(SuitabilityMeasures(tailing=float("nan"), signal_to_noise=99)).failures == ("tailing not measured",)
    assert "resolution not measured" in judge_suitability(SuitabilityMeasures(), STRICT).failures
