"""Whether backups can be put back: each file there, each with the bytes that were stored.

Belongs here: reading contents again. Does not belong here: putting them back (``restoring.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from lab_assets.ops.backup.folder import BackupFolder, DamagedListError, Snapshot, digest_of_file

_SAID_EVERY_S: Final = 2.0


@dataclass(kw_only=True)
class Verified:
    """What verifying backups found.

    Attributes:
        backups: Their names.
        files: Contents looked at, those that backups share once.
        bytes: Bytes hashed.
        findings: What is missing or changed, by place in the backup.
        damaged: What was damaged in the laboratory when it was backed up, by place.
        keys: Whether keys are in the newest of them.
        is_noted: Whether the folder notes what is missing or changed, so that the next backup stores it anew.
    """

    backups: list[str] = field(default_factory=list[str])
    files: int = 0
    bytes: int = 0
    findings: dict[str, str] = field(default_factory=dict[str, str])
    damaged: dict[str, str] = field(default_factory=dict[str, str])
    keys: bool = False
    is_noted: bool = True

    @property
    def ok(self) -> bool:
        """Whether all of it can be put back."""
        return not self.findings and not self.damaged


def verify(folder: BackupFolder, names: Sequence[str], *, say: Callable[[str], None] = lambda _line: None) -> Verified:
    """Hash the contents of backups again; what is missing or changed is noted in the folder, for the next backup to store it anew.

    Args:
        folder: Folder of backups.
        names: Those to verify.
        say: Given progress.

    Raises:
        BackupError: there is none of that name.
    """
    found = Verified()
    seen: dict[str, str] = {}
    said = time.monotonic()
    for name in names:
        try:
            snapshot = folder.snapshot(name)
        except DamagedListError as error:
            found.findings[f"snapshots/{name}.json"] = str(error)
            continue
        found.backups.append(name)
        found.damaged |= snapshot.damaged
        found.keys = bool(snapshot.keys_file)
        for entry in snapshot.files:
            if entry.sha256 not in seen:
                seen[entry.sha256] = problem_of(folder, entry.sha256)
                found.files, found.bytes = found.files + 1, found.bytes + entry.size
            if seen[entry.sha256]:
                found.findings[entry.path] = seen[entry.sha256]
            if time.monotonic() - said > _SAID_EVERY_S:
                said = time.monotonic()
                say(f"{found.files} file(s), {found.bytes / 1e6:.0f} MB hashed, {len(found.findings)} finding(s)")
        if problem := keys_problem(folder, snapshot):
            found.findings[f"keys/{snapshot.keys_file}"] = problem
    damaged = [sha256 for sha256, problem in seen.items() if problem]
    found.is_noted = folder.note_damaged(damaged, sound=seen.keys() - damaged)
    return found


def problem_of(folder: BackupFolder, sha256: str) -> str:
    """Return what is wrong with contents: ``missing``, ``changed`` or ``unreadable``; empty when they are as they were stored."""
    try:
        return "" if digest_of_file(folder.object_path(sha256)) == sha256 else "changed"
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unreadable"


def keys_problem(folder: BackupFolder, snapshot: Snapshot) -> str:
    """Return what is wrong with the keys of a backup: ``missing`` or ``changed``; empty when they are whole, or left out."""
    if not snapshot.keys_file:
        return ""
    try:
        found = digest_of_file(folder.keys_folder / snapshot.keys_file)
    except OSError:
        return "missing"
    return "" if found == snapshot.keys_file.removesuffix(".json") else "changed"
