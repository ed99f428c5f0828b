"""Giving back the space of deleted rows in SQLite files.

Belongs here: when that is worth it, and doing it beside processes that use the file. Does not belong here: which rows are deleted.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from lab_assets.settings import Settings
from lab_assets.upkeep.removal import Removal

_LEAST_BYTES: Final = 8 * 2**20
"""Free pages, or write-ahead log, that are worth rewriting a file for."""
_LEAST_SHARE: Final = 0.25
_WAIT_S: Final = 5.0


def databases(settings: Settings) -> list[Path]:
    """Return the SQLite files of a home that rows are deleted from."""
    history = settings.home / "dagster" / "storage"
    own = (settings.home / "lab.db", settings.home / "mlflow" / "mlflow.db")
    kept = (history / "history" / "runs.db", history / "history" / "runs" / "index.db", history / "schedules" / "schedules.db")
    return [path for path in (*own, *kept) if path.is_file()]


def give_back(settings: Settings, *, dry_run: bool = False) -> Removal:
    """Rewrite the files of which much is free, and fold long write-ahead logs in; a file in use by a long transaction waits for the next time."""
    freed = count = 0
    notes: list[str] = []
    for path in databases(settings):
        try:
            size = _given_back(path, dry_run=dry_run)
        except sqlite3.Error as error:
            notes.append(f"{path.name} was left as it is: {error}")
            continue
        freed, count = freed + size, count + bool(size)
    return Removal(what="databases rewritten", items=count, bytes=freed, note="; ".join(notes))


def _given_back(path: Path, *, dry_run: bool) -> int:
    """Return the bytes that one file gives back."""
    log = path.with_name(f"{path.name}-wal")
    before = _bytes(path) + _bytes(log)
    with closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as connection:
        page, free, pages = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "freelist_count", "page_count"))
        is_sparse = free * page >= _LEAST_BYTES and free >= _LEAST_SHARE * pages
        is_long = _bytes(log) >= _LEAST_BYTES
        if dry_run:
            return (free * page if is_sparse else 0) + (_bytes(log) if is_long else 0)
        if is_sparse and shutil.disk_usage(path.parent).free > 2 * before:
            connection.execute("VACUUM")
        if is_sparse or is_long:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return max(before - _bytes(path) - _bytes(log), 0)


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
