"""What a command says when a person, or the machine's end, interrupts it.

Belongs here: one line and the exit code. Does not belong here: what is kept then (the commands say it), children that a command starts
(``lab_assets.ops.interrupts``).
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import typer

from lab_assets.cli._exit_codes import INTERRUPTED

_AS_CTRL_C: Final = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def saying_what_is_kept(words: Callable[[], str]) -> Iterator[None]:
    """End the body by Ctrl-C, SIGTERM or SIGHUP with one line.

    Args:
        words: What is kept, and which command goes on.

    Raises:
        Exit: it was interrupted.
    """
    before = {number: signal.getsignal(number) for number in _AS_CTRL_C}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]  # nohup has SIGHUP ignored
    try:
        for number in taken:
            signal.signal(number, _interrupt)
        yield
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {words()}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        for number in taken:
            signal.signal(number, before[number])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
