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
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.silver.reference import batch_key, new_batches, news, settle

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

Reading = Mapping[str, Any]

LONGEST_INTERVAL: Final = timedelta(minutes=90)
"""Between readings farther apart nothing is known, however slowly a chamber logs."""
_USED: Final = ("temperature_c", "humidity_pct", "set_temperature_c", "set_humidity_pct")
_DAY_S: Final = 86_400


def update_storage_conditions(lake: Lakehouse) -> int:
    """Bring ``silver.storage_conditions`` up to date: the days that new readings lie in, and their neighbours.

    Returns:
        Version of the table afterwards.
    """
    versions = news(lake, STORAGE_CONDITIONS, (CHAMBER_READINGS,))
    if not versions:
        return lake.version(STORAGE_CONDITIONS)
    since, newest = new_batches(lake, STORAGE_CONDITIONS, CHAMBER_READINGS)
    version = lake.version(STORAGE_CONDITIONS)
    if newest > since:
        days = _touched_readings(lake, since).groupBy("chamber_id").applyInArrow(chamber_days, schema=STORAGE_CONDITIONS.spark_ddl())
        rows = lake.keeper.guard(days.toArrow)  # one row a day
        empty = lake.row_count(STORAGE_CONDITIONS) == 0
        version = lake.append(STORAGE_CONDITIONS, rows) if empty else lake.merge(STORAGE_CONDITIONS, rows)
    settle(lake, STORAGE_CONDITIONS, versions | {batch_key(CHAMBER_READINGS): newest})
    return version


def _touched_readings(lake: Lakehouse, since: int) -> DataFrame:
    """Return every reading of the days to recompute (``is_touched``) and of the days beside them."""
    from pyspark.sql import functions as sf

    new = lake.read_since(CHAMBER_READINGS, since)
    span = new.agg(sf.min("read_at_utc"), sf.max("read_at_utc")).collect()[0]
    margin = timedelta(days=3)
    # plain bounds on the time let Delta skip the files of other periods
    nearby = lake.read(CHAMBER_READINGS).where(sf.col("read_at_utc").between(span[0] - margin, span[1] + margin))
    days = new.select("chamber_id", _day_number().alias("_new")).distinct()
    days = days.select("chamber_id", "_new", sf.explode(sf.sequence(sf.col("_new") - 2, sf.col("_new") + 2)).alias("_day"))
    days = days.groupBy("chamber_id", "_day").agg(sf.max(sf.abs(sf.col("_day") - sf.col("_new")) <= 1).alias("is_touched"))
    readings = nearby.select("chamber_id", "read_at_utc", *_USED, "ingest_batch", "source_row", _day_number().alias("_day"))
    return readings.join(sf.broadcast(days), on=["chamber_id", "_day"]).drop("_day")


def _day_number() -> Column:
    """Return the UTC day of a reading as days since 1970, whatever the session's zone."""
    from pyspark.sql import functions as sf

    return sf.floor(sf.unix_seconds("read_at_utc") / _DAY_S)


def chamber_days(readings: pa.Table) -> pa.Table:
    """Return the days of one chamber; the function given to ``applyInArrow``.

    Args:
        readings: Readings of one chamber with ``is_touched``, any order, repeats allowed.

    Returns:
        Rows of ``silver.storage_conditions`` for the touched days.
    """
    import pyarrow as pa

    return pa.Table.from_pylist(days_of(readings.to_pylist()), schema=STORAGE_CONDITIONS.arrow_schema())


def days_of(readings: Iterable[Reading]) -> list[dict[str, Any]]:
    """Return one row a touched day of one chamber; of readings of the same time the one that arrived last counts."""
    ordered = sorted(readings, key=lambda row: (row["read_at_utc"], row["ingest_batch"], row["source_row"]))
    by_day: dict[date, dict[datetime, Reading]] = {}
    for row in ordered:
        at = row["read_at_utc"].astimezone(UTC)
        by_day.setdefault(at.date(), {})[at] = {**row, "read_at_utc": at}
    days = {day: list(rows.values()) for day, rows in by_day.items()}
    one = timedelta(days=1)
    return [
        storage_day(day, rows, before=days.get(day - one, [None])[-1], after=days.get(day + one, [None])[0])
        for day, rows in days.items()
        if rows[0]["is_touched"]
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
