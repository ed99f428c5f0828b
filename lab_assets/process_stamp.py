"""Which process is meant: a number together with its birth.

Belongs here: telling a process from a later one with the same number, ending processes. Does not belong here: which laboratory one
belongs to (``process_identity.py``). Needs nothing but psutil, so that what only watches stays small.

A number alone names nothing: the system uses it again, and a power cut leaves files that name it. Written for one machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_PR_SET_PDEATHSIG: Final = 1
_START_FIELD: Final = 19
"""Place of the time of birth in ``/proc/PID/stat``, counted after the name in brackets; ticks since the machine's start."""
_TOLERANCE: Final = 0.5
_POLL_S: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """One process that lived once.

    Attributes:
        pid: Its number.
        born: When it began, in the system's own count, which a changed clock does not touch; comparable within one start of the machine.
    """

    pid: int
    born: float

    def process(self) -> psutil.Process | None:
        """Return the process while it lives; ``None`` for a dead one or another that got its number."""
        try:
            process = psutil.Process(self.pid)
            known = born(self.pid)
            same = known is not None and abs(known - self.born) < _TOLERANCE
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


def stamp_of(pid: int) -> Stamp:
    """Return what tells a process from all others; one that has ended already gets a birth that no process has."""
    known = born(pid)
    return Stamp(pid=pid, born=-1.0 if known is None else known)


def born(pid: int) -> float | None:
    """Return when a process began: ticks since the machine's start on Linux, seconds since the epoch elsewhere; ``None`` for a dead one."""
    try:
        if sys.platform == "linux":
            stat = Path(f"/proc/{pid}/stat").read_bytes()
            return float(stat[stat.rindex(b")") + 2 :].split()[_START_FIELD])
        return psutil.Process(pid).create_time()
    except (OSError, ValueError, psutil.Error):
        return None


def is_suspended(process: psutil.Process) -> bool:
    """Return whether a process was stopped by a signal and does nothing until another wakes it."""
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def end(processes: Iterable[psutil.Process], *, timeout_s: float) -> None:
    """Ask processes to end, then make them; one that was stopped by a signal hears no request and is ended at once.

    Args:
        processes: Which.
        timeout_s: How long they may take to end by themselves, seconds.
    """
    asked = list(processes)
    for process in asked:
        with contextlib.suppress(psutil.Error):
            if is_suspended(process):
                process.kill()
            else:
                process.terminate()
    kill(_left_after(asked, timeout_s))


def kill(processes: Iterable[psutil.Process], *, timeout_s: float = 5.0) -> None:
    """End processes without asking, and wait until they are gone."""
    victims = list(processes)
    for process in victims:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _left_after(victims, timeout_s)


def lives(process: psutil.Process) -> bool:
    """Return whether a process has not ended; one whose end nobody has taken note of yet has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _left_after(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait until processes have ended, and return those that have not.

    Unlike ``psutil.wait_procs`` it does not wait until the parent of an orphan, the system's first process, takes note.
    """
    deadline = time.monotonic() + timeout_s
    left = [each for each in processes if lives(each)]
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        left = [each for each in left if lives(each)]
    return left


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process with its living descendants."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def end_with_parent() -> None:
    """Ask Linux to end this process when its parent dies, however it dies; elsewhere orphans are found by their mark."""
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
