"""Where MLflow says that artefacts lie, and where they lie in this home.

Belongs here: addresses that do not depend on the home's path, and old addresses made so. Does not belong here: what an artefact is
(``mlflow_registry.py``).

The embedded MLflow keeps ``mlflow-artifacts:/...`` addresses, which its server resolves below ``--artifacts-destination``: they hold
wherever the home stands. Earlier versions kept absolute paths. In a home that was moved, copied or restored those would point at another
laboratory's files, so only the part below the artefact root counts, and it is looked for in this home alone.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

ROOT: Final = "mlflow-artifacts:/"
"""Address of the artefact root of whichever home is asked."""

_LOCAL_SCHEMES: Final = ("", "file")
_BUSY_S: Final = 30.0


class ArtifactPlaceError(ValueError):
    """An address does not lead to a place below this home's artefact root."""


def folder_of(address: str, root: Path) -> Path:
    """Return the folder in this home that an address of the embedded MLflow names.

    Args:
        address: Address as MLflow keeps it; an absolute path of a former place of the home counts from its artefact root on.
        root: Artefact root of this home.

    Raises:
        ArtifactPlaceError: the address is of another kind, or leads out of the root.
    """
    parts = urlsplit(address)
    path = unquote(parts.path)
    if parts.scheme in _LOCAL_SCHEMES:
        below = _below_root(path, root)
    else:
        below = path.lstrip("/") if parts.scheme == urlsplit(ROOT).scheme and not parts.netloc else None
    if below is None or ".." in PurePosixPath(below).parts:
        raise ArtifactPlaceError(f"{address} is no place below {root}: it was registered from elsewhere, and other folders are not read")
    return root / below


def _below_root(path: str, root: Path) -> str | None:
    """Return the part of a path below an artefact root, this home's or that of a former place; ``None`` where it is below neither."""
    if PurePosixPath(path).is_relative_to(root.as_posix()):
        return PurePosixPath(path).relative_to(root.as_posix()).as_posix()
    _, found, below = f"{path}/".rpartition(f"/{'/'.join(root.parts[-2:])}/")
    return below.rstrip("/") if found else None


_COLUMNS: Final = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow's database keeps addresses of artefacts."""


def make_portable(database: Path, root: Path) -> int:
    """Rewrite the addresses of an embedded MLflow that hold for one path only; a database that has none is only read.

    Args:
        database: MLflow's SQLite file; one that is not there is left so.
        root: Artefact root of this home.

    Returns:
        How many addresses were rewritten. Those that lead elsewhere than below an artefact root stay, and are never read.
    """
    if not database.is_file():
        return 0
    with closing(sqlite3.connect(database, timeout=_BUSY_S, isolation_level=None)) as connection:
        made = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        columns = [each for each in _COLUMNS if each[0] in made]
        if not any(_local(connection, table, column) for table, column in columns):
            return 0
        connection.execute("BEGIN IMMEDIATE")
        changed = sum(_rewrite(connection, table, column, root) for table, column in columns)
        connection.execute("COMMIT")
    return changed


def _local(connection: sqlite3.Connection, table: str, column: str) -> list[tuple[int, str]]:
    """Return the row ids and addresses of one column that are paths of a machine."""
    query = f"SELECT rowid, {column} FROM {table} WHERE {column} LIKE 'file:%' OR {column} LIKE '/%' OR {column} LIKE '.%'"  # noqa: S608 - names of ours
    return connection.execute(query).fetchall()


def _rewrite(connection: sqlite3.Connection, table: str, column: str, root: Path) -> int:
    changed = 0
    for row, address in _local(connection, table, column):
        below = _below_root(unquote(urlsplit(address).path), root)
        if below is None and table == "experiments":
            # MLflow gives its own first experiment a folder beside whichever directory it was started in
            below = str(connection.execute("SELECT experiment_id FROM experiments WHERE rowid = ?", (row,)).fetchone()[0])
        if below is not None:
            portable = ROOT if below in {"", "."} else f"{ROOT}{below}"
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (portable, row))  # noqa: S608 - names of ours
            changed += 1
    return changed
