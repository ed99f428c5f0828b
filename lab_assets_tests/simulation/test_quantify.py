"""The external standard formula by hand, and the simulator's own integration against known areas."""

from __future__ import annotations

import numpy as np
import pytest

from lab_assets.simulation.physics import InjectionState, PeakState, simulate_injection
from lab_assets.simulation.quantify import Standard, area_noise, external_standard_value, measure_peaks


def test_external_standard_by_hand() -> None:
    """R = mean(100 / (20 * 0.99), 102 / (20 * 0.99)) = 5.10101; 100 * (50.5 / 101) / R * (100 / 20) = 49.0099 %."""
    standards = [Standard(area=100.0, weight_mg=20.0, purity_pct=99.0), Standard(area=102.0, weight_mg=20.0, purity_pct=99.0)]
    value = external_standard_value(50.5, weight_mg=101.0, nominal_weight_mg=100.0, standards=standards, nominal_standard_mg=20.0)
    assert value == pytest.approx(49.009901, abs=1e-6)


def test_relative_response_divides() -> None:
    standards = [Standard(area=10.0, weight_mg=10.0, purity_pct=100.0)]
    value = external_standard_value(
        0.08, weight_mg=10.0, nominal_weight_mg=10.0, standards=standards, nominal_standard_mg=10.0, relative_response=0.8
    )
    assert value == pytest.approx(1.0)


def test_external_standard_needs_standards() -> None:
    with pytest.raises(ValueError, match="at least one standard"):
        external_standard_value(1.0, weight_mg=1.0, nominal_weight_mg=1.0, standards=[], nominal_standard_mg=1.0)


def _peak(name: str, area: float, at: float, tau: float = 0.0) -> PeakState:
    return PeakState(name=name, area_mau_min=area, retention_min=at, sigma_min=0.05, tau_min=tau)


def test_isolated_gaussian_gives_area_plates_and_symmetry() -> None:
    """A Gaussian has N = (tR / sigma)^2 = (4 / 0.05)^2 = 6400 and symmetry 1."""
    state = InjectionState(peaks=(_peak("API", 75.0, 4.0),), noise_mau=0.0, wander_mau=0.0)
    trace = simulate_injection(state, seed=0)
    found = measure_peaks(trace.time_min, trace.signal_mau, trace.noise_free_mau, state.peaks)["API"]
    assert found.area_mau_min == pytest.approx(75.0, rel=1e-4)
    assert found.plates == pytest.approx(6400, rel=0.01)
    assert found.tailing == pytest.approx(1.0, abs=0.01)


def test_overlapping_peaks_are_parted_at_the_valley_and_a_shoulder_joins() -> None:
    apart = (_peak("A", 10.0, 4.0), _peak("B", 10.0, 4.25))
    combined = (_peak("A", 10.0, 4.0), _peak("B", 0.2, 4.08))
    for peaks, expected in ((apart, {"A": 10.0, "B": 10.0}), (combined, {"A": 10.2})):
        trace = simulate_injection(InjectionState(peaks=peaks, noise_mau=0.0, wander_mau=0.0), seed=0)
        found = measure_peaks(trace.time_min, trace.signal_mau, trace.noise_free_mau, peaks)
        assert {name: round(peak.area_mau_min, 1) for name, peak in found.items()} == expected


def test_area_noise_is_what_repetition_shows() -> None:
    """Closed form against 400 repeated blank-noise integrations."""
    state = InjectionState(peaks=(_peak("A", 1.0, 4.0),), noise_mau=0.05, wander_mau=0.0)
    areas: list[float] = []
    points = 0
    for seed in range(400):
        trace = simulate_injection(state, seed=seed)
        found = measure_peaks(trace.time_min, trace.signal_mau, trace.noise_free_mau, state.peaks)["A"]
        areas.append(found.area_mau_min)
        points = found.n_points
    assert float(np.std(areas)) == pytest.approx(area_noise(0.05, points, 0.4 / 60), rel=0.12)
