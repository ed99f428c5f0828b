"""The partial trace: known answers on Gaussians, and nothing after the checkpoint matters."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.features.definitions import CHECKPOINTS_PCT, names_of
from lab_assets.features.expectation import MethodExpectation, spec_margin
from lab_assets.features.progress import checkpoint_features, progress_features
from lab_assets.features.trace import Trace
from lab_assets_tests.features.traces import API_HEIGHT, EXPECTATION, RUN_MIN, SD_MIN, known_trace

X, Y = known_trace()
PRESSURE = Trace(x_min=X, y=200 + 2 * X)


def at(checkpoint_pct: float, expectation: MethodExpectation | None = EXPECTATION) -> dict[str, float]:
    return progress_features(X, Y, checkpoint_pct=checkpoint_pct, run_time_min=RUN_MIN, expectation=expectation, pressure=PRESSURE)


def test_names_are_those_of_the_table_whatever_is_known():
    empty = progress_features([], [], checkpoint_pct=10, run_time_min=8)
    assert tuple(empty) == names_of("injection_progress")
    assert all(isnan(value) for value in empty.values())
    for checkpoint in CHECKPOINTS_PCT:
        assert set(at(checkpoint)) == set(at(checkpoint, None)) == set(names_of("injection_progress"))


def test_ten_percent_tells_baseline_and_void_but_no_peak():
    """Offset 4, slope 0.5/min, void 8 high at 0.7 min; in percent of the standard's height of 797.9."""
    features = at(10)
    assert features["baseline_offset_pct"] == pytest.approx(100 * 4 / API_HEIGHT, rel=0.05)
    assert features["baseline_slope_pct_per_min"] == pytest.approx(100 * 0.5 / API_HEIGHT, rel=0.3)
    assert features["void_height_pct"] == pytest.approx(100 * 8 / API_HEIGHT, rel=0.05)
    assert features["void_time_min"] == pytest.approx(0.7, abs=0.01)
    assert features["peaks_so_far"] == 0
    assert isnan(features["early_impurity_pct"])
    assert isnan(features["worst_margin_so_far"])
    assert features["main_area_share"] == 0


def test_noise_is_the_sd_of_the_noise():
    """The sd put in is 0.01; void and peak touch a tenth of the points, which the median all but ignores."""
    assert at(50)["baseline_noise_pct"] == pytest.approx(100 * 0.01 / API_HEIGHT, rel=0.15)


def test_early_impurity_is_known_at_a_quarter():
    """IMP-A holds 0.5 of the 100 that mean 100 %, so 0.5 %; limit 1.0 % leaves half of it."""
    features = at(25)
    assert features["early_impurity_pct"] == pytest.approx(0.5, rel=0.01)
    assert features["worst_margin_so_far"] == pytest.approx(0.5, abs=0.01)
    assert features["peaks_so_far"] == 1
    assert isnan(features["main_value_pct"])


def test_half_of_the_main_peak_at_its_apex():
    """Just past 60 % of 8 min = 4.8 min the apex is reached: half of the area, the full height."""
    features = at(60.01)
    assert features["main_area_share"] == pytest.approx(0.5, abs=0.01)
    assert features["main_height_share"] == pytest.approx(1.0, abs=0.01)
    assert isnan(features["main_value_pct"])


def test_main_peak_is_complete_at_three_quarters():
    """A Gaussian has tailing 1 and N = 5.54 (4.8 / (2.3548 * 0.05))^2 = 9 208; retention 4.8 against 4.7 is +2.13 %."""
    features = at(75)
    assert features["main_value_pct"] == pytest.approx(100.0, abs=0.1)
    assert features["main_area_share"] == pytest.approx(1.0, abs=0.001)
    assert features["retention_shift_pct"] == pytest.approx(100 * (4.8 / 4.7 - 1), abs=0.01)
    assert features["last_peak_plates"] == pytest.approx(5.54 * (4.8 / (2.3548 * SD_MIN)) ** 2, rel=0.02)
    assert features["last_peak_tailing"] == pytest.approx(1.0, abs=0.01)
    assert features["peaks_so_far"] == 2
    assert features["worst_margin_so_far"] == pytest.approx(0.5, abs=0.01)


def test_pressure_line_has_slope_and_no_ripple():
    """200 bar + 2 bar/min over the first 4 min: mean 204, slope 0.98 %/min."""
    features = at(50)
    assert features["pressure_mean_bar"] == pytest.approx(204, abs=0.01)
    assert features["pressure_slope_pct_per_min"] == pytest.approx(100 * 2 / 204, rel=1e-4)
    assert features["pressure_ripple_pct"] == pytest.approx(0, abs=1e-9)


def test_without_expectation_the_shape_of_the_trace_is_still_told():
    features = at(75, None)
    assert features["peaks_so_far"] == 2
    assert features["last_peak_tailing"] == pytest.approx(1.0, abs=0.01)
    assert isnan(features["baseline_noise_pct"])
    assert isnan(features["main_area_share"])


def test_scale_of_the_signal_does_not_matter():
    """The same run in uV instead of mAU, references too, gives the same features."""
    from dataclasses import replace

    scaled = replace(
        EXPECTATION,
        reference_area={name: 1000 * area for name, area in EXPECTATION.reference_area.items()},
        reference_height={"API": 1000 * API_HEIGHT},
    )
    other = progress_features(X, 1000 * Y, checkpoint_pct=75, run_time_min=RUN_MIN, expectation=scaled, pressure=PRESSURE)
    assert other == pytest.approx(at(75), rel=1e-6, nan_ok=True)


def test_a_trace_cut_short_does_not_finish_a_window():
    keep = X < 5.0
    features = progress_features(X[keep], Y[keep], checkpoint_pct=75, run_time_min=RUN_MIN, expectation=EXPECTATION)
    assert isnan(features["main_value_pct"])


def test_points_that_are_not_numbers_are_left_out():
    holed = Y.copy()
    holed[::97] = np.nan
    features = progress_features(X, holed, checkpoint_pct=75, run_time_min=RUN_MIN, expectation=EXPECTATION)
    assert features["main_value_pct"] == pytest.approx(100.0, abs=0.5)


def test_checkpoints_are_each_the_single_one():
    rows = checkpoint_features(X, Y, run_time_min=RUN_MIN, expectation=EXPECTATION, pressure=PRESSURE)
    assert [row.pop("checkpoint_pct") for row in rows] == [10, 25, 50, 75]
    for row, checkpoint in zip(rows, CHECKPOINTS_PCT, strict=True):
        assert row == pytest.approx(at(checkpoint), rel=0, abs=0, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(
    checkpoint=st.floats(1, 99),
    seed=st.integers(0, 2**16),
    level=st.sampled_from([0.0, 1e-3, 50.0, 1e6, -1e6, float("nan"), float("inf")]),
    drop=st.booleans(),
)
def test_nothing_after_the_checkpoint_changes_anything(checkpoint: float, seed: int, level: float, drop: bool):
    now = checkpoint / 100 * RUN_MIN
    late = now < X
    rng = np.random.default_rng(seed)
    y, p = Y.copy(), PRESSURE.y.copy()
    y[late], p[late] = level * rng.normal(size=late.sum()), level * rng.normal(size=late.sum())
    keep = ~late if drop else np.ones_like(late)
    features = progress_features(
        X[keep],
        y[keep],
        checkpoint_pct=checkpoint,
        run_time_min=RUN_MIN,
        expectation=EXPECTATION,
        pressure=Trace(x_min=X[keep], y=p[keep]),
    )
    assert features == pytest.approx(at(checkpoint), rel=0, abs=0, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(-1e9, 1e9), max_size=60), checkpoint=st.floats(1, 100))
def test_any_signal_gives_every_name(values: list[float], checkpoint: float):
    x = np.linspace(0, RUN_MIN, len(values))
    features = progress_features(x, values, checkpoint_pct=checkpoint, run_time_min=RUN_MIN, expectation=EXPECTATION)
    assert set(features) == set(names_of("injection_progress"))


@pytest.mark.parametrize(
    ("checkpoint", "run_time", "x", "complaint"),
    [(0, 8, [0, 1], "checkpoint_pct"), (50, 0, [0, 1], "run_time_min"), (50, 8, [1, 0], "ascend"), (50, 8, [0, 1, 2], "equally long")],
)
def test_bad_input_is_refused(checkpoint: float, run_time: float, x: list[float], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        progress_features(x, [0.0, 1.0], checkpoint_pct=checkpoint, run_time_min=run_time)


@pytest.mark.parametrize(
    ("value", "low", "high", "margin"),
    [(100, 95, 105, 1), (97.5, 95, 105, 0.5), (105, 95, 105, 0), (107.5, 95, 105, -0.5), (0.1, None, 1, 0.9), (84, 80, None, 0.05)],
)
def test_margin(value: float, low: float | None, high: float | None, margin: float):
    """Worked by hand: distance over half width 5, or over the only limit."""
    assert spec_margin(value, low=low, high=high) == pytest.approx(margin)


@pytest.mark.parametrize(("value", "low", "high"), [(None, 1, 2), (1, None, None), (1, 0, None), (1, 2, 2), (float("nan"), 0, 1)])
def test_margin_that_cannot_be_told(value: float | None, low: float | None, high: float | None):
    assert isnan(spec_margin(value, low=low, high=high))


def test_windows_of_one_channel():
    from lab_assets.features.expectation import ExpectedPeak

    both = MethodExpectation(
        method_id="RS-01",
        run_time_min=8,
        windows=tuple(ExpectedPeak(analyte=c, channel=c, start_min=1, end_min=2) for c in ("", "A", "B")),
    )
    assert [window.channel for window in both.on_channel("A").windows] == ["", "A"]
