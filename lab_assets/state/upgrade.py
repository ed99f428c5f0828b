"""Bringing the relational state of an older version to this one's: announced, copied first, and said what was done.

Belongs here: the copy and the order of steps. Does not belong here: the revisions (``migrations/``), which commands may do it.

A command that only looks never changes a home: it opens the database by ``open_made``, which refuses an older one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from sqlalchemy import Engine

from lab_assets.disk import room_of
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.settings import Settings
from lab_assets.state.database import BACK_UP_SERVER, HEAD, current_revision, is_made, migrate, open_engine, require_this_version

_LOCK_WAIT_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """What was done to a database.

    Attributes:
        before: Its revision before.
        after: Its revision now.
        copy: The copy of it as it was; empty where another program serves it.
    """

    before: str
    after: str
    copy: str

    @property
    def words(self) -> str:
        """Say it for people."""
        kept = f"; a copy of it as it was is {self.copy}" if self.copy else ""
        return f"the database was brought from revision {self.before} to {self.after}{kept}"


def pending(settings: Settings) -> str | None:
    """Return the revision of a database that is older than this version's; ``None`` where there is nothing to bring anywhere.

    Raises:
        EnvironmentFaultError: it is newer.
    """
    if not is_made(settings):
        return None
    engine = open_engine(settings, pooled=False)
    revision = current_revision(engine)
    if revision is None or revision == HEAD:
        return None
    if revision > HEAD:
        require_this_version(engine, revision)
    return revision


def upgrade(settings: Settings, *, say: Callable[[str], None], server_is_backed_up: bool = False) -> Upgrade | None:
    """Bring an older database to this version's revision, after a copy of it was made beside it.

    Args:
        settings: Whose database.
        say: Given what begins, and what was done.
        server_is_backed_up: A person said that a database on a server has been backed up; we cannot copy one.

    Returns:
        What was done; ``None`` where it was at this version's revision already, or does not exist.

    Raises:
        EnvironmentFaultError: the database is newer, there is no room for the copy, or nobody said that a server's is backed up.
    """
    if pending(settings) is None:
        return None
    settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(settings.run / "upgrade.lock", timeout=_LOCK_WAIT_S):
        before = pending(settings)  # another process may have done it meanwhile
        if before is None:
            return None
        engine = open_engine(settings, pooled=False)
        say(f"the database is of an older version (revision {before}): it is brought to {HEAD}")
        copy = _copied(engine, before, settings, server_is_backed_up=server_is_backed_up)
        migrate(engine)
        done = Upgrade(before=before, after=HEAD, copy=str(copy or ""))
    say(done.words)
    return done


def _copied(engine: Engine, before: str, settings: Settings, *, server_is_backed_up: bool) -> Path | None:
    """Copy a database as SQLite does it while it is open; one on a server must have been copied by its own means."""
    if engine.url.get_backend_name() != "sqlite":
        if not server_is_backed_up:
            where = engine.url.render_as_string(hide_password=True)
            raise EnvironmentFaultError(Kind.OLDER_DATABASE, where, f"is at revision {before}", what_to_do=BACK_UP_SERVER)
        return None
    source = Path(str(engine.url.database))
    folder = settings.home / "upgrades"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    needed, room = source.stat().st_size, room_of(folder)
    if room.free_bytes < 2 * needed:  # the copy, and the log of the migration beside the database
        how_much = f"has {room.free_bytes // 1024} KiB free, the copy and the upgrade need {2 * needed // 1024} KiB; nothing was changed"
        raise EnvironmentFaultError(Kind.DISK_FULL, f"the disk of {folder}", how_much)
    target = folder / f"lab.db.{before}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    draft = target.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # it holds the accounts, as the database does
    try:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(draft)) as copied:
            original.backup(copied)
            _require_whole(copied, source)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    draft.replace(target)
    return target


def _require_whole(copied: sqlite3.Connection, source: Path) -> None:
    """Refuse to go on from a database whose pages are damaged: the copy has the same."""
    if (found := copied.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
        raise EnvironmentFaultError(Kind.UNREADABLE_FILE, str(source), f"({found})")
