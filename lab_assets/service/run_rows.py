"""Rows that the service gathers a run's facts and features from: of the tables as they are now, or at recorded versions, always by key.

Belongs here: readers for ``lab_assets.stations.gather`` and for look-ups of stored features. Does not belong here: which rows count and what
follows from them (``lab_assets.features``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.features import INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE
from lab_assets.contracts.silver import INJECTIONS, PEAKS
from lab_assets.features.run_facts import NOISE_COLUMN
from lab_assets.service.table_cache import Snapshot, TableCache, empty_frame, open_table, rows_where
from lab_assets.settings import Settings
from lab_assets.stations import gather

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

HISTORIES: Final = (INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE)
KEPT_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    **gather.COLUMNS,
    INJECTIONS.full_name: (*gather.RUN_COLUMNS, "run_time_min"),
    PEAKS.full_name: (*gather.PEAK_COLUMNS, NOISE_COLUMN),
    **{table.full_name: table.column_names for table in HISTORIES},
}
"""Columns of each table that facts and features of a running injection come from, and by which its trace is judged."""


class RunRows(gather.KeyedReader, Protocol):
    """A reader that also says at which versions it reads."""

    @property
    def versions(self) -> dict[str, int]:
        """Version of each table of ``KEPT_COLUMNS`` by ``layer.table``; tables that do not exist are absent."""
        ...

    @property
    def frames(self) -> tuple[object, ...]:
        """What is read from: while these are the same objects, the rows are the same; empty where nothing is kept in memory."""
        ...


class CachedRows:
    """The frames of a service that runs, each at the version it was last seen at."""

    def __init__(self, snapshots: Mapping[str, Snapshot]) -> None:
        """Read from one snapshot for each table of ``KEPT_COLUMNS``."""
        self._snapshots = snapshots

    @property
    def frames(self) -> tuple[object, ...]:
        """See ``RunRows``."""
        return tuple(snapshot.rows for snapshot in self._snapshots.values())

    @staticmethod
    def of(tables: TableCache) -> CachedRows:
        """Take the current frames, at most a second behind the tables.

        Raises:
            TableUnavailableError: a table cannot be read and was never read before.
        """
        return CachedRows({name: tables.get(name, columns) for name, columns in KEPT_COLUMNS.items()})

    @property
    def versions(self) -> dict[str, int]:
        """See ``RunRows``."""
        return {name: snapshot.version for name, snapshot in self._snapshots.items() if snapshot.version >= 0}

    def keyed(self, table: TableContract, columns: Sequence[str] | None = None, **keys: Iterable[Any]) -> pl.DataFrame:
        """Return the rows whose columns hold one of the given values."""
        return self._snapshots[table.full_name].rows.keyed(columns, **keys)

    def rows(self, table: TableContract, columns: Sequence[str] | None = None, *, where: pl.Expr | None = None) -> pl.DataFrame:
        """Return the rows that a condition holds for; all without one."""
        frame = self._snapshots[table.full_name].frame
        found = frame if where is None else frame.filter(where)
        return found if columns is None else found.select(columns)


class DeltaRows:
    """Rows read from the tables themselves, at fixed versions."""

    def __init__(self, settings: Settings, versions: Mapping[str, int] | None = None) -> None:
        """Read at recorded versions.

        Args:
            settings: Where the tables are.
            versions: Version by ``layer.table``; a table that is not named was not there. Default: the newest of all.

        Raises:
            TableUnavailableError: a table cannot be opened.
        """
        self._settings = settings
        self._tables: dict[str, DeltaTable] = {}
        if versions is None:
            opened = {name: open_table(settings, name) for name in KEPT_COLUMNS}
            self._tables = {name: table for name, table in opened.items() if table is not None}
            versions = {name: table.version() for name, table in self._tables.items()}
        self._versions = dict(versions)

    @property
    def frames(self) -> tuple[object, ...]:
        """See ``RunRows``."""
        return ()

    @property
    def versions(self) -> dict[str, int]:
        """See ``RunRows``."""
        return {name: version for name, version in self._versions.items() if name in KEPT_COLUMNS}

    def keyed(self, table: TableContract, columns: Sequence[str] | None = None, **keys: Iterable[Any]) -> pl.DataFrame:
        """Return the rows whose columns hold one of the given values.

        Raises:
            TableUnavailableError: the version is gone, or a data file is missing.
        """
        wanted = list(columns or table.column_names)
        rules = _rules(keys, empty_frame(table, list(keys)).schema)
        if rules is None or (opened := self._open(table.full_name)) is None:
            return empty_frame(table, wanted)
        return rows_where(opened, table.full_name, rules, wanted)

    def rows(self, table: TableContract, columns: Sequence[str] | None = None, *, where: pl.Expr | None = None) -> pl.DataFrame:
        """Return the rows that a condition holds for; all without one.

        Raises:
            TableUnavailableError: see ``keyed``.
        """
        wanted = list(columns or table.column_names)
        opened = self._open(table.full_name)
        return (
            empty_frame(table, wanted) if opened is None else rows_where(opened, table.full_name, () if where is None else (where,), wanted)
        )

    def _open(self, full_name: str) -> DeltaTable | None:
        if full_name not in self._tables and full_name in self._versions:
            opened = open_table(self._settings, full_name, version=self._versions[full_name])
            if opened is not None:
                self._tables[full_name] = opened
        return self._tables.get(full_name)


def _rules(keys: Mapping[str, Iterable[Any]], schema: Mapping[str, Any]) -> list[pl.Expr] | None:
    """Return the conditions of a read by key; ``None`` where a column has no value to look for."""
    import polars as pl

    rules: list[pl.Expr] = []
    for name, given in keys.items():
        values = given if isinstance(given, pl.Series) else pl.Series(list(given), dtype=schema[name])
        values = values.drop_nulls().unique()
        if values.is_empty():
            return None
        rules.append(pl.col(name) == values[0] if values.len() == 1 else pl.col(name).is_in(values.implode()))
    return rules
