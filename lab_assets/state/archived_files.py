"""What the ledger knows of a table's files when some of them are put away.

Belongs here: exchanging the noted files of a table. Does not belong here: noting commits (``ledger.py``), files on disk (``lab_assets.lake``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from lab_assets.state.database import writing
from lab_assets.state.ledger_tables import DATA_FILES
from lab_assets.state.upsert import upsert

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from lab_assets.state.ledger import DataFile


def noted_paths(engine: Engine, table: str) -> set[str]:
    """Return the paths of the files of a table that were noted with their digests."""
    with engine.connect() as connection:
        return set(connection.execute(select(DATA_FILES.c.path).where(DATA_FILES.c.table_name == table)).scalars())


def note_archived(engine: Engine, table: str, files: Sequence[DataFile], *, gone: Sequence[str]) -> None:
    """Note the files of a table's archive, and forget those that it stands for: the scrub hashes the ones and misses no other.

    Args:
        engine: The laboratory's database.
        table: ``layer.table``.
        files: Files of the archive.
        gone: Paths that are taken away.
    """
    statement = delete(DATA_FILES).where(DATA_FILES.c.table_name == table, DATA_FILES.c.path == bindparam("b_path"))
    with writing(engine) as connection:
        upsert(connection, DATA_FILES, [{"table_name": table, **asdict(file)} for file in files], ("table_name", "path"))
        if gone:
            connection.execute(statement, [{"b_path": path} for path in gone])
