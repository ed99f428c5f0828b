"""Input that cannot be, which is refused, and input that hardly can be, which is answered with a warning.

A model answers whatever numbers it is given. So units and methods that nobody knows are refused before anything is computed, and so are times
and signals that no run gives; a signal or a feature value far from anything seen, or a name that no table knows, is answered, but with no
verdict, and the warning is kept with the decision.

Belongs here: what is refused or warned of, in words. Does not belong here: the shape of requests (``requests.py``), what a quantity can be
(``lab_assets.features.definitions``), the ranges of training (``lab_assets.modeling.training_range``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from lab_assets.domain.units import is_signal_unit, signal_factor
from lab_assets.features.expectation import MethodExpectation
from lab_assets.features.feature import Feature
from lab_assets.features.trace import PRESSURE_UNITS_BAR, estimate_noise
from lab_assets.modeling.arrays import FloatArray
from lab_assets.modeling.training_range import TrainingRange
from lab_assets.service.json_body import refusal
from lab_assets.service.problems import FieldProblem
from lab_assets.service.requests import REFUSED, Signal, TraceRequest

TIMES_REFERENCE_HEIGHT: Final = 20.0
"""A signal this many times the highest standard peak is no chromatogram of the method: a detector saturates far below."""
TIMES_STANDARDS_NOISE: Final = 5.0
"""Noise this many times that beside the standards' peaks, or a fifth of it and less, is that of another scale: from run to run it moves by a
third, and a peak of any height leaves it alone, so a sample far out of its limits is not taken for one."""
SDS_PEAK_TO_PEAK: Final = 3.6
"""Standard deviations in the noise from peak to peak of a quiet stretch as wide as those beside peaks; measured on 400 simulated runs."""
RUNS_SEEN: Final = 1.1
RUNS_POSSIBLE: Final = 2.0
"""A trace may go on a little after the planned end; one of twice the length is none of this run, or its times are no minutes."""
LARGEST_GAP_SHARE: Final = 0.1
BELOW_ZERO_SHARE: Final = 0.1
"""Baselines lie below zero by a few percent of a peak at times, after a detector was set to zero on a solvent."""
UPSIDE_DOWN_SHARE: Final = 0.2
MAX_NAMED: Final = 8
GROWING: Final = frozenset({"lot_results_known", "lot_failures_known", "ih_injections_on_column"})
"""Counts that grow with every month of work, beyond any training rows."""
TIMES_HIGHEST_COUNT: Final = 10.0


def refuse_unknown(request: TraceRequest, *, methods: Collection[str]) -> None:
    """Refuse a trace of an unknown method, or in units nobody knows.

    Args:
        request: The trace.
        methods: Methods that some table knows.

    Raises:
        ProblemError: 422 with each field and what it may be.
    """
    problems: list[FieldProblem] = []
    if request.method_id not in methods:
        known = sorted(methods)[:MAX_NAMED]
        more = f" and {len(methods) - MAX_NAMED} more" if len(methods) > MAX_NAMED else ""
        words = (
            f"known are {', '.join(known)}{more}" if known else "none is known yet: ingest its processing method, limits or worklist first"
        )
        problems.append(FieldProblem("method_id", f"is a method that no table knows; {words}"))
    if not is_signal_unit(request.trace.unit):
        problems.append(FieldProblem("y_unit", "is not a unit of a detector's signal, such as mAU, AU, uV, mV, nRIU, nA or counts"))
    if request.pressure is not None and not is_pressure_unit(request.pressure.unit):
        problems.append(FieldProblem("pressure.unit", f"is not a unit of pressure: send {', '.join(PRESSURE_UNITS_BAR)}"))
    if problems:
        raise refusal(REFUSED, problems)


def is_pressure_unit(unit: str) -> bool:
    """Return whether a text is a unit of pressure that features understand."""
    return unit.strip().lower().replace("²", "2") in PRESSURE_UNITS_BAR


def trace_problems(
    trace: Signal, request: TraceRequest, *, run_time_min: float, standards_unit: str | None, expectation: MethodExpectation | None
) -> tuple[FieldProblem, ...]:
    """Return what cannot be about a trace.

    Args:
        trace: The signal in the unit of the standards, where it can be turned into it.
        request: The trace as it was posted.
        run_time_min: Planned length of the run, minutes.
        standards_unit: Unit of the signal in the standards' areas, where known.
        expectation: What the run should show.
    """
    problems: list[FieldProblem] = []
    comparable = standards_unit is None or _factor(request.trace.unit, standards_unit) is not None
    if not comparable:
        words = f"cannot be compared with the standards of this method: send the signal in {standards_unit} or a multiple of it"
        problems.append(FieldProblem("y_unit", words))
    signals = [("x_min", request.trace), *([("pressure.x_min", request.pressure)] if request.pressure is not None else [])]
    problems += [
        FieldProblem(
            field, f"ends at {signal.x_min[-1]:.4g} min of a run of {run_time_min:.4g} min: send minutes and the run's run_time_min"
        )
        for field, signal in signals
        if signal.x_min[-1] > RUNS_POSSIBLE * run_time_min
    ]
    highest, top = _highest_standard(expectation), float(trace.y.max())
    if comparable and highest > 0 and top < -BELOW_ZERO_SHARE * highest:
        words = f"is nowhere above {top:.4g} {trace.unit}: a detector's signal rests on a baseline near zero, send it as it was recorded"
        problems.append(FieldProblem("y", words))
    if request.pressure is not None and float(request.pressure.y.max()) < 0:
        problems.append(FieldProblem("pressure.y", "is below zero throughout: no pump does that, send it as it was recorded"))
    return tuple(problems)


def in_unit_of(trace: Signal, standards_unit: str | None) -> Signal:
    """Return a trace in the unit of the standards' areas; as it is where that unit is not known or is one of another quantity."""
    factor = None if standards_unit is None else _factor(trace.unit, standards_unit)
    if factor is None or factor == 1.0 or standards_unit is None:
        return trace
    return Signal(x_min=trace.x_min, y=trace.y * factor, unit=standards_unit)


def _factor(unit: str, standards_unit: str) -> float | None:
    try:
        return signal_factor(unit, standards_unit)
    except ValueError:
        return None


def signal_warnings(
    trace: Signal, expectation: MethodExpectation | None, *, run_time_min: float, noise: float | None = None
) -> tuple[str, ...]:
    """Return what is implausible about a trace in the unit of the standards: its scale, its sign, its times.

    Args:
        trace: The signal.
        expectation: What the run should show.
        run_time_min: Planned length of the run, minutes.
        noise: Noise beside the standards' peaks, from peak to peak, where known.
    """
    return (*_scale_warnings(trace, expectation, noise), *_sign_warnings(trace, expectation), *_time_warnings(trace, run_time_min))


def _highest_standard(expectation: MethodExpectation | None) -> float:
    return max(expectation.reference_height.values(), default=0.0) if expectation is not None else 0.0


def _scale_warnings(trace: Signal, expectation: MethodExpectation | None, noise: float | None) -> list[str]:
    found: list[str] = []
    highest = _highest_standard(expectation)
    times = float(np.abs(trace.y).max()) / highest if highest > 0 else 0.0
    if times > TIMES_REFERENCE_HEIGHT:
        found.append(f"the signal reaches {times:.3g} times the highest peak of the standards: check its unit and scale")
    if noise is not None and noise > 0:
        times = SDS_PEAK_TO_PEAK * estimate_noise(trace.y) / noise
        if times > TIMES_STANDARDS_NOISE or times < 1 / TIMES_STANDARDS_NOISE:
            found.append(
                f"the signal's noise is {times:.2g} times that beside the standards' peaks, and would be about the same at the same scale: "
                "check the signal's unit and scale, then the detector"
            )
    return found


def _sign_warnings(trace: Signal, expectation: MethodExpectation | None) -> list[str]:
    highest, top, bottom = _highest_standard(expectation), float(trace.y.max()), float(trace.y.min())
    if not highest > 0:
        return ["the signal is below zero throughout: check its sign and zero"] if top < 0 else []
    if -bottom > UPSIDE_DOWN_SHARE * highest and -bottom > top:
        return [f"the signal goes further below zero ({bottom:.4g} {trace.unit}) than above it ({top:.4g} {trace.unit}): check its sign"]
    return []


def _time_warnings(trace: Signal, run_time_min: float) -> list[str]:
    found: list[str] = []
    if trace.x_min[-1] > RUNS_SEEN * run_time_min:
        found.append(f"the trace ends at {trace.x_min[-1]:.4g} min, the run was planned for {run_time_min:.4g} min: check run_time_min")
    steps = np.diff(trace.x_min, prepend=0.0)
    widest = int(steps.argmax())
    if steps[widest] > LARGEST_GAP_SHARE * run_time_min:
        end = float(trace.x_min[widest])
        found.append(f"nothing is seen from {end - float(steps[widest]):.4g} to {end:.4g} min: send every point of the trace")
    return found


def unknown_warnings(unknown: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return that nothing of the past of what no table knows is in the risk.

    Args:
        unknown: Kind (instrument, sample, lot) and name.
    """
    return tuple(f"no table knows the {kind} {name}: nothing of its past is in this risk, check its name" for kind, name in unknown)


@dataclass(frozen=True, kw_only=True)
class PlausibleRanges:
    """What feature values need no word about, for one model.

    Attributes:
        training: Ranges of the model's training rows.
        low: ``(p,)`` smallest value that a quantity can have and that is not far outside of training.
        high: ``(p,)`` largest such value.
        features: What is said of the inputs, by name.
    """

    training: TrainingRange
    low: FloatArray
    high: FloatArray
    features: Mapping[str, Feature]

    @staticmethod
    def of(training: TrainingRange, features: Mapping[str, Feature]) -> PlausibleRanges:
        """Bring together what quantities can be and what a model has seen."""
        low, high = training.limits
        growing = np.array([name in GROWING for name in training.names])
        high = np.where(growing, np.fmax(high, TIMES_HIGHEST_COUNT * training.high), high)
        lowest = [-np.inf if (one := features.get(name)) is None or one.minimum is None else one.minimum for name in training.names]
        highest = [np.inf if (one := features.get(name)) is None or one.maximum is None else one.maximum for name in training.names]
        return PlausibleRanges(training=training, low=np.fmax(low, lowest), high=np.fmin(high, highest), features=features)

    def warnings(self, vector: FloatArray) -> tuple[str, ...]:
        """Return what is implausible about one row, ``(p,)``: what a quantity cannot be, or lies far outside of the training rows."""
        outside = (vector < self.low) | (vector > self.high)  # NaN, where a feature is absent, is outside of nothing
        if not outside.any():
            return ()
        return tuple(self._words(int(place), float(vector[place])) for place in np.flatnonzero(outside))

    def _words(self, place: int, value: float) -> str:
        name = self.training.names[place]
        feature = self.features.get(name)
        if feature is not None and feature.bound_reason and not feature.allows(value):
            return f"{name} has a value it cannot have: {feature.bound_reason}"
        low, high = self.training.low[place], self.training.high[place]
        return f"{name} lies far outside of what the model was trained on ({low:.4g} to {high:.4g})"
