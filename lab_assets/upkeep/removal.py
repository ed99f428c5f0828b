"""What maintenance removed, or would.

Belongs here: the record of it, measuring and removing files. Does not belong here: what may go.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What was removed of one kind, or would be.

    Attributes:
        what: The kind, in words.
        items: How many.
        bytes: Bytes that are free afterwards.
        note: What people should know; empty when there is nothing.
    """

    what: str
    items: int
    bytes: int
    note: str = ""


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; what goes meanwhile does not count."""
    total = 0
    try:
        if not path.is_dir() or path.is_symlink():
            return path.lstat().st_size
        with os.scandir(path) as inside:
            for entry in inside:
                total += size_of(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else entry.stat(follow_symlinks=False).st_size
    except (FileNotFoundError, PermissionError):
        return total
    return total


def newest_change_s(path: Path) -> float:
    """Return when a file, or anything below a folder, changed last, seconds since the epoch."""
    try:
        newest = path.lstat().st_mtime
        if path.is_dir() and not path.is_symlink():
            newest = max([newest, *(newest_change_s(each) for each in path.iterdir())])
    except FileNotFoundError:
        return 0.0
    return newest


def removed(what: str, paths: Iterable[Path], *, dry_run: bool, note: str = "") -> Removal:
    """Remove files and folders, or only measure them.

    Args:
        what: The kind, in words.
        paths: What goes.
        dry_run: Whether it stays.
        note: What people should know.
    """
    listed = sorted(paths)
    size = sum(map(size_of, listed))
    if not dry_run:
        for path in listed:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    return Removal(what=what, items=len(listed), bytes=size, note=note)
