"""Rows that a model was judged on, and predictions that have drifted away from them.

Belongs here: writing them into the tables. Does not belong here: what is asserted of the watch over the model.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from lab_assets.contracts.ml import PREDICTIONS, TRAINING_SETS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.modeling.bundle import ModelBundle
from lab_assets_tests.stations.rows import at

ROWS = 120
"""More than a check needs to judge."""


def _features(number: int, shift: float) -> dict[str, float]:
    return {"checkpoint_pct": 50.0, "worst_margin_so_far": (number % 40) / 40 + shift, "pressure_ripple_pct": (number % 25) / 25}


def put_reference(lake: Lakehouse, bundle: ModelBundle) -> None:
    """Write the rows that a model was tested on."""
    rows = [
        {
            "training_set_id": bundle.info.training_set_id, "injection_id": f"r{number}", "lot_id": f"L{number % 20}", "method_id": "ASSAY-01",
            "instrument_id": "LC-1", "checkpoint_pct": 50, "as_of_utc": at(1), "part": "test", "is_oos": False,
            "features": _features(number, 0.0), "feature_set_version": "fs", "table_versions": {}, "frozen_at_utc": at(1),
        }
        for number in range(ROWS)
    ]  # fmt: skip
    lake.append(TRAINING_SETS, lake.local_rows(TRAINING_SETS, rows))


def put_predictions(lake: Lakehouse, bundle: ModelBundle, *, first: int = 0, count: int = ROWS, shift: float = 3.0) -> None:
    """Write predictions that count, as of one day; without ``shift`` they are like the reference."""
    rows = [
        {
            "prediction_id": f"p{number}", "injection_id": f"i{number}", "lot_id": f"L{number % 20}", "checkpoint_pct": 50, "risk": 0.5,
            "model_name": bundle.info.model_name, "model_version": "1", "model_digest": bundle.digest, "feature_set_version": "fs",
            "features": _features(number, shift), "table_versions": {}, "mode": "stream", "requested_by": "test",
            "predicted_at_utc": at(9), "as_of_utc": _as_of(number),
        }
        for number in range(first, first + count)
    ]  # fmt: skip
    lake.append(PREDICTIONS, lake.local_rows(PREDICTIONS, rows))


def _as_of(number: int) -> datetime:
    return at(5) + timedelta(minutes=number)
