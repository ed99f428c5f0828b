"""What a backup of a running laboratory consists of, at one moment of its ledger.

Belongs here: which files, up to which version, in which order they are looked at. Does not belong here: storing them (``folder.py``).

Nothing is stopped. What refers to something is looked at before what it refers to, so that nothing in a backup points to what is not in it:

1. answers of the service: the version of ``ml.online_log``, then the spool, from which a segment goes only a minute after its commit;
2. every other table, what is made of others first: its version, seen under the lock of its writer, so that its commits are all noted;
3. the ledger, by SQLite's online backup: this is the moment of the backup. What it has noted meanwhile counts, too;
4. MLflow and Dagster, in the same way;
5. what never changes and may be ahead of that moment: tables up to those versions, originals, artefacts.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from filelock import FileLock
from sqlalchemy import create_engine, select

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.ml import ONLINE_LOG
from lab_assets.lake.data_files import local_path, log_segment
from lab_assets.lake.opening import DamagedTableError, is_remote
from lab_assets.lake.pinned import pinned_files
from lab_assets.ops.backup.folder import BackupError
from lab_assets.ops.dagster_home import home_folder
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger
from lab_assets.state.ledger_tables import ARRIVALS
from lab_assets.stations.all_stations import stations

ANCHOR: Final = "run/audit_anchor.jsonl"
DATABASE: Final = "lab.db"
MLFLOW: Final = "mlflow/mlflow.db"
LAKE: Final = "lake"
_SPOOL: Final = "run/spool"
_LOCK_WAIT_S: Final = 120.0
_SQLITE_BUSY_S: Final = 60.0
_SHA256_CHARACTERS: Final = 64


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file that goes into a backup.

    Attributes:
        path: Its place in the backup.
        file: Where it is now.
        sha256: Digest it must have; ``None`` where nobody noted one.
        may_be_linked: Whether it is written once and only read afterwards, so that another name of it does as well as a copy.
        may_be_gone: Whether it is no loss when it is not there any more.
    """

    path: str
    file: Path
    sha256: str | None = None
    may_be_linked: bool = False
    may_be_gone: bool = False


@dataclass(kw_only=True)
class Contents:
    """Everything that a backup consists of.

    Attributes:
        sources: The files.
        tables: Version of each table.
        audit: Number and hash of the last entry of the audit trail.
        revision: Revision of the database.
        damaged: What cannot be backed up since it is damaged in the laboratory itself, by place.
    """

    sources: list[Source] = field(default_factory=list[Source])
    tables: dict[str, int] = field(default_factory=dict[str, int])
    audit: tuple[int, str] = (0, "")
    revision: str = ""
    damaged: dict[str, str] = field(default_factory=dict[str, str])


def require_embedded(settings: Settings) -> None:
    """See that everything lies on this machine.

    Raises:
        BackupError: something is kept by another system, which has its own way of backing up.
    """
    elsewhere = {
        "LAB_DB_URL": (
            not settings.database_url.startswith("sqlite:///"),
            "the ledger is kept by a database server: use its dump (pg_dump)",
        ),
        "LAB_LAKE_URI": (is_remote(settings.lake), "the tables lie on object storage: use its versioning or replication"),
        "MLFLOW_TRACKING_URI": (not settings.mlflow_uri.startswith("sqlite:///"), "MLflow is a server of its own: back that up"),
    }
    found = [f"{name}: {words}" for name, (is_so, words) in elsewhere.items() if is_so]
    if found:
        raise BackupError(
            f"'lab backup' and 'lab restore' are for a laboratory on one machine, and {'; '.join(found)}; stop the laboratory for the dump, "
            "so that all parts are of one moment"
        )


def freeze(settings: Settings, work: Path) -> Contents:
    """Settle what a backup consists of; databases and what grows are copied into ``work`` at once.

    Args:
        settings: Whose laboratory.
        work: Empty folder for the copies.

    Raises:
        BackupError: a database cannot be copied, or a writer holds a table for too long.
    """
    contents = Contents()
    seen = {ONLINE_LOG.full_name: _version_now(settings, ONLINE_LOG.full_name)}
    _copy_growing(settings.home / _SPOOL, work / _SPOOL)
    for name in _users_first():
        seen[name] = _version_now(settings, name)
    database = _database_file(settings)
    _copy_database(database, work / DATABASE)
    mlflow = Path(settings.mlflow_uri.removeprefix("sqlite:///"))
    if mlflow.is_file():
        _copy_database(mlflow, work / MLFLOW)
    _copy_anchor(settings, work, contents)
    contents.sources += [Source(path=path.relative_to(work).as_posix(), file=path) for path in _files(work)]
    contents.sources += list(_dagster(settings, work))
    ledger = Ledger(create_engine(f"sqlite:///{work / DATABASE}"))
    known = ledger.known_versions()
    for name, version in sorted(seen.items()):
        pinned = max(version, known.get(name, -1))
        if pinned >= 0:
            _table(settings, contents, ledger, name, pinned)
    contents.sources += list(_others(settings))
    contents.damaged |= _lost_originals(ledger, contents)
    ledger.engine.dispose()
    return contents


def _users_first() -> list[str]:
    """Return the tables so that one stands before those that it is made from: records, what stations make, bronze."""
    made = list(reversed(stations()))
    bronze = [name for name in contracts() if name.startswith("bronze.")]
    records = [name for name in contracts() if name not in {*made, *bronze, ONLINE_LOG.full_name}]
    return [*records, *made, *bronze]


def _version_now(settings: Settings, name: str) -> int:
    """Return a table's version at a moment at which no commit of it waits to be noted; -1 where it is not there."""
    layer, _, table = name.partition(".")
    folder = local_path(settings.table_uri(layer, table))
    if not folder.is_dir():
        return -1
    locks = settings.run / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(locks / f"{name}.lock", timeout=_LOCK_WAIT_S):
            return log_segment(folder).version
    except TimeoutError as error:
        raise BackupError(f"{name} has been written to for {_LOCK_WAIT_S:.0f} s; try again later") from error


def _database_file(settings: Settings) -> Path:
    return Path(settings.database_url.removeprefix("sqlite:///"))


def _copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database as of one moment, whoever writes to it meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            closing(sqlite3.connect(source, timeout=_SQLITE_BUSY_S)) as given,
            closing(sqlite3.connect(target, timeout=_SQLITE_BUSY_S)) as kept,
        ):
            given.backup(kept, pages=-1)
    except sqlite3.Error as error:
        raise BackupError(f"{source} cannot be copied ({error}): see 'lab doctor'; nothing of the earlier backups was changed") from error


def _copy_anchor(settings: Settings, work: Path, contents: Contents) -> None:
    """Copy the anchors of the audit trail up to the last entry of the copied database: later ones speak of what is not in the backup."""
    with closing(sqlite3.connect(work / DATABASE)) as connection:
        if (problem := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise BackupError(f"{_database_file(settings)} is damaged ({problem}): restore it from an earlier backup, see 'lab doctor'")
        last = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
        contents.revision = str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    contents.audit = (int(last[0]), str(last[1])) if last else (0, "")
    anchor = settings.home / ANCHOR
    if anchor.is_file():
        lines = [line for line in anchor.read_bytes().split(b"\n")[:-1] if _anchored(line) <= contents.audit[0]]
        (work / ANCHOR).parent.mkdir(parents=True, exist_ok=True)
        (work / ANCHOR).write_bytes(b"".join(line + b"\n" for line in lines))


def _anchored(line: bytes) -> int:
    """Return the number of the entry that a line vouches for; what cannot be read is kept, and found by ``lab audit verify``."""
    try:
        return int(json.loads(line)["seq"])
    except (ValueError, KeyError, TypeError):
        return 0


def _copy_growing(source: Path, target: Path) -> None:
    """Copy files that others append to, as they are now; one that goes meanwhile is in its table."""
    for path in _files(source):
        if path.suffix != ".lock":
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                copy.write_bytes(path.read_bytes())
            except FileNotFoundError:
                continue


def _dagster(settings: Settings, work: Path) -> Iterator[Source]:
    """Yield Dagster's history: its databases, copied where they may be written to, and the output of runs."""
    home = home_folder(settings)
    for path in _files(home):
        place = path.relative_to(settings.home).as_posix()
        if path.suffix == ".db":
            if path.with_name(f"{path.name}-wal").exists():
                _copy_database(path, work / "databases" / place)
                yield Source(path=place, file=work / "databases" / place)
            else:
                yield Source(path=place, file=path, may_be_gone=True)
        elif not path.name.endswith(("-wal", "-shm", "-journal")) and path.parent != home:
            yield Source(path=place, file=path, may_be_gone=True)


def _table(settings: Settings, contents: Contents, ledger: Ledger, name: str, version: int) -> None:
    layer, _, table = name.partition(".")
    uri = settings.table_uri(layer, table)
    folder = local_path(uri)
    try:
        found = pinned_files(name, uri, version, ledger)
    except (DamagedTableError, OSError, ValueError) as error:
        contents.damaged[f"{LAKE}/{layer}/{table}"] = str(error)
        return
    contents.tables[name] = version
    for each in found:
        file = folder / each.path
        if each.is_needed or file.is_file():
            place = f"{LAKE}/{layer}/{table}/{each.path}"
            contents.sources.append(Source(path=place, file=file, sha256=each.sha256, may_be_gone=not each.is_needed))


def _others(settings: Settings) -> Iterator[Source]:
    """Yield what is written once or by people: originals, artefacts, refused files, descriptions of loggers, the home's own record."""
    for path in _files(settings.raw):
        if len(path.name) == _SHA256_CHARACTERS:
            yield Source(path=f"raw/{path.parent.name}/{path.name}", file=path, sha256=path.name, may_be_linked=True)
    for folder in (settings.mlflow_artifacts, settings.quarantine, settings.formats):
        for path in _files(folder):
            yield Source(path=path.relative_to(settings.home).as_posix(), file=path, may_be_gone=True)
    record = settings.home / "home.json"
    if record.is_file():
        yield Source(path="home.json", file=record)


def _lost_originals(ledger: Ledger, contents: Contents) -> dict[str, str]:
    """Return the originals that the ledger knows and nobody can back up any more, by place: an earlier backup may hold them."""
    there = {source.sha256 for source in contents.sources if source.path.startswith("raw/")}
    with ledger.engine.connect() as connection:
        known = connection.execute(select(ARRIVALS.c.file_id).where(ARRIVALS.c.file_id != "").distinct()).scalars()
        return {f"raw/{sha256[:2]}/{sha256}": "it is missing" for sha256 in sorted(known) if sha256 not in there}


def _files(folder: Path) -> list[Path]:
    """Return the files below a folder in order; links are left out."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) if folder.is_dir() else []
