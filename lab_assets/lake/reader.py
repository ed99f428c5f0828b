"""Delta tables by contract, read: opened whole or refused, by key, by version, by what changed.

Belongs here: every read of the product's tables. Does not belong here: writing (``writer.py``), what the rows mean.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lab_assets.contracts.core import TableContract
from lab_assets.lake.changes import Changes, changed_files, difference, file_rows, rows_of
from lab_assets.lake.data_files import commit_path, local_path, log_segment
from lab_assets.lake.file_digests import require_whole_files
from lab_assets.lake.foreign_commits import require_fitting
from lab_assets.lake.log_history import history
from lab_assets.lake.opening import DamagedTableError, damage, grown, is_remote, open_table, open_unchecked, require_whole_log
from lab_assets.lake.table_rows import TableRows, place_of, polars_schema
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger, ledger_of

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

PROPERTIES: Final = {
    "delta.enableDeletionVectors": "false",
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": "interval 7 days",
}
"""Commits stay until the archive has them; a checkpoint names replaced files until the archive has those (``archiving.py``)."""


_LOOKED_S: Final = 5.0
"""How long a log that was found whole is asked only for what was added to it, seconds."""

Commit = tuple[int, int, int]
"""Version, time of change and inode of a commit file."""


class _Held(NamedTuple):
    """A version that is kept open."""

    commit: Commit | None
    table: DeltaTable
    rows: TableRows


class NoSuchVersionError(ValueError):
    """A table has no version of that number, or none at that time."""


class LakeReader:
    """Reads the Delta tables of one laboratory."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger
        self._opened: set[str] = set()
        self._kept: dict[str, _Held] = {}
        self._latest: dict[str, tuple[Commit, float]] = {}

    def uri(self, contract: TableContract) -> str:
        """Return where a table lies."""
        return self.settings.table_uri(contract.layer, contract.name)

    def open(self, contract: TableContract) -> DeltaTable:
        """Open a table, creating it empty when it does not exist.

        Raises:
            DamagedTableError: the log does not hold what was committed, or another program changed the table's columns.
        """
        uri = self.uri(contract)
        table = open_table(contract, uri, self.ledger)
        if table is None:
            self._create(contract)
            table = open_unchecked(contract, uri)
        require_fitting(contract, uri, table, self.ledger.noted_version(contract.full_name))
        table = grown(contract, table)
        self._opened.add(contract.full_name)
        return table

    def _create(self, contract: TableContract) -> None:
        from deltalake import CommitProperties, DeltaTable

        from lab_assets.lake.derivation import Derivation
        from lab_assets.lake.layout import layout_of

        DeltaTable.create(
            self.uri(contract),
            schema=contract.arrow_schema(),
            mode="ignore",
            name=contract.full_name,
            description=contract.grain,
            configuration=PROPERTIES | layout_of(contract).properties(),
            commit_properties=CommitProperties(custom_metadata=Derivation(station="created").metadata()),
        )

    def version(self, contract: TableContract) -> int:
        """Return the latest version; an empty table has 0.

        A table that this process has opened before, so that it is there with all its columns, is not opened again: the names and digests
        of its log say the version, and for a few seconds after that the last commit file, still the same and without a next one.

        Raises:
            DamagedTableError: see ``open``.
        """
        name, uri = contract.full_name, self.uri(contract)
        if name not in self._opened or is_remote(uri):
            return self._keep(contract, self.open(contract)).version()
        known, until_s = self._latest.get(name, (None, 0.0))
        if known is not None and time.monotonic() < until_s and self._is_last(contract, known):
            return known[0]
        noted = self.ledger.noted_version(name)
        version = require_whole_log(name, uri, self.ledger)
        if version < 0 or (noted is not None and version < noted):
            return self.open(contract).version()
        if (commit := self._commit(contract, version)) is not None:
            self._latest[name] = (commit, time.monotonic() + _LOOKED_S)
        return version

    def _is_last(self, contract: TableContract, known: Commit) -> bool:
        """Return whether a commit is still the one it was, and none came after it."""
        following = commit_path(local_path(self.uri(contract)), known[0] + 1)
        return self._commit(contract, known[0]) == known and not following.exists()

    def versions(self, contracts: Sequence[TableContract]) -> dict[str, int]:
        """Return the latest version of some tables by name."""
        return {contract.full_name: self.version(contract) for contract in contracts}

    def transaction_version(self, contract: TableContract, app: str) -> int | None:
        """Return the number of the last write of a writer that names itself ``app``.

        Unlike ``open`` this takes a log that ends early for what it is: the reconciler asks, which compares with the ledger itself.

        Raises:
            DamagedTableError: the log is not whole.
        """
        from deltalake import DeltaTable

        if not DeltaTable.is_deltatable(self.uri(contract)):
            return None
        require_whole_log(contract.full_name, self.uri(contract), self.ledger)
        return open_unchecked(contract, self.uri(contract)).transaction_version(app)

    def versions_as_they_are(self, names: Sequence[str]) -> dict[str, int]:
        """Return the versions of tables, ``layer.table``, whatever the ledger noted; a table that is gone has -1."""
        from deltalake import DeltaTable

        from lab_assets.contracts.all_contracts import contracts

        known = contracts()

        def version(uri: str) -> int:
            if not is_remote(uri):
                return log_segment(local_path(uri)).version
            return DeltaTable(uri).version() if DeltaTable.is_deltatable(uri) else -1

        return {name: version(self.uri(known[name])) for name in names if name in known}

    def row_count(self, contract: TableContract) -> int:
        """Return the number of rows, from the log alone."""
        import pyarrow as pa

        actions = pa.table(self._kept_open(contract, None).get_add_actions(flatten=True))
        return sum(count or 0 for count in actions.column("num_records").to_pylist()) if actions.num_rows else 0

    def polars(
        self, contract: TableContract, columns: Sequence[str] | None = None, *, version: int | None = None, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        """Read a table of moderate size, or some columns and rows of a large one, into this process.

        Args:
            contract: Table.
            columns: Its columns to read; default: all.
            version: Version to read; default: the latest.
            where: Rows to read; files and row groups that their statistics rule out are skipped.
        """
        rows = self.rows(contract, version=version)
        frame = rows.whole() if where is None else rows.where(where)
        return (frame.select(columns) if columns is not None else frame).collect()

    def highest(self, contract: TableContract, column: str) -> int:
        """Return the highest number in a column of whole numbers; 0 where the table has no rows."""
        import polars as pl

        return int(self.scan(contract).select(pl.col(column).max()).collect().item() or 0)

    def scan(self, contract: TableContract, *, version: int | None = None) -> pl.LazyFrame:
        """Return a table, or one of its versions, to be read lazily; columns that it was written without are empty.

        Raises:
            DamagedTableError: see ``open``; also where a data file is missing or has other bytes than were committed.
        """
        return self.rows(contract, version=version).whole()

    def rows(self, contract: TableContract, *, version: int | None = None) -> TableRows:
        """Return the rows of a table, or of one of its versions, to be read wholly or by a condition."""
        self._kept_open(contract, version)
        return self._kept[contract.full_name].rows

    def require_whole(self, contract: TableContract, files: Sequence[str]) -> None:
        """See that some data files of a table hold what they held when they were committed.

        Raises:
            DamagedTableError: one does not; it is named.
        """
        require_whole_files(contract.full_name, self.uri(contract), self.ledger, files)

    def _kept_open(self, contract: TableContract, version: int | None) -> DeltaTable:
        """Open a version to be read; what it holds never changes, so the one asked for last is kept open."""
        latest = self.version(contract)
        if version is not None and version != latest:
            self._require_past(contract, version)
        wanted = latest if version is None else version
        commit, held = self._commit(contract, wanted), self._kept.get(contract.full_name)
        if held is not None and commit is not None and held.commit == commit:
            return held.table
        table = self.open(contract)
        if wanted != table.version():
            table.load_as_version(wanted)
        return self._keep(contract, table)

    def _keep(self, contract: TableContract, table: DeltaTable) -> DeltaTable:
        """Keep an open table for the next read of its version; it must not be written by."""
        rows = TableRows(contract, table, partial(self.require_whole, contract))
        self._kept[contract.full_name] = _Held(self._commit(contract, table.version()), table, rows)
        return table

    def _forget(self, contract: TableContract) -> None:
        """Forget what was opened of a table whose folder is another one from now on."""
        self._opened.discard(contract.full_name)
        for kept in (self._kept, self._latest):
            kept.pop(contract.full_name, None)

    def damage(self, contract: TableContract) -> DamagedTableError | None:
        """Return why a table cannot be opened; ``None`` where it can, or nothing was ever written to it."""
        return damage(contract.full_name, self.uri(contract), self.ledger)

    def _commit(self, contract: TableContract, version: int) -> Commit | None:
        """Return what tells a commit from another of the same number, as after a table's folder was restored; ``None`` if unknown."""
        uri = self.uri(contract)
        if is_remote(uri):
            return None
        try:
            status = commit_path(local_path(uri), version).stat()
        except FileNotFoundError:
            return None
        return version, status.st_mtime_ns, status.st_ino

    def files(self, contract: TableContract, *, version: int | None = None, where: Mapping[str, Sequence[Any]]) -> list[str]:
        """Return the data files that may hold rows whose columns have one of the given values, by the statistics in the log; each is whole.

        Args:
            contract: Table.
            version: Version; default: the latest.
            where: Values by column, of text or numbers.
        """
        import pyarrow as pa

        table = self._kept_open(contract, version)
        actions = pa.table(table.get_add_actions(flatten=True))
        if actions.num_rows == 0:
            return []
        stated = set(actions.column_names)
        limits = {name: (f"min.{name}", f"max.{name}") for name in where if f"min.{name}" in stated}
        columns = {name: actions.column(name).to_pylist() for name in ("path", *(limit for pair in limits.values() for limit in pair))}
        values = {name: sorted(where[name]) for name in limits}
        found: list[str] = []
        for place, path in enumerate(columns["path"]):
            if all(_may_hold(values[name], columns[low][place], columns[high][place]) for name, (low, high) in limits.items()):
                found.append(place_of(table, path))
        self.require_whole(contract, found)
        return found

    def changes(self, contract: TableContract, columns: Sequence[str], *, since: int, until: int | None = None) -> Changes:
        """Return the rows that changed between two versions, some of their columns.

        Args:
            contract: Table.
            columns: Its columns that matter: a change of others is none.
            since: Earlier version; 0 is the empty table.
            until: Later version; default: the latest. A version before ``since`` (a table restored from a backup) gives the
                difference the other way round.
        """
        import polars as pl

        last = self.version(contract) if until is None else until
        schema = pl.Schema({name: kind for name, kind in polars_schema(contract).items() if name in columns})
        if since > last:
            turned = self.changes(contract, columns, since=last, until=since)
            return Changes(added=turned.removed, removed=turned.added)
        came, gone = changed_files(self.uri(contract), since, last)
        self.require_whole(contract, [*came, *gone])
        return difference(rows_of(came, schema).select(columns), rows_of(gone, schema).select(columns))

    def written(self, contract: TableContract, columns: Sequence[str], *, since: int, until: int) -> pl.DataFrame:
        """Return the rows of every file that commits between two versions wrote, rows that stood before included."""
        import polars as pl

        schema = pl.Schema({name: kind for name, kind in polars_schema(contract).items() if name in columns})
        return rows_of(self.written_files(contract, since=since, until=until), schema).select(columns)

    def written_files(self, contract: TableContract, *, since: int, until: int) -> list[str]:
        """Return the files that commits between two versions wrote and that are still read; each is whole."""
        files = changed_files(self.uri(contract), since, until)[0]
        self.require_whole(contract, files)
        return files

    def newest_rows(self, contract: TableContract, columns: Sequence[str], count: int) -> pl.DataFrame:
        """Return a few rows of the data file that was written last, some of their columns."""
        import polars as pl
        import pyarrow as pa

        table = self._kept_open(contract, None)
        actions = pl.DataFrame(pl.from_arrow(pa.table(table.get_add_actions(flatten=True))))
        kinds = polars_schema(contract)
        if actions.is_empty():
            return pl.DataFrame(schema={name: kinds[name] for name in columns})
        newest = place_of(table, actions.sort("modification_time")["path"].last())
        self.require_whole(contract, [newest])
        return file_rows([newest], pl.Schema({name: kinds[name] for name in columns})).head(count).collect()

    def history(self, contract: TableContract, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the commits, newest first, as Delta tells them."""
        return history(self._kept_open(contract, None), limit)

    def version_at(self, contract: TableContract, moment: datetime) -> int:
        """Return the version that was the latest at a moment, by the time each commit carries in itself.

        File times are no evidence: a copied table has those of the copy.

        Raises:
            NoSuchVersionError: the table did not exist then.
        """
        return latest_at(contract, self.open(contract), moment)

    def _require_past(self, contract: TableContract, version: int) -> None:
        """See that an earlier version's log is whole: it may rely on commits that the last version does without."""
        require_whole_log(contract.full_name, self.uri(contract), self.ledger, through=version)


def standing_rows(settings: Settings, contract: TableContract, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Return all rows of a table as it stands, for those who only look: where nothing was ever written there are none, and no table is made.

    Args:
        settings: Where the lake is.
        contract: Table.
        columns: Its columns; default: all.

    Raises:
        DamagedTableError: see ``opening.open_table``.
    """
    import polars as pl

    table = open_table(contract, settings.table_uri(contract.layer, contract.name), ledger_of(settings))
    if table is None:
        return pl.DataFrame(schema={name: polars_schema(contract)[name] for name in columns or contract.column_names})
    check = partial(require_whole_files, contract.full_name, table.table_uri.rstrip("/"), ledger_of(settings))
    return TableRows(contract, table, check).whole().select(columns or contract.column_names).collect()


def latest_at(contract: TableContract, table: DeltaTable, moment: datetime) -> int:
    """Return the version that was the latest at a moment (see ``LakeReader.version_at``).

    Raises:
        NoSuchVersionError: the table did not exist then.
    """
    for entry in history(table):
        if datetime.fromtimestamp(entry["timestamp"] / 1000, tz=UTC) <= moment:
            return int(entry["version"])
    raise NoSuchVersionError(f"{contract.full_name} did not exist at {moment.isoformat()}")


def _may_hold(values: Sequence[Any], low: Any, high: Any) -> bool:
    """Return whether any of some sorted values lies within limits; unknown limits may hold anything."""
    if low is None or high is None:
        return True
    place = bisect_left(values, low)
    return place < len(values) and values[place] <= high
