"""``silver.storage_conditions``: how each chamber kept its set point, day by day.

Belongs here: which days are touched, which readings a day is judged by. Does not belong here: mean kinetic temperature and
excursions themselves (``lab_assets.domain.excursions``).

A day is recomputed whole. Each stretch between two readings belongs to the day it starts in, so days add up without counting
anything twice; a day is therefore judged together with the last reading of the day before and the first of the day after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import CHAMBER_READINGS
from lab_assets.contracts.silver import STORAGE_CONDITIONS
from lab_assets.domain.excursions import (
    HUMIDITY_TOLERANCE_PCT,
    TEMPERATURE_TOLERANCE_C,
    Excursion,
    find_excursions,
    find_gaps,
    mean_kinetic_temperature_c,
)
from lab_assets.domain.in_force import RECENCY, recency
from lab_assets.lake.among import among
from lab_assets.stations.station import Group, Input, Station, of

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.lake.changes import Changes
    from lab_assets.stations.reading import StationReader

Reading = Mapping[str, Any]

LONGEST_INTERVAL: Final = timedelta(minutes=90)
"""Between readings farther apart nothing is known, however slowly a chamber logs."""
_USED: Final = ("temperature_c", "humidity_pct", "set_temperature_c", "set_humidity_pct")
_READING: Final = ("chamber_id", "read_at_utc", *_USED, *RECENCY)
_DAY: Final = timedelta(days=1)


def _touched_days(_read: StationReader, changes: Changes) -> pl.DataFrame:
    """Return the days that changed readings lie in, and the days beside them, which are judged together with these readings."""
    import polars as pl

    days = changes.both.select("chamber_id", day=pl.col("read_at_utc").dt.date()).unique()
    return pl.concat([days.with_columns(pl.col("day") + pl.duration(days=offset)) for offset in (-1, 0, 1)]).unique()


def _make(read: StationReader, keys: pl.DataFrame) -> pl.DataFrame:
    """Make the days of some chambers from their readings and those of the days beside."""
    import polars as pl

    wanted = {(chamber, day) for chamber, day in keys.iter_rows()}
    first, last = keys["day"].min(), keys["day"].max()
    assert isinstance(first, date) and isinstance(last, date)  # noqa: S101, PT018 - keys are never empty
    at = pl.col("read_at_utc")
    span = at.is_between(_start(first - _DAY), _start(last + 2 * _DAY), closed="left")
    readings = read.rows(CHAMBER_READINGS, _READING, where=among("chamber_id", keys["chamber_id"]) & span)
    made: list[dict[str, Any]] = []
    for (chamber,), rows in readings.group_by(["chamber_id"], maintain_order=True):
        days = {day for name, day in wanted if name == chamber}
        nearby = rows.filter(at.dt.date().is_in(list({day + offset * _DAY for day in days for offset in (-1, 0, 1)})))
        made += [row for row in days_of(nearby.iter_rows(named=True)) if row["day"] in days]
    schema = {
        **dict.fromkeys(STORAGE_CONDITIONS.column_names, pl.Float64()),
        "chamber_id": pl.String(),
        "day": pl.Date(),
        "readings": pl.Int64(),
    }
    return pl.DataFrame(made, schema=schema)


def _start(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


def days_of(readings: Iterable[Reading]) -> list[dict[str, Any]]:
    """Return one row a day of one chamber; of readings of the same time the last by content counts, never the last to arrive."""
    ordered = sorted(readings, key=lambda row: (row["read_at_utc"], recency(row)))
    by_day: dict[date, dict[datetime, Reading]] = {}
    for row in ordered:
        at = row["read_at_utc"].astimezone(UTC)
        by_day.setdefault(at.date(), {})[at] = {**row, "read_at_utc": at}
    days = {day: list(rows.values()) for day, rows in by_day.items()}
    return [
        storage_day(day, rows, before=days.get(day - _DAY, [None])[-1], after=days.get(day + _DAY, [None])[0]) for day, rows in days.items()
    ]


def storage_day(day: date, readings: Sequence[Reading], *, before: Reading | None = None, after: Reading | None = None) -> dict[str, Any]:
    """Return one row of ``silver.storage_conditions``.

    Args:
        day: The day, UTC.
        readings: Its readings by time, at least one, each time once.
        before: Last reading of the day before, where there is one.
        after: First reading of the day after, where there is one.
    """
    around = [row["read_at_utc"] for row in (before, *readings, after) if row is not None]
    max_gap = gap_limit(around)
    closed = [*readings, after] if after is not None else list(readings)
    warm = _excursions(closed, "temperature_c", "set_temperature_c", tolerance=TEMPERATURE_TOLERANCE_C, max_gap=max_gap)
    damp = _excursions(closed, "humidity_pct", "set_humidity_pct", tolerance=HUMIDITY_TOLERANCE_PCT, max_gap=max_gap)
    temperatures = [row["temperature_c"] for row in readings if row["temperature_c"] is not None]
    humidities = [row["humidity_pct"] for row in readings if row["humidity_pct"] is not None]
    judged = [found for found in (warm, damp) if found is not None]
    return {
        "chamber_id": readings[0]["chamber_id"],
        "day": day,
        "readings": len(readings),
        "mkt_c": mean_kinetic_temperature_c(temperatures) if temperatures else None,
        "temperature_min_c": min(temperatures, default=None),
        "temperature_max_c": max(temperatures, default=None),
        "humidity_mean_pct": sum(humidities) / len(humidities) if humidities else None,
        "excursion_min": _covered_min([period for found in judged for period in found]) if judged else None,
        "degree_hours_above": None if warm is None else sum(found.area_unit_h for found in warm if found.side == "above"),
        "gap_min": _gap_min(day, around, is_open=(before is None, after is None), max_gap=max_gap),
        "set_temperature_c": readings[-1]["set_temperature_c"],
        "set_humidity_pct": readings[-1]["set_humidity_pct"],
    }


def gap_limit(at_utc: Sequence[datetime]) -> timedelta:
    """Return the longest time between two readings that counts as continuous: twice the median interval, at most 90 minutes."""
    intervals_s = [(later - earlier).total_seconds() for earlier, later in pairwise(at_utc)]
    return min(timedelta(seconds=2 * median(intervals_s)), LONGEST_INTERVAL) if intervals_s else LONGEST_INTERVAL


def _excursions(readings: Sequence[Reading], value: str, set_point: str, *, tolerance: float, max_gap: timedelta) -> list[Excursion] | None:
    """Return the excursions of one quantity from the set point in force at each reading; ``None`` where nothing can be judged."""
    known = [row for row in readings if row[value] is not None and row[set_point] is not None]
    if not known:
        return None
    off = [row[value] - row[set_point] for row in known]
    return find_excursions([row["read_at_utc"] for row in known], off, set_point=0.0, tolerance=tolerance, max_gap=max_gap)


def _covered_min(periods: Sequence[Excursion]) -> float:
    """Return the minutes that lie in at least one period."""
    total, reached = timedelta(0), None
    for period in sorted(periods, key=lambda period: period.start_utc):
        start = period.start_utc if reached is None else max(period.start_utc, reached)
        total += max(period.end_utc - start, timedelta(0))
        reached = period.end_utc if reached is None else max(reached, period.end_utc)
    return total / timedelta(minutes=1)


def _gap_min(day: date, around: Sequence[datetime], *, is_open: tuple[bool, bool], max_gap: timedelta) -> float:
    """Return the minutes of a day without reading; with no reading on the day beside, the day's own edge counts as one."""
    start = datetime.combine(day, time.min, tzinfo=UTC)
    end = start + timedelta(days=1)
    times = [*([start] if is_open[0] and around[0] > start else []), *around, *([end] if is_open[1] else [])]
    gaps = find_gaps(times, max_gap=max_gap)
    return sum(((min(gap.end_utc, end) - max(gap.start_utc, start)) / timedelta(minutes=1) for gap in gaps), 0.0)


_READINGS: Final = Input(table=CHAMBER_READINGS, columns=_READING, touches=_touched_days)
_TEMPERATURE: Final = of(CHAMBER_READINGS, "temperature_c", "read_at_utc")
_OFF: Final = of(CHAMBER_READINGS, *_USED, "read_at_utc")
STORAGE_CONDITIONS_STATION: Final = Station(
    target=STORAGE_CONDITIONS,
    inputs=(_READINGS,),
    make=_make,
    group=Group(columns=("chamber_id", "day")),
    feeds={
        "chamber_id": of(CHAMBER_READINGS, "chamber_id"),
        "day": of(CHAMBER_READINGS, "read_at_utc"),
        "readings": of(CHAMBER_READINGS, "read_at_utc"),
        "mkt_c": _TEMPERATURE,
        "temperature_min_c": _TEMPERATURE,
        "temperature_max_c": _TEMPERATURE,
        "humidity_mean_pct": of(CHAMBER_READINGS, "humidity_pct", "read_at_utc"),
        "excursion_min": _OFF,
        "degree_hours_above": of(CHAMBER_READINGS, "temperature_c", "set_temperature_c", "read_at_utc"),
        "gap_min": of(CHAMBER_READINGS, "read_at_utc"),
        "set_temperature_c": of(CHAMBER_READINGS, "set_temperature_c", "read_at_utc"),
        "set_humidity_pct": of(CHAMBER_READINGS, "set_humidity_pct", "read_at_utc"),
    },
)
