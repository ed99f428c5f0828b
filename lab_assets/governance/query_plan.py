"""Running a query that was checked and rewritten: bounded in time, memory, rows and bytes, in this process or in another.

Belongs here: the plan as plain values, its execution and what is said when that fails. Does not belong here: who may ask what, and the
rewriting (``gateway.py``), the audit trail. Imports little: processes that only run queries load it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lab_assets.governance.snapshots import QueryTable, SnapshotCache

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_DATA_FILE: Final = re.compile(r"(?P<layer>[a-z]+)/(?P<table>[a-z_]+)/(?:[^/\"']+/)*[^/\"']+\.parquet")


class QueryRefusedError(ValueError):
    """The query is not run; the message says what is allowed."""


class QueryFailedError(RuntimeError):
    """An allowed query did not finish: too slow, too large, or an error in its values."""


@dataclass(frozen=True, kw_only=True)
class GatewayLimits:
    """What one query may take.

    Attributes:
        rows: Most rows of an answer.
        answer_bytes: Most bytes of an answer, in Arrow's form.
        seconds: Longest run.
        memory: Most memory of one snapshot's DuckDB.
        threads: Threads of one snapshot's DuckDB.
        snapshots: Snapshots kept open.
    """

    rows: int = 10_000
    answer_bytes: int = 128 * 1024 * 1024
    seconds: float = 30.0
    memory: str = "1GB"
    threads: int = 2
    snapshots: int = 8


@dataclass(frozen=True, kw_only=True)
class QueryPlan:
    """One allowed query, rewritten for one person; plain values, so that another process can be handed it.

    Attributes:
        text: Generated SQL, masks and row limit included; never what the person wrote.
        parameters: Values that it names.
        tables: What it reads.
        limits: What it may take.
        user: For whom.
        origin: Where from, for the audit trail.
        request_id: Id of the request, for the audit trail.
        masked_columns: Columns it touches whose values are hidden, ``layer.table.column``, with the tag that hides them.
    """

    text: str
    parameters: Mapping[str, Any]
    tables: tuple[QueryTable, ...]
    limits: GatewayLimits
    user: str
    origin: str = ""
    request_id: str = ""
    masked_columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def table_versions(self) -> dict[str, int | None]:
        """Delta version of each table; ``None`` for one nothing was written to yet."""
        return {table.name: table.version for table in self.tables}


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """The answer to one query.

    Attributes:
        columns: Names of the answer's columns; a name may repeat.
        types: DuckDB type of each.
        rows: The rows, one tuple each; times are zone-aware in UTC.
        masked_columns: Columns the query touches whose values are hidden, ``layer.table.column``, with the tag that hides them.
        tables: Tables read, ``layer.table``.
        table_versions: Delta version of each that was read; ``None`` for a table nothing was written to yet.
        truncated: Whether rows are missing because of the limits.
    """

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    masked_columns: dict[str, str] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    table_versions: dict[str, int | None] = field(default_factory=dict)
    truncated: bool = False


class QueryRunner:
    """Runs plans on snapshots that it keeps. Safe to share between threads; each query runs on a cursor of its own."""

    def __init__(self, limits: GatewayLimits) -> None:
        self._snapshots = SnapshotCache(size=limits.snapshots, memory=limits.memory, threads=limits.threads)

    def run(self, plan: QueryPlan) -> QueryResult:
        """Run one plan.

        Raises:
            QueryRefusedError: a name or type in it does not fit the tables.
            QueryFailedError: it was run and did not finish; where a table cannot be opened, its cause says why.
        """
        import duckdb

        try:
            snapshot = self._snapshots.get(plan.tables)
        except (duckdb.Error, RuntimeError) as error:  # a damaged table is a RuntimeError
            raise QueryFailedError(_unread(error)) from error
        try:
            with _timed(snapshot.cursor(), plan.limits.seconds) as cursor:
                columns, types, rows, truncated = _fetch(cursor.sql(plan.text, params=dict(plan.parameters)), plan.limits)
        except (duckdb.Error, OSError, ValueError, ArithmeticError) as error:  # Arrow wraps what fails while rows stream
            raise _explained(error, plan.limits) from None  # the cause may quote values or generated SQL
        return QueryResult(
            columns=columns,
            types=types,
            rows=rows,
            masked_columns=dict(plan.masked_columns),
            tables=[table.name for table in plan.tables],
            table_versions=plan.table_versions,
            truncated=truncated,
        )


def _fetch(answer: duckdb.DuckDBPyRelation, limits: GatewayLimits) -> tuple[list[str], list[str], list[tuple[Any, ...]], bool]:
    """Fetch batch by batch, up to the limits of rows and bytes."""
    rows: list[tuple[Any, ...]] = []
    kinds = [str(kind) for kind in answer.types]
    size, truncated = 0, False
    for batch in answer.to_arrow_reader(1000):
        values = [_values(column, kind) for column, kind in zip(batch.columns, kinds, strict=True)]
        rows += list(zip(*values, strict=True))
        size += batch.nbytes
        if size > limits.answer_bytes or len(rows) > limits.rows:
            truncated = True
            break
    return list(answer.columns), kinds, rows[: limits.rows], truncated


@contextmanager
def _timed(cursor: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Interrupt the cursor when its time is over; close it in any case."""
    timer = threading.Timer(seconds, cursor.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield cursor
    finally:
        timer.cancel()
        cursor.close()


def _values(column: pa.Array, kind: str) -> list[Any]:
    """Return a column's values; sums of whole numbers (HUGEINT), which Arrow hands over as decimals, stay whole numbers."""
    values = column.to_pylist(maps_as_pydicts="strict")
    return [None if value is None else int(value) for value in values] if kind == "HUGEINT" else values


def too_much_memory(limits: GatewayLimits) -> QueryFailedError:
    """Return what is said of a query that needs more memory than it may take."""
    return QueryFailedError(f"the query needs more than {limits.memory} of memory; narrow it down")


def process_ended(limits: GatewayLimits) -> QueryFailedError:
    """Return what is said of a query whose process ended under it."""
    return QueryFailedError(f"the process of the query ended, most often for want of memory ({limits.memory}); narrow it down or ask again")


def too_slow(limits: GatewayLimits) -> QueryFailedError:
    """Return what is said of a query whose time is over."""
    return QueryFailedError(f"the query was stopped after {limits.seconds:g} s; narrow it down")


def _unread(error: Exception) -> str:
    """Say which table has a data file that cannot be read; the file is for the administrator, who finds it in the log and by a scrub."""
    found = _DATA_FILE.search(str(error))
    table = f"{found['layer']}.{found['table']}" if found else "a table"
    return f"a data file of {table} cannot be read; tell the administrator: 'lab scrub' names the file and 'lab doctor' says what is wrong"


def _explained(error: Exception, limits: GatewayLimits) -> Exception:
    """Return what the person sees: names may be quoted, values and generated SQL never."""
    import duckdb

    if isinstance(error, duckdb.BinderException | duckdb.CatalogException | duckdb.ParserException):
        lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith(("LINE", " "))]
        first = lines[0][:300] if lines and "lab_" not in lines[0] else "a name or type in it does not fit"
        return QueryRefusedError(f"the query does not fit the tables: {first}")
    streamed = str(error)[:40].lower() if isinstance(error, OSError) else ""
    if isinstance(error, duckdb.InterruptException) or streamed.startswith("interrupt"):
        return too_slow(limits)
    if isinstance(error, duckdb.OutOfMemoryException) or streamed.startswith("out of memory"):
        return too_much_memory(limits)
    if isinstance(error, duckdb.IOException):
        return QueryFailedError(_unread(error))
    return QueryFailedError("the query failed on a value, such as a text that is not a number; try_cast and nullif help")
