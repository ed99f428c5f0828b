"""Our extrema and smoothing against scipy.signal, which is too slow to import at run time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import percentile_filter
from scipy.signal import find_peaks, peak_widths, savgol_filter
from scipy.stats import f, t

from lab_assets.domain.numeric import (
    f_upper_tail,
    half_prominence_widths,
    local_maxima,
    mean,
    median,
    quantile,
    rolling_quantile,
    rolling_quantiles,
    row_means,
    row_medians,
    smoothed,
    student_t_quantile,
    trapezoid_area,
)

SIGNALS = st.lists(st.integers(-5, 5), min_size=3, max_size=60).map(lambda values: np.array(values, dtype=float))


@given(SIGNALS, st.sampled_from([0.0, 1.0, 2.5]))
@settings(max_examples=150, deadline=None)
def test_local_maxima_are_scipys(y: np.ndarray, prominence: float) -> None:
    tops, prominences = local_maxima(y, prominence=prominence)
    expected, properties = find_peaks(y, prominence=prominence)
    assert tops.tolist() == expected.tolist()
    assert prominences.tolist() == properties["prominences"].tolist()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("prominence", [0.0, 0.5, 2.0, 5.0])
def test_local_maxima_of_a_noisy_trace_are_scipys(seed: int, prominence: float) -> None:
    """So many maxima that those which are no peaks are dropped together."""
    rng = np.random.default_rng(seed)
    y = 30 * np.exp(-0.5 * ((np.arange(2000) - 900) / 25) ** 2) + rng.normal(size=2000)
    y = np.round(y, 1) if seed % 2 else y
    tops, prominences = local_maxima(y, prominence=prominence)
    expected, properties = find_peaks(y, prominence=prominence)
    assert tops.tolist() == expected.tolist()
    assert prominences.tolist() == properties["prominences"].tolist()


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=40).map(np.array),
    st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.8, 1.0]),
)
@settings(max_examples=200, deadline=None)
def test_quick_statistics_are_numpys_to_the_last_bit(values: np.ndarray, share: float) -> None:
    assert mean(values) == values.mean()
    assert median(values) == np.median(values)
    assert quantile(values, share) == np.quantile(values, share)
    assert trapezoid_area(values, np.arange(float(values.size))) == np.trapezoid(values, np.arange(float(values.size)))


@pytest.mark.parametrize("points", [1, 2, 7, 16])
def test_statistics_of_rows_are_numpys(points: int) -> None:
    rows = np.random.default_rng(points).normal(size=(9, points))
    rows[4, -1] = np.nan
    assert row_means(rows).tolist()[:4] == rows.mean(axis=1).tolist()[:4]
    assert np.array_equal(row_medians(rows), np.median(rows, axis=1), equal_nan=True)
    assert np.isnan(median(rows[4]))


def test_quantiles_of_one_window_are_those_taken_singly() -> None:
    y = np.random.default_rng(0).normal(size=300)
    together = rolling_quantiles(y, shares=(0.2, 1.0), width=41)
    for share, found in zip((0.2, 1.0), together, strict=True):
        assert found.tolist() == rolling_quantile(y, share=share, width=41).tolist()


def test_height_is_a_threshold() -> None:
    y = np.array([0.0, 1, 0, 3, 0, 2, 0])
    assert local_maxima(y, height=2)[0].tolist() == [3, 5]
    assert local_maxima(y, height=9)[0].size == 0


def test_widths_are_scipys_on_a_smooth_trace() -> None:
    x = np.linspace(0, 10, 400)
    y = np.exp(-0.5 * ((x - 3) / 0.3) ** 2) + 0.5 * np.exp(-0.5 * ((x - 4.5) / 0.4) ** 2) + 0.02 * x
    tops, prominences = local_maxima(y)
    assert half_prominence_widths(y, tops, prominences) == pytest.approx(peak_widths(y, tops, rel_height=0.5)[0])


@pytest.mark.parametrize("window", [5, 7, 21])
def test_smoothing_is_savitzky_golay(window: int) -> None:
    y = np.random.default_rng(0).normal(size=100)
    half = window // 2
    assert smoothed(y, window=window)[half:-half] == pytest.approx(savgol_filter(y, window, 2)[half:-half])
    line = np.arange(50.0)
    assert smoothed(line, window=window) == pytest.approx(line)
    assert smoothed(y, window=3) is y


def test_narrow_running_quantile_is_exact() -> None:
    y = np.random.default_rng(0).normal(size=60)
    for share in (0.0, 0.2, 1.0):
        assert rolling_quantile(y, share=share, width=11) == pytest.approx(percentile_filter(y, 100 * share, size=11, mode="nearest"))


def test_wide_running_quantile_follows_a_slow_signal() -> None:
    y = np.sin(np.linspace(0, 3, 2000))
    assert rolling_quantile(y, share=0.5, width=101) == pytest.approx(percentile_filter(y, 50, size=101, mode="nearest"), abs=2e-3)


def test_distributions_by_the_tables() -> None:
    """t(0.95, 1) = 6.3138, t(0.95, 29) = 1.6991; F(0.05; 2, 15) = 3.6823."""
    assert student_t_quantile(0.95, 1) == pytest.approx(6.3138, abs=1e-4)
    assert student_t_quantile(0.95, 29) == pytest.approx(1.6991, abs=1e-4)
    assert student_t_quantile(0.975, 7) == pytest.approx(t.ppf(0.975, 7))
    assert f_upper_tail(3.6823, df_numerator=2, df_denominator=15) == pytest.approx(0.05, abs=1e-4)
    assert f_upper_tail(2.5, df_numerator=3, df_denominator=9) == pytest.approx(f.sf(2.5, 3, 9))
