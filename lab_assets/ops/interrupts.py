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
    main, ended = threading.get_ident(), threading.Event()
    before = signal.signal(_WAKE, lambda _number, _frame: None)
    noticed, told = os.pipe()
    os.set_blocking(told, False)
    told_before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def forward() -> None:
        """Wake the main thread, whether the interrupt waits or a thread that was there before has taken it."""
        while not ended.is_set():
            taken = select.select([noticed], [], [], _LOOK_EVERY_S)[0] and signal.SIGINT in os.read(noticed, 64)
            waits = signal.sigtimedwait({signal.SIGINT}, 0) is not None
            if waits:
                interrupt_main()
            if taken or waits:
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
        signal.set_wakeup_fd(told_before)
        for number in (noticed, told):
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
