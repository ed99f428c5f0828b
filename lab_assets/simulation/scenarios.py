"""Named disturbances of the simulated laboratory, each with a start before which nothing changes.

Belongs here: which scenarios exist, what each says it does, how they are named on the command line. Does not belong here:
the physics they disturb, which asks ``Scenarios`` for its strength at a moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

SCENARIOS: Final[dict[str, str]] = {
    "software_update": "LC-01's data system is updated: the peak table renames 'Plate #' to 'Theoretical Plate'",
    "lims_update": "the LIMS renames 'value' to 'result_value' in its result exports: these no longer fit their contract",
    "ageing_column": "LC-01's column ages eight times as fast and is not exchanged in time: plates fall, peaks tail and merge",
    "failing_pump": "LC-01's pump fails over 45 days: pressure ripple, flow loss, scattered areas; then it is serviced",
    "chamber_excursion": "chamber CH-30 runs at about 45 degC and 78 % RH for six days",
    "bad_analyst_day": "E. Novak prepares the next five working days with a wrong pipette: about 4 % too dilute",
    "drifting_product": "NEBRILAT-10 loses potency from lot to lot, 1 % per month of manufacture, and dissolves more slowly",
}
"""Scenario name to what it does, for people."""

DEFAULT_START_SHARE: Final = 0.6
"""Where in the simulated period a scenario starts when no date is given."""


@dataclass(frozen=True)
class Scenarios:
    """The scenarios of one simulation with their starts.

    Attributes:
        starts: Scenario name to start, UTC.
    """

    starts: dict[str, datetime]

    def days_since(self, name: str, at: datetime) -> float:
        """Return days since a scenario's start: negative before it, minus infinity where it is not played."""
        start = self.starts.get(name)
        return (at - start).total_seconds() / 86400 if start is not None else float("-inf")

    def active(self, name: str, at: datetime, *, days: float = float("inf")) -> bool:
        """Return whether a scenario has started at a moment and lasts no longer than ``days``."""
        return 0 <= self.days_since(name, at) < days


def parse_scenarios(texts: Sequence[str], *, start: datetime, end: datetime) -> Scenarios:
    """Read scenario names, each optionally with its start as ``name@YYYY-MM-DD``.

    Args:
        texts: Such as ``["failing_pump", "drifting_product@2025-03-01"]``.
        start: Start of the simulated period, UTC.
        end: End of the simulated period, UTC.

    Returns:
        The scenarios; one without a date starts at 60 % of the period, at midnight.

    Raises:
        ValueError: a name is unknown or given twice, or a date is not one or lies outside the period.
    """
    starts: dict[str, datetime] = {}
    for text in texts:
        name, _, date = text.partition("@")
        if name not in SCENARIOS:
            raise ValueError(f"unknown scenario {name!r}; choose from {', '.join(SCENARIOS)}")
        if name in starts:
            raise ValueError(f"scenario {name!r} is given twice")
        if date:
            try:
                begin = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC)
            except ValueError:
                raise ValueError(f"scenario start {date!r} is not a date YYYY-MM-DD") from None
        else:
            begin = (start + (end - start) * DEFAULT_START_SHARE).replace(hour=0, minute=0, second=0, microsecond=0)
        if not start <= begin < end:
            raise ValueError(f"scenario {name!r} starts at {begin:%Y-%m-%d}, outside the simulated period")
        starts[name] = begin
    return Scenarios(starts=starts)


def month_starts(start: datetime, end: datetime) -> list[datetime]:
    """Return the first moments of each calendar month that the period touches, the first being ``start`` itself."""
    months = [start]
    while True:
        last = months[-1]
        following = (last.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        if following >= end:
            return months
        months.append(following)


def add_months(at: datetime, months: int) -> datetime:
    """Return the moment some calendar months later, the day cut to 28 so that it always exists."""
    total = at.month - 1 + months
    return at.replace(year=at.year + total // 12, month=total % 12 + 1, day=min(at.day, 28))
