"""Answers that may be a moment old: asked for once however many wait, and asked for anew before they are too old.

Belongs here: age and waiting together. Does not belong here: what is asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class FreshCache(Generic[K, V]):
    """Answers by key, none older than ``fresh_s`` seconds; age counts from when it was asked for. For one event loop.

    Past half of that age an answer is still given and asked for anew beside, so that a key in steady use never makes anybody wait.
    """

    def __init__(self, *, fresh_s: float, most: int) -> None:
        self._fresh_s, self._most = fresh_s, most
        self._kept: dict[K, tuple[float, V]] = {}
        self._asking: dict[K, tuple[float, asyncio.Task[V]]] = {}

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """Return the answer of a key; what ``ask`` raises is raised to everybody who waits for it."""
        now_s = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and (age_s := now_s - kept[0]) < self._fresh_s:
            if age_s > self._fresh_s / 2 and not self._is_asked(key, now_s):
                self._ask(key, ask, now_s)
            return kept[1]
        asked = self._asking[key][1] if self._is_asked(key, now_s) else self._ask(key, ask, now_s)
        return await asyncio.shield(asked)

    def last(self, key: K) -> V | None:
        """Return the last answer however old, ``None`` without one; for nothing that grants anything."""
        kept = self._kept.get(key)
        return None if kept is None else kept[1]

    def drop(self, key: K) -> None:
        """Forget a key; an answer that was asked for before is not kept."""
        self._kept.pop(key, None)
        self._asking.pop(key, None)

    def _is_asked(self, key: K, now_s: float) -> bool:
        asking = self._asking.get(key)
        return asking is not None and now_s - asking[0] < self._fresh_s

    def _ask(self, key: K, ask: Callable[[], Awaitable[V]], now_s: float) -> asyncio.Task[V]:
        async def one() -> V:
            return await ask()

        task = asyncio.get_running_loop().create_task(one())
        self._asking[key] = (now_s, task)
        task.add_done_callback(lambda done: self._keep(key, now_s, done))
        return task

    def _keep(self, key: K, asked_s: float, done: asyncio.Task[V]) -> None:
        asking = self._asking.get(key)
        failed = done.cancelled() or done.exception() is not None
        if asking is None or asking[1] is not done:
            return
        del self._asking[key]
        if not failed:
            if len(self._kept) >= self._most:
                self._kept.clear()
            self._kept[key] = (asked_s, done.result())
