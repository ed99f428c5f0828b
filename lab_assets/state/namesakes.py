"""The same bytes under several names: which name counts, and which is read next where that one is refused.

Belongs here: transitions of arrivals that share their bytes. Does not belong here: reading, rows of tables.

The name that was read first counts, and a copy that comes later changes nothing: rows are known from then on. Of names that come
together, before any of them was read, the one counts that takes the place of other bytes, else the shortest (copies are "copy of ...",
"(2)", or lie in a folder more). A reader takes lots and injections from the name, and the drop folder has settings of its own, so where the
name that counts is refused for such a reason, the next name is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Final

from sqlalchemy import Connection, select

from lab_assets.domain.in_force import path_order
from lab_assets.sources.base import MEMBER_MARK
from lab_assets.sources.core.rules import OF_NAME
from lab_assets.state.ledger_tables import ARRIVALS
from lab_assets.state.places import holder_of, revision_of
from lab_assets.state.quarantine import read_again, release_refused

MOST_NAMES: Final = 5
"""Names of one folder that are read of the same bytes, one after the other, until one is not refused."""

_COLUMNS: Final = ARRIVALS.c


def best_names_first(arrivals: Sequence[Any], takes_a_place: Callable[[Any], bool]) -> list[Any]:
    """Return arrivals in their order, but those of the same bytes among one another by which name counts.

    Args:
        arrivals: New arrivals that come together, with ``file_id``, ``source`` and ``file_name``.
        takes_a_place: Whether an arrival's path held other bytes; asked only of arrivals that share theirs.
    """
    places: dict[str, list[int]] = {}
    for place, arrival in enumerate(arrivals):
        places.setdefault(arrival.file_id, []).append(place)
    ordered = list(arrivals)
    for file_id, shared in places.items():
        if file_id and len(shared) > 1:
            own = sorted((arrivals[place] for place in shared), key=lambda each: (not takes_a_place(each), *_path_rank(each)))
            for place, arrival in zip(shared, own, strict=True):
                ordered[place] = arrival
    return ordered


def _path_rank(arrival: Any) -> tuple[Any, ...]:
    return len(arrival.file_name), *path_order(arrival.file_name, arrival.source)


def as_duplicate(path: str) -> dict[str, str]:
    """Return what an arrival says of itself when another name counts for its bytes."""
    return {"state": "duplicate", "duplicate_of": path, "reason": f"same bytes as {path}"}


def read_under_next_name(connection: Connection, refused: Any, rule: str | None) -> int | None:
    """Give the next name of refused bytes back to ingestion, where another name may be read otherwise.

    Bytes that are refused in a strict folder may be good in another one; a description of a logger may ask for a name. A file inside of
    an archive has a further name for each name of the archive.

    Args:
        connection: Of a ``writing`` transaction.
        refused: The refused arrival.
        rule: Rule that refused it.

    Returns:
        The new arrival; ``None`` when no other name is left to read, or none would be read otherwise.
    """
    if rule not in OF_NAME or holder_of(connection, refused.file_id) is not None:
        return None
    rows = connection.execute(select(ARRIVALS).where(_COLUMNS.file_id == refused.file_id)).all()
    read = [row for row in rows if row.rule is not None and row.state in {"quarantined", "discarded"}]
    folders = [row.source for row in read]
    names = {(row.source, row.file_name) for row in read}
    others = [row for row in rows if row.state == "duplicate"]
    others += [other for row in read for other in _in_other_archives(connection, row)]
    left = [row for row in others if (row.source, row.file_name) not in names and folders.count(row.source) < MOST_NAMES]
    if not left:
        return None
    again = read_again(connection, min(left, key=lambda row: (row.source in folders, *_path_rank(row))))
    release_refused(connection, refused.file_id, again)
    return again


def read_members_again(connection: Connection, archive: Any) -> None:
    """Give refused files of an archive back to ingestion, since the archive came under another name as well.

    Args:
        connection: Of a ``writing`` transaction.
        archive: The arrival by which the archive was read; a file that is none has no members.
    """
    first = f"{archive.file_name}{MEMBER_MARK}"
    inside = (_COLUMNS.source == archive.source, _COLUMNS.file_name >= first, _COLUMNS.file_name < f"{first}\U0010ffff")
    for member in connection.execute(select(ARRIVALS).where(*inside)).all():
        if member.rule is not None and _waits_for_a_person(connection, member.file_id):
            read_under_next_name(connection, member, member.rule)


def _waits_for_a_person(connection: Connection, file_id: str) -> bool:
    """Tell whether some bytes lie in quarantine, under any name."""
    return any(row.state == "quarantined" for row in connection.execute(select(ARRIVALS).where(_COLUMNS.file_id == file_id)))


def _in_other_archives(connection: Connection, member: Any) -> Iterator[SimpleNamespace]:
    """Yield the names that a file inside of an archive, or of one in another, has by other names of these: arrivals that were never recorded."""
    unknown = dict.fromkeys(("arrival_id", "supersedes"))
    copied = {name: getattr(member, name) for name in ("file_id", "size", "member_of")} | unknown
    outer, mark, inner = member.file_name.rpartition(MEMBER_MARK)
    while mark:
        named = select(_COLUMNS.file_id).where(_COLUMNS.source == member.source, _COLUMNS.file_name == outer)
        for archive in connection.execute(select(ARRIVALS).where(_COLUMNS.file_id.in_(named))).all():
            if archive.state == "duplicate":
                times = {"mtime_ns": archive.mtime_ns, "ctime_ns": archive.ctime_ns, "path_revision": revision_of(archive)}
                name = f"{archive.file_name}{MEMBER_MARK}{inner}"
                yield SimpleNamespace(source=archive.source, file_name=name, **copied, **times)
        outer, mark, further = outer.rpartition(MEMBER_MARK)
        inner = f"{further}{MEMBER_MARK}{inner}"
