"""Ctrl-C for this process alone, and words after it.

Belongs here: who is interrupted by a terminal, where output goes then. Does not belong here: what is said and kept then (the commands).

A terminal interrupts every process of its group. Those that work for a command, such as Dagster's copiers of logs, would each end with a
traceback over the command's own words; they end with it instead.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_WAKE: Final = signal.SIGUSR1
"""Ends a system call of the main thread, so that it sees at once that it was interrupted."""


@contextmanager
def interrupts_for_this_process() -> Iterator[None]:
    """Let children that are started in the body pass over interrupts; this process is interrupted as ever."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    main, ended = threading.get_ident(), threading.Event()
    before = signal.signal(_WAKE, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def forward() -> None:
        while not ended.is_set():
            if signal.sigtimedwait({signal.SIGINT}, 0.5) is not None:
                interrupt_main()
                signal.pthread_kill(main, _WAKE)

    unraisable = sys.unraisablehook

    def not_lost(lost: sys.UnraisableHookArgs) -> None:
        """Interrupt again where the first was raised in a callback that swallows whatever is raised."""
        if issubclass(lost.exc_type, Exception):
            unraisable(lost)
        else:
            interrupt_main()

    sys.unraisablehook = not_lost
    watcher = threading.Thread(target=forward, name="interrupts", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        sys.unraisablehook = unraisable
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
