"""Whether a process does its work, asked all the while beside the loop that acts on it.

Belongs here: asking one component, and since when it has been silent. Does not belong here: what follows.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from lab_assets.ops.components import Component
from lab_assets.orchestration.private.run_database import newest_heartbeat

TIMEOUT_S: Final = 5.0
INTERVAL_S: Final = 5.0
_STARTING_INTERVAL_S: Final = 0.25
_LOG: Final = logging.getLogger(__name__)


class Health:
    """What one component answers; each life of it begins without an answer."""

    def __init__(self, component: Component) -> None:
        self.component = component
        self._lock = threading.Lock()
        self._life = 0
        self._begun_s = 0.0
        self._answered_s: float | None = None
        self._heartbeat: str | None = None
        self._cannot_ask = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, *, ready: bool = False) -> None:
        """Ask from now on, of a new life.

        Args:
            ready: Whether it has answered in this life already: it was taken over from another supervisor.
        """
        with self._lock:
            self._life += 1
            self._begun_s = time.monotonic()
            self._answered_s = self._begun_s if ready else None
            self._heartbeat = newest_heartbeat(self.component.heartbeats) if self.component.heartbeats else None
        if self._thread is None:
            self._thread = threading.Thread(target=self._ask_always, name=f"health of {self.component.name}", daemon=True)
            self._thread.start()
        self._wake.set()

    @property
    def ready(self) -> bool:
        """Whether it has answered in this life."""
        return self._answered_s is not None

    @property
    def silent_s(self) -> float:
        """How long it has not answered, seconds; since its start where it never did."""
        with self._lock:
            since = self._begun_s if self._answered_s is None else self._answered_s
        return time.monotonic() - since

    def _ask_always(self) -> None:
        while True:
            life, ready = self._life, self.ready
            if self._answers_at_all(ready=ready):
                with self._lock:
                    if life == self._life:
                        self._answered_s = time.monotonic()
            self._wake.wait(INTERVAL_S if self.ready else _STARTING_INTERVAL_S)
            self._wake.clear()

    def _answers_at_all(self, *, ready: bool) -> bool:
        try:
            answers = self._answers(ready=ready)
        except Exception:  # noqa: BLE001 - a question that cannot be asked is one that is not answered; the thread that asks goes on
            if not self._cannot_ask:  # once: it is asked up to four times a second
                _LOG.exception("%s cannot be asked", self.component.name)
            self._cannot_ask = True
            return False
        self._cannot_ask = False
        return answers

    def _answers(self, *, ready: bool) -> bool:
        if self.component.heartbeats is None:
            return self.component.answers(timeout_s=TIMEOUT_S, ready=not ready)
        # a heartbeat is an answer when it is another than the last: the clock it is stamped with may be changed
        newest = newest_heartbeat(self.component.heartbeats)
        if newest is None or newest == self._heartbeat:
            return False
        self._heartbeat = newest
        return True
