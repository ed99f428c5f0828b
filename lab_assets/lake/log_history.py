"""The commits of a table as they describe themselves, those that were put away included.

Belongs here: one list of both. Does not belong here: what the descriptions mean (``derivation.py``), the packs (``log_packs.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_assets.lake.data_files import commit_name, local_path, log_names
from lab_assets.lake.log_packs import commit_descriptions
from lab_assets.lake.opening import is_remote

if TYPE_CHECKING:
    from deltalake import DeltaTable


def history(table: DeltaTable, limit: int | None = None) -> list[dict[str, Any]]:
    """Return the commits of an open table, newest first.

    Args:
        table: The table.
        limit: Most commits; default: all.
    """
    if is_remote(table.table_uri):
        return table.history(limit)
    folder = local_path(table.table_uri)
    present = _commits_in_a_row(folder, table.version())
    wanted = table.version() + 1 if limit is None else limit
    # asked for no more than lie there in a row: Delta's own list numbers commits by counting, past a gap as well
    found = table.history(min(wanted, present)) if present else []
    if len(found) < wanted and present <= table.version():
        found += commit_descriptions(folder, table.version() + 1 - present)
    return found[:wanted]


def _commits_in_a_row(folder: Path, last: int) -> int:
    """Return how many commits up to the last one lie in the log without a gap."""
    there = set(log_names(folder))
    return next((last - version for version in range(last, -1, -1) if commit_name(version) not in there), last + 1)
