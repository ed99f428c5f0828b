"""Files of earlier versions that were put away, and putting them back when a version is asked for.

Belongs here: what a table's archive holds, and giving it back. Does not belong here: putting away (``archiving.py``).

A data file that no longer belongs to the last version is kept as a reverse delta: which rows of which later files it consists of, and the
rows that no later file has. Commits before a checkpoint are kept in compressed packs. Both lie in ``_archive`` in the table's own folder,
which Delta's readers and its VACUUM pass over, so that a copied or moved table has all its versions. A file that is put back has the
name, the size and, row by row, the values that the log states; it is taken away again by a later maintenance (ADR 25).
"""

from __future__ import annotations

import io
import os
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from lab_assets.lake.archive_folder import FOLDER, ArchiveError, archive_lock, has_archive, names, write_durably
from lab_assets.lake.data_files import commit_path, log_segment
from lab_assets.lake.log_packs import put_back_log
from lab_assets.lake.row_digests import digest_of_rows, row_digests

if TYPE_CHECKING:
    import pyarrow as pa

REFS: Final = ".refs.parquet"
ROWS: Final = ".rows.parquet"
PUT_BACK: Final = "put_back"
WHOLE: Final = "whole"
TAKEN: Final = "taken"
_HELD: Final = 8
"""Tables of rows kept while files are put back."""
_BATCH: Final = re.compile(r"^(\d{20})-(\d{20})\.refs\.parquet$", re.ASCII)
_LEVELS: Final = (9, 19)
"""Compression of files that are put back: the second where the first does not come below the size that the log states."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data file that was put away.

    Attributes:
        path: Below the table's folder.
        size: Bytes that the log states.
        digest: Digest of its rows in order; empty for a file that is kept whole.
        columns: Columns that it was written with; the table may have got more since.
        runs: Its rows in order: file (empty: the batch's own rows), first row, number of rows.
    """

    path: str
    size: int
    digest: str
    columns: tuple[str, ...]
    runs: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Data files that were put away at once: those that some commits replaced.

    Attributes:
        path: The file that says which.
        first: First of these commits.
        last: Last of them.
    """

    path: Path
    first: int
    last: int

    @property
    def rows(self) -> Path:
        """The rows that no other file has."""
        return self.path.with_name(self.path.name.removesuffix(REFS) + ROWS)

    def entries(self) -> dict[str, Entry]:
        """Return the data files, by path."""
        return _entries(self.path, self.path.stat().st_mtime_ns)


def batches(folder: Path) -> list[Batch]:
    """Return the batches of a table, oldest first."""
    found = ((name, _BATCH.match(name)) for name in sorted(names(folder)))
    return [Batch(path=folder / FOLDER / name, first=int(match[1]), last=int(match[2])) for name, match in found if match]


def batch_name(first: int, last: int) -> str:
    """Return the beginning of the names of a batch's files."""
    return f"{first:020d}-{last:020d}"


def put_back(folder: Path, version: int) -> None:
    """See that what a version relies on lies where its log says: commits, checkpoint and data files.

    Args:
        folder: Folder of a table on this machine.
        version: The version.

    Raises:
        ArchiveError: a file that was put away cannot be made again.
    """
    if not has_archive(folder):
        return
    put_back_log(folder, version)
    if not commit_path(folder, version).is_file() and log_segment(folder, through=version).version != version:
        return  # never put away: the reader that asked says what is missing
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        places = [str(uri).removeprefix("file://") for uri in DeltaTable(str(folder), version=version).file_uris()]
    except DeltaError:
        return
    put_back_files(folder, [os.path.relpath(place, folder) for place in places], version)


def put_back_files(folder: Path, paths: Iterable[str], version: int) -> None:
    """See that data files lie in a table's folder where they were put away.

    Args:
        folder: Folder of a table on this machine.
        paths: The files.
        version: A version that has them, or one before.

    Raises:
        ArchiveError: one cannot be made again.
    """
    if not has_archive(folder) or all((folder / path).exists() for path in paths):
        return
    with archive_lock(folder):
        archived = _Archived(folder)
        for path, (entry, batch) in archived.find([path for path in paths if not (folder / path).exists()], version).items():
            content = whole_of(folder, path).read_bytes() if not entry.digest else archived.content(entry, batch)
            if content is None:
                raise ArchiveError(f"{folder / path} cannot be put back: its {entry.size} bytes do not hold its rows")
            mark = mark_of(folder, path)
            mark.parent.mkdir(exist_ok=True)
            mark.touch()
            write_durably(folder / path, content)


def mark_of(folder: Path, path: str) -> Path:
    """Return the empty file that says that a data file was put back, so that it is taken away again."""
    return folder / FOLDER / PUT_BACK / quote(path, safe="")


def whole_of(folder: Path, path: str) -> Path:
    """Return where a data file is kept whole, whose rows need as many bytes as it has."""
    return folder / FOLDER / WHOLE / quote(path, safe="")


def marked(folder: Path) -> list[str]:
    """Return the data files that were put back."""
    return sorted(unquote(mark.name) for mark in (folder / FOLDER / PUT_BACK).glob("*"))


class _Archived:
    """The data files of a table that were put away, being read; a file that many of them have rows in is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._batches = batches(folder)
        self._schema = table_schema(folder)
        self._read: OrderedDict[Path | str, pa.Table] = OrderedDict()

    def find(self, paths: Iterable[str], version: int) -> dict[str, tuple[Entry, Batch]]:
        """Return what became of files that a version has: they were replaced after it, mostly soon."""
        wanted, found = set(paths), dict[str, tuple[Entry, Batch]]()
        for batch in self._batches:
            if not wanted:
                break
            if batch.last > version:
                here = {path: entry for path, entry in batch.entries().items() if path in wanted}
                found |= {path: (entry, batch) for path, entry in here.items()}
                wanted -= here.keys()
        return found

    def content(self, entry: Entry, batch: Batch) -> bytes | None:
        """Return a file as it is put back; ``None`` where its size does not hold its rows."""
        return sized_parquet(self.rows(entry, batch).select(list(entry.columns)), entry.size)

    def rows(self, entry: Entry, batch: Batch) -> pa.Table:
        """Return the rows of a file with the table's columns, seen to be those that it had."""
        import pyarrow as pa

        parts = [self._source(source, batch).slice(first, count) for source, first, count in entry.runs]
        rows = pa.concat_tables([self._schema.empty_table(), *parts])
        if digest_of_rows(row_digests(rows.select(list(entry.columns)))) != entry.digest:
            raise ArchiveError(
                f"{self._folder / entry.path} cannot be put back: a file that holds its rows has changed. "
                "Restore the table's folder from the last backup"
            )
        return rows

    def _source(self, source: str, batch: Batch) -> pa.Table:
        key = source or batch.rows
        if (held := self._read.pop(key, None)) is None:
            held = self._read_source(source, batch)
        self._read[key] = held
        while len(self._read) > _HELD:
            self._read.popitem(last=False)
        return held

    def _read_source(self, source: str, batch: Batch) -> pa.Table:
        if not source:
            return read_rows(batch.rows, self._schema)
        if not (self._folder / source).exists() and (found := self.find([source], batch.last)):
            entry, later = found[source]
            return self.rows(entry, later) if entry.digest else read_rows(whole_of(self._folder, source), self._schema)
        return read_rows(self._folder / source, self._schema)


def read_rows(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a data file with a table's columns; one that it was written without is empty.

    Raises:
        ArchiveError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        held = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowInvalid) as error:
        raise ArchiveError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); restore the table's folder from the last backup"
        ) from error
    columns = [
        held.column(each.name).cast(each.type) if each.name in held.column_names else pa.nulls(held.num_rows, each.type) for each in schema
    ]
    return pa.table(columns, schema=schema)


def columns_of(path: Path) -> list[str]:
    """Return the columns that a data file was written with."""
    import pyarrow.parquet as pq

    return list(pq.read_schema(path).names)


def table_schema(folder: Path) -> pa.Schema:
    """Return the columns of a table's last version; columns are only ever added."""
    import pyarrow as pa
    from deltalake import DeltaTable

    return pa.schema(DeltaTable(str(folder)).schema().to_arrow())


def sized_parquet(rows: pa.Table, size: int) -> bytes | None:
    """Return rows as a Parquet file of a given size, the one that a log states and readers rely on; ``None`` where they need more.

    What is left is filled up before the footer, whose place readers count from the end.
    """
    import pyarrow.parquet as pq

    for level in _LEVELS:
        sink = io.BytesIO()
        pq.write_table(
            rows, sink, compression="zstd", compression_level=level, write_statistics=False, store_schema=False, row_group_size=32 * 1024
        )
        content = sink.getvalue()
        if len(content) <= size:
            footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
            return content[:footer] + bytes(size - len(content)) + content[footer:]
    return None


@lru_cache(maxsize=64)
def _entries(path: Path, _mtime_ns: int) -> dict[str, Entry]:
    """Return what one batch put away; its file changes only where a table's folder was restored from a backup."""
    import pyarrow.parquet as pq

    found: dict[str, Entry] = {}
    for row in pq.read_table(path).to_pylist():
        runs = tuple((row["sources"][run["source"]], run["first"], run["count"]) for run in row["runs"])
        stated = {name: row[name] for name in ("path", "size", "digest")}
        found[row["path"]] = Entry(**stated, columns=tuple(row["columns"]), runs=runs)
    return found
