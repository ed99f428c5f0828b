"""Rows of a table in memory that are looked up by key, and follow the table's data files as they come and go.

Belongs here: parts, their indexes, look-ups. Does not belong here: which files a table has (``table_cache.py``).

A frame is kept in parts, each the rows of some data files. Files that went take their rows with them, files that came are a new part, small
parts are put together. So keeping up costs what was written and not what the table holds, and a restored or compacted table is right as
well: what counts is which files a version has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

FILE: Final = "__file"
"""Column that says which data file a row is of."""
MAX_PARTS: Final = 6
FEW: Final = 64
KEPT_ANSWERS: Final = 512
"""Look-ups whose rows are kept: a run is asked for again as it goes on, and the runs of one sequence ask for the same records."""
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]


class KeyedFrame:
    """Rows of some data files, looked up by key."""

    def __init__(self, parts: Sequence[_Part], empty: pl.DataFrame) -> None:
        self._parts = tuple(parts)
        self._empty = empty
        self._found: dict[Any, pl.DataFrame] = {}

    @staticmethod
    def of(rows: pl.DataFrame, files: Sequence[str] | None = None) -> KeyedFrame:
        """Keep rows.

        Args:
            rows: The rows; with ``FILE`` where files are named.
            files: Data files that the numbers in ``FILE`` stand for.
        """
        import polars as pl

        if files is None:
            rows, files = rows.with_columns(pl.lit(0, pl.UInt32).alias(FILE)), ("",)
        part = _Part(rows, {path: number for number, path in enumerate(files)})
        return KeyedFrame([part] if rows.height else [], rows.clear().drop(FILE))

    @property
    def files(self) -> frozenset[str]:
        """Data files that rows are kept of."""
        return frozenset(path for part in self._parts for path in part.files)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All rows."""
        import polars as pl

        frames = [part.rows.drop(FILE) for part in self._parts]
        return pl.concat(frames) if len(frames) > 1 else frames[0] if frames else self._empty

    def changed(self, *, gone: Collection[str], came: KeyedFrame) -> KeyedFrame:
        """Return the rows without those of some files and with those of others."""
        parts = [part.without(gone) for part in self._parts] + list(came._parts)
        parts = [part for part in parts if part.rows.height]
        if len(parts) > MAX_PARTS:
            parts.sort(key=lambda part: part.rows.height)
            parts = [_Part.together(parts[:-1]), parts[-1]]
        return KeyedFrame(parts, self._empty)

    def newest(self, limit: int, *, by: Sequence[str]) -> KeyedFrame:
        """Return the rows that are highest by some columns, in one part."""
        if not self._parts:
            return self
        whole = _Part.together(self._parts)
        return KeyedFrame([_Part(whole.rows.top_k(limit, by=by), whole.files)], self._empty)

    def keyed(self, columns: Sequence[str] | None = None, **keys: Iterable[Any]) -> pl.DataFrame:
        """Return the rows whose columns hold one of the given values, in the order in which they are kept; null is no value."""
        wanted = tuple(columns or self._empty.columns)
        values = {name: frozenset(given) - {None} for name, given in keys.items()}
        asked = (wanted, tuple(values.items()))
        if (rows := self._found.get(asked)) is None:
            if len(self._found) >= KEPT_ANSWERS:
                self._found.clear()
            rows = self._found[asked] = self._find(wanted, values)
        return rows

    def _find(self, wanted: Sequence[str], values: Mapping[str, frozenset[Any]]) -> pl.DataFrame:
        import polars as pl

        found: list[pl.DataFrame] = []
        if all(values.values()):
            series = {name: pl.Series(list(among), dtype=self._empty.schema[name]) for name, among in values.items()}
            found = [rows for part in self._parts if (rows := part.find(series)) is not None]
        rows = pl.concat(found) if len(found) > 1 else found[0] if found else self._empty
        return rows[list(wanted)]


class _Part:
    """Rows of some files with an index for each set of columns that was asked for."""

    def __init__(self, rows: pl.DataFrame, files: Mapping[str, int]) -> None:
        self.rows = rows
        self.files = dict(files)
        self._indexes: dict[tuple[str, ...], tuple[Hashes, Places]] = {}

    def without(self, gone: Collection[str]) -> _Part:
        """Return the rows of the other files; the part itself where it has none of these."""
        import polars as pl

        numbers = [number for path, number in self.files.items() if path in gone]
        if not numbers:
            return self
        kept = {path: number for path, number in self.files.items() if path not in gone}
        return _Part(self.rows.filter(~pl.col(FILE).is_in(numbers)), kept)

    @staticmethod
    def together(parts: Sequence[_Part]) -> _Part:
        """Return several parts as one."""
        import polars as pl

        files: dict[str, int] = {}
        frames: list[pl.DataFrame] = []
        for part in parts:
            numbers = {number: len(files) + place for place, number in enumerate(part.files.values())}
            files |= {path: numbers[number] for path, number in part.files.items()}
            frames.append(part.rows.with_columns(pl.col(FILE).replace_strict(numbers, return_dtype=pl.UInt32)))
        return _Part(pl.concat(frames, rechunk=True), files)

    def find(self, values: Mapping[str, pl.Series]) -> pl.DataFrame | None:
        """Return the rows whose columns hold one of the given values, which are not empty; ``None`` where there is none."""
        import polars as pl

        names = tuple(values)
        places = self._places(names[:1], values)
        if places.size > FEW and len(names) > 1 and all(series.len() == 1 for series in values.values()):
            places = self._places(names, values)
        if not places.size:
            return None
        rows = self.rows[pl.Series(np.sort(places), dtype=pl.UInt32)]
        return _exactly(rows, values)

    def _places(self, names: tuple[str, ...], values: Mapping[str, pl.Series]) -> Places:
        """Return where rows are whose hash is that of one of the values, ``(n,)``, in no order."""
        hashes, places = self._index(names)
        asked = _hashed([values[name] for name in names])
        first, last = np.searchsorted(hashes, asked, side="left"), np.searchsorted(hashes, asked, side="right")
        if asked.size == 1:
            return places[first[0] : last[0]]
        return np.concatenate([places[start:end] for start, end in zip(first.tolist(), last.tolist(), strict=True)])

    def _index(self, names: tuple[str, ...]) -> tuple[Hashes, Places]:
        """Return the hashes of the rows' keys in order, and where each row is; equal keys in the order of the rows."""
        if (index := self._indexes.get(names)) is None:
            hashes = _hashed([self.rows[name] for name in names])
            places = np.argsort(hashes, kind="stable")
            index = self._indexes[names] = (hashes[places], places)
        return index


def _hashed(columns: Sequence[pl.Series]) -> Hashes:
    """Return one hash a row of some columns, shape ``(n,)``."""
    hashes = columns[0].hash().to_numpy()
    for column in columns[1:]:
        hashes = hashes * _MIX + column.hash().to_numpy()
    return hashes


def _exactly(rows: pl.DataFrame, values: Mapping[str, pl.Series]) -> pl.DataFrame | None:
    """Leave out rows of other values that have the same hash; few rows are compared one by one, which takes a tenth of the time."""
    import polars as pl

    if rows.height > FEW:
        rows = rows.filter(*(pl.col(name).is_in(series.implode()) for name, series in values.items()))
        return rows if rows.height else None
    for name, series in values.items():
        among = set(series.to_list())
        kept = [value in among for value in rows[name].to_list()]
        if not all(kept):
            rows = rows.filter(kept)
    return rows if rows.height else None
