"""Work cut into parts: which rows each has, and running a function over them. What runs it, and where, changes nothing of the result.

Belongs here: cutting rows and files, reading the rows of a part, running one. Does not belong here: processes and servers (``local.py``,
``spark.py``).

A part is described in a few numbers: rows as an Arrow stream, or files with the positions of the wanted rows. This process reads the
columns that decide which rows are wanted, which are short; the long ones, such as the points of traces, are read where the work is done.
"""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from lab_assets.compute.protocol import BatchFunction, FileRows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import pyarrow.parquet as pq

    Positions = npt.NDArray[np.int64]

_ROWS_A_BATCH: Final = 256
"""Rows of files handed over at a time: a few megabytes of traces."""


@dataclass(frozen=True, kw_only=True)
class FilePart:
    """Rows of one file that a part wants.

    Attributes:
        file: Path or URI.
        rows: Which columns are read and how they are named; its ``files`` and ``where`` have done their work.
        positions: Positions of the rows in the file, ascending.
        groups: Number of the group of each row; ``None`` without groups.
    """

    file: str
    rows: FileRows
    positions: Positions
    groups: Positions | None


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of some work, as it travels to whoever does it.

    Attributes:
        n_rows: Rows it works on.
        payload: Pickled Arrow stream or list of ``FilePart``.
    """

    n_rows: int
    payload: bytes


class PartsCompute(ABC):
    """The protocol ``Compute``, for those who can run parts."""

    @abstractmethod
    def run(self, function: BatchFunction, parts: Sequence[Part], schema: pa.Schema, *, isolated: bool) -> pa.Table:
        """Run a function over each part and return what it yielded, in the order of the parts."""

    def map_rows(self, function: BatchFunction, rows: pa.Table, schema: pa.Schema, *, tasks: int = 1, isolated: bool = False) -> pa.Table:
        """Run a function over rows that this process holds; see ``Compute``."""
        return self.run(function, cut_rows(rows, tasks), schema, isolated=isolated)

    def map_files(
        self, function: BatchFunction, rows: Sequence[FileRows], schema: pa.Schema, *, tasks: int = 1, group_by: str | None = None
    ) -> pa.Table:
        """Run a function over rows of data files; see ``Compute``."""
        return self.run(function, cut_files(rows, tasks, group_by), schema, isolated=False)


def cut_rows(rows: pa.Table, tasks: int) -> list[Part]:
    """Cut rows into consecutive parts of about the same size; no rows are no part."""
    bounds = _bounds(rows.num_rows, tasks)
    return [
        Part(n_rows=end - start, payload=pickle.dumps(to_ipc(rows.slice(start, end - start).combine_chunks())))
        for start, end in pairwise(bounds)
    ]


def cut_files(rows: Sequence[FileRows], tasks: int, group_by: str | None) -> list[Part]:
    """Find the wanted rows of files and cut them into parts; rows of one group are in one part.

    Raises:
        FileNotFoundError: a file is gone.
        KeyError: an entry has no column of the group's name.
    """
    import numpy as np

    numbers: dict[Any, int] = {}
    found: list[FilePart] = []
    for entry in rows:
        for file in entry.files:
            positions, keys = _wanted(file, entry, group_by)
            if positions.size:
                groups = None if group_by is None else np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
                found.append(FilePart(file=file, rows=entry, positions=positions, groups=groups))
    if not found:
        return []
    if group_by is None:
        total = sum(part.positions.size for part in found)
        offsets = np.cumsum([0, *(part.positions.size for part in found)])
        places = [np.arange(start, start + part.positions.size) for start, part in zip(offsets, found, strict=False)]
        bounds = _bounds(total, tasks)
    else:
        places = [part.groups for part in found if part.groups is not None]
        bounds = _bounds(len(numbers), tasks)
    return [_part_within(found, places, start, end) for start, end in pairwise(bounds)]


def _part_within(found: Sequence[FilePart], places: Sequence[Positions], start: int, end: int) -> Part:
    """Return the part of the rows whose place, a running number or a group's, lies in a range."""
    mine: list[FilePart] = []
    for part, place in zip(found, places, strict=True):
        inside = (place >= start) & (place < end)
        if inside.any():
            groups = None if part.groups is None else part.groups[inside]
            rows = FileRows(files=(), schema=part.rows.schema, columns=part.rows.columns, constants=part.rows.constants)
            mine.append(FilePart(file=part.file, rows=rows, positions=part.positions[inside], groups=groups))
    return Part(n_rows=sum(part.positions.size for part in mine), payload=pickle.dumps(mine))


def _bounds(count: int, tasks: int) -> list[int]:
    parts = max(1, min(tasks, count))
    return [count * at // parts for at in range(parts + 1)] if count else []


def run_part(function: BatchFunction, payload: bytes, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Run a function over one part.

    Yields:
        What the function yields.

    Raises:
        FileNotFoundError: a file is gone.
        TypeError: the function yielded another schema.
    """
    content: bytes | list[FilePart] = pickle.loads(payload)  # noqa: S301 - made by ``cut_rows`` and ``cut_files``
    for batches in _calls(content):
        for made in function(batches):
            if not made.schema.equals(schema):
                raise TypeError(f"the function yielded\n{made.schema.to_string()}\nwhere this was asked for:\n{schema.to_string()}")
            yield made


def _calls(content: bytes | list[FilePart]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Yield the batches of each call of the function: of the whole part, or of one group after the other."""
    if isinstance(content, bytes):
        yield iter(from_ipc(content).to_batches())
    elif content[0].groups is None:
        yield (batch for part in content for batch in _read(part))
    else:
        yield from _groups(content)


def _groups(content: Sequence[FilePart]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Yield the rows of each group as one batch, in the order of the files and of the rows in them."""
    import numpy as np
    import pyarrow as pa

    rows = pa.Table.from_batches([batch for part in content for batch in _read(part)])
    groups = np.concatenate([part.groups for part in content if part.groups is not None])
    order = np.argsort(groups, kind="stable")
    # taken once: to take a group's rows out of many chunks, all of these are joined first
    ordered = rows.take(order).combine_chunks()
    starts = [0, *(np.flatnonzero(np.diff(groups[order])) + 1).tolist(), len(order)]
    for start, end in pairwise(starts):
        yield iter(ordered.slice(start, end - start).to_batches())


def _wanted(file: str, rows: FileRows, group_by: str | None) -> tuple[Positions, list[Any]]:
    """Return the positions of the wanted rows of a file, and the group's key of each."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    sources = {name: source for source, name in rows.columns.items()}
    key = None if group_by is None else sources[group_by]
    with _opened(file) as parquet:
        positions = np.arange(parquet.metadata.num_rows, dtype=np.int64)
        names = {*rows.where, *(() if key is None else (key,))}
        deciding = parquet.read(columns=[name for name in parquet.schema_arrow.names if name in names])
    columns = {name: _column(deciding, name, rows.schema.field(name).type, positions.size) for name in names}
    kept = np.ones(positions.size, dtype=bool)
    for name, values in rows.where.items():
        kind = rows.schema.field(name).type
        kept &= pc.call_function("is_in", [columns[name]], pc.SetLookupOptions(pa.array(list(values), kind))).to_numpy()
    keys = [] if key is None else columns[key].filter(pa.array(kept)).to_pylist()
    return positions[kept], keys


def _read(part: FilePart) -> Iterator[pa.RecordBatch]:
    """Yield the wanted rows of a file, a bounded number at a time."""
    import numpy as np
    import pyarrow as pa

    rows = part.rows
    with _opened(part.file) as parquet:
        columns = [name for name in parquet.schema_arrow.names if name in rows.columns]
        first = 0
        for number in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(number).num_rows
            inside = part.positions[(part.positions >= first) & (part.positions < first + count)] - first
            first += count
            if not inside.size:
                continue
            start = 0
            for batch in parquet.iter_batches(_ROWS_A_BATCH, row_groups=[number], columns=columns, use_threads=False):
                mine = inside[(inside >= start) & (inside < start + batch.num_rows)] - start
                start += batch.num_rows
                if mine.size:
                    # of the table's types before rows are taken: a file that a delete wrote anew has strings that Arrow cannot take from
                    named = _named(batch, rows)
                    yield named if mine.size == batch.num_rows else named.take(pa.array(mine))
            if start != count:
                raise ValueError(f"{part.file}: row group {number} has {start} rows where its footer says {count}")
        if part.positions.size and int(np.max(part.positions)) >= first:
            raise ValueError(f"{part.file}: has {first} rows, fewer than when the work was cut")


def _named(batch: pa.RecordBatch, rows: FileRows) -> pa.RecordBatch:
    """Return the columns under the names that the function sees, with the table's types and the constants."""
    import pyarrow as pa

    read = {name: _column(batch, source, rows.schema.field(source).type, batch.num_rows) for source, name in rows.columns.items()}
    same = {name: pa.repeat(pa.scalar(value, pa.string()), batch.num_rows) for name, value in rows.constants.items()}
    return pa.RecordBatch.from_pydict({**same, **read})


def _column(rows: pa.Table | pa.RecordBatch, name: str, kind: pa.DataType, count: int) -> Any:
    """Return a column in its table's type; nulls where the file is older than the column."""
    import pyarrow as pa

    if name not in rows.schema.names:
        return pa.nulls(count, kind)
    column = rows.column(name)
    return column if column.type.equals(kind) else column.cast(kind)


def _opened(file: str) -> pq.ParquetFile:
    """Open a Parquet file by path or URI."""
    import pyarrow.parquet as pq
    from pyarrow import fs

    if "://" not in file:
        return pq.ParquetFile(file, memory_map=True)
    system, path = fs.FileSystem.from_uri(file)
    return pq.ParquetFile(path, filesystem=system)


def to_ipc(rows: pa.Table | pa.RecordBatch) -> bytes:
    """Return rows as an Arrow stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write(rows)
    return sink.getvalue().to_pybytes()


def from_ipc(stream: bytes) -> pa.Table:
    """Return the rows of an Arrow stream."""
    import pyarrow as pa

    return pa.ipc.open_stream(stream).read_all()
