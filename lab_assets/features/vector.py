"""From feature rows to the model's input, in one order for everyone.

Belongs here: matrices, maps and vectors of the features, the row put together for one online request.
Does not belong here: computing features from data, models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lab_assets.features.context import context_features
from lab_assets.features.definitions import FEATURE_NAMES
from lab_assets.features.inputs import STORED_TABLES, TODAY, ModelInputs

if TYPE_CHECKING:
    import polars as pl


def to_matrix(frame: pl.DataFrame, names: Sequence[str] = FEATURE_NAMES) -> NDArray[np.float64]:
    """Return features of a frame, shape (n, len(names)), ``nan`` for null, infinity or an absent column."""
    import polars as pl

    columns = [pl.col(name).cast(pl.Float64) if name in frame.columns else pl.lit(None, pl.Float64).alias(name) for name in names]
    if frame.height == 0:
        return np.empty((0, len(names)), dtype=np.float64)
    matrix = np.ascontiguousarray(frame.select(columns).fill_null(nan).to_numpy(), dtype=np.float64)
    return np.where(np.isfinite(matrix), matrix, nan)


def to_map(row: Mapping[str, Any], names: Sequence[str] = FEATURE_NAMES) -> dict[str, float]:
    """Return the finite features of a row by name, in the order asked for; what is unknown is absent."""
    found = ((name, row.get(name)) for name in names)
    return {name: float(value) for name, value in found if value is not None and isfinite(value)}


def from_map(features: Mapping[str, float], names: Sequence[str] = FEATURE_NAMES) -> NDArray[np.float64]:
    """Return the model's input of one feature map, shape (len(names),), ``nan`` where a feature is absent.

    Raises:
        ValueError: a name is not a feature: the map belongs to another feature set.
    """
    if unknown := features.keys() - set(names):
        raise ValueError(f"not features of this set: {sorted(unknown)}")
    return np.array([features.get(name, nan) for name in names], dtype=np.float64)


def storable(features: Mapping[str, float]) -> dict[str, float | None]:
    """Return features as a table stores them: ``None`` instead of ``nan`` or infinity."""
    return {name: value if isfinite(value) else None for name, value in features.items()}


def assemble_online(
    progress: Mapping[str, Any] | None,
    instrument: Mapping[str, Any] | None,
    lot: Mapping[str, Any] | None,
    storage: Mapping[str, Any] | None,
    *,
    checkpoint_pct: float,
    method_id: str | None,
    inputs: ModelInputs = TODAY,
) -> dict[str, float]:
    """Return the feature map of one request, equal to the last bit to ``to_map`` of the joined row.

    Args:
        progress: Result of ``progress_features`` or a row of the table; keys that are no features of the table are ignored, in all four.
        instrument: Latest row of the instrument and method, ``None`` where there is none.
        lot: Latest row of the lot.
        storage: Row of the sample.
        checkpoint_pct: Share of the run seen.
        method_id: Test method.
        inputs: What is asked for, and the columns it is read from.

    Returns:
        Finite features by name, in the order of ``inputs``.
    """
    parts = zip(STORED_TABLES, (progress, instrument, lot, storage), strict=True)
    row = {name: _known(part, column) for table, part in parts for name, column in inputs.stored(table).items()}
    return to_map(row | context_features(row, checkpoint_pct=checkpoint_pct, method_id=method_id, inputs=inputs), inputs.names)


def _known(part: Mapping[str, Any] | None, column: str) -> float | None:
    """Return a value as a table would give it: ``None`` where it is not known."""
    value = None if part is None else part.get(column)
    return value if value is not None and isfinite(value) else None
