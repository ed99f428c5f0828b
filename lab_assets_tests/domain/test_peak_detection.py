from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.domain.chromatography import (
    DetectionSettings,
    Peak,
    detect_peaks,
    largest_in_window,
    match_vendor_peaks,
    peak_in_window,
    plate_number,
    resolution,
    signal_to_noise,
    tailing_factor,
)
from lab_assets_tests.domain.emg import Emg

X = np.linspace(0.0, 15.0, 1501)
THREE = (Emg(1.0, 3.0, 0.05, 0.03), Emg(100.0, 7.0, 0.06, 0.05), Emg(10.0, 11.0, 0.07, 0.1))


def _trace(peaks: tuple[Emg, ...], *, noise: float = 0.0, seed: int = 1) -> np.ndarray:
    y = np.random.default_rng(seed).normal(0.0, noise, X.size) if noise else np.zeros(X.size)
    return y + sum(peak(X) for peak in peaks)


def test_formulas_by_hand() -> None:
    """USP <621>: tR 10, Wh 0.1 gives N = 5.54 * 100^2; W0.05 = 0.3 with front 0.1 gives 1.5; Rs = 1.18 * 1 / 0.4; S/N = 2 * 50 / 4."""
    assert plate_number(10.0, 0.1) == pytest.approx(55_400)
    assert tailing_factor(0.1, 0.2) == pytest.approx(1.5)
    assert resolution(5.0, 6.0, first_width_half_min=0.2, second_width_half_min=0.2) == pytest.approx(2.95)
    assert signal_to_noise(50.0, 4.0) == pytest.approx(25.0)
    assert signal_to_noise(50.0, 0.0) is None


def test_isolated_peaks_match_the_analytic_truth() -> None:
    found = detect_peaks(X, _trace(THREE))
    assert [peak.peak_no for peak in found] == [1, 2, 3]
    for peak, true in zip(found, THREE, strict=True):
        time, height, plates, tailing = true.truth()
        assert peak.area == pytest.approx(true.area, rel=1e-3)
        assert peak.retention_time_min == pytest.approx(time, abs=0.001)
        assert peak.height == pytest.approx(height, rel=1e-3)
        assert peak.plates == pytest.approx(plates, rel=0.02)
        assert peak.tailing == pytest.approx(tailing, abs=0.01)


@given(st.floats(0.03, 0.1), st.floats(0.2, 1.5), st.floats(1e-3, 1e6), st.floats(5.0, 10.0))
@settings(max_examples=25, deadline=None)
def test_any_isolated_peak_matches_the_analytic_truth(sigma: float, tau_share: float, area: float, mu: float) -> None:
    true = Emg(area, mu, sigma, tau_share * sigma)
    (peak,) = detect_peaks(X, true(X))
    _, _, plates, tailing = true.truth()
    assert peak.area == pytest.approx(area, rel=1e-3)
    assert peak.plates == pytest.approx(plates, rel=0.02)
    assert peak.tailing == pytest.approx(tailing, abs=0.02)


@given(st.floats(0.1, 1e4), st.floats(-1e3, 1e3), st.floats(-20.0, 20.0))
@settings(max_examples=15, deadline=None)
def test_scale_offset_and_straight_drift_change_nothing(scale: float, offset: float, drift: float) -> None:
    plain = detect_peaks(X, _trace(THREE, noise=0.02))
    moved = detect_peaks(X, scale * (_trace(THREE, noise=0.02) + offset + drift * X))
    assert [peak.area / scale for peak in moved] == pytest.approx([peak.area for peak in plain], rel=2e-2)
    assert [peak.plates for peak in moved] == pytest.approx([peak.plates for peak in plain], rel=2e-2)


def test_noise_is_the_traces_own() -> None:
    """White noise of sd 0.02 has a peak-to-peak of about 5 sd over a hundred points, so S/N is about 2 H / 0.1."""
    found = detect_peaks(X, _trace(THREE, noise=0.02))
    assert len(found) == 3
    for peak, true in zip(found, THREE, strict=True):
        _, height, plates, _ = true.truth()
        assert peak.signal_to_noise == pytest.approx(2 * height / 0.1, rel=0.35)
        assert peak.area == pytest.approx(true.area, rel=0.01)
        assert peak.plates == pytest.approx(plates, rel=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_and_drift_alone_have_no_peaks(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0.0, 1.0, X.size)
    assert detect_peaks(X, noise) == []
    assert detect_peaks(X, noise + 100 * X) == []
    assert detect_peaks(X, 3 * X) == []
    assert detect_peaks(X, np.full(X.size, 7.0)) == []


def test_short_and_empty_traces_have_no_peaks() -> None:
    assert detect_peaks([], []) == []
    assert detect_peaks(X[:10], X[:10] ** 2) == []


def test_touching_peaks_share_the_valley_and_the_area() -> None:
    """Perpendicular drop: two equal symmetric peaks are parted in their middle and share the whole area equally."""
    pair = (Emg(10.0, 6.0, 0.1, 0.001), Emg(10.0, 6.4, 0.1, 0.001))
    first, second = detect_peaks(X, _trace(pair))
    assert first.end_min == second.start_min == pytest.approx(6.2, abs=0.011)
    assert first.area == pytest.approx(10.0, rel=2e-3)
    assert second.area == pytest.approx(10.0, rel=2e-3)
    assert second.resolution == pytest.approx(1.18 * 0.4 / (2 * 2.3548 * 0.1), rel=0.02)
    assert first.resolution is None


def test_unresolved_flank_leaves_tailing_undefined() -> None:
    first, _ = detect_peaks(X, _trace((Emg(10.0, 6.0, 0.1, 0.001), Emg(10.0, 6.35, 0.1, 0.001))))
    assert first.tailing is None
    assert first.plates is not None


def test_baseline_goes_from_valley_to_valley_where_the_signal_dips() -> None:
    """Two peaks either side of a sagging baseline are not integrated over a chord above the trace."""
    sag = -10.0 * np.exp(-0.5 * ((X - 7.5) / 1.5) ** 2)
    found = detect_peaks(X, _trace((Emg(5.0, 7.2, 0.05, 0.02), Emg(5.0, 7.8, 0.05, 0.02)), noise=0.01) + sag)
    inside = [peak for peak in found if 7.0 < peak.retention_time_min < 8.0]
    assert [peak.area for peak in inside] == pytest.approx([5.0, 5.0], rel=0.05)


def test_negative_dip_is_no_peak_and_spoils_no_neighbour() -> None:
    dip = -20 * np.exp(-0.5 * ((X - 5.5) / 0.06) ** 2)
    found = detect_peaks(X, _trace(THREE, noise=0.02) + dip)
    assert [peak.area for peak in found] == pytest.approx([1.0, 100.0, 10.0], rel=0.02)


def test_peak_cut_by_the_end_of_the_trace_is_no_more_than_what_is_there() -> None:
    """The trace ends 0.9 sigma after the apex: 81.6 % of the Gaussian's area of 10 are there, the back flank never reaches 5 %."""
    cut = X[X <= 7.1]
    (peak,) = detect_peaks(cut, Emg(10.0, 7.0, 0.1, 0.001)(cut))
    assert peak.end_min == cut[-1]
    assert 6.9 < peak.area < 8.17
    assert peak.tailing is None
    (peak,) = detect_peaks(X[X >= 6.9], Emg(10.0, 7.0, 0.1, 0.001)(X[X >= 6.9]))
    assert 6.9 < peak.area < 8.42
    assert peak.tailing is None


def test_threshold_is_signal_to_noise() -> None:
    y = _trace(THREE, noise=0.5)
    assert len(detect_peaks(X, y, DetectionSettings(min_signal_to_noise=15))) == 2
    assert len(detect_peaks(X, y, DetectionSettings(min_signal_to_noise=3))) == 3


def test_spikes_are_not_peaks() -> None:
    y = _trace(THREE, noise=0.02)
    y[500] += 50
    assert [round(peak.retention_time_min) for peak in detect_peaks(X, y)] == [3, 7, 11]


def test_uneven_sampling_keeps_the_area() -> None:
    x = np.concatenate([np.arange(0.0, 7.0, 0.01), np.arange(7.0, 15.0, 0.008)])
    found = detect_peaks(x, Emg(100.0, 7.0, 0.06, 0.05)(x))
    assert max(peak.area for peak in found) == pytest.approx(100.0, rel=1e-3)


def test_unusable_traces_are_refused() -> None:
    with pytest.raises(ValueError, match="ascend"):
        detect_peaks(X[::-1], X)
    with pytest.raises(ValueError, match="finite"):
        detect_peaks(X, np.full(X.size, np.inf))


def test_peak_in_window_is_the_largest_with_its_apex_inside() -> None:
    y = _trace(THREE)
    peak = peak_in_window(X, y, start_min=2.0, end_min=8.0)
    assert peak is not None
    assert peak.area == pytest.approx(100.0, rel=1e-3)
    assert peak_in_window(X, y, start_min=4.0, end_min=6.0) is None
    assert largest_in_window([], start_min=0, end_min=1) is None
    with pytest.raises(ValueError, match="is empty"):
        peak_in_window(X, y, start_min=6.0, end_min=4.0)


def _peak(time: float, *, width: float | None = 0.1) -> Peak:
    return replace(detect_peaks(X, THREE[1](X))[0], retention_time_min=time, start_min=time - 0.2, end_min=time + 0.2, width_half_min=width)


def test_vendor_peaks_go_to_the_nearest_once() -> None:
    """Reach is half the base width, 0.085 min for Wh 0.1; 5.02 is nearer to the first peak than 5.06 is."""
    peaks = [_peak(5.0), _peak(5.1), _peak(8.0)]
    assert match_vendor_peaks(peaks, [5.06, 5.02, None, 8.2]) == [1, 0, None]
    assert match_vendor_peaks([_peak(8.0, width=None)], [8.15]) == [0]
    assert match_vendor_peaks([], [1.0]) == []
