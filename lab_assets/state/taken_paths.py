"""What the paths of the inbox held when they were last taken.

Belongs here: asking for some paths, and their times in a copied inbox. Does not belong here: arrivals and what became of them (``ledger.py``), the inbox itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Engine, bindparam, select, update

from lab_assets.state.database import writing
from lab_assets.state.ledger_tables import CURRENT_PATHS

_AT_ONCE: Final = 500
"""Names in one question: far below the number of parameters that SQLite and PostgreSQL take."""

_COLUMNS: Final = CURRENT_PATHS.c
_QUERY: Final = select(_COLUMNS.file_name, _COLUMNS.size, _COLUMNS.mtime_ns, _COLUMNS.ctime_ns, _COLUMNS.file_id).where(
    _COLUMNS.source == bindparam("b_source"), _COLUMNS.file_name.in_(bindparam("b_names", expanding=True))
)


class TakenPath(NamedTuple):
    """A path as it was when it was last taken.

    Attributes:
        size: Bytes; of a folder that is one item, of all its files together.
        mtime_ns: Modification time; of a folder, the latest in it. 0 where it is not known.
        ctime_ns: Change time; of a folder, the latest in it.
        file_id: Digest of its bytes; empty where none were taken.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    file_id: str


def taken_paths(engine: Engine, source: str, file_names: Sequence[str]) -> dict[str, TakenPath]:
    """Return, by name, those of some paths that were taken; the cost follows the question, not the history.

    Args:
        engine: The ledger's database.
        source: Drop folder.
        file_names: Paths below it.
    """
    found: dict[str, TakenPath] = {}
    ordered = sorted(file_names)  # neighbours lie on the same pages of the index
    with engine.connect() as connection:
        for start in range(0, len(ordered), _AT_ONCE):
            rows = connection.execute(_QUERY, {"b_source": source, "b_names": ordered[start : start + _AT_ONCE]}).tuples().all()
            found |= {row[0]: TakenPath(*row[1:]) for row in rows}
    return found


def known_sources(engine: Engine) -> list[str]:
    """Return the drop folders from which anything ever came, in order."""
    with engine.connect() as connection:
        return sorted(connection.execute(select(CURRENT_PATHS.c.source).distinct()).scalars())


def note_new_times(engine: Engine, paths: Sequence[tuple[str, str, int, int, int]]) -> int:
    """Record other change times of paths whose size and modification time are as known.

    Args:
        engine: The ledger's database.
        paths: Source, name, size in bytes, modification and change time in nanoseconds.

    Returns:
        How many were as known.
    """
    if not paths:
        return 0
    names = ("b_source", "b_file_name", "b_size", "b_mtime_ns", "b_ctime_ns")
    same = [_COLUMNS[name] == bindparam(f"b_{name}") for name in ("source", "file_name", "size", "mtime_ns")]
    statement = update(CURRENT_PATHS).where(*same).values(ctime_ns=bindparam("b_ctime_ns"))
    with writing(engine) as connection:
        return connection.execute(statement, [dict(zip(names, path, strict=True)) for path in paths]).rowcount
