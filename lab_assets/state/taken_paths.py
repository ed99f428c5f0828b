"""What the paths of the inbox held when they were last taken.

Belongs here: asking for some paths. Does not belong here: arrivals and what became of them (``ledger.py``), the inbox itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, bindparam, select

from lab_assets.state.ledger_tables import CURRENT_PATHS

_AT_ONCE: Final = 500
"""Names in one question: far below the number of parameters that SQLite and PostgreSQL take."""

_COLUMNS: Final = CURRENT_PATHS.c
_QUERY: Final = select(_COLUMNS.file_name, _COLUMNS.size, _COLUMNS.mtime_ns, _COLUMNS.ctime_ns, _COLUMNS.file_id).where(
    _COLUMNS.source == bindparam("b_source"), _COLUMNS.file_name.in_(bindparam("b_names", expanding=True))
)


@dataclass(frozen=True, slots=True)
class TakenPath:
    """A path as it was when it was last taken.

    Attributes:
        fingerprint: Size in bytes, modification time and change time in nanoseconds.
        file_id: Digest of its bytes; empty where none were taken.
    """

    fingerprint: tuple[int, int, int]
    file_id: str


def taken_paths(engine: Engine, source: str, file_names: Sequence[str]) -> dict[str, TakenPath]:
    """Return, by name, those of some paths that were taken; the cost follows the question, not the history.

    Args:
        engine: The ledger's database.
        source: Drop folder.
        file_names: Paths below it.
    """
    found: dict[str, TakenPath] = {}
    with engine.connect() as connection:
        for start in range(0, len(file_names), _AT_ONCE):
            names = list(file_names[start : start + _AT_ONCE])
            for name, size, mtime_ns, ctime_ns, file_id in connection.execute(_QUERY, {"b_source": source, "b_names": names}).tuples():
                found[name] = TakenPath((size, mtime_ns, ctime_ns), file_id)
    return found
