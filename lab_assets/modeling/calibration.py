# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
"""From raw score to probability and interval, as plain arrays.

Belongs here: Platt and isotonic calibration, Venn-Abers intervals, their application. Does not belong here: boosters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np

from lab_assets.modeling.arrays import FloatArray

ISOTONIC_MIN_ROWS: Final = 1_000
ISOTONIC_MIN_MINORITY: Final = 100
"""Isotonic regression overfits below these (Niculescu-Mizil & Caruana 2005: about 1,000 rows; enough of each class)."""
_PLATT_KNOTS: Final = 257
_GRID_POINTS: Final = 128


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A non-decreasing map from raw score to probability, linear between knots and constant beyond them.

    Attributes:
        method: How it was fitted.
        scores: ``(k,)`` strictly increasing raw scores, log-odds.
        risks: ``(k,)`` probabilities at those scores.
    """

    method: Literal["platt", "isotonic"]
    scores: FloatArray
    risks: FloatArray

    def apply(self, raw: FloatArray | float) -> FloatArray:
        """Return the calibrated probability of each raw score, any shape."""
        return np.asarray(np.interp(raw, self.scores, self.risks), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Venn-Abers intervals precomputed over a grid of raw scores.

    Attributes:
        scores: ``(g,)`` strictly increasing grid of raw scores.
        low: ``(g,)`` probability when the new row is taken to be a pass.
        high: ``(g,)`` probability when the new row is taken to be a failure.
    """

    scores: FloatArray
    low: FloatArray
    high: FloatArray

    def apply(self, raw: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """Return lower and upper probability of each raw score, any shape.

        Both ends do not decrease with the score, so the lower end at the grid point before and the upper end at the
        grid point after hold the exact interval of every score between: the answer is never too narrow. Beyond the
        grid nothing is known, and the open side is 0 or 1.
        """
        padded_low, padded_high = self._padded
        return (
            padded_low[np.searchsorted(self.scores, raw, side="right")],
            padded_high[np.searchsorted(self.scores, raw, side="left")],
        )

    @cached_property
    def _padded(self) -> tuple[FloatArray, FloatArray]:
        return np.concatenate(([0.0], self.low)), np.concatenate((self.high, [1.0]))


def _logistic(values: FloatArray) -> FloatArray:
    return 0.5 * (1.0 + np.tanh(0.5 * values))


def _platt_coefficients(raw: FloatArray, labels: FloatArray) -> tuple[float, float]:
    """Return slope and intercept of the log-odds by Newton's method with step halving."""
    positives = float(labels.sum())
    negatives = len(labels) - positives
    targets = np.where(labels > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.column_stack((raw, np.ones_like(raw)))
    beta: FloatArray = np.array([0.0, np.log((positives + 1) / (negatives + 1))], dtype=np.float64)

    def loss(candidate: FloatArray) -> float:
        margin = design @ candidate
        return float(np.sum(np.logaddexp(0.0, margin) - targets * margin))

    current = loss(beta)
    for _ in range(100):
        risk = _logistic(design @ beta)
        gradient = design.T @ (risk - targets)
        hessian = (design * (risk * (1 - risk))[:, None]).T @ design + 1e-10 * np.eye(2)
        step = np.asarray(np.linalg.solve(hessian, gradient), dtype=np.float64)
        size = 1.0
        while size > 1e-8 and loss(beta - size * step) > current:
            size /= 2
        beta = beta - size * step
        improved = current - loss(beta)
        current = loss(beta)
        if improved < 1e-12 * len(labels):
            break
    return float(beta[0]), float(beta[1])


def fit_platt(raw: FloatArray, labels: FloatArray) -> Calibration:
    """Fit ``1 / (1 + exp(-(a s + b)))`` to scores and outcomes.

    Source: Platt (1999) with the smoothed targets ``(N+ + 1)/(N+ + 2)`` and ``1/(N- + 2)`` and the Newton method of
    Lin, Lin & Weng (2007). A score that orders the rows backwards gets slope 0, that is the base rate for all.

    Args:
        raw: ``(n,)`` log-odds of rows the booster has not seen.
        labels: ``(n,)`` outcomes, 0 or 1.

    Returns:
        The curve at 257 knots, reaching two log-odds beyond the scores seen.
    """
    slope, intercept = _platt_coefficients(raw, labels)
    if slope < 0:
        positives = float(labels.sum())
        slope, intercept = 0.0, float(np.log((positives + 1) / (len(labels) - positives + 1)))
    scores = np.linspace(float(raw.min()) - 2.0, float(raw.max()) + 2.0, _PLATT_KNOTS)
    return Calibration(method="platt", scores=scores, risks=_logistic(slope * scores + intercept))


def isotonic_fit(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the non-decreasing least-squares fit to values in score order, ``(n,)``.

    Pool adjacent violators (Ayer et al. 1955), as implemented by SciPy.
    """
    from scipy.optimize import isotonic_regression

    return np.asarray(isotonic_regression(values, weights=weights).x, dtype=np.float64)


def _pooled(raw: FloatArray, labels: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return distinct scores, mean outcome and number of rows of each."""
    scores, codes = np.unique(raw, return_inverse=True)
    counts = np.bincount(codes).astype(np.float64)
    return scores, np.bincount(codes, weights=labels) / counts, counts


def fit_isotonic(raw: FloatArray, labels: FloatArray) -> Calibration:
    """Fit the best non-decreasing map from score to probability.

    Source: Zadrozny & Elkan (2002). Each block of equal probability is kept at its two ends. Probabilities are held
    within ``1/(n + 2)`` of 0 and 1, for no finite sample shows an outcome to be impossible.

    Args:
        raw: ``(n,)`` log-odds of rows the booster has not seen.
        labels: ``(n,)`` outcomes, 0 or 1.

    Returns:
        The fitted map.
    """
    scores, means, counts = _pooled(raw, labels)
    risks = isotonic_fit(means, counts)
    edge = 1.0 / (len(labels) + 2.0)
    change = np.flatnonzero(np.diff(risks) != 0)
    keep = np.unique(np.concatenate(([0], change, change + 1, [len(risks) - 1])))
    return Calibration(method="isotonic", scores=scores[keep], risks=np.clip(risks[keep], edge, 1.0 - edge))


def fit_calibration(raw: FloatArray, labels: FloatArray, *, rows_per_unit: int = 1) -> Calibration:
    """Fit isotonic calibration where the rows allow it, else Platt's.

    Args:
        raw: ``(n,)`` log-odds of rows the booster has not seen.
        labels: ``(n,)`` outcomes, 0 or 1.
        rows_per_unit: Rows that share one outcome (checkpoints of an injection); only units count as evidence.

    Returns:
        The fitted map.

    Raises:
        ValueError: fewer than two rows, or one outcome only.
    """
    minority = min(float(labels.sum()), len(labels) - float(labels.sum()))
    if minority < 1:
        raise ValueError(f"{len(labels)} calibration rows hold one outcome only; both are needed")
    if len(labels) >= ISOTONIC_MIN_ROWS * rows_per_unit and minority >= ISOTONIC_MIN_MINORITY * rows_per_unit:
        return fit_isotonic(raw, labels)
    return fit_platt(raw, labels)


def _with_one_more(scores: FloatArray, means: FloatArray, counts: FloatArray, *, score: float, outcome: float) -> float:
    """Return the isotonic fit at a score after adding one row of that score and outcome."""
    place = int(np.searchsorted(scores, score))
    if place < len(scores) and scores[place] == score:
        values, weights = means.copy(), counts.copy()
        values[place] = (means[place] * counts[place] + outcome) / (counts[place] + 1)
        weights[place] += 1
    else:
        values, weights = np.insert(means, place, outcome), np.insert(counts, place, 1.0)
    return float(isotonic_fit(values, weights)[place])


def fit_intervals(raw: FloatArray, labels: FloatArray) -> Intervals:
    """Fit inductive Venn-Abers intervals over a grid of scores.

    Source: Vovk & Petej (2014), Venn-Abers predictors, UAI. For a new score the isotonic fit is repeated with the new
    row added once as pass (lower end) and once as failure (upper end); one of the two is perfectly calibrated when
    rows are exchangeable. Rows of one injection at several checkpoints are not, therefore fit one per checkpoint.
    The width says how much calibration evidence there is near the score, not how uncertain the outcome is.

    Args:
        raw: ``(n,)`` log-odds of rows the booster has not seen, at least one.
        labels: ``(n,)`` outcomes, 0 or 1.

    Returns:
        Intervals at up to 128 quantiles of the scores.
    """
    scores, means, counts = _pooled(raw, labels)
    grid = np.unique(np.quantile(raw, np.linspace(0.0, 1.0, _GRID_POINTS), method="nearest"))
    low = [_with_one_more(scores, means, counts, score=float(s), outcome=0.0) for s in grid]
    high = [_with_one_more(scores, means, counts, score=float(s), outcome=1.0) for s in grid]
    # the ends do not decrease with the score but for the last digit of their sums (1e-17), which is taken out
    low_end, high_end = (np.maximum.accumulate(np.clip(np.array(ends), 0.0, 1.0)) for ends in (low, high))
    return Intervals(scores=grid, low=low_end, high=high_end)
