"""Delta tables as the service reads them: small frames kept until the table's version moves, and any old version on request.

Belongs here: opening, caching, reading back by version. Does not belong here: masks (``views.py``), writing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.registry import contract
from lab_assets.settings import Settings

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

CHECK_INTERVAL_S: Final = 1.0
_LOG: Final = logging.getLogger(__name__)


class TableUnavailableError(Exception):
    """A table, or the version asked for, cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Rows of one table at one version; version -1 stands for a table that does not exist yet."""

    frame: pl.DataFrame
    version: int


def open_table(settings: Settings, full_name: str, *, version: int | None = None) -> DeltaTable | None:
    """Open a Delta table by ``layer.table``.

    Returns:
        The table at the version, the newest when omitted; ``None`` where there is no table yet.

    Raises:
        TableUnavailableError: the version is gone or the table cannot be read.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    from lab_assets.lake.opening import DamagedTableError, require_whole_log

    uri = settings.table_uri(*full_name.split("."))
    try:
        require_whole_log(full_name, uri, None, through=version)
        return DeltaTable(uri, version=version)
    except TableNotFoundError:
        return None
    except (DamagedTableError, DeltaError, OSError) as error:
        which = "" if version is None else f" at version {version}"
        raise TableUnavailableError(f"{full_name}{which} cannot be read: {error}") from error


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
    """
    import polars as pl

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
    """

    by: tuple[str, ...]
    limit: int


def load_snapshot(
    settings: Settings,
    full_name: str,
    *,
    version: int | None = None,
    columns: Sequence[str] | None = None,
    newest: Newest | None = None,
) -> Snapshot:
    """Read a table into a frame; a table that does not exist yet gives no rows with the contract's columns.

    Raises:
        TableUnavailableError: see ``open_table``; also when a data file is missing.
    """
    promise = contract(full_name)
    wanted = list(columns or promise.column_names)
    table = open_table(settings, full_name, version=version)
    if table is None:
        return Snapshot(frame=empty_frame(promise, wanted), version=-1)
    frame = rows_where(table, full_name, (), wanted)
    if newest is not None:
        frame = frame.top_k(newest.limit, by=newest.by)
    return Snapshot(frame=frame, version=table.version())


def empty_frame(table: TableContract, columns: Sequence[str]) -> pl.DataFrame:
    """Return a frame without rows, with the contract's types."""
    import polars as pl

    return pl.DataFrame(pl.from_arrow(table.arrow_schema().empty_table().select(list(columns))))


class TableCache:
    """Frames of small tables; a table is looked at again at most once a second and read again when its version moved."""

    def __init__(self, settings: Settings, *, check_interval_s: float = CHECK_INTERVAL_S) -> None:
        self._settings = settings
        self._interval_s = check_interval_s
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, tuple[str, ...]], tuple[Snapshot, float]] = {}

    def get(self, full_name: str, columns: Sequence[str] | None = None, *, newest: Newest | None = None) -> Snapshot:
        """Return a table's rows, at most a second behind; the last good rows while it cannot be read.

        Raises:
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
                if kept is None:
                    raise
                _LOG.error("table %s cannot be read, last good rows stay: %s", full_name, error)
                fresh = kept[0]
            self._kept[key] = (fresh, now_s)
            return fresh

    def _refresh(self, full_name: str, columns: Sequence[str] | None, newest: Newest | None, kept: Snapshot | None) -> Snapshot:
        table = open_table(self._settings, full_name)
        version = -1 if table is None else table.version()
        if kept is not None and kept.version == version:
            return kept
        return load_snapshot(self._settings, full_name, version=None if version < 0 else version, columns=columns, newest=newest)
