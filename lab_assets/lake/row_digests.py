"""Digests of rows: two rows have the same one when every value is the same, to the last bit.

Belongs here: rows of Arrow to digests. Does not belong here: what is done with them (``archive.py``, ``archiving.py``).

Numbers and moments are taken by their bits, so that a NaN equals itself and -0.0 is not 0.0. A digest holds for one schema: columns count
in their order, and a column that a file was written without counts as empty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

_DIGEST_BYTES: Final = 16
_ROWS_AT_ONCE: Final = 4096


def row_digests(rows: pa.Table) -> list[bytes]:
    """Return the digest of each row, in order."""
    import polars as pl

    found: list[bytes] = []
    for start in range(0, rows.num_rows, _ROWS_AT_ONCE):
        part = rows.slice(start, _ROWS_AT_ONCE).combine_chunks()
        written = BytesIO()
        # one line of JSON a row: whole numbers, texts and nulls alone, which it writes without loss
        pl.DataFrame({name: pl.from_arrow(_plain(part.column(name))) for name in part.column_names}).write_ndjson(written)
        found += [hashlib.blake2b(line, digest_size=_DIGEST_BYTES).digest() for line in written.getvalue().split(b"\n")[:-1]]
    return found


def digest_of_rows(digests: Iterable[bytes]) -> str:
    """Return one digest of rows in their order, from those of each."""
    return hashlib.blake2b(b"".join(digests), digest_size=_DIGEST_BYTES).hexdigest()


def _plain(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    whole = column.combine_chunks()
    chunk = pa.concat_arrays([whole]) if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)
    return _bits(chunk)


def _bits(values: Any) -> Any:
    """Return an array with numbers and moments as whole numbers of the same bits, bytes as hexadecimal text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        entries = pa.StructArray.from_arrays([_bits(values.keys), _bits(values.items)], ["key", "value"]) if pa.types.is_map(kind) else None
        inner = _bits(values.values) if entries is None else entries
        made = pa.LargeListArray if pa.types.is_large_list(kind) else pa.ListArray
        return made.from_arrays(_offsets(values), inner)
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays(
            [_bits(values.field(place)) for place in range(kind.num_fields)], [each.name for each in kind], mask=values.is_null()
        )
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.array([None if each is None else each.hex() for each in values.to_pylist()], pa.string())
    if pa.types.is_decimal(kind):
        return pc.cast(values, pa.string())
    if pa.types.is_floating(kind) or pa.types.is_temporal(kind):
        return values.view({16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[kind.bit_width])
    return values


def _offsets(values: Any) -> Any:
    """Return the offsets of a list or map, null where the row is."""
    import pyarrow as pa

    offsets = values.offsets
    if values.null_count == 0:
        return offsets
    absent = values.is_null().to_numpy(zero_copy_only=False)
    import numpy as np

    return pa.array(offsets.to_numpy(zero_copy_only=False), offsets.type, mask=np.append(absent, False))
