from __future__ import annotations

import math

import numpy as np
import pytest

from lab_assets.modeling.explanation import contributions, feature_words, top_drivers
from lab_assets_tests.modeling.data import experiment, matrix


def test_contributions_sum_to_the_raw_score_and_end_with_the_base_value():
    bundle = experiment().bundle
    rows = matrix()[0].features[:40]
    prepared = bundle.prepared(rows)[0]
    shap = contributions(bundle.booster, prepared)
    assert shap.shape == (40, 4)
    assert shap.sum(axis=1) == pytest.approx(bundle.score(rows).raw, abs=1e-9)
    assert shap[:, -1] == pytest.approx(bundle.info.base_value)


def test_the_telling_feature_drives_the_score():
    bundle = experiment().bundle
    drivers = bundle.explain(np.array([75.0, 3.0, np.nan]))
    assert drivers[0].feature == "early"
    assert drivers[0].contribution > 0
    assert [each.rank for each in drivers] == list(range(1, len(drivers) + 1))


def test_rows_explained_together_are_explained_as_alone():
    """Down to the last bit: what is stored for a batch must be what a request for one row answers."""
    bundle = experiment().bundle
    rows = matrix()[0].features[:40].copy()
    rows[::7, 1] = np.nan
    assert repr(bundle.explain_rows(rows, count=2)) == repr([bundle.explain(row, count=2) for row in rows])  # NaN is not equal to itself
    assert bundle.explain_rows(rows[:0]) == []


def test_words_by_hand():
    """A contribution of ln 2 doubles the odds; no contribution is no driver."""
    drivers = top_drivers(
        np.array([1.5, math.nan, 4.0]),
        np.array([math.log(2), -math.log(4), 0.0, -2.0]),
        names=("tailing", "plates_now", "noise"),
        meanings={"tailing": ("tailing of the last peak", None), "noise": ("noise", "mAU")},
    )
    assert [each.words for each in drivers] == [
        "plates now: not known; lowers the odds of a failure by a factor of 4.00",
        "tailing of the last peak: 1.5; raises the odds of a failure by a factor of 2.00",
    ]


def test_units_are_told_and_count_limits():
    drivers = top_drivers(np.array([1.5, 2.0]), np.array([1.0, 2.0]), names=("a", "b"), count=1, meanings={"b": ("pressure", "bar")})
    assert [each.words for each in drivers] == ["pressure: 2 bar; raises the odds of a failure by a factor of 7.39"]


def test_every_defined_feature_has_words():
    assert all(meaning for meaning, _ in feature_words().values())
