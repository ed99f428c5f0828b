"""Storage conditions: mean kinetic temperature, excursions out of range, gaps in the record.

Belongs here: what a chamber's log says about the storage of a sample. Does not belong here: shelf life, whether a sample may still be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, Literal

import numpy as np

ACTIVATION_ENERGY_KJ_PER_MOL: Final = 83.144
GAS_CONSTANT_KJ_PER_MOL_K: Final = 8.314472e-3
ZERO_CELSIUS_K: Final = 273.15
TEMPERATURE_TOLERANCE_C: Final = 2.0
HUMIDITY_TOLERANCE_PCT: Final = 5.0
"""Tolerances of stability chambers, ICH Q1A(R2) 2.2.7."""


@dataclass(frozen=True, kw_only=True)
class Excursion:
    """A period outside the tolerance.

    Attributes:
        start_utc: When the limit was crossed (interpolated), or the first reading outside after a gap.
        end_utc: When it was crossed back, or the last reading outside before a gap or the end of the record.
        duration_h: Hours between; 0 for a single reading between gaps.
        side: Whether the limit above or below was crossed.
        worst: The reading farthest out.
        area_unit_h: Excess over the limit integrated over time, unit of the reading times hours.
        is_closed: Whether the record shows the return into range.
    """

    start_utc: datetime
    end_utc: datetime
    duration_h: float
    side: Literal["above", "below"]
    worst: float
    area_unit_h: float
    is_closed: bool


@dataclass(frozen=True, kw_only=True)
class RecordGap:
    """A period without readings; nothing is known of it, so it is not "in range".

    Attributes:
        start_utc: Last reading before.
        end_utc: First reading after.
        duration_h: Hours between.
    """

    start_utc: datetime
    end_utc: datetime
    duration_h: float


@dataclass(frozen=True, kw_only=True)
class StorageSummary:
    """How a record divides: hours in range, outside, and without readings."""

    in_range_h: float
    outside_h: float
    gap_h: float


def mean_kinetic_temperature_c(
    temperature_c: Sequence[float],
    *,
    weight_h: Sequence[float] | None = None,
    activation_energy_kj_per_mol: float = ACTIVATION_ENERGY_KJ_PER_MOL,
) -> float:
    """Return the mean kinetic temperature ``Tk = (dH/R) / -ln(sum(t_i exp(-dH / (R T_i))) / sum t_i)``, in degrees Celsius (USP <1160>).

    Args:
        temperature_c: Readings, shape (n,).
        weight_h: Time each reading stands for; equal when left out.
        activation_energy_kj_per_mol: dH; the default makes dH/R 10 000 K.

    Raises:
        ValueError: no reading, one below absolute zero, or weights that are negative, all zero or of another length.
    """
    kelvin = np.asarray(temperature_c, dtype=np.float64) + ZERO_CELSIUS_K
    if kelvin.size == 0 or not bool((kelvin > 0).all()):
        raise ValueError("one or more temperatures above absolute zero are needed")
    weight = np.ones_like(kelvin) if weight_h is None else np.asarray(weight_h, dtype=np.float64)
    if weight.shape != kelvin.shape or bool((weight < 0).any()) or not weight.sum() > 0:
        raise ValueError("weights must be as many as temperatures, not negative and not all zero")
    ratio_k = activation_energy_kj_per_mol / GAS_CONSTANT_KJ_PER_MOL_K
    mean_rate = float((weight * np.exp(-ratio_k / kelvin)).sum() / weight.sum())
    return float(ratio_k / -np.log(mean_rate)) - ZERO_CELSIUS_K


def find_gaps(at_utc: Sequence[datetime], *, max_gap: timedelta) -> list[RecordGap]:
    """Return the periods longer than ``max_gap`` between consecutive readings.

    Raises:
        ValueError: the times do not ascend or have no zone.
    """
    _check_times(at_utc)
    return [
        RecordGap(start_utc=start, end_utc=end, duration_h=_hours(end - start)) for start, end in pairwise(at_utc) if end - start > max_gap
    ]


def find_excursions(
    at_utc: Sequence[datetime], reading: Sequence[float], *, set_point: float, tolerance: float, max_gap: timedelta
) -> list[Excursion]:
    """Return the periods outside ``set_point -+ tolerance``, by start; a reading on the limit is inside.

    Between readings the value is taken as linear; over a gap longer than ``max_gap`` nothing is assumed and an excursion is cut.

    Args:
        at_utc: Times of the readings, ascending, with zone.
        reading: Temperatures or humidities, as many.
        set_point: Set point, in the reading's unit.
        tolerance: Allowed deviation, in the reading's unit.
        max_gap: Longest time between readings that counts as continuous.

    Raises:
        ValueError: lengths differ, a reading is not finite, times do not ascend or have no zone, or the tolerance is negative.
    """
    _check_times(at_utc)
    values = np.asarray(reading, dtype=np.float64)
    if values.shape != (len(at_utc),) or not np.isfinite(values).all() or tolerance < 0:
        raise ValueError("readings must be finite, as many as times, and the tolerance not negative")
    above = _excursions_of_side(at_utc, values, values - set_point - tolerance, side="above", max_gap=max_gap)
    below = _excursions_of_side(at_utc, values, set_point - tolerance - values, side="below", max_gap=max_gap)
    return sorted([*above, *below], key=lambda excursion: excursion.start_utc)


def summarise_storage(at_utc: Sequence[datetime], excursions: Sequence[Excursion], *, max_gap: timedelta) -> StorageSummary:
    """Return how many hours of a record were in range, outside, and without readings.

    Raises:
        ValueError: the times do not ascend or have no zone.
    """
    gap_h = sum(gap.duration_h for gap in find_gaps(at_utc, max_gap=max_gap))
    outside_h = sum(excursion.duration_h for excursion in excursions)
    total_h = _hours(at_utc[-1] - at_utc[0]) if at_utc else 0.0
    return StorageSummary(in_range_h=max(0.0, total_h - gap_h - outside_h), outside_h=outside_h, gap_h=gap_h)


def _excursions_of_side(
    at_utc: Sequence[datetime],
    values: np.ndarray,
    excess: np.ndarray,
    *,
    side: Literal["above", "below"],
    max_gap: timedelta,
) -> list[Excursion]:
    """Return the runs of positive excess."""
    runs: list[list[int]] = []
    for index in np.flatnonzero(excess > 0).tolist():
        if runs and runs[-1][-1] == index - 1 and at_utc[index] - at_utc[index - 1] <= max_gap:
            runs[-1].append(index)
        else:
            runs.append([index])
    return [_excursion(at_utc, values, excess, run=run, side=side, max_gap=max_gap) for run in runs]


def _excursion(
    at_utc: Sequence[datetime],
    values: np.ndarray,
    excess: np.ndarray,
    *,
    run: list[int],
    side: Literal["above", "below"],
    max_gap: timedelta,
) -> Excursion:
    """Measure one run, its ends interpolated to the limit where the neighbouring reading is near enough."""
    first, last = run[0], run[-1]
    times, levels = [at_utc[index] for index in run], [float(excess[index]) for index in run]
    if first > 0 and at_utc[first] - at_utc[first - 1] <= max_gap:
        times.insert(0, _limit_time(at_utc, excess, outside=first, inside=first - 1))
        levels.insert(0, 0.0)
    is_closed = last + 1 < len(at_utc) and at_utc[last + 1] - at_utc[last] <= max_gap
    if is_closed:
        times.append(_limit_time(at_utc, excess, outside=last, inside=last + 1))
        levels.append(0.0)
    hours = [_hours(time - times[0]) for time in times]
    worst = max(run, key=lambda index: float(excess[index]))
    return Excursion(
        start_utc=times[0],
        end_utc=times[-1],
        duration_h=hours[-1],
        side=side,
        worst=float(values[worst]),
        area_unit_h=float(np.trapezoid(levels, hours)),
        is_closed=is_closed,
    )


def _limit_time(at_utc: Sequence[datetime], excess: np.ndarray, *, outside: int, inside: int) -> datetime:
    """Return when the straight line between two readings meets the limit."""
    share = float(excess[outside] / (excess[outside] - excess[inside]))
    return at_utc[outside] + (at_utc[inside] - at_utc[outside]) * share


def _check_times(at_utc: Sequence[datetime]) -> None:
    """Refuse times that do not ascend or state no zone."""
    if any(time.tzinfo is None for time in at_utc):
        raise ValueError("times need a zone")
    if any(later <= earlier for earlier, later in pairwise(at_utc)):
        raise ValueError("times must ascend without repeats")


def _hours(duration: timedelta) -> float:
    return duration.total_seconds() / 3600
