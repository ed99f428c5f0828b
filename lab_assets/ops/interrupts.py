"""Ctrl-C and SIGTERM for this process alone, and words after them.

Belongs here: who is interrupted by a terminal, where output goes then. Does not belong here: what is said and kept then (the commands).

A terminal interrupts every process of its group. Those that work for a command, such as Dagster's copiers of logs, would each end with a
traceback over the command's own words; they end with it instead.

Where the main thread is in a library that never comes back, no exception reaches it: who asks a second time is heeded by another thread.
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Final

_WAKE: Final = signal.SIGUSR1
"""Ends a system call of the main thread, so that it sees at once that it was interrupted."""
_LOOK_EVERY_S: Final = 0.2
_SAME_S: Final = 0.5
"""Signals within so long are one request: whoever ends a group and its members sends each two."""
_QUIET_S: Final = 10.0
"""So long an interrupted command may finish what it does before it says that it still does."""
LAST_GRACE_S: Final = 3.0


class _Requests:
    """How often somebody asked the command to end, and what is done where it does not."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._last_moment_s = math.inf
        self._said = False
        self._own = 0
        self._stderr = os.dup(2)  # while a step runs, its output goes elsewhere

    def interrupt(self) -> None:
        """Interrupt the main thread, as the system would."""
        self._own += 1
        interrupt_main()

    def note(self, signals: bytes, *, waited: bool) -> bool:
        """Note what came, and return whether somebody asked: an interrupt of our own is none."""
        interrupts = signals.count(signal.SIGINT)
        own = min(interrupts, self._own)
        self._own -= own
        asked = waited or signal.SIGTERM in signals or interrupts > own
        now = time.monotonic()
        if asked and self._first_s is None:
            self._first_s = now
        elif asked and self._first_s is not None and now - self._first_s > _SAME_S:
            self._last_moment_s = min(self._last_moment_s, now + LAST_GRACE_S)
        return asked

    def look(self) -> None:
        """Say that the command still works on its end; end it where it was asked twice and does not."""
        now = time.monotonic()
        if now > self._last_moment_s:
            self._say("ended at once, as was asked twice; nothing is lost, and the next run goes on from what is recorded")
            os._exit(128 + signal.SIGINT)
        if self._first_s is not None and not self._said and now - self._first_s > _QUIET_S:
            self._said = True
            self._say("it still ends what it began; asked once more, it ends at once, and nothing is lost by that either")

    def close(self) -> None:
        """Give back what is held."""
        os.close(self._stderr)

    def _say(self, line: str) -> None:
        with suppress(OSError):
            os.write(self._stderr, f"{line}\n".encode())


@contextmanager
def interrupts_for_this_process() -> Iterator[None]:
    """Let children that are started in the body pass over interrupts; SIGTERM interrupts this process as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    resource_tracker.ensure_running()  # once begun, it would unblock interrupts for the thread that begins it
    main, ended, interrupted = threading.get_ident(), threading.Event(), threading.Event()
    requests = _Requests()
    before = signal.signal(_WAKE, lambda _number, _frame: None)
    term_before = signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    noticed, waking = os.pipe()
    os.set_blocking(waking, False)
    waking_before = signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def forward() -> None:
        """Wake the main thread, whether the interrupt waits or a thread that was there before has taken it."""
        while not ended.is_set():
            came = os.read(noticed, 64) if select.select([noticed], [], [], _LOOK_EVERY_S)[0] else b""
            waits = signal.sigtimedwait({signal.SIGINT}, 0) is not None
            if requests.note(came, waited=waits):
                interrupted.set()
            if waits:
                requests.interrupt()
            if waits or signal.SIGINT in came or signal.SIGTERM in came:
                signal.pthread_kill(main, _WAKE)
            requests.look()

    watcher = threading.Thread(target=forward, name="interrupts", daemon=True)
    watcher.start()
    try:
        with _errors_of_the_interrupted(requests, interrupted):
            yield
    finally:
        ended.set()
        watcher.join()
        signal.set_wakeup_fd(waking_before)
        for number in (noticed, waking):
            os.close(number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(_WAKE, before)
        signal.signal(signal.SIGTERM, term_before or signal.SIG_DFL)
        requests.close()


@contextmanager
def _errors_of_the_interrupted(requests: _Requests, interrupted: threading.Event) -> Iterator[None]:
    """Lose no interrupt to a callback of a library, and print no error of a thread whose work was ended."""
    unraisable, of_threads = sys.unraisablehook, threading.excepthook

    def not_lost(lost: sys.UnraisableHookArgs) -> None:
        """Interrupt again where the first was raised in a callback that swallows whatever is raised."""
        if issubclass(lost.exc_type, Exception):
            unraisable(lost)
        else:
            requests.interrupt()

    def quiet_when_interrupted(failed: threading.ExceptHookArgs) -> None:
        """Pass over threads of libraries that fail because what they worked for was ended."""
        if not interrupted.is_set():
            of_threads(failed)

    sys.unraisablehook, threading.excepthook = not_lost, quiet_when_interrupted
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = unraisable, of_threads


@contextmanager
def output_given_back() -> Iterator[None]:
    """See that what is written after the body comes where it came before: an interrupted step leaves output with its log."""
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
