"""One peak: what is reported of it, and its measures from a baseline-corrected stretch of trace.

Belongs here: apex, widths and the pharmacopoeia's formulas built on them. Does not belong here: where a peak starts and ends, baselines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log

import numpy as np

from lab_assets.domain.numeric import mean
from lab_assets.domain.units import FloatArray


@dataclass(frozen=True, kw_only=True)
class Peak:
    """One integrated peak; a measure that is undefined (the flank never falls so low) is ``None``.

    Attributes:
        peak_no: Ordinal in the trace, from 1.
        retention_time_min: Time of the apex, minutes.
        start_min: Where integration starts, minutes.
        end_min: Where integration ends, minutes.
        area: Area above the baseline, ``<signal>*min``.
        height: Height of the apex above the baseline, in the signal's unit.
        width_half_min: Width at half height, minutes.
        plates: Plate number from the width at half height.
        tailing: Symmetry (tailing) factor at 5 % of the height.
        resolution: Resolution to the preceding peak.
        signal_to_noise: ``2 H / h`` with the noise of a quiet stretch nearby.
    """

    peak_no: int
    retention_time_min: float
    start_min: float
    end_min: float
    area: float
    height: float
    width_half_min: float | None
    plates: float | None
    tailing: float | None
    resolution: float | None
    signal_to_noise: float | None


def plate_number(retention_time_min: float, width_half_min: float) -> float:
    """Return ``N = 5.54 (tR / Wh)^2`` (USP <621>, Ph. Eur. 2.2.46)."""
    return 5.54 * (retention_time_min / width_half_min) ** 2


def tailing_factor(front_5pct_min: float, back_5pct_min: float) -> float:
    """Return ``As = W0.05 / (2 d)``, d being the front part of the width at 5 % of the height (USP <621>)."""
    return (front_5pct_min + back_5pct_min) / (2 * front_5pct_min)


def resolution(first_min: float, second_min: float, *, first_width_half_min: float, second_width_half_min: float) -> float:
    """Return ``Rs = 1.18 (tR2 - tR1) / (Wh1 + Wh2)`` (USP <621>)."""
    return 1.18 * (second_min - first_min) / (first_width_half_min + second_width_half_min)


def signal_to_noise(height: float, noise_peak_to_peak: float) -> float | None:
    """Return ``S/N = 2 H / h`` (USP <621>), ``None`` without noise."""
    return 2 * height / noise_peak_to_peak if noise_peak_to_peak > 0 else None


def apex_by_parabola(x_min: FloatArray, level: FloatArray, top: int, *, half_window: int) -> tuple[float, float]:
    """Return time and height of the vertex of the least-squares parabola through the points around ``top``.

    Args:
        x_min: Times, shape (n,).
        level: Signal above the baseline, shape (n,).
        top: Index of the highest point.
        half_window: Points taken to each side (fewer at the ends).
    """
    half = min(half_window, top, level.size - 1 - top)
    if half < 1:
        return float(x_min[top]), float(level[top])
    t, t_squares, centred, centred_squares, mean_square = _parabola(half)
    values = level[top - half : top + half + 1]
    bend = float(centred @ values) / centred_squares
    tilt = float(t @ values) / t_squares
    vertex = -tilt / (2 * bend) if bend < 0 else 0.0
    if bend >= 0 or abs(vertex) > half:
        return float(x_min[top]), float(level[top])
    height = mean(values) - bend * mean_square - tilt * tilt / (4 * bend)
    low = top + (-1 if vertex < 0 else 0)
    return float(x_min[low] + (x_min[low + 1] - x_min[low]) * (top + vertex - low)), height


@lru_cache(maxsize=256)
def _parabola(half: int) -> tuple[FloatArray, float, FloatArray, float, float]:
    """Return what a parabola through ``2 half + 1`` points needs: places, squared places about their mean, both summed squares, that mean."""
    t = np.arange(-half, half + 1, dtype=np.float64)
    square = t * t
    mean_square = mean(square)
    centred = square - mean_square
    return t, float(t @ t), centred, float(centred @ centred), mean_square


def crossing(x_min: FloatArray, level: FloatArray, top: int, *, at: float, step: int) -> float | None:
    """Return the time where the flank first falls to a level, going from the apex to one side.

    Between two points the logarithm is interpolated (flanks are near to exponential), or the level itself where one is not positive.

    Args:
        x_min: Times, shape (n,).
        level: Signal above the baseline, shape (n,).
        top: Index of the apex.
        at: Level sought, below the apex.
        step: -1 for the front, 1 for the back.
    """
    flank = level[top::step]
    below = flank < at
    offset = int(below.argmax())
    if not below[offset] or offset == 0:
        return None
    outer, inner = float(flank[offset]), float(flank[offset - 1])
    share = log(at / outer) / log(inner / outer) if outer > 0.2 * at and inner > at else (at - outer) / (inner - outer)
    index = top + step * offset
    return float(x_min[index] + (x_min[index - step] - x_min[index]) * share)
