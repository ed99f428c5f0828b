"""Writing a batch of a table's archive: replaced data files as runs of rows of their heirs, with the rows that no heir has.

Belongs here: what commits did to files, and the two files of a batch. Does not belong here: which files are put away, taking them away
(``archiving.py``), reading a batch (``archive.py``).
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from lab_assets.lake import archive
from lab_assets.lake.archive_folder import FOLDER, ArchiveError, sync_folder, write_durably
from lab_assets.lake.data_files import commit_path
from lab_assets.lake.row_digests import digest_of_rows, row_digests

if TYPE_CHECKING:
    import pyarrow as pa

_OWN_ROWS_EVERY: Final = 30
"""Every so many batches the files are kept by rows of their own, so that no more than these have to be made again for one."""
_LEVEL: Final = 12


@dataclass
class ReplacedFiles:
    """What the commits after the last batch did to the files of a table.

    Attributes:
        first: First of these commits.
        through: Last one that is older than the grace.
        removed_in: Last commit that removed a file, by its path.
        added_in: Last commit that added it.
        named: Every path that they name.
        joined: Which commits passed files on to one another.
    """

    first: int
    through: int = -1
    removed_in: dict[str, int] = field(default_factory=dict[str, int])
    added_in: dict[str, int] = field(default_factory=dict[str, int])
    named: set[str] = field(default_factory=set[str])
    joined: dict[int, int] = field(default_factory=dict[int, int])

    def root(self, commit: int) -> int:
        """Return the first commit of those that passed files on to one another."""
        while self.joined.get(commit, commit) != commit:
            commit = self.joined[commit]
        return commit

    def take(self, version: int, removed: Sequence[str], added: Sequence[str]) -> None:
        """Take in one commit."""
        self.joined[version] = version
        for path in removed:
            if (before := self.added_in.get(path)) is not None:
                self.joined[self.root(before)] = self.root(version)
            self.removed_in[path] = version
        for path in added:
            if (before := self.removed_in.get(path)) is not None:
                self.joined[self.root(before)] = self.root(version)
            self.added_in[path] = version
        self.named |= {*removed, *added}


def read_log(folder: Path, last: int, before: datetime) -> ReplacedFiles:
    """Read the commits after those whose files were put away.

    Args:
        folder: Folder of a table.
        last: Its last version.
        before: Commits before this moment are old enough.
    """
    log = ReplacedFiles(first=max((batch.last for batch in archive.batches(folder)), default=-1) + 1)
    limit_ms = before.timestamp() * 1000
    for version in range(log.first, last + 1):
        path = commit_path(folder, version)
        if not path.is_file():
            continue  # its files were looked at before it was packed
        removed, added, at_ms = _actions(path)
        log.take(version, removed, added)
        if at_ms <= limit_ms and log.through in {version - 1, -1}:
            log.through = version
    log.through = max(log.through, log.first - 1)
    return log


def _actions(path: Path) -> tuple[list[str], list[str], float]:
    """Return the files that a commit removed and added, and its time in milliseconds."""
    removed: list[str] = []
    added: list[str] = []
    at_ms = path.stat().st_mtime * 1000
    for line in path.read_bytes().splitlines():
        action: dict[str, Any] = json.loads(line)
        if (gone := action.get("remove")) is not None:
            removed.append(unquote(gone["path"]))
        elif (came := action.get("add")) is not None:
            added.append(unquote(came["path"]))
        elif (stated := action.get("commitInfo")) is not None:
            at_ms = float(stated.get("timestamp") or at_ms)
    return removed, added, at_ms


def write_batch(folder: Path, dead: Sequence[str], live: set[str], log: ReplacedFiles) -> list[Path]:
    """Write which rows of which files the replaced ones consist of, and the rows that no other file has.

    Args:
        folder: Folder of a table, under its archive's lock.
        dead: Files that are to be put away.
        live: Files of the last version.
        log: What commits did to files.

    Returns:
        The batch's files, on the disk and read back.

    Raises:
        ArchiveError: a file cannot be read, or the batch does not hold what it should.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = archive.batch_name(log.first, log.through)
    rows_path, refs_path = (folder / FOLDER / f"{name}{ending}" for ending in (archive.ROWS, archive.REFS))
    schema, by_own_rows = archive.table_schema(folder), len(archive.batches(folder)) % _OWN_ROWS_EVERY == _OWN_ROWS_EVERY - 1
    groups: dict[int, list[str]] = {}
    for path in dead:
        groups.setdefault(log.root(log.removed_in[path]), []).append(path)
    heirs: dict[int, list[str]] = {}
    for path in sorted(live & log.added_in.keys()):
        heirs.setdefault(log.root(log.added_in[path]), []).append(path)
    refs: list[dict[str, Any]] = []
    own = _OwnRows(rows_path, schema)
    for root, paths in groups.items():
        places = {} if by_own_rows else _places(folder, heirs.get(root, ()), schema)
        refs += [_reference(folder / path, path, places, own) for path in paths]
    own.close()
    names = pa.list_(pa.string())
    kinds = {"path": pa.string(), "size": pa.int64(), "digest": pa.string(), "columns": names, "sources": names}
    run = pa.struct([("source", pa.int32()), ("first", pa.int64()), ("count", pa.int64())])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(refs, schema=pa.schema([*kinds.items(), ("runs", pa.list_(run))])), sink, compression="zstd")
    write_durably(refs_path, sink.getvalue())  # the last: a batch counts from here on
    return [refs_path, *([rows_path] if own.count else [])]


def _places(folder: Path, paths: Sequence[str], schema: pa.Schema) -> dict[bytes, tuple[str, int]]:
    """Return where each row stands in some files, by its digest."""
    return {digest: (path, row) for path in paths for row, digest in enumerate(row_digests(archive.read_rows(folder / path, schema)))}


def _reference(file: Path, path: str, places: dict[bytes, tuple[str, int]], own: _OwnRows) -> dict[str, Any]:
    """Return one file as runs of rows of others, and keep the rows that no other has."""
    rows, columns, size = archive.read_rows(file, own.schema), archive.columns_of(file), file.stat().st_size
    written = rows.select(columns)
    stated: dict[str, Any] = {"path": path, "size": size, "digest": "", "columns": columns, "sources": [], "runs": []}
    if archive.sized_parquet(written, size) is None:
        return stated
    digests = row_digests(rows)
    of_file = digest_of_rows(digests if columns == own.schema.names else row_digests(written))
    found = [places.get(digest) for digest in digests]
    kept = own.keep(rows, digests, [row for row, place in enumerate(found) if place is None])
    runs: list[list[Any]] = []
    for place, digest in zip(found, digests, strict=True):
        source, row = place or ("", kept[digest])
        if runs and runs[-1][0] == source and runs[-1][1] + runs[-1][2] == row:
            runs[-1][2] += 1
        else:
            runs.append([source, row, 1])
    sources = sorted({source for source, _, _ in runs})
    numbers = {source: number for number, source in enumerate(sources)}
    listed = [{"source": numbers[source], "first": first, "count": count} for source, first, count in runs]
    return {**stated, "digest": of_file, "sources": sources, "runs": listed}


class _OwnRows:
    """Rows that a batch keeps itself, each once."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self.schema = path, schema
        self._places: dict[bytes, int] = {}
        self._draft = path.with_name(f".{path.name}.draft")
        self._writer: Any = None

    @property
    def count(self) -> int:
        """Rows kept."""
        return len(self._places)

    def keep(self, rows: pa.Table, digests: Sequence[bytes], wanted: Sequence[int]) -> dict[bytes, int]:
        """Keep some rows of a file that are not kept yet, and return where each row stands."""
        import pyarrow.parquet as pq

        new = list({digests[row]: row for row in wanted if digests[row] not in self._places}.values())
        if new:
            if self._writer is None:
                self._writer = pq.ParquetWriter(
                    self._draft, self.schema, compression="zstd", compression_level=_LEVEL, write_statistics=False
                )
            self._writer.write_table(rows.take(new))
            for row in new:
                self._places[digests[row]] = len(self._places)
        return self._places

    def close(self) -> None:
        """Have the rows on the disk, and see that they can be read back.

        Raises:
            ArchiveError: they are not what was to be kept.
        """
        if self._writer is None:
            return
        self._writer.close()
        if row_digests(archive.read_rows(self._draft, self.schema)) != list(self._places):
            raise ArchiveError(f"{self._draft} does not hold the rows that were to be kept; nothing was taken away")
        with self._draft.open("rb") as file:
            os.fsync(file.fileno())
        self._draft.replace(self._path)
        sync_folder(self._path.parent)
