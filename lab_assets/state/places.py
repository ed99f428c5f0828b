"""Under which path, and as which revision of it, the rows of a file count among those that state the same times.

Belongs here: asking the arrivals. Does not belong here: the order itself (``lab_assets.domain.in_force``), what becomes of an arrival.

Bytes count under one path however many hold them. So a correction of ``results.csv`` stands behind what it replaces also where that was
read as ``z.csv``, which the order of paths would put after it: it says the path and the revision behind which it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, select

from lab_assets.domain.in_force import path_order
from lab_assets.sources.base import MEMBER_MARK
from lab_assets.state.ledger_tables import ARRIVALS, CURRENT_PATHS

_COLUMNS: Final = ARRIVALS.c
_COUNTS: Final = _COLUMNS.state.in_(("received", "committed"))
_PLACED: Final = (
    _COLUMNS.source,
    _COLUMNS.file_name,
    _COLUMNS.file_id,
    _COLUMNS.arrival_id,
    _COLUMNS.path_revision,
    _COLUMNS.revises_path,
    _COLUMNS.revises_revision,
)
_HOLDER: Final = (
    select(_COLUMNS.source, _COLUMNS.file_name)
    .where(_COLUMNS.file_id == bindparam("b_file"), _COUNTS)
    .order_by(_COLUMNS.arrival_id)
    .limit(1)
)
"""Asked once for each file of a batch: built once, and over at the first, however many copies there are."""
_HELD: Final = ARRIVALS.alias("held")
_COUNTED_OF_PATH: Final = (
    select(*_PLACED)
    .join(_HELD, _HELD.c.file_id == _COLUMNS.file_id)
    .where(_HELD.c.source == bindparam("b_source"), _HELD.c.file_name == bindparam("b_name"), _HELD.c.file_id != "", _COUNTS)
    .distinct()
)
_COUNTED_BEFORE: Final = _COUNTED_OF_PATH.where(_HELD.c.arrival_id < bindparam("b_before"))
"""Where that counts which some path held before an arrival."""
_COUNTED_OF_MEMBER: Final = _COUNTED_OF_PATH.where(_HELD.c.member_of == bindparam("b_archive"))
_NOT_RECORDED: Final = 2**62
"""Stands for the number of an arrival that has none yet: above all others."""
_GIVEN_UP: Final = (
    select(*_PLACED)
    .join(CURRENT_PATHS, (CURRENT_PATHS.c.source == _COLUMNS.source) & (CURRENT_PATHS.c.file_name == _COLUMNS.file_name))
    .where(_COLUMNS.file_id == bindparam("b_file"), CURRENT_PATHS.c.file_id.not_in(("", bindparam("b_file"))))
)
"""Paths that held some bytes and hold others now."""


class Place(NamedTuple):
    """Where rows stand among those of the same stated times.

    Attributes:
        path: With its drop folder.
        revision: Number of the arrival by which the path came to hold what stands there first.
    """

    path: str
    revision: int

    @property
    def order(self) -> tuple[Any, ...]:
        """Sort key, as ``in_force.recency`` begins."""
        source, _, file = self.path.partition("/")
        return *path_order(file, source), self.revision


def path_of(arrival: Any) -> str:
    """Return where an arrival lies, for people."""
    return f"{arrival.source}/{arrival.file_name}"


def holder_of(connection: Connection, file_id: str) -> Any:
    """Return the arrival whose name counts for some bytes that are in the tables or on their way; ``None`` for new ones."""
    return connection.execute(_HOLDER, {"b_file": file_id}).one_or_none()


def revision_of(arrival: Any) -> int:
    """Return which revision of its path an arrival is: its own number, or that of the refused arrival that it repeats."""
    return arrival.path_revision or arrival.arrival_id


def revised_place(connection: Connection, arrival: Any, *, is_new_path: bool = False) -> Place | None:
    """Return the place behind which an arrival's rows stand, where that is not its own path.

    That is the last in the order of paths of all that counts and that its path has held; of a file in an archive, that the same file of
    the archives has held that lay there. Bytes that were held and given up elsewhere before they were ever read stand there.

    Args:
        connection: Of a ``writing`` transaction.
        arrival: Bytes to be read that are in no table, not yet recorded or about to be read again.
        is_new_path: Whether it is known that its path, and that of its archive, never held anything, which then is not asked.
    """
    own = path_order(arrival.file_name, arrival.source)
    before = () if is_new_path else _counted_before(connection, arrival)
    last = max((_place(row) for row in before), key=lambda place: place.order, default=None)
    if last is not None and last.order[:-1] > own:
        return last
    if last is None:
        first = min((_own_place(row) for row in _given_up(connection, arrival)), key=lambda place: place.order, default=None)
        if first is not None and first.order[:-1] < own:
            return first
    return None


def _place(row: Any) -> Place:
    return Place(row.revises_path, row.revises_revision) if row.revises_path else _own_place(row)


def _own_place(row: Any) -> Place:
    return Place(path_of(row), revision_of(row))


def _counted_before(connection: Connection, arrival: Any) -> Iterator[Any]:
    """Yield what counts of all that a path has held before; of a file in an archive, of the archives as well."""
    before = arrival.path_revision or getattr(arrival, "arrival_id", None) or _NOT_RECORDED
    asked = {"b_source": arrival.source, "b_name": arrival.file_name, "b_before": before}
    for row in connection.execute(_COUNTED_BEFORE, asked).all():
        if row.file_id != arrival.file_id:
            yield row
    outer, mark, inner = arrival.file_name.rpartition(MEMBER_MARK)
    while mark:
        for archive in connection.execute(_COUNTED_BEFORE, asked | {"b_name": outer}).all():
            member = {"b_source": archive.source, "b_name": f"{archive.file_name}{MEMBER_MARK}{inner}", "b_archive": archive.file_id}
            yield from (row for row in connection.execute(_COUNTED_OF_MEMBER, member).all() if row.file_id != arrival.file_id)
        outer, mark, further = outer.rpartition(MEMBER_MARK)
        inner = f"{further}{MEMBER_MARK}{inner}"


def _given_up(connection: Connection, arrival: Any) -> list[Any]:
    """Return arrivals of the same bytes at paths that hold others now."""
    rows = connection.execute(_GIVEN_UP, {"b_file": arrival.file_id}).all()
    return [row for row in rows if (row.source, row.file_name) != (arrival.source, arrival.file_name)]
