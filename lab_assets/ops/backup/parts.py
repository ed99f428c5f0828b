"""Putting single files of a backup back into a laboratory that is there.

Belongs here: which files, and what becomes of those in their place. Does not belong here: whole laboratories (``restoring.py``).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lab_assets.home_identity import is_new, place_of, record_path
from lab_assets.ops.backup.contents import LAKE
from lab_assets.ops.backup.folder import BackupError, Snapshot
from lab_assets.ops.backup.restore_report import Chosen
from lab_assets.ops.backup.restoring import is_there, place_of_entry, write_file, write_key
from lab_assets.ops.backup.verifying import problem_of
from lab_assets.settings import Settings
from lab_assets.unfinished_restore import require_no_unfinished_restore


@dataclass(kw_only=True)
class PartRestored:
    """What putting single files back came to.

    Attributes:
        backup: Name of the backup.
        restored: Places of files that were written.
        kept: Files that were as in the backup, or newer ones that were not named themselves.
        aside: Where files that stood in their place lie now.
    """

    backup: str
    restored: list[str] = field(default_factory=list[str])
    kept: int = 0
    aside: list[str] = field(default_factory=list[str])


_NEVER_CHANGED: Final = ("raw/", f"{LAKE}/", "mlflow/artifacts/")


def restore_part(settings: Settings, chosen: Chosen, only: str) -> PartRestored:
    """Put a file, or what is below a folder, back into a laboratory that is there.

    Files that never change once they are written (originals, files of tables, artefacts) are put back where they are missing or hold other
    bytes; others below a folder only where they are missing, and where they are named themselves in any case. What stood there is laid
    aside. Newer files of a table stay: what is put back is part of it as before.

    Args:
        settings: Whose laboratory.
        chosen: The backup.
        only: Place in the backup, such as ``lake/gold/suitability`` or ``run/mask.key``.

    Raises:
        BackupError: the backup holds nothing of that name, or of another laboratory, or a stored file is not sound.
        EnvironmentFaultError: a whole restore was interrupted in this home, and is to be finished first.
    """
    require_no_unfinished_restore(settings)
    wanted = only.strip("/")
    named_key = wanted.endswith(".key")
    given = chosen if named_key else Chosen(folder=chosen.folder, name=chosen.name, without_keys=True)
    folder, snapshot, keys = given.open()
    if wanted != record_path(settings).name:  # what says which laboratory it is may itself be what is damaged
        _require_same_laboratory(settings, snapshot)
    done = PartRestored(backup=snapshot.name)
    moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    entries = [entry for entry in snapshot.files if entry.path == wanted or entry.path.startswith(f"{wanted}/")]
    found_keys = {path: content for path, content in keys.items() if path == wanted}
    if not entries and not found_keys:
        raise BackupError(f"backup {snapshot.name} holds nothing at {wanted!r}: name a place such as lake/gold/suitability, raw or lab.db")
    for path, content in found_keys.items():
        _lay_aside(settings, settings.home / path, moment, done)
        write_key(settings.home, path, content)
        done.restored.append(path)
    for entry in entries:
        target = place_of_entry(settings, entry.path)
        replaces = entry.path == wanted or entry.path.startswith(_NEVER_CHANGED)
        if is_there(target, entry) or (target.exists() and not replaces):
            done.kept += 1
            continue
        if problem := problem_of(folder, entry.sha256):
            others = folder.without({entry.sha256}, but=snapshot.name)
            another = f"--backup {others[-1]} holds others" if others else "no other backup in the folder is without it"
            raise BackupError(f"{entry.path} in backup {snapshot.name} is {problem}; {another}")
        _lay_aside(settings, target, moment, done)
        write_file(folder, entry, target)
        done.restored.append(entry.path)
    return done


def _require_same_laboratory(settings: Settings, snapshot: Snapshot) -> None:
    if is_new(settings):
        raise BackupError(f"there is no laboratory in {settings.home}: leave --only out to make that of the backup there")
    if record_path(settings).is_file() and (own := place_of(settings).home_id) != snapshot.home_id:
        raise BackupError(f"the backup is of another laboratory ({snapshot.home_id[:8]}, this one is {own[:8]})")


def _lay_aside(settings: Settings, target: Path, moment: str, done: PartRestored) -> None:
    """Move a file, and what belongs to it as a database, out of the way."""
    for path in (target, *(target.with_name(f"{target.name}{suffix}") for suffix in ("-wal", "-shm"))):
        if path.exists():
            below = path.relative_to(settings.home) if path.is_relative_to(settings.home) else Path(*path.parts[1:])
            aside = settings.run / "laid_aside" / moment / below
            aside.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, aside)
            done.aside.append(str(aside))
