"""Between frames and the rows that the formulas of this folder work on.

Belongs here: grouping rows by key, rows back to a frame of the table. Does not belong here: what is made of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from lab_assets.stations.reading import StationReader


def rows_by(frame: pl.DataFrame, column: str) -> dict[Any, list[dict[str, Any]]]:
    """Return the rows of a frame by the value of one column."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for row in frame.iter_rows(named=True):
        found.setdefault(row[column], []).append(row)
    return found


def target_rows(read: StationReader, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame with the columns and types of the station's table."""
    import polars as pl

    target = read.declaration.target
    return pl.DataFrame(rows, schema=read.empty(target, target.column_names).schema)
