"""The first look at a partial trace: baseline, noise, the stretches above it, the shape of one peak.

Belongs here: fast numpy on one trace, with nothing known about the method.
Does not belong here: reportable integration (``lab_assets.domain``), features by name (``progress.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from math import log, nan, sqrt
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lab_assets.domain.numeric import mean, median, row_means, row_medians

Floats = NDArray[np.float64]

BLOCKS_PER_RUN: Final = 64
"""Resolution of the baseline: a block is 1/64 of the run."""
PEAK_BLOCKS: Final = 3
"""A peak is at most twice as many blocks (and one) wide; anything wider is baseline."""
PEAK_OVER_NOISE: Final = 6.0
"""A signal this many times the noise (or wander) above the baseline is a peak."""
MIN_PEAK_POINTS: Final = 5
SMOOTH_POINTS: Final = 5

PRESSURE_UNITS_BAR: Final[Mapping[str, float]] = {
    "bar": 1.0,
    "mbar": 0.001,
    "mpa": 10.0,
    "kpa": 0.01,
    "psi": 0.0689475729,
    "kgf/cm2": 0.980665,
}
"""Bar per unit; kgf/cm2 and psi by their definition in SI (NIST SP 811, appendix B)."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A signal over the run.

    Attributes:
        x_min: Times, shape (n,), ascending, minutes.
        y: Signal, shape (n,).
    """

    x_min: Floats
    y: Floats

    def until(self, time_min: float) -> Trace:
        """Return the finite points at or before a time."""
        stop = int(self.x_min.searchsorted(time_min, side="right"))
        x, y = self.x_min[:stop], self.y[:stop]
        finite = np.isfinite(y)
        return Trace(x_min=x, y=y) if finite.all() else Trace(x_min=x[finite], y=y[finite])


def make_trace(x_min: ArrayLike, y: ArrayLike) -> Trace:
    """Return a trace of two equally long sequences.

    Raises:
        ValueError: the lengths differ or the times do not ascend.
    """
    x, signal = np.asarray(x_min, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != signal.shape:
        raise ValueError(f"times and signal must be equally long, got shapes {x.shape} and {signal.shape}")
    if not bool((x[1:] > x[:-1]).all()):
        raise ValueError("times must ascend")
    return Trace(x_min=x, y=signal)


def pressure_trace(x_min: ArrayLike, y: ArrayLike, *, unit: str | None) -> Trace | None:
    """Return a pressure trace in bar, ``None`` where the unit is not one of ``PRESSURE_UNITS_BAR``.

    Raises:
        ValueError: the lengths differ or the times do not ascend.
    """
    factor = PRESSURE_UNITS_BAR.get((unit or "").strip().lower().replace("²", "2"))
    return None if factor is None else make_trace(x_min, np.asarray(y, dtype=np.float64) * factor)


def is_pressure_signal(signal: str) -> bool:
    """Return whether a status signal is a pump or system pressure, by its name."""
    return "pressure" in signal.lower()


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Baseline and noise of a partial trace.

    Attributes:
        above: Smoothed signal above the baseline, shape (n,).
        noise: One standard deviation of the point-to-point noise, in the signal's unit.
        floor: The noise, or the slow wander of the baseline where that is larger: peaks stand out of this.
        start: Level at the first point.
        slope_per_min: Slope of the straight line under it.
    """

    above: Floats
    noise: float
    floor: float
    start: float
    slope_per_min: float


def find_baseline(trace: Trace, *, run_time_min: float) -> Baseline | None:
    """Find the baseline: a robust straight line, then the morphological opening (erosion, dilation) of what block medians leave over it.

    A stretch narrower than 7 blocks (11 % of the run) counts as a peak and is bridged; a straight ramp is its own baseline. Grey-scale opening
    for baselines of spectra and chromatograms: Perez-Pueyo et al., Appl. Spectrosc. 64 (2010) 595.

    Args:
        trace: What is seen so far, 8 points or more.
        run_time_min: Planned length of the run, minutes.

    Returns:
        The baseline, ``None`` for fewer than 8 points.
    """
    x, y = trace.x_min, trace.y
    if x.size < 8:
        return None
    step = float(x[-1] - x[0]) / (x.size - 1)
    size = max(3, round(run_time_min / step / BLOCKS_PER_RUN))
    size = min(size, x.size // 2)
    blocks = x.size // size
    smooth = _smooth(y)
    medians = row_medians(smooth[: blocks * size].reshape(blocks, size))
    centres = row_means(x[: blocks * size].reshape(blocks, size))
    slope = median_slope(centres, medians)
    level = _running(_running(medians - slope * (centres - x[0]), largest=False), largest=True)
    above = smooth - slope * (x - x[0]) - np.interp(x, centres, level)
    noise = estimate_noise(y)
    sparse = above[::SMOOTH_POINTS]
    wander = 1.4826 * median(np.abs(sparse - median(sparse)))
    return Baseline(above=above, noise=noise, floor=max(noise, wander), start=float(level[0]), slope_per_min=slope)


def median_slope(x: Floats, y: Floats) -> float:
    """Return the median of the slopes between all pairs of points, which up to 29 % of outliers leave alone (Theil 1950, Sen 1968).

    ``nan`` for fewer than two points.
    """
    if x.size < 2:
        return nan
    first, second = _pairs(x.size)
    return median((y.take(second) - y.take(first)) / (x.take(second) - x.take(first)))


@lru_cache(maxsize=128)
def _pairs(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices of all pairs of so many points; traces of one method ask for the same few sizes again and again."""
    first, second = np.triu_indices(size, k=1)
    return first, second


def estimate_noise(y: Floats) -> float:
    """Return the noise (1 sd) from second differences: ``1.4826 * median(abs(d2)) / sqrt(6)``.

    Second differences of white noise have variance 6 times the noise's; the median absolute deviation ignores the peaks. Where digitisation
    leaves most of them at zero the smallest step over ``sqrt(12)`` is returned; a constant signal has noise 0.
    """
    if y.size < 3:
        return nan
    differences = y[1:] - y[:-1]
    noise = 1.4826 * median(np.abs(differences[1:] - differences[:-1])) / sqrt(6)
    if noise > 0:
        return noise
    steps = np.abs(differences)
    steps = steps[steps > 0]
    return float(steps.min()) / sqrt(12) if steps.size else 0.0


def finished_stretches(trace: Trace, baseline: Baseline, *, after_min: float) -> list[tuple[int, int]]:
    """Return the stretches above 6 times the floor that began after a time and are over, as index ranges ``[first, last)``."""
    high = baseline.above > max(PEAK_OVER_NOISE * baseline.floor, 1e-300)
    edges: list[int] = (np.flatnonzero(high[1:] != high[:-1]) + 1).tolist()
    edges = [0] * bool(high[0]) + edges + [high.size] * bool(high[-1])
    return [
        (first, last)
        for first, last in zip(edges[::2], edges[1::2], strict=True)
        if last < high.size and last - first >= MIN_PEAK_POINTS and float(trace.x_min[first]) >= after_min
    ]


def peak_shape(trace: Trace, above: Floats, *, first: int, last: int) -> tuple[float, float, float]:
    """Return retention, plates and tailing of the highest peak in an index range.

    Plates ``5.54 (tR/Wh)^2`` and tailing ``W0.05 / (2 d)`` as in USP <621>; retention in minutes. The half width is freed of what the moving
    mean over 5 points adds to it: variances add, a mean over m points has ``(m^2 - 1) / 12`` steps^2. A width that cannot be taken is ``nan``.
    """
    apex = first + int(np.argmax(above[first:last]))
    height = float(above[apex])
    retention = apex_time(trace.x_min, above, apex=apex)
    half_left, half_right = _crossings(trace.x_min, above, apex=apex, level=height / 2)
    low_left, low_right = _crossings(trace.x_min, above, apex=apex, level=height / 20)
    step = float(trace.x_min[last - 1] - trace.x_min[first]) / max(last - 1 - first, 1)
    width_half_squared = (half_right - half_left) ** 2 - 8 * log(2) * (SMOOTH_POINTS**2 - 1) / 12 * step**2
    front = retention - low_left
    plates = 5.54 * retention**2 / width_half_squared if width_half_squared > 0 else nan
    tailing = (low_right - low_left) / (2 * front) if front > 0 else nan
    return retention, plates, tailing


def apex_time(x_min: Floats, y: Floats, *, apex: int) -> float:
    """Return the time of an apex by the parabola through it and its neighbours, minutes."""
    if not 0 < apex < y.size - 1:
        return float(x_min[apex])
    left, top, right = float(y[apex - 1]), float(y[apex]), float(y[apex + 1])
    bend = left - 2 * top + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    step = float(x_min[apex + 1] - x_min[apex - 1]) / 2
    return float(x_min[apex]) + max(-0.5, min(0.5, shift)) * step


def pressure_summary(pressure: Trace | None) -> dict[str, float]:
    """Return mean (bar), ripple (% of the mean, sd around the straight line) and slope (% of the mean a minute) of a pressure trace.

    Returns:
        ``pressure_mean_bar``, ``pressure_ripple_pct``, ``pressure_slope_pct_per_min``; ``nan`` for fewer than 3 points or a mean that is not positive.
    """
    mean_bar = ripple = slope_pct = nan
    if pressure is not None and pressure.y.size >= 3:
        average = mean(pressure.y)
        if average > 0:
            slope, residual_sd = fit_line(pressure.x_min, pressure.y)
            mean_bar, ripple, slope_pct = average, 100.0 * residual_sd / average, 100.0 * slope / average
    return {"pressure_mean_bar": mean_bar, "pressure_ripple_pct": ripple, "pressure_slope_pct_per_min": slope_pct}


def fit_line(x: Floats, y: Floats) -> tuple[float, float]:
    """Return slope and residual standard deviation (n - 2 degrees of freedom) of the least-squares line.

    ``nan`` for the slope of fewer than two distinct x, for the deviation of fewer than three points.
    """
    if x.size < 2:
        return nan, nan
    dx, dy = x - mean(x), y - mean(y)
    sxx = float(dx @ dx)
    if sxx <= 0:
        return nan, nan
    slope = float(dx @ dy) / sxx
    rest = dy - slope * dx
    return slope, sqrt(float(rest @ rest) / (x.size - 2)) if x.size > 2 else nan


def _smooth(y: Floats) -> Floats:
    """Return a centred moving mean; the ends hold their first and last value."""
    half = SMOOTH_POINTS // 2
    held = np.empty(y.size + 2 * half + 1)
    held[0], held[1 : half + 1], held[half + 1 : -half], held[-half:] = 0.0, y[0], y, y[-1]
    total = np.add.accumulate(held)
    return (total[SMOOTH_POINTS:] - total[:-SMOOTH_POINTS]) / SMOOTH_POINTS


def _running(values: Floats, *, largest: bool) -> Floats:
    """Return the running maximum or minimum over 3 blocks to each side."""
    padded = np.full(values.size + 2 * PEAK_BLOCKS, -np.inf if largest else np.inf)
    padded[PEAK_BLOCKS:-PEAK_BLOCKS] = values
    shifted = [padded[start : start + values.size] for start in range(2 * PEAK_BLOCKS + 1)]
    return reduce(np.maximum if largest else np.minimum, shifted)


def _crossings(x_min: Floats, above: Floats, *, apex: int, level: float) -> tuple[float, float]:
    """Return the times left and right of an apex where the signal crosses a level, interpolated; ``nan`` where it never does."""
    lower_left, lower_right = np.flatnonzero(above[:apex] < level), np.flatnonzero(above[apex:] < level)
    left = right = nan
    if lower_left.size:
        i = int(lower_left[-1])
        left = _between(x_min, above, i=i, j=i + 1, level=level)
    if lower_right.size:
        j = apex + int(lower_right[0])
        right = _between(x_min, above, i=j - 1, j=j, level=level)
    return left, right


def _between(x_min: Floats, y: Floats, *, i: int, j: int, level: float) -> float:
    share = (level - float(y[i])) / (float(y[j]) - float(y[i]))
    return float(x_min[i]) + share * float(x_min[j] - x_min[i])
