"""Control charts of individual values: limits from a frozen baseline, and the rules that find special causes.

Belongs here: which rule each point breaks. Does not belong here: choosing the baseline period, acting on a hit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from lab_assets.domain.units import FloatArray

_MEAN_RANGE_PER_SIGMA: Final = 1.128
"""d2 for ranges of two (Shewhart)."""


@dataclass(frozen=True, kw_only=True)
class ChartLimits:
    """Centre and spread of a chart, frozen from its baseline.

    Attributes:
        centre: Mean of the baseline.
        sigma: Standard deviation the zones are built of, positive.
        n: Points of the baseline.
    """

    centre: float
    sigma: float
    n: int

    @property
    def lower(self) -> float:
        """Lower control limit, 3 sigma under the centre."""
        return self.centre - 3 * self.sigma

    @property
    def upper(self) -> float:
        """Upper control limit, 3 sigma over the centre."""
        return self.centre + 3 * self.sigma


def individuals_limits(baseline: Sequence[float], *, spread: Literal["moving_range", "sd"] = "moving_range") -> ChartLimits:
    """Return limits of an individuals chart from an approved baseline that does not contain the points to be judged.

    Args:
        baseline: Values in time order, shape (n,).
        spread: ``moving_range``: mean range of neighbours / 1.128, blind to slow drift in the baseline; ``sd``: sample standard deviation.

    Raises:
        ValueError: fewer than two values, one not finite, or no variation at all.
    """
    values = np.asarray(baseline, dtype=np.float64)
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise ValueError(f"a baseline needs two or more finite values, got {values.size}")
    sigma = float(np.abs(np.diff(values)).mean() / _MEAN_RANGE_PER_SIGMA) if spread == "moving_range" else float(values.std(ddof=1))
    if sigma <= 0:
        raise ValueError("the baseline does not vary: no limits can be set")
    return ChartLimits(centre=float(values.mean()), sigma=sigma, n=int(values.size))


def nelson_hits(values: Sequence[float], limits: ChartLimits) -> list[tuple[int, ...]]:
    """Return for each point the Nelson rules (1-8) it completes (Nelson, J. Qual. Technol. 16 (1984) 237).

    1 beyond 3 sigma; 2 nine in a row on one side; 3 six in a row rising or falling; 4 fourteen alternating; 5 two of three beyond 2 sigma on one
    side; 6 four of five beyond 1 sigma on one side; 7 fifteen within 1 sigma; 8 eight beyond 1 sigma, on both sides. A point on a zone line
    belongs to the inner zone, a point on the centre to no side; runs go on after a hit; for 5 and 6 the point itself lies beyond.

    Args:
        values: Values in time order, shape (n,).
        limits: Limits of the chart.
    """
    z = _z(values, limits)
    rules: tuple[tuple[int, Callable[[FloatArray], bool], int], ...] = (
        (1, lambda w: abs(float(w[-1])) > 3, 1),
        (2, _on_one_side, 9),
        (3, _is_monotone, 6),
        (4, _alternates, 14),
        (5, lambda w: _mostly_beyond(w, sigma=2, count=2), 3),
        (6, lambda w: _mostly_beyond(w, sigma=1, count=4), 5),
        (7, lambda w: bool((np.abs(w) <= 1).all()), 15),
        (8, lambda w: bool((np.abs(w) > 1).all() and (w > 0).any() and (w < 0).any()), 8),
    )
    return [
        tuple(number for number, holds, span in rules if _holds_at(z, end, span, holds, is_partial_allowed=number in (5, 6)))
        for end in range(1, z.size + 1)
    ]


def western_electric_hits(values: Sequence[float], limits: ChartLimits) -> list[tuple[int, ...]]:
    """Return for each point the Western Electric rules (1-4) it completes (Statistical Quality Control Handbook, 1956).

    1 beyond 3 sigma; 2 two of three beyond 2 sigma on one side; 3 four of five beyond 1 sigma on one side; 4 eight in a row on one side.

    Args:
        values: Values in time order, shape (n,).
        limits: Limits of the chart.
    """
    z = _z(values, limits)
    same_as_nelson = {1: 1, 5: 2, 6: 3}
    hits: list[tuple[int, ...]] = []
    for end, nelson in enumerate(nelson_hits(values, limits), start=1):
        found = [same_as_nelson[rule] for rule in nelson if rule in same_as_nelson]
        if _holds_at(z, end, 8, _on_one_side):
            found.append(4)
        hits.append(tuple(found))
    return hits


def westgard_hits(values: Sequence[float], limits: ChartLimits, *, run: Sequence[Hashable] | None = None) -> list[tuple[str, ...]]:
    """Return for each control measurement the Westgard rules it completes (Westgard et al., Clin. Chem. 27 (1981) 493).

    ``1-2s`` is a warning; ``1-3s``, ``2-2s`` (two in a row, one side), ``R-4s`` (one beyond +2s and one beyond -2s within one run), ``4-1s``
    (four in a row, one side) and ``10x`` (ten in a row, one side) reject.

    Args:
        values: Control values in time order, shape (n,).
        limits: Mean and standard deviation of the control.
        run: Run of each value, for ``R-4s``; left out, all values are one run and neighbours are compared.

    Raises:
        ValueError: ``run`` has another length.
    """
    z = _z(values, limits)
    if run is not None and len(run) != z.size:
        raise ValueError(f"{z.size} values but {len(run)} runs")
    hits: list[tuple[str, ...]] = []
    for end in range(1, z.size + 1):
        last = float(z[end - 1])
        mates = z[end - 2 : end - 1] if run is None else z[[i for i in range(end - 1) if run[i] == run[end - 1]]]
        spans = bool((mates < -2).any()) if last > 2 else last < -2 and bool((mates > 2).any())
        found = {
            "1-2s": abs(last) > 2,
            "1-3s": abs(last) > 3,
            "2-2s": _holds_at(z, end, 2, lambda w: _mostly_beyond(w, sigma=2, count=2)),
            "R-4s": spans,
            "4-1s": _holds_at(z, end, 4, lambda w: _mostly_beyond(w, sigma=1, count=4)),
            "10x": _holds_at(z, end, 10, _on_one_side),
        }
        hits.append(tuple(rule for rule, is_broken in found.items() if is_broken))
    return hits


def _z(values: Sequence[float], limits: ChartLimits) -> FloatArray:
    """Return the values in sigmas from the centre; rounded so that a point on a zone line is on it."""
    return np.round((np.asarray(values, dtype=np.float64) - limits.centre) / limits.sigma, 9)


def _holds_at(z: FloatArray, end: int, span: int, holds: Callable[[FloatArray], bool], *, is_partial_allowed: bool = False) -> bool:
    """Return whether a rule holds for the ``span`` points up to ``end``; "k of n" rules may be completed before n points exist."""
    return (end >= span or is_partial_allowed) and holds(z[max(0, end - span) : end])


def _on_one_side(window: FloatArray) -> bool:
    return bool((window > 0).all() or (window < 0).all())


def _is_monotone(window: FloatArray) -> bool:
    steps = np.diff(window)
    return bool((steps > 0).all() or (steps < 0).all())


def _alternates(window: FloatArray) -> bool:
    steps = np.diff(window)
    return bool((steps[1:] * steps[:-1] < 0).all())


def _mostly_beyond(window: FloatArray, *, sigma: float, count: int) -> bool:
    """Return whether the last point and at least ``count`` in all lie beyond ``sigma`` on the last point's side."""
    side = 1.0 if window[-1] > 0 else -1.0
    beyond = side * window > sigma
    return bool(beyond[-1]) and int(beyond.sum()) >= count
