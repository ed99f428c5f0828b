from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.modeling.calibration import fit_calibration, fit_intervals, fit_isotonic, fit_platt


def test_platt_finds_a_known_sigmoid():
    """Outcomes drawn from 1/(1 + exp(-(2 s - 1))): with 40,000 rows the curve is met to 0.01."""
    generator = np.random.default_rng(1)
    raw = generator.normal(size=40_000)
    truth = 1 / (1 + np.exp(-(2 * raw - 1)))
    fitted = fit_platt(raw, (generator.random(len(raw)) < truth).astype(float))
    points = np.array([-1.5, 0.0, 0.5, 1.5])
    assert fitted.method == "platt"
    assert fitted.apply(points) == pytest.approx(1 / (1 + np.exp(-(2 * points - 1))), abs=0.01)


def test_platt_of_a_score_that_orders_backwards_is_the_base_rate():
    """Three failures in ten rows, all at the lowest scores: (3 + 1)/(10 + 2) for every score."""
    fitted = fit_platt(np.arange(10.0), np.array([1.0, 1, 1, 0, 0, 0, 0, 0, 0, 0]))
    assert fitted.apply(np.array([-3.0, 5.0, 30.0])) == pytest.approx([1 / 3, 1 / 3, 1 / 3])


def test_platt_is_constant_beyond_its_knots():
    fitted = fit_platt(np.array([-1.0, 0.0, 1.0, 2.0]), np.array([0.0, 1, 0, 1]))
    assert fitted.apply(np.array([1e9]))[0] == fitted.risks[-1] < 1


def test_isotonic_by_hand():
    """Scores 1..5 with outcomes 0 1 0 1 1: blocks {1}: 0, {2, 3}: 1/2, {4, 5}: 1, held within 1/7 of 0 and 1."""
    fitted = fit_isotonic(np.array([1.0, 2, 3, 4, 5]), np.array([0.0, 1, 0, 1, 1]))
    assert fitted.apply(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == pytest.approx([1 / 7, 0.5, 0.5, 6 / 7, 6 / 7])
    assert fitted.apply(np.array([3.5]))[0] == pytest.approx((0.5 + 6 / 7) / 2)


def test_isotonic_needs_enough_units_not_rows():
    generator = np.random.default_rng(2)
    raw = generator.normal(size=1_200)
    labels = (generator.random(1_200) < 0.3).astype(float)
    assert fit_calibration(raw, labels).method == "isotonic"
    assert fit_calibration(raw, labels, rows_per_unit=4).method == "platt"


def test_one_outcome_cannot_be_calibrated():
    with pytest.raises(ValueError, match="one outcome only"):
        fit_calibration(np.arange(3.0), np.zeros(3))


def test_venn_abers_by_hand():
    """Scores 1, 2, 3 with outcomes 0, 0, 1. At score 3 a pass added gives mean 1/2, a failure 1; at 1 they give 0 and 1/2.

    At score 2 a failure added gives 1/2 for the block of score 2: outcomes 0 (at 1), {0, 1} (at 2), 1 (at 3). At score 1
    it makes {0, 1} there and 0 at 2, which pool to 1/3.
    """
    fitted = fit_intervals(np.array([1.0, 2, 3]), np.array([0.0, 0, 1]))
    assert fitted.low == pytest.approx([0.0, 0.0, 0.5])
    assert fitted.high == pytest.approx([1 / 3, 0.5, 1.0])
    low, high = fitted.apply(np.array([0.0, 2.0, 2.5, 9.0]))
    assert low == pytest.approx([0.0, 0.0, 0.0, 0.5])
    assert high == pytest.approx([1 / 3, 0.5, 1.0, 1.0])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_intervals_hold_the_exact_interval_of_any_score(seed):
    """Between grid points the answer is never narrower than the interval recomputed for the score itself."""
    generator = np.random.default_rng(seed)
    raw = np.round(generator.normal(size=30), 1)
    labels = (generator.random(30) < 0.4).astype(float)
    fitted = fit_intervals(raw, labels)
    score = float(generator.normal())
    low, high = fitted.apply(score)
    direct = _exact(raw, labels, score)
    assert low <= direct[0] + 1e-12
    assert high >= direct[1] - 1e-12
    assert (np.diff(fitted.low) >= -1e-12).all()
    assert (np.diff(fitted.high) >= -1e-12).all()


def _exact(raw, labels, score):
    """Venn-Abers by scikit-learn's isotonic regression, the definition word for word."""
    from sklearn.isotonic import IsotonicRegression

    ends = []
    for outcome in (0.0, 1.0):
        model = IsotonicRegression().fit(np.append(raw, score), np.append(labels, outcome))
        ends.append(float(model.predict([score])[0]))
    return ends
