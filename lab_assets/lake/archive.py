"""Files of earlier versions that were put away, and putting them back when a version is asked for.

Belongs here: what a table's archive holds, and giving it back. Does not belong here: putting away (``archiving.py``).

A data file that no longer belongs to the last version is kept as a reverse delta: which rows of which later files it consists of, and the
rows that no later file has. Commits before a checkpoint are kept in compressed packs. Both lie in ``_archive`` in the table's own folder,
which Delta's readers and its VACUUM pass over, so that a copied or moved table has all its versions. A file that is put back has the
name, the size and, row by row, the values that the log states; it is taken away again by a later maintenance (ADR 25).
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock

from lab_assets.lake.data_files import LOG, commit_path, log_segment
from lab_assets.lake.row_digests import digest_of_rows, row_digests

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER: Final = "_archive"
REFS: Final = ".refs.parquet"
ROWS: Final = ".rows.parquet"
_PACK: Final = re.compile(r"^log-(\d{20})-(\d{20})\.tar\.zst$", re.ASCII)
_LEVELS: Final = (9, 19)
"""Compression of files that are put back: the second where the first does not come below the size that the log states."""


class ArchiveError(OSError):
    """A file of an earlier version cannot be put back."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data file that was put away.

    Attributes:
        path: Below the table's folder.
        size: Bytes that the log states.
        batch: Beginning of the name of the archive's files that speak of it.
        digest: Digest of its rows in order; empty for a file that stays whole in the table's folder.
        chain: How many files that were put away before have rows in this one, one in the other.
        columns: Columns that it was written with; the table may have got more since.
        runs: Its rows in order: file (empty: the batch's own rows), first row, number of rows.
    """

    path: str
    size: int
    batch: str
    digest: str
    chain: int
    columns: tuple[str, ...]
    runs: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Commits that were put away, with the checkpoint that the first of them follows."""

    path: Path
    first: int
    last: int


@contextmanager
def archive_lock(folder: Path) -> Iterator[None]:
    """Keep putting away and putting back apart."""
    (folder / FOLDER).mkdir(exist_ok=True)
    with FileLock(folder / FOLDER / ".lock"):
        yield


def has_archive(folder: Path) -> bool:
    """Return whether anything of a table was ever put away."""
    return (folder / FOLDER).is_dir()


def entries(folder: Path) -> dict[str, Entry]:
    """Return the data files of a table that were put away, by path."""
    batches = sorted(name for name in names(folder) if name.endswith(REFS))
    return {path: entry for name in batches for path, entry in _batch(folder / FOLDER / name, _changed_ns(folder / FOLDER / name)).items()}


def packs(folder: Path) -> list[Pack]:
    """Return the packs of commits of a table, oldest first."""
    found = ((name, _PACK.match(name)) for name in sorted(names(folder)))
    return [Pack(path=folder / FOLDER / name, first=int(match[1]), last=int(match[2])) for name, match in found if match]


def pack_name(first: int, last: int) -> str:
    """Return the name of a pack of commits."""
    return f"log-{first:020d}-{last:020d}.tar.zst"


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
    _put_back_log(folder, version)
    if not commit_path(folder, version).is_file() and log_segment(folder, through=version).version != version:
        return  # never put away: the reader that asked says what is missing
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        places = [str(uri).removeprefix("file://") for uri in DeltaTable(str(folder), version=version).file_uris()]
    except DeltaError:
        return
    put_back_files(folder, [os.path.relpath(place, folder) for place in places])


def put_back_files(folder: Path, paths: Iterable[str]) -> None:
    """See that data files lie in a table's folder where they were put away.

    Raises:
        ArchiveError: one cannot be made again.
    """
    missing = [path for path in paths if not (folder / path).exists()]
    if not missing or not has_archive(folder):
        return
    with archive_lock(folder):
        held, schema = entries(folder), table_schema(folder)
        for path in missing:
            if (entry := held.get(path)) is None or (folder / path).exists():
                continue
            content = sized_parquet(_rows_of(folder, entry, held, schema).select(list(entry.columns)), entry.size)
            if content is None:
                raise ArchiveError(f"{folder / path} cannot be put back: its {entry.size} bytes do not hold its rows")
            write_durably(folder / path, content)


def commit_descriptions(folder: Path, before: int) -> list[dict[str, Any]]:
    """Return what the commits that were put away say of themselves, versions below a limit, newest first."""
    found: list[dict[str, Any]] = []
    for pack in reversed(packs(folder)):
        if pack.first < before:
            commits = {int(name.removesuffix(".json")): content for name, content in members(pack.path) if name.endswith(".json")}
            found += [_described(commits[version], version) for version in sorted(commits, reverse=True) if version < before]
    return found


def _described(content: bytes, version: int) -> dict[str, Any]:
    for line in content.splitlines():
        if (stated := json.loads(line).get("commitInfo")) is not None:
            return {**stated, "version": version}
    return {"version": version, "timestamp": 0}


def _put_back_log(folder: Path, version: int) -> None:
    segment = log_segment(folder, through=version)
    if segment.version == version and not segment.missing and (segment.checkpoint >= 0 or commit_path(folder, 0).is_file()):
        return
    needed = next((pack for pack in packs(folder) if pack.first <= version <= pack.last), None)
    if needed is None:
        return
    with archive_lock(folder):
        drafts: list[tuple[Path, Path]] = []
        for name, content in members(needed.path):
            if int(name[:20]) <= version and not (place := folder / LOG / name).exists():
                drafts.append((place.with_name(f".{name}.draft"), place))
                drafts[-1][0].write_bytes(content)
        os.sync()  # once for hundreds of small files
        for draft, place in drafts:
            draft.replace(place)


def members(pack: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a pack."""
    import zstandard

    try:
        with (
            pack.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            for member in tar:
                content = tar.extractfile(member)
                if content is not None:
                    yield member.name, content.read()
    except (zstandard.ZstdError, tarfile.TarError) as error:
        raise ArchiveError(f"{pack} is damaged ({error}); restore the table's folder from the last backup") from error


def _rows_of(folder: Path, entry: Entry, held: dict[str, Entry], schema: pa.Schema) -> pa.Table:
    """Return the rows of a file that was put away with a table's columns, seen to be those that it had."""
    import pyarrow as pa

    sources: dict[str, pa.Table] = {}
    for source, _, _ in entry.runs:
        if source not in sources:
            sources[source] = _source(folder, source, entry, held, schema)
    parts = [sources[source].slice(first, count) for source, first, count in entry.runs]
    rows = pa.concat_tables([schema.empty_table(), *parts])
    if digest_of_rows(row_digests(rows.select(list(entry.columns)))) != entry.digest:
        raise ArchiveError(
            f"{folder / entry.path} cannot be put back: a file that holds its rows has changed. Restore the table's folder from the last backup"
        )
    return rows


def _source(folder: Path, source: str, entry: Entry, held: dict[str, Entry], schema: pa.Schema) -> pa.Table:
    path = folder / source if source else folder / FOLDER / f"{entry.batch}{ROWS}"
    if source and not path.exists() and (earlier := held.get(source)) is not None:
        return _rows_of(folder, earlier, held, schema)
    return read_rows(path, schema)


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


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is whole, and on the disk, from the moment it can be seen."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have a folder's names on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def names(folder: Path) -> Sequence[str]:
    """Return the names of the files of a table's archive."""
    try:
        return os.listdir(folder / FOLDER)  # noqa: PTH208 - names alone
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _changed_ns(path: Path) -> int:
    return path.stat().st_mtime_ns


@lru_cache(maxsize=4096)
def _batch(path: Path, _mtime_ns: int) -> dict[str, Entry]:
    """Return what one batch put away; its file changes only where a table's folder was restored from a backup."""
    import pyarrow.parquet as pq

    batch = path.name.removesuffix(REFS)
    found: dict[str, Entry] = {}
    for row in pq.read_table(path).to_pylist():
        runs = tuple((row["sources"][run["source"]], run["first"], run["count"]) for run in row["runs"])
        stated = {name: row[name] for name in ("path", "size", "digest", "chain")}
        found[row["path"]] = Entry(**stated, batch=batch, columns=tuple(row["columns"]), runs=runs)
    return found
