"""The simulator's own integration and the external standard formula.

Belongs here: how a known compound's peak is measured on a simulated trace, and how areas become results. Does not
belong here: the pipeline's peak detection and calibration, which are written and run independently of this.

External standard, with every standard of the sequence and weights on the same basis as the nominal weights::

    value_pct = 100 * (A_sample / w_sample) / mean(A_std / (w_std * purity / 100)) * (nominal_sample / nominal_std) / RRF

so that a sample weighed at its nominal weight and holding exactly the label claim gives 100 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab_assets.simulation.physics import FloatArray, PeakState


@dataclass(frozen=True, kw_only=True)
class Standard:
    """One standard injection.

    Attributes:
        area: Area of the main compound.
        weight_mg: Weight taken, mg.
        purity_pct: Purity of the reference substance, %.
    """

    area: float
    weight_mg: float
    purity_pct: float


def external_standard_value(
    area: float,
    *,
    weight_mg: float,
    nominal_weight_mg: float,
    standards: Sequence[Standard],
    nominal_standard_mg: float,
    relative_response: float = 1.0,
) -> float:
    """Return a result in % of label claim against the sequence's standards.

    Args:
        area: Area of the compound in the sample, same unit as the standards' areas.
        weight_mg: Sample weight taken, mg.
        nominal_weight_mg: Sample weight the method asks for, mg.
        standards: Standards of the sequence, at least one.
        nominal_standard_mg: Standard weight the method asks for, mg.
        relative_response: Response of the compound relative to the standard's (RRF).

    Returns:
        Result, %.

    Raises:
        ValueError: no standard is given or a weight is not positive.
    """
    if not standards or min(weight_mg, nominal_standard_mg, *(standard.weight_mg for standard in standards)) <= 0:
        raise ValueError("an external standard needs at least one standard and positive weights")
    response = sum(standard.area / (standard.weight_mg * standard.purity_pct / 100) for standard in standards) / len(standards)
    return 100 * (area / weight_mg) / response * (nominal_weight_mg / nominal_standard_mg) / relative_response


@dataclass(frozen=True, kw_only=True)
class MeasuredPeak:
    """One compound as the simulated data system integrates it.

    Attributes:
        name: Compound.
        retention_min: Apex, min.
        start_min: Start of integration, min.
        end_min: End of integration, min.
        area_mau_min: Area above the straight baseline from start to end, mAU x min.
        height_mau: Apex above the same baseline, mAU.
        plates: Plate number from the width at half height, 5.54 (tR / W)^2.
        tailing: Symmetry factor at 5 % height.
        n_points: Points between start and end.
    """

    name: str
    retention_min: float
    start_min: float
    end_min: float
    area_mau_min: float
    height_mau: float
    plates: float
    tailing: float
    n_points: int


def _bounds(signal: FloatArray, apex: int, low: int, high: int) -> tuple[int, int]:
    """Narrow an integration range to the valleys towards real neighbours, where there are any."""
    left = low + int(np.argmin(signal[low : apex + 1]))
    right = apex + int(np.argmin(signal[apex : high + 1]))
    return left, right


def _width(time: FloatArray, height: FloatArray, apex: int, level: float) -> tuple[float, float]:
    """Return where the peak crosses a level before and after its apex, by linear interpolation."""
    left = apex
    while left > 0 and height[left] > level:
        left -= 1
    right = apex
    while right < height.size - 1 and height[right] > level:
        right += 1
    step = time[1] - time[0]

    def crossing(inside: int, outside: int) -> float:
        rise = height[inside] - height[outside]
        share = (level - height[outside]) / rise if rise > 0 else 0.0
        return float(time[outside] + np.sign(inside - outside) * min(max(share, 0.0), 1.0) * step)

    return crossing(min(left + 1, apex), left), crossing(max(right - 1, apex), right)


def measure_peak(time_min: FloatArray, signal: FloatArray, guide: FloatArray, peak: PeakState) -> MeasuredPeak | None:
    """Integrate one known compound.

    The range is five standard deviations before to four behind the peak plus six time constants of its tail, cut at the
    lowest point of ``guide`` on either side of the apex (so at the valley towards a neighbour); the baseline is straight.

    Args:
        time_min: Equally spaced times, min, shape (n,).
        signal: Trace to integrate, shape (n,).
        guide: Noise-free trace that decides the valleys, shape (n,).
        peak: The compound.

    Returns:
        The measured peak, or ``None`` when it does not stand above its baseline.
    """
    step = float(time_min[1] - time_min[0])
    low = max(int((peak.retention_min - 5 * peak.sigma_min) / step), 0)
    high = min(int((peak.retention_min + 4 * peak.sigma_min + 6 * peak.tau_min) / step), time_min.size - 1)
    near = slice(
        max(int((peak.retention_min - peak.sigma_min) / step), low),
        min(int((peak.retention_min + peak.sigma_min + peak.tau_min) / step) + 2, high),
    )
    apex = near.start + int(np.argmax(guide[near]))
    left, right = _bounds(guide, apex, low, high)
    if right - left < 5:
        return None
    time, cut = time_min[left : right + 1], signal[left : right + 1]
    height = cut - (cut[0] + (cut[-1] - cut[0]) * (time - time[0]) / (time[-1] - time[0]))
    top = int(np.argmax(height))
    if height[top] <= 0 or top in (0, height.size - 1):
        return None
    half_left, half_right = _width(time, height, top, 0.5 * float(height[top]))
    front, back = _width(time, height, top, 0.05 * float(height[top]))
    retention = float(time[top])
    return MeasuredPeak(
        name=peak.name,
        retention_min=retention,
        start_min=float(time[0]),
        end_min=float(time[-1]),
        area_mau_min=float(np.trapezoid(height, time)),
        height_mau=float(height[top]),
        plates=5.54 * (retention / max(half_right - half_left, step)) ** 2,
        tailing=(back - front) / (2 * max(retention - front, step)),
        n_points=int(right - left + 1),
    )


def area_noise(noise: float, n_points: int, step_min: float) -> float:
    """Return the standard deviation of an area that white noise alone causes.

    Trapezoid sum of ``n`` points less a straight baseline through the two end points: the variance is
    ``noise^2 * step^2 * (n + n^2 / 2)`` (n interior points, and two end points that each move half the baseline area).

    Args:
        noise: Standard deviation of the signal noise.
        n_points: Points in the integration range.
        step_min: Sampling interval, min.

    Returns:
        Standard deviation of the area, signal x min.
    """
    return noise * step_min * float(np.sqrt(n_points + n_points**2 / 2))
