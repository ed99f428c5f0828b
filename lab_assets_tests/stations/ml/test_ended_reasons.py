"""Words for what is different about a prediction that takes the place of another."""

from __future__ import annotations

from typing import Any

import pytest

from lab_assets.stations.ml.ended_reasons import superseded
from lab_assets_tests.stations.rows import at

BEFORE: dict[str, Any] = {
    "model_name": "oos_risk", "model_version": "1", "model_digest": "aa", "feature_set_version": "fs-1", "lot_id": "L1",
    "as_of_utc": at(5), "features": {"margin": 0.5, "ripple": 1.0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        ({"lot_id": "L2"}, "the lot"),
        ({"lot_id": None}, "the lot"),
        ({"as_of_utc": at(6)}, "the moment up to which facts were known"),
        ({"features": {"margin": 0.4, "ripple": 1.0}}, "the feature values"),
        ({"features": {"margin": 0.5}}, "the feature values"),
        ({"feature_set_version": "fs-2"}, "the feature set (fs-1 to fs-2)"),
        ({"model_digest": "bb", "model_version": "2"}, "the model (oos_risk 1 to oos_risk 2)"),
        ({"model_digest": "bb"}, "the model"),
        ({"model_digest": "bb", "features": {"margin": 0.5, "age": 3.0}}, "the model"),
        ({"model_digest": "bb", "features": {"margin": 0.4, "age": 3.0}}, "the model, the feature values"),
        ({"lot_id": "L2", "features": {}}, "the lot, the feature values"),
    ],
)
def test_what_differs_is_named_and_nothing_else(now: dict[str, Any], changed: str) -> None:
    """Models with other inputs are held against each other by the features that both were given."""
    assert superseded(BEFORE, {**BEFORE, **now}) == f"scored again after a change of {changed}"


def test_an_identity_alone_is_named_as_such() -> None:
    assert superseded(BEFORE, dict(BEFORE)) == "scored again under another identity: model, lot, moment and feature values are the same"
