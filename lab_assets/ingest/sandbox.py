"""Work on a file in a child process, so that one file can neither stall nor kill its batch.

Belongs here: the child, its limits, and whom to blame when it ends early. Does not belong here: what is done to a file.

A chunk of files is worked on in one forked child, which tells before each file that it begins. When the child does not tell
anything for longer than a file may take, or dies, the file it was at is to blame: it is left out with the reason, and another
child begins anew with the rest. Forking costs milliseconds, since the readers are imported already.
"""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NoReturn

_LENGTH: Final = struct.Struct("!q")
_BEGIN: Final = -1
"""Sent before the number of the file that is begun; a length of an answer is never negative."""
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
        told = _once([items[position] for position in left], work, limits)
        if isinstance(told, _Died):
            if told.at is None:
                raise RuntimeError(f"work on a batch of files ended before the first one: {told.blame.reason}")
            blamed[left[told.at]] = told.blame
        else:
            return told.answer, blamed


@dataclass(frozen=True)
class _Died:
    at: int | None
    blame: Blame


@dataclass(frozen=True)
class _Answered:
    answer: Any


def _once(items: Sequence[Any], work: Work, limits: Limits) -> _Died | _Answered:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _in_child(writer, items, work, limits)
    os.close(writer)
    try:
        return _listen(reader, child, limits)
    finally:
        os.close(reader)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def _in_child(writer: int, items: Sequence[Any], work: Work, limits: Limits) -> NoReturn:
    """Work, answer and end without running anything of the parent's: its exit handlers and buffers are not ours."""
    code = 1
    try:
        _limit_memory(limits.memory_bytes)
        answer = pickle.dumps((True, work(items, lambda position: _send(writer, _BEGIN, position))))
        _send(writer, len(answer), payload=answer)
        code = 0
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        text = pickle.dumps((False, f"{type(error).__name__}: {error}"[:2000]))
        with suppress(OSError):
            _send(writer, len(text), payload=text)
    finally:
        os._exit(code)


def _limit_memory(more_bytes: int) -> None:
    """Let the process take that much beyond what it has; address space counts, so the room is generous."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a file of the kernel
        has_bytes = int(file.read().split()[0]) * _PAGE
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = has_bytes + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _send(writer: int, *numbers: int, payload: bytes = b"") -> None:
    data = memoryview(b"".join(map(_LENGTH.pack, numbers)) + payload)
    while data:
        data = data[os.write(writer, data) :]


def _listen(reader: int, child: int, limits: Limits) -> _Died | _Answered:
    at: int | None = None
    while True:
        head = _receive(reader, _LENGTH.size, limits.seconds)
        if not isinstance(head, bytes):
            return _Died(at, head or _how_it_ended(child))
        number = _LENGTH.unpack(head)[0]
        body = _receive(reader, _LENGTH.size if number == _BEGIN else number, limits.seconds)
        if not isinstance(body, bytes):
            return _Died(at, body or _how_it_ended(child))
        if number == _BEGIN:
            at = _LENGTH.unpack(body)[0]
            continue
        succeeded, answer = pickle.loads(body)  # noqa: S301 - written by our own child
        if not succeeded:
            raise RuntimeError(answer)
        return _Answered(answer)


def _receive(reader: int, count: int, seconds: float) -> bytes | Blame | None:
    """Return bytes; whom to blame when they did not come in time; ``None`` when the child is gone."""
    data = b""
    deadline = time.monotonic() + seconds
    while len(data) < count:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return Blame(rule="parser_timeout", reason=f"the reader was not done after {seconds:g} s and was stopped")
        chunk = os.read(reader, min(count - len(data), 1 << 20))
        if not chunk:
            return None
        data += chunk
    return data


def _how_it_ended(child: int) -> Blame:
    """Say why a child is gone, and leave it to be reaped: until then its number is nobody else's."""
    told = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    if told is not None and told.si_code in {os.CLD_KILLED, os.CLD_DUMPED}:
        name = signal.Signals(told.si_status).name
        reason = f"the reader was ended by {name}; the file may ask for too much memory, or the reader has a fault"
    else:
        reason = f"the reader ended by itself with code {told.si_status if told else '?'}"
    return Blame(rule="parser_crashed", reason=reason)
