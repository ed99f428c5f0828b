from __future__ import annotations

from dataclasses import replace

import pytest

from lab_assets.modeling.evaluation import Metrics, PairedDifference
from lab_assets.modeling.gate import GateCriteria, judge

GOOD = Metrics(
    rows=400,
    positives=60,
    log_loss=0.30,
    brier=0.09,
    brier_skill=0.25,
    auc=0.85,
    ece=0.03,
    ece_low=0.0,
    ece_high=0.05,
    base_log_loss=0.42,
    base_brier=0.12,
)
BASELINE = replace(GOOD, log_loss=0.33)
BETTER = PairedDifference(mean=-0.03, low=-0.05, high=-0.01, lots=40)


def _judge(model=GOOD, difference=BETTER, baseline=BASELINE, **slices):
    return judge(model={"all": model, "checkpoint=50": model, **slices}, baseline={"all": baseline}, difference=difference)


def test_a_good_model_passes_and_every_reason_has_its_number():
    verdict = _judge()
    assert verdict.passed
    assert verdict.failures == ()
    assert "met: log-loss 0.3000 against the base rate's 0.4200" in verdict.reasons
    assert len(verdict.reasons) == 7


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"rows": 99}, "99 test rows, at least 100 needed"),
        ({"positives": 9}, "9 failures among them, at least 10 needed"),
        ({"log_loss": 0.43}, "log-loss 0.4300 against the base rate's 0.4200"),
        ({"brier_skill": 0.0}, "Brier skill overall +0.0000, above 0 needed"),
        ({"ece": 0.09, "ece_low": 0.06}, "calibration error 0.0900 (90 % interval 0.0600 to 0.0500), lower end at most 0.05 needed"),
    ],
)
def test_each_criterion_fails_by_itself(change, answer):
    verdict = _judge(model=replace(GOOD, **change), baseline=replace(BASELINE, log_loss=0.5), **{"checkpoint=50": GOOD})
    assert verdict.failures == (answer,)
    assert not verdict.passed


def test_worse_than_the_baseline_passes_only_within_the_margin():
    worse = replace(BASELINE, log_loss=0.295)
    assert _judge(baseline=worse, difference=PairedDifference(mean=0.005, low=0.001, high=0.009, lots=40)).passed
    refused = _judge(baseline=worse, difference=PairedDifference(mean=0.005, low=-0.03, high=0.04, lots=40))
    assert len(refused.failures) == 1
    assert "worse, and possibly by more than 0.01" in refused.failures[0]


def test_skill_is_asked_for_from_half_of_the_run_on():
    weak = replace(GOOD, brier_skill=-0.1)
    assert _judge(**{"checkpoint=10": weak, "method=RS-01": weak}).passed
    assert _judge(**{"checkpoint=75": weak}).failures == ("Brier skill at 75 % of the run -0.1000, above 0 needed",)


def test_criteria_can_be_set():
    verdict = judge(model={"all": GOOD}, baseline={"all": BASELINE}, difference=BETTER, criteria=GateCriteria(min_positives=61))
    assert verdict.failures == ("60 failures among them, at least 61 needed",)
