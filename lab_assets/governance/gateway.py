"""The one door for people's SQL: checked, masked for the person who asks, run locked in, and in the audit trail.

Belongs here: the order of the steps and what is answered when one refuses. Does not belong here: each step (``sql.py``,
``policy.py``, ``masking.py``, ``relations.py``), web routes, printing.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Engine

from lab_assets.contracts.all_contracts import contracts
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.governance.mask_methods import INNER_KEY, OUTER_KEY, MaskKey
from lab_assets.governance.masking import masked_select, rewrite
from lab_assets.governance.policy import PolicyEngine, PolicyError, PolicyStore
from lab_assets.governance.relations import OpenTable, SnapshotCache, open_for_query
from lab_assets.governance.sql import CheckedQuery, QueryRefusedError, check_query, unknown_table
from lab_assets.lake.opening import DamagedTableError, ProtocolError
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import writing
from lab_assets.state.laboratory import digest_of_key, note_key, noted_key
from lab_assets.state.ledger import Ledger

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_SQL_IN_AUDIT: Final = 4000
_LOG: Final = logging.getLogger(__name__)


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


def _require_same_key(engine: Engine, key: MaskKey, path: Path) -> None:
    """Refuse a key of pseudonyms that is not the laboratory's: the same person would have another stand-in in each home or replica.

    Raises:
        EnvironmentFaultError: it is another one.
    """
    own = digest_of_key(key.inner)
    with engine.connect() as connection:
        known = noted_key(connection)
    if known is None:
        with writing(engine) as connection:
            known = note_key(connection, own)
    if known != own:
        raise EnvironmentFaultError(Kind.OTHER_KEY, str(path), f"(its digest begins with {own[:8]}, the laboratory's with {known[:8]})")


_DATA_FILE: Final = re.compile(r"(?P<layer>[a-z]+)/(?P<table>[a-z_]+)/(?:[^/\"']+/)*[^/\"']+\.parquet")


class QueryGateway:
    """Runs people's SQL. Safe to share between threads; each query runs on a cursor of its own."""

    def __init__(
        self, settings: Settings, engine: Engine, *, limits: GatewayLimits | None = None, policy: PolicyStore | None = None
    ) -> None:
        self._settings = settings
        self._limits = limits or GatewayLimits()
        self._policy = policy if policy is not None else PolicyStore(engine)
        self._log = AuditLog(engine)
        self._ledger = Ledger(engine)
        self._key = MaskKey.of(settings)
        _require_same_key(engine, self._key, settings.run / "mask.key")
        self._snapshots = SnapshotCache(size=self._limits.snapshots, memory=self._limits.memory, threads=self._limits.threads)

    def run(self, sql: str, *, user: str, origin: str = "", request_id: str = "") -> QueryResult:
        """Run one query as a person.

        Args:
            sql: One SELECT over ``layer.table``, DuckDB dialect.
            user: Account it is run as.
            origin: Where from, for the audit trail.
            request_id: Id of the request, for the audit trail.

        Raises:
            QueryRefusedError: it is not run; the message says what is allowed.
            QueryFailedError: it was run and did not finish.
        """
        record = partial(self._log.append, actor=user, origin=origin, request_id=request_id)
        try:
            query, policy = self._authorize(sql, user)
            tables = [self._open(name) for name in query.tables]
        except QueryRefusedError as error:
            record(action="query.refused", target="query", new={"sql": sql[:_SQL_IN_AUDIT], "why": str(error)})
            raise
        masks = {name: policy.masked_columns(user, name) for name in query.tables}
        masked = {f"{name}.{column}": tag for name, columns in masks.items() for column, tag in columns.items() if query.mentions(column)}
        versions = {table.contract.full_name: table.version for table in tables}
        done = {"sql": sql[:_SQL_IN_AUDIT], "tables": versions, "masked": masked}
        record(action="query.run", target=" ".join(query.tables) or "query", new=done)
        try:
            columns, types, rows, truncated = self._execute(query, tables, masks, policy)
        except (QueryRefusedError, QueryFailedError) as error:
            record(action="query.failed", target=" ".join(query.tables) or "query", new={"why": str(error)})
            raise
        return QueryResult(
            columns=columns,
            types=types,
            rows=rows,
            masked_columns=masked,
            tables=list(query.tables),
            table_versions=versions,
            truncated=truncated,
        )

    def _authorize(self, sql: str, user: str) -> tuple[CheckedQuery, PolicyEngine]:
        """Check person, query and tables, in that order: who is unknown learns nothing about the query."""
        try:
            policy = self._policy.current()
        except PolicyError as error:
            raise QueryRefusedError("the policy cannot be loaded, so nothing is allowed; tell the administrator") from error
        account = policy.users.get(user)
        if account is None:
            raise QueryRefusedError(f"no user {user[:64]!r}: queries are run as an account of this laboratory (`lab user list`)")
        if account.disabled:
            raise QueryRefusedError(f"the account {user!r} is disabled")
        known = contracts()
        query = check_query(sql, known)
        for name in query.tables:
            if policy.decide(user, "SELECT", name).allowed:
                continue
            if not policy.decide(user, "BROWSE", name).allowed:
                raise unknown_table(name)
            owner = known[name].owner
            raise QueryRefusedError(f"{user} may not read {name}; it takes SELECT on it or its schema, and {owner} answers for it")
        return query, policy

    def _open(self, name: str) -> OpenTable:
        try:
            return open_for_query(self._settings, contracts()[name], self._ledger)
        except ProtocolError as error:
            raise QueryRefusedError(str(error)) from error
        except DamagedTableError as error:
            _LOG.exception("%s cannot be opened for queries", name)
            raise QueryFailedError(f"{name} is damaged and is not read until it is mended; tell the administrator") from error

    def _execute(
        self, query: CheckedQuery, tables: list[OpenTable], masks: dict[str, dict[str, str]], policy: PolicyEngine
    ) -> tuple[list[str], list[str], list[tuple[Any, ...]], bool]:
        """Run the rewritten query on a snapshot of its tables."""
        import duckdb

        try:
            snapshot = self._snapshots.get(tables)
        except duckdb.Error as error:
            _LOG.exception("tables %s cannot be opened for queries", query.tables)
            raise QueryFailedError(_unread(error)) from error
        relations = {
            name: masked_select(
                contracts()[name],
                snapshot.names[name],
                masked=hidden,
                methods={tag: policy.mask_method(tag) for tag in hidden.values()},
            )
            for name, hidden in masks.items()
        }
        text = rewrite(query, relations, row_limit=self._limits.rows + 1)
        keys = {INNER_KEY: self._key.inner, OUTER_KEY: self._key.outer}
        used = {name: value for name, value in keys.items() if f"${name}" in text}
        try:
            with self._timed(snapshot.cursor()) as cursor:
                return self._fetch(cursor.sql(text, params=used))
        except (duckdb.Error, OSError, ValueError, ArithmeticError) as error:  # Arrow wraps what fails while rows stream
            raise _explained(error, self._limits) from None  # the cause may quote values or generated SQL

    def _fetch(self, answer: duckdb.DuckDBPyRelation) -> tuple[list[str], list[str], list[tuple[Any, ...]], bool]:
        """Fetch batch by batch, up to the limits of rows and bytes."""
        rows: list[tuple[Any, ...]] = []
        kinds = [str(kind) for kind in answer.types]
        size, truncated = 0, False
        for batch in answer.to_arrow_reader(1000):
            values = [_values(column, kind) for column, kind in zip(batch.columns, kinds, strict=True)]
            rows += list(zip(*values, strict=True))
            size += batch.nbytes
            if size > self._limits.answer_bytes or len(rows) > self._limits.rows:
                truncated = True
                break
        return list(answer.columns), kinds, rows[: self._limits.rows], truncated

    @contextmanager
    def _timed(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
        """Interrupt the cursor when its time is over; close it in any case."""
        timer = threading.Timer(self._limits.seconds, cursor.interrupt)
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
        return QueryFailedError(f"the query was stopped after {limits.seconds:g} s; narrow it down")
    if isinstance(error, duckdb.OutOfMemoryException) or streamed.startswith("out of memory"):
        return QueryFailedError(f"the query needs more than {limits.memory} of memory; narrow it down")
    if isinstance(error, duckdb.IOException):
        return QueryFailedError(_unread(error))
    return QueryFailedError("the query failed on a value, such as a text that is not a number; try_cast and nullif help")
