"""The ingestion ledger: the truth about what arrived and what became of it.

Belongs here: transitions between states, each in one transaction. Does not belong here: files, Spark, Delta.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, ScalarSelect, bindparam, delete, func, insert, literal, select, union_all, update

from lab_assets.settings import Settings
from lab_assets.sources.base import MEMBER_MARK
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import is_made, open_database, utc_text, writing
from lab_assets.state.ledger_tables import ARRIVALS, CURRENT_PATHS, DATA_FILES, INGEST_BATCHES, STATION_PROGRESS, TABLE_COMMITS
from lab_assets.state.namesakes import as_duplicate, best_names_first, read_members_again, read_under_next_name
from lab_assets.state.places import holder_of, path_of, revised_place, revision_of
from lab_assets.state.quarantine import note_refusal, release_readable, release_refused
from lab_assets.state.schema_proposals import Proposal, note_proposal
from lab_assets.state.station_work import StationWork
from lab_assets.state.upsert import upsert

SYSTEM: Final = "service:ingest"
"""Who acts in the audit trail when no person does."""

_PUT_BACK: Final = "bytes that are in the tables already were put back, or copied, in place of others: tables keep what they said until a new export is dropped"


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
    member_of: str | None = None
    path_revision: int | None = None


@dataclass(frozen=True, kw_only=True)
class FoundMember:
    """A file inside of another one, already in the raw store."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One file of a Delta table as it was committed.

    Attributes:
        path: Below the table's folder.
        version: Version that added it.
        size: Bytes.
        sha256: Digest.
    """

    path: str
    version: int
    size: int
    sha256: str


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
    members: Sequence[FoundMember] = ()
    proposals: Sequence[Proposal] = ()


def _is_redrop(previous: Any, arrival: NewArrival) -> bool:
    """Tell whether refused bytes were written anew under their name, which asks for another reading; a change of rights does not."""
    return previous.state == "quarantined" and previous.mtime_ns not in {0, arrival.mtime_ns}  # 0: learnt from the tables


def _member_arrival(outer: Any, member: FoundMember) -> NewArrival:
    """Return a file inside of an archive as an arrival; it has its archive's times and revision, and no path in the inbox."""
    return NewArrival(
        source=outer.source,
        file_name=f"{outer.file_name}{MEMBER_MARK}{member.name}",
        size=member.size,
        mtime_ns=outer.mtime_ns,
        ctime_ns=outer.ctime_ns,
        file_id=member.sha256,
        member_of=outer.file_id,
        path_revision=revision_of(outer),
    )


_PREVIOUS: Final = (
    select(CURRENT_PATHS.c.file_id, CURRENT_PATHS.c.arrival_id, CURRENT_PATHS.c.mtime_ns, ARRIVALS.c.state)
    .select_from(CURRENT_PATHS.join(ARRIVALS, CURRENT_PATHS.c.arrival_id == ARRIVALS.c.arrival_id))
    .where(CURRENT_PATHS.c.source == bindparam("b_source"), CURRENT_PATHS.c.file_name == bindparam("b_name"))
)
"""Asked once for each file of a batch: built once."""


_SETTLED: Final = ("state", "format", "rule", "reason", "place", "warnings", "rows_parsed", "rows_rejected")
_SETTLE: Final = (
    update(ARRIVALS).where(ARRIVALS.c.arrival_id == bindparam("b_arrival")).values({name: bindparam(f"b_{name}") for name in _SETTLED})
)


def _settled(outcome: Outcome) -> dict[str, Any]:
    values = {f"b_{name}": getattr(outcome, name) for name in _SETTLED} | {"b_arrival": outcome.arrival_id}
    counted = {"b_rows_parsed": dict(outcome.rows_parsed), "b_rows_rejected": dict(outcome.rows_rejected)}
    return values | counted | {"b_warnings": list(outcome.warnings)}


def _number(*where: ColumnElement[bool]) -> ScalarSelect[int]:
    """Return how many arrivals there are, as part of a query."""
    return select(func.count()).select_from(ARRIVALS).where(*where).scalar_subquery()


class Ledger(StationWork):
    """Reads and transitions over the relational state: arrivals and batches, and what stations still have to do."""

    def record(self, arrivals: Sequence[NewArrival]) -> list[int]:
        """Record arrivals; bytes known before become duplicates, other bytes under a known path supersede.

        The same bytes under the same path (a touched file) are no arrival: only the path's times are brought up to date. Bytes that
        were only ever refused are read again: whoever drops them anew expects that. Of names of the same bytes the better one comes first.

        Returns:
            Identities of the arrivals that wait to be read.
        """
        waiting: list[int] = []
        with writing(self.engine) as connection:
            for arrival in best_names_first(
                arrivals, lambda each: self._replaced(connection, self._previous(connection, each), each) is not None
            ):
                arrival_id = self._record_one(connection, arrival)
                if arrival_id is not None:
                    waiting.append(arrival_id)
        return waiting

    def _record_one(self, connection: Connection, arrival: NewArrival) -> int | None:
        previous = self._previous(connection, arrival)
        if (
            previous is not None
            and previous.file_id == arrival.file_id
            and arrival.state == "received"
            and not _is_redrop(previous, arrival)
        ):
            self._set_path(connection, arrival, previous.arrival_id)
            return None
        is_readable = bool(arrival.file_id) and arrival.state == "received"
        holder = holder_of(connection, arrival.file_id) if is_readable else None
        is_duplicate, replaced = holder is not None, self._replaced(connection, previous, arrival)
        stated = as_duplicate(path_of(holder)) if is_duplicate else {"state": arrival.state, "reason": arrival.reason}
        is_new_path = previous is None and arrival.member_of is None
        place = revised_place(connection, arrival, is_new_path=is_new_path) if is_readable and not is_duplicate else None
        key = connection.execute(
            insert(ARRIVALS),
            {
                **{name: getattr(arrival, name) for name in ("source", "file_name", "size", "mtime_ns", "ctime_ns", "file_id", "rule")},
                **stated,
                "supersedes": replaced,
                "path_revision": arrival.path_revision,
                "revises_path": None if place is None else place.path,
                "revises_revision": None if place is None else place.revision,
                "warnings": [_PUT_BACK] if replaced and is_duplicate else [],
                "member_of": arrival.member_of,
                "arrived_at": utc_text(),
            },
        ).inserted_primary_key
        assert key is not None  # noqa: S101 - an insert of one row always has its key
        arrival_id = int(key[0])
        self._set_path(connection, arrival, arrival_id)
        if arrival.state == "quarantined":
            note_refusal(connection, arrival_id, rule=arrival.rule, reason=arrival.reason, place=None)
        if arrival.state == "received" and replaced:
            self._audit_revision(connection, arrival, arrival_id, replaced)
        if is_duplicate:
            read_members_again(connection, holder)
        if not is_readable or is_duplicate:
            return None
        release_refused(connection, arrival.file_id, arrival_id)
        if previous is not None and not previous.file_id:
            release_readable(connection, previous.arrival_id, arrival_id)
        return arrival_id

    @staticmethod
    def _replaced(connection: Connection, previous: Any, arrival: NewArrival) -> str | None:
        """Return the other bytes that the arrival's path held before; what was no file in between, such as a link, is passed over."""
        if previous is None or previous.file_id == arrival.file_id:
            return None
        if previous.file_id:
            return previous.file_id
        others = (ARRIVALS.c.source == arrival.source, ARRIVALS.c.file_name == arrival.file_name, ARRIVALS.c.file_id != "")
        last = connection.execute(select(ARRIVALS.c.file_id).where(*others).order_by(ARRIVALS.c.arrival_id.desc()).limit(1)).scalar()
        return None if last == arrival.file_id else last

    def _previous(self, connection: Connection, arrival: NewArrival) -> Any:
        """Return what the arrival's path held before, and what became of it."""
        return connection.execute(_PREVIOUS, {"b_source": arrival.source, "b_name": arrival.file_name}).one_or_none()

    def _audit_revision(self, connection: Connection, arrival: NewArrival, arrival_id: int, old: str) -> None:
        """Tell the audit trail that a path now holds other bytes: never silent."""
        AuditLog(self.engine).append(
            connection,
            actor=SYSTEM,
            action="file.revise",
            target=f"arrival:{arrival_id}",
            old={"file_id": old},
            new={"file_id": arrival.file_id, "file": f"{arrival.source}/{arrival.file_name}"},
            reason="other bytes arrived under a known path; both are kept",
            origin="ingest",
        )

    def _set_path(self, connection: Connection, arrival: NewArrival, arrival_id: int) -> None:
        names = ("source", "file_name", "size", "mtime_ns", "ctime_ns", "file_id")
        self.set_path(connection, {name: getattr(arrival, name) for name in names} | {"arrival_id": arrival_id})

    def set_path(self, connection: Connection, values: Mapping[str, Any]) -> None:
        """Record what a path holds now; ``values`` are the columns of ``current_paths``."""
        upsert(connection, CURRENT_PATHS, [values], ("source", "file_name"))

    def open_batch(self, limit: int) -> int | None:
        """Put waiting arrivals, and finished ones not yet in ``bronze.files``, into a new batch; ``None`` when there are none.

        Where more wait than it takes, sources have equal shares, and so have files that were dropped and files out of archives.
        """
        place = func.row_number().over(partition_by=[ARRIVALS.c.source, ARRIVALS.c.member_of.is_(None)], order_by=ARRIVALS.c.arrival_id)
        with writing(self.engine) as connection:
            ranked = select(ARRIVALS.c.arrival_id, place.label("place")).where(ARRIVALS.c.batch.is_(None)).subquery()
            chosen = select(ranked.c.arrival_id).order_by(ranked.c.place, ranked.c.arrival_id).limit(limit)
            waiting = sorted(connection.execute(chosen).scalars())
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

    def committed_batches(self) -> list[int]:
        """Return the numbers of the batches whose rows are in the tables, oldest first."""
        query = select(INGEST_BATCHES.c.batch).where(INGEST_BATCHES.c.state == "committed").order_by(INGEST_BATCHES.c.batch)
        with self.engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def opened_at(self, batch: int) -> str:
        """Return when a batch was opened, ISO 8601 in UTC: the time of ingestion that all of its rows carry, however often it is read."""
        with self.engine.connect() as connection:
            return str(connection.execute(select(INGEST_BATCHES.c.opened_at).where(INGEST_BATCHES.c.batch == batch)).scalar_one())

    def mark_staged(self, batch: int) -> None:
        """Record that every file of the batch was read and its rows lie staged."""
        with writing(self.engine) as connection:
            connection.execute(update(INGEST_BATCHES).where(INGEST_BATCHES.c.batch == batch).values(state="staged"))

    def commit_batch(self, batch: int, outcomes: Sequence[Outcome], table_versions: Mapping[str, int]) -> None:
        """Record what became of each arrival and that its rows are in Delta; members of archives become arrivals."""
        with writing(self.engine) as connection:
            rows = {row.arrival_id: row for row in connection.execute(select(ARRIVALS).where(ARRIVALS.c.batch == batch))}
            if outcomes:
                connection.execute(_SETTLE, [_settled(outcome) for outcome in outcomes])
            for outcome in outcomes:
                self._follow_up(connection, rows[outcome.arrival_id], outcome)
            connection.execute(
                update(INGEST_BATCHES)
                .where(INGEST_BATCHES.c.batch == batch)
                .values(state="committed", committed_at=utc_text(), table_versions=dict(table_versions))
            )

    def _follow_up(self, connection: Connection, arrival: Any, outcome: Outcome) -> None:
        """Note the refusal, the proposals and the files inside of one settled arrival."""
        if outcome.state == "quarantined":
            note_refusal(connection, arrival.arrival_id, rule=outcome.rule, reason=outcome.reason, place=outcome.place)
            read_under_next_name(connection, arrival, outcome.rule)
        for proposal in outcome.proposals:
            note_proposal(connection, proposal, source=arrival.source, file_name=arrival.file_name)
        for member in outcome.members:
            self._record_one(connection, _member_arrival(arrival, member))

    def counts(self) -> dict[str, int]:
        """Return the number of arrivals by state.

        Nearly all are committed: those are what the others, which an index finds, leave of the whole.
        """
        state = ARRIVALS.c.state
        total = select(literal("").label("state"), func.count().label("number")).select_from(ARRIVALS)
        others = [select(state, func.count()).where(where).group_by(state) for where in (state < "committed", state > "committed")]
        with self.engine.connect() as connection:
            found = {row[0]: row[1] for row in connection.execute(union_all(total, *others))}
        committed = found.pop("") - sum(found.values())
        return ({"committed": committed} if committed else {}) | found

    def waiting_arrivals(self) -> int:
        """Return the number of arrivals that are in no batch yet: recorded by an interrupted run, or given back by a retry."""
        with self.engine.connect() as connection:
            return int(connection.execute(select(_number(ARRIVALS.c.batch.is_(None)))).scalar_one())

    def recorded_arrivals(self) -> int:
        """Return the number of arrivals that committed batches recorded in ``bronze.files``: all but those on their way."""
        unfinished = select(INGEST_BATCHES.c.batch).where(INGEST_BATCHES.c.state != "committed")
        on_their_way = _number(ARRIVALS.c.batch.is_(None)) + _number(ARRIVALS.c.batch.in_(unfinished))
        with self.engine.connect() as connection:
            return int(connection.execute(select(_number() - on_their_way)).scalar_one())

    def note_table_commit(self, table: str, version: int, files: Sequence[DataFile] = ()) -> None:
        """Record the version of a Delta table after we wrote it, and the files that came with it."""
        values = {"table_name": table, "version": version, "row_count": None, "committed_at": utc_text()}
        with writing(self.engine) as connection:
            upsert(connection, TABLE_COMMITS, [values], ("table_name",))
            upsert(connection, DATA_FILES, [{"table_name": table, **asdict(file)} for file in files], ("table_name", "path"))

    def noted_version(self, table: str) -> int | None:
        """Return the last version of a table that we wrote."""
        with self.engine.connect() as connection:
            return connection.execute(select(TABLE_COMMITS.c.version).where(TABLE_COMMITS.c.table_name == table)).scalar_one_or_none()

    def known_versions(self) -> dict[str, int]:
        """Return, by table, the highest version that is known to have been: we wrote it, or a station worked on it."""
        noted = select(TABLE_COMMITS.c.table_name, TABLE_COMMITS.c.version)
        read = select(STATION_PROGRESS.c.input_table, STATION_PROGRESS.c.version)
        known: dict[str, int] = {}
        with self.engine.connect() as connection:
            for name, version in connection.execute(union_all(noted, read)):
                known[name] = max(version, known.get(name, version))
        return known

    def accept_version(self, connection: Connection, table: str, version: int) -> None:
        """Take an earlier version of a table for its last one, and forget the files noted after it.

        Args:
            connection: Of a ``writing`` transaction.
            table: ``layer.table``.
            version: The version it has.
        """
        connection.execute(update(TABLE_COMMITS).where(TABLE_COMMITS.c.table_name == table).values(version=version))
        connection.execute(delete(DATA_FILES).where((DATA_FILES.c.table_name == table) & (DATA_FILES.c.version > version)))
        later = (STATION_PROGRESS.c.input_table == table) & (STATION_PROGRESS.c.version > version)
        connection.execute(update(STATION_PROGRESS).where(later).values(version=0))

    def forget_table(self, table: str) -> None:
        """Forget every version of a table that is made anew from nothing; whatever reads it looks at all of it again."""
        with writing(self.engine) as connection:
            connection.execute(delete(DATA_FILES).where(DATA_FILES.c.table_name == table))
            connection.execute(delete(TABLE_COMMITS).where(TABLE_COMMITS.c.table_name == table))
            connection.execute(update(STATION_PROGRESS).where(STATION_PROGRESS.c.input_table == table).values(version=0))


_KEPT: Final[dict[str, Ledger]] = {}
"""Ledgers of this process by their database."""


def ledger_of(settings: Settings) -> Ledger | None:
    """Return the ledger of a laboratory for those who have no engine of their own; ``None`` where no database was made yet.

    It is kept by this process, its connections are not: a child that is forked has none of them, and a database put in its place counts.

    Raises:
        DatabaseLostError: there is none, though one was made here before.
    """
    if not is_made(settings):
        return None
    url = settings.database_url
    if (kept := _KEPT.get(url)) is None:
        kept = _KEPT[url] = Ledger(open_database(settings, pooled=False))
    return kept
