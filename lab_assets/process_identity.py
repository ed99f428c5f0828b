"""Which laboratory a process belongs to.

Belongs here: the mark that each process of a laboratory carries, finding those of one. Does not belong here: which processes there are
(``lab_assets.ops``), why they are started or ended, telling one from a later one with its number (``process_stamp.py``).

A copied home brings the original's files along: the mark names the home's place beside its identity. Written for one machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from typing import Final

import psutil

from lab_assets.home_identity import Place, place_of, record_path
from lab_assets.process_stamp import lives
from lab_assets.settings import Settings

MARK: Final = "LAB_UP_MARK"
"""Variable that every process of a running laboratory and every descendant carries; by it none is overlooked."""

COMPONENT: Final = "LAB_COMPONENT"
"""Variable that names the component a process was started as, or descends from."""


def known_place(settings: Settings) -> Place | None:
    """Return which home this is and where; ``None`` for one that has no record yet. Looking writes nothing."""
    return place_of(settings) if record_path(settings).exists() else None


def mark_of(place: Place) -> str:
    """Return the mark of a laboratory's processes; a copy of the home has another."""
    return f"{place.home_id}@{place.path}"


def marked(place: Place, component: str | None = None, *, spared: Collection[int] = ()) -> list[psutil.Process]:
    """Return living processes of a laboratory, however they came to be orphans.

    Args:
        place: The laboratory.
        component: Those of one component alone.
        spared: Numbers that are left out, beside this process and those that it descends from.
    """
    left_out = {*spared, *_lineage()}
    return [
        process
        for process, environment in _environments()
        if process.pid not in left_out
        and _is_of(place, environment)
        and (component is None or environment.get(COMPONENT) == component)
        and lives(process)
    ]


def laboratory_of(process: psutil.Process) -> str:
    """Return the home of the laboratory that a process belongs to; empty for none, or where the system does not show it."""
    with contextlib.suppress(psutil.Error, OSError):
        environment = process.environ()
        return environment.get("LAB_HOME", "") if MARK in environment else ""
    return ""


def _is_of(place: Place, environment: dict[str, str]) -> bool:
    """Return whether an environment is of a laboratory; marks of earlier versions named no place, but the home stands beside them."""
    mark = environment.get(MARK, "")
    return mark == mark_of(place) or (bool(mark) and "@" not in mark and environment.get("LAB_HOME") == place.path)


def _environments() -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            yield process, process.environ()


def _lineage() -> set[int]:
    """Return this process and those that it descends from: a command that is given inside of the laboratory does not end itself."""
    own = psutil.Process(os.getpid())
    try:
        return {own.pid, *(each.pid for each in own.parents())}
    except psutil.Error:
        return {own.pid}
