"""Work in a child: one bad item costs itself alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil
import pytest

from lab_assets.ingest.sandbox import Limits, guarded

LIMITS = Limits(seconds=1.0, memory_bytes=300 << 20)


def work(items: Sequence[Any], begin: Callable[[int], None]) -> list[Any]:
    """Square numbers; words do harm."""
    done: list[Any] = []
    for position, item in enumerate(items):
        begin(position)
        if item == "hang":
            time.sleep(60)
        elif item == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif item == "leave":
            os._exit(3)
        elif item == "eat":
            try:
                done.append(len(bytearray(2 << 30)))
            except MemoryError:
                done.append("refused")
        else:
            done.append(item * item)
    return done


def test_good_items_are_done_in_one_go() -> None:
    assert guarded([1, 2, 3], work, LIMITS) == ([1, 4, 9], {})


def test_items_that_kill_or_stall_are_left_out_with_the_reason() -> None:
    """Positions 1, 3 and 4 of six end the child; the other three are answered."""
    answer, blamed = guarded([1, "die", 2, "hang", "leave", 3], work, LIMITS)
    assert answer == [1, 4, 9]
    assert {position: blame.rule for position, blame in blamed.items()} == {1: "parser_crashed", 3: "parser_timeout", 4: "parser_crashed"}
    assert "SIGSEGV" in blamed[1].reason
    assert "1 s" in blamed[3].reason
    assert "code 3" in blamed[4].reason


def test_memory_is_bounded_for_the_child_and_not_for_its_parent() -> None:
    assert guarded(["eat", 2], work, LIMITS) == (["refused", 4], {})
    assert len(bytearray(400 << 20)) == 400 << 20


def test_an_answer_larger_than_a_pipe_comes_whole() -> None:
    big = b"x" * (5 << 20)
    answer, blamed = guarded([1], lambda _items, _begin: big, LIMITS)
    assert (answer == big, blamed) == (True, {})


def test_a_fault_of_the_work_itself_is_raised() -> None:
    def broken(items: Sequence[Any], begin: Callable[[int], None]) -> None:
        raise KeyError("no such column")

    with pytest.raises(RuntimeError, match="KeyError: 'no such column'"):
        guarded([1], broken, LIMITS)


def test_no_child_is_left() -> None:
    before = {child.pid for child in psutil.Process().children()}
    guarded(["hang", 1], work, Limits(seconds=0.2, memory_bytes=300 << 20))
    assert {child.pid for child in psutil.Process().children()} <= before
