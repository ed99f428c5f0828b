"""Delta tables as the service reads them: frames that follow the table's data files, and any old version on request.

Belongs here: opening, caching, reading back by version. Does not belong here: masks (``views.py``), writing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.all_contracts import contract
from lab_assets.contracts.core import TableContract
from lab_assets.home_identity import LostError
from lab_assets.lake import opening
from lab_assets.lake.data_files import commit_path, local_path
from lab_assets.lake.file_digests import require_whole_files
from lab_assets.service.keyed_frame import FILE, KeyedFrame
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger, ledger_of

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

CHECK_INTERVAL_S: Final = 1.0
_LOG: Final = logging.getLogger(__name__)


class TableUnavailableError(Exception):
    """A table, or the version asked for, cannot be read."""


class TableLostError(TableUnavailableError):
    """A table is not what was committed, or nobody knows what was: rows read before stand for nothing any more."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Rows of one table at one version.

    Attributes:
        rows: Some columns of the rows.
        version: Version; -1 stands for a table that does not exist yet.
        files: Data files of that version.
    """

    rows: KeyedFrame
    version: int
    files: frozenset[str] = frozenset()

    @property
    def frame(self) -> pl.DataFrame:
        """All the rows."""
        return self.rows.frame


def open_table(settings: Settings, full_name: str, *, version: int | None = None, ledger: Ledger | None = None) -> DeltaTable | None:
    """Open a table by ``layer.table`` as every reader does (``lab_assets.lake.opening.open_table``), or say that it cannot be served.

    Args:
        settings: Where the tables are.
        full_name: ``layer.table``.
        version: The version; default: the newest.
        ledger: What was committed; default: the laboratory's. While the database cannot be asked, tables that are there are read without it.

    Returns:
        The table at the version, the newest when omitted; ``None`` where there is no table yet.

    Raises:
        TableLostError: the table, its last commits or data files are gone or changed, the version is gone, or the database was lost.
        TableUnavailableError: it cannot be read now.
    """
    from deltalake.exceptions import DeltaError
    from sqlalchemy.exc import SQLAlchemyError

    which = "" if version is None else f" at version {version}"
    try:
        try:
            return _open_whole(settings, full_name, ledger or ledger_of(settings), version)
        except LostError:
            raise
        except SQLAlchemyError as error:
            said = str(error).splitlines()[0]
            _LOG.warning("%s is read without being held against the ledger: %s", full_name, said)
            if (table := _open_whole(settings, full_name, None, version)) is None:
                raise TableUnavailableError(f"{full_name}{which} is not there, and nobody can say whether it should be: {said}") from error
            return table
    except (opening.DamagedTableError, LostError) as error:
        raise TableLostError(f"{full_name}{which} cannot be read: {error}") from error
    except (DeltaError, OSError) as error:
        raise TableUnavailableError(f"{full_name}{which} cannot be read: {error}") from error


def _open_whole(settings: Settings, full_name: str, ledger: Ledger | None, version: int | None) -> DeltaTable | None:
    """Open a table whose log and data files are what was committed."""
    uri = settings.table_uri(*full_name.split("."))
    table = opening.open_table(contract(full_name), uri, ledger, version=version)
    if table is not None:
        require_whole_files(full_name, uri, ledger, [each.removeprefix("file://") for each in table.file_uris()])
    return table


def read_rows(
    settings: Settings,
    full_name: str,
    *,
    where: Mapping[str, Sequence[Any]] | None = None,
    columns: Sequence[str] | None = None,
    version: int | None = None,
) -> list[dict[str, Any]]:
    """Read the rows whose columns hold one of the given values; maps come as dicts.

    Raises:
        TableUnavailableError: see ``open_table``; also when a data file is missing.
        KeyError: the table has no such column.
    """
    import polars as pl

    for name in (*(where or ()), *(columns or ())):
        contract(full_name).column(name)
    table = open_table(settings, full_name, version=version)
    if table is None:
        return []
    rules = [pl.col(name).is_in(list(values)) for name, values in (where or {}).items()]
    return rows_where(table, full_name, rules, list(columns) if columns else None).to_dicts()


def rows_where(table: DeltaTable, full_name: str, rules: Sequence[pl.Expr], columns: Sequence[str] | None) -> pl.DataFrame:
    """Read rows with polars' own reader; a column of the contract that the table is too old to have is empty.

    Reading by a pyarrow dataset leaves threads behind that now and then abort the process when it ends on a busy machine.
    """
    import polars as pl
    from deltalake.exceptions import DeltaError

    try:
        frame = pl.scan_delta(table)
        frame = frame.filter(*rules) if rules else frame
        if columns is None:
            return frame.collect()
        held = set(frame.collect_schema().names())
        new = [name for name in columns if name not in held]
        wanted = [pl.col(name) for name in columns if name in held]
        if new:
            kinds = empty_frame(contract(full_name), new).schema
            wanted += [pl.lit(None, dtype=kinds[name]).alias(name) for name in new]
        return frame.select(wanted).select(columns).collect()
    except (DeltaError, OSError, pl.exceptions.PolarsError) as error:
        raise TableUnavailableError(f"{full_name} cannot be read: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Newest:
    """Only the newest rows of a table that grows.

    Attributes:
        by: Column that holds the time, then columns that decide between rows of the same time.
        limit: Most rows.
        empty: Column that is empty in the rows that count; ``None`` where all do.
        filled: Column that is not empty in them.
    """

    by: tuple[str, ...]
    limit: int
    empty: str | None = None
    filled: str | None = None

    def of(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Return the newest of some rows."""
        import polars as pl

        counted = rows if self.empty is None else rows.filter(pl.col(self.empty).is_null())
        counted = counted if self.filled is None else counted.filter(pl.col(self.filled).is_not_null())
        return counted.top_k(self.limit, by=self.by)


def load_snapshot(
    settings: Settings,
    full_name: str,
    *,
    version: int | None = None,
    columns: Sequence[str] | None = None,
    newest: Newest | None = None,
) -> Snapshot:
    """Read a table into a frame; a table that does not exist yet gives no rows with the contract's columns.

    Args:
        settings: Where the tables are.
        full_name: ``layer.table``.
        version: The version; default: the newest.
        columns: Columns; default: those of the contract.
        newest: Keep only the newest rows.

    Raises:
        TableUnavailableError: see ``open_table``; also when a data file is missing.
    """
    table = open_table(settings, full_name, version=version)
    return _snapshot(table, full_name, columns or contract(full_name).column_names, newest, None)


def _snapshot(table: DeltaTable | None, full_name: str, columns: Sequence[str], newest: Newest | None, since: Snapshot | None) -> Snapshot:
    if table is None:
        return (
            since
            if since is not None and since.version < 0
            else Snapshot(rows=KeyedFrame.of(empty_frame(contract(full_name), columns)), version=-1)
        )
    files = frozenset(table.file_uris())
    if since is not None and (since.version, since.files) == (table.version(), files):
        return since
    if since is None or since.version < 0:
        rows = _rows_of(files, full_name, columns, newest)
    else:
        gone, came = since.files - files, files - since.files
        rows = since.rows.changed(gone=gone, came=_rows_of(came, full_name, columns, newest))
        if newest is not None and (kept := _still_newest(since.rows, rows, gone, newest)) is not None:
            rows = kept
        elif newest is not None:
            rows = _rows_of(files, full_name, columns, newest)
    return Snapshot(rows=rows, version=table.version(), files=files)


def _rows_of(files: frozenset[str], full_name: str, columns: Sequence[str], newest: Newest | None) -> KeyedFrame:
    """Read some data files; a column that a file was written without is empty in its rows."""
    import polars as pl

    empty = empty_frame(contract(full_name), columns)
    if not files:
        return KeyedFrame.of(empty)
    paths = sorted(files)
    numbers = {path: number for number, path in enumerate(paths)}
    try:
        frame = pl.scan_parquet(
            paths, schema=empty.schema, missing_columns="insert", extra_columns="ignore", include_file_paths=FILE, glob=False
        )
        frame = frame if newest is None else newest.of(frame)
        rows = frame.with_columns(pl.col(FILE).replace_strict(numbers, return_dtype=pl.UInt32)).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TableUnavailableError(f"{full_name} cannot be read: {error}") from error
    return KeyedFrame.of(rows, paths)


def _still_newest(before: KeyedFrame, rows: KeyedFrame, gone: frozenset[str], newest: Newest) -> KeyedFrame | None:
    """Return the newest of the rows kept and come; ``None`` where rows that were never kept may be among the newest now.

    That may be where kept rows went with their file, and what came reaches less far back than what was kept.
    """
    kept = rows.newest(newest.limit, by=newest.by)
    if before.frame.height < newest.limit or before.files.isdisjoint(gone):
        return kept
    last_before, last = (_last(one.frame, newest.by) for one in (before, kept))
    return kept if kept.frame.height == newest.limit and last >= last_before else None


def _last(frame: pl.DataFrame, by: Sequence[str]) -> tuple[tuple[bool, Any], ...]:
    """Return the lowest sort key of some rows, empty values lowest."""
    return min((tuple((value is not None, value) for value in row) for row in frame.select(by).iter_rows()), default=())


def empty_frame(table: TableContract, columns: Sequence[str]) -> pl.DataFrame:
    """Return a frame without rows, with the contract's types."""
    import polars as pl

    return pl.DataFrame(pl.from_arrow(table.arrow_schema().empty_table().select(list(columns))))


class TableCache:
    """Frames of tables; a table is looked at again at most once a second, and of a version that moved only the data files are read that came."""

    def __init__(self, settings: Settings, *, ledger: Ledger | None = None, check_interval_s: float = CHECK_INTERVAL_S) -> None:
        self._settings = settings
        self._ledger = ledger
        self._interval_s = check_interval_s
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, tuple[str, ...]], tuple[Snapshot, float]] = {}
        self._marks: dict[tuple[str, tuple[str, ...]], tuple[int, tuple[int, int, int] | None]] = {}

    def get(self, full_name: str, columns: Sequence[str] | None = None, *, newest: Newest | None = None) -> Snapshot:
        """Return a table's rows, at most a second behind; the last good rows while it cannot be read for a moment.

        Raises:
            TableLostError: it is not what was committed: rows of earlier are not shown for those that were lost.
            TableUnavailableError: it cannot be read and was never read before.
        """
        key = (full_name, tuple(columns or ()))
        with self._lock:
            kept = self._kept.get(key)
            now_s = time.monotonic()
            if kept is not None and now_s - kept[1] < self._interval_s:
                return kept[0]
            try:
                fresh = self._refresh(full_name, columns, newest, None if kept is None else kept[0])
            except TableUnavailableError as error:
                if kept is None or isinstance(error, TableLostError):
                    raise
                _LOG.error("table %s cannot be read, last good rows stay: %s", full_name, error)
                fresh = kept[0]
            self._kept[key] = (fresh, now_s)
            return fresh

    def _refresh(self, full_name: str, columns: Sequence[str] | None, newest: Newest | None, kept: Snapshot | None) -> Snapshot:
        uri = self._settings.table_uri(*full_name.split("."))
        key = (full_name, tuple(columns or ()))
        mark = _mark(uri, kept.version) if kept is not None else None
        if kept is not None and mark is not None and self._marks.get(key) == (kept.version, mark):
            return kept
        table = open_table(self._settings, full_name, ledger=self._ledger)
        wanted = columns or contract(full_name).column_names
        fresh = _snapshot(table, full_name, wanted, newest, kept)
        self._marks[key] = (fresh.version, _mark(uri, fresh.version))
        return fresh


def _mark(uri: str, version: int) -> tuple[int, int, int] | None:
    """Return what tells that a version is still the last one: its commit file, with none after it; ``None`` where that cannot be seen."""
    if version < 0 or opening.is_remote(uri):
        return None
    folder = local_path(uri)
    try:
        status = commit_path(folder, version).stat()
    except OSError:
        return None
    return None if commit_path(folder, version + 1).exists() else (status.st_ino, status.st_mtime_ns, status.st_size)
