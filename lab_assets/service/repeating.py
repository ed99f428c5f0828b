"""Work that the service repeats in a thread for as long as it runs.

Belongs here: the thread. Does not belong here: what is repeated (``serving.py``, ``record_watch.py``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

_LOG: Final = logging.getLogger(__name__)


class Repeating:
    """Calls one function every few seconds; a call that fails is reported and the next one comes all the same.

    Args:
        name: Name of the thread.
        work: What is called.
        every_s: Seconds between two calls.
        failed: Receives what a call raised. It must not raise.
    """

    def __init__(self, name: str, work: Callable[[], None], *, every_s: float, failed: Callable[[Exception], None]) -> None:
        self._name = name
        self._work = work
        self._every_s = every_s
        self._failed = failed
        self._last = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Call once, and go on in a thread."""
        self._call()
        self._thread = threading.Thread(target=self._repeat, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a call that has begun has five seconds to finish."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _repeat(self) -> None:
        while not self._stop.wait(self._every_s):
            self._call()

    def _call(self) -> None:
        try:
            self._work()
            self._last = ""
        except Exception as error:  # noqa: BLE001 - a thread that ended would leave what it watches as it was, for ever and without a word
            words = f"{type(error).__name__}: {error}"
            if words != self._last:  # once: what stays wrong would fill the log otherwise
                _LOG.exception("%s failed and goes on", self._name)
            self._last = words
            self._failed(error)
