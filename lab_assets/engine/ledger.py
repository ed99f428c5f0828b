"""The ingestion ledger: the truth about what arrived and what became of it.

Belongs here: transitions between states, each in one transaction. Does not belong here: files, Spark, Delta.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lab_assets.engine.database import writing
from lab_assets.engine.ledger_tables import (
    ARRIVALS,
    CURRENT_PATHS,
    INGEST_BATCHES,
    LINEAGE_OUTBOX,
    STATION_PROGRESS,
    STATION_QUEUE,
    TABLE_COMMITS,
)

_REPORTED: Final = "lineage"
"""Station under which the versions told of in the lineage are kept."""


@dataclass(frozen=True, kw_only=True)
class NewArrival:
    """One arrival to be recorded."""

    source: str
    file_name: str
    size: int
    mtime_ns: int
    ctime_ns: int
    file_id: str
    state: str = "received"
    rule: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one arrival of a batch."""

    arrival_id: int
    state: str
    format: str | None = None
    rule: str | None = None
    reason: str | None = None
    place: str | None = None
    warnings: Sequence[str] = ()
    rows_parsed: Mapping[str, int] = field(default_factory=dict)
    rows_rejected: Mapping[str, int] = field(default_factory=dict)


def utc_text() -> str:
    """Return the time now as ISO text in UTC with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Ledger:
    """Reads and transitions over the relational state."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def taken_paths(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """Return size, mtime_ns and ctime_ns of each path when it was last taken."""
        columns = CURRENT_PATHS.c
        query = select(columns.source, columns.file_name, columns.size, columns.mtime_ns, columns.ctime_ns)
        with self.engine.connect() as connection:
            return {(row[0], row[1]): (row[2], row[3], row[4]) for row in connection.execute(query)}

    def record(self, arrivals: Sequence[NewArrival]) -> list[int]:
        """Record arrivals; bytes known before become duplicates, other bytes under a known path supersede.

        The same bytes under the same path (a touched file) are no arrival: only the path's times are brought up to date.

        Returns:
            Identities of the arrivals that wait to be read.
        """
        waiting: list[int] = []
        with writing(self.engine) as connection:
            for arrival in arrivals:
                arrival_id = self._record_one(connection, arrival)
                if arrival_id is not None:
                    waiting.append(arrival_id)
        return waiting

    def _record_one(self, connection: Connection, arrival: NewArrival) -> int | None:
        previous = connection.execute(
            select(CURRENT_PATHS.c.file_id, CURRENT_PATHS.c.arrival_id).where(
                CURRENT_PATHS.c.source == arrival.source, CURRENT_PATHS.c.file_name == arrival.file_name
            )
        ).one_or_none()
        if previous is not None and previous.file_id == arrival.file_id and arrival.state == "received":
            self._set_path(connection, arrival, previous.arrival_id)
            return None
        first = None
        if arrival.file_id and arrival.state == "received":
            first = connection.execute(
                select(ARRIVALS.c.source, ARRIVALS.c.file_name)
                .where(ARRIVALS.c.file_id == arrival.file_id, ARRIVALS.c.state.in_(("received", "committed", "quarantined")))
                .order_by(ARRIVALS.c.arrival_id)
                .limit(1)
            ).one_or_none()
        state = "duplicate" if first is not None else arrival.state
        duplicate_of = f"{first.source}/{first.file_name}" if first is not None else None
        arrival_id = connection.execute(
            insert(ARRIVALS).values(
                source=arrival.source,
                file_name=arrival.file_name,
                size=arrival.size,
                mtime_ns=arrival.mtime_ns,
                ctime_ns=arrival.ctime_ns,
                file_id=arrival.file_id,
                state=state,
                rule=arrival.rule,
                reason=f"same bytes as {duplicate_of}" if duplicate_of else arrival.reason,
                supersedes=previous.file_id if previous is not None and previous.file_id else None,
                duplicate_of=duplicate_of,
                arrived_at=utc_text(),
            )
        ).inserted_primary_key
        assert arrival_id is not None  # noqa: S101 - an insert of one row always has its key
        self._set_path(connection, arrival, int(arrival_id[0]))
        return int(arrival_id[0]) if state == "received" else None

    def _set_path(self, connection: Connection, arrival: NewArrival, arrival_id: int) -> None:
        values = {
            "source": arrival.source,
            "file_name": arrival.file_name,
            "size": arrival.size,
            "mtime_ns": arrival.mtime_ns,
            "ctime_ns": arrival.ctime_ns,
            "file_id": arrival.file_id,
            "arrival_id": arrival_id,
        }
        self._upsert(connection, CURRENT_PATHS, values, ("source", "file_name"))

    def open_batch(self, limit: int) -> int | None:
        """Put waiting arrivals, and finished ones not yet in ``bronze.files``, into a new batch; ``None`` when there are none."""
        with writing(self.engine) as connection:
            waiting = list(
                connection.execute(
                    select(ARRIVALS.c.arrival_id).where(ARRIVALS.c.batch.is_(None)).order_by(ARRIVALS.c.arrival_id).limit(limit)
                ).scalars()
            )
            if not waiting:
                return None
            key = connection.execute(
                insert(INGEST_BATCHES).values(state="open", opened_at=utc_text(), table_versions={})
            ).inserted_primary_key
            assert key is not None  # noqa: S101 - an insert of one row always has its key
            batch = int(key[0])
            for start in range(0, len(waiting), 500):
                chunk = waiting[start : start + 500]
                connection.execute(update(ARRIVALS).where(ARRIVALS.c.arrival_id.in_(chunk)).values(batch=batch))
            return batch

    def unfinished_batches(self) -> list[tuple[int, str]]:
        """Return batches that a killed run left, oldest first, with their state."""
        query = (
            select(INGEST_BATCHES.c.batch, INGEST_BATCHES.c.state)
            .where(INGEST_BATCHES.c.state != "committed")
            .order_by(INGEST_BATCHES.c.batch)
        )
        with self.engine.connect() as connection:
            return [(row.batch, row.state) for row in connection.execute(query)]

    def batch_arrivals(self, batch: int) -> list[Any]:
        """Return the arrivals of a batch, as rows of the arrivals table."""
        with self.engine.connect() as connection:
            return list(connection.execute(select(ARRIVALS).where(ARRIVALS.c.batch == batch).order_by(ARRIVALS.c.arrival_id)))

    def mark_staged(self, batch: int) -> None:
        """Record that every file of the batch was read and its rows lie staged."""
        with writing(self.engine) as connection:
            connection.execute(update(INGEST_BATCHES).where(INGEST_BATCHES.c.batch == batch).values(state="staged"))

    def commit_batch(self, batch: int, outcomes: Sequence[Outcome], table_versions: Mapping[str, int]) -> None:
        """Record what became of each arrival and that its rows are in Delta."""
        with writing(self.engine) as connection:
            for outcome in outcomes:
                connection.execute(
                    update(ARRIVALS)
                    .where(ARRIVALS.c.arrival_id == outcome.arrival_id)
                    .values(
                        state=outcome.state,
                        format=outcome.format,
                        rule=outcome.rule,
                        reason=outcome.reason,
                        place=outcome.place,
                        warnings=list(outcome.warnings),
                        rows_parsed=dict(outcome.rows_parsed),
                        rows_rejected=dict(outcome.rows_rejected),
                    )
                )
            connection.execute(
                update(INGEST_BATCHES)
                .where(INGEST_BATCHES.c.batch == batch)
                .values(state="committed", committed_at=utc_text(), table_versions=dict(table_versions))
            )

    def counts(self) -> dict[str, int]:
        """Return the number of arrivals by state."""
        with self.engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(select(ARRIVALS.c.state, func.count()).group_by(ARRIVALS.c.state))}

    def waiting_arrivals(self) -> int:
        """Return the number of arrivals that are in no batch yet: recorded by an interrupted run, or given back by a retry."""
        with self.engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(ARRIVALS).where(ARRIVALS.c.batch.is_(None))).scalar_one())

    def recorded_arrivals(self) -> int:
        """Return the number of arrivals that committed batches recorded in ``bronze.files``."""
        query = select(func.count()).select_from(ARRIVALS.join(INGEST_BATCHES, ARRIVALS.c.batch == INGEST_BATCHES.c.batch))
        with self.engine.connect() as connection:
            return int(connection.execute(query.where(INGEST_BATCHES.c.state == "committed")).scalar_one())

    def quarantined(self) -> list[Any]:
        """Return quarantined arrivals, newest first."""
        with self.engine.connect() as connection:
            return list(
                connection.execute(select(ARRIVALS).where(ARRIVALS.c.state == "quarantined").order_by(ARRIVALS.c.arrival_id.desc()))
            )

    def retry(self, arrival_ids: Sequence[int]) -> int:
        """Let quarantined arrivals be read again; the old row stays as ``discarded`` history of the retry."""
        with writing(self.engine) as connection:
            rows = list(
                connection.execute(select(ARRIVALS).where(ARRIVALS.c.arrival_id.in_(list(arrival_ids)), ARRIVALS.c.state == "quarantined"))
            )
            for row in rows:
                connection.execute(update(ARRIVALS).where(ARRIVALS.c.arrival_id == row.arrival_id).values(state="discarded"))
                connection.execute(
                    insert(ARRIVALS).values(
                        source=row.source,
                        file_name=row.file_name,
                        size=row.size,
                        mtime_ns=row.mtime_ns,
                        ctime_ns=row.ctime_ns,
                        file_id=row.file_id,
                        state="received",
                        supersedes=row.supersedes,
                        arrived_at=utc_text(),
                        retry_of=row.arrival_id,
                    )
                )
            return len(rows)

    def discard(self, arrival_ids: Sequence[int], reason: str) -> int:
        """Close quarantined arrivals for good, with the reason."""
        with writing(self.engine) as connection:
            done = connection.execute(
                update(ARRIVALS)
                .where(ARRIVALS.c.arrival_id.in_(list(arrival_ids)), ARRIVALS.c.state == "quarantined")
                .values(state="discarded", reason=ARRIVALS.c.reason + f" | discarded: {reason}")
            )
            return done.rowcount

    def progress(self, station: str) -> dict[str, int]:
        """Return, by input table, the version a station has worked up to."""
        query = select(STATION_PROGRESS.c.input_table, STATION_PROGRESS.c.version).where(STATION_PROGRESS.c.station == station)
        with self.engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def set_progress(self, station: str, versions: Mapping[str, int]) -> None:
        """Record that a station has worked up to these versions."""
        with writing(self.engine) as connection:
            self._progressed(connection, station, versions)

    def _progressed(self, connection: Connection, station: str, versions: Mapping[str, int]) -> None:
        for name, version in versions.items():
            values = {"station": station, "input_table": name, "version": version}
            self._upsert(connection, STATION_PROGRESS, values, ("station", "input_table"))

    def enqueue(self, work: Mapping[str, Iterable[str]]) -> None:
        """Leave items for stations, all in one transaction; an item that waits already is not doubled."""
        with writing(self.engine) as connection:
            for station, items in work.items():
                for item in items:
                    self._upsert(connection, STATION_QUEUE, {"station": station, "item": item}, ("station", "item"))

    def queued(self, station: str) -> list[str]:
        """Return the items that wait for a station."""
        query = select(STATION_QUEUE.c.item).where(STATION_QUEUE.c.station == station).order_by(STATION_QUEUE.c.item)
        with self.engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def dequeue(self, station: str, items: Iterable[str]) -> None:
        """Take items away after the station's work on them is committed."""
        rows = [{"b_item": item} for item in items]
        if rows:
            statement = delete(STATION_QUEUE).where(STATION_QUEUE.c.station == station, STATION_QUEUE.c.item == bindparam("b_item"))
            with writing(self.engine) as connection:
                connection.execute(statement, rows)

    def note_derivations(self, derivations: Sequence[Mapping[str, Any]], reported: Mapping[str, int] | None = None) -> None:
        """Keep derivations until ``governance.lineage`` has them.

        Args:
            derivations: What came from what.
            reported: Versions of tables that they tell of; ``reported_versions`` gives them back.
        """
        if derivations:
            with writing(self.engine) as connection:
                connection.execute(insert(LINEAGE_OUTBOX), [{"derivation": dict(derivation)} for derivation in derivations])
                self._progressed(connection, _REPORTED, reported or {})

    def reported_versions(self) -> dict[str, int]:
        """Return, by table, the version whose derivation was noted last: a killed run leaves a version for the next to tell of."""
        return self.progress(_REPORTED)

    def pending_derivations(self) -> list[tuple[int, dict[str, Any]]]:
        """Return derivations not yet in ``governance.lineage``, oldest first, with their numbers."""
        query = select(LINEAGE_OUTBOX.c.entry, LINEAGE_OUTBOX.c.derivation).order_by(LINEAGE_OUTBOX.c.entry)
        with self.engine.connect() as connection:
            return [(row[0], row[1]) for row in connection.execute(query)]

    def clear_derivations(self, last: int) -> None:
        """Forget derivations up to a number, after they were committed."""
        with writing(self.engine) as connection:
            connection.execute(delete(LINEAGE_OUTBOX).where(LINEAGE_OUTBOX.c.entry <= last))

    def note_table_commit(self, table: str, version: int, row_count: int | None) -> None:
        """Record the version of a Delta table after we wrote it."""
        values = {"table_name": table, "version": version, "row_count": row_count, "committed_at": utc_text()}
        with writing(self.engine) as connection:
            self._upsert(connection, TABLE_COMMITS, values, ("table_name",))

    def noted_version(self, table: str) -> int | None:
        """Return the last version of a table that we wrote."""
        with self.engine.connect() as connection:
            return connection.execute(select(TABLE_COMMITS.c.version).where(TABLE_COMMITS.c.table_name == table)).scalar_one_or_none()

    def _upsert(self, connection: Connection, table: Any, values: Mapping[str, Any], key: tuple[str, ...]) -> None:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(table).values(**values)
        rest = {name: value for name, value in values.items() if name not in key}
        if rest:
            connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=rest))
        else:
            connection.execute(statement.on_conflict_do_nothing(index_elements=list(key)))
