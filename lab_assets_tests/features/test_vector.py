"""Definitions, order and forms of the model's input."""

from __future__ import annotations

import re
from dataclasses import replace
from math import inf, isnan, nan

import numpy as np
import polars as pl
import pytest

from lab_assets.features.context import context_features
from lab_assets.features.definitions import (
    FEATURE_NAMES,
    FEATURE_SET_VERSION,
    FEATURES,
    METHOD_KINDS,
    Feature,
    method_kind,
    names_of,
    set_version,
)
from lab_assets.features.vector import assemble_online, from_map, storable, to_map, to_matrix


def test_definitions_are_whole():
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    assert {feature.table for feature in FEATURES} == {
        "context",
        "injection_progress",
        "instrument_history",
        "lot_history",
        "storage_exposure",
    }
    assert all(feature.meaning for feature in FEATURES)
    assert sum(len(names_of(name)) for name in {feature.table for feature in FEATURES}) == len(FEATURES)


def test_version_follows_names_order_and_versions():
    answer = set_version
    a, b = Feature(name="a", table="t", meaning="m"), Feature(name="b", table="t", meaning="m")
    assert re.fullmatch(r"fs1-[0-9a-f]{6}", FEATURE_SET_VERSION)
    assert answer((a, b)) == answer((a, Feature(name="b", table="t", meaning="other words")))
    assert len({answer((a, b)), answer((b, a)), answer((a,)), answer((a, Feature(name="b", table="t", meaning="m", version=2)))}) == 4


@pytest.mark.parametrize(
    ("method", "kind"), [("ASSAY-01", "assay"), ("rs-7", "rs"), ("DISS", "diss"), ("WATER-01", None), ("", None), (None, None)]
)
def test_kind_of_a_method(method: str | None, kind: str | None):
    assert method_kind(method) == kind


def test_every_kind_of_method_has_its_features():
    kinds = METHOD_KINDS.values()
    assert {f"method_is_{kind}" for kind in kinds} <= set(names_of("context"))
    assert {f"lot_margin_{kind}" for kind in kinds} <= set(names_of("lot_history"))


def test_matrix_has_the_models_order_and_nan_for_unknown():
    frame = pl.DataFrame({"ih_tailing": [1.5, None], "checkpoint_pct": [25, 50], "other": ["x", "y"]})
    matrix = to_matrix(frame)
    assert matrix.shape == (2, len(FEATURE_NAMES))
    assert matrix[:, FEATURE_NAMES.index("checkpoint_pct")].tolist() == [25, 50]
    assert matrix[0, FEATURE_NAMES.index("ih_tailing")] == 1.5
    assert np.isnan(matrix).sum() == 2 * len(FEATURE_NAMES) - 3
    assert to_matrix(frame.head(0)).shape == (0, len(FEATURE_NAMES))


def test_map_holds_what_is_known_and_comes_back():
    answer = to_map({"ih_tailing": 1.5, "lot_min_margin": None, "storage_days": nan, "storage_mkt_c": inf, "lot_id": "L1"})
    assert answer == {"ih_tailing": 1.5}
    back = from_map(answer)
    assert back[FEATURE_NAMES.index("ih_tailing")] == 1.5
    assert np.isnan(back).sum() == len(FEATURE_NAMES) - 1
    with pytest.raises(ValueError, match="old_feature"):
        from_map({"old_feature": 1.0})


def test_storable_has_no_nan():
    assert storable({"a": nan, "b": inf, "c": 0.0}) == {"a": None, "b": None, "c": 0.0}


def test_context_by_hand():
    """210 bar against 200 is +5 %; an assay looks at the lot's assay margin."""
    made = context_features(
        {"pressure_mean_bar": 210.0, "ih_pressure_mean_bar": 200.0, "lot_margin_assay": 0.3}, checkpoint_pct=25, method_id="ASSAY-01"
    )
    assert made["pressure_shift_pct"] == pytest.approx(5.0)
    assert made["lot_margin_same_method"] == 0.3
    assert (made["method_is_assay"], made["method_is_rs"], made["method_is_diss"], made["checkpoint_pct"]) == (1, 0, 0, 25)
    nothing = context_features({"pressure_mean_bar": 210.0, "ih_pressure_mean_bar": 0.0}, checkpoint_pct=25, method_id=None)
    assert isnan(nothing["pressure_shift_pct"])
    assert isnan(nothing["lot_margin_same_method"])


def test_online_row_without_any_history():
    made = assemble_online(None, None, None, None, checkpoint_pct=10, method_id="RS-01")
    assert made == {"checkpoint_pct": 10.0, "method_is_assay": 0.0, "method_is_rs": 1.0, "method_is_diss": 0.0}


def test_bounds_have_reasons_and_change_no_version():
    assert all(bool(feature.bound_reason) == (feature.minimum is not None or feature.maximum is not None) for feature in FEATURES)
    bare = tuple(replace(feature, minimum=None, maximum=None, bound_reason="") for feature in FEATURES)
    assert set_version(bare) == FEATURE_SET_VERSION


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("void_time_min", 0.67, -5e9),
        ("void_time_min", 1440.0, 1440.1),
        ("lot_failures_known", 0.0, -1.0),
        ("pressure_mean_bar", 220.0, 2.2e7),
        ("storage_mkt_c", -80.0, -274.0),
        ("early_impurity_pct", -0.02, -101.0),
        ("method_is_rs", 1.0, 2.0),
    ],
)
def test_values_outside_of_what_a_quantity_can_be_are_not_allowed(name, inside, outside):
    feature = next(feature for feature in FEATURES if feature.name == name)
    assert feature.allows(inside)
    assert not feature.allows(outside)
