"""HPLC systems over time: pump wear, injector wear, lamp, column.

Belongs here: the latent state of a system at the moment of an injection and what it does to flow, volume, noise and peak
shape. Does not belong here: samples, results, files.

Wear is 0 after service and about 1 when the next service is due; its effects grow with its square, as leaks do:

=================  =====================================================================
latent state       effect
=================  =====================================================================
pump wear          pressure ripple, lower mean flow (later peaks, larger areas), scattered flow
injector wear      scattered volume, short injections, carry-over into the next injection
lamp age           noise and baseline wander
column age         fewer plates, longer tails, higher pressure, earlier retention
=================  =====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from lab_assets.simulation.rng import rng_for
from lab_assets.simulation.scenarios import Scenarios
from lab_assets.simulation.world import Instrument

SERVICE_EVERY_DAYS = 140.0
FAILING_PUMP_DAYS = 45.0
NEW_COLUMN_PLATES = 13000.0
WORN_COLUMN_PLATES = 5500.0
FAILED_COLUMN_PLATES = 1300.0


@dataclass(frozen=True, kw_only=True)
class SystemState:
    """Latent state of one HPLC system at one injection.

    Attributes:
        pump_wear: 0 after service, about 1 when due, up to 2 when failing.
        injector_wear: Likewise.
        lamp_age: 0 new, 1 when due.
        column_id: Serial of the column.
        column_injections: Injections made on it so far.
        plates: Plate number of the column alone.
        tail_min: Time constant of the tail of the main peak, min.
        back_pressure: Flow resistance of the column, 1 when new.
        flow: Flow of this injection, relative to nominal.
        flow_sd: Standard deviation of the flow's further change during the run, relative.
        volume: Injected volume, relative to nominal.
        carry_over: Share of the previous injection that comes again.
        noise_mau: Detector noise.
        oven_c: Oven temperature.
    """

    pump_wear: float
    injector_wear: float
    lamp_age: float
    column_id: str
    column_injections: int
    plates: float
    tail_min: float
    back_pressure: float
    flow: float
    flow_sd: float
    volume: float
    carry_over: float
    noise_mau: float
    oven_c: float


def flow_scatter(pump_wear: float) -> float:
    """Return the relative standard deviation of the flow from injection to injection."""
    return 0.0007 + 0.0045 * pump_wear**2


def flow_loss(pump_wear: float) -> float:
    """Return the relative loss of mean flow."""
    return 0.012 * pump_wear**2


class System:
    """One HPLC system that lives through the period; ``next_injection`` advances its column.

    Attributes:
        instrument: What it is.
        busy_until: When its last sequence ends, UTC.
        n_sequences: Sequences it has run.
    """

    def __init__(self, instrument: Instrument, *, seed: int, start: datetime, scenarios: Scenarios) -> None:
        self.instrument = instrument
        self.busy_until = start
        self.n_sequences = 0
        self._seed = seed
        self._start = start
        self._scenarios = scenarios
        self._disturbed = instrument.instrument_id == "LC-01"
        self._column_no = 1
        self._column_age = float(rng_for(seed, "column", instrument.instrument_id).integers(0, 250))
        self._injections = int(self._column_age)

    def pump_wear(self, at: datetime) -> float:
        """Return the wear of the pump seals at a moment."""
        since_failure = self._scenarios.days_since("failing_pump", at) if self._disturbed else float("-inf")
        if since_failure >= FAILING_PUMP_DAYS:
            return min((since_failure - FAILING_PUMP_DAYS) / SERVICE_EVERY_DAYS, 1.3) * self.instrument.wear_rate
        failure = 2.2 * max(since_failure, 0.0) / FAILING_PUMP_DAYS
        return self._service_age(at) * self.instrument.wear_rate + failure

    def injector_wear(self, at: datetime) -> float:
        """Return the wear of needle seat and rotor seal at a moment."""
        return self._service_age(at) * self.instrument.wear_rate

    def _service_age(self, at: datetime) -> float:
        """Time since the last service, 1 when the next is due."""
        days = (at - self._start).total_seconds() / 86400 - self.instrument.first_service_day
        return (days % SERVICE_EVERY_DAYS) / SERVICE_EVERY_DAYS

    def calibration(self, at: datetime) -> dict[str, tuple[float, float, float, str]]:
        """Return what a calibration would find: parameter to deviation, its standard uncertainty, tolerance and unit."""
        flow = 100 * (self.instrument.flow_bias - flow_loss(self.pump_wear(at)))
        volume = 100 * self.instrument.injector_sd * (1 + 1.5 * self.injector_wear(at) ** 2)
        return {
            "flow": (flow, 0.1, 2.0, "%"),
            "injection repeatability": (volume, 0.03, 1.0, "%"),
            "column oven": (0.1, 0.2, 2.0, "degC"),
            "wavelength": (0.2, 0.3, 2.0, "nm"),
        }

    def exchange_worn_column(self, at: datetime) -> None:
        """Put in a new column when the old one is worn; done before a sequence, never during one."""
        ageing = self._disturbed and self._scenarios.active("ageing_column", at)
        if self._plates() < (FAILED_COLUMN_PLATES if ageing else WORN_COLUMN_PLATES):
            self._column_no += 1
            self._column_age, self._injections = 0.0, 0

    def _plates(self) -> float:
        return NEW_COLUMN_PLATES * float(np.exp(-self._column_age / 480.0))

    @property
    def column_id(self) -> str:
        """Serial of the column in the system."""
        return f"C18-{self.instrument.instrument_id[-2:]}{self._column_no:02d}"

    def next_injection(self, injection_name: str, at: datetime) -> SystemState:
        """Return the state at one injection and let the column age by it."""
        rng = rng_for(self._seed, "system", injection_name)
        pump, injector = self.pump_wear(at), self.injector_wear(at)
        lamp = ((at - self._start).total_seconds() / 86400 + 60 * self.instrument.share) % 300 / 300
        plates = self._plates()
        worn = (NEW_COLUMN_PLATES / plates - 1) / (NEW_COLUMN_PLATES / WORN_COLUMN_PLATES - 1)
        short = rng.random() < 0.004 + 0.03 * injector**2
        volume = 1 + rng.normal(0.0, self.instrument.injector_sd * (1 + 1.5 * injector**2)) - (rng.uniform(0.01, 0.07) if short else 0.0)
        state = SystemState(
            pump_wear=pump,
            injector_wear=injector,
            lamp_age=lamp,
            column_id=self.column_id,
            column_injections=self._injections,
            plates=plates,
            tail_min=0.012 + 0.022 * min(worn, 3.0),
            back_pressure=1 + 0.08 * min(worn, 3.0),
            flow=float(1 + self.instrument.flow_bias - flow_loss(pump) + rng.normal(0.0, flow_scatter(pump))),
            flow_sd=0.0004 + 0.0025 * pump**2,
            volume=float(volume),
            carry_over=0.0002 + 0.0015 * injector**2,
            noise_mau=self.instrument.noise_mau * (1 + 0.8 * lamp),
            oven_c=float(35.0 + rng.normal(0.0, 0.05)),
        )
        fast = self._disturbed and self._scenarios.active("ageing_column", at)
        self._column_age += 8.0 if fast else 1.0
        self._injections += 1
        return state
