"""How long each step from manufacture to release took.

Belongs here: durations between the events of one lot. Does not belong here: joining events to lots, forecasting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from lab_assets.domain.investigations import INVESTIGATION_EVENTS

STEPS: Final = (
    "manufactured",
    "sampled",
    "received",
    "prepared",
    "analysed",
    "reviewed",
    *INVESTIGATION_EVENTS,
    "released",
    "rejected",
)
"""Events in the order a lot meets them; decides between events of the same time."""
_FINAL: Final = frozenset({"released", "rejected"})


@dataclass(frozen=True, kw_only=True)
class LotEvent:
    """One event of a lot: its name, one of ``STEPS``, and when it happened."""

    event: str
    at_utc: datetime


@dataclass(frozen=True, kw_only=True)
class StepDuration:
    """The time from the preceding event to this one.

    Attributes:
        from_event: Preceding event.
        to_event: Event that ended the step.
        ended_at_utc: When it ended.
        duration_h: Hours of the step.
    """

    from_event: str
    to_event: str
    ended_at_utc: datetime
    duration_h: float


def step_durations(events: Sequence[LotEvent]) -> list[StepDuration]:
    """Return the steps of one lot in the order of time; their durations add up to the time from first to last event.

    A repeated event (a second sample, a retest) is a step of its own.

    Raises:
        ValueError: an event is unknown or has no zone.
    """
    ordered = _ordered(events)
    return [
        StepDuration(
            from_event=earlier.event,
            to_event=later.event,
            ended_at_utc=later.at_utc,
            duration_h=(later.at_utc - earlier.at_utc).total_seconds() / 3600,
        )
        for earlier, later in pairwise(ordered)
    ]


def time_to_release_h(events: Sequence[LotEvent]) -> float | None:
    """Return the hours from manufacture to the last release or rejection; ``None`` while either is missing.

    Raises:
        ValueError: an event is unknown or has no zone.
    """
    ordered = _ordered(events)
    starts = [event.at_utc for event in ordered if event.event == "manufactured"]
    ends = [event.at_utc for event in ordered if event.event in _FINAL]
    return (ends[-1] - starts[0]).total_seconds() / 3600 if starts and ends else None


def _ordered(events: Sequence[LotEvent]) -> list[LotEvent]:
    """Return the events by time, then by the order of steps."""
    for event in events:
        if event.event not in STEPS:
            raise ValueError(f"unknown event {event.event!r}: expected one of {', '.join(STEPS)}")
        if event.at_utc.tzinfo is None:
            raise ValueError(f"event {event.event!r} at {event.at_utc.isoformat()} has no zone")
    return sorted(events, key=lambda event: (event.at_utc, STEPS.index(event.event)))
