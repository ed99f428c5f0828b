"""From areas to amounts: response lines, external standards, repeatability.

Belongs here: the formulas between an area and a reportable value. Does not belong here: integration, specifications, rounding for reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from lab_assets.domain.numeric import student_t_quantile


@dataclass(frozen=True, kw_only=True)
class ResponseLine:
    """A fitted response line ``amount = slope * area + intercept``.

    Attributes:
        slope: Amount per area.
        intercept: Amount at zero area.
        r_squared: Coefficient of determination, ``nan`` when all amounts are equal.
        residual_sd: Standard deviation of the residuals (n - 2 degrees of freedom), in the amount's unit; ``nan`` for two points.
        n: Number of points.
    """

    slope: float
    intercept: float
    r_squared: float
    residual_sd: float
    n: int

    def amount(self, area: float) -> float:
        """Return the amount of an area."""
        return apply_line(area, slope=self.slope, intercept=self.intercept)


@dataclass(frozen=True, kw_only=True)
class ResponseFactor:
    """The response of an external standard over its injections.

    Attributes:
        mean: Mean area per mg of pure standard.
        rsd_pct: Relative standard deviation, ``nan`` for one injection.
        n: Number of injections.
    """

    mean: float
    rsd_pct: float
    n: int


def apply_line(area: float, *, slope: float, intercept: float = 0.0) -> float:
    """Return ``slope * area + intercept``: the amount, in the line's own unit."""
    return slope * area + intercept


def fit_line(area: Sequence[float], amount: Sequence[float]) -> ResponseLine:
    """Fit ``amount = slope * area + intercept`` by ordinary least squares (amount on area, as the line is used).

    Args:
        area: Areas of the standards, shape (n,).
        amount: Their known amounts, shape (n,).

    Raises:
        ValueError: fewer than two points, lengths differ, a value is not finite, or all areas are equal.
    """
    x, y = np.asarray(area, dtype=np.float64), np.asarray(amount, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or x.size < 2:
        raise ValueError(f"a line needs two or more pairs, got {x.size} areas and {y.size} amounts")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("areas and amounts must be finite numbers")
    dx, dy = x - x.mean(), y - y.mean()
    sxx, syy = float(dx @ dx), float(dy @ dy)
    if sxx == 0:
        raise ValueError("all areas are equal: no line is determined")
    slope = float(dx @ dy) / sxx
    residuals = dy - slope * dx
    sse = float(residuals @ residuals)
    return ResponseLine(
        slope=slope,
        intercept=float(y.mean() - slope * x.mean()),
        r_squared=1 - sse / syy if syy > 0 else float("nan"),
        residual_sd=sqrt(sse / (x.size - 2)) if x.size > 2 else float("nan"),
        n=int(x.size),
    )


def mean_response_factor(
    areas: Sequence[float], weights_mg: Sequence[float], *, purity_pct: float | Sequence[float] = 100.0
) -> ResponseFactor:
    """Return mean and %RSD of ``area / (weight * purity / 100)`` over the injections of a standard.

    Args:
        areas: Areas, shape (n,).
        weights_mg: Weight of standard behind each injection (repeat it for injections of one preparation), shape (n,).
        purity_pct: Purity of the standard, one for all or one an injection.

    Raises:
        ValueError: no injection, lengths differ, or a weight or purity is not positive.
    """
    area, weight = np.asarray(areas, dtype=np.float64), np.asarray(weights_mg, dtype=np.float64)
    if area.size == 0 or area.shape != weight.shape:
        raise ValueError(f"expected one weight for each of one or more areas, got {area.size} areas and {weight.size} weights")
    pure_mg = weight * np.broadcast_to(np.asarray(purity_pct, dtype=np.float64), weight.shape) / 100
    if not bool((pure_mg > 0).all()):
        raise ValueError("weights and purities of a standard must be positive")
    factors = area / pure_mg
    return ResponseFactor(mean=float(factors.mean()), rsd_pct=rsd_pct(factors.tolist()), n=int(area.size))


def external_standard_pct(
    area: float,
    response_factor: float,
    *,
    sample_weight_mg: float,
    relative_response: float = 1.0,
    volume_ratio: float = 1.0,
) -> float:
    """Return the content of a sample in percent of its weight, by external standard.

    ``100 * (area / response_factor) / sample_weight * volume_ratio / relative_response``, which with one standard injection is the
    familiar ``area / area_std * w_std / w_sample * purity_std`` (USP <621>, quantitation by external standard). For a peak that is an
    impurity quantified against the main analyte, ``relative_response`` is its RRF (response of impurity over response of main analyte).

    Args:
        area: Area of the peak in the sample.
        response_factor: Area per mg of pure standard, see ``mean_response_factor``.
        sample_weight_mg: Weight of the sample, or the label claim it represents.
        relative_response: RRF, 1 for the analyte itself.
        volume_ratio: Final dilution volume of the sample over that of the standard.

    Raises:
        ValueError: a divisor is not positive.
    """
    if response_factor <= 0 or sample_weight_mg <= 0 or relative_response <= 0:
        raise ValueError("response factor, sample weight and relative response must be positive")
    return 100 * area / response_factor / sample_weight_mg * volume_ratio / relative_response


def area_percent(areas: Sequence[float], *, relative_response: Sequence[float] | None = None) -> list[float]:
    """Return each area's share of their sum in percent, each divided by its relative response first where given.

    Raises:
        ValueError: lengths differ or the sum is not positive.
    """
    corrected = np.asarray(areas, dtype=np.float64)
    if relative_response is not None:
        if len(relative_response) != corrected.size:
            raise ValueError(f"{corrected.size} areas but {len(relative_response)} relative responses")
        corrected = corrected / np.asarray(relative_response, dtype=np.float64)
    total = float(corrected.sum())
    if total <= 0:
        raise ValueError("the areas do not add up to a positive sum")
    return [float(share) for share in 100 * corrected / total]


def rsd_pct(values: Sequence[float]) -> float:
    """Return the relative standard deviation ``100 / |mean| * sqrt(sum (x - mean)^2 / (n - 1))``, ``nan`` for fewer than two values or mean 0."""
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean()) if array.size else 0.0
    if array.size < 2 or mean == 0:
        return float("nan")
    return float(100 * array.std(ddof=1) / abs(mean))


def rsd_max_pct(upper_limit_pct: float, *, n: int) -> float:
    """Return the largest allowed %RSD of replicate injections of a standard, for the assay of a drug substance.

    ``RSDmax = K * B * sqrt(n) / t(90 %, n - 1)`` with K = 0.349 and B = upper limit - 100 (USP <621>, Ph. Eur. 2.2.46, table "Repeatability
    requirements"); t is the two-sided 90 % (one-sided 95 %) point of Student's distribution.

    Args:
        upper_limit_pct: Upper limit of the assay's specification, in percent of the content, above 100.
        n: Number of injections, 3 to 6.

    Raises:
        ValueError: n outside 3-6 or the limit not above 100.
    """
    if not 3 <= n <= 6:
        raise ValueError(f"RSDmax is defined for 3 to 6 injections, got {n}")
    if upper_limit_pct <= 100:
        raise ValueError(f"the upper limit must be above 100 %, got {upper_limit_pct:g}")
    return 0.349 * (upper_limit_pct - 100) * sqrt(n) / student_t_quantile(0.95, n - 1)
