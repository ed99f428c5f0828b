"""Delta tables by contract, written: each write under the table's lock, by one commit that is read back.

Belongs here: every write of the product's tables. Does not belong here: what the rows mean, computing them.

The process that asks for a write commits it: rows come as Arrow, a bounded number at a time, and are committed by ``deltalake``. A
commit by a Spark server would outlive the process that asked for it, and the same work taken up by the next one would be committed
twice (ADR 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock

from lab_assets.contracts.core import TableContract
from lab_assets.lake import commits
from lab_assets.lake.data_files import committed_files, local_path
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.layout import layout_of
from lab_assets.lake.opening import is_remote, open_table, require_whole_log, require_writable
from lab_assets.lake.reader import LakeReader
from lab_assets.state.ledger import Ledger

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

T = TypeVar("T")


class CommitLostError(RuntimeError):
    """A commit that was reported is not in the table's log."""


class LakeWriter(LakeReader):
    """Writes the Delta tables of one laboratory."""

    @contextmanager
    def locked(self, contract: TableContract) -> Iterator[None]:
        """Hold the table's writer lock."""
        folder = self.settings.run / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{contract.full_name}.lock"):
            require_whole_log(contract.full_name, self.uri(contract), self.ledger)
            yield

    def append_once(
        self, contract: TableContract, rows: commits.ArrowRows, *, app: str, version: int, derivation: Derivation | None = None
    ) -> int:
        """Append rows; a second append with the same ``(app, version)`` changes nothing.

        Args:
            contract: Table.
            rows: Rows with the contract's columns, any order.
            app: Name of the writer; versions of one writer only grow.
            version: Number of the write.
            derivation: Where the rows came from.

        Returns:
            Version of the table afterwards.

        Raises:
            CommitLostError: the commit was reported, but the log does not show it.
        """
        with self.locked(contract):
            table = self._open_to_write(contract)
            last, before = table.transaction_version(app), table.version()
            if last is not None and last >= version:
                return self._noted(contract, table)
            commit = commits.append(table, contract, rows, transaction=(app, version), derivation=derivation)
            return self._read_back(contract, commit, above=before)

    def append(self, contract: TableContract, rows: pa.Table, *, derivation: Derivation | None = None) -> int:
        """Append rows that are new by construction (the caller left out keys that exist).

        Returns:
            Version of the table afterwards.
        """
        with self.locked(contract):
            table = self._open_to_write(contract)
            before = table.version()
            if rows.num_rows == 0:
                return self._noted(contract, table)
            return self._read_back(contract, commits.append(table, contract, rows, derivation=derivation), above=before)

    def replace(self, contract: TableContract, rows: pa.Table, *, derivation: Derivation | None = None) -> int:
        """Replace all rows in one commit; earlier versions stay readable.

        Returns:
            Version of the table afterwards.
        """
        return self._committed(contract, lambda table: commits.overwrite(table, contract, rows, derivation=derivation))

    def replace_where(self, contract: TableContract, rows: pa.Table, predicate: str, *, derivation: Derivation | None = None) -> int:
        """Replace the rows that a condition holds for, in one commit; only files that hold such rows are written anew.

        Args:
            contract: Table.
            rows: What stands in their place; the condition holds for each. May be empty.
            predicate: SQL condition.
            derivation: Where the rows came from.

        Returns:
            Version of the table afterwards.
        """
        return self._committed(contract, lambda table: commits.overwrite(table, contract, rows, predicate=predicate, derivation=derivation))

    def update(self, contract: TableContract, key: str, rows: pa.Table, *, derivation: Derivation | None = None) -> int:
        """Write some columns of many rows in one commit, by a key; only files that hold such rows are written anew.

        Args:
            contract: Table.
            key: Column that tells a row.
            rows: The key, each at most once, and the columns to be written; a key that the table does not hold is left out.
            derivation: Where it came from.

        Returns:
            Version of the table afterwards.
        """
        return self._committed(contract, lambda table: commits.update(table, key, rows, derivation=derivation))

    def delete(self, contract: TableContract, predicate: str, *, derivation: Derivation | None = None) -> int:
        """Delete rows in one commit; earlier versions stay readable.

        Args:
            contract: Table.
            predicate: SQL condition of the rows.
            derivation: Why they go, as what the commit was made from.

        Returns:
            Version of the table afterwards.
        """
        return self._committed(contract, lambda table: commits.delete(table, predicate, derivation=derivation))

    def delete_keys(self, contract: TableContract, keys: pa.Table, *, derivation: Derivation | None = None) -> int:
        """Delete the rows that have one of some keys in one commit; earlier versions stay readable.

        Args:
            contract: Table.
            keys: Columns that tell a row together; each key at most once.
            derivation: Why they go, as what the commit was made from.

        Returns:
            Version of the table afterwards.
        """
        return self._committed(contract, lambda table: commits.delete_keys(table, keys, derivation=derivation))

    def compact(self, contract: TableContract, *, target_bytes: int | None = None) -> int:
        """Put a table's small files together; no row changes, and earlier versions keep their files.

        Args:
            contract: Table.
            target_bytes: Files smaller than this are put together; default: the size of the table's layout.

        Returns:
            Version of the table afterwards.
        """
        layout = layout_of(contract)
        return self._committed(
            contract, lambda table: commits.compact(table, target_bytes=target_bytes or layout.file_bytes, group_rows=layout.group_rows)
        )

    def set_properties(self, contract: TableContract, properties: Mapping[str, str]) -> int:
        """Set some of a table's properties.

        Returns:
            Version of the table afterwards.
        """
        return self._committed(contract, lambda table: commits.set_properties(table, properties))

    def checkpoint(self, contract: TableContract) -> None:
        """Write a checkpoint of a table's last version, so that opening it reads no commit before it."""
        with self.locked(contract):
            table = self._open_to_write(contract)
            table.create_checkpoint()
            uri, version = self.uri(contract), self._noted(contract, table)
            if not is_remote(uri):
                self.ledger.note_table_commit(contract.full_name, version, committed_files(local_path(uri), version, version))

    def restore(self, contract: TableContract, version: int) -> int:
        """Make an earlier version the latest one, as a new commit; later versions stay readable.

        Returns:
            Version of the table afterwards.
        """
        with self.locked(contract):
            table = self._opened_as_it_is(contract)
            before = table.version()
            self._require_past(contract, version)
            inputs: dict[str, int | str] = {contract.full_name: version}
            return self._read_back(contract, commits.restore(table, version, Derivation(inputs=inputs)), above=before)

    def _open_to_write(self, contract: TableContract) -> DeltaTable:
        table = self.open(contract)
        require_writable(contract.full_name, table)
        return table

    def _opened_as_it_is(self, contract: TableContract) -> DeltaTable:
        """Open a table whatever columns another program gave it: what it wrote is about to be taken back."""
        return open_table(contract, self.uri(contract), self.ledger) or self.open(contract)

    def give_up(self, contract: TableContract) -> Path | None:
        """Lay what is left of a damaged table aside and forget its versions, so that it begins anew, empty.

        Returns:
            Where it lies now; ``None`` where nothing was left.

        Raises:
            ValueError: the table lies on object storage, where nothing is laid aside by us.
        """
        uri = self.uri(contract)
        if is_remote(uri):
            raise ValueError(f"{contract.full_name} lies on object storage: restore it there")
        folder = local_path(uri)
        aside = folder.with_name(f".{folder.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}")
        locks = self.settings.run / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{contract.full_name}.lock"):
            is_left = folder.exists()
            if is_left:
                folder.rename(aside)
            self.ledger.forget_table(contract.full_name)
            self._forget(contract)
        return aside if is_left else None

    def local_rows(self, contract: TableContract, rows: Sequence[dict[str, Any]]) -> pa.Table:
        """Turn rows of this process into Arrow of the contract's schema; columns that a row does not name are empty."""
        import pyarrow as pa

        filled = [{name: row.get(name) for name in contract.column_names} for row in rows]
        return pa.Table.from_pylist(filled, schema=contract.arrow_schema())

    def _committed(self, contract: TableContract, commit: Callable[[DeltaTable], str | None]) -> int:
        """Make a commit under the table's lock, read it back, and return the version of the table afterwards.

        Args:
            contract: Table.
            commit: Makes it, and returns its identity; ``None`` where there was nothing to commit.
        """
        with self.locked(contract):
            table = self._open_to_write(contract)
            before = table.version()
            return self._read_back(contract, commit(table), above=before)

    def _read_back(self, contract: TableContract, commit: str | None, *, above: int) -> int:
        """Open the table again, still under its lock, and see that the commit is in the log beyond a version.

        A writer that does not know our lock, such as another program, may commit at the same moment.
        """
        table = self._keep(contract, self.open(contract))
        if commit is not None:
            later = table.history(table.version() - above) if table.version() > above else []
            if commit not in {entry.get(commits.COMMIT_ID) for entry in later}:
                raise CommitLostError(
                    f"{contract.full_name}: a commit was reported, but the log up to version {table.version()} does not hold it"
                )
        return self._noted(contract, table)

    def _noted(self, contract: TableContract, table: DeltaTable) -> int:
        """Give the ledger the table's version, and the digests of the files that came with it."""
        version = table.version()
        note_commits(self.ledger, contract, self.uri(contract), version)
        return version


def note_commits(ledger: Ledger, contract: TableContract, uri: str, version: int) -> None:
    """Give the ledger a table's version, and the digests of the files that came with it since the last one it knows.

    Args:
        ledger: The ledger.
        contract: The table.
        uri: Where it lies.
        version: Its last version.
    """
    before = ledger.noted_version(contract.full_name)
    if before != version:
        first = 0 if before is None else before + 1
        files = [] if is_remote(uri) else committed_files(local_path(uri), first, version)
        ledger.note_table_commit(contract.full_name, version, files)


def in_parallel(work: Sequence[Callable[[], T]], *, threads: int = 4) -> list[T]:
    """Run independent writes from threads of one session; the first error is raised after all have ended."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=threads) as pool:
        futures = [pool.submit(task) for task in work]
        return [future.result() for future in futures]
