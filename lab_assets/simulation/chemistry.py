"""From what a solution truly holds and the state of a system to the peaks on the column.

Belongs here: areas, retention and widths of every compound of one injection. Does not belong here: who prepared it, when,
or how it is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from lab_assets.simulation.instruments import SystemState
from lab_assets.simulation.physics import InjectionState, PeakState
from lab_assets.simulation.world import API_AREA_MAU_MIN, RELATIVE_RESPONSE, RETENTION_MIN, RUN_MIN, VOID_MIN, Instrument

EXTRA_COLUMN_SIGMA_MIN: Final = 0.03
"""Broadening outside the column (detector cell, tubing), min; added in quadrature."""

MATRIX_AREA_PCT: Final[dict[str, float]] = {"EXC-1": 3.0, "EXC-2": 0.15, "EXC-3": 0.6}
"""Areas of the tablet matrix relative to the main compound at nominal, %."""

PORTION_SD: Final[dict[str, float]] = {"EXC-1": 0.004, "IMP-A": 0.02, "IMP-B": 0.025}
"""Content of one portion around its lot's mean, relative; the main compound's is the product's ``extraction_sd``."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What one vial truly holds, in % of the nominal concentration of the main compound.

    Attributes:
        content_pct: Compound to content (response apart).
        matrix: Amount of tablet matrix, 1 = nominal, 0 = none.
    """

    content_pct: dict[str, float]
    matrix: float


@dataclass(frozen=True, kw_only=True)
class RunNoise:
    """What happens to one injection beyond its known state, relative.

    Attributes:
        flow_change: Change of the flow during the run.
        wander_phase: Phase of the baseline wave, rad.
        ripple_phase: Phase of the pump stroke, rad.
        drift_mau_per_min: Slope of the baseline.
    """

    flow_change: float
    wander_phase: float
    ripple_phase: float
    drift_mau_per_min: float


def draw_run_noise(system: SystemState, rng: np.random.Generator) -> RunNoise:
    """Draw what the run adds to the known state of the system."""
    return RunNoise(
        flow_change=float(rng.normal(0.0, system.flow_sd)),
        wander_phase=float(rng.uniform(0, 2 * np.pi)),
        ripple_phase=float(rng.uniform(0, 2 * np.pi)),
        drift_mau_per_min=float(0.015 + 0.01 * rng.normal()),
    )


def areas(solution: Solution, system: SystemState, *, flow_change: float, carried_area: float = 0.0) -> dict[str, float]:
    """Return the area of every compound, mAU x min.

    A concentration detector sees ``area = response * amount / flow``; what the injector kept of the previous injection's
    main peak is added to this one's.

    Args:
        solution: What the vial holds.
        system: State of the system; gives volume, flow and carry-over.
        flow_change: Relative change of the flow during the run.
        carried_area: Area of the main compound in the previous injection.
    """
    scale = API_AREA_MAU_MIN / 100 * system.volume / (system.flow * (1 + flow_change))
    found = {name: content * RELATIVE_RESPONSE.get(name, 1.0) * scale for name, content in solution.content_pct.items()}
    found |= {name: share * solution.matrix * scale for name, share in MATRIX_AREA_PCT.items() if solution.matrix > 0}
    found["API"] = found.get("API", 0.0) + system.carry_over * carried_area
    return {name: area for name, area in found.items() if area > 0}


def peak_shape(name: str, system: SystemState, *, flow_change: float) -> tuple[float, float, float]:
    """Return retention, Gaussian sigma and tail of a compound, min.

    Retention scales with 1 / flow, falls by 1.2 % per degC and slightly as the column's phase wears; plates give sigma.
    """
    worn = max(13000.0 / system.plates - 1, 0.0)
    nominal = RETENTION_MIN[name]
    retention = nominal / (system.flow * (1 + flow_change)) * (1 - 0.012 * (system.oven_c - 35.0)) * (1 - 0.004 * min(worn, 3.0))
    sigma = float(np.hypot(retention / np.sqrt(system.plates), EXTRA_COLUMN_SIGMA_MIN))
    return retention, sigma, 0.004 + system.tail_min * (nominal / 4.2) ** 0.3


def injection_state(
    solution: Solution, system: SystemState, instrument: Instrument, *, noise: RunNoise, carried_area: float = 0.0
) -> InjectionState:
    """Return everything that decides the traces of one injection.

    Args:
        solution: What the vial holds.
        system: State of the system at this injection.
        instrument: The system's constants.
        noise: What the run adds.
        carried_area: Area of the main compound in the previous injection, mAU x min.
    """
    peaks: list[PeakState] = []
    for name, area in areas(solution, system, flow_change=noise.flow_change, carried_area=carried_area).items():
        retention, sigma, tau = peak_shape(name, system, flow_change=noise.flow_change)
        peaks.append(PeakState(name=name, area_mau_min=area, retention_min=retention, sigma_min=sigma, tau_min=tau))
    flow = system.flow * (1 + noise.flow_change)
    return InjectionState(
        peaks=tuple(sorted(peaks, key=lambda peak: peak.retention_min)),
        void_min=VOID_MIN / flow,
        void_mau=6.0 * system.volume,
        noise_mau=system.noise_mau,
        offset_mau=0.3,
        drift_mau_per_min=noise.drift_mau_per_min,
        wander_mau=0.03 * (1 + 2 * system.lamp_age),
        wander_phase=noise.wander_phase,
        pressure_bar=instrument.pressure_bar * system.back_pressure * flow,
        ripple_bar=0.35 + 5.0 * system.pump_wear**2,
        ripple_phase=noise.ripple_phase,
        oven_c=system.oven_c,
        run_min=RUN_MIN,
    )
