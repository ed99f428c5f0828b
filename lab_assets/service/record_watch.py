"""Whether actions can be recorded and signed, looked at every few seconds and answered without waiting.

Belongs here: the watch. Does not belong here: what is looked at (``lab_assets.governance.health``), answers (``api/health.py``).
"""

from __future__ import annotations

import logging
from typing import Final

from sqlalchemy import Engine

from lab_assets.governance.health import RecordHealth, record_health
from lab_assets.service.repeating import Repeating
from lab_assets.settings import Settings

POLL_S: Final = 5.0
_LOG: Final = logging.getLogger(__name__)


class RecordWatch:
    """Holds the last look: a probe of the service's health touches neither disk nor database, however often it comes."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._repeating = Repeating("record-watch", self.refresh, every_s=POLL_S, failed=self._cannot_look)
        self.health = RecordHealth()

    def start(self) -> None:
        """Look once, and keep looking in a thread."""
        self._repeating.start()

    def stop(self) -> None:
        """End the watch."""
        self._repeating.stop()

    def refresh(self) -> None:
        """Look once; what is new is logged."""
        before, found = self.health, record_health(self._settings, self._engine)
        for was, now in ((before.unwritable, found.unwritable), (before.clock, found.clock)):
            if now and not was:
                _LOG.error("%s", now)
        self.health = found

    def _cannot_look(self, error: Exception) -> None:
        self.health = RecordHealth(unwritable=f"whether actions can be recorded cannot be seen ({type(error).__name__}; the log says more)")
