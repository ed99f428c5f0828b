"""Ranges read from a model's own text, and what lies far outside of them."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from lab_assets.modeling.training_range import TrainingRange


@pytest.fixture(scope="module")
def training() -> TrainingRange:
    """Three features: 0 to 10, constant, -1 to 1 with gaps; the text is LightGBM's own."""
    rng = np.random.default_rng(1)
    rows = np.column_stack([np.linspace(0, 10, 200), np.full(200, 7.0), rng.uniform(-1, 1, 200)])
    rows[0, 2], rows[1, 2], rows[5, 2] = -1.0, 1.0, np.nan
    labels = (rows[:, 0] + np.nan_to_num(rows[:, 2]) > 5).astype(float)
    data = lgb.Dataset(rows, labels, feature_name=["wide", "constant", "small"])
    model = lgb.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, num_boost_round=3)
    return TrainingRange.from_model_text(model.model_to_string())


def test_ranges_are_those_of_the_rows(training: TrainingRange) -> None:
    assert training.names == ("wide", "constant", "small")
    np.testing.assert_array_equal(training.low, [0.0, np.nan, -1.0])
    np.testing.assert_array_equal(training.high, [10.0, np.nan, 1.0])


def test_far_outside_begins_three_widths_beyond(training: TrainingRange) -> None:
    """0 to 10: -30 and 40; -1 to 1: -7 and 7."""
    low, high = training.limits
    np.testing.assert_array_equal(low, [-30.0, np.nan, -7.0])
    np.testing.assert_array_equal(high, [40.0, np.nan, 7.0])


def test_a_text_without_ranges_judges_nothing() -> None:
    low, high = TrainingRange.from_model_text("feature_names=a b\nfeature_infos=[0:1]\n").limits
    assert np.isnan(low).all()
    assert np.isnan(high).all()
