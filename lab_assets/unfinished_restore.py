"""The mark of a home that a backup is being put back into: until it is gone, this is no laboratory.

Belongs here: the mark, and refusing to open a home that carries it. Does not belong here: putting a backup back
(``lab_assets.ops.backup.restoring``), which home is which (``lab_assets.home_identity``).

Whoever opens the database, or would make a record of the home, asks here first. So every door refuses, and none has to think of it.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.settings import Settings

_MARK: Final = ".restoring"
_OWN: Final[set[Path]] = set()
"""Homes that this process itself is putting a backup back into."""


@dataclass(frozen=True, kw_only=True)
class UnfinishedRestore:
    """What was being put back.

    Attributes:
        backup: Name of the backup; empty where the mark cannot be read.
        folder: Folder of backups; empty where the mark is of an earlier version.
        begun_at_utc: When it was begun.
        is_settling: Whether all files were written, and the restore itself writes to the database from then on.
    """

    backup: str
    folder: str
    begun_at_utc: str
    is_settling: bool = False


def unfinished_restore(settings: Settings) -> UnfinishedRestore | None:
    """Return what was being put back into a home; ``None`` for a home without the mark. Looking changes nothing."""
    path = _mark(settings)
    try:
        begun = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC).isoformat(timespec="microseconds")
    except OSError:  # a home that cannot be looked into says so when its files are opened
        return None
    try:
        content = path.read_text(errors="replace")
    except FileNotFoundError:
        return None
    except OSError:
        content = ""
    try:
        document = json.loads(content)
        return UnfinishedRestore(
            backup=str(document["backup"]),
            folder=str(document["folder"]),
            begun_at_utc=str(document["begun_at_utc"]),
            is_settling=bool(document["is_settling"]),
        )
    except (ValueError, KeyError, TypeError):  # earlier versions wrote the name alone, and said nothing of how far they were
        is_name = content.isascii() and content.isprintable()
        return UnfinishedRestore(backup=content.strip() if is_name else "", folder="", begun_at_utc=begun, is_settling=True)


def mark_restore(settings: Settings, restore: UnfinishedRestore) -> None:
    """Write the mark, whole or not at all."""
    draft = _mark(settings).with_name(f"{_MARK}.draft")
    with draft.open("w") as file:
        file.write(json.dumps(asdict(restore)))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(_mark(settings))


def end_restore(settings: Settings) -> None:
    """Take the mark away: from now on this is a laboratory."""
    _mark(settings).unlink()


@contextmanager
def restoring_here(settings: Settings) -> Iterator[None]:
    """Let this process open the home although it carries the mark: it is the one that puts the backup back."""
    home = settings.home.resolve()
    _OWN.add(home)
    try:
        yield
    finally:
        _OWN.discard(home)


def require_no_unfinished_restore(settings: Settings) -> None:
    """Refuse a home whose restore was not finished.

    Raises:
        EnvironmentFaultError: it carries the mark; the message names the command that finishes it.
    """
    found = unfinished_restore(settings)
    if found is not None and settings.home.resolve() not in _OWN:
        mend = f"nothing was changed, finish it with '{command_to_finish(settings, found)}'"
        of_backup = f"(backup {found.backup})" if found.backup else ""
        raise EnvironmentFaultError(Kind.UNFINISHED_RESTORE, str(settings.home), of_backup, what_to_do=mend)


def command_to_finish(settings: Settings, restore: UnfinishedRestore) -> str:
    """Return the command that finishes a restore, to be copied."""
    parts = ["lab", "restore", shlex.quote(restore.folder) if restore.folder else "FOLDER"]
    if (settings.lake_uri, settings.db_url, settings.mlflow_tracking_uri) == (None, None, None):
        parts += ["--home", shlex.quote(str(settings.home.resolve()))]  # with these set, --home would mean another place of the tables
    if restore.backup:
        parts += ["--backup", shlex.quote(restore.backup)]
    return " ".join(parts)


def _mark(settings: Settings) -> Path:
    return settings.home / _MARK
