"""The Delta tables of one laboratory, with what computes for them.

Belongs here: putting reader, writer and compute together. Does not belong here: any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lab_assets.compute.placement import PlacedCompute
from lab_assets.compute.session import SessionKeeper
from lab_assets.contracts.core import TableContract
from lab_assets.lake import commits
from lab_assets.lake.reader import NoSuchVersionError
from lab_assets.lake.writer import CommitLostError, LakeWriter, in_parallel
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["CommitLostError", "Lakehouse", "NoSuchVersionError", "in_parallel"]


class Lakehouse(LakeWriter):
    """The Delta tables of one laboratory."""

    def __init__(self, settings: Settings, keeper: SessionKeeper, ledger: Ledger) -> None:
        super().__init__(settings, ledger)
        self.keeper = keeper
        self.compute = PlacedCompute(keeper)

    @property
    def spark(self) -> SparkSession:
        """The Spark Connect session."""
        return self.keeper.session

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
            commit = commits.merge(table, contract, rows, newer=newer, within=within)
            return self._read_back(contract, commit, above=before)

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

    def diff(self, contract: TableContract, old: int, new: int) -> dict[str, list[dict[str, Any]]]:
        """Return rows only in the new and only in the old version (``added``, ``removed``)."""
        before, after = self.read(contract, version=old), self.read(contract, version=new)
        comparable = [column.name for column in contract.columns if not column.kind.startswith("map")]
        first, second = before.select(comparable), after.select(comparable)
        return {
            "added": [row.asDict() for row in second.exceptAll(first).collect()],
            "removed": [row.asDict() for row in first.exceptAll(second).collect()],
        }

    def _conformed(self, contract: TableContract, rows: DataFrame) -> DataFrame:
        """Select the contract's columns by name, in its order and types."""
        from pyspark.sql import functions as sf

        from lab_assets.contracts.core import SPARK_TYPES

        return rows.select(*(sf.col(column.name).cast(SPARK_TYPES[column.kind]).alias(column.name) for column in contract.columns))
