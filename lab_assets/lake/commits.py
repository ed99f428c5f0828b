"""Commits of Arrow rows by ``deltalake``: milliseconds, and over at the latest when this process is.

Belongs here: append, overwrite, update and deletion of rows of one opened table, compaction, restore. Does not belong here: locks,
reading back (``writer.py``).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from lab_assets.lake.derivation import Derivation

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable

    from lab_assets.contracts.core import TableContract

ArrowRows: TypeAlias = "pa.Table | pa.RecordBatchReader"

MAINTENANCE: Final = Derivation(station="maintenance")
"""What commits state that change no row."""
_MOST_NAMED: Final = 100
"""Rows of an update that are named in its condition."""
COMMIT_ID: Final = "labCommit"
"""Entry of a commit's own description that no other commit has: by it a commit is found again in the log."""


def append(
    table: DeltaTable,
    contract: TableContract,
    rows: ArrowRows,
    *,
    transaction: tuple[str, int] | None = None,
    derivation: Derivation | None = None,
) -> str:
    """Append rows in one commit; a commit of no rows is made as well, so that its transaction is known.

    Args:
        table: The table, opened under its lock.
        contract: Its contract; rows are taken by name in its order and types.
        rows: Rows with the contract's columns.
        transaction: Writer's name and the number of its write, recorded in the commit.
        derivation: Where the rows came from, recorded in the commit.

    Returns:
        The commit's own identity, ``COMMIT_ID`` in the log.
    """
    from deltalake import write_deltalake

    commit = uuid.uuid4().hex
    write_deltalake(table, conformed(contract, rows, table), mode="append", commit_properties=_properties(commit, transaction, derivation))
    return commit


def overwrite(
    table: DeltaTable, contract: TableContract, rows: pa.Table, *, predicate: str | None = None, derivation: Derivation | None = None
) -> str | None:
    """Replace all rows, or those that a condition holds for, in one commit, and return its identity; ``None`` when nothing had to be done."""
    from deltalake import write_deltalake

    if predicate is not None and rows.num_rows == 0:
        return delete(table, predicate, derivation=derivation)
    commit = uuid.uuid4().hex
    properties = _properties(commit, derivation=derivation)
    write_deltalake(table, conformed(contract, rows, table), mode="overwrite", predicate=predicate, commit_properties=properties)
    return commit


def compact(table: DeltaTable, *, target_bytes: int, group_rows: int) -> str | None:
    """Put small files together in one commit that changes no row, and return its identity; ``None`` when there was nothing to do.

    Args:
        table: The table, opened under its lock.
        target_bytes: Files smaller than this are put together, up to this size, in the order in which they came.
        group_rows: Rows of a row group of the files that are written.
    """
    from deltalake import WriterProperties

    commit = uuid.uuid4().hex
    metrics = table.optimize.compact(
        target_size=target_bytes,
        writer_properties=WriterProperties(max_row_group_size=group_rows, compression="ZSTD", compression_level=4),
        commit_properties=_properties(commit, derivation=MAINTENANCE),
    )
    return commit if metrics["numFilesAdded"] else None


def set_properties(table: DeltaTable, properties: Mapping[str, str]) -> str:
    """Set table properties in one commit that changes no row, and return its identity."""
    commit = uuid.uuid4().hex
    table.alter.set_table_properties(
        dict(properties), raise_if_not_exists=False, commit_properties=_properties(commit, derivation=MAINTENANCE)
    )
    return commit


def restore(table: DeltaTable, version: int, derivation: Derivation) -> str:
    """Make an earlier version the latest one in one commit, and return its identity."""
    commit = uuid.uuid4().hex
    table.restore(version, commit_properties=_properties(commit, derivation=derivation))
    return commit


def delete(table: DeltaTable, predicate: str, *, derivation: Derivation | None = None) -> str | None:
    """Delete rows in one commit, and return its identity; ``None`` when there were none, since Delta then commits nothing."""
    commit = uuid.uuid4().hex
    metrics = table.delete(predicate, commit_properties=_properties(commit, derivation=derivation))
    return commit if metrics["num_removed_files"] else None


def delete_keys(table: DeltaTable, keys: pa.Table, *, derivation: Derivation | None = None) -> str | None:
    """Delete the rows that have one of some keys, in one commit, and return its identity; ``None`` when there were none.

    Args:
        table: The table, opened under its lock.
        keys: Columns that tell a row together; each key at most once.
        derivation: Why they go, recorded in the commit.
    """
    commit = uuid.uuid4().hex
    metrics = (
        table.merge(
            keys,
            " AND ".join(f"target.`{name}` = source.`{name}`" for name in keys.column_names),
            source_alias="source",
            target_alias="target",
            commit_properties=_properties(commit, derivation=derivation),
        )
        .when_matched_delete()
        .execute()
    )
    return commit if metrics["num_target_rows_deleted"] else None


def update(table: DeltaTable, key: str, rows: pa.Table, *, derivation: Derivation | None = None) -> str | None:
    """Write some columns of the rows that have a key, in one commit, and return its identity; ``None`` when no row had to be written.

    A few rows are named in a condition, by which a tenth of the time goes into finding their file. Many are joined by the key: a condition
    is kept in the log, where 200,000 names are six megabytes that every look at the history reads again.

    Args:
        table: The table, opened under its lock.
        key: Column that tells a row.
        rows: The key, each at most once, and the columns to be written.
        derivation: Where it came from, recorded in the commit.
    """
    commit = uuid.uuid4().hex
    if rows.num_rows <= _MOST_NAMED:
        changed = table.update(
            updates={f"`{name}`": _by_key(key, rows, name) for name in rows.column_names if name != key},
            predicate=f"`{key}` IN ({', '.join(map(_literal, rows.column(key).to_pylist()))})",
            commit_properties=_properties(commit, derivation=derivation),
        )
        return commit if changed["num_updated_rows"] else None
    values = {f"`{name}`": f"source.`{name}`" for name in rows.column_names if name != key}
    metrics = (
        table.merge(
            rows,
            f"target.`{key}` = source.`{key}`",
            source_alias="source",
            target_alias="target",
            commit_properties=_properties(commit, derivation=derivation),
        )
        .when_matched_update(values)
        .execute()
    )
    return commit if metrics["num_target_rows_updated"] else None


def _by_key(key: str, rows: pa.Table, name: str) -> str:
    """Return the SQL of one column's values by the key of their rows."""
    pairs = zip(rows.column(key).to_pylist(), rows.column(name).to_pylist(), strict=True)
    cases = " ".join(f"WHEN {_literal(of)} THEN {_literal(value)}" for of, value in pairs if value is not None)
    return f"CASE `{key}` {cases} ELSE NULL END" if cases else "NULL"


def _literal(value: object) -> str:
    """Return a text, a number or a moment as SQL."""
    if isinstance(value, datetime):
        return f"""arrow_cast('{value.astimezone(UTC).isoformat(timespec="microseconds")}', 'Timestamp(Microsecond, Some("UTC"))')"""
    return str(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"


def conformed(contract: TableContract, rows: ArrowRows, table: DeltaTable) -> ArrowRows:
    """Return rows with the contract's columns, by name, in its order and types; what else an older contract gave the table is empty."""
    import pyarrow as pa

    schema = contract.arrow_schema()
    gone = [each for each in pa.schema(table.schema().to_arrow()) if each.name not in schema.names]
    if isinstance(rows, pa.RecordBatchReader):
        named = rows.cast(schema) if rows.schema != schema else rows
        return _with_empty(named, gone) if gone else named
    named = rows.select(list(contract.column_names)).cast(schema)
    for each in gone:
        named = named.append_column(each, pa.nulls(named.num_rows, each.type))
    return named


def _with_empty(rows: pa.RecordBatchReader, fields: Sequence[pa.Field]) -> pa.RecordBatchReader:
    """Return batches with some columns more, in which nothing is."""
    import pyarrow as pa

    schema = pa.schema([*rows.schema, *fields])
    wider = (
        pa.RecordBatch.from_arrays([*batch.columns, *(pa.nulls(batch.num_rows, each.type) for each in fields)], schema=schema)
        for batch in rows
    )
    return pa.RecordBatchReader.from_batches(schema, wider)


def _properties(commit: str, transaction: tuple[str, int] | None = None, derivation: Derivation | None = None) -> CommitProperties:
    from deltalake import CommitProperties, Transaction

    transactions = None if transaction is None else [Transaction(app_id=transaction[0], version=transaction[1])]
    described = {} if derivation is None else derivation.metadata()
    return CommitProperties(custom_metadata={COMMIT_ID: commit, **described}, app_transactions=transactions)
