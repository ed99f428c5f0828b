"""Places: how much of each kind of work is done at once, and who comes next.

Each kind has places and threads of its own, so that none waits for another. Within a kind a person holds some of the places at most;
who waits is taken in turn between people; how many wait is bounded, for each person and for all. What is beyond is refused with a time
to come back.

Belongs here: places, waiting, refusing, and how many there are of each kind. Does not belong here: scores, which never leave the event
loop (``gate.py``), what is done in a place.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Final, TypeVar

from lab_assets.service.problems import ProblemError

T = TypeVar("T")
RETRY_AFTER_S: Final = 1
REFUSALS_PER_S: Final = 200.0
LONGEST_DELAY_S: Final = 1.0


class Pace:
    """When the next refusal leaves: at most so many a second, each at most so late.

    A client that comes back at once, whatever ``Retry-After`` says, would otherwise take the processor from those who are answered. The
    first refusals leave at once.

    Source:
        Leaky bucket as a queue (Turner, "New directions in communications", IEEE Communications 24(10), 1986); the tarpit of HAProxy.
    """

    def __init__(self, *, per_s: float = REFUSALS_PER_S, longest_s: float = LONGEST_DELAY_S) -> None:
        self._gap_s, self._longest_s = 1.0 / per_s, longest_s
        self._next_s = 0.0

    def delay_s(self, now_s: float) -> float:
        """Return how long to hold one refusal, seconds."""
        self._next_s = min(max(self._next_s, now_s), now_s + self._longest_s) + self._gap_s
        return self._next_s - self._gap_s - now_s


class Lane:
    """The places of one kind of work. For one event loop."""

    def __init__(
        self, what: str, *, places: int, each: int, waiting: int, waiting_each: int, wait_s: float, pace: Pace | None = None
    ) -> None:
        """Set the bounds.

        Args:
            what: Kind of work, in words that end "too many ...".
            places: Done at once.
            each: Of those, most of one person.
            waiting: Most that wait.
            waiting_each: Of those, most of one person.
            wait_s: Longest wait, seconds.
            pace: How refusals leave; default: one of its own.
        """
        self.what = what
        self.places, self._each = places, each
        self._most_waiting, self._most_waiting_each, self._wait_s = waiting, waiting_each, wait_s
        self._pace = pace or Pace()
        self._held: dict[str, int] = {}
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._pool = ThreadPoolExecutor(places, thread_name_prefix=what.replace(" ", "-"))
        self.running = self.waiting = self.refused = 0

    def close(self) -> None:
        """End the threads; what waits for one is given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, person: str, work: Callable[[], T]) -> T:
        """Do some work in a thread of this lane, once there is a place for this person.

        Raises:
            ProblemError: as ``place``.
        """
        async with self.place(person):
            return await self.in_thread(work)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do some work in a thread of this lane; the caller has a place."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    @asynccontextmanager
    async def place(self, person: str) -> AsyncIterator[None]:
        """Wait for a place and hold it.

        Raises:
            ProblemError: 429 too much of this person waits, 503 too much waits, or it waited too long; both with ``Retry-After``.
        """
        if self.running < self.places and self._held.get(person, 0) < self._each:  # whoever waits may not have it
            self._enter(person)
        else:
            await self._wait(person)
        try:
            yield
        finally:
            self._leave(person)

    async def _wait(self, person: str) -> None:
        mine = len(self._queues.get(person, ()))
        if mine >= self._most_waiting_each:
            await self._refuse(429, f"too many {self.what}: {mine} of yours wait already; wait for their answers")
        if self.waiting >= self._most_waiting:
            await self._refuse(503, f"too many {self.what} at once; try again")
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(person, deque()).append(turn)
        self.waiting += 1
        came = False
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
            came = True
        except TimeoutError:
            await self._refuse(503, f"too many {self.what} at once: no place within {self._wait_s:g} s; try again")
        finally:
            if not came:
                self._give_up(person, turn)

    def _give_up(self, person: str, turn: asyncio.Future[None]) -> None:
        """Take somebody who waited out of the queue, or out of the place that came in the same moment."""
        if turn.done() and not turn.cancelled():
            self._leave(person)
            return
        queue = self._queues.get(person)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self.waiting -= 1
            if not queue:
                del self._queues[person]

    async def _refuse(self, status: int, detail: str) -> None:
        self.refused += 1
        await asyncio.sleep(self._pace.delay_s(asyncio.get_running_loop().time()))
        raise ProblemError(status, detail, headers={"Retry-After": str(RETRY_AFTER_S)})

    def _enter(self, person: str) -> None:
        self.running += 1
        self._held[person] = self._held.get(person, 0) + 1

    def _leave(self, person: str) -> None:
        self.running -= 1
        self._held[person] -= 1
        if not self._held[person]:
            del self._held[person]
        while self.running < self.places and (following := self._next_person()) is not None:
            queue = self._queues[following]
            turn = queue.popleft()
            self.waiting -= 1
            if queue:
                self._queues.move_to_end(following)
            else:
                del self._queues[following]
            if not turn.done():
                self._enter(following)
                turn.set_result(None)

    def _next_person(self) -> str | None:
        return next((person for person in self._queues if self._held.get(person, 0) < self._each), None)


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """The lanes of one service. Scores have none of these: they are answered on the event loop, by the gate's own limit.

    Attributes:
        pages: Pages, and look-ups over REST.
        traces: Traces whose features are computed.
        uploads: Large bodies that are being received.
        sql: People's queries; a place is a process.
        sign_in: Passwords that are checked, by address.
    """

    pages: Lane
    traces: Lane
    uploads: Lane
    sql: Lane
    sign_in: Lane

    @classmethod
    def open(cls) -> Lanes:
        """Make every lane."""
        pace = Pace()
        return cls(
            pages=Lane("pages and look-ups", places=3, each=1, waiting=256, waiting_each=64, wait_s=20, pace=pace),
            traces=Lane("traces", places=2, each=2, waiting=64, waiting_each=32, wait_s=5, pace=pace),
            uploads=Lane("uploads", places=64, each=8, waiting=64, waiting_each=16, wait_s=5, pace=pace),
            sql=Lane("queries", places=SQL_PROCESSES, each=SQL_PROCESSES - 1, waiting=32, waiting_each=8, wait_s=60, pace=pace),
            sign_in=Lane("sign-ins", places=2, each=2, waiting=32, waiting_each=6, wait_s=10, pace=pace),
        )

    def all(self) -> dict[str, Lane]:
        """Return every lane by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def close(self) -> None:
        """End the threads of every lane."""
        for lane in self.all().values():
            lane.close()


SQL_PROCESSES: Final = 2
"""At least two: one person's queries never hold all of them."""
