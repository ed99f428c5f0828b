"""One sequence at the bench: plan, preparation, injections, results, and the oracle's risk for each.

Belongs here: weighing and dilution errors, the order of a sequence, the result of each injection against the sequence's
standards. Does not belong here: which sequence is run when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from lab_assets.simulation.chemistry import PORTION_SD, RunNoise, Solution, draw_run_noise, injection_state
from lab_assets.simulation.instruments import System, SystemState, flow_scatter
from lab_assets.simulation.lots import Sample
from lab_assets.simulation.physics import InjectionState, InjectionTrace, simulate_injection
from lab_assets.simulation.quantify import MeasuredPeak, Standard, area_noise, external_standard_value, measure_peaks
from lab_assets.simulation.risk import CHECKPOINTS_PCT, Analyte, Preparation, oracle_risk
from lab_assets.simulation.rng import rng_for
from lab_assets.simulation.world import (
    CYCLE_MIN,
    DISSOLUTION,
    LIMITS,
    NOMINAL_STANDARD_MG,
    RELATIVE_RESPONSE,
    RUN_MIN,
    Analyst,
    Instrument,
)

PREPARATIONS = 2
OPENING_STANDARDS = 3
STANDARD_PURITY_PCT = 99.6
STANDARD_NAME = "STD-API"
Role = Literal["blank", "standard", "sample"]


@dataclass(frozen=True, kw_only=True)
class PlannedInjection:
    """One line of a worklist; weights are what the balance printed, mg."""

    sequence_id: str
    injection_name: str
    position: int
    sample_name: str
    role: Role
    method_id: str
    injected_at: datetime
    analyst: str
    sample: Sample | None = None
    replicate: int | None = None
    weight_mg: float | None = None
    nominal_weight_mg: float | None = None
    standard_purity_pct: float | None = None


@dataclass(frozen=True, kw_only=True)
class Injection:
    """One injection that was run, with its truth.

    Attributes:
        planned: Its line of the worklist.
        instrument: The system it ran on.
        system: Latent state of the system.
        state: Physical state that made the traces.
        trace: The traces.
        peaks: Measured peaks by compound.
        common: Realised common factor of the preparation, logarithmic.
        portion: Realised content factor by compound, logarithmic.
        preparation: What the oracle knows of the common factor beforehand; ``None`` for blanks and standards.
        noise: What the run added.
        values: Results by reported analyte, % of label claim.
        is_oos: Whether any is outside its limits.
        risks: The oracle's risk at each checkpoint; empty for blanks and standards.
    """

    planned: PlannedInjection
    instrument: Instrument
    system: SystemState
    state: InjectionState
    trace: InjectionTrace
    peaks: dict[str, MeasuredPeak]
    noise: RunNoise
    common: float = 0.0
    portion: dict[str, float] = field(default_factory=dict)
    preparation: Preparation | None = None
    values: dict[str, float] = field(default_factory=dict)
    is_oos: bool = False
    risks: tuple[float, ...] = ()


def plan_sequence(
    sequence_id: str, method_id: str, samples: Sequence[Sample], *, seed: int, started_at: datetime, analyst: Analyst
) -> list[PlannedInjection]:
    """Return the worklist: blank, three standards, two preparations of each sample, closing standard.

    Args:
        sequence_id: Worklist number.
        method_id: Its method.
        samples: In order.
        seed: Seed of the simulation.
        started_at: First injection, UTC.
        analyst: Who weighs.
    """
    rng = rng_for(seed, "weights", sequence_id)
    standard_mg = round(float(NOMINAL_STANDARD_MG * (1 + 0.008 * rng.normal())), 2)
    lines: list[tuple[str, Role, Sample | None, int | None, float | None]] = [("BLANK", "blank", None, None, None)]
    lines.extend((STANDARD_NAME, "standard", None, number, standard_mg) for number in range(1, OPENING_STANDARDS + 1))
    for sample in samples:
        for replicate in range(1, PREPARATIONS + 1):
            taken = sample.lot.product.sample_mg * (1 + (0.0 if method_id == DISSOLUTION else 0.01 * rng.normal()))
            lines.append((sample.sample_name, "sample", sample, replicate, round(float(taken), 2)))
    lines.append((STANDARD_NAME, "standard", None, OPENING_STANDARDS + 1, standard_mg))
    return [
        PlannedInjection(
            sequence_id=sequence_id,
            injection_name=f"{sequence_id}_{position:03d}",
            position=position,
            sample_name=name,
            role=role,
            method_id=method_id,
            injected_at=started_at + timedelta(minutes=CYCLE_MIN * (position - 1)),
            analyst=analyst.name,
            sample=sample,
            replicate=replicate,
            weight_mg=weight,
            nominal_weight_mg=None if weight is None else (sample.lot.product.sample_mg if sample else NOMINAL_STANDARD_MG),
            standard_purity_pct=STANDARD_PURITY_PCT if role == "standard" else None,
        )
        for position, (name, role, sample, replicate, weight) in enumerate(lines, start=1)
    ]


def preparation_of(analyst: Analyst, sample: Sample, *, method_id: str, bad_day: bool) -> Preparation:
    """Return the distribution of a preparation's common factor: a good one, or a slip that leaves it too dilute.

    Args:
        analyst: Who prepares.
        sample: What; in dissolution the tablet's own spread counts as preparation.
        method_id: The method.
        bad_day: Whether the analyst's pipette delivers too little (scenario).
    """
    slip = 0.9 if bad_day else analyst.slip_rate
    spread = analyst.dilution_sd
    if method_id == DISSOLUTION:
        spread = float(np.hypot(spread, sample.lot.product.tablet_sd))
    return Preparation(
        weights=(1 - slip, slip),
        means=(analyst.bias, analyst.bias - 0.045),
        sds=(spread, float(np.hypot(spread, 0.018))),
    )


def _solution(planned: PlannedInjection, *, common: float, portion: dict[str, float], standard_error: float) -> Solution:
    """Return what the vial truly holds."""
    if planned.role == "blank":
        return Solution(content_pct={}, matrix=0.0)
    taken = (planned.weight_mg or 0.0) / (planned.nominal_weight_mg or 1.0)
    if planned.sample is None:
        return Solution(content_pct={"API": 100 * taken * STANDARD_PURITY_PCT / 100 * np.exp(standard_error)}, matrix=0.0)
    sample = planned.sample
    factor = taken * float(np.exp(common))
    released = sample.lot.dissolution_pct / 100 if planned.method_id == DISSOLUTION else 1.0
    return Solution(
        content_pct={
            "API": sample.potency_pct * released * factor * np.exp(portion["API"]),
            "IMP-A": sample.impurity_a_pct * released * factor * np.exp(portion["IMP-A"]),
            "IMP-B": sample.impurity_b_pct * released * factor * np.exp(portion["IMP-B"]),
        },
        matrix=sample.lot.matrix * released**0.8 * factor * float(np.exp(portion["EXC-1"])),
    )


def portion_sd(sample: Sample) -> dict[str, float]:
    """Return the relative standard deviation of each compound's content in one portion of a sample."""
    return PORTION_SD | {"API": sample.lot.product.extraction_sd}


def run_injections(
    planned: Sequence[PlannedInjection], system: System, *, seed: int, analyst: Analyst, bad_day: bool = False
) -> list[Injection]:
    """Inject a worklist, in order.

    Args:
        planned: The worklist.
        system: The system it runs on; its column ages by every injection.
        seed: Seed of the simulation.
        analyst: Who prepared.
        bad_day: Whether the analyst's pipette delivers too little.
    """
    standard_error = float(rng_for(seed, "standard", planned[0].sequence_id).normal(0.0, 0.0015))
    done: list[Injection] = []
    carried = 0.0
    for line in planned:
        rng = rng_for(seed, "preparation", line.injection_name)
        preparation, common, portion = None, 0.0, {}
        if line.sample is not None:
            preparation = preparation_of(analyst, line.sample, method_id=line.method_id, bad_day=bad_day)
            which = int(rng.random() < preparation.weights[1])
            common = float(rng.normal(preparation.means[which], preparation.sds[which]))
            portion = {name: float(rng.normal(0.0, sd)) for name, sd in portion_sd(line.sample).items()}
        latent = system.next_injection(line.injection_name, line.injected_at)
        noise = draw_run_noise(latent, rng)
        solution = _solution(line, common=common, portion=portion, standard_error=standard_error)
        state = injection_state(solution, latent, system.instrument, noise=noise, carried_area=carried)
        trace = simulate_injection(state, seed=rng_for(seed, "trace", line.injection_name))
        done.append(
            Injection(
                planned=line,
                instrument=system.instrument,
                system=latent,
                state=state,
                trace=trace,
                peaks=measure_peaks(trace.time_min, trace.signal_mau, trace.noise_free_mau, state.peaks),
                noise=noise,
                common=common,
                portion=portion,
                preparation=preparation,
            )
        )
        carried = next((peak.area_mau_min for peak in state.peaks if peak.name == "API"), 0.0)
    return done


def _standards(injections: Sequence[Injection]) -> list[Standard]:
    return [
        Standard(area=one.peaks["API"].area_mau_min, weight_mg=one.planned.weight_mg or 0.0, purity_pct=STANDARD_PURITY_PCT)
        for one in injections
        if one.planned.role == "standard" and "API" in one.peaks
    ]


def _value(area: float, injection: Injection, standards: Sequence[Standard], analyte: str) -> float:
    return external_standard_value(
        area,
        weight_mg=injection.planned.weight_mg or 0.0,
        nominal_weight_mg=injection.planned.nominal_weight_mg or 0.0,
        standards=standards,
        nominal_standard_mg=NOMINAL_STANDARD_MG,
        relative_response=RELATIVE_RESPONSE.get(analyte, 1.0),
    )


def _analyte(
    clean: MeasuredPeak, injection: Injection, sample: Sample, *, opening: Sequence[Standard], every: Sequence[Standard]
) -> Analyte:
    """Return what the oracle knows of one peak, ``clean`` being its integral on the trace without noise."""
    name, state = clean.name, injection.state
    limit = next((one for one in LIMITS if (one.method_id, one.analyte) == (injection.planned.method_id, name)), None)
    unknown = injection.common + injection.portion.get(name, 0.0) - injection.noise.flow_change
    detector = area_noise(state.noise_mau, clean.n_points, state.interval_s / 60) / clean.area_mau_min
    content = portion_sd(sample).get(name, 0.0)
    latent, measured = injection.system, injection.peaks.get(name)
    volume_sd = injection.instrument.injector_sd * (1 + 1.5 * latent.injector_wear**2)
    closing = float(np.sqrt(volume_sd**2 + flow_scatter(latent.pump_wear) ** 2 + latent.flow_sd**2)) / (len(opening) + 1)
    return Analyte(
        name=name,
        eluted_pct=100 * clean.end_min / RUN_MIN,
        log_expected=float(np.log(_value(clean.area_mau_min, injection, opening, name))) - unknown,
        error_sd=float(np.sqrt(content**2 + detector**2 + latent.flow_sd**2)),
        log_observed=float(np.log(_value(measured.area_mau_min, injection, every, name))) if measured is not None else None,
        low=limit.low if limit else None,
        high=limit.high if limit else None,
        closing_sd=closing,
    )


def judge(injections: Sequence[Injection]) -> list[Injection]:
    """Return the injections of one sequence with results, outcome and the oracle's risk.

    Args:
        injections: The whole sequence; its standards calibrate it.
    """
    from dataclasses import replace

    every = _standards(injections)
    opening = every[:OPENING_STANDARDS]
    judged: list[Injection] = []
    for one in injections:
        sample = one.planned.sample
        if one.preparation is None or sample is None:
            judged.append(one)
            continue
        names = {"EXC-1", "API"} if one.planned.method_id == DISSOLUTION else {"EXC-1", "IMP-A", "API", "IMP-B"}
        clean = measure_peaks(one.trace.time_min, one.trace.noise_free_mau, one.trace.noise_free_mau, one.state.peaks)
        analytes = [_analyte(peak, one, sample, opening=opening, every=every) for name, peak in clean.items() if name in names]
        reported = [analyte for analyte in analytes if analyte.reported]
        judged.append(
            replace(
                one,
                values={a.name: float(np.exp(a.log_observed)) for a in reported if a.log_observed is not None},
                is_oos=any(analyte.outside() for analyte in reported),
                risks=tuple(oracle_risk(one.preparation, analytes, checkpoint_pct=point) for point in CHECKPOINTS_PCT),
            )
        )
    return judged
