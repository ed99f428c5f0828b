from __future__ import annotations

import math

import numpy as np
import pytest

from lab_assets.modeling.evaluation import (
    attainable,
    auc,
    calibration_error,
    evaluate,
    evaluate_slices,
    log_losses,
    paired_difference,
    reliability,
    slices,
)

LABELS = np.array([0.0, 0.0, 1.0, 1.0])
RISKS = np.array([0.1, 0.4, 0.35, 0.8])
LOTS = np.array(["A", "A", "B", "B"])


def test_metrics_by_hand():
    """The four-row example of scikit-learn's documentation of roc_auc_score (AUC 0.75); the rest by hand."""
    metrics = evaluate(LABELS, RISKS, lots=LOTS, base_rate=0.5)
    assert metrics.auc == pytest.approx(0.75)
    assert metrics.brier == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert metrics.log_loss == pytest.approx(-(math.log(0.9) + math.log(0.6) + math.log(0.35) + math.log(0.8)) / 4)
    assert metrics.base_log_loss == pytest.approx(math.log(2))
    assert metrics.base_brier == pytest.approx(0.25)
    assert metrics.brier_skill == pytest.approx(1 - metrics.brier / 0.25)
    assert (metrics.rows, metrics.positives) == (4, 2)


def test_auc_of_ties_and_of_one_outcome():
    assert auc(np.array([0.0, 1.0]), np.array([0.5, 0.5])) == pytest.approx(0.5)
    assert math.isnan(auc(np.ones(3), np.arange(3.0)))
    metrics = evaluate(np.zeros(2), np.array([0.1, 0.2]), lots=np.array(["A", "B"]), base_rate=0.1)
    assert "auc" not in metrics.values()
    assert metrics.values()["positives"] == 0


def test_certainty_that_is_wrong_costs_much_but_not_infinitely():
    assert log_losses(np.array([1.0]), np.array([0.0]))[0] == pytest.approx(-math.log(1e-12))


def test_calibration_error_by_hand():
    """All risks 0.2 and one failure in four rows: one bin, |0.25 - 0.2|; equal risks are never parted."""
    ece, low, high = calibration_error(np.array([1.0, 0, 0, 0]), np.full(4, 0.2), lots=np.arange(4))
    assert ece == pytest.approx(0.05)
    assert low <= high


def test_calibration_error_interval_of_a_calibrated_model_reaches_down_to_zero():
    generator = np.random.default_rng(0)
    risks = generator.random(2_000)
    labels = (generator.random(2_000) < risks).astype(float)
    ece, low, high = calibration_error(labels, risks, lots=np.arange(2_000) // 4)
    assert low < 0.02 < ece < 0.05
    assert high < 0.05
    biased = calibration_error(labels, np.clip(risks + 0.2, 0, 1), lots=np.arange(2_000) // 4)
    assert biased[1] > 0.1


def test_reliability_counts_every_row_once():
    bins = reliability(LABELS, RISKS, n_bins=2)
    assert [(each.rows, each.observed) for each in bins] == [(2, 0.5), (2, 0.5)]
    assert bins[0].risk_mean == pytest.approx((0.1 + 0.35) / 2)
    assert (bins[1].risk_low, bins[1].risk_high) == (0.4, 0.8)


def test_slices_are_judged_by_themselves():
    marked = slices(checkpoints=np.array([10, 10, 50, 50]), methods=np.array(["M1", "M2", "M1", "M2"]))
    judged = evaluate_slices(LABELS, RISKS, lots=LOTS, base_rate=0.5, marked=marked)
    assert list(judged) == ["all", "checkpoint=10", "checkpoint=50", "method=M1", "method=M2"]
    assert judged["checkpoint=10"].brier == pytest.approx((0.01 + 0.16) / 2)
    assert judged["method=M1"].auc == pytest.approx(1.0)


def test_attainable_by_hand():
    """Two rows of risk 1/4 and 3/4: entropy 0.5623, Brier 3/16; the pairs with one failure are won 9 times in 10."""
    bound = attainable(np.array([0.25, 0.75]))
    assert bound.log_loss == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)))
    assert bound.brier == pytest.approx(0.1875)
    assert bound.auc == pytest.approx(0.5625 / (0.5625 + 0.0625))
    assert math.isnan(attainable(np.zeros(3)).auc)


def test_no_model_beats_the_attainable_on_many_rows():
    generator = np.random.default_rng(4)
    risks = generator.beta(1, 4, size=10_000)
    labels = (generator.random(len(risks)) < risks).astype(float)
    bound, reached = attainable(risks), evaluate(labels, risks, lots=np.arange(len(risks)) // 50, base_rate=0.2)
    assert (bound.log_loss, bound.brier, bound.auc) == pytest.approx((reached.log_loss, reached.brier, reached.auc), abs=0.015)
    assert evaluate(labels, risks**1.3, lots=np.arange(len(risks)) // 50, base_rate=0.2).log_loss > reached.log_loss


def test_paired_difference_of_a_constant_gain_is_certain():
    """Every row's loss is 0.1 less: mean and both ends are -0.1, whatever is resampled."""
    second = np.array([0.5, 0.4, 0.9, 0.2])
    difference = paired_difference(second - 0.1, second, lots=LOTS)
    assert (difference.mean, difference.low, difference.high) == pytest.approx((-0.1, -0.1, -0.1))
    assert difference.lots == 2


def test_no_rows_cannot_be_judged():
    with pytest.raises(ValueError, match="no rows"):
        evaluate(np.empty(0), np.empty(0), lots=np.empty(0), base_rate=0.1)
