"""The relational state: opening it, its transactions, its migrations.

Belongs here: how SQLite and PostgreSQL are opened and written safely by several processes. Does not belong here: tables
(``governance_tables.py``, ``ledger_tables.py``), revisions (``migrations/``), what rows mean.

SQLite is opened with a write-ahead log, ``synchronous=FULL`` (a committed row survives a power cut) and enforced foreign keys.
A transaction that will write starts with ``writing(engine)``: it takes the write lock at once (``BEGIN IMMEDIATE``, an advisory
lock on PostgreSQL), so what it read is still true when it commits. A plain ``engine.begin()`` takes the lock only at the first
write and may then be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, ExceptionContext, NullPool, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.settings import Settings
from lab_assets.state.laboratory import claim, is_owner

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


def open_engine(settings: Settings, *, pooled: bool = True) -> Engine:
    """Open the relational state; SQLite's file and folder are made when missing.

    The engine carries the path of the audit trail's outside anchor (``run/audit_anchor.jsonl``) as an execution option.

    Args:
        settings: Where it is.
        pooled: Whether connections are kept open between uses.
    """
    url = make_url(settings.database_url)
    options: dict[str, Any] = {ANCHOR_OPTION: str(settings.run / "audit_anchor.jsonl")}
    pool: dict[str, Any] = {} if pooled else {"poolclass": NullPool}
    if url.get_backend_name() != "sqlite":
        return create_engine(url, execution_options=options, **({"pool_pre_ping": True} | pool))
    if url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnavailableError(_unavailable(url.database, error.strerror or str(error))) from error
    engine = create_engine(url, execution_options=options, connect_args={"timeout": _BUSY_MS / 1000}, **pool)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "handle_error", _name_the_file)
    return engine


def open_database(settings: Settings) -> Engine:
    """Open the relational state, made where there is none; one of another version is refused and left as it is.

    Raises:
        EnvironmentFaultError: its revision is older (``lab_assets.state.upgrade`` brings it to the newest) or newer than this version's,
            or it is another laboratory's.
    """
    engine = open_engine(settings)
    make_or_refuse(engine)
    _require_own(engine, settings)
    return engine


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


def is_made(settings: Settings) -> bool:
    """Return whether there is a database; looking makes none. One that another program serves is taken to be there."""
    url = make_url(settings.database_url)
    return url.get_backend_name() != "sqlite" or (url.database is not None and Path(url.database).is_file())


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
