"""The folder of a table in which its archive lies.

Belongs here: its place, its lock, writing into it durably. Does not belong here: data files (``archive.py``), commits (``log_packs.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock

from lab_assets.settings import Settings

FOLDER: Final = "_archive"


class ArchiveError(OSError):
    """A file of an earlier version cannot be put away or put back."""


@contextmanager
def files_stay(settings: Settings, *, wait_s: float) -> Iterator[None]:
    """Keep maintenance from taking files of tables away, as while a backup copies them; maintenance itself holds it for a table at a time.

    Args:
        settings: Whose tables.
        wait_s: How long to wait for who holds it.

    Raises:
        Timeout: somebody held it all that time.
    """
    locks = settings.run / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / "archiving.lock", timeout=wait_s):
        yield


@contextmanager
def archive_lock(folder: Path) -> Iterator[None]:
    """Keep putting away and putting back apart."""
    (folder / FOLDER).mkdir(exist_ok=True)
    with FileLock(folder / FOLDER / ".lock"):
        yield


def has_archive(folder: Path) -> bool:
    """Return whether anything of a table was ever put away."""
    return (folder / FOLDER).is_dir()


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is whole, and on the disk, from the moment it can be seen."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have a folder's names on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def names(folder: Path) -> Sequence[str]:
    """Return the names of the files of a table's archive."""
    try:
        return os.listdir(folder / FOLDER)  # noqa: PTH208 - names alone
    except (FileNotFoundError, NotADirectoryError):
        return ()
