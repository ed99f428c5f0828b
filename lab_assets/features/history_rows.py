"""What the histories of instruments and of lots have in common: the form of their rows.

Belongs here: columns that must be there, the schema of a feature table, what stands for the unknown.
Does not belong here: features (``history_of_instruments.py``, ``history_of_lots.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from lab_assets.features.definitions import columns_of

if TYPE_CHECKING:
    import polars as pl


def mean(values: Sequence[float]) -> float:
    """Return the mean; ``nan`` of nothing."""
    return sum(values) / len(values) if values else nan


def nulls(features: Mapping[str, float]) -> dict[str, float | None]:
    """Return features as a table holds them: what is not known is null."""
    return {name: value if isfinite(value) else None for name, value in features.items()}


def require(frame: pl.DataFrame, columns: Sequence[str]) -> None:
    """Refuse rows without some columns.

    Raises:
        ValueError: a column is missing.
    """
    if missing := [name for name in columns if name not in frame.columns]:
        raise ValueError(f"missing column(s) {missing}")


def schema_of(keys: Sequence[str], table: str) -> dict[str, Any]:
    """Return the polars schema of a feature table."""
    import polars as pl

    utc = pl.Datetime("us", "UTC")
    return (
        dict.fromkeys(keys, pl.String())
        | {"event_time_utc": utc, "known_time_utc": utc, "feature_set_version": pl.String()}
        | dict.fromkeys(columns_of(table), pl.Float64())
    )
