"""Stability chambers: what their loggers read, and what that does to a lot.

Belongs here: temperature and humidity over time, degradation as the Arrhenius integral over them. Does not belong here:
the log files.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from lab_assets.simulation.physics import FloatArray, arrhenius_factor
from lab_assets.simulation.rng import rng_for
from lab_assets.simulation.scenarios import Scenarios
from lab_assets.simulation.world import (
    ACTIVATION_A_KJ_PER_MOL,
    ACTIVATION_B_KJ_PER_MOL,
    CHAMBERS,
    HUMIDITY_PER_PCT,
    Chamber,
)

EXCURSION_DAYS = 6.0
HOURS_PER_YEAR = 8766.0


@dataclass(frozen=True, kw_only=True)
class ChamberHistory:
    """Hourly readings of one chamber.

    Attributes:
        chamber: The chamber.
        start: Time of the first reading, UTC.
        temperature_c: Readings, degC, shape (hours,).
        humidity_pct: Readings, %, shape (hours,).
        damage_a: Cumulated hydrolysis before each reading, years at 25 degC and 60 % RH, shape (hours + 1,).
        damage_b: Cumulated oxidation, likewise.
    """

    chamber: Chamber
    start: datetime
    temperature_c: FloatArray
    humidity_pct: FloatArray
    damage_a: FloatArray
    damage_b: FloatArray

    def exposure(self, stored: datetime, pulled: datetime) -> tuple[float, float]:
        """Return the hydrolysis and oxidation between two moments, in years at 25 degC and 60 % RH."""
        first = min(max(round((stored - self.start).total_seconds() / 3600), 0), self.damage_a.size - 1)
        last = min(max(round((pulled - self.start).total_seconds() / 3600), first), self.damage_a.size - 1)
        return float(self.damage_a[last] - self.damage_a[first]), float(self.damage_b[last] - self.damage_b[first])


def _autoregressive(rng: np.random.Generator, n: int, *, sd: float, memory: float) -> FloatArray:
    """Stationary first-order process of standard deviation ``sd``."""
    from scipy.signal import lfilter

    shocks = rng.normal(0.0, sd * np.sqrt(1 - memory**2), n)
    shocks[0] = rng.normal(0.0, sd)
    return np.asarray(lfilter([1.0], [1.0, -memory], shocks))


def _add_disturbances(
    chamber: Chamber,
    rng: np.random.Generator,
    *,
    start: datetime,
    temperature: FloatArray,
    humidity: FloatArray,
    scenarios: Scenarios,
) -> None:
    """Put door openings, the chamber's own rare control failures and the scenario's excursion into the readings, in place."""
    n = temperature.size
    doors = rng.random(n) < 0.004
    humidity[doors] -= rng.uniform(2.0, 9.0, int(doors.sum()))
    temperature[doors] -= rng.uniform(0.2, 1.2, int(doors.sum())) * np.sign(chamber.temperature_c - 22)
    for begin in np.flatnonzero(rng.random(n) < 1 / 4000):
        hours = int(rng.integers(6, 48))
        shape = np.sin(np.linspace(0, np.pi, hours))[: n - begin]
        temperature[begin : begin + hours] += rng.uniform(2.0, 5.0) * shape
        humidity[begin : begin + hours] += rng.uniform(-8.0, 8.0) * shape
    if chamber.chamber_id == "CH-30" and "chamber_excursion" in scenarios.starts:
        begin = max(int((scenarios.starts["chamber_excursion"] - start).total_seconds() // 3600), 0)
        hours = int(EXCURSION_DAYS * 24)
        ramp = np.minimum(np.minimum(np.arange(hours), np.arange(hours)[::-1]) / 6, 1.0)[: n - begin]
        temperature[begin : begin + hours] += 15.0 * ramp
        humidity[begin : begin + hours] += 13.0 * ramp


def simulate_chamber(chamber: Chamber, *, seed: int, start: datetime, end: datetime, scenarios: Scenarios) -> ChamberHistory:
    """Return a chamber's hourly readings and the damage they do.

    Args:
        chamber: The chamber.
        seed: Seed of the simulation.
        start: First reading, UTC.
        end: No reading at or after this.
        scenarios: ``chamber_excursion`` disturbs CH-30.
    """
    rng = rng_for(seed, "chamber", chamber.chamber_id)
    n = int((end - start) / timedelta(hours=1))
    temperature = chamber.temperature_c + 0.1 * rng.normal() + _autoregressive(rng, n, sd=0.35, memory=0.9)
    humidity = chamber.humidity_pct + 0.3 * rng.normal() + _autoregressive(rng, n, sd=1.0, memory=0.9)
    _add_disturbances(chamber, rng, start=start, temperature=temperature, humidity=humidity, scenarios=scenarios)
    humidity = np.clip(humidity, 5.0, 98.0)

    def damage(activation: float) -> FloatArray:
        rate = arrhenius_factor(temperature, humidity, activation_kj_per_mol=activation, humidity_per_pct=HUMIDITY_PER_PCT)
        return np.concatenate([[0.0], np.cumsum(rate) / HOURS_PER_YEAR])

    return ChamberHistory(
        chamber=chamber,
        start=start,
        temperature_c=temperature,
        humidity_pct=humidity,
        damage_a=damage(ACTIVATION_A_KJ_PER_MOL),
        damage_b=damage(ACTIVATION_B_KJ_PER_MOL),
    )


def simulate_chambers(*, seed: int, start: datetime, end: datetime, scenarios: Scenarios) -> dict[str, ChamberHistory]:
    """Return the history of every chamber by its id."""
    return {chamber.chamber_id: simulate_chamber(chamber, seed=seed, start=start, end=end, scenarios=scenarios) for chamber in CHAMBERS}
