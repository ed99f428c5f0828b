"""The files that hold a table up to one of its versions: what a backup of it consists of while others go on writing.

Belongs here: telling committed files from those of later or unfinished commits. Does not belong here: copying them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy import select

from lab_assets.lake.data_files import LOG, local_path, log_names
from lab_assets.lake.opening import DamagedTableError
from lab_assets.state.ledger import Ledger
from lab_assets.state.ledger_tables import DATA_FILES

_DIGITS = 20
_ADD = '"add"'


@dataclass(frozen=True, kw_only=True)
class PinnedFile:
    """One file of a table.

    Attributes:
        path: Below the table's folder.
        sha256: Digest that the ledger took when it was committed; ``None`` where it has none.
        is_needed: Whether the version itself cannot be read without it; others hold earlier versions alone.
    """

    path: str
    sha256: str | None
    is_needed: bool


def pinned_files(name: str, uri: str, version: int, ledger: Ledger) -> list[PinnedFile]:
    """Return the files of a table on this machine up to a version, those of the log first.

    Args:
        name: ``layer.table``.
        uri: Where it lies.
        version: The version.
        ledger: What was committed.

    Raises:
        DamagedTableError: the version cannot be opened.
    """
    folder = local_path(uri)
    query = select(DATA_FILES.c.path, DATA_FILES.c.sha256).where(DATA_FILES.c.table_name == name, DATA_FILES.c.version <= version)
    with ledger.engine.connect() as connection:
        noted = {row.path: row.sha256 for row in connection.execute(query)}
    log = sorted(f"{LOG}/{each}" for each in log_names(folder) if each[:_DIGITS].isdecimal() and int(each[:_DIGITS]) <= version)
    live = set(_live_files(name, uri, version))
    added = {path for path in noted if not path.startswith(LOG)}
    for path in log:
        if path.endswith(".json") and path not in noted:
            added |= set(_added(folder / path))
    data = [PinnedFile(path=path, sha256=noted.get(path), is_needed=path in live) for path in sorted(added | live)]
    return [*(PinnedFile(path=path, sha256=noted.get(path), is_needed=True) for path in log), *data]


def _live_files(name: str, uri: str, version: int) -> Iterator[str]:
    """Yield the data files of a version, below the table's folder."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        table = DeltaTable(uri, version=version)
    except DeltaError as error:
        raise DamagedTableError(f"{name}: version {version} at {uri} cannot be read ({str(error).splitlines()[0]})") from error
    root = local_path(uri).as_posix()
    for found in table.file_uris():
        yield unquote(found).removeprefix("file://").removeprefix(root).lstrip("/")


def _added(commit: Path) -> Iterator[str]:
    """Yield the data files that a commit added."""
    for line in commit.read_text(encoding="utf-8").splitlines():
        if _ADD in line and (action := json.loads(line).get("add")):
            yield unquote(action["path"])
