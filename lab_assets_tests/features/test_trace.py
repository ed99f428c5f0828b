"""Baseline, noise and shape of a trace."""

from __future__ import annotations

from math import isnan, sqrt

import numpy as np
import pytest

from lab_assets.features.trace import (
    Trace,
    apex_time,
    estimate_noise,
    find_baseline,
    finished_stretches,
    fit_line,
    is_pressure_signal,
    make_trace,
    peak_shape,
    pressure_summary,
    pressure_trace,
)


def test_noise_of_white_noise_is_its_sd():
    assert estimate_noise(np.random.default_rng(0).normal(0, 2.0, 20_000)) == pytest.approx(2.0, rel=0.03)


def test_noise_of_digitised_and_constant_signals():
    """Steps of 4 units, most points equal: 4 / sqrt(12)."""
    steps = np.zeros(100)
    steps[50:] = 4
    assert estimate_noise(steps) == pytest.approx(4 / sqrt(12))
    assert estimate_noise(np.ones(50)) == 0
    assert isnan(estimate_noise(np.ones(2)))


def test_a_ramp_is_its_own_baseline():
    x = np.linspace(0, 10, 1000)
    baseline = find_baseline(make_trace(x, 3 + 2 * x), run_time_min=10)
    assert baseline is not None
    assert baseline.slope_per_min == pytest.approx(2)
    inner = slice(20, -20)
    assert np.abs(baseline.above[inner]).max() < 1e-9
    assert find_baseline(make_trace(x[:7], x[:7]), run_time_min=10) is None


def test_a_peak_still_rising_is_not_finished():
    x = np.linspace(0, 10, 1000)
    y = 100 * np.exp(-0.5 * ((x - 5) / 0.1) ** 2)
    whole, part = make_trace(x, y), make_trace(x[:505], y[:505])
    for trace, count in ((whole, 1), (part, 0)):
        baseline = find_baseline(trace, run_time_min=10)
        assert baseline is not None
        assert len(finished_stretches(trace, baseline, after_min=1)) == count
    baseline = find_baseline(whole, run_time_min=10)
    assert baseline is not None
    assert finished_stretches(whole, baseline, after_min=6) == []


def test_tailing_of_a_triangle():
    """Front 1 min, back 3 min to zero: at 5 % height the halves are 0.95 and 2.85, so tailing (0.95 + 2.85) / (2 * 0.95) = 2."""
    x = np.linspace(0, 6, 601)
    y = np.interp(x, [0, 1, 2, 5, 6], [0, 0, 1, 0, 0])
    retention, plates, tailing = peak_shape(make_trace(x, y), y, first=120, last=480)
    assert retention == pytest.approx(2.0, abs=0.01)
    assert tailing == pytest.approx(2.0, rel=0.02)
    assert plates == pytest.approx(5.54 * (2 / 2) ** 2, rel=0.02)


def test_shape_of_a_cut_peak_is_missing():
    x = np.linspace(0, 1, 11)
    y = np.full(11, 5.0)
    _, plates, tailing = peak_shape(make_trace(x, y), y, first=0, last=11)
    assert isnan(plates)
    assert isnan(tailing)


def test_apex_by_parabola():
    """The parabola 1 - (x - 0.3)^2 sampled at -1, 0, 1 has its top at 0.3; an end point stays."""
    x = np.array([-1.0, 0.0, 1.0])
    y = 1 - (x - 0.3) ** 2
    assert apex_time(x, y, apex=1) == pytest.approx(0.3)
    assert apex_time(x, y, apex=0) == -1.0


def test_line():
    slope, rest = fit_line(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 2.0, 5.0]))
    assert slope == pytest.approx(1.6)
    assert rest == pytest.approx(sqrt(1.2 / 2))
    assert isnan(fit_line(np.array([1.0]), np.array([1.0]))[0])
    assert isnan(fit_line(np.array([1.0, 1.0]), np.array([1.0, 2.0]))[0])
    assert isnan(fit_line(np.array([0.0, 1.0]), np.array([1.0, 2.0]))[1])


def test_pressure_units():
    """20 MPa are 200 bar; 1 psi is 0.0689476 bar; other units are not guessed."""
    mpa = pressure_trace([0, 1, 2], [20, 20, 20], unit="MPa")
    assert mpa is not None
    assert mpa.y.tolist() == [200, 200, 200]
    psi = pressure_trace([0, 1, 2], [1000, 1000, 1000], unit=" psi ")
    assert psi is not None
    assert psi.y[0] == pytest.approx(68.9475729)
    assert pressure_trace([0], [1], unit="degC") is None
    assert pressure_trace([0], [1], unit=None) is None
    assert is_pressure_signal("Pump A Pressure")
    assert not is_pressure_signal("Column Oven")


def test_pressure_summary_of_little_is_missing():
    two = Trace(x_min=np.array([0.0, 1.0]), y=np.array([1.0, 1.0]))
    zero = Trace(x_min=np.arange(5.0), y=np.zeros(5))
    for trace in (None, two, zero):
        assert all(isnan(value) for value in pressure_summary(trace).values())
