"""Refused files: each step they take, from refusal to release.

Belongs here: transitions of refused arrivals and the events that record them. Does not belong here: reading files, commands,
audit entries of people (``lab_assets.cli.quarantine``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update

from lab_assets.sources.core.rules import mend
from lab_assets.state.database import utc_text, writing
from lab_assets.state.ledger_tables import ARRIVALS, CURRENT_PATHS, QUARANTINE_EVENTS
from lab_assets.state.places import holder_of, path_of, revised_place, revision_of

_BY_INGESTION: Final = "service:ingest"
_COPIED: Final = ("source", "file_name", "size", "mtime_ns", "ctime_ns", "file_id", "supersedes", "member_of")


_OF_FILE: Final = select(ARRIVALS.c.arrival_id, ARRIVALS.c.rule, ARRIVALS.c.state).where(ARRIVALS.c.file_id == bindparam("b_file"))
"""Arrivals of some bytes. Asked for with their state too, SQLite would read all that are in this state, however many."""


def note_refusal(connection: Connection, arrival_id: int, *, rule: str | None, reason: str | None, place: str | None) -> None:
    """Tell that a file was refused, in the transaction that refuses it."""
    values = {"rule": rule, "reason": reason, "place": place or None, "mend": mend(rule)}
    _note(connection, arrival_id, "quarantined", _BY_INGESTION, values)


def release_refused(connection: Connection, file_id: str, by_arrival: int) -> None:
    """Close refused arrivals whose bytes were dropped again and are read anew by another arrival."""
    for row in connection.execute(_OF_FILE, {"b_file": file_id}).all():
        if row.state != "quarantined":
            continue
        _close(connection, row.arrival_id)
        reason = f"the same bytes are read again as arrival {by_arrival}"
        _note(connection, row.arrival_id, "retried", _BY_INGESTION, {"rule": row.rule, "reason": reason})


def release_readable(connection: Connection, arrival_id: int, by_arrival: int | None = None) -> None:
    """Close a refusal of a path without its bytes, where it can be read now.

    Args:
        connection: Of a ``writing`` transaction.
        arrival_id: The refused arrival; one that is closed is left alone.
        by_arrival: The arrival that has its bytes; a folder that is looked into has none.
    """
    row = connection.execute(select(ARRIVALS.c.rule, ARRIVALS.c.state).where(ARRIVALS.c.arrival_id == arrival_id)).one()
    if row.state == "quarantined":
        _close(connection, arrival_id)
        reason = "it can be read now" + ("" if by_arrival is None else f", and is read as arrival {by_arrival}")
        _note(connection, arrival_id, "retried", _BY_INGESTION, {"rule": row.rule, "reason": reason})


def read_again(connection: Connection, arrival: Any) -> int:
    """Give an arrival back to ingestion as a new one: its old row stays as history, and its path holds the new one.

    Returns:
        Number of the new arrival.
    """
    _close(connection, arrival.arrival_id)
    copied = {name: getattr(arrival, name) for name in _COPIED} | {"path_revision": revision_of(arrival)}
    place = revised_place(connection, arrival)
    behind = {} if place is None else {"revises_path": place.path, "revises_revision": place.revision}
    again = insert(ARRIVALS).values(**copied, **behind, state="received", arrived_at=utc_text(), retry_of=arrival.arrival_id)
    key = connection.execute(again).inserted_primary_key
    assert key is not None  # noqa: S101 - an insert of one row always has its key
    held = (CURRENT_PATHS.c.source == arrival.source, CURRENT_PATHS.c.file_name == arrival.file_name)
    its_path = update(CURRENT_PATHS).where(*held, CURRENT_PATHS.c.arrival_id == arrival.arrival_id)
    connection.execute(its_path.values(arrival_id=int(key[0])))
    return int(key[0])


class Quarantine:
    """Refused arrivals of one ledger."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def waiting(self) -> list[Any]:
        """Return refused arrivals that nobody has closed, newest first."""
        query = select(ARRIVALS).where(ARRIVALS.c.state == "quarantined").order_by(ARRIVALS.c.arrival_id.desc())
        with self.engine.connect() as connection:
            return list(connection.execute(query))

    def counts(self) -> dict[str, int]:
        """Return refused arrivals that nobody has closed, by rule, most first."""
        number = func.count()
        query = select(ARRIVALS.c.rule, number).where(ARRIVALS.c.state == "quarantined").group_by(ARRIVALS.c.rule).order_by(number.desc())
        with self.engine.connect() as connection:
            return {row[0] or "unknown": row[1] for row in connection.execute(query)}

    def retry(self, connection: Connection, arrival_ids: Sequence[int], *, by: str, reason: str) -> int:
        """Let refused arrivals be read again as new ones; the old rows stay as history.

        Args:
            connection: Of a ``writing`` transaction, which holds the audit entry too.
            arrival_ids: Refused arrivals; others are left alone.
            by: Who asks.
            reason: Why.

        Returns:
            How many were given back to ingestion; what is in the tables already is only closed.
        """
        again = 0
        for row in self._refused(connection, arrival_ids):
            if (holder := holder_of(connection, row.file_id)) is not None:
                _close(connection, row.arrival_id)
                reason_of_none = f"the same bytes are in the tables as {path_of(holder)}"
                _note(connection, row.arrival_id, "retried", by, {"rule": row.rule, "reason": reason_of_none})
                continue
            _note(connection, row.arrival_id, "retried", by, {"rule": row.rule, "reason": reason})
            read_again(connection, row)
            again += 1
        return again

    def discard(self, connection: Connection, arrival_ids: Sequence[int], *, by: str, reason: str) -> int:
        """Close refused arrivals for good; the arguments are those of ``retry``."""
        rows = self._refused(connection, arrival_ids)
        for row in rows:
            _close(connection, row.arrival_id)
            _note(connection, row.arrival_id, "discarded", by, {"rule": row.rule, "reason": reason})
        return len(rows)

    def release_folders(self, readable: Collection[tuple[str, str]]) -> None:
        """Close the refusals of folders that can be looked into now, by source and name; their paths do not count as taken any more."""
        columns, paths = ARRIVALS.c, CURRENT_PATHS.c
        refused = select(columns.source, columns.file_name, columns.arrival_id).where(
            columns.state == "quarantined", columns.file_id == "", columns.reason.contains("is a folder")
        )
        with self.engine.connect() as connection:
            again = [row for row in connection.execute(refused) if (row.source, row.file_name) in readable]
        if not again:
            return
        with writing(self.engine) as connection:
            for row in again:
                release_readable(connection, row.arrival_id)
                connection.execute(delete(CURRENT_PATHS).where(paths.source == row.source, paths.file_name == row.file_name))

    def history(self, arrival_id: int) -> list[Any]:
        """Return the steps of one arrival, oldest first."""
        query = select(QUARANTINE_EVENTS).where(QUARANTINE_EVENTS.c.arrival_id == arrival_id).order_by(QUARANTINE_EVENTS.c.event_id)
        with self.engine.connect() as connection:
            return list(connection.execute(query))

    def events_after(self, last: int, limit: int = 50_000) -> list[Any]:
        """Return steps with a higher number, oldest first, with the file they speak of."""
        file = (ARRIVALS.c.file_id, ARRIVALS.c.source, ARRIVALS.c.file_name)
        with_files = QUARANTINE_EVENTS.join(ARRIVALS, QUARANTINE_EVENTS.c.arrival_id == ARRIVALS.c.arrival_id)
        query = select(QUARANTINE_EVENTS, *file).select_from(with_files).where(QUARANTINE_EVENTS.c.event_id > last)
        with self.engine.connect() as connection:
            return list(connection.execute(query.order_by(QUARANTINE_EVENTS.c.event_id).limit(limit)))

    def _refused(self, connection: Connection, arrival_ids: Sequence[int]) -> list[Any]:
        rows: list[Any] = []
        for start in range(0, len(arrival_ids), 500):
            chunk = ARRIVALS.c.arrival_id.in_(list(arrival_ids[start : start + 500]))
            rows += connection.execute(select(ARRIVALS).where(chunk, ARRIVALS.c.state == "quarantined"))
        return rows


def _close(connection: Connection, arrival_id: int) -> None:
    connection.execute(update(ARRIVALS).where(ARRIVALS.c.arrival_id == arrival_id).values(state="discarded"))


def _note(connection: Connection, arrival_id: int, event: str, by: str, values: dict[str, str | None]) -> None:
    connection.execute(insert(QUARANTINE_EVENTS).values(arrival_id=arrival_id, event=event, by=by, at_utc=utc_text(), **values))
