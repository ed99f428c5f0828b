"""Going on with a restore that was interrupted: with which backup, and whether that would overwrite what somebody did since.

Belongs here: reading what the interrupted restore left. Does not belong here: the mark (``lab_assets.unfinished_restore``), writing files
(``restoring.py``).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from lab_assets.ops.backup.contents import DATABASE
from lab_assets.ops.backup.folder import BackupFolder, Snapshot, digest_of_file
from lab_assets.ops.backup.restore_report import Chosen
from lab_assets.settings import Settings
from lab_assets.unfinished_restore import UnfinishedRestore, unfinished_restore

_OWN: Final = ("restore", "reconciler")
"""Origins of the entries that a restore itself makes in the audit trail."""


def choice_that_goes_on(settings: Settings, chosen: Chosen) -> Chosen:
    """Return the choice of the backup that was being put back into this home, where none was named and the folder has it.

    A backup that was made meanwhile is the newest one now, and the same command is to go on all the same.
    """
    mark = unfinished_restore(settings)
    names = BackupFolder(chosen.folder.expanduser().resolve()).names()
    return replace(chosen, name=mark.backup) if chosen.name is None and mark is not None and mark.backup in names else chosen


def written_since(settings: Settings, snapshot: Snapshot, mark: UnfinishedRestore) -> str:
    """Return in words what others than the restore wrote to the database it was putting back; empty where nobody did.

    Args:
        settings: Whose home.
        snapshot: The backup.
        mark: How far the restore was.
    """
    database = settings.home / DATABASE
    if not database.is_file():
        return ""
    stored = next((entry for entry in snapshot.files if entry.path == DATABASE), None)
    if stored is not None and not has_log(database) and digest_of_file(database) == stored.sha256:
        return ""
    try:
        entries, batches = _entries_since(database, snapshot), _batches_since(database, mark)
    except sqlite3.Error as error:
        return f"it cannot be read: {error}"
    if entries:
        at, actor, action = entries[-1]
        return f"{len(entries)} audit {'entry' if len(entries) == 1 else 'entries'}, the last at {at[:19]} UTC: {action} by {actor or 'the laboratory'}"
    if batches:
        return f"{batches} batch(es) of files"
    return "" if mark.is_settling else "its bytes are not those of the backup"


def has_log(database: Path) -> bool:
    """Return whether SQLite keeps something of a database beside it that belongs to it alone."""
    log = database.with_name(f"{database.name}-wal")
    return log.is_file() and log.stat().st_size > 0


def _entries_since(database: Path, snapshot: Snapshot) -> list[tuple[str, str, str]]:
    """Return the audit entries that neither the backup nor a restore made: all of them in a database that is another one."""
    number, digest = snapshot.audit
    with _opened(database) as connection:
        same = number == 0 or connection.execute("SELECT 1 FROM audit WHERE seq = ? AND hash = ?", (number, digest)).fetchone()
        found = connection.execute("SELECT at_utc, actor, action, origin FROM audit WHERE seq > ? ORDER BY seq", (number if same else 0,))
        return [(at, actor, action) for at, actor, action, origin in found if origin not in _OWN]


def _batches_since(database: Path, mark: UnfinishedRestore) -> int:
    """Return how many batches were opened since the restore began; those that it closed itself have an entry in the audit trail."""
    with _opened(database) as connection:
        opened = connection.execute("SELECT count(*) FROM ingest_batches WHERE opened_at > ?", (mark.begun_at_utc,)).fetchone()[0]
        undone = connection.execute("SELECT count(*) FROM audit WHERE action = 'ledger.undo' AND at_utc > ?", (mark.begun_at_utc,))
        return max(0, opened - undone.fetchone()[0])


def _opened(database: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{quote(str(database.absolute()))}?mode=ro", uri=True, timeout=10))
