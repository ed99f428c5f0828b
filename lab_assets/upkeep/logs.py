"""Turning over the logs of processes that keep writing into them.

Belongs here: copying, emptying, keeping a few compressed copies. Does not belong here: who writes them, Dagster's logs of steps.

A process holds its log open for as long as it lives. So the file is copied and then emptied in place; it must have been opened for
appending (``"ab"``), as every log of the product is, or the next line would be written behind a hole.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lab_assets.settings import Settings
from lab_assets.upkeep.removal import Removal


def logs(settings: Settings) -> Iterator[Path]:
    """Yield the logs of a home's processes."""
    for folder in (settings.run / "logs", settings.run / "spark"):
        yield from sorted(folder.glob("*.log"))


def turn_over(path: Path, *, copies: int) -> int:
    """Copy a log beside itself, compressed, and empty it; of earlier copies the newest are kept.

    What is written while it is copied is copied as well; a line written in the moment before it is emptied is lost.

    Args:
        path: The log, held open for appending by whoever writes it.
        copies: Copies kept, the new one included, ``NAME.1.gz`` the newest.

    Returns:
        Bytes that are free afterwards.
    """
    before = _size(path, copies)
    _copy(path, copies + 1).unlink(missing_ok=True)
    for number in range(copies, 0, -1):
        if _copy(path, number).exists():
            _copy(path, number).replace(_copy(path, number + 1))
    _copy(path, copies + 1).unlink(missing_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    with path.open("rb+") as log:
        with gzip.open(draft, "wb") as copy:
            shutil.copyfileobj(log, copy, 1024 * 1024)
        draft.replace(_copy(path, 1))
        os.ftruncate(log.fileno(), 0)
    return max(before - _size(path, copies), 0)


def turn_over_large(settings: Settings, *, dry_run: bool = False) -> Removal:
    """Turn over the logs that have grown larger than the setting."""
    large = [path for path in logs(settings) if path.stat().st_size > settings.log_mib * 2**20]
    freed = sum(path.stat().st_size if dry_run else turn_over(path, copies=settings.log_copies) for path in large)
    return Removal(what="logs turned over", items=len(large), bytes=freed)


def _copy(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}.gz")


def _size(path: Path, copies: int) -> int:
    return sum(each.stat().st_size for each in (path, *(_copy(path, number) for number in range(1, copies + 2))) if each.exists())
