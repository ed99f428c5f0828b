"""Whether the laboratory's folders take what is written to them.

Belongs here: trying it. Does not belong here: how much space there should be (``lab_assets.ops.doctor``), what to do without any.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Final

from lab_assets.settings import Settings

PROBE_BYTES: Final = 64 * 1024
"""More than one audit entry takes of SQLite's log and of the anchor file."""


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
    lake = [] if "://" in settings.lake and not settings.lake.startswith("file://") else [Path(settings.lake.removeprefix("file://"))]
    kept = (settings.home, settings.run, settings.inbox, settings.raw, settings.quarantine, settings.mlflow_artifacts, *lake)
    found = {folder: write_fault(folder) for folder in dict.fromkeys(existing(each) for each in kept)}
    return {folder: fault for folder, fault in found.items() if fault is not None}
