"""What changed between two versions of a table, from its log: the files that came and went, and the rows in them.

Belongs here: net changes of files and rows. Does not belong here: what follows from them (``lab_assets.stations``).

Commits that only arrange rows anew (compaction) say so in the log and are no change, unless a later one takes their files apart. A
commit that replaced some rows of a file brings the whole file again; rows that stand in a removed file as well are no change either. So
the cost follows the files that were written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from lab_assets.lake.archive import put_back, put_back_files
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
    net = _Net()
    folder = local_path(uri)
    for version in range(since + 1, until + 1):
        net.commit(*_actions(folder, version))
    came, gone = net.read(net.came), net.read(net.gone)
    put_back_files(folder, (*came, *gone), since)
    return [f"{folder}/{path}" for path in came], [f"{folder}/{path}" for path in gone]


class _Net:
    """What commits did to the files of a table, net.

    Files that a compaction put together and what came of them are one arrangement of the same rows, and are not read: as long as no
    other commit touches them. Once one replaced some rows of the compacted file, only the rows tell what changed.
    """

    def __init__(self) -> None:
        self.came: dict[str, int] = {}
        self.gone: dict[str, int] = {}
        self._changed: list[bool] = []
        self._merged_into: list[int] = []

    def commit(self, removed: Sequence[str], added: Sequence[str], is_change: bool) -> None:
        """Take in one commit."""
        own = len(self._changed)
        self._changed.append(is_change)
        self._merged_into.append(own)
        for path in removed:
            if (before := self.came.pop(path, None)) is not None:
                self._merge(before, own)
            else:
                self.gone[path] = own
        for path in added:
            if (before := self.gone.pop(path, None)) is not None:  # a restore brought it back
                self._merge(before, own)
            else:
                self.came[path] = own

    def read(self, files: dict[str, int]) -> list[str]:
        """Return the files whose rows may have changed."""
        return [path for path, commit in files.items() if self._changed[self._root(commit)]]

    def _merge(self, one: int, other: int) -> None:
        first, second = self._root(one), self._root(other)
        self._changed[second] = self._changed[second] or self._changed[first]
        self._merged_into[first] = second

    def _root(self, commit: int) -> int:
        while self._merged_into[commit] != commit:
            commit = self._merged_into[commit]
        return commit


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

    if not is_remote(uri):
        for version in (since, until):
            put_back(local_path(uri), version)
    before, after = set(DeltaTable(uri, version=since).file_uris()), set(DeltaTable(uri, version=until).file_uris())
    return sorted(after - before), sorted(before - after)


def rows_of(files: Sequence[str], schema: pl.Schema, where: pl.Expr | None = None) -> pl.DataFrame:
    """Read some columns of data files; a column that a file was written without is empty in its rows."""
    import polars as pl

    if not files:
        return pl.DataFrame(schema=schema)
    frame = file_rows(files, schema)
    return (frame if where is None else frame.filter(where)).collect()


def file_rows(files: Sequence[str], schema: pl.Schema) -> pl.LazyFrame:
    """Return some columns of at least one data file, to be read lazily."""
    import polars as pl

    return pl.scan_parquet(list(files), schema=schema, missing_columns="insert", extra_columns="ignore")


def difference(added: pl.DataFrame, removed: pl.DataFrame) -> Changes:
    """Return what either side has more of; a row that stands on one side more often than on the other is a change as well."""
    import polars as pl

    if added.is_empty() or removed.is_empty():
        return Changes(added=added, removed=removed)
    columns = added.columns
    both = pl.concat([added.with_columns(pl.lit(1).alias(_COUNT)), removed.with_columns(pl.lit(-1).alias(_COUNT))])
    counted = both.group_by(columns, maintain_order=True).agg(pl.col(_COUNT).sum())
    return Changes(added=_repeated(counted, pl.col(_COUNT)), removed=_repeated(counted, -pl.col(_COUNT)))


_COUNT: Final = "__count"


def _repeated(counted: pl.DataFrame, count: pl.Expr) -> pl.DataFrame:
    """Return the rows with a positive count, each so many times."""
    import numpy as np
    import polars as pl

    kept = counted.with_columns(count.alias(_COUNT)).filter(pl.col(_COUNT) > 0)
    rows = kept.drop(_COUNT)
    return rows[np.repeat(np.arange(kept.height), kept[_COUNT].to_numpy())] if kept.height and kept[_COUNT].max() != 1 else rows
