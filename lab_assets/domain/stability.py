"""Shelf life from stability data, after ICH Q1E.

Belongs here: poolability of batches, confidence bounds and where they meet the acceptance criteria. Does not belong here: storage
conditions (``excursions.py``), significant change, the decision on a label claim.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import floor, inf, sqrt
from typing import Final, Literal

import numpy as np

from lab_assets.domain.numeric import f_upper_tail, student_t_quantile
from lab_assets.domain.units import FloatArray

PoolingModel = Literal["cics", "dics", "dids"]
"""Common intercept and slope; different intercepts, common slope; different intercepts and slopes."""


_FOR_EVER: Final = 1e9


@dataclass(frozen=True, kw_only=True)
class BatchFit:
    """The line that stands for one batch under the chosen model.

    Attributes:
        n: Observations of the batch.
        intercept: Value at time zero.
        slope: Change per unit of time.
        residual_sd: Residual standard deviation behind the bound (pooled for cics and dics); ``None`` without degrees of freedom.
        degrees_of_freedom: Its degrees of freedom.
        shelf_life: Where the confidence bound meets a limit first; ``None`` when it never does or no bound can be computed.
        limit: The limit that is met.
    """

    n: int
    intercept: float
    slope: float
    residual_sd: float | None
    degrees_of_freedom: int
    shelf_life: float | None
    limit: Literal["lower", "upper"] | None


@dataclass(frozen=True, kw_only=True)
class StabilityFit:
    """An ICH Q1E evaluation.

    Attributes:
        model: How far the batches were pooled.
        p_slopes: Probability of equal slopes (ANCOVA), ``None`` for one batch or without degrees of freedom.
        p_intercepts: Probability of equal intercepts given a common slope, likewise.
        shelf_life: Earliest crossing over the batches, in the unit of time, unrounded; ``None`` when there is none.
        shelf_life_rounded: The same rounded down to whole units.
        per_batch: The fit of each batch, by batch name.
        warnings: What a reviewer has to know, for people.
    """

    model: PoolingModel
    p_slopes: float | None
    p_intercepts: float | None
    shelf_life: float | None
    shelf_life_rounded: int | None
    per_batch: dict[str, BatchFit]
    warnings: list[str]


@dataclass(frozen=True)
class _Line:
    """A fitted line of one batch with what its confidence bound needs; the variance factor is a quadratic in time, ``v0 + v1 t + v2 t^2``."""

    intercept: float
    slope: float
    sd: float | None
    df: int
    v: tuple[float, float, float]

    def bound(self, time: float, *, t_quantile: float, side: int) -> float:
        """Return the lower (side -1) or upper (side 1) confidence bound of the mean."""
        spread = sqrt(max(0.0, self.v[0] + self.v[1] * time + self.v[2] * time * time))
        return self.intercept + self.slope * time + side * t_quantile * (self.sd or 0.0) * spread


def fit_shelf_life(
    batch: Sequence[Hashable],
    time: Sequence[float],
    value: Sequence[float],
    *,
    lower: float | None = None,
    upper: float | None = None,
    alpha_pooling: float = 0.25,
    confidence: float = 0.95,
) -> StabilityFit:
    """Estimate a shelf life as ICH Q1E (2003), section 2.4 and appendix B.

    Analysis of covariance ``y ~ batch * time`` with sequential sums of squares over the mean square error of the full model: slopes that differ
    at ``alpha_pooling`` give ``dids`` (each batch fitted alone, with its own error and degrees of freedom, as expirest and JMP do; not the
    pooled error, which gives a slightly different answer), else intercepts that differ give ``dics``, else ``cics``. The shelf life is where
    the bound ``yhat -+ t * s * sqrt(x' (X'X)^-1 x)`` meets the limit: one-sided with one limit, two-sided with both.

    Args:
        batch: Batch of each observation, length n.
        time: Time of each observation, length n, not negative.
        value: Measured value of each observation, length n.
        lower: Lower acceptance criterion.
        upper: Upper acceptance criterion.
        alpha_pooling: Significance of the poolability tests.
        confidence: Level of the bound.

    Raises:
        ValueError: lengths differ, a number is not finite, a time is negative, limits are missing or crossed, a level is not between 0 and 1,
            or there are fewer than three observations or two times in all.
    """
    names, x, y = _checked(batch, time, value)
    _check_limits(lower, upper, alpha_pooling, confidence)
    groups = {name: np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())}
    warnings = _thin_data(groups, x)
    p_slopes, p_intercepts = _poolability(groups, x, y)
    model = _choose(len(groups), p_slopes, p_intercepts, alpha_pooling)
    if model == "dids" and p_slopes is None:
        warnings.append("too few observations to test whether batches may be pooled: each batch is evaluated alone")
    if len(groups) == 1:
        warnings.append("one batch: ICH Q1E expects at least three")
    quantile_level = confidence if lower is None or upper is None else 0.5 * (1 + confidence)
    per_batch: dict[str, BatchFit] = {}
    for name, line in _lines(model, groups, x, y).items():
        crossing, limit = _crossing(line, lower, upper, quantile_level)
        per_batch[name] = BatchFit(
            n=int(groups[name].size),
            intercept=line.intercept,
            slope=line.slope,
            residual_sd=line.sd,
            degrees_of_freedom=line.df,
            shelf_life=crossing,
            limit=limit,
        )
    shelf_life = _earliest(per_batch, warnings, last_time=float(x.max()))
    return StabilityFit(
        model=model,
        p_slopes=p_slopes,
        p_intercepts=p_intercepts,
        shelf_life=shelf_life,
        shelf_life_rounded=None if shelf_life is None else floor(shelf_life + 1e-9),
        per_batch=per_batch,
        warnings=warnings,
    )


def _checked(batch: Sequence[Hashable], time: Sequence[float], value: Sequence[float]) -> tuple[np.ndarray, FloatArray, FloatArray]:
    """Return the data as arrays; batches as text."""
    names = np.asarray([str(name) for name in batch], dtype=object)
    x, y = np.asarray(time, dtype=np.float64), np.asarray(value, dtype=np.float64)
    if not (names.shape == x.shape == y.shape) or x.ndim != 1:
        raise ValueError(f"batch, time and value must be equally long, got {names.size}, {x.size} and {y.size}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or bool((x < 0).any()):
        raise ValueError("times and values must be finite numbers and times not negative")
    if x.size < 3 or np.unique(x).size < 2:
        raise ValueError(f"a line with a bound needs at least three observations at two times, got {x.size} at {np.unique(x).size}")
    return names, x, y


def _check_limits(lower: float | None, upper: float | None, alpha_pooling: float, confidence: float) -> None:
    """Refuse limits and levels that make no sense."""
    if lower is None and upper is None:
        raise ValueError("a lower or an upper limit is needed")
    if not all(np.isfinite(limit) for limit in (lower, upper) if limit is not None):
        raise ValueError("limits must be finite numbers")
    if lower is not None and upper is not None and lower >= upper:
        raise ValueError(f"limits are crossed: lower {lower:g} >= upper {upper:g}")
    if not (0 < alpha_pooling < 1 and 0.5 < confidence < 1):
        raise ValueError("alpha_pooling must be between 0 and 1, confidence between 0.5 and 1")


def _thin_data(groups: dict[str, np.ndarray], x: FloatArray) -> list[str]:
    """Name the batches with too little data to be judged alone."""
    return [
        f"batch {name}: {rows.size} observation(s) at {np.unique(x[rows]).size} time(s), at least 3 at 3 times are expected"
        for name, rows in groups.items()
        if rows.size < 3 or np.unique(x[rows]).size < 3
    ]


def _poolability(groups: dict[str, np.ndarray], x: FloatArray, y: FloatArray) -> tuple[float | None, float | None]:
    """Return the probabilities of equal slopes and of equal intercepts given a common slope."""
    k, n = len(groups), x.size
    df = n - 2 * k
    if k == 1 or df < 1 or any(np.unique(x[rows]).size < 2 for rows in groups.values()):
        return None, None
    sxx = syy = sxy = sse_full = 0.0
    for rows in groups.values():
        dx, dy = x[rows] - x[rows].mean(), y[rows] - y[rows].mean()
        xx, yy, xy = float(dx @ dx), float(dy @ dy), float(dx @ dy)
        sse_full += max(0.0, yy - xy * xy / xx)
        sxx, syy, sxy = sxx + xx, syy + yy, sxy + xy
    sse_common_slope = syy - sxy * sxy / sxx
    dx, dy = x - x.mean(), y - y.mean()
    total = float(dy @ dy)
    sse_common = total - float(dx @ dy) ** 2 / float(dx @ dx)
    rounding = 1e-12 * total

    def probability(gain: float) -> float:
        if gain <= rounding:
            return 1.0
        if sse_full <= rounding:
            return 0.0
        return f_upper_tail(gain / (k - 1) / (sse_full / df), df_numerator=k - 1, df_denominator=df)

    return probability(sse_common_slope - sse_full), probability(sse_common - sse_common_slope)


def _choose(k: int, p_slopes: float | None, p_intercepts: float | None, alpha: float) -> PoolingModel:
    """Return how far the batches may be pooled; without a test, not at all."""
    if k == 1:
        return "cics"
    if p_slopes is None or p_intercepts is None or p_slopes < alpha:
        return "dids"
    return "dics" if p_intercepts < alpha else "cics"


def _lines(model: PoolingModel, groups: dict[str, np.ndarray], x: FloatArray, y: FloatArray) -> dict[str, _Line]:
    """Fit the chosen model and return the line of each batch."""
    if model == "dics":
        return _common_slope_lines(groups, x, y)
    if model == "cics":
        line = _line(x, y)
        return dict.fromkeys(groups, line)
    return {name: _line(x[rows], y[rows]) for name, rows in groups.items()}


def _line(x: FloatArray, y: FloatArray) -> _Line:
    """Fit one straight line; a batch at a single time keeps its mean and no bound."""
    n, mean = x.size, float(x.mean())
    dx = x - mean
    sxx = float(dx @ dx)
    if sxx == 0:
        return _Line(float(y.mean()), 0.0, None, 0, (0.0, 0.0, 0.0))
    slope = float(dx @ y) / sxx
    intercept = float(y.mean()) - slope * mean
    residual = y - intercept - slope * x
    df = n - 2
    sd = sqrt(float(residual @ residual) / df) if df > 0 else None
    return _Line(intercept, slope, sd, df, (1 / n + mean * mean / sxx, -2 * mean / sxx, 1 / sxx))


def _common_slope_lines(groups: dict[str, np.ndarray], x: FloatArray, y: FloatArray) -> dict[str, _Line]:
    """Fit parallel lines; their error is pooled."""
    means = {name: (float(x[rows].mean()), float(y[rows].mean())) for name, rows in groups.items()}
    dx = np.concatenate([x[rows] - means[name][0] for name, rows in groups.items()])
    dy = np.concatenate([y[rows] - means[name][1] for name, rows in groups.items()])
    sxx = float(dx @ dx)
    slope = float(dx @ dy) / sxx
    residual = dy - slope * dx
    df = x.size - len(groups) - 1
    sd = sqrt(float(residual @ residual) / df)
    return {
        name: _Line(mean_y - slope * mean_x, slope, sd, df, (1 / groups[name].size + mean_x**2 / sxx, -2 * mean_x / sxx, 1 / sxx))
        for name, (mean_x, mean_y) in means.items()
    }


def _crossing(
    line: _Line, lower: float | None, upper: float | None, quantile_level: float
) -> tuple[float | None, Literal["lower", "upper"] | None]:
    """Return where a bound meets a limit first, and which limit."""
    if line.sd is None:
        return None, None
    t_quantile = student_t_quantile(quantile_level, line.df)
    times = {
        "lower": inf if lower is None else _first_time_outside(line, lower, side=-1, t_quantile=t_quantile),
        "upper": inf if upper is None else _first_time_outside(line, upper, side=1, t_quantile=t_quantile),
    }
    limit: Literal["lower", "upper"] = "lower" if times["lower"] <= times["upper"] else "upper"
    return (None, None) if times[limit] == inf else (times[limit], limit)


def _first_time_outside(line: _Line, limit: float, *, side: int, t_quantile: float) -> float:
    """Return the first time at which a bound is at or beyond a limit, ``inf`` for never.

    The room left is a concave function of time (a line less a hyperbola), so from a positive start it crosses zero at most once, and it does
    exactly when its slope in the far future is negative.
    """

    def room(time: float) -> float:
        return side * (limit - line.bound(time, t_quantile=t_quantile, side=side))

    if room(0.0) <= 0:
        return 0.0
    if -side * line.slope - t_quantile * (line.sd or 0.0) * sqrt(line.v[2]) >= 0:
        return inf
    low, high = 0.0, 1.0
    while room(high) > 0:
        low, high = high, 2 * high
        if high > _FOR_EVER:
            return inf
    while high - low > 1e-14 * high:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if room(middle) > 0 else (low, middle)
    return high


def _earliest(per_batch: dict[str, BatchFit], warnings: list[str], *, last_time: float) -> float | None:
    """Return the earliest crossing over the batches, and warn where it is not what it seems."""
    unbounded = sorted(name for name, fit in per_batch.items() if fit.residual_sd is None)
    if unbounded:
        warnings.append(f"no confidence bound for batch(es) {', '.join(unbounded)}: no shelf life can be stated")
        return None
    crossings = [fit.shelf_life for fit in per_batch.values() if fit.shelf_life is not None]
    if not crossings:
        warnings.append("the confidence bound never meets a limit: the data set no shelf life")
        return None
    shelf_life = min(crossings)
    if shelf_life == 0:
        warnings.append("the confidence bound is outside the limit at time zero")
    elif shelf_life > last_time:
        warnings.append(
            f"extrapolated beyond the last observation at {last_time:g}: ICH Q1E allows at most twice the period covered and 12 months more"
        )
    return shelf_life
