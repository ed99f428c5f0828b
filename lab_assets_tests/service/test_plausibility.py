"""Which feature values are warned of, for ranges written down by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lab_assets.features.definitions import FEATURES
from lab_assets.modeling.training_range import TrainingRange
from lab_assets.service.plausibility import PlausibleRanges

NAMES = ("worst_margin_so_far", "lot_results_known", "storage_mkt_c", "void_time_min", "storage_gap_min")


@pytest.fixture(scope="module")
def ranges() -> PlausibleRanges:
    low, high = np.array([-1.0, 2.0, 25.0, 0.6, np.nan]), np.array([1.0, 16.0, 40.0, 1.0, np.nan])
    return PlausibleRanges.of(TrainingRange(names=NAMES, low=low, high=high), {feature.name: feature for feature in FEATURES})


@pytest.mark.parametrize(
    ("row", "warned"),
    [
        ([0.0, 10.0, 30.0, 0.7, 5.0], []),
        ([np.nan, np.nan, np.nan, np.nan, np.nan], []),
        ([7.0, 10.0, 30.0, 0.7, 5.0], []),  # -1 to 1: three widths of 2 beyond is 7
        ([7.1, 10.0, 30.0, 0.7, 5.0], ["worst_margin_so_far lies far outside of what the model was trained on (-1 to 1)"]),
        ([0.0, 160.0, 30.0, 0.7, 5.0], []),  # a count that grows: ten times the highest
        ([0.0, 161.0, 30.0, 0.7, 5.0], ["lot_results_known lies far outside of what the model was trained on (2 to 16)"]),
        ([0.0, 10.0, -300.0, 0.7, 5.0], ["storage_mkt_c has a value it cannot have: a temperature of goods in a chamber"]),
        ([0.0, 10.0, 30.0, -0.1, 5.0], ["void_time_min has a value it cannot have: it lies within the run, at most a day"]),
        ([0.0, 10.0, 30.0, 0.7, -1.0], ["storage_gap_min has a value it cannot have: a duration, or an integral over one"]),
        ([-8.0, 10.0, 30.0, 3.0, 5.0], [
            "worst_margin_so_far lies far outside of what the model was trained on (-1 to 1)",
            "void_time_min lies far outside of what the model was trained on (0.6 to 1)",
        ]),
    ],
)  # fmt: skip
def test_what_is_implausible_is_said(ranges: PlausibleRanges, row: list[float], warned: list[str]) -> None:
    assert list(ranges.warnings(np.array(row))) == warned
