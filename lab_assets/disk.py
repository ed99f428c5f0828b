"""Whether the laboratory's folders take what is written to them, and how much room there is.

Belongs here: trying it, measuring it. Does not belong here: what an error means that came of it (``lab_assets.environment_errors``).
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab_assets.settings import Settings

PROBE_BYTES: Final = 64 * 1024
"""More than one audit entry takes of SQLite's log and of the anchor file."""
LEAST_FREE_FILES: Final = 1_000
"""So many more files a batch of ingestion may make."""
_FEW_FREE_FILES: Final = 50_000
_GIB: Final = 2**30


@dataclass(frozen=True, kw_only=True)
class Room:
    """How much room a disk has.

    Attributes:
        folder: A folder of the laboratory on it.
        free_bytes: What an account without privileges may still write.
        free_files: How many files may still be made; ``None`` where the file system has no such limit.
    """

    folder: Path
    free_bytes: int
    free_files: int | None

    @property
    def words(self) -> str:
        """Say it for people."""
        files = "" if self.free_files is None else f", {self.free_files} free inodes"
        return f"{self.folder}: {self.free_bytes / _GIB:.1f} GiB free{files}"


def room_of(folder: Path) -> Room:
    """Measure the disk of a folder that exists.

    Raises:
        OSError: it cannot be asked.
    """
    found = os.statvfs(folder)
    return Room(folder=folder, free_bytes=found.f_bavail * found.f_frsize, free_files=found.f_favail if found.f_files else None)


def rooms(settings: Settings) -> list[Room]:
    """Measure every disk of a laboratory on this machine, each once; the first is that of ``LAB_HOME``."""
    by_disk = {folder.stat().st_dev: folder for folder in reversed(kept_folders(settings))}
    return [room_of(folder) for folder in reversed(by_disk.values())]


def room_state(room: Room, settings: Settings) -> str:
    """Hold the room of a disk against the levels of the settings.

    Returns:
        ``ok``, ``warning`` or ``failed``.
    """
    files = room.free_files
    if room.free_bytes < settings.disk_least_gib * _GIB or (files is not None and files < LEAST_FREE_FILES):
        return "failed"
    if room.free_bytes < settings.disk_warn_gib * _GIB or (files is not None and files < _FEW_FREE_FILES):
        return "warning"
    return "ok"


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
    """Return the path, or its nearest ancestor that exists and may be looked at."""
    while not _is_there(path):
        path = path.parent
    return path


def _is_there(path: Path) -> bool:
    """Return whether something can be seen at a path; what lies in another account's closed folder cannot."""
    try:
        return path.exists()
    except OSError:
        return False


def unwritable(settings: Settings) -> dict[Path, OSError]:
    """Return the folders of a laboratory that cannot be written; for one that is not made yet, the folder it would be made in."""
    found = {folder: write_fault(folder) for folder in kept_folders(settings)}
    return {folder: fault for folder, fault in found.items() if fault is not None}


def kept_folders(settings: Settings) -> list[Path]:
    """Return the folders of a laboratory on this machine, or the folder that each would be made in; no folder twice."""
    lake = [] if "://" in settings.lake and not settings.lake.startswith("file://") else [Path(settings.lake.removeprefix("file://"))]
    kept = (settings.home, settings.run, settings.inbox, settings.raw, settings.quarantine, settings.mlflow_artifacts, *lake)
    return list(dict.fromkeys(existing(each) for each in kept))
