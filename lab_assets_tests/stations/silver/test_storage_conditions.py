"""Chamber days: excursions, gaps and late or repeated readings, by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from lab_assets.contracts.bronze import CHAMBER_READINGS
from lab_assets.contracts.silver import STORAGE_CONDITIONS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.runner import update
from lab_assets.stations.silver.storage_conditions import STORAGE_CONDITIONS_STATION, days_of, gap_limit, storage_day
from lab_assets_tests.stations.rows import Put

DAY = date(2025, 3, 10)
MIDNIGHT = datetime(2025, 3, 10, tzinfo=UTC)


def reading(hour: float, temperature_c: float | None = 25.0, humidity_pct: float | None = 60.0, **more: Any) -> dict[str, Any]:
    at = MIDNIGHT + timedelta(hours=hour)
    row = {"chamber_id": "CH-25", "read_at_utc": at, "read_at_text": at.isoformat(), "zone_known": True}
    values = {"temperature_c": temperature_c, "humidity_pct": humidity_pct, "set_temperature_c": 25.0, "set_humidity_pct": 60.0}
    return {**row, **values, "ingest_batch": 1, "source_row": 1, **more}


def bronze(*hours: float, **values: Any) -> list[dict[str, Any]]:
    dropped = {"ingest_batch", "source_row"}
    return [{name: value for name, value in reading(hour, **values).items() if name not in dropped} for hour in hours]


def test_a_quiet_day_has_no_excursion_and_a_constant_is_its_own_kinetic_mean() -> None:
    row = storage_day(DAY, [reading(hour) for hour in range(24)])
    assert (row["readings"], row["excursion_min"], row["degree_hours_above"], row["gap_min"]) == (24, 0.0, 0.0, 0.0)
    assert row["mkt_c"] == pytest.approx(25.0)
    assert (row["temperature_min_c"], row["temperature_max_c"], row["humidity_mean_pct"]) == (25.0, 25.0, 60.0)


def test_a_spike_counts_from_crossing_to_crossing_and_both_quantities_count_once() -> None:
    """4 degC off at 10:00: the line crosses +2 at 9:30 and 10:30; a triangle 1 h wide and 2 degC high is 1 degC*h. Humidity: the same hour."""
    readings = [reading(hour, 29.0 if hour == 10 else 25.0, 70.0 if hour == 10 else 60.0) for hour in range(24)]
    row = storage_day(DAY, readings)
    assert row["excursion_min"] == pytest.approx(60.0)
    assert row["degree_hours_above"] == pytest.approx(1.0)


def test_cold_counts_as_excursion_but_not_as_degree_hours_above() -> None:
    row = storage_day(DAY, [reading(hour, 21.0 if hour == 10 else 25.0) for hour in range(24)])
    assert (row["excursion_min"], row["degree_hours_above"]) == (pytest.approx(60.0), 0.0)


def test_an_excursion_over_midnight_is_shared_without_counting_anything_twice() -> None:
    """29 degC from 22:00 to 02:00: crossed at 21:30 and 02:30, 5 h in all; 150 min before midnight, 150 after."""
    readings = [reading(hour, 29.0 if 22 <= hour <= 26 else 25.0) for hour in range(48)]
    first, second = days_of(readings)
    assert (first["excursion_min"], second["excursion_min"]) == (pytest.approx(150.0), pytest.approx(150.0))
    assert first["degree_hours_above"] + second["degree_hours_above"] == pytest.approx(9.0)


def test_a_missing_reading_is_a_gap_over_which_nothing_is_assumed() -> None:
    """Hourly without 12:00: 120 minutes unknown. The reading at 13:00 is outside, but nothing is drawn back over the gap."""
    row = storage_day(DAY, [reading(hour, 29.0 if hour == 13 else 25.0) for hour in range(24) if hour != 12])
    assert row["gap_min"] == 120.0
    assert row["excursion_min"] == pytest.approx(30.0)


def test_a_gap_over_midnight_is_cut_at_midnight() -> None:
    """Nothing from 20:00 to 06:00: 240 minutes of the first day, 360 of the second."""
    first, second = days_of([reading(hour) for hour in (*range(21), *range(30, 48))])
    assert (first["gap_min"], second["gap_min"]) == (240.0, 360.0)


def test_the_edges_of_a_record_count_as_gaps_when_they_are_long() -> None:
    row = storage_day(DAY, [reading(hour) for hour in range(8, 12)])
    assert row["gap_min"] == 8 * 60 + 13 * 60


def test_two_missing_readings_of_a_five_minute_logger_are_a_gap_and_one_is_not() -> None:
    times = [MIDNIGHT + timedelta(minutes=5 * number) for number in range(10)]
    assert gap_limit(times) == timedelta(minutes=10)
    assert gap_limit(times[:1]) == timedelta(minutes=90)
    assert gap_limit([MIDNIGHT, MIDNIGHT + timedelta(hours=4)]) == timedelta(minutes=90)


def test_a_chamber_without_set_point_is_not_judged() -> None:
    row = storage_day(DAY, [reading(hour, set_temperature_c=None, set_humidity_pct=None) for hour in range(24)])
    assert (row["excursion_min"], row["degree_hours_above"], row["mkt_c"]) == (None, None, pytest.approx(25.0))


def test_a_changed_set_point_holds_from_its_reading_on() -> None:
    """Set to 30 at noon with the chamber following at once: never outside."""
    readings = [reading(hour, 25.0 if hour < 12 else 30.0, set_temperature_c=25.0 if hour < 12 else 30.0) for hour in range(24)]
    assert storage_day(DAY, readings)["excursion_min"] == 0.0


def test_late_and_repeated_readings_change_their_days_and_the_neighbours_only(lakehouse: Lakehouse, put: Put) -> None:
    put(CHAMBER_READINGS, *bronze(*range(72)))
    first = update(lakehouse, STORAGE_CONDITIONS_STATION).version
    assert update(lakehouse, STORAGE_CONDITIONS_STATION).version == first
    days = lakehouse.polars(STORAGE_CONDITIONS).sort("day")
    assert days["day"].to_list() == [DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)]
    assert days["readings"].to_list() == [24, 24, 24]
    # exported again with one corrected value, and a day more after a hole
    put(CHAMBER_READINGS, *bronze(34.0, temperature_c=29.0), *bronze(35.0), *bronze(*range(78, 96)), batch=2)
    assert update(lakehouse, STORAGE_CONDITIONS_STATION).version > first
    days = lakehouse.polars(STORAGE_CONDITIONS).sort("day")
    assert days["readings"].to_list() == [24, 24, 24, 18]
    assert days["excursion_min"].to_list() == pytest.approx([0.0, 60.0, 0.0, 0.0])
    assert days["gap_min"].to_list() == pytest.approx([0.0, 0.0, 60.0, 360.0])
