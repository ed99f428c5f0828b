"""How many requests are worked on at once, after the latency they had.

Belongs here: the algorithm. Does not belong here: what is limited (``gate.py``).
"""

from __future__ import annotations

from math import log10
from typing import Final

_QUIET_WEIGHT: Final = 0.05
"""How far one request answered alone moves what quiet latency is taken to be, where it took longer."""
_SMOOTHING: Final = 0.5


class LatencyLimit:
    """Vegas: as many requests at once as keep a handful of them waiting for one another.

    ``queue = limit * (1 - quiet / latency)`` estimates how many of those at once only wait. Few: the limit rises; many: it falls. Quiet
    latency is that of requests answered alone, so no load, however long, makes a crowd look quiet.

    Source:
        Brakmo, O'Malley, Peterson: "TCP Vegas: new techniques for congestion detection and avoidance", SIGCOMM 1994; as a limit of
        concurrency: Netflix ``concurrency-limits``, ``VegasLimit``, with the 2 and 4 of Linux' ``tcp_vegas`` for its 3 and 6.
    """

    def __init__(self, *, least: int, most: int) -> None:
        """Begin at the least.

        Args:
            least: Requests at once however slow they are: what one client with a few connections may always have.
            most: Requests at once however quick they are.
        """
        self._least, self._most = least, most
        self._limit = float(least)
        self.quiet_s = 0.0

    @property
    def now(self) -> int:
        """Requests at once."""
        return int(self._limit)

    def observe(self, latency_s: float, *, at_once: int) -> None:
        """Learn from one answered request.

        Args:
            latency_s: From when its work began until it was answered, seconds.
            at_once: Requests that were worked on when it was done, itself among them.
        """
        if latency_s <= 0:
            return
        if at_once <= 1:
            slower = self.quiet_s and latency_s > self.quiet_s
            self.quiet_s = self.quiet_s + _QUIET_WEIGHT * (latency_s - self.quiet_s) if slower else latency_s
        if not self.quiet_s or at_once * 2 < self._limit:
            return  # nothing was learned of a limit that was not reached
        queue = self._limit * (1 - min(1.0, self.quiet_s / latency_s))
        step = max(1.0, log10(self._limit))
        if queue < 2 * step:
            wanted = self._limit + step
        elif queue > 4 * step:
            wanted = self._limit - step
        else:
            return
        smoothed = self._limit + _SMOOTHING * (wanted - self._limit)
        self._limit = min(float(self._most), max(float(self._least), smoothed))
