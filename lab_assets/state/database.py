"""The relational state: opening it, its transactions, its migrations.

Belongs here: how SQLite and PostgreSQL are opened and written safely by several processes. Does not belong here: tables
(``governance_tables.py``, ``ledger_tables.py``), revisions (``migrations/``), what rows mean.

SQLite is opened with a write-ahead log, ``synchronous=FULL`` (a committed row survives a power cut) and enforced foreign keys.
A transaction that will write starts with ``writing(engine)``: it takes the write lock at once (``BEGIN IMMEDIATE``, an advisory
lock on PostgreSQL), so what it read is still true when it commits. A plain ``engine.begin()`` takes the lock only at the first
write and may then be refused.

SQLite makes a file that is not there, and a laboratory whose database was lost would go on with an empty one. So a file is made only in a
home that never had one, and a connection to a file that was taken away or replaced is given up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, ExceptionContext, NullPool, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError

from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.home_identity import Kept, LostError, is_new, must_hold, note_made, require_kept
from lab_assets.settings import Settings
from lab_assets.state.laboratory import claim, is_owner
from lab_assets.unfinished_restore import require_no_unfinished_restore

HEAD: Final = "0008"
"""Newest revision in ``migrations/versions``; a test holds it against Alembic's own answer."""

ANCHOR_OPTION: Final = "lab_audit_anchor"
_WRITE_OPTION: Final = "lab_write"
_AFTER_COMMIT: Final = "lab_after_commit"
_MIGRATION_LOCK: Final = 7_260_114
_WRITE_LOCK: Final = 7_260_116
_BUSY_MS: Final = 30_000


class DatabaseUnavailableError(SQLAlchemyError):
    """The file of the database cannot be opened or written; the message names it and says what to do."""


class DatabaseLostError(LostError, DatabaseUnavailableError):
    """The file of the database was made here and is gone, empty, or not the one that was opened."""


def open_engine(settings: Settings, *, pooled: bool = True) -> Engine:
    """Open the relational state; SQLite's file and folder are made at the first use of a home that never had one.

    The engine carries the path of the audit trail's outside anchor (``run/audit_anchor.jsonl``) as an execution option.

    Args:
        settings: Where it is.
        pooled: Whether connections are kept open between uses.

    Raises:
        EnvironmentFaultError: a backup is being put back into the home, or that was interrupted.
        DatabaseUnavailableError: SQLite's folder cannot be made. Using the engine raises ``DatabaseLostError`` where the file was lost.
    """
    require_no_unfinished_restore(settings)
    url = make_url(settings.database_url)
    options: dict[str, Any] = {ANCHOR_OPTION: str(settings.run / "audit_anchor.jsonl")}
    pool: dict[str, Any] = {} if pooled else {"poolclass": NullPool}
    if url.get_backend_name() != "sqlite":
        return create_engine(url, execution_options=options, **({"pool_pre_ping": True} | pool))
    engine = create_engine(url, execution_options=options, connect_args={"timeout": _BUSY_MS / 1000}, **pool)
    if path := database_file(settings):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnavailableError(_unavailable(str(path), error.strerror or str(error))) from error
        _keep_to_the_file(engine, settings, path)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "handle_error", _name_the_file)
    return engine


def open_database(settings: Settings, *, pooled: bool = True) -> Engine:
    """Open the relational state, made where there never was one; one of another version is refused and left as it is.

    Args:
        settings: Where it is.
        pooled: Whether connections are kept open between uses.

    Raises:
        DatabaseLostError: it was made here before and is gone or empty; no second one is made.
        EnvironmentFaultError: its revision is older (``lab_assets.state.upgrade`` brings it to the newest) or newer than this version's,
            or it is another laboratory's.
    """
    engine = open_engine(settings, pooled=pooled)
    revision_of(settings, engine)
    make_or_refuse(engine)
    _require_own(engine, settings)
    if database_file(settings) is not None:
        note_made(settings, Kept.DATABASE)
    return engine


def open_made(settings: Settings) -> Engine:
    """Open the relational state for who looks at a laboratory or changes something in it: no laboratory is made by that.

    Args:
        settings: Where it is.

    Raises:
        DatabaseLostError, EnvironmentFaultError: see ``open_database`` and ``require_laboratory``.
    """
    require_laboratory(settings)
    return open_database(settings)


def require_laboratory(settings: Settings) -> None:
    """Refuse a home in which no laboratory was ever made, as one that is mistyped or whose disk is not mounted; looking makes nothing.

    Raises:
        EnvironmentFaultError: there is none.
        DatabaseLostError: there is one without its database.
    """
    if is_new(settings) or not is_made(settings):
        raise EnvironmentFaultError(Kind.NO_LABORATORY, str(settings.home))


def revision_of(settings: Settings, engine: Engine) -> str | None:
    """Return the revision of a laboratory's database; ``None`` for one that is only being made.

    Raises:
        DatabaseLostError: it is gone, empty or without tables, though it was made here before.
    """
    path = database_file(settings)
    was_made = path is not None and must_hold(settings, Kept.DATABASE)  # asked first: another process may be making it
    revision = current_revision(engine)
    if was_made and revision is None:
        raise DatabaseLostError(f"{path} has no tables, though it was filled here before; {Kept.DATABASE.way_back}")
    return revision


def _require_own(engine: Engine, settings: Settings) -> None:
    """Refuse a database outside of the home that is another laboratory's."""
    if settings.db_url is None:
        return
    with engine.connect() as connection:
        if is_owner(connection, settings):
            return
    with writing(engine) as connection:
        claim(connection, settings)


def make_or_refuse(engine: Engine) -> None:
    """Make the tables of an empty database; see ``open_database``."""
    revision = current_revision(engine)
    require_this_version(engine, revision)
    if revision is None:
        migrate(engine)


def require_this_version(engine: Engine, revision: str | None) -> None:
    """Refuse a database whose revision is not this version's; an empty one has none.

    Raises:
        EnvironmentFaultError: it is older or newer.
    """
    if revision in {None, HEAD}:
        return
    own_file = engine.url.get_backend_name() == "sqlite"
    where = str(engine.url.database) if own_file else engine.url.render_as_string(hide_password=True)
    kind = Kind.OLDER_DATABASE if str(revision) < HEAD else Kind.NEWER_DATABASE
    words = "" if own_file or kind is Kind.NEWER_DATABASE else BACK_UP_SERVER
    raise EnvironmentFaultError(kind, where, f"is at revision {revision}, this version works with {HEAD}", what_to_do=words)


def database_file(settings: Settings) -> Path | None:
    """Return the file of an embedded database; ``None`` for one that another program serves, or that is in memory."""
    url = make_url(settings.database_url)
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        return None
    return Path(str(url.database))


def is_made(settings: Settings) -> bool:
    """Return whether there is a database; looking makes none. One that another program serves is taken to be there.

    Raises:
        DatabaseLostError: there is none, though it was made here before.
        EnvironmentFaultError: a backup is being put back into the home, or that was interrupted.
    """
    require_no_unfinished_restore(settings)
    path = database_file(settings)
    if path is None:
        return True
    _require_kept(settings, path)
    return path.is_file()


def _require_kept(settings: Settings, path: Path) -> None:
    """Refuse a file that is gone or empty, unless it is another process that is making it just now.

    Raises:
        DatabaseLostError: it was made here before.
    """
    if not must_hold(settings, Kept.DATABASE):
        return
    try:
        require_kept(settings, Kept.DATABASE, path)
    except LostError as error:
        raise DatabaseLostError(str(error)) from error


def _keep_to_the_file(engine: Engine, settings: Settings, path: Path) -> None:
    """Let an engine make its file in a new home alone, and give up connections to a file that is not the one in its place any more."""
    place = quote(str(path.absolute()))

    @event.listens_for(engine, "do_connect")
    def make_none_unasked(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> None:
        is_filled = _identity(path) is not None and path.stat().st_size > 0
        if not is_filled:
            _require_kept(settings, path)
        arguments[0] = f"file:{place}?mode={'rw' if is_filled else 'rwc'}"
        options["uri"] = True

    @event.listens_for(engine, "connect")
    def remember(_connection: Any, record: Any) -> None:
        record.info[_FILE] = _identity(path)

    @event.listens_for(engine, "checkout")
    def is_still_there(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get(_FILE) != _identity(path):
            raise DisconnectionError(f"{path} is another file than was opened")


_FILE: Final = "lab_file"


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one in its place; ``None`` where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - asked at each use of a connection
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def file_fault(path: Path) -> str:
    """Return what SQLite finds wrong with the pages of a file (``quick_check``); empty where they are whole.

    Args:
        path: A database of SQLite; nothing is written to it.
    """
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=_BUSY_MS / 1000)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    except sqlite3.Error as error:
        return str(error)
    return "" if found == ["ok"] else "; ".join(line.strip() for line in " ".join(found).splitlines())


BACK_UP_SERVER: Final = "back it up with pg_dump, then run 'lab upgrade --backed-up'; nothing was changed"
_NOT_ACCESSIBLE: Final = ("unable to open database file", "readonly database")


def _name_the_file(context: ExceptionContext) -> None:
    """Say which file cannot be opened or written, where SQLite says only that one cannot.

    Raises:
        DatabaseUnavailableError: that is so.
    """
    said, engine = str(context.original_exception), context.engine
    if engine is not None and any(words in said for words in _NOT_ACCESSIBLE):
        raise DatabaseUnavailableError(_unavailable(str(engine.url.database), said))


def _unavailable(path: str, said: str) -> str:
    folder = Path(path).parent
    return (
        f"{path} cannot be opened or written ({said}); give the account that runs 'lab' the right to read and write {folder} and "
        "what is in it, or set LAB_HOME to another folder"
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Set one new SQLite connection up; the driver leaves transactions to us."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={_BUSY_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Begin as a reader, or as the one writer where ``writing`` asked for it."""
    write = connection.get_execution_options().get(_WRITE_OPTION, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def utc_text() -> str:
    """Return the time now as ISO text in UTC with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Run one write transaction: commit at the end, roll back when the body raises.

    Work handed to ``after_commit`` inside it is done once the commit has succeeded.
    """
    with engine.connect().execution_options(**{_WRITE_OPTION: True}) as connection:
        callbacks: list[Callable[[], None]] = []
        connection.info[_AFTER_COMMIT] = callbacks
        try:
            with connection.begin():
                if connection.dialect.name == "postgresql":  # READ COMMITTED alone lets two writers act on the same row as they read it
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITE_LOCK})
                yield connection
        finally:
            connection.info.pop(_AFTER_COMMIT, None)
    for callback in callbacks:
        callback()


def after_commit(connection: Connection, callback: Callable[[], None]) -> None:
    """Do something once the surrounding ``writing`` transaction is committed; outside of one it is not done."""
    callbacks = connection.info.get(_AFTER_COMMIT)
    if callbacks is not None:
        callbacks.append(callback)


def current_revision(engine: Engine) -> str | None:
    """Return the revision the database is at; ``None`` for an empty one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def migrate(engine: Engine) -> bool:
    """Bring the database to the newest revision; several processes may call it at once.

    Returns:
        Whether anything was done. A current database costs two small reads and does not import Alembic.
    """
    if current_revision(engine) == HEAD:
        return False
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with _without_foreign_keys(engine) as own, writing(own) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if engine.dialect.name == "sqlite" and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
            raise RuntimeError(f"row {broken[1]} of table {broken[0]} refers to a row of {broken[2]} that is not there; restore a backup")
    return True


@contextmanager
def _without_foreign_keys(engine: Engine) -> Iterator[Engine]:
    """Hand out an engine whose SQLite connections leave foreign keys unchecked, so that a table can be put in another's place."""
    if engine.dialect.name != "sqlite" or engine.url.database in {None, "", ":memory:"}:
        yield engine
        return
    own = create_engine(engine.url, poolclass=NullPool, connect_args={"timeout": _BUSY_MS / 1000})
    event.listen(own, "connect", _prepare_sqlite)
    event.listen(own, "connect", lambda connection, _record: connection.execute("PRAGMA foreign_keys=OFF"))
    event.listen(own, "begin", _begin_sqlite)
    yield own
