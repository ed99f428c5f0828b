"""Storage of samples, against the formulas worked by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from math import exp, log, nan
from typing import Any

import polars as pl
import pytest

from lab_assets.contracts.features import STORAGE_EXPOSURE
from lab_assets.domain.excursions import mean_kinetic_temperature_c
from lab_assets.features import exposure as exposures
from lab_assets.features import extra
from lab_assets.features.definitions import columns_of
from lab_assets.features.exposure import ACTIVATION_K, storage_exposure
from lab_assets.features.extra import ExtraFeature
from lab_assets.features.feature import Feature

UTC_US = pl.Datetime("us", "UTC")
STORED = datetime(2025, 1, 1, 9, tzinfo=UTC)
DAY_SCHEMA: dict[str, Any] = {"chamber_id": pl.String, "day": pl.Date} | dict.fromkeys(
    ("mkt_c", "excursion_min", "degree_hours_above", "gap_min"), pl.Float64
)
SAMPLE_SCHEMA: dict[str, Any] = {"sample_name": pl.String, "chamber_id": pl.String, "storage_condition": pl.String}
SAMPLE_SCHEMA |= {"stored_at_utc": UTC_US, "sampled_at_utc": UTC_US, "recorded_at_utc": UTC_US}


def sample(days: int | None = 7, **more: Any) -> dict[str, Any]:
    taken = None if days is None else STORED + timedelta(days=days)
    base = {"sample_name": "S1", "chamber_id": "CH1", "storage_condition": "40C/75RH", "stored_at_utc": STORED}
    return base | {"sampled_at_utc": taken, "recorded_at_utc": taken} | more


def chamber(temperatures: list[float | None], **more: Any) -> list[dict[str, Any]]:
    return [
        {"chamber_id": "CH1", "day": date(2025, 1, 1) + timedelta(days=i), "mkt_c": value, "excursion_min": 0.0}
        | {"degree_hours_above": 0.0, "gap_min": 0.0}
        | more
        for i, value in enumerate(temperatures)
    ]


def exposure(samples: list[dict[str, Any]], days: list[dict[str, Any]]) -> dict[str, Any]:
    made = storage_exposure(pl.DataFrame(samples, schema=SAMPLE_SCHEMA), pl.DataFrame(days, schema=DAY_SCHEMA))
    assert made.height == 1
    return made.row(0, named=True)


def test_columns_are_those_of_the_contract():
    empty = storage_exposure(pl.DataFrame(schema=SAMPLE_SCHEMA), pl.DataFrame(schema=DAY_SCHEMA))
    assert set(empty.columns) == set(STORAGE_EXPOSURE.column_names)


def test_mean_kinetic_temperature_of_a_published_week():
    """2 2 5 8 8 8 8 degC give 6.25 degC ("Mean kinetic temperature", Wikipedia). The day of sampling does not count."""
    row = exposure([sample(7)], chamber([2, 2, 5, 8, 8, 8, 8, 40]))
    assert row["storage_mkt_c"] == pytest.approx(6.25, abs=0.01)
    assert row["storage_days"] == 7
    assert row["storage_gap_min"] == 0
    assert row["event_time_utc"] == STORED + timedelta(days=7)


def test_mean_kinetic_temperature_is_that_of_the_domain():
    temperatures, minutes = [24.0, 31.5, 26.0], [1440.0, 720.0, 90.0]
    days = [chamber(list(temperatures), gap_min=1440 - weight)[i] for i, weight in enumerate(minutes)]
    expected = mean_kinetic_temperature_c(temperatures, weight_h=[weight / 60 for weight in minutes])
    assert exposure([sample(3)], days)["storage_mkt_c"] == pytest.approx(expected, abs=1e-9)


def test_stress_is_months_at_25():
    """At 25 degC storage is its own length; at 40 degC 4.99 times as much (10 000 K * (1/298.15 - 1/313.15))."""
    assert exposure([sample(30)], chamber([25.0] * 40))["storage_stress_months"] == pytest.approx(30 / 30.4375)
    factor = exp(ACTIVATION_K * (1 / 298.15 - 1 / 313.15))
    assert factor == pytest.approx(4.99, abs=0.02)
    assert exposure([sample(30)], chamber([40.0] * 40))["storage_stress_months"] == pytest.approx(30 / 30.4375 * factor)


def test_days_weigh_with_their_minutes_of_readings():
    """One full day at 20, one with 6 of 24 hours at 30: weights 1440 and 360."""
    days = [*chamber([20.0]), chamber([0.0, 30.0], gap_min=1080.0)[1]]
    mean = (1440 * exp(-ACTIVATION_K / 293.15) + 360 * exp(-ACTIVATION_K / 303.15)) / 1800
    row = exposure([sample(2)], days)
    assert row["storage_mkt_c"] == pytest.approx(ACTIVATION_K / -log(mean) - 273.15)
    assert row["storage_gap_min"] == 1080


def test_excursions_add_up_and_missing_days_are_gaps():
    row = exposure([sample(4)], chamber([25.0, 27.0], excursion_min=30.0, degree_hours_above=1.5))
    assert row["storage_excursion_min"] == 60
    assert row["storage_degree_hours_above"] == 3
    assert row["storage_gap_min"] == 2 * 1440


def test_without_readings_the_nominal_condition_counts():
    row = exposure([sample(30)], [])
    assert row["storage_mkt_c"] is None
    assert row["storage_excursion_min"] is None
    assert row["storage_gap_min"] == 30 * 1440
    assert row["storage_stress_months"] == pytest.approx(30 / 30.4375 * exp(ACTIVATION_K * (1 / 298.15 - 1 / 313.15)))


def test_a_sample_never_stored():
    row = exposure([sample(5, stored_at_utc=None, chamber_id=None, storage_condition=None)], chamber([25.0] * 9))
    assert (row["storage_days"], row["storage_stress_months"], row["storage_gap_min"], row["storage_excursion_min"]) == (0, 0, 0, 0)
    assert row["storage_mkt_c"] is None


def test_samples_not_taken_are_left_out_and_known_time_is_the_later():
    recorded = STORED + timedelta(days=9)
    row = exposure([sample(None, sample_name="S0"), sample(7, recorded_at_utc=recorded)], chamber([25.0] * 9))
    assert row["sample_name"] == "S1"
    assert row["known_time_utc"] == recorded


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="gap_min"):
        storage_exposure(pl.DataFrame(schema=SAMPLE_SCHEMA), pl.DataFrame(schema=DAY_SCHEMA).drop("gap_min"))


def test_a_former_computation_sees_the_sums_and_has_a_column_of_its_own(monkeypatch: pytest.MonkeyPatch):
    """Sixty minutes out of limits in each of two days; a sample never stored has no sums, and nothing is said of it."""
    was = Feature(name="storage_excursion_min", table="storage_exposure", meaning="", version=0)
    names = columns_of("storage_exposure")
    monkeypatch.setattr(exposures, "columns_of", lambda _: (*names, was.former_column))
    kept = ExtraFeature(feature=was, value=lambda given: given["excursion"] / 60 if given["excursion"] is not None else nan)
    monkeypatch.setattr(extra, "formers", lambda: (kept,))
    row = exposure([sample(2)], chamber([25, 25], excursion_min=60.0))
    assert (row["storage_excursion_min"], row["storage_excursion_min_v0"]) == (120.0, 2.0)
    assert exposure([sample(2, stored_at_utc=None)], [])["storage_excursion_min_v0"] is None


def test_a_sampling_that_was_corrected_before_it_came_is_no_storage():
    """Recorded on day 1 as planned for day 300, on day 31 as taken on day 30; what is recorded late is known from then on."""
    day = {number: STORED + timedelta(days=number) for number in (1, 31, 40)}
    records = [sample(300, recorded_at_utc=day[1]), sample(30, recorded_at_utc=day[31]), sample(28, recorded_at_utc=day[40])]
    made = storage_exposure(pl.DataFrame(records, schema=SAMPLE_SCHEMA), pl.DataFrame(chamber([25.0] * 301), schema=DAY_SCHEMA))
    assert made.select("known_time_utc", "storage_days").rows() == [(day[31], 30.0), (day[40], 28.0)]
