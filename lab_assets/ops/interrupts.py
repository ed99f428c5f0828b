"""Ctrl-C for this process alone, and words after it.

Belongs here: who is interrupted by a terminal, where output goes then. Does not belong here: what is said and kept then (the commands).

A terminal interrupts every process of its group. Those that work for a command, such as Dagster's copiers of logs, would each end with a
traceback over the command's own words; they end with it instead.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Final

_WAKE: Final = signal.SIGUSR1
"""Ends a system call of the main thread, so that it sees at once that it was interrupted."""
_LOOK_EVERY_S: Final = 0.2


@contextmanager
def interrupts_for_this_process() -> Iterator[None]:
    """Let children that are started in the body pass over interrupts; this process is interrupted as ever."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    resource_tracker.ensure_running()  # once begun, it would unblock interrupts for the thread that begins it
    main, ended, interrupted = threading.get_ident(), threading.Event(), threading.Event()
    before = signal.signal(_WAKE, lambda _number, _frame: None)
    noticed, waking = os.pipe()
    os.set_blocking(waking, False)
    waking_before = signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def forward() -> None:
        """Wake the main thread, whether the interrupt waits or a thread that was there before has taken it."""
        while not ended.is_set():
            came = os.read(noticed, 64) if select.select([noticed], [], [], _LOOK_EVERY_S)[0] else b""
            taken = signal.SIGINT in came
            waits = signal.sigtimedwait({signal.SIGINT}, 0) is not None
            if taken or waits or signal.SIGTERM in came:  # Dagster takes both for an interrupt
                interrupted.set()
            if waits:
                interrupt_main()
            if taken or waits:
                signal.pthread_kill(main, _WAKE)

    unraisable, of_threads = sys.unraisablehook, threading.excepthook

    def not_lost(lost: sys.UnraisableHookArgs) -> None:
        """Interrupt again where the first was raised in a callback that swallows whatever is raised."""
        if issubclass(lost.exc_type, Exception):
            unraisable(lost)
        else:
            interrupt_main()

    def quiet_when_interrupted(failed: threading.ExceptHookArgs) -> None:
        """Pass over threads of libraries that fail because what they worked for was ended."""
        if not interrupted.is_set():
            of_threads(failed)

    sys.unraisablehook, threading.excepthook = not_lost, quiet_when_interrupted
    watcher = threading.Thread(target=forward, name="interrupts", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        sys.unraisablehook, threading.excepthook = unraisable, of_threads
        signal.set_wakeup_fd(waking_before)
        for number in (noticed, waking):
            os.close(number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(_WAKE, before)


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
