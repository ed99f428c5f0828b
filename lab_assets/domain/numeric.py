# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
"""Small numerical tools: distributions, means and medians, areas, extrema, smoothing, running quantiles.

Belongs here: typed tools that know nothing about a laboratory. scipy is imported when first used and only for distributions: importing
``scipy.signal`` takes longer than integrating a hundred traces. Does not belong here: noise, baselines, peaks.

A trace has about a thousand points, so numpy's general functions spend most of their time on their arguments. ``mean``, ``median`` and
``trapezoid_area`` do what their namesakes of numpy do, with the same result to the last bit, for plain float arrays only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isnan, nan
from typing import Final

import numpy as np

from lab_assets.domain.units import FloatArray, IntArray

_QUANTILE_POSITIONS_PER_WINDOW: Final = 16
_FEW_TOPS: Final = 8
"""So few maxima are compared one by one."""


def student_t_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Return the quantile of Student's distribution: 6.3138 for 0.95 and 1."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, probability))


def f_upper_tail(statistic: float, *, df_numerator: float, df_denominator: float) -> float:
    """Return the probability that an F-distributed value exceeds the statistic."""
    from scipy.special import fdtrc

    return float(fdtrc(df_numerator, df_denominator, statistic))


def mean(values: FloatArray) -> float:
    """Return the mean of a signal of one value or more, shape (n,)."""
    return float(np.add.reduce(values)) / values.size


def row_means(rows: FloatArray) -> FloatArray:
    """Return the mean of each row of an array, shape (rows, points)."""
    return np.add.reduce(rows, axis=1) / rows.shape[1]


def median(values: FloatArray) -> float:
    """Return the median of one value or more, ``nan`` when there is a ``nan`` among them."""
    ordered = np.sort(values)  # for a thousand values numpy sorts as fast as it partitions, and nan comes last
    half = ordered.size // 2
    if isnan(ordered[-1]):
        return nan
    return float(ordered[half]) if ordered.size % 2 else float(ordered[half - 1] + ordered[half]) / 2


def quantile(values: FloatArray, share: float) -> float:
    """Return a quantile of one value or more without ``nan``, interpolated between neighbours."""
    ordered = np.sort(values)
    place = share * (ordered.size - 1)
    before = int(place)
    low, high = float(ordered[before]), float(ordered[min(before + 1, ordered.size - 1)])
    beyond = place - before
    # from the nearer neighbour, as numpy does it
    return low + (high - low) * beyond if beyond < 0.5 else high - (high - low) * (1 - beyond)


def row_medians(rows: FloatArray) -> FloatArray:
    """Return the median of each row of an array, shape (rows, points); ``nan`` for a row with a ``nan``."""
    ordered = np.sort(rows, axis=1)
    half = ordered.shape[1] // 2
    middle = ordered[:, half].copy() if ordered.shape[1] % 2 else (ordered[:, half - 1] + ordered[:, half]) / 2
    middle[np.isnan(ordered[:, -1])] = nan
    return middle


def trapezoid_area(y: FloatArray, x: FloatArray) -> float:
    """Return the area under a signal, both of shape (n,), by trapezoids."""
    return float(np.add.reduce((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2.0))


def local_maxima(y: FloatArray, *, height: float = -np.inf, prominence: float = 0.0) -> tuple[IntArray, FloatArray]:
    """Return indices and prominences of the local maxima that are at least so high and so prominent.

    A flat top counts once, by its middle. Prominence is the height above the higher of the two deepest points between the maximum and the
    next higher signal (or the end) on either side.

    Args:
        y: Signal, shape (n,).
        height: Least value.
        prominence: Least prominence.
    """
    tops = _tops(y)
    if height > -np.inf:
        tops = tops[y[tops] >= height]
    if tops.size == 0:
        return tops, np.empty(0)
    tops, floors = _without_ripples(tops, y[tops], np.minimum.reduceat(y, np.concatenate(([0], tops))), prominence)
    levels = y[tops].tolist()
    left = _deepest_before(levels, floors[:-1].tolist())
    right = _deepest_before(levels[::-1], floors[:0:-1].tolist())[::-1]
    prominences = y[tops] - np.maximum(left, right)
    keep = prominences >= prominence
    return tops[keep], prominences[keep]


def half_prominence_widths(y: FloatArray, tops: IntArray, prominences: FloatArray) -> FloatArray:
    """Return each maximum's width at half its prominence, in points; 0 on a side where the signal ends before it falls so low."""
    widths = np.empty(tops.size)
    for place, (top, level) in enumerate(zip(tops.tolist(), (y[tops] - 0.5 * prominences).tolist(), strict=True)):
        widths[place] = _points_above(y[top::-1], level) + _points_above(y[top:], level)
    return widths


def rolling_quantile(y: FloatArray, *, share: float, width: int) -> FloatArray:
    """Return the running quantile over a centred window, ends extended; taken at 16 places a window and interpolated.

    Args:
        y: Signal, shape (n,).
        share: 0 for the least, 1 for the highest.
        width: Points of the window, odd.
    """
    return rolling_quantiles(y, shares=(share,), width=width)[0]


def rolling_quantiles(y: FloatArray, *, shares: Sequence[float], width: int) -> list[FloatArray]:
    """Return several running quantiles over the same window, see ``rolling_quantile``."""
    step = max(1, width // _QUANTILE_POSITIONS_PER_WINDOW)
    places = np.arange(0, y.size + step, step)
    half = width // 2
    extended = np.empty(y.size + step + 2 * half)
    extended[:half], extended[half : half + y.size], extended[half + y.size :] = y[0], y, y[-1]
    windows = extended[places[:, np.newaxis] + np.arange(2 * half + 1)]
    ranks = [round(share * (2 * half)) for share in shares]
    windows.partition(ranks, axis=1)
    where = np.arange(y.size)
    return [np.interp(where, places, windows[:, rank]) for rank in ranks]


def smoothed(y: FloatArray, *, window: int) -> FloatArray:
    """Return a Savitzky-Golay smooth of degree 2 over an odd window, ends reflected oddly; a window below 5 leaves the signal as it is."""
    if window < 5:
        return y
    half = window // 2
    head, tail = 2 * y[0] - y[half:0:-1], 2 * y[-1] - y[-2 : -half - 2 : -1]
    return np.convolve(np.concatenate([head, y, tail]), _smoothing_weights(half), mode="valid")


@lru_cache(maxsize=64)
def _smoothing_weights(half: int) -> FloatArray:
    """Return the weights of a Savitzky-Golay smooth of degree 2 over ``2 half + 1`` points (Madden, Anal. Chem. 50 (1978) 1383)."""
    place = np.arange(-half, half + 1, dtype=np.float64)
    return 3 * (3 * half * half + 3 * half - 1 - 5 * place * place) / ((2 * half - 1) * (2 * half + 1) * (2 * half + 3))


def _tops(y: FloatArray) -> IntArray:
    """Return the indices of local maxima, flat ones by their middle; the ends are none."""
    step = y[1:] - y[:-1]
    moves = step.nonzero()[0]
    up = step[moves] > 0
    turns = (up[:-1] > up[1:]).nonzero()[0]
    return (moves[turns] + 1 + moves[turns + 1]) // 2


def _without_ripples(tops: IntArray, levels: FloatArray, floors: FloatArray, prominence: float) -> tuple[IntArray, FloatArray]:
    """Drop the maxima beside a higher one that rise from the valley between by less than the prominence wanted.

    Such a maximum is not prominent enough, and dropping it makes no other one prominent: what it hid lies lower still. Most maxima of a
    noisy trace go this way, a few array operations for each halving of their number.

    Args:
        tops: Indices of the maxima.
        levels: Their heights.
        floors: Deepest point before, between and after the maxima, one more than these.
        prominence: Least prominence.

    Returns:
        The maxima that are left, and the deepest points before, between and after them.
    """
    while tops.size > _FEW_TOPS:
        rise = levels - floors[:-1] < prominence
        fall = levels - floors[1:] < prominence
        ripple = np.zeros(tops.size, dtype=np.bool_)
        ripple[1:] = rise[1:] & (levels[:-1] > levels[1:])
        ripple[:-1] |= fall[:-1] & (levels[1:] > levels[:-1])
        left = np.flatnonzero(~ripple)
        if left.size == tops.size:
            break
        floors = np.minimum.reduceat(floors, np.concatenate(([0], left + 1)))
        tops, levels = tops[left], levels[left]
    return tops, floors


def _deepest_before(levels: list[float], floors: list[float]) -> list[float]:
    """Return for each maximum the deepest point between it and the next higher maximum before it.

    Args:
        levels: Heights of the maxima in order.
        floors: Deepest point between each maximum and the one before (or the end).
    """
    deepest: list[float] = []
    waiting: list[tuple[float, float]] = []
    for level, floor in zip(levels, floors, strict=True):
        low = floor
        while waiting and waiting[-1][0] <= level:
            low = min(low, waiting.pop()[1])
        waiting.append((level, low))
        deepest.append(low)
    return deepest


def _points_above(flank: FloatArray, level: float) -> float:
    """Return how many points a flank, read from the top outwards, stays above a level; between two points linearly."""
    below = flank < level
    first = int(below.argmax())
    if not below[first]:
        return 0.0
    return first - float((level - flank[first]) / (flank[first - 1] - flank[first]))
