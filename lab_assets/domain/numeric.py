# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
"""Typed doors to the few functions this room takes from scipy, each imported when first used.

Belongs here: thin wrappers with types, because scipy ships none. Does not belong here: anything that knows about a laboratory.
"""

from __future__ import annotations

from functools import lru_cache

from lab_assets.domain.units import FloatArray, IntArray


def student_t_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Return the quantile of Student's distribution: 6.3138 for 0.95 and 1."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, probability))


def f_upper_tail(statistic: float, *, df_numerator: float, df_denominator: float) -> float:
    """Return the probability that an F-distributed value exceeds the statistic."""
    from scipy.special import fdtrc

    return float(fdtrc(df_numerator, df_denominator, statistic))


def local_maxima(y: FloatArray, *, height: float, prominence: float) -> IntArray:
    """Return the indices of local maxima at least so high and so prominent, ascending."""
    from scipy.signal import find_peaks

    indices, _ = find_peaks(y, height=height, prominence=prominence)
    return indices


def half_prominence_widths(y: FloatArray, peaks: IntArray) -> FloatArray:
    """Return each maximum's width at half its prominence, in points."""
    from scipy.signal import peak_widths

    return peak_widths(y, peaks, rel_height=0.5)[0]


def rolling_quantile(y: FloatArray, *, pct: float, width: int) -> FloatArray:
    """Return the running quantile over a centred window of ``width`` points, ends extended."""
    from scipy.ndimage import percentile_filter

    return percentile_filter(y, pct, size=width, mode="nearest")


def smoothed(y: FloatArray, *, window: int) -> FloatArray:
    """Return a Savitzky-Golay smooth of degree 2 over an odd window, ends reflected oddly; a window below 5 leaves the signal as it is."""
    if window < 5:
        return y
    import numpy as np

    half = window // 2
    head, tail = 2 * y[0] - y[half:0:-1], 2 * y[-1] - y[-2 : -half - 2 : -1]
    return np.convolve(np.concatenate([head, y, tail]), _smoothing_weights(window), mode="valid")


@lru_cache(maxsize=64)
def _smoothing_weights(window: int) -> FloatArray:
    """Return the weights of a Savitzky-Golay smooth of degree 2."""
    from scipy.signal import savgol_coeffs

    return savgol_coeffs(window, 2)
