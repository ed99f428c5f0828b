"""Traces of one injection from its physical state: peaks, baseline, noise, pressure, oven.

Belongs here: pure functions of physical quantities. Does not belong here: what a lot, analyst or instrument is, dates,
files. A peak is an exponentially modified Gaussian (Foley and Dorsey, J. Chromatogr. Sci. 22 (1984) 40): a Gaussian of
standard deviation ``sigma`` convolved with an exponential decay of time constant ``tau``; its area is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

FloatArray = NDArray[np.float64]

GAS_CONSTANT_J_PER_MOL_K = 8.314462618
"""CODATA 2018."""


@dataclass(frozen=True, kw_only=True)
class PeakState:
    """One eluting compound.

    Attributes:
        name: Compound.
        area_mau_min: Area, mAU x min.
        retention_min: Centre of the Gaussian, min (the apex comes later by about ``tau_min``).
        sigma_min: Standard deviation of the Gaussian, min.
        tau_min: Time constant of the tail, min.
    """

    name: str
    area_mau_min: float
    retention_min: float
    sigma_min: float
    tau_min: float


@dataclass(frozen=True, kw_only=True)
class InjectionState:
    """Everything physical that decides the traces of one injection, noise aside.

    Attributes:
        peaks: Compounds on the column.
        void_min: Dead time, min.
        void_mau: Height of the injection disturbance at the dead time, mAU; proportional to the injected volume.
        noise_mau: Standard deviation of the white detector noise, mAU.
        offset_mau: Baseline at the start, mAU.
        drift_mau_per_min: Slope of the baseline.
        wander_mau: Amplitude of the slow wave of the baseline (lamp, oven cycle), mAU.
        wander_phase: Phase of that wave, rad.
        pressure_bar: Mean system pressure, bar.
        ripple_bar: Amplitude of the pump stroke in the pressure, bar.
        ripple_phase: Phase of the stroke, rad.
        oven_c: Mean oven temperature, degC.
        run_min: Run length, min.
        interval_s: Sampling interval of the detector, s.
    """

    peaks: tuple[PeakState, ...]
    void_min: float = 0.62
    void_mau: float = 6.0
    noise_mau: float = 0.02
    offset_mau: float = 0.3
    drift_mau_per_min: float = 0.02
    wander_mau: float = 0.05
    wander_phase: float = 0.0
    pressure_bar: float = 210.0
    ripple_bar: float = 0.4
    ripple_phase: float = 0.0
    oven_c: float = 35.0
    run_min: float = 7.0
    interval_s: float = 0.4


@dataclass(frozen=True, kw_only=True)
class InjectionTrace:
    """Traces of one injection; every array is one-dimensional.

    Attributes:
        time_min: Detector times, min, shape (n,), from 0 in equal steps.
        signal_mau: Detector signal, mAU, shape (n,).
        noise_free_mau: The same without white noise, shape (n,).
        pressure_time_min: Times of the pressure readings, min.
        pressure_bar: System pressure, bar.
        oven_time_min: Times of the oven readings, min.
        oven_c: Oven temperature, degC.
    """

    time_min: FloatArray
    signal_mau: FloatArray
    noise_free_mau: FloatArray
    pressure_time_min: FloatArray
    pressure_bar: FloatArray
    oven_time_min: FloatArray
    oven_c: FloatArray


def emg(time: FloatArray, *, area: float, centre: float, sigma: float, tau: float) -> FloatArray:
    """Return an exponentially modified Gaussian.

    ``f(t) = area / (2 tau) * exp(-z^2 / 2) * erfcx(u)``, ``z = (t - centre) / sigma``, ``u = (sigma / tau - z) / sqrt 2``,
    which is stable for all but strongly negative u, where the equal form with the normal distribution function is used.

    Args:
        time: Times, shape (n,).
        area: Area under the curve, signal x unit of time.
        centre: Mean of the Gaussian; the mean of the peak is ``centre + tau``.
        sigma: Standard deviation of the Gaussian, > 0.
        tau: Time constant of the decay, >= 0; 0 gives the Gaussian.

    Returns:
        Signal, shape (n,).

    Raises:
        ValueError: ``sigma`` is not positive or ``tau`` is negative.
    """
    if not sigma > 0 or tau < 0:
        raise ValueError(f"a peak needs sigma > 0 and tau >= 0, got sigma={sigma} and tau={tau}")
    z = (time - centre) / sigma
    if tau < 1e-3 * sigma:
        return area / (sigma * np.sqrt(2 * np.pi)) * np.exp(-0.5 * z * z)
    u = (sigma / tau - z) / np.sqrt(2)
    out = np.empty_like(time)
    front = u > -4
    out[front] = np.exp(-0.5 * z[front] ** 2) * erfcx(u[front])
    tail = ~front
    out[tail] = 2 * np.exp(0.5 * (sigma / tau) ** 2 - z[tail] * sigma / tau + log_ndtr(z[tail] - sigma / tau))
    return area / (2 * tau) * out


def arrhenius_factor(
    temperature_c: FloatArray | float,
    humidity_pct: FloatArray | float,
    *,
    activation_kj_per_mol: float,
    humidity_per_pct: float,
    reference_c: float = 25.0,
    reference_pct: float = 60.0,
) -> FloatArray:
    """Return the rate of degradation relative to the reference condition.

    Humidity-corrected Arrhenius equation, ``ln k = ln A - Ea / (R T) + B * RH`` (Waterman et al., Pharm. Res. 24 (2007) 780).

    Args:
        temperature_c: Temperature, degC, any shape.
        humidity_pct: Relative humidity, %, same shape.
        activation_kj_per_mol: Activation energy Ea, kJ/mol.
        humidity_per_pct: Humidity sensitivity B, 1/%.
        reference_c: Temperature where the factor is 1, degC.
        reference_pct: Humidity where the factor is 1, %.

    Returns:
        Factor, dimensionless, same shape.
    """
    inverse = 1 / (reference_c + 273.15) - 1 / (np.asarray(temperature_c) + 273.15)
    moist = humidity_per_pct * (np.asarray(humidity_pct) - reference_pct)
    return np.exp(activation_kj_per_mol * 1000 / GAS_CONSTANT_J_PER_MOL_K * inverse + moist)


def _baseline(state: InjectionState, time_min: FloatArray) -> FloatArray:
    """Drift, slow wave and the injection disturbance (a dip with a following bump) at the dead time."""
    wave = state.wander_mau * np.sin(2 * np.pi * time_min / 5.3 + state.wander_phase)
    width = 0.025 * (state.void_min / 0.62)
    z = (time_min - state.void_min) / width
    void = state.void_mau * (np.exp(-0.5 * (z - 1.6) ** 2) - 0.6 * np.exp(-0.5 * z * z))
    return state.offset_mau + state.drift_mau_per_min * time_min + wave + void


def _pressure(state: InjectionState, time_min: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Mean pressure with the valve's dip after injection, the pump stroke and reading noise."""
    dip = -0.06 * state.pressure_bar * np.exp(-time_min / 0.05)
    stroke = state.ripple_bar * np.sin(2 * np.pi * time_min / 0.137 + state.ripple_phase)
    return state.pressure_bar + dip + stroke + rng.normal(0.0, 0.15, time_min.size)


def simulate_injection(
    state: InjectionState, *, seed: int | Sequence[int] | np.random.Generator, channel_scale: float = 1.0
) -> InjectionTrace:
    """Return the traces of one injection.

    Args:
        state: Physical state; no randomness but the detector's and sensors' noise is added to it.
        seed: Seed or generator of that noise.
        channel_scale: Detector response of this channel relative to the main one (second wavelength).

    Returns:
        Detector, pressure (every 2 s) and oven (every 10 s) traces.
    """
    rng = np.random.default_rng(seed)
    n = round(state.run_min * 60 / state.interval_s)
    time_min = np.arange(n, dtype=np.float64) * (state.interval_s / 60)
    clean = _baseline(state, time_min)
    for peak in state.peaks:
        clean += channel_scale * emg(time_min, area=peak.area_mau_min, centre=peak.retention_min, sigma=peak.sigma_min, tau=peak.tau_min)
    pressure_time = np.arange(round(state.run_min * 30) + 1, dtype=np.float64) / 30
    oven_time = np.arange(round(state.run_min * 6) + 1, dtype=np.float64) / 6
    return InjectionTrace(
        time_min=time_min,
        signal_mau=clean + rng.normal(0.0, state.noise_mau, n),
        noise_free_mau=clean,
        pressure_time_min=pressure_time,
        pressure_bar=_pressure(state, pressure_time, rng),
        oven_time_min=oven_time,
        oven_c=state.oven_c + 0.04 * np.sin(2 * np.pi * oven_time / 1.7) + rng.normal(0.0, 0.02, oven_time.size),
    )
