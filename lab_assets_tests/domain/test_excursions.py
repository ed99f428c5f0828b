from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_assets.domain.excursions import find_excursions, find_gaps, mean_kinetic_temperature_c, summarise_storage

START = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _hourly(n: int) -> list[datetime]:
    return [START + i * HOUR for i in range(n)]


def test_mean_kinetic_temperature_of_the_published_example() -> None:
    """[2, 2, 5, 8, 8, 8, 8] degC give 6.25 degC (dH 83.144 kJ/mol)."""
    assert mean_kinetic_temperature_c([2, 2, 5, 8, 8, 8, 8]) == pytest.approx(6.25, abs=0.02)
    assert mean_kinetic_temperature_c([2, 5, 8], weight_h=[2, 1, 4]) == pytest.approx(mean_kinetic_temperature_c([2, 2, 5, 8, 8, 8, 8]))


@given(st.lists(st.floats(-40, 60), min_size=1, max_size=30))
def test_mean_kinetic_temperature_lies_between_the_mean_and_the_highest(readings: list[float]) -> None:
    mkt = mean_kinetic_temperature_c(readings)
    assert sum(readings) / len(readings) - 1e-6 <= mkt <= max(readings) + 1e-6


def test_mean_kinetic_temperature_refuses_nonsense() -> None:
    for readings, weight in (([], None), ([-300.0], None), ([5.0], [1.0, 2.0]), ([5.0], [0.0])):
        with pytest.raises(ValueError, match=r"needed|weights"):
            mean_kinetic_temperature_c(readings, weight_h=weight)


def test_triangular_excursion_by_hand() -> None:
    """25, 29, 25 degC hourly against 25 +- 2: over 27 from 0.5 h to 1.5 h, peak 2 over, area 1/2 * 1 h * 2 = 1 degC h."""
    (found,) = find_excursions(_hourly(3), [25.0, 29.0, 25.0], set_point=25, tolerance=2, max_gap=2 * HOUR)
    assert (found.start_utc, found.end_utc) == (START + 0.5 * HOUR, START + 1.5 * HOUR)
    assert (found.duration_h, found.area_unit_h, found.worst, found.side) == (1.0, pytest.approx(1.0), 29.0, "above")
    assert found.is_closed


def test_low_side_limit_and_order() -> None:
    found = find_excursions(_hourly(5), [54.0, 60.0, 65.0, 66.0, 60.0], set_point=60, tolerance=5, max_gap=2 * HOUR)
    assert [(e.side, e.worst) for e in found] == [("below", 54.0), ("above", 66.0)]
    assert found[0].start_utc == START


def test_reading_on_the_limit_is_inside() -> None:
    assert find_excursions(_hourly(3), [27.0, 23.0, 27.0], set_point=25, tolerance=2, max_gap=HOUR) == []


def test_excursion_is_cut_by_a_gap_and_stays_open_at_the_end() -> None:
    times = [START, START + HOUR, START + 10 * HOUR, START + 11 * HOUR]
    first, second = find_excursions(times, [25.0, 29.0, 29.0, 29.0], set_point=25, tolerance=2, max_gap=2 * HOUR)
    assert not first.is_closed
    assert first.end_utc == START + HOUR
    assert (second.start_utc, second.duration_h, second.area_unit_h) == (START + 10 * HOUR, 1.0, pytest.approx(2.0))
    assert not second.is_closed


def test_gap_is_not_in_range() -> None:
    times = [START, START + HOUR, START + 10 * HOUR]
    (gap,) = find_gaps(times, max_gap=2 * HOUR)
    assert (gap.start_utc, gap.duration_h) == (START + HOUR, 9.0)
    excursions = find_excursions(times, [25.0, 29.0, 25.0], set_point=25, tolerance=2, max_gap=2 * HOUR)
    summary = summarise_storage(times, excursions, max_gap=2 * HOUR)
    assert (summary.in_range_h, summary.outside_h, summary.gap_h) == (0.5, 0.5, 9.0)
    assert summarise_storage([], [], max_gap=HOUR).in_range_h == 0


def test_unusable_records_are_refused() -> None:
    with pytest.raises(ValueError, match="ascend"):
        find_gaps([START, START], max_gap=HOUR)
    with pytest.raises(ValueError, match="zone"):
        find_gaps([datetime(2025, 1, 1)], max_gap=HOUR)  # noqa: DTZ001 -- the missing zone is the point
    with pytest.raises(ValueError, match="finite"):
        find_excursions(_hourly(1), [float("nan")], set_point=25, tolerance=2, max_gap=HOUR)
