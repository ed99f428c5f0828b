"""What changed between two versions of a table, from its log: the files that came and went, and the rows in them.

Belongs here: net changes of files and rows. Does not belong here: what follows from them (``lab_assets.stations``).

Commits that only arrange rows anew (compaction) say so in the log and are no change. A commit that replaced some rows of a file brings
the whole file again; rows that stand in a removed file as well are no change either. So the cost follows the files that were written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lab_assets.lake.data_files import commit_path, local_path
from lab_assets.lake.opening import is_remote

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Rows of a table that changed between two versions, some of its columns.

    Attributes:
        added: Rows that only the later version has.
        removed: Rows that only the earlier version has.
    """

    added: pl.DataFrame
    removed: pl.DataFrame

    @property
    def both(self) -> pl.DataFrame:
        """Rows of either kind: what a change touches, it touches by what it was and by what it is."""
        import polars as pl

        return self.added if self.removed.is_empty() else pl.concat([self.added, self.removed])

    def is_empty(self) -> bool:
        """Return whether nothing changed in these columns."""
        return self.added.is_empty() and self.removed.is_empty()


def changed_files(uri: str, since: int, until: int) -> tuple[list[str], list[str]]:
    """Return the data files that came and went between two versions, net, as addresses that can be read.

    Args:
        uri: Where the table lies.
        since: Earlier version.
        until: Later version, at least ``since``.
    """
    if is_remote(uri) or not all(commit_path(local_path(uri), version).is_file() for version in range(since + 1, until + 1)):
        return _by_comparison(uri, since, until)
    came: dict[str, bool] = {}
    gone: dict[str, bool] = {}
    folder = local_path(uri)
    for version in range(since + 1, until + 1):
        removed, added, is_change = _actions(folder, version)
        # a compacted file that took in news of this span is news, and what else it took in must be read to tell them apart
        is_change = is_change or any(came.get(path, False) for path in removed)
        for path in removed:
            if path in came:
                del came[path]
            else:
                gone[path] = is_change
        for path in added:
            if path in gone:  # a restore brought it back
                del gone[path]
            else:
                came[path] = is_change
    return (
        [f"{folder}/{path}" for path, is_change in came.items() if is_change],
        [f"{folder}/{path}" for path, is_change in gone.items() if is_change],
    )


def _actions(folder: Path, version: int) -> tuple[list[str], list[str], bool]:
    """Return the files that one commit removed and added, and whether it changed any row."""
    removed: list[str] = []
    added: list[str] = []
    is_change = False
    for line in commit_path(folder, version).read_text(encoding="utf-8").splitlines():
        action = json.loads(line)
        for kind, paths in (("remove", removed), ("add", added)):
            if (file := action.get(kind)) is not None:
                paths.append(unquote(file["path"]))
                is_change = is_change or bool(file.get("dataChange", True))
    return removed, added, is_change


def _by_comparison(uri: str, since: int, until: int) -> tuple[list[str], list[str]]:
    """Compare the files of two versions: right for any log, at the cost of reading what compaction arranged anew."""
    from deltalake import DeltaTable

    before, after = set(DeltaTable(uri, version=since).file_uris()), set(DeltaTable(uri, version=until).file_uris())
    return sorted(after - before), sorted(before - after)


def rows_of(files: Sequence[str], schema: pl.Schema, where: pl.Expr | None = None) -> pl.DataFrame:
    """Read some columns of data files; a column that a file was written without is empty in its rows."""
    import polars as pl

    if not files:
        return pl.DataFrame(schema=schema)
    frame = pl.scan_parquet(list(files), schema=schema, missing_columns="insert", extra_columns="ignore")
    return (frame if where is None else frame.filter(where)).collect()


def difference(added: pl.DataFrame, removed: pl.DataFrame) -> Changes:
    """Return what is only on either side; rows that repeat on one side count once."""
    if added.is_empty() or removed.is_empty():
        return Changes(added=added, removed=removed)
    columns = added.columns
    return Changes(
        added=added.join(removed, on=columns, how="anti", nulls_equal=True),
        removed=removed.join(added, on=columns, how="anti", nulls_equal=True),
    )
