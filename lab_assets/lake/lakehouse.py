"""Delta tables by contract: create, read, append once, merge, replace, history, restore.

Belongs here: every write of the product's tables, each under the table's lock and read back. Does not belong here: what the
rows mean.

Spark computes, the process that asked for it commits: rows come here as Arrow, a bounded number at a time, and are committed by
``deltalake``. A commit by the server would outlive the process that asked for it, and the same work taken up by the next one
would be committed twice. Streams are the exception; their checkpoint makes a repeated commit a no-op.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from filelock import FileLock

from lab_assets.compute.session import SessionKeeper
from lab_assets.contracts.core import TableContract
from lab_assets.lake import commits as arrow_commits
from lab_assets.lake.data_files import committed_files, local_path
from lab_assets.lake.opening import grown, is_remote, open_table, open_unchecked, require_whole_log
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from deltalake import DeltaTable
    from pyspark.sql import DataFrame, SparkSession


T = TypeVar("T")

PROPERTIES: Final = {
    "delta.enableDeletionVectors": "false",
    "delta.dataSkippingNumIndexedCols": "8",
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": "interval 3650 days",
}
"""Retention is as long as records are kept: VACUUM inside it is refused by Delta itself."""


class CommitLostError(RuntimeError):
    """A commit that was reported is not in the table's log."""


class Lakehouse:
    """The Delta tables of one laboratory."""

    def __init__(self, settings: Settings, keeper: SessionKeeper, ledger: Ledger) -> None:
        self.settings = settings
        self.keeper = keeper
        self.ledger = ledger

    @property
    def spark(self) -> SparkSession:
        """The Spark Connect session."""
        return self.keeper.session

    def uri(self, contract: TableContract) -> str:
        """Return where a table lies."""
        return self.settings.table_uri(contract.layer, contract.name)

    def open(self, contract: TableContract) -> DeltaTable:
        """Open a table, creating it empty when it does not exist.

        Raises:
            DamagedTableError: the log does not hold what was committed.
        """
        table = open_table(contract, self.uri(contract), self.ledger)
        if table is None:
            self._create(contract)
            table = open_unchecked(contract, self.uri(contract))
        return grown(contract, table)

    def _create(self, contract: TableContract) -> None:
        from deltalake import DeltaTable

        DeltaTable.create(
            self.uri(contract),
            schema=contract.arrow_schema(),
            mode="ignore",
            name=contract.full_name,
            description=contract.grain,
            configuration=dict(PROPERTIES),
        )

    def version(self, contract: TableContract) -> int:
        """Return the latest version; an empty table has 0."""
        return self.open(contract).version()

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

        from lab_assets.contracts.registry import contracts

        known = contracts()
        uris = {name: self.uri(known[name]) for name in names if name in known}
        return {name: DeltaTable(uri).version() if DeltaTable.is_deltatable(uri) else -1 for name, uri in uris.items()}

    def row_count(self, contract: TableContract) -> int:
        """Return the number of rows, from the log alone."""
        import pyarrow as pa

        actions = pa.table(self.open(contract).get_add_actions(flatten=True))
        return sum(count or 0 for count in actions.column("num_records").to_pylist()) if actions.num_rows else 0

    def read(self, contract: TableContract, *, version: int | None = None, as_of: datetime | None = None) -> DataFrame:
        """Read a table: the latest, one version, or as it was at a time.

        Raises:
            ValueError: both a version and a time are asked for.
        """
        if version is not None and as_of is not None:
            raise ValueError("ask for a version or for a time, not for both")
        table = self.open(contract)
        if as_of is not None:
            table.load_as_version(as_of)
        self._require_past(contract, table.version() if version is None else version)
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        if as_of is not None:
            reader = reader.option("timestampAsOf", as_of.isoformat())
        return reader.load(self.uri(contract))

    def read_stream(self, contract: TableContract) -> DataFrame:
        """Read a table as a stream of what is new to its checkpoint; changes other than appends are not news."""
        self.open(contract)
        return self.spark.readStream.format("delta").option("skipChangeCommits", "true").load(self.uri(contract))

    def read_since(self, contract: TableContract, batch: int) -> DataFrame:
        """Read the rows of a bronze table that later ingestion batches brought."""
        from pyspark.sql import functions as sf

        return self.read(contract).where(sf.col("ingest_batch") > batch)

    @contextmanager
    def locked(self, contract: TableContract) -> Iterator[None]:
        """Hold the table's writer lock."""
        folder = self.settings.run / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{contract.full_name}.lock"):
            require_whole_log(contract.full_name, self.uri(contract), self.ledger)
            yield

    def append_once(self, contract: TableContract, rows: arrow_commits.ArrowRows, *, app: str, version: int) -> int:
        """Append rows; a second append with the same ``(app, version)`` changes nothing.

        Args:
            contract: Table.
            rows: Rows with the contract's columns, any order.
            app: Name of the writer; versions of one writer only grow.
            version: Number of the write.

        Returns:
            Version of the table afterwards.

        Raises:
            CommitLostError: the commit was reported, but the log does not show it.
        """
        with self.locked(contract):
            table = self.open(contract)
            last, before = table.transaction_version(app), table.version()
            if last is not None and last >= version:
                return self._noted(contract, table)
            commit = arrow_commits.append(table, contract, rows, transaction=(app, version))
            return self._read_back(contract, commit, above=before)

    def append(self, contract: TableContract, rows: pa.Table) -> int:
        """Append rows that are new by construction (the caller left out keys that exist).

        Returns:
            Version of the table afterwards.
        """
        with self.locked(contract):
            table = self.open(contract)
            before = table.version()
            if rows.num_rows == 0:
                return self._noted(contract, table)
            return self._read_back(contract, arrow_commits.append(table, contract, rows), above=before)

    def replace(self, contract: TableContract, rows: pa.Table) -> int:
        """Replace all rows in one commit; earlier versions stay readable.

        Returns:
            Version of the table afterwards.
        """
        with self.locked(contract):
            table = self.open(contract)
            before = table.version()
            return self._read_back(contract, arrow_commits.overwrite(table, contract, rows), above=before)

    def merge(
        self, contract: TableContract, rows: pa.Table, *, newer: str | None = None, within: tuple[str, Sequence[str]] | None = None
    ) -> int:
        """Insert or update by primary key in one commit.

        Args:
            contract: Table with a primary key.
            rows: At most one row a key.
            newer: Column that must not go back; an older row changes nothing.
            within: Column and values that delimit what is replaced: target rows with such a value and no matching row are
                deleted (all peaks of the injections that were integrated again, for example).

        Returns:
            Version of the table afterwards.
        """
        with self.locked(contract):
            table = self.open(contract)
            before = table.version()
            commit = arrow_commits.merge(table, contract, rows, newer=newer, within=within)
            return self._read_back(contract, commit, above=before)

    def compact(self, contract: TableContract) -> int:
        """Put a table's small files together; no row changes, and earlier versions keep their files.

        Returns:
            Version of the table afterwards.
        """
        with self.locked(contract):
            table = self.open(contract)
            before = table.version()
            return self._read_back(contract, arrow_commits.compact(table), above=before)

    def delete(self, contract: TableContract, predicate: str) -> int:
        """Delete rows in one commit; earlier versions stay readable.

        Args:
            contract: Table.
            predicate: SQL condition of the rows.

        Returns:
            Version of the table afterwards.
        """
        with self.locked(contract):
            self.open(contract).delete(predicate)
            return self._noted(contract, self.open(contract))

    def stream(self, source: DataFrame, contract: TableContract, *, name: str, timeout_s: float = 1800.0) -> int:
        """Run a stream once over what is new and append its rows; the checkpoint makes each input row count once.

        Args:
            source: Streaming DataFrame with the contract's columns.
            contract: Table appended to.
            name: Name of the stream; its checkpoint lies in ``run/checkpoints/<name>``.
            timeout_s: Longest wait.

        Returns:
            Version of the table afterwards.

        Raises:
            TimeoutError: it did not end in time.
        """
        checkpoint = self.settings.run / "checkpoints" / name
        with self.locked(contract):
            self.open(contract)

            def run() -> bool | None:
                writer = self._conformed(contract, source).writeStream.format("delta").outputMode("append")
                query = writer.option("checkpointLocation", str(checkpoint)).trigger(availableNow=True).start(self.uri(contract))
                return query.awaitTermination(int(timeout_s))

            if not self.keeper.guard(run):
                raise TimeoutError(f"stream {name} into {contract.full_name} did not end within {timeout_s:.0f} s")
            return self._noted(contract, self.open(contract))

    def history(self, contract: TableContract, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the commits, newest first, as Delta tells them."""
        return self.open(contract).history(limit)

    def diff(self, contract: TableContract, old: int, new: int) -> dict[str, list[dict[str, Any]]]:
        """Return rows only in the new and only in the old version (``added``, ``removed``)."""
        before, after = self.read(contract, version=old), self.read(contract, version=new)
        comparable = [column.name for column in contract.columns if not column.kind.startswith("map")]
        first, second = before.select(comparable), after.select(comparable)
        return {
            "added": [row.asDict() for row in second.exceptAll(first).collect()],
            "removed": [row.asDict() for row in first.exceptAll(second).collect()],
        }

    def restore(self, contract: TableContract, version: int) -> int:
        """Make an earlier version the latest one, as a new commit; nothing is lost.

        Returns:
            Version of the table afterwards.
        """
        with self.locked(contract):
            self.open(contract)
            self._require_past(contract, version)
            self.keeper.guard(
                lambda: self.spark.sql(f"RESTORE TABLE delta.`{self.uri(contract)}` TO VERSION AS OF {int(version)}").collect()
            )
            return self._noted(contract, self.open(contract))

    def local_rows(self, contract: TableContract, rows: Sequence[dict[str, Any]]) -> pa.Table:
        """Turn rows of this process into Arrow of the contract's schema; columns that a row does not name are empty."""
        import pyarrow as pa

        filled = [{name: row.get(name) for name in contract.column_names} for row in rows]
        return pa.Table.from_pylist(filled, schema=contract.arrow_schema())

    def polars(
        self, contract: TableContract, columns: Sequence[str] | None = None, *, version: int | None = None, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        """Read a table of moderate size, or some columns and rows of a large one, into this process.

        Args:
            contract: Table.
            columns: Its columns to read; default: all.
            version: Version to read; default: the latest.
            where: Rows to read; files that Delta's statistics rule out are skipped.
        """
        import polars as pl

        opened = self.open(contract)
        if version is not None:
            self._require_past(contract, version)
        frame = pl.scan_delta(opened) if version is None else pl.scan_delta(str(opened.table_uri), version=version)
        if where is not None:
            frame = frame.filter(where)
        return (frame.select(columns) if columns else frame).collect()

    def _require_past(self, contract: TableContract, version: int) -> None:
        """See that an earlier version's log is whole: it may rely on commits that the last version does without."""
        require_whole_log(contract.full_name, self.uri(contract), self.ledger, through=version)

    def _conformed(self, contract: TableContract, rows: DataFrame) -> DataFrame:
        """Select the contract's columns by name, in its order and types."""
        from pyspark.sql import functions as sf

        from lab_assets.contracts.core import SPARK_TYPES

        return rows.select(*(sf.col(column.name).cast(SPARK_TYPES[column.kind]).alias(column.name) for column in contract.columns))

    def _read_back(self, contract: TableContract, commit: str | None, *, above: int) -> int:
        """Open the table again, still under its lock, and see that the commit is in the log beyond a version.

        A writer that does not know our lock, such as a stream that outlived its process, may commit at the same moment.
        """
        table = self.open(contract)
        if commit is not None:
            later = table.history(table.version() - above) if table.version() > above else []
            if commit not in {entry.get(arrow_commits.COMMIT_ID) for entry in later}:
                raise CommitLostError(
                    f"{contract.full_name}: a commit was reported, but the log up to version {table.version()} does not hold it"
                )
        return self._noted(contract, table)

    def _noted(self, contract: TableContract, table: DeltaTable) -> int:
        """Tell the ledger the table's version, and the digests of the files that came with it."""
        version = table.version()
        before = self.ledger.noted_version(contract.full_name)
        if before != version:
            first, uri = (0 if before is None else before + 1), self.uri(contract)
            files = [] if is_remote(uri) else committed_files(local_path(uri), first, version)
            self.ledger.note_table_commit(contract.full_name, version, files)
        return version


def in_parallel(work: Sequence[Callable[[], T]], *, threads: int = 4) -> list[T]:
    """Run independent writes from threads of one session; the first error is raised after all have ended."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=threads) as pool:
        futures = [pool.submit(task) for task in work]
        return [future.result() for future in futures]
