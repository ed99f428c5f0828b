"""The server's clock, and how points in time are written in the relational state.

Belongs here: now, and its text form. Does not belong here: times of instruments or clients, which are never trusted for records.
"""

from __future__ import annotations

from datetime import UTC, datetime


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
