"""Ledger, raw store and tables held against each other before anything new is taken.

Belongs here: finding and mending what a kill, a restored backup or a lost ledger left. Does not belong here: unfinished batches
of this ledger, which ingestion itself goes on with (``ingestor.py``); whether bytes are still what they were (``scrub.py``).

Each commit of ingestion carries its batch number, and ``bronze.files`` is committed last. So there are three differences:

* tables know batches that the ledger does not, and ``bronze.files`` has them: the ledger is older than the lake (restored from a
  backup). The ledger learns them from ``bronze.files``.
* a table knows a batch that ``bronze.files`` and the ledger do not: the ledger was lost in the middle of a batch. The rows are
  taken away again; their files are still in the inbox or the raw store and come in as a new batch.
* the ledger knows batches that ``bronze.files`` does not: the lake is older than the ledger. That is data loss until a person
  says otherwise: nothing is written, and ``lab reconcile --accept-lake`` has the kept originals read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update

from lab_assets.contracts.bronze import FILES, QUARANTINED_ROWS, READER_TABLES, SCHEMA_EVENTS
from lab_assets.ingest.arrival_rows import counts_of
from lab_assets.ingest.raw_store import RawStore
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse, in_parallel
from lab_assets.provenance import code_version
from lab_assets.state.database import utc_text, writing
from lab_assets.state.ledger import SYSTEM, Ledger
from lab_assets.state.ledger_tables import (
    ARRIVALS,
    CURRENT_PATHS,
    DATA_FILES,
    INGEST_BATCHES,
    QUARANTINE_EVENTS,
    STATION_PROGRESS,
    TABLE_COMMITS,
)
from lab_assets.state.station_work import Attention

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.contracts.core import TableContract

_TABLES: Final = (*READER_TABLES, QUARANTINED_ROWS, SCHEMA_EVENTS, FILES)
_REPLAY: Final = "ingest:replay"
"""Name under which the ledger keeps which tables are being made anew from the originals."""


class LakeBehindError(RuntimeError):
    """Tables hold less than the ledger says was committed."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far ledger and tables are.

    Attributes:
        ledger: Highest batch number the ledger has given, 0 for none.
        committed: Highest batch the ledger calls committed.
        tables: Highest batch each bronze table has, by full name.
    """

    ledger: int
    committed: int
    tables: dict[str, int]

    @property
    def files(self) -> int:
        """Highest batch that is whole in the lake: ``bronze.files`` has it."""
        return self.tables[FILES.full_name]


def tables_being_replayed(ledger: Ledger) -> list[str]:
    """Return the tables whose rows are being read again from the originals: until that has ended they hold less than was committed."""
    return [key for _, key in ledger.attention(_REPLAY)]


def note_replay(ledger: Ledger, tables: Sequence[str], reason: str) -> None:
    """Record that tables are about to be made anew from the originals; nothing is ingested until ``end_replay``."""
    ledger.call_attention([Attention(station=_REPLAY, kind="table", key=name, reason=reason) for name in tables])


def end_replay(ledger: Ledger) -> None:
    """Record that every table whose rows were read again is whole."""
    ledger.attended(_REPLAY, ledger.attention(_REPLAY))


class Reconciler:
    """Compares and mends, under the lock of ingestion."""

    def __init__(self, lakehouse: Lakehouse, raw: RawStore) -> None:
        self.lakehouse = lakehouse
        self.ledger = lakehouse.ledger
        self.raw = raw

    def standing(self) -> Standing:
        """Return how far the ledger and each table are; no rows are read."""
        columns = INGEST_BATCHES.c
        with self.ledger.engine.connect() as connection:
            ledger = connection.execute(select(func.max(columns.batch))).scalar_one() or 0
            committed = connection.execute(select(func.max(columns.batch)).where(columns.state == "committed")).scalar_one() or 0

        def batch_of(table: TableContract) -> tuple[str, int]:
            return table.full_name, self.lakehouse.transaction_version(table, f"ingest:{table.full_name}") or 0

        tables = dict(in_parallel([partial(batch_of, table) for table in _TABLES]))
        return Standing(ledger=ledger, committed=committed, tables=tables)

    def settle(self) -> list[str]:
        """Mend what can be mended without a person.

        Returns:
            What was done, for people; empty nearly always.

        Raises:
            LakeBehindError: tables hold less than the ledger says was committed.
        """
        lines: list[str] = []
        if swept := self.raw.sweep():
            lines.append(f"{swept} half-copied file(s) of a killed run removed")
        if unfinished := tables_being_replayed(self.ledger):
            raise LakeBehindError(
                f"{', '.join(unfinished)}: being made anew from the originals was interrupted; run 'lab restore --lake-from-raw' again, "
                "which goes on where it stopped"
            )
        standing = self.standing()
        if standing.files < standing.committed:
            raise LakeBehindError(
                f"the ledger has committed batch {standing.committed}, {FILES.full_name} ends at batch {standing.files}: the tables were "
                "put back to an earlier state. Put the ledger of the same day back, or run 'lab reconcile --accept-lake --reason ...' to "
                "have the kept originals read again; where tables are lost, 'lab restore --lake-from-raw' makes them anew"
            )
        if standing.files > standing.ledger:
            lines.append(self._adopt(standing))
        known = max(standing.ledger, standing.files)
        if orphans := {name: batch for name, batch in standing.tables.items() if batch > known}:
            lines.append(self._undo(orphans, known))
        return lines

    def _adopt(self, standing: Standing) -> str:
        """Let the ledger learn the batches that ``bronze.files`` has and it does not."""
        import polars as pl

        rows = self.lakehouse.polars(FILES, where=pl.col("ingest_batch") > standing.ledger)
        rows = rows.sort(pl.coalesce("path_revision", "ingest_batch"), "arrival_id")  # a path holds what it came to hold last
        with writing(self.ledger.engine) as connection:
            # a batch is opened when its last arrival is there: what its rows carry as their time is at least that
            for batch, arrived in rows.group_by("ingest_batch").agg(pl.col("arrived_at_utc").max()).sort("ingest_batch").rows():
                opened_at = arrived.isoformat(timespec="microseconds")
                values = {"batch": batch, "state": "committed", "opened_at": opened_at, "committed_at": utc_text(), "table_versions": {}}
                connection.execute(insert(INGEST_BATCHES).values(**values))
            self._renumber(connection, rows)
            for row in rows.iter_rows(named=True):
                self._adopt_arrival(connection, row)
            batches = f"{standing.ledger + 1} to {standing.files}"
            self._audit(connection, "ledger.adopt", {"batches": batches, "arrivals": rows.height}, "the ledger was older than the tables")
        return f"the ledger was older than the tables: batches {batches} with {rows.height} arrival(s) learnt from {FILES.full_name}"

    def _renumber(self, connection: Connection, rows: pl.DataFrame) -> None:
        """Give arrivals of this ledger other numbers where ``bronze.files`` has given theirs to other files.

        A ledger that was put back counts on from an earlier number: what was recorded, or given back to ingestion, before the tables were
        looked at has the number of something else, and would be taken for it and lost.
        """
        named = {row["arrival_id"]: (row["source"], row["file_name"], row["file_id"]) for row in rows.iter_rows(named=True)}
        held = connection.execute(select(ARRIVALS).where(ARRIVALS.c.arrival_id >= min(named, default=0))).all()
        last = max((*named, *(row.arrival_id for row in held)), default=0)
        for row in held:
            if named.get(row.arrival_id, (row.source, row.file_name, row.file_id)) == (row.source, row.file_name, row.file_id):
                continue
            last += 1
            connection.execute(insert(ARRIVALS).values(**dict(row._mapping) | {"arrival_id": last}))  # noqa: SLF001 - SQLAlchemy's public name
            for column in (CURRENT_PATHS.c.arrival_id, QUARANTINE_EVENTS.c.arrival_id, ARRIVALS.c.retry_of):
                connection.execute(update(column.table).where(column == row.arrival_id).values({column.name: last}))
            connection.execute(delete(ARRIVALS).where(ARRIVALS.c.arrival_id == row.arrival_id))

    def _adopt_arrival(self, connection: Connection, row: dict[str, Any]) -> None:
        copied = (
            "arrival_id",
            "source",
            "file_name",
            "file_id",
            "state",
            "format",
            "rule",
            "reason",
            "place",
            "supersedes",
            "duplicate_of",
            "revises_path",
            "revises_revision",
        )
        values = {name: row[name] for name in copied} | {
            "size": row["bytes"],
            "batch": row["ingest_batch"],
            "path_revision": row["path_revision"] or row["ingest_batch"],
            "member_of": row["member_of"],
            "reason": (row["reason"] or "").removeprefix(f"{row['rule']}: ") or None,
            "warnings": list(row["warnings"] or []),
            "rows_parsed": counts_of(row["rows_parsed"]),
            "rows_rejected": counts_of(row["rows_rejected"]),
            "arrived_at": row["arrived_at_utc"].isoformat(timespec="microseconds"),
        }
        known = connection.execute(update(ARRIVALS).where(ARRIVALS.c.arrival_id == row["arrival_id"]).values(**values))
        if known.rowcount == 0:
            connection.execute(insert(ARRIVALS).values(**values))
        # times of zero: the next look reads the file again and finds the same bytes, which is no arrival
        path = {name: values[name] for name in ("source", "file_name", "file_id", "arrival_id")}
        self.ledger.set_path(connection, {**path, "size": row["bytes"] or 0, "mtime_ns": 0, "ctime_ns": 0})

    def _undo(self, orphans: dict[str, int], known: int) -> str:
        """Take away rows of a batch that neither ``bronze.files`` nor the ledger knows, and never give its number again."""
        known_last = Derivation(inputs={"files:batch": known}, code_version=code_version())
        for table in _TABLES:
            if table.full_name in orphans:
                self.lakehouse.delete(table, f"ingest_batch > {known}", derivation=known_last)
        last = max(orphans.values())
        with writing(self.ledger.engine) as connection:
            values = {"batch": last, "state": "committed", "opened_at": utc_text(), "committed_at": utc_text(), "table_versions": {}}
            connection.execute(insert(INGEST_BATCHES).values(**values))
            self._audit(connection, "ledger.undo", orphans, "rows of a batch that no ledger knows were taken away; their files come again")
        return f"rows of batch {last}, which no ledger knows, were taken away from {', '.join(orphans)}; their files come in again"

    def accept_lake(self, *, by: str, reason: str) -> int:
        """Take tables that were put back to an earlier state for the truth, and have what they lack read again from the originals.

        Args:
            by: Who decides.
            reason: Why.

        Returns:
            How many arrivals will be read again.
        """
        self._accept_versions()
        standing = self.standing()
        with writing(self.ledger.engine) as connection:
            lacking = INGEST_BATCHES.c.batch > standing.files
            batches = select(INGEST_BATCHES.c.batch).where(lacking)
            again = connection.execute(
                update(ARRIVALS).where(ARRIVALS.c.batch.in_(batches), ARRIVALS.c.state == "committed").values(state="received")
            )
            connection.execute(update(INGEST_BATCHES).where(lacking).values(state="open"))
            change = {"from": standing.committed, "to": standing.files, "arrivals": again.rowcount}
            self._audit(connection, "lake.accept", change, reason, actor=by)
            return again.rowcount

    def _accept_versions(self) -> None:
        """Note the versions that tables have now, and let every station begin anew: its work is repeated, not doubled."""
        with self.ledger.engine.connect() as connection:
            noted = dict(connection.execute(select(TABLE_COMMITS.c.table_name, TABLE_COMMITS.c.version)).tuples().all())
        versions = self.lakehouse.versions_as_they_are(list(noted))
        behind = {name: version for name, version in versions.items() if version < noted[name]}
        with writing(self.ledger.engine) as connection:
            for name, version in behind.items():
                connection.execute(update(TABLE_COMMITS).where(TABLE_COMMITS.c.table_name == name).values(version=version))
                given_up = (DATA_FILES.c.table_name == name) & (DATA_FILES.c.version > version)
                connection.execute(delete(DATA_FILES).where(given_up))
            if behind:
                connection.execute(update(STATION_PROGRESS).values(version=0))

    def _audit(self, connection: Connection, action: str, new: Any, reason: str, *, actor: str = SYSTEM) -> None:
        from lab_assets.state.audit_chain import AuditLog

        log = AuditLog(self.ledger.engine)
        log.append(connection, actor=actor, action=action, target="ledger", new=new, reason=reason, origin="reconciler")
