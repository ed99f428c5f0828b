"""Areas over windows fixed by a method.

Belongs here: integration where the method, not the trace, says from when to when. Does not belong here: finding peaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lab_assets.domain.numeric import trapezoid_area
from lab_assets.domain.units import FloatArray


@dataclass(frozen=True, kw_only=True)
class WindowArea:
    """What one fixed window holds.

    Attributes:
        area: Signed area above the straight line from the first to the last point inside, ``<signal>*min``.
        height: Highest signal above that line, in the signal's unit.
        retention_time_min: Time of the highest point above that line.
        start_min: Time of the first point inside.
        end_min: Time of the last point inside.
        n_points: Points inside.
    """

    area: float
    height: float
    retention_time_min: float
    start_min: float
    end_min: float
    n_points: int


def integrate_window(x_min: ArrayLike, y: ArrayLike, *, start_min: float, end_min: float) -> WindowArea:
    """Integrate an open window over its own straight baseline.

    Trapezoids over the points strictly inside (``start < x < end``), less the trapezoid under the straight line from the first to the last
    of them. Negative where the signal runs below the line.

    Args:
        x_min: Times, shape (n,), ascending, minutes.
        y: Signal, shape (n,).
        start_min: Start of the window, minutes.
        end_min: End of the window, minutes.

    Raises:
        ValueError: the window is empty or reversed, or holds fewer than two points.
    """
    x, signal = checked_trace(x_min, y)
    if not start_min < end_min:
        raise ValueError(f"window {start_min:g}-{end_min:g} min is empty")
    first, last = int(np.searchsorted(x, start_min, side="right")), int(np.searchsorted(x, end_min, side="left"))
    inside, level = x[first:last], signal[first:last]
    if inside.size < 2:
        raise ValueError(f"window {start_min:g}-{end_min:g} min holds {inside.size} points of the trace, at least 2 are needed")
    line = level[0] + (level[-1] - level[0]) * (inside - inside[0]) / (inside[-1] - inside[0])
    above = level - line
    top = int(np.argmax(above))
    return WindowArea(
        area=trapezoid_area(above, inside),
        height=float(above[top]),
        retention_time_min=float(inside[top]),
        start_min=float(inside[0]),
        end_min=float(inside[-1]),
        n_points=int(inside.size),
    )


def checked_trace(x_min: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return a trace as two float arrays of equal shape (n,).

    Raises:
        ValueError: the shapes differ, a value is not finite, or the times do not ascend.
    """
    x, signal = np.asarray(x_min, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != signal.shape:
        raise ValueError(f"times and signal must be one-dimensional and equally long, got shapes {x.shape} and {signal.shape}")
    if not (np.isfinite(x).all() and np.isfinite(signal).all()):
        raise ValueError("times and signal must be finite numbers")
    if x.size > 1 and not bool((x[1:] > x[:-1]).all()):
        raise ValueError("times must ascend without repeats")
    return x, signal
