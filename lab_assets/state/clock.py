"""The server's clock, and how points in time are written in the relational state.

Belongs here: now, its text form, and when it counts as set back. Does not belong here: times of instruments or clients, which
are never trusted for records; what a clock that was set back stops (``clock_guard.py``).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

MOST_STEP_BACK: Final = timedelta(seconds=5)
"""Servers that share a database differ by less; a clock behind what is recorded already by more was set back."""


def utc_now() -> datetime:
    """Return the server's time, zone-aware in UTC."""
    return datetime.now(UTC)


def as_text(at: datetime) -> str:
    """Return a point in time as ISO 8601 text in UTC with microseconds; text order is time order.

    Raises:
        ValueError: the time has no zone.
    """
    if at.tzinfo is None:
        raise ValueError("a recorded time needs a zone")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def from_text(text: str) -> datetime:
    """Return the point in time that ``as_text`` wrote."""
    return datetime.fromisoformat(text)


def is_set_back(recorded: str, *, now: datetime) -> bool:
    """Return whether the clock says an earlier time than what is recorded already, by more than ``MOST_STEP_BACK``."""
    return from_text(recorded) - now > MOST_STEP_BACK
