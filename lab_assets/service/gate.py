"""The gate: every request that has arrived whole passes it, before anything of it is worked on.

- Health, readiness and metrics pass at once, always.
- Scores have a limit of their own that follows their latency. Who finds no place waits, in turn with other people, as far as their bursts
  go; a crowd that stays is refused, so that those who are answered are answered soon.
- Everything else begins one at a time, between scores.
- Refusals cost next to nothing and leave at a bounded pace.

Belongs here: the order in which requests begin, and which are refused. Does not belong here: bytes (``guarded_protocol.py``), places for
work that takes threads or processes (``lanes.py``).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, Protocol

from lab_assets.service.connections import Connections
from lab_assets.service.lanes import Pace
from lab_assets.service.latency_limit import LatencyLimit
from lab_assets.service.limits import RateLimiter

HEALTH: Final = frozenset({"/healthz", "/readyz", "/metrics"})
SCORE: Final = "/v1/score"
LEAST_SCORES: Final = 3
MOST_SCORES: Final = 64
BURST: Final = 32
"""Scores of one person that may wait beyond the limit before more are refused."""
BURST_PER_S: Final = 2.0
MOST_WAITING: Final = 1024
MOST_WAITING_EACH: Final = 256
LONGEST_WAIT_S: Final = 2.0
SWEEP_S: Final = 0.5


class Arrived(Protocol):
    """One request that has arrived."""

    @property
    def path(self) -> str:
        """What is asked for."""
        ...

    @property
    def is_small(self) -> bool:
        """Whether all of it is here, and little enough to be read at once; nothing else takes a place that a score may have."""
        ...

    @property
    def person(self) -> str:
        """Who asks, as far as it is known without looking anything up; else the client's address."""
        ...

    @property
    def is_gone(self) -> bool:
        """Whether the client has left."""
        ...

    def begin(self, done: Callable[[], None] | None = None) -> None:
        """Work on it, and say at least once when that is done."""
        ...

    def hold(self) -> None:
        """Read nothing more of its connection until it is answered."""
        ...

    def refuse(self, status: int, detail: str, *, retry_after_s: int) -> None:
        """Answer that it was not worked on."""
        ...


class Turns:
    """Requests that wait, taken in turn between people."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[tuple[float, Arrived]]] = OrderedDict()
        self.count = 0

    def of(self, person: str) -> int:
        """Return how many of one person wait."""
        return len(self._queues.get(person, ()))

    def add(self, person: str, request: Arrived, now_s: float) -> None:
        """Let a request wait."""
        self._queues.setdefault(person, deque()).append((now_s, request))
        self.count += 1

    def take(self) -> Arrived | None:
        """Return the next request whose client is there; ``None`` where none waits."""
        while self._queues:
            person, queue = next(iter(self._queues.items()))
            _, request = queue.popleft()
            self.count -= 1
            if queue:
                self._queues.move_to_end(person)
            else:
                del self._queues[person]
            if not request.is_gone:
                return request
        return None

    def take_older(self, than_s: float) -> list[Arrived]:
        """Return the requests that wait since before a moment."""
        old: list[Arrived] = []
        for person, queue in list(self._queues.items()):
            while queue and queue[0][0] < than_s:
                old.append(queue.popleft()[1])
            if not queue:
                del self._queues[person]
        self.count -= len(old)
        return old


class Gate:
    """Begins, keeps waiting or refuses requests. For one event loop."""

    def __init__(self, *, connections: Connections | None = None, limit: LatencyLimit | None = None) -> None:
        self.connections = Connections() if connections is None else connections
        self.limit = limit or LatencyLimit(least=LEAST_SCORES, most=MOST_SCORES)
        self.scores_running = self.refused = 0
        self.person_of_token: Callable[[str], str | None] = lambda _token: None
        self._bursts = RateLimiter(burst=BURST, per_minute=60 * BURST_PER_S)
        self._scores, self._others = Turns(), Turns()
        self._one_began = False
        self._pace = Pace()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def waiting(self) -> dict[str, int]:
        """Requests that wait, by kind."""
        return {"scores": self._scores.count, "others": self._others.count}

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look after what is overdue; once."""
        if self._loop is None:
            self._loop = loop
            loop.call_later(SWEEP_S, self._sweep, loop)

    def arrived(self, request: Arrived) -> None:
        """Begin a request, keep it waiting, or refuse it."""
        path = request.path
        if path == SCORE and request.is_small:
            self._score(request)
        elif path in HEALTH:
            request.begin()
        elif self._one_began or self._others.count:
            self._other_waits(request)
        else:
            self._begin_other(request)

    # --- scores

    def _score(self, request: Arrived) -> None:
        if self.scores_running < self.limit.now:
            self._begin_score(request)
            return
        person, now_s = request.person, self._now_s()
        if self._scores.count >= MOST_WAITING or self._bursts.take(person, now_s=now_s) > 0:
            self._refuse(request, "more scores than can be answered soon; try again")
        else:
            self._scores.add(person, request, now_s)

    def _begin_score(self, request: Arrived) -> None:
        self.scores_running += 1
        at_once, began_s = self.scores_running, time.perf_counter()

        def done() -> None:
            nonlocal at_once
            if not at_once:
                return  # it was said before
            self.limit.observe(time.perf_counter() - began_s, at_once=max(at_once, self.scores_running))
            self.scores_running -= 1
            at_once = 0
            while self.scores_running < self.limit.now and (following := self._scores.take()) is not None:
                self._begin_score(following)

        request.begin(done)

    # --- everything else

    def _other_waits(self, request: Arrived) -> None:
        person = request.person
        if self._others.of(person) >= MOST_WAITING_EACH or self._others.count >= MOST_WAITING:
            self._refuse(request, "more requests than can be answered at once; try again")
        else:
            self._others.add(person, request, self._now_s())

    def _begin_other(self, request: Arrived) -> None:
        """Begin one; the next begins after the event loop has looked at its connections."""
        self._one_began = True
        self._running_loop().call_soon(self._next_other)
        request.begin()

    def _next_other(self) -> None:
        self._one_began = False
        if (following := self._others.take()) is not None:
            self._begin_other(following)

    # --- refusing

    def _refuse(self, request: Arrived, detail: str) -> None:
        self.refused += 1
        request.hold()
        delay_s = self._pace.delay_s(self._now_s())
        if delay_s > 0:
            self._running_loop().call_later(delay_s, lambda: request.refuse(503, detail, retry_after_s=1))
        else:
            request.refuse(503, detail, retry_after_s=1)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        self.connections.sweep(now_s)
        for turns in (self._scores, self._others):
            for request in turns.take_older(now_s - LONGEST_WAIT_S):
                self._refuse(request, f"no place within {LONGEST_WAIT_S:g} s; try again")
        loop.call_later(SWEEP_S, self._sweep, loop)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop or asyncio.get_running_loop()

    def _now_s(self) -> float:
        return self._running_loop().time()
