"""Whether the laboratory's folders take what is written to them, and naming the one that does not.

Belongs here: trying it, recognising a full disk by what it caused. Does not belong here: how much space there should be
(``lab_assets.ops.doctor``), what to do without any.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab_assets.settings import Settings

PROBE_BYTES: Final = 64 * 1024
"""More than one audit entry takes of SQLite's log and of the anchor file."""

_NO_SPACE: Final = (os.strerror(errno.ENOSPC), "database or disk is full")
"""How Python, Rust and the JVM report a full disk, and how SQLite does."""


class NoSpaceError(OSError):
    """A disk of the laboratory is full; what was begun is finished by a later run."""


def write_fault(folder: Path) -> OSError | None:
    """Return what keeps ``PROBE_BYTES`` from being kept in a folder; ``None`` when they can be. Leaves nothing behind.

    It is tried, not read from the rights: neither a full disk nor a read-only mount shows in the mode of a folder, least of all to root.
    """
    probe = folder / f".lab-probe-{uuid.uuid4().hex}"
    try:
        with probe.open("xb") as file:
            try:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
            finally:
                probe.unlink()
    except OSError as error:
        return error
    return None


def existing(path: Path) -> Path:
    """Return the path, or its nearest ancestor that exists."""
    while not path.exists():
        path = path.parent
    return path


def unwritable(settings: Settings) -> dict[Path, OSError]:
    """Return the folders of a laboratory that cannot be written; for one that is not made yet, the folder it would be made in."""
    found = {folder: write_fault(folder) for folder in _kept(settings)}
    return {folder: fault for folder, fault in found.items() if fault is not None}


@contextmanager
def naming_a_full_disk(settings: Settings) -> Iterator[None]:
    """Turn whatever a full disk causes in Spark, Delta or SQLite into one line that names the disk.

    Raises:
        NoSpaceError: the body failed because no space was left.
    """
    try:
        yield
    except Exception as error:
        if not _is_no_space(error):
            raise
        folder = min(_kept(settings), key=lambda each: shutil.disk_usage(each).free)
        free = shutil.disk_usage(folder).free // 1024
        message = f"{os.strerror(errno.ENOSPC)}: the disk of {folder} has {free} KiB free; nothing is lost, free space and run it again"
        raise NoSpaceError(message) from error


def _is_no_space(error: BaseException) -> bool:
    """Return whether an error, or what caused it, says that a disk is full."""
    seen: BaseException | None = error
    while seen is not None:
        if any(sign in str(seen) for sign in _NO_SPACE):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _kept(settings: Settings) -> list[Path]:
    """Return the folders of a laboratory on this machine, or the folder that each would be made in; no folder twice."""
    lake = [] if "://" in settings.lake and not settings.lake.startswith("file://") else [Path(settings.lake.removeprefix("file://"))]
    kept = (settings.home, settings.run, settings.inbox, settings.raw, settings.quarantine, settings.mlflow_artifacts, *lake)
    return list(dict.fromkeys(existing(each) for each in kept))
