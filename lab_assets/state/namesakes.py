"""The same bytes under several names: which name counts, and what becomes of the others.

Belongs here: transitions of arrivals that share their bytes. Does not belong here: rows in tables (``lab_assets.ingest.namesakes``).

Of the names that some bytes came under, the shortest path counts (copies are "copy of ...", "(2)", or lie in a folder more): the same in
whichever order they arrive. A reader takes lots and injections from the name, and the drop folder sets its zone, so the name is part of
what is read. A better name that comes later is read like a new file and takes the place of the former one; the others are duplicates. Where the name that counts is refused for what
its folder or its name says, the next name is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, update

from lab_assets.domain.in_force import path_order
from lab_assets.sources.core.rules import OF_FOLDER, OF_NAME
from lab_assets.state.ledger_tables import ARRIVALS
from lab_assets.state.quarantine import read_again, release_refused

MOST_NAMES: Final = 5
"""Names of the same bytes that are read, one after the other, until one is not refused."""

_COLUMNS: Final = ARRIVALS.c
_HOLDERS: Final = select(_COLUMNS.arrival_id, _COLUMNS.source, _COLUMNS.file_name).where(
    _COLUMNS.file_id == bindparam("b_file"), _COLUMNS.state.in_(("received", "committed"))
)
"""Asked once for each file of a batch: built once."""


def path_of(arrival: Any) -> str:
    """Return where an arrival lies, for people."""
    return f"{arrival.source}/{arrival.file_name}"


def order_of(arrival: Any) -> tuple[Any, ...]:
    """Return the sort key of an arrival among those with its bytes, of which the first one counts: shorter paths, then the order of paths."""
    return len(arrival.file_name), *path_order(arrival.file_name, arrival.source)


def holder_of(connection: Connection, file_id: str) -> Any:
    """Return the arrival whose name counts so far for some bytes that are in the tables or on their way; ``None`` for new ones."""
    return min(connection.execute(_HOLDERS, {"b_file": file_id}), key=order_of, default=None)


def stand_back(connection: Connection, file_id: str, by: int, path: str) -> None:
    """Let what waits to be read of some bytes be a duplicate of a better name, which has come before they were read.

    Args:
        connection: Of a ``writing`` transaction.
        file_id: The bytes.
        by: Arrival under the better name.
        path: The better name, for people.
    """
    waiting = (_COLUMNS.batch.is_(None), _COLUMNS.state.in_(("received", "duplicate")))
    statement = update(ARRIVALS).where(_COLUMNS.file_id == file_id, _COLUMNS.arrival_id != by, *waiting)
    connection.execute(statement.values(as_duplicate(path)))


def as_duplicate(path: str) -> dict[str, str]:
    """Return what an arrival says of itself when another name counts for its bytes."""
    return {"state": "duplicate", "duplicate_of": path, "reason": f"same bytes as {path}"}


def namesakes(connection: Connection, file_ids: Iterable[str], *, before: int) -> dict[str, list[Any]]:
    """Return arrivals of earlier batches, committed or duplicates, with bytes that a batch has read under the name that counts.

    Args:
        connection: Of the ledger.
        file_ids: The bytes.
        before: That batch.

    Returns:
        By digest, rows of the arrivals table; also those that stood back already, so that the work can be repeated.
    """
    wanted = list(file_ids)
    found: dict[str, list[Any]] = {}
    for start in range(0, len(wanted), 500):
        some = _COLUMNS.file_id.in_(wanted[start : start + 500])
        for row in connection.execute(select(ARRIVALS).where(some, _COLUMNS.batch < before)):
            if row.state in {"committed", "duplicate"}:  # asked for in SQL, SQLite would read all that are in this state
                found.setdefault(row.file_id, []).append(row)
    return found


def retire(connection: Connection, file_id: str, path: str, *, before: int) -> None:
    """Let other arrivals of some bytes, of earlier batches, be duplicates of the name that counts; how they were read stays on record."""
    others = (_COLUMNS.file_id == file_id, _COLUMNS.batch < before, _COLUMNS.state.in_(("committed", "duplicate")))
    connection.execute(update(ARRIVALS).where(*others).values(as_duplicate(path)))


def read_under_next_name(connection: Connection, refused: Any, rule: str | None) -> int | None:
    """Give the next name of refused bytes back to ingestion, where another name may be read otherwise.

    Settings follow the drop folder, and descriptions of loggers match names: bytes that are refused in a strict folder may be good in
    another one.

    Args:
        connection: Of a ``writing`` transaction.
        refused: The refused arrival.
        rule: Rule that refused it.

    Returns:
        The new arrival; ``None`` when no other name is left to read, or none would be read otherwise.
    """
    if rule not in OF_FOLDER | OF_NAME or holder_of(connection, refused.file_id) is not None:
        return None
    rows = connection.execute(select(ARRIVALS).where(_COLUMNS.file_id == refused.file_id)).all()
    read = [row for row in rows if row.rule is not None and row.state in {"quarantined", "discarded"}]
    folders = {row.source for row in read} | {refused.source}
    others = [row for row in rows if row.state == "duplicate" and (row.source not in folders or rule in OF_NAME)]
    if not others or len(read) >= MOST_NAMES:
        return None
    again = read_again(connection, min(others, key=lambda row: (row.source in folders, order_of(row))))
    release_refused(connection, refused.file_id, again)
    return again
