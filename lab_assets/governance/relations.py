"""Delta tables as relations of a locked DuckDB: opened by us, readable by generated SQL under random names alone.

Belongs here: which files a table's version has, and the lock. Does not belong here: users' SQL (``sql.py``), masks
(``masking.py``), who may ask (``gateway.py``).

A snapshot may read exactly the Parquet files of the versions it was opened for (``allowed_paths``); external access, extensions,
replacement scans of Python variables and every further setting are off before any query runs on it.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.formats.types import duckdb_type
from lab_assets.governance.masking import quoted
from lab_assets.lake import opening
from lab_assets.lake.file_digests import require_whole_files
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger, ledger_of

if TYPE_CHECKING:
    import deltalake
    import duckdb


@dataclass(frozen=True, kw_only=True)
class OpenTable:
    """One version of one table.

    Attributes:
        contract: The table.
        version: Its Delta version; ``None`` when nothing was written yet.
        delta: The table opened at that version.
        files: Its Parquet files, where they are local and hold every column; else it is read through Arrow.
    """

    contract: TableContract
    version: int | None
    delta: deltalake.DeltaTable | None = None
    files: tuple[str, ...] = ()


def open_for_query(settings: Settings, contract: TableContract, ledger: Ledger | None = None) -> OpenTable:
    """Open a table's present version as every reader does (``lab_assets.lake.opening.open_table``), if queries may read it.

    Args:
        settings: Where it lies.
        contract: Its contract.
        ledger: What was committed; default: the laboratory's.

    Raises:
        ProtocolError: its files alone do not say which rows it has.
        DamagedTableError: its log, or a data file, does not hold what was committed.
    """
    uri = settings.table_uri(contract.layer, contract.name)
    known = ledger or ledger_of(settings)
    delta = opening.open_table(contract, uri, known)
    if delta is None:
        return OpenTable(contract=contract, version=None)
    paths = [each.removeprefix("file://") for each in delta.file_uris()]
    require_whole_files(contract.full_name, uri, known, paths)
    local = not delta.metadata().partition_columns and all(Path(path).is_absolute() for path in paths)
    return OpenTable(contract=contract, version=delta.version(), delta=delta, files=tuple(paths) if local else ())


class Snapshot:
    """Some versions of some tables in one locked in-memory DuckDB.

    Attributes:
        names: Random name of each table's relation, by ``layer.table``.
    """

    def __init__(self, tables: Iterable[OpenTable], *, memory: str, threads: int) -> None:
        import duckdb

        tables = list(tables)
        off = ("python_enable_replacements", "autoinstall_known_extensions", "autoload_known_extensions")
        config: dict[str, Any] = {"memory_limit": memory, "threads": threads, "temp_directory": ""} | dict.fromkeys(off, "false")
        self.names = {table.contract.full_name: f"lab_{secrets.token_hex(12)}" for table in tables}
        self._datasets: dict[str, Any] = {}
        self._connection = duckdb.connect(":memory:", config=config)
        self._connection.execute("SET TimeZone = 'UTC'")
        for table in tables:
            self._create(table, self.names[table.contract.full_name])
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

    def _create(self, table: OpenTable, name: str) -> None:
        """Create the relation: every column of the contract with its type, absent ones as NULL."""
        rows = self._rows(table, name)
        present = {} if rows is None else dict(zip((column.lower() for column in rows.columns), map(str, rows.types), strict=True))
        columns = ", ".join(
            quoted(column.name)
            if present.get(column.name.lower()) == duckdb_type(column.kind)
            else f"CAST({quoted(column.name) if column.name.lower() in present else 'NULL'} AS {duckdb_type(column.kind)})"
            f" AS {quoted(column.name)}"
            for column in table.contract.columns
        )
        source = self._connection.sql("SELECT 1 WHERE false") if rows is None else rows
        source.project(columns).create_view(name)

    def _rows(self, table: OpenTable, name: str) -> duckdb.DuckDBPyRelation | None:
        """Return the rows as the files hold them; ``None`` for a table without any."""
        if table.files:
            return self._connection.from_parquet(list(table.files), union_by_name=True, hive_partitioning=False)
        if table.delta is None or not table.delta.file_uris():
            return None
        self._datasets[f"{name}_rows"] = table.delta.to_pyarrow_dataset()
        self._connection.register(f"{name}_rows", self._datasets[f"{name}_rows"])
        return self._connection.table(f"{name}_rows")


class SnapshotCache:
    """Snapshots by the versions they hold; opening one takes about 20 ms, a change of a table opens a new one."""

    def __init__(self, *, size: int, memory: str, threads: int) -> None:
        self._size, self._memory, self._threads = size, memory, threads
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[tuple[str, int | None, tuple[str, ...]], ...], Snapshot] = OrderedDict()

    def get(self, tables: Iterable[OpenTable]) -> Snapshot:
        """Return the snapshot of exactly these tables at these versions."""
        ordered = sorted(tables, key=lambda table: table.contract.full_name)
        key = tuple((table.contract.full_name, table.version, table.files) for table in ordered)
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        fresh = Snapshot(ordered, memory=self._memory, threads=self._threads)
        with self._lock:
            self._held[key] = fresh
            while len(self._held) > self._size:
                self._held.popitem(last=False)
        return fresh


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def table_state(settings: Settings, contract: TableContract) -> tuple[int | None, int | None]:
    """Return a table's Delta version and its rows as the log counts them; ``None`` where there is none.

    Raises:
        ProtocolError: its files alone do not say which rows it has.
        DamagedTableError: see ``open_for_query``.
    """
    opened = open_for_query(settings, contract)
    if opened.delta is None:
        return None, None
    import pyarrow as pa

    actions = pa.table(opened.delta.get_add_actions(flatten=True))
    if "num_records" not in actions.column_names:
        return opened.version, None
    counts: list[int | None] = actions.column("num_records").to_pylist()
    known = [count for count in counts if count is not None]
    return opened.version, sum(known) if len(known) == len(counts) else None


def lineage_of(settings: Settings) -> list[dict[str, Any]]:
    """Return every row of ``governance.lineage``.

    Raises:
        DamagedTableError: see ``open_for_query``.
    """
    from lab_assets.contracts.governance import LINEAGE

    opened = open_for_query(settings, LINEAGE)
    return [] if opened.delta is None else opened.delta.to_pyarrow_dataset().to_table().to_pylist()
