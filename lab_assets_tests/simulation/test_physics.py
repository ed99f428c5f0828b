"""Peak shape, kinetics and traces against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.simulation.physics import InjectionState, PeakState, arrhenius_factor, emg, simulate_injection

TIME = np.arange(0, 60, 0.002)


@settings(max_examples=25, deadline=None)
@given(sigma=st.floats(0.02, 0.5), tau=st.floats(0.0, 2.0))
def test_emg_has_its_area_and_its_mean_is_centre_plus_tau(sigma: float, tau: float) -> None:
    """Foley and Dorsey 1984: first moment = centre + tau, second central moment = sigma^2 + tau^2."""
    peak = emg(TIME, area=3.0, centre=10.0, sigma=sigma, tau=tau)
    mean = np.trapezoid(peak * TIME, TIME) / 3.0
    assert np.trapezoid(peak, TIME) == pytest.approx(3.0, rel=1e-6)
    # below 1e-3 sigma the tail is dropped, which moves the mean by no more than that
    assert mean == pytest.approx(10.0 + tau, abs=1e-3 * sigma + 1e-6)
    if tau > 1e-3 * sigma:
        assert np.trapezoid(peak * (TIME - mean) ** 2, TIME) / 3.0 == pytest.approx(sigma**2 + tau**2, rel=1e-4)


def test_emg_without_tail_is_the_gaussian() -> None:
    """Apex of a Gaussian: area / (sigma sqrt(2 pi)) = 2 / (0.5 * 2.5066) = 1.5958."""
    assert emg(np.array([1.0]), area=2.0, centre=1.0, sigma=0.5, tau=0.0)[0] == pytest.approx(1.59577, abs=1e-5)


@pytest.mark.parametrize(("sigma", "tau"), [(0.0, 0.1), (-1.0, 0.1), (0.1, -0.1)])
def test_emg_refuses_impossible_widths(sigma: float, tau: float) -> None:
    with pytest.raises(ValueError, match="sigma > 0"):
        emg(TIME, area=1.0, centre=1.0, sigma=sigma, tau=tau)


def test_arrhenius_with_83_144_kj_per_mol_from_25_to_35_c() -> None:
    """Ea/R = 10 000 K (the figure of mean kinetic temperature): exp(10000 * (1/298.15 - 1/308.15)) = exp(1.08843) = 2.9696."""
    factor = arrhenius_factor(35.0, 60.0, activation_kj_per_mol=83.144, humidity_per_pct=0.02)
    assert float(factor) == pytest.approx(2.9696, abs=2e-3)
    moist = arrhenius_factor(25.0, 70.0, activation_kj_per_mol=83.144, humidity_per_pct=0.02)
    assert float(moist) == pytest.approx(np.exp(0.2))


def test_an_injection_shows_its_peak_void_and_pressure() -> None:
    peak = PeakState(name="API", area_mau_min=75.0, retention_min=4.2, sigma_min=0.05, tau_min=0.02)
    state = InjectionState(peaks=(peak,), noise_mau=0.0, pressure_bar=200.0, ripple_bar=3.0)
    trace = simulate_injection(state, seed=1)
    assert trace.time_min.size == 7 * 60 / 0.4
    assert trace.time_min[1] == pytest.approx(0.4 / 60)
    near = (trace.time_min > 3.8) & (trace.time_min < 4.8)
    # a zero-noise trace less its baseline: the drift over the window is far below a thousandth of the peak
    assert np.trapezoid(trace.signal_mau[near], trace.time_min[near]) == pytest.approx(75.0, rel=0.01)
    assert trace.signal_mau[: int(0.8 / trace.time_min[1])].max() > 4.0
    assert trace.pressure_bar[10:].mean() == pytest.approx(200.0, abs=0.5)
    assert trace.pressure_bar[10:].std() == pytest.approx(3.0 / np.sqrt(2), abs=0.4)
    assert trace.oven_c.mean() == pytest.approx(35.0, abs=0.05)


def test_a_seed_repeats_the_noise_and_another_does_not() -> None:
    state = InjectionState(peaks=())
    one, two, other = (simulate_injection(state, seed=seed).signal_mau for seed in (3, 3, 4))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
