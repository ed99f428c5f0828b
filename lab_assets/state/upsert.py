"""Many rows of one table in one statement: inserted, or brought up to date where their key is there.

Belongs here: the statement that SQLite and PostgreSQL both take. Does not belong here: which rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite


@cache
def _statement(dialect: str, table: Table, names: tuple[str, ...], key: tuple[str, ...]) -> Any:
    """Return an insert of these columns that updates the others of a row whose key is there; built once."""
    statement = (postgresql if dialect == "postgresql" else sqlite).insert(table).values({name: bindparam(name) for name in names})
    rest = {name: statement.excluded[name] for name in names if name not in key}
    if rest:
        return statement.on_conflict_do_update(index_elements=list(key), set_=rest)
    return statement.on_conflict_do_nothing(index_elements=list(key))


def upsert(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]], key: tuple[str, ...]) -> None:
    """Insert rows, or update those whose key is there; one statement however many they are.

    Args:
        connection: Of a ``writing`` transaction.
        table: Table with a primary key or unique constraint over ``key``.
        rows: All with the same columns; none is fine.
        key: Columns of the key.
    """
    values = [dict(row) for row in rows]
    if values:
        connection.execute(_statement(connection.dialect.name, table, tuple(values[0]), key), values)
