"""People's SQL in processes apart: planned in this one, run in one of a few others, ended when the asker goes.

Belongs here: the pool of processes, and what becomes of a query whose process or asker goes. Does not belong here: what may be asked
(``lab_assets.governance.gateway``), the work of a process (``query_process.py``), who comes next (``lanes.py``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from anyio import BrokenWorkerProcess, CapacityLimiter, fail_after, to_process

from lab_assets.governance.gateway import QueryGateway
from lab_assets.governance.query_plan import (
    GatewayLimits,
    QueryFailedError,
    QueryPlan,
    QueryRefusedError,
    process_ended,
    too_much_memory,
    too_slow,
)
from lab_assets.service.lanes import Lane
from lab_assets.service.query_process import answer, make_ready

GRACE_S: Final = 5.0
"""A query whose own time is over and that has not stopped this much later ends with its process."""
_LOG: Final = logging.getLogger(__name__)


class AskerGoneError(Exception):
    """The client left before its answer; nobody reads what is answered now."""


class Queries:
    """Runs planned queries in processes. For one event loop."""

    def __init__(self, gateway: QueryGateway, limits: GatewayLimits, lane: Lane) -> None:
        self._gateway, self._limits, self._lane = gateway, limits, lane
        self._processes = CapacityLimiter(lane.places)
        self._making_ready: set[asyncio.Task[None]] = set()

    def make_ready(self) -> None:
        """Start a process in the background, so that the next query finds one."""
        task = asyncio.get_running_loop().create_task(self._make_ready())
        self._making_ready.add(task)
        task.add_done_callback(self._making_ready.discard)

    async def _make_ready(self) -> None:
        try:
            await to_process.run_sync(make_ready, self._limits, limiter=self._processes)
        except (BrokenWorkerProcess, OSError, MemoryError) as error:
            _LOG.error("no process for queries could be started, the next query tries again: %r", error.__cause__ or error)

    async def run(self, sql: str, *, user: str, origin: str, gone: Callable[[], Awaitable[None]]) -> bytes:
        """Run one query as a person, once there is a place for them.

        Args:
            sql: As the person wrote it.
            user: Account it is run as.
            origin: Where from.
            gone: Returns when the client has left.

        Returns:
            The JSON of the answer.

        Raises:
            QueryRefusedError, QueryFailedError: as ``QueryGateway.run``.
            AskerGoneError: the client left; the query was ended.
            ProblemError: as ``Lane.place``.
        """
        leaving = asyncio.ensure_future(gone())
        working = asyncio.ensure_future(self._run(sql, user=user, origin=origin))
        try:
            await asyncio.wait((leaving, working), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise AskerGoneError
        finally:
            leaving.cancel()
            if working.cancel():
                await asyncio.wait((working,))

    async def _run(self, sql: str, *, user: str, origin: str) -> bytes:
        async with self._lane.place(user):
            plan = await self._lane.in_thread(lambda: self._plan(sql, user=user, origin=origin))
            failed = "the client left before its answer"
            try:
                text = await self._in_process(plan)
            except (QueryRefusedError, QueryFailedError) as error:
                failed = str(error)
                raise
            else:
                failed = ""
                return text
            finally:
                if failed:
                    await asyncio.shield(self._lane.in_thread(partial(self._gateway.note_failure, plan, failed)))

    def _plan(self, sql: str, *, user: str, origin: str) -> QueryPlan:
        try:
            return self._gateway.plan(sql, user=user, origin=origin)
        except QueryFailedError as error:
            _LOG.error("a query of %s could not be planned: %s", user, error.__cause__ or error)  # for the administrator alone
            raise

    async def _in_process(self, plan: QueryPlan) -> bytes:
        lost = True
        try:
            with fail_after(plan.limits.seconds + GRACE_S):
                text = await to_process.run_sync(answer, plan, cancellable=True, limiter=self._processes)
        except (QueryRefusedError, QueryFailedError, MemoryError) as error:
            lost = False
            if isinstance(error, MemoryError):
                raise too_much_memory(plan.limits) from None
            raise
        except TimeoutError:
            raise too_slow(plan.limits) from None
        except BrokenWorkerProcess as error:
            _LOG.error("a process that ran a query of %s ended: %r", plan.user, error.__cause__ or error)
            raise process_ended(plan.limits) from None
        else:
            lost = False
            return text
        finally:
            if lost:
                self.make_ready()
