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
from itertools import pairwise
from typing import Final

import numpy as np

from lab_assets.simulation.physics import FloatArray, PeakState

END_POINTS: Final = 5
"""Points averaged at either end of a baseline."""


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


def _reach(time: FloatArray, peak: PeakState) -> tuple[int, int]:
    """Return the index range of a peak: 5.5 sigma before it to 5.5 sigma and six time constants of the tail behind it."""
    step = float(time[1] - time[0])
    low = max(int((peak.retention_min - 5.5 * peak.sigma_min) / step), 0)
    high = min(int((peak.retention_min + 5.5 * peak.sigma_min + 6 * peak.tau_min) / step), time.size - 1)
    return low, high


def _apex(time: FloatArray, guide: FloatArray, peak: PeakState) -> int | None:
    """Return the index of a peak's own local maximum, ``None`` for a shoulder that has none."""
    step = float(time[1] - time[0])
    first = max(int((peak.retention_min - peak.sigma_min) / step), 1)
    last = min(int((peak.retention_min + peak.sigma_min + peak.tau_min) / step) + 2, time.size - 2)
    if last <= first:
        return None
    top = first + int(np.argmax(guide[first : last + 1]))
    return top if guide[top] > guide[top - 1] and guide[top] >= guide[top + 1] else None


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


def measure_peaks(time_min: FloatArray, signal: FloatArray, guide: FloatArray, peaks: Sequence[PeakState]) -> dict[str, MeasuredPeak]:
    """Integrate known compounds.

    Peaks whose ranges overlap form a cluster with one straight baseline from its start to its end (the mean of five points at
    each); inside, they are parted by perpendicular drops at the lowest point between two apices. A shoulder without a maximum
    of its own goes to the neighbour it sits on and is not reported.

    Args:
        time_min: Equally spaced times, min, shape (n,).
        signal: Trace to integrate, shape (n,).
        guide: Noise-free trace that decides apices and valleys, shape (n,).
        peaks: The compounds.

    Returns:
        Measured peaks by compound, in order of elution.
    """
    measured: dict[str, MeasuredPeak] = {}
    cluster: list[PeakState] = []
    end = -1
    for peak in sorted(peaks, key=lambda one: one.retention_min):
        low, high = _reach(time_min, peak)
        if cluster and low > end:
            measured |= _measure_cluster(time_min, signal, guide, cluster)
            cluster = []
        cluster.append(peak)
        end = max(end, high)
    if cluster:
        measured |= _measure_cluster(time_min, signal, guide, cluster)
    return measured


def _measure_cluster(time_min: FloatArray, signal: FloatArray, guide: FloatArray, cluster: Sequence[PeakState]) -> dict[str, MeasuredPeak]:
    """Integrate overlapping compounds on one baseline."""
    ranges = [_reach(time_min, peak) for peak in cluster]
    low, high = min(first for first, _ in ranges), max(last for _, last in ranges)
    apices = [(peak.name, top) for peak in cluster if (top := _apex(time_min, guide, peak)) is not None]
    if not apices or high - low < 2 * END_POINTS:
        return {}
    starts, ends = signal[low : low + END_POINTS].mean(), signal[high - END_POINTS + 1 : high + 1].mean()
    time, middle = time_min[low : high + 1], 0.5 * (END_POINTS - 1)
    height = signal[low : high + 1] - (starts + (ends - starts) * (np.arange(time.size) - middle) / (time.size - 1 - 2 * middle))
    cuts = [low, *(one + int(np.argmin(guide[one : two + 1])) for (_, one), (_, two) in pairwise(apices)), high]
    found: dict[str, MeasuredPeak] = {}
    for (name, top), (first, last) in zip(apices, pairwise(cuts), strict=True):
        one = _measured(name, time[first - low : last - low + 1], height[first - low : last - low + 1], top - first)
        if one is not None:
            found[name] = one
    return found


def _measured(name: str, time: FloatArray, height: FloatArray, apex: int) -> MeasuredPeak | None:
    """Measure one peak above its baseline; ``None`` when it does not stand above it."""
    near = slice(max(apex - 2, 0), apex + 3)
    top = near.start + int(np.argmax(height[near]))
    area = float(np.trapezoid(height, time))
    if time.size < 5 or height[top] <= 0 or area <= 0 or top in {0, height.size - 1}:
        return None
    step = float(time[1] - time[0])
    half_left, half_right = _width(time, height, top, 0.5 * float(height[top]))
    front, back = _width(time, height, top, 0.05 * float(height[top]))
    retention = float(time[top])
    return MeasuredPeak(
        name=name,
        retention_min=retention,
        start_min=float(time[0]),
        end_min=float(time[-1]),
        area_mau_min=area,
        height_mau=float(height[top]),
        plates=5.54 * (retention / max(half_right - half_left, step)) ** 2,
        tailing=(back - front) / (2 * max(retention - front, step)),
        n_points=int(time.size),
    )


def area_noise(noise: float, n_points: int, step_min: float) -> float:
    """Return the standard deviation of an area that white noise alone causes.

    Sum of ``n`` points less a straight baseline through the means of five points at either end: the variance is
    ``noise^2 * step^2 * (n^2 / 10 - n)``: ``n`` for the points, ``n^2 / 10`` for the baseline (each end moves half its area with
    variance ``noise^2 / 5``), and ``-2 n`` since the ten end points are in both.

    Args:
        noise: Standard deviation of the signal noise.
        n_points: Points in the integration range.
        step_min: Sampling interval, min.

    Returns:
        Standard deviation of the area, signal x min.
    """
    return noise * step_min * float(np.sqrt(max(n_points**2 / (2 * END_POINTS) - n_points, n_points)))
