"""Input that cannot be, which is refused, and input that hardly can be, which is answered with a warning.

A model answers whatever numbers it is given. So units and methods that nobody knows are refused before anything is computed; a signal or a
feature value far from anything seen is answered, but with no verdict, and the warning is kept with the decision.

Belongs here: what is refused or warned of, in words. Does not belong here: the shape of requests (``requests.py``), what a quantity can be
(``lab_assets.features.definitions``), the ranges of training (``lab_assets.modeling.training_range``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np

from lab_assets.domain.units import is_signal_unit, signal_factor
from lab_assets.features.definitions import FEATURES
from lab_assets.features.expectation import MethodExpectation
from lab_assets.features.trace import PRESSURE_UNITS_BAR
from lab_assets.modeling.arrays import FloatArray
from lab_assets.modeling.training_range import TrainingRange
from lab_assets.service.json_body import refusal
from lab_assets.service.problems import FieldProblem
from lab_assets.service.requests import REFUSED, Signal, TraceRequest

TIMES_REFERENCE_HEIGHT: Final = 20.0
"""A signal this many times the highest standard peak is no chromatogram of the method: a detector saturates far below."""
MAX_NAMED: Final = 8
GROWING: Final = frozenset({"lot_results_known", "lot_failures_known", "ih_injections_on_column"})
"""Counts that grow with every month of work, beyond any training rows."""
TIMES_HIGHEST_COUNT: Final = 10.0
_BOUNDED: Final = {feature.name: feature for feature in FEATURES if feature.bound_reason}


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


def refuse_other_quantity(unit: str, standards_unit: str | None) -> None:
    """Refuse a trace whose unit cannot be turned into the unit of the standards it is measured against.

    Raises:
        ProblemError: 422.
    """
    if standards_unit is not None and _factor(unit, standards_unit) is None:
        words = f"cannot be compared with the standards of this method: send the signal in {standards_unit} or a multiple of it"
        raise refusal(REFUSED, [FieldProblem("y_unit", words)])


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


def signal_warnings(trace: Signal, expectation: MethodExpectation | None) -> tuple[str, ...]:
    """Return what is implausible about a trace in the unit of the standards: heights far above theirs."""
    highest = max(expectation.reference_height.values(), default=0.0) if expectation is not None else 0.0
    if not highest > 0:
        return ()
    times = float(np.abs(trace.y).max()) / highest
    if times <= TIMES_REFERENCE_HEIGHT:
        return ()
    return (f"the signal reaches {times:.3g} times the highest peak of the standards: check its unit and scale",)


@dataclass(frozen=True, kw_only=True)
class PlausibleRanges:
    """What feature values need no word about, for one model.

    Attributes:
        training: Ranges of the model's training rows.
        low: ``(p,)`` smallest value that a quantity can have and that is not far outside of training.
        high: ``(p,)`` largest such value.
    """

    training: TrainingRange
    low: FloatArray
    high: FloatArray

    @staticmethod
    def of(training: TrainingRange) -> PlausibleRanges:
        """Bring together what quantities can be and what a model has seen."""
        low, high = training.limits
        growing = np.array([name in GROWING for name in training.names])
        high = np.where(growing, np.fmax(high, TIMES_HIGHEST_COUNT * training.high), high)
        can_be = {feature.name: feature for feature in FEATURES}
        lowest = [-np.inf if (one := can_be.get(name)) is None or one.minimum is None else one.minimum for name in training.names]
        highest = [np.inf if (one := can_be.get(name)) is None or one.maximum is None else one.maximum for name in training.names]
        return PlausibleRanges(training=training, low=np.fmax(low, lowest), high=np.fmin(high, highest))

    def warnings(self, vector: FloatArray) -> tuple[str, ...]:
        """Return what is implausible about one row, ``(p,)``: what a quantity cannot be, or lies far outside of the training rows."""
        outside = (vector < self.low) | (vector > self.high)  # NaN, where a feature is absent, is outside of nothing
        if not outside.any():
            return ()
        return tuple(self._words(int(place), float(vector[place])) for place in np.flatnonzero(outside))

    def _words(self, place: int, value: float) -> str:
        name = self.training.names[place]
        feature = _BOUNDED.get(name)
        if feature is not None and not feature.allows(value):
            return f"{name} has a value it cannot have: {feature.bound_reason}"
        low, high = self.training.low[place], self.training.high[place]
        return f"{name} lies far outside of what the model was trained on ({low:.4g} to {high:.4g})"
