from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lab_assets.domain.cycle_time import LotEvent, step_durations, time_to_release_h

START = datetime(2025, 3, 1, 8, tzinfo=UTC)


def _event(name: str, hours: float) -> LotEvent:
    return LotEvent(event=name, at_utc=START + timedelta(hours=hours))


def test_durations_add_up_in_any_order_given() -> None:
    events = [_event("released", 100), _event("manufactured", 0), _event("analysed", 72), _event("sampled", 2), _event("reviewed", 80)]
    steps = step_durations(events)
    assert [(s.from_event, s.to_event, s.duration_h) for s in steps] == [
        ("manufactured", "sampled", 2.0),
        ("sampled", "analysed", 70.0),
        ("analysed", "reviewed", 8.0),
        ("reviewed", "released", 20.0),
    ]
    assert time_to_release_h(events) == 100.0 == sum(step.duration_h for step in steps)
    assert steps[-1].ended_at_utc == START + timedelta(hours=100)


def test_events_of_the_same_time_follow_the_order_of_steps() -> None:
    steps = step_durations([_event("received", 1), _event("sampled", 1), _event("manufactured", 0)])
    assert [step.to_event for step in steps] == ["sampled", "received"]


def test_unfinished_lots_have_no_release_time() -> None:
    assert time_to_release_h([_event("manufactured", 0), _event("analysed", 5)]) is None
    assert step_durations([]) == []


def test_unknown_events_and_times_without_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown event"):
        step_durations([_event("lost", 0)])
    with pytest.raises(ValueError, match="no zone"):
        step_durations([LotEvent(event="sampled", at_utc=datetime(2025, 1, 1))])  # noqa: DTZ001 -- the missing zone is the point
