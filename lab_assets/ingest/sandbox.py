"""Work on a file in a child process, so that one file can neither stall nor kill its batch.

Belongs here: the child, its limits, and whom to blame when it ends early. Does not belong here: what is done to a file.

A chunk of files is worked on in one forked child, which says before each file that it begins. When nothing is heard of the child
for longer than a file may take, or it dies, the file it was at is to blame: it is left out with the reason, and another child begins
anew with the rest. Forking costs milliseconds, since the readers are imported already; the process that forks must have no threads.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any, Final, NoReturn

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one file may take.

    Attributes:
        seconds: Longest time without a sign of progress.
        memory_bytes: Most memory a child may take beyond what its parent has.
    """

    seconds: float
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Blame:
    """A file that ended the child that worked on it.

    Attributes:
        rule: ``parser_timeout`` or ``parser_crashed``.
        reason: What happened, for people.
    """

    rule: str
    reason: str


Work = Callable[[Sequence[Any], Callable[[int], None]], Any]
"""Does everything for the items and returns the answer; calls its second argument with the position of each item it begins."""


def guarded(items: Sequence[Any], work: Work, limits: Limits) -> tuple[Any, dict[int, Blame]]:
    """Do work on items in a child, again without those that end it.

    Args:
        items: Such as files to read.
        work: Runs in the child; what it writes to disk must be the same when it is repeated with fewer items.
        limits: For each item.

    Returns:
        The answer for the items that are left, and whom to blame by position in ``items``.

    Raises:
        RuntimeError: the child died without having begun an item, or ``work`` raised.
    """
    blamed: dict[int, Blame] = {}
    while True:
        left = [position for position in range(len(items)) if position not in blamed]
        ended = _once([items[position] for position in left], work, limits)
        if isinstance(ended, _Answered):
            return ended.answer, blamed
        if ended.at is None:
            raise RuntimeError(f"work on a batch of files ended before the first one: {ended.blame.reason}")
        blamed[left[ended.at]] = ended.blame


@dataclass(frozen=True)
class _Died:
    at: int | None
    blame: Blame


@dataclass(frozen=True)
class _Begun:
    """Sent by a child before each item."""

    at: int


@dataclass(frozen=True)
class _Answered:
    """Sent by a child at its end."""

    answer: Any


@dataclass(frozen=True)
class _Raised:
    """Sent by a child whose work raised."""

    error: str


def _once(items: Sequence[Any], work: Work, limits: Limits) -> _Died | _Answered:
    reader, writer = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        reader.close()
        _in_child(writer, items, work, limits)
    writer.close()
    try:
        return _listen(reader, child, limits)
    finally:
        reader.close()
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def _in_child(writer: Connection[Any, Any], items: Sequence[Any], work: Work, limits: Limits) -> NoReturn:
    """Work, answer and end without running anything of the parent's: its exit handlers and buffers are not ours."""
    code = 1
    try:
        _limit_memory(limits.memory_bytes)
        writer.send(_Answered(work(items, lambda position: writer.send(_Begun(position)))))
        code = 0
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        with suppress(OSError):
            writer.send(_Raised(f"{type(error).__name__}: {error}"[:2000]))
    finally:
        os._exit(code)


def _limit_memory(more_bytes: int) -> None:
    """Let the process take that much beyond what it has; address space counts, so the room is generous."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a file of the kernel
        has_bytes = int(file.read().split()[0]) * _PAGE
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = has_bytes + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _listen(reader: Connection[Any, Any], child: int, limits: Limits) -> _Died | _Answered:
    at: int | None = None
    while reader.poll(limits.seconds):
        try:
            message = reader.recv()
        except (EOFError, OSError):  # gone, between messages or within one
            return _Died(at, _how_it_ended(child))
        match message:
            case _Raised(error=error):
                raise RuntimeError(error)
            case _Answered():
                return message
            case _:
                at = message.at
    return _Died(at, Blame(rule="parser_timeout", reason=f"the reader was not done after {limits.seconds:g} s and was stopped"))


def _how_it_ended(child: int) -> Blame:
    """Say why a child is gone, and leave it to be reaped: until then its number is nobody else's."""
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    if ended is not None and ended.si_code in {os.CLD_KILLED, os.CLD_DUMPED}:
        name = signal.Signals(ended.si_status).name
        reason = f"the reader was ended by {name}; the file may ask for too much memory, or the reader has a fault"
    else:
        reason = f"the reader ended by itself with code {ended.si_status if ended else '?'}"
    return Blame(rule="parser_crashed", reason=reason)
