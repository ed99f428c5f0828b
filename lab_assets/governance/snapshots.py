"""Versions of tables in a locked DuckDB, readable by generated SQL under random names alone.

Belongs here: the lock, and snapshots kept open. Does not belong here: which files a version has and whether they may be read
(``relations.py``), users' SQL (``sql.py``), masks (``masking.py``). Imports little: processes that only run queries load it.

A snapshot may read exactly the Parquet files of the versions it was opened for (``allowed_paths``); external access, extensions,
replacement scans of Python variables and every further setting are off before any query runs on it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb


def quoted(name: str) -> str:
    """Return an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, kw_only=True)
class QueryTable:
    """One version of one table, as a query is given it; plain values, so that another process can be handed it.

    Attributes:
        name: ``layer.table``.
        relation: Random name by which generated SQL reads it.
        columns: Name and DuckDB type of each column of the contract.
        version: Its Delta version; ``None`` when nothing was written yet.
        files: Its Parquet files, where they are local and hold every column.
        uri: Where it lies, when it is to be read through Arrow; else empty.
    """

    name: str
    relation: str
    columns: tuple[tuple[str, str], ...]
    version: int | None = None
    files: tuple[str, ...] = ()
    uri: str = ""


class Snapshot:
    """Some versions of some tables in one locked in-memory DuckDB."""

    def __init__(self, tables: Iterable[QueryTable], *, memory: str, threads: int) -> None:
        import duckdb

        tables = list(tables)
        off = ("python_enable_replacements", "autoinstall_known_extensions", "autoload_known_extensions")
        config: dict[str, Any] = {"memory_limit": memory, "threads": threads, "temp_directory": ""} | dict.fromkeys(off, "false")
        self._datasets: dict[str, Any] = {}
        self._connection = duckdb.connect(":memory:", config=config)
        self._connection.execute("SET TimeZone = 'UTC'")
        for table in tables:
            self._create(table)
        allowed = ", ".join(_literal(path) for table in tables for path in table.files)
        for setting in (
            f"allowed_paths = [{allowed}]",
            "enable_external_access = false",
            "allow_community_extensions = false",
            "lock_configuration = true",
        ):
            self._connection.execute(f"SET {setting}")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own to the snapshot, for one query in one thread."""
        cursor = self._connection.cursor()
        for name, rows in self._datasets.items():  # what is registered belongs to one connection
            cursor.register(name, rows)
        return cursor

    def _create(self, table: QueryTable) -> None:
        """Create the relation: every column of the contract with its type, absent ones as NULL."""
        rows = self._rows(table)
        present = {} if rows is None else dict(zip((column.lower() for column in rows.columns), map(str, rows.types), strict=True))
        columns = ", ".join(
            quoted(name)
            if present.get(name.lower()) == kind
            else f"CAST({quoted(name) if name.lower() in present else 'NULL'} AS {kind}) AS {quoted(name)}"
            for name, kind in table.columns
        )
        source = self._connection.sql("SELECT 1 WHERE false") if rows is None else rows
        source.project(columns).create_view(table.relation)

    def _rows(self, table: QueryTable) -> duckdb.DuckDBPyRelation | None:
        """Return the rows as the files hold them; ``None`` for a table without any."""
        if table.files:
            return self._connection.from_parquet(list(table.files), union_by_name=True, hive_partitioning=False)
        if not table.uri:
            return None
        from lab_assets.contracts.all_contracts import contract
        from lab_assets.lake.opening import DamagedTableError, open_table

        name, delta = f"{table.relation}_rows", open_table(contract(table.name), table.uri, None, version=table.version)
        if delta is None:
            raise DamagedTableError(f"{table.name}: no table lies at {table.uri} any more")
        self._datasets[name] = delta.to_pyarrow_dataset()
        self._connection.register(name, self._datasets[name])
        return self._connection.table(name)


class SnapshotCache:
    """Snapshots by the versions they hold; opening one takes about 20 ms, a change of a table opens a new one."""

    def __init__(self, *, size: int, memory: str, threads: int) -> None:
        self._size, self._memory, self._threads = size, memory, threads
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[QueryTable, ...], Snapshot] = OrderedDict()

    def get(self, tables: Iterable[QueryTable]) -> Snapshot:
        """Return the snapshot of exactly these tables at these versions."""
        key = tuple(sorted(tables, key=lambda table: table.name))
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        fresh = Snapshot(key, memory=self._memory, threads=self._threads)
        with self._lock:
            self._held[key] = fresh
            while len(self._held) > self._size:
                self._held.popitem(last=False)
        return fresh


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
