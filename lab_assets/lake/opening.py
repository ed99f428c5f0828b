"""Opening Delta tables, and seeing before a row is read whether their log is still what was committed.

Belongs here: what counts as damage and how it is reported. Does not belong here: writing (``writer.py``), mending (a backup does),
data files (``file_digests.py``), what another program did to a table (``foreign_commits.py``).

Delta's readers take an empty commit, or one cut at the end of a line, for a commit of fewer rows, and say nothing. So each log
file that an opening relies on is held against the digest that the ledger took when it was committed.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, select

from lab_assets.contracts.core import TableContract
from lab_assets.lake.archive import put_back
from lab_assets.lake.archive_folder import ArchiveError
from lab_assets.lake.data_files import LOG, LogSegment, digest_of, local_path, log_names, log_segment
from lab_assets.state.ledger import Ledger
from lab_assets.state.ledger_tables import DATA_FILES, TABLE_COMMITS

if TYPE_CHECKING:
    from deltalake import DeltaTable

_RESTORE: Final = "Restore the table's folder from the last backup ('lab restore')."
_READ_FEATURES: Final = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})
"""Delta features under which the files of the log are the rows; deletion vectors and column mapping are not among them."""
_WRITE_FEATURES: Final = _READ_FEATURES | {"appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns"}
_READER_VERSION: Final = 3
_WRITER_VERSION: Final = 7
"""Newest versions of Delta's protocol that the product speaks; what they hold is said by features."""


class DamagedTableError(RuntimeError):
    """A table's log does not hold what was committed.

    Attributes:
        problem: Which table, and what is wrong with it.
        mend: What helps.
    """

    def __init__(self, problem: str, mend: str = _RESTORE) -> None:
        super().__init__(f"{problem}. {mend}")
        self.problem = problem
        self.mend = mend

    def __reduce__(self) -> tuple[type[DamagedTableError], tuple[str, str]]:
        return type(self), (self.problem, self.mend)


class ProtocolError(DamagedTableError):
    """A table needs more of Delta's protocol than the product speaks; nothing of it is damaged."""

    def __init__(self, problem: str, mend: str = "") -> None:
        super().__init__(
            problem,
            mend
            or "Nothing is damaged, and a backup would lose what was written since: update the product, or take the feature off with the program "
            "that put it on.",
        )


def is_remote(uri: str) -> bool:
    """Return whether a table lies on object storage and not on this machine."""
    return "://" in uri and not uri.startswith("file://")


def open_table(contract: TableContract, uri: str, ledger: Ledger | None, *, version: int | None = None) -> DeltaTable | None:
    """Open a table whose log is whole: every reader of the product opens by this.

    Args:
        contract: Its contract, for its name.
        uri: Where it lies.
        ledger: What was committed; without one only damage is found that the log shows by itself.
        version: The version; default: the last one.

    Returns:
        The table; ``None`` where nothing was ever written.

    Raises:
        DamagedTableError: the log is not what was committed, or does not hold the version; table, version and file are named.
    """
    return _open(contract.full_name, uri, ledger, version)


def damage(name: str, uri: str, ledger: Ledger | None) -> DamagedTableError | None:
    """Return why a table cannot be opened; ``None`` where it can, or nothing was ever written.

    Args:
        name: ``layer.table``.
        uri: Where it lies.
        ledger: What was committed; see ``open_table``.
    """
    try:
        _open(name, uri, ledger)
    except DamagedTableError as error:
        return error
    return None


def lost_commits(name: str, uri: str, ledger: Ledger) -> list[int]:
    """Return the versions whose commit was noted and is not in the log of a table on this machine.

    A checkpoint may cover them: then the last version is whole, and earlier ones cannot be read.
    """
    if is_remote(uri):
        return []
    last = select(TABLE_COMMITS.c.version).where(TABLE_COMMITS.c.table_name == name).scalar_subquery()
    query = select(DATA_FILES.c.path).where(DATA_FILES.c.table_name == name, DATA_FILES.c.path.like(f"{LOG}/%.json"))
    with ledger.engine.connect() as connection:
        noted = [Path(path) for path in connection.execute(query.where(DATA_FILES.c.version <= last)).scalars()]
    held = set(log_names(local_path(uri)))
    return sorted(int(path.stem) for path in noted if path.name not in held)


def _open(name: str, uri: str, ledger: Ledger | None, version: int | None = None) -> DeltaTable | None:
    from deltalake import DeltaTable

    # asked before the log is looked at: what another process commits meanwhile is more than was noted, never less
    noted = None if ledger is None else ledger.noted_version(name)
    if not (DeltaTable.is_deltatable(uri) if is_remote(uri) else require_whole_log(name, uri, ledger) >= 0):
        require_noted(name, uri, -1, noted if version is None else version)
        return None
    table = _open_unchecked(name, uri)
    require_noted(name, uri, table.version(), noted)
    _require_readable(name, table)
    if version is not None and version != table.version():
        require_noted(name, uri, table.version(), version)
        require_whole_log(name, uri, ledger, through=version)
        _load(name, table, version)
    return table


def _load(name: str, table: DeltaTable, version: int) -> None:
    from deltalake.exceptions import DeltaError

    try:
        table.load_as_version(version)
    except DeltaError as error:
        first = str(error).splitlines()[0]
        raise DamagedTableError(f"{name}: version {version} at {table.table_uri} cannot be read ({first})") from error


def require_noted(name: str, uri: str, version: int, noted: int | None) -> None:
    """See that a table is at least at the version that was noted.

    Args:
        name: ``layer.table``.
        uri: Where it lies.
        version: Its last version; -1 where there is none.
        noted: The version, noted before the table was looked at; ``None`` where none was.

    Raises:
        DamagedTableError: it is not.
    """
    if noted is None or version >= noted:
        return
    if version < 0:
        raise DamagedTableError(f"{name}: no table lies at {uri}, but version {noted} was committed")
    raise DamagedTableError(
        f"{name}: the log at {uri} answers version {version}, but version {noted} was committed; its last commits are missing"
    )


def require_whole_log(name: str, uri: str, ledger: Ledger | None, *, through: int | None = None) -> int:
    """See that every log file a version relies on is there, and holds what it held when it was committed; what was put away is put back.

    Args:
        name: ``layer.table``.
        uri: Where it lies; object stores are left to their own checksums.
        ledger: What was committed; without one only missing and empty files are found.
        through: The version; default: the last one.

    Returns:
        The last version that the log speaks of; -1 where there is none, or the log is not on this machine.

    Raises:
        DamagedTableError: one is missing, empty or changed.
    """
    if is_remote(uri):
        return -1
    folder = local_path(uri)
    if through is not None:
        try:
            put_back(folder, through)
        except ArchiveError as error:
            raise DamagedTableError(f"{name}: version {through} cannot be put back, {error}") from error
    segment = log_segment(folder, through=through)
    if segment.missing:
        raise DamagedTableError(f"{name}: the log at {uri} lacks version {segment.missing[0]}, though later ones are there")
    digests = {} if ledger is None else _noted_digests(ledger, name, segment)
    for path, version in segment.files().items():
        if problem := _problem(folder / path, digests.get(path)):
            raise DamagedTableError(f"{name}: version {version} is damaged, {folder / path} {problem}", _mend(segment, path))
    return segment.version


def open_unchecked(contract: TableContract, uri: str) -> DeltaTable:
    """Open a table as its log describes it, and name it when that cannot be read.

    Raises:
        DamagedTableError: the log cannot be read.
    """
    return _open_unchecked(contract.full_name, uri)


def _open_unchecked(name: str, uri: str) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        return DeltaTable(uri)
    except DeltaError as error:
        first = str(error).splitlines()[0]
        if "Unsupported" in first:
            raise ProtocolError(
                f"{name}: the table at {uri} was written by a newer program ({first.partition('Unsupported: ')[2] or first})"
            ) from error
        raise DamagedTableError(f"{name}: the log at {uri} cannot be read ({first})") from error


def _require_readable(name: str, table: DeltaTable) -> None:
    """See that the files of a table's log are its rows.

    Raises:
        ProtocolError: they are not, as with deletion vectors.
    """
    features = set(table.protocol().reader_features or ()) - _READ_FEATURES
    mapping = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    if features or mapping != "none":
        used = ", ".join(sorted(features)) or "column mapping"
        raise ProtocolError(f"{name}: the table at {table.table_uri} uses {used}: it cannot be read safely")


def require_writable(name: str, table: DeltaTable) -> None:
    """See that the product may write a table.

    Raises:
        ProtocolError: its protocol asks for more than the product knows.
    """
    protocol = table.protocol()
    features = set(protocol.writer_features or ()) - _WRITE_FEATURES
    if features or protocol.min_writer_version > _WRITER_VERSION or protocol.min_reader_version > _READER_VERSION:
        asks = f"the feature(s) {', '.join(sorted(features))}" if features else f"writers of version {protocol.min_writer_version}"
        raise ProtocolError(f"{name}: the table at {table.table_uri} asks for {asks}: it cannot be written")


def grown(contract: TableContract, table: DeltaTable) -> DeltaTable:
    """Return a table with the columns that a newer contract has; they are empty in rows written before."""
    import pyarrow as pa
    from deltalake import Schema
    from deltalake.exceptions import DeltaError

    held = set(pa.schema(table.schema().to_arrow()).names)
    if not (new := [name for name in contract.column_names if name not in held]):
        return table
    fields = Schema.from_arrow(pa.schema([contract.arrow_schema().field(name) for name in new])).fields
    try:
        table.alter.add_columns(fields)
    except DeltaError:
        table.update_incremental()  # another process added them at the same moment
        if not set(new) <= set(pa.schema(table.schema().to_arrow()).names):
            raise
    return open_unchecked(contract, table.table_uri)


_NOTED: Final = (
    select(DATA_FILES.c.path, DATA_FILES.c.sha256)
    .where(DATA_FILES.c.table_name == bindparam("b_table"), DATA_FILES.c.path.between(bindparam("b_first"), bindparam("b_last")))
    # what was noted beyond the last version is of a state that was given up; its numbers are given again
    .where(
        DATA_FILES.c.version <= select(TABLE_COMMITS.c.version).where(TABLE_COMMITS.c.table_name == bindparam("b_table")).scalar_subquery()
    )
)
"""Asked at each opening: built once."""


def _noted_digests(ledger: Ledger, table: str, segment: LogSegment) -> dict[str, str]:
    """Return the digests of a segment's files by path; a commit that was not noted yet has none."""
    first, last = f"{LOG}/{max(segment.checkpoint, 0):020d}", f"{LOG}/{segment.version + 1:020d}"
    with ledger.engine.connect() as connection:
        return {row.path: row.sha256 for row in connection.execute(_NOTED, {"b_table": table, "b_first": first, "b_last": last})}


def _problem(path: Path, expected: str | None) -> str:
    """Say what is wrong with a log file; empty when nothing is."""
    try:
        status = path.stat()
        if status.st_size == 0:
            return "is empty"
        if expected is not None and _digest(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino) != expected:
            return "has other bytes than were committed"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({os.strerror(error.errno or 0)})"
    return ""


@lru_cache(maxsize=8192)
def _digest(path: Path, _size: int, _mtime_ns: int, _ctime_ns: int, _inode: int) -> str:
    """Return the digest of a file; one that was hashed by this process and not touched since is not read again."""
    return digest_of(path)[0]


def _mend(segment: LogSegment, path: str) -> str:
    """Say what helps: a checkpoint only repeats the commits before it, and can be done without while they are all there."""
    if Path(path).name not in segment.checkpoint_files or segment.covered_missing:
        return _RESTORE
    return "It only repeats earlier commits, which are all there: move it and _last_checkpoint out of the folder, and no row is lost."
