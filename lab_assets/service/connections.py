"""Which connections are open, and which may be closed to make room.

A connection that holds no whole request - idle, or with a head or body still on its way - is cheap to close and is closed first: when its
time is over, or earlier, the oldest first, when its address or the service has no room left.

Belongs here: counting, ages, whom to close. Does not belong here: HTTP (``guarded_protocol.py``), requests (``gate.py``).
"""

from __future__ import annotations

import resource
from collections import OrderedDict
from typing import Final, Protocol

MOST: Final = 2048
MOST_OF_ADDRESS: Final = 1536
"""Behind a proxy everybody has its address; without one, nobody takes the places of all others."""
RESERVE: Final = 64
"""Beyond the most, for those who ask after the service's health."""
_OTHER_HANDLES: Final = 256
"""File handles that tables, databases, logs and processes may need."""


class Closable(Protocol):
    """A connection."""

    address: str

    def close_overdue(self, now_s: float) -> None:
        """Close it if it has kept a phase for longer than this may take."""
        ...

    def close_now(self) -> None:
        """Close it at once."""
        ...


def raise_handle_limit() -> int:
    """Let the process open as many files as it may, at most what is useful; return how many connections that leaves room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    useful = MOST + RESERVE + _OTHER_HANDLES
    if soft != resource.RLIM_INFINITY and soft < useful:
        soft = useful if hard == resource.RLIM_INFINITY else min(hard, useful)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST if soft == resource.RLIM_INFINITY else max(RESERVE, min(MOST, soft - _OTHER_HANDLES - RESERVE))


class Connections:
    """The open connections of one service. For one event loop."""

    def __init__(self, *, most: int = MOST, most_of_address: int = MOST_OF_ADDRESS, reserve: int = RESERVE) -> None:
        self._most, self._most_of_address, self._reserve = most, most_of_address, reserve
        self._all: set[Closable] = set()
        self._idle: OrderedDict[Closable, None] = OrderedDict()
        self._idle_of: dict[str, OrderedDict[Closable, None]] = {}
        self._count_of: dict[str, int] = {}
        self.closed_for_room = self.refused = 0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def idle(self) -> int:
        """Connections without a whole request."""
        return len(self._idle)

    def opened(self, one: Closable) -> str:
        """Take a new connection in.

        Returns:
            ``open``; ``reserved`` where it may only ask after health; ``refused`` where there is no room for it at all.
        """
        held = self._count_of.get(one.address, 0)
        if held >= self._most_of_address and not self._close_oldest(self._idle_of.get(one.address)):
            self.refused += 1
            return "refused"
        place = "open"
        if len(self._all) >= self._most and not self._close_oldest(self._idle):
            place = "reserved" if len(self._all) < self._most + self._reserve else "refused"
            self.refused += place == "refused"
        if place != "refused":
            self._all.add(one)
            self._count_of[one.address] = self._count_of.get(one.address, 0) + 1
            self.became_idle(one)
        return place

    def closed(self, one: Closable) -> None:
        """Let a connection go."""
        if one not in self._all:
            return
        self._all.discard(one)
        self.became_busy(one)
        self._count_of[one.address] -= 1
        if not self._count_of[one.address]:
            del self._count_of[one.address]

    def became_idle(self, one: Closable) -> None:
        """Count a connection among those that may be closed, as the youngest."""
        if one in self._all:
            self._idle[one] = None
            self._idle_of.setdefault(one.address, OrderedDict())[one] = None

    def became_busy(self, one: Closable) -> None:
        """Count a connection among those that have a request."""
        if self._idle.pop(one, self) is None:
            own = self._idle_of[one.address]
            del own[one]
            if not own:
                del self._idle_of[one.address]

    def sweep(self, now_s: float) -> None:
        """Close what is overdue."""
        for one in list(self._all):
            one.close_overdue(now_s)

    def _close_oldest(self, idle: OrderedDict[Closable, None] | None) -> bool:
        if not idle:
            return False
        oldest = next(iter(idle))
        self.closed(oldest)
        self.closed_for_room += 1
        oldest.close_now()
        return True
