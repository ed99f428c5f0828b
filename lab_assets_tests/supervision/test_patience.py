"""When what ended is started again, by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lab_assets.ops.supervision.patience import delay_s, keeps_ending

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(("quick_ends", "seconds"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (7, 32), (8, 60), (99, 60)])
def test_the_wait_doubles_up_to_a_minute(quick_ends: int, seconds: float) -> None:
    assert delay_s(quick_ends) == seconds


@pytest.mark.parametrize(
    ("quick_ends", "ends", "minutes_apart", "expected"),
    [(4, 4, 0.1, False), (5, 5, 0.1, True), (0, 19, 0.5, False), (0, 20, 0.5, True), (0, 20, 1.0, False)],
)
def test_five_quick_ends_or_twenty_in_ten_minutes_are_no_accident(
    quick_ends: int, ends: int, minutes_apart: float, *, expected: bool
) -> None:
    times = [NOW - timedelta(minutes=minutes_apart * each) for each in range(ends)]
    assert keeps_ending(quick_ends, times, NOW) is expected


def test_ends_of_a_clock_that_was_ahead_do_not_count() -> None:
    assert not keeps_ending(0, [NOW + timedelta(hours=1)] * 30, NOW)
