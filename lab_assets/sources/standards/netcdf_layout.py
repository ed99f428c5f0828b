"""Header of a netCDF-3 file, looked at before the library is: where each variable lies.

Belongs here: lengths and places that contradict the file. Does not belong here: values and what they mean (``andi_netcdf.py``).

The library takes the header's word: with one dimension stated too long it reads on into the next variable and says nothing.
"""

from __future__ import annotations

import math
import struct
from itertools import pairwise
from typing import Final

from lab_assets.sources.base import UnreadableFileError

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8}
_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 10, 11, 12
_STREAMING: Final = 0xFFFFFFFF


class _Header:
    """Reads a header from its beginning on.

    Raises:
        ValueError: a list or a type that does not exist.
        struct.error: the file ends within the header.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 4

    def number(self) -> int:
        self.at += 4
        return struct.unpack_from(">I", self._data, self.at - 4)[0]

    def skip(self, n_bytes: int) -> None:
        self.at += n_bytes + -n_bytes % 4
        if self.at > len(self._data):
            raise ValueError("a name or an attribute is longer than the file")

    def entries(self, tag: int) -> range:
        found, count = self.number(), self.number()
        if found not in {0, tag} or (not found and count) or 4 * count > len(self._data):
            raise ValueError("a list is longer than the file")
        return range(count)

    def attributes(self) -> None:
        for _ in self.entries(_ATTRIBUTES):
            self.skip(self.number())
            size = self.size()
            self.skip(size * self.number())

    def size(self) -> int:
        kind = self.number()
        if kind not in _SIZES:
            raise ValueError("a type that does not exist")
        return _SIZES[kind]

    def begin(self) -> int:
        high = self.number() if self._data[3] == 2 else 0
        return (high << 32) + self.number()


def check_layout(data: bytes) -> None:
    """Refuse a netCDF-3 file whose variables do not lie in it, or lie on each other.

    Args:
        data: The whole file, with one of the two magics of netCDF-3.

    Raises:
        UnreadableFileError: ``truncated``.
    """
    try:
        places = _places(_Header(data), len(data))
    except (struct.error, ValueError) as error:
        raise UnreadableFileError("truncated", f"the header of the netCDF file is damaged ({error}); transfer it again") from error
    for (_, end), (begin, _) in pairwise(places):
        if end > begin:
            raise UnreadableFileError("truncated", "the netCDF file's variables lie on each other; transfer it again")


def _places(header: _Header, n_bytes: int) -> list[tuple[int, int]]:
    """Return beginning and end of the header and of each variable, in the order of the file."""
    n_records = header.number()
    lengths: list[int] = []
    for _ in header.entries(_DIMENSIONS):
        header.skip(header.number())
        lengths.append(header.number())
    header.attributes()
    fixed: list[tuple[int, int]] = []
    records: list[tuple[int, int]] = []
    for _ in header.entries(_VARIABLES):
        header.skip(header.number())
        rank = header.number()
        if 4 * rank > n_bytes:
            raise ValueError("a variable has more dimensions than the file has bytes")
        shape = [header.number() for _ in range(rank)]
        if any(dimension >= len(lengths) for dimension in shape):
            raise ValueError("a variable has a dimension that does not exist")
        header.attributes()
        size = header.size()
        header.number()
        begin = header.begin()
        of_records = bool(shape) and lengths[shape[0]] == 0
        n_values = math.prod(lengths[dimension] for dimension in (shape[1:] if of_records else shape))
        (records if of_records else fixed).append((begin, begin + size * n_values))
    places = sorted([(0, header.at), *fixed])
    step = (
        sum(end - begin + (begin - end) % 4 for begin, end in records) if len(records) > 1 else sum(end - begin for begin, end in records)
    )
    if records and n_records and n_records != _STREAMING:
        first = min(begin for begin, _ in records)
        places = sorted([*places, (first, first + step * (n_records - 1) + max(end for _, end in records) - first)])
    if any(end > n_bytes for begin, end in places if end > begin):
        raise ValueError("a variable ends behind the end of the file")
    return places
