"""The same bytes under several names, in the tables: rows of a former name are taken away when another one counts.

Belongs here: what happens in bronze. Does not belong here: which name counts, and the ledger's rows (``lab_assets.state.namesakes``).

The rows under the name that counts are committed first, the former ones taken away after: a run that is killed in between has both, and
the next one takes the former ones away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import FILES, QUARANTINED_ROWS, READER_TABLES, SCHEMA_EVENTS
from lab_assets.failpoints import failpoint
from lab_assets.ingest.arrival_rows import file_row
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse, in_parallel
from lab_assets.provenance import code_version
from lab_assets.state.namesakes import as_duplicate, path_of
from lab_assets.state.station_work import CHECKED_FILES, CHECKED_TOTALS

if TYPE_CHECKING:
    from lab_assets.contracts.core import TableContract

_AT_ONCE: Final = 1000
"""Arrivals that one condition names: Delta's parser of conditions ends its process at some tens of thousands of names."""

Namesakes = Mapping[str, Sequence[Any]]
"""By digest, arrivals with the same bytes under other names, as rows of the ledger's table."""


def retire_names(lakehouse: Lakehouse, others: Namesakes, *, now: Mapping[str, Any], batch: int, run_id: str = "") -> dict[str, int]:
    """Take away rows that were read under other names, and say so in ``bronze.files``; repeating it changes nothing.

    Args:
        lakehouse: Tables and ledger.
        others: Arrivals of earlier batches with bytes that a batch has committed under the name that counts.
        now: By digest, the arrival under that name.
        batch: That batch.
        run_id: Run that the commits name.

    Returns:
        Version of each table that was written.
    """
    if not others:
        return {}
    derivation = Derivation(inputs={"files:batch": batch}, run_id=run_id, code_version=code_version())
    arrivals = [row for rows in others.values() for row in rows]
    versions = _take_rows(lakehouse, [row for row in arrivals if row.rows_parsed], derivation)
    failpoint("former_rows_gone")
    for start in range(0, len(arrivals), _AT_ONCE):
        some = arrivals[start : start + _AT_ONCE]
        rows = lakehouse.local_rows(FILES, [_duplicate_row(row, path_of(now[row.file_id])) for row in some])
        numbers = ", ".join(str(row.arrival_id) for row in some)
        versions[FILES.full_name] = lakehouse.replace_where(FILES, rows, f"arrival_id IN ({numbers})", derivation=derivation)
    for kept in (CHECKED_TOTALS, CHECKED_FILES):  # what the check goes on from counted the rows
        lakehouse.ledger.forget_progress(kept)
    return versions


def _take_rows(lakehouse: Lakehouse, former: Sequence[Any], derivation: Derivation) -> dict[str, int]:
    """Take away all rows that some arrivals brought."""
    if not former:
        return {}
    batches = ", ".join(str(batch) for batch in sorted({row.batch for row in former}))
    digests = ", ".join(f"'{row.file_id}'" for row in former)  # hexadecimal: nothing to escape
    predicate = f"ingest_batch IN ({batches}) AND source_sha256 IN ({digests})"
    brought = {name for row in former for name in row.rows_parsed}

    def take(table: TableContract) -> tuple[str, int]:
        return table.full_name, lakehouse.delete(table, predicate, derivation=derivation)

    tables = [table for table in READER_TABLES if table.name in brought]
    return dict(in_parallel([partial(take, table) for table in (*tables, QUARANTINED_ROWS, SCHEMA_EVENTS)]))


def _duplicate_row(arrival: Any, path: str) -> dict[str, Any]:
    """Return the row of ``bronze.files`` of an arrival that is, like others, a duplicate of the name that counts."""
    told = {**as_duplicate(path), "format": None, "rows_parsed": {}, "rows_rejected": {}, "warnings": []}
    return file_row(SimpleNamespace(**{**arrival._mapping, **told}), None, arrival.batch)  # noqa: SLF001 - SQLAlchemy's public name
