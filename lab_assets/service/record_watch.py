"""Whether actions can be recorded and signed, looked at every few seconds and answered without waiting.

Belongs here: the watch. Does not belong here: what is looked at (``lab_assets.governance.health``), answers (``api/health.py``).
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from sqlalchemy import Engine

from lab_assets.governance.health import RecordHealth, record_health
from lab_assets.settings import Settings

POLL_S: Final = 5.0
_LOG: Final = logging.getLogger(__name__)


class RecordWatch:
    """Holds the last look: a probe of the service's health touches neither disk nor database, however often it comes."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.health = RecordHealth()

    def start(self) -> None:
        """Look once, and keep looking in a thread."""
        self.refresh()
        self._thread = threading.Thread(target=self._watch, name="record-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def refresh(self) -> None:
        """Look once; what is new is logged."""
        before, found = self.health, record_health(self._settings, self._engine)
        for was, now in ((before.unwritable, found.unwritable), (before.clock, found.clock)):
            if now and not was:
                _LOG.error("%s", now)
        self.health = found

    def _watch(self) -> None:
        while not self._stop.wait(POLL_S):
            self.refresh()
