"""Noise and baseline of a trace.

Belongs here: what a trace says about its own noise and drift. Does not belong here: peaks.
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from typing import Final

import numpy as np

from lab_assets.domain.numeric import mean, rolling_quantile, rolling_quantiles, row_means
from lab_assets.domain.units import FloatArray

_SEGMENT_QUANTILE: Final = 0.2
"""Share of stretches taken as quiet: peaks may fill up to four fifths of the trace."""
_DIP_SHARE: Final = 0.1
_BASELINE_REACH_WIDTHS: Final = 8.0
_DIP_WINDOW_WIDTHS: Final = 40.0
_LAG_WINDOW_WIDTHS: Final = 12.0
_LAG_SHARE: Final = 0.005


def noise_sd(y: FloatArray, *, stretch_points: int) -> float:
    """Return the noise's standard deviation: the 20 % quantile over stretches, each about its own straight line.

    Args:
        y: Signal, shape (n,).
        stretch_points: Points of a stretch; wander slower than that counts as drift.
    """
    width = max(4, min(stretch_points, y.size))
    n_stretches = y.size // width
    if n_stretches == 0:
        return 0.0
    stretches = y[: n_stretches * width].reshape(n_stretches, width)
    residual = _detrended(stretches)
    squares = np.sort(np.add.reduce(residual * residual, axis=1))
    return sqrt(float(squares[int(_SEGMENT_QUANTILE * (n_stretches - 1))]) / (width - 2))


def peak_to_peak(stretches: FloatArray) -> FloatArray:
    """Return the spread (highest less lowest) of each stretch about its own straight line.

    Args:
        stretches: Signal, shape (stretches, points).

    Returns:
        Spread, shape (stretches,).
    """
    residual = _detrended(stretches)
    return np.maximum.reduce(residual, axis=1) - np.minimum.reduce(residual, axis=1)


def drift(y: FloatArray, *, peak_width_points: float, widest_points: float, noise: float) -> FloatArray:
    """Return the slow part of a trace, under peaks and over dips, shape (n,).

    Statistics-sensitive clipping (SNIP; Ryan et al., Nucl. Instrum. Methods B 34 (1988) 396): each point becomes at most the mean of its
    neighbours at a shrinking distance. It runs on block means and is interpolated back. Dips (injection and system peaks) are filled
    first up to the local lower decile, or they would drag the baseline under their neighbours.

    Args:
        y: Smoothed signal, shape (n,).
        peak_width_points: Typical width at half height, points.
        widest_points: Width at half height of the widest peak, points.
        noise: Noise of ``y``, standard deviation.
    """
    block = max(1, int(min(y.size // 400, peak_width_points / 4)))
    n_blocks = y.size // block
    centres = (np.arange(n_blocks) + 0.5) * block - 0.5
    level = row_means(y[: n_blocks * block].reshape(n_blocks, block))
    window = min(n_blocks, int(_DIP_WINDOW_WIDTHS * peak_width_points / block)) | 1
    floor = rolling_quantile(level, share=_DIP_SHARE, width=window) - 5 * noise
    blocks, level = level, np.maximum(level, floor)
    reach = int(min(n_blocks // 3, max(2.0, _BASELINE_REACH_WIDTHS * widest_points / block)))
    while reach >= 1:
        bridge = level[: -2 * reach] + level[2 * reach :]
        bridge *= 0.5
        inner = level[reach:-reach]
        np.minimum(inner, bridge, out=inner)
        reach = reach - 1 if reach < 8 else int(reach / 1.25)
    return np.interp(
        np.arange(y.size), centres, level + _lag(blocks - level, window=int(_LAG_WINDOW_WIDTHS * peak_width_points / block) | 1)
    )


def _lag(above: FloatArray, *, window: int) -> FloatArray:
    """Return how far clipping left the baseline under the trace (it cuts the corners of a curved drift), shape (n,).

    The local lower quintile, but never more than 0.5 % of the highest signal near: the valleys of a crowded stretch are not baseline.
    """
    width = min(window, above.size | 1)
    usual, highest = rolling_quantiles(above, shares=(0.2, 1.0), width=width)
    return np.maximum(np.minimum(usual, _LAG_SHARE * highest), 0.0)


def _detrended(stretches: FloatArray) -> FloatArray:
    """Return each row less its least-squares line, shape (rows, points)."""
    t, spread = _centred_places(stretches.shape[1])
    centred = stretches - row_means(stretches)[:, np.newaxis]
    slope = centred @ t / spread
    return centred - slope[:, np.newaxis] * t


@lru_cache(maxsize=256)
def _centred_places(n_points: int) -> tuple[FloatArray, float]:
    """Return the places of so many points about their mean, and the sum of their squares."""
    t = np.arange(n_points, dtype=np.float64)
    t -= mean(t)
    return t, float(t @ t)
