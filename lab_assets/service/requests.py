"""What clients send for scoring, read strictly: each field by name, type and range, before anything is computed.

The structs are the contract: they are checked, and OpenAPI shows their schema.

Belongs here: bytes -> request objects, or a problem that names the field. Does not belong here: JSON itself (``json_body.py``), what is
known of units and methods (``plausibility.py``), scoring, HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Annotated, Any, Final, cast

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from lab_assets.features.definitions import FEATURES, FORMER_FEATURES, METHOD_KINDS, Feature
from lab_assets.service.json_body import read_body, refusal
from lab_assets.service.problems import FieldProblem

MAX_TRACE_POINTS: Final = 60_000
MAX_NAME_CHARS: Final = 200
MAX_RUN_TIME_MIN: Final = 24 * 60
REFUSED: Final = "nothing was scored"
Numbers = NDArray[np.float64]

Text = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
Points = Annotated[list[float], Meta(min_length=2, max_length=MAX_TRACE_POINTS)]


def _feature_type(feature: Feature) -> Any:
    unit = f" [{feature.unit}]" if feature.unit else ""
    reason = f"; {feature.bound_reason}" if feature.bound_reason else ""
    return Annotated[float, Meta(ge=feature.minimum, le=feature.maximum, description=feature.meaning + unit + reason)] | None  # pyright: ignore[reportOperatorIssue]


_FEATURE_OF: Final = {feature.name: feature for feature in FEATURES} | FORMER_FEATURES
PostedFeatures: Final = msgspec.defstruct(
    "PostedFeatures",
    [(name, _feature_type(feature), None) for name, feature in _FEATURE_OF.items()],
    forbid_unknown_fields=True,
    frozen=True,
)
"""A number or null for each feature, by name, within what the quantity can be; a former computation goes by its column."""


class PostedScore(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of ``POST /v1/score``."""

    checkpoint_pct: Annotated[int, Meta(ge=1, le=100, description="share of the run seen, in percent")]
    features: PostedFeatures  # pyright: ignore[reportInvalidTypeForm]  # a struct with a field for each feature
    injection_id: Text | None = None
    lot_id: Text | None = None


class PostedPressure(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Pump pressure so far."""

    x_min: Points
    y: Points
    unit: Text


class PostedTrace(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of ``POST /v1/runs/{injection_id}/trace``."""

    injection_name: Text
    method_id: Text
    instrument_id: Text
    x_min: Points
    y: Points
    y_unit: Text
    sample_name: Text | None = None
    lot_id: Text | None = None
    channel: Text | None = None
    injected_at: (
        Annotated[
            str,
            Meta(
                description="start of the run with its offset; nothing known after the trace's last point is used. "
                "Default: the run goes on now",
                extra_json_schema={"format": "date-time"},
            ),
        ]
        | None
    ) = None
    run_time_min: Annotated[float, Meta(gt=0, le=MAX_RUN_TIME_MIN)] | None = None
    pressure: PostedPressure | None = None


_METHOD_FLAGS: Final = tuple(f"method_is_{kind}" for kind in METHOD_KINDS.values())
_TEXTS: Final = ("injection_name", "method_id", "instrument_id", "y_unit", "sample_name", "lot_id", "channel", "injection_id")
_NEEDS: Final = {
    "checkpoint_pct": "needs a whole number from 1 to 100",
    "features": "needs an object of feature name to number",
    "injected_at": "needs an ISO 8601 time with its offset, such as 2026-03-01T12:00:00+01:00",
    "run_time_min": f"needs minutes above 0, at most {MAX_RUN_TIME_MIN}",
    "pressure": "needs an object with x_min, y and unit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """Feature values to score.

    Attributes:
        injection_id: Injection concerned, where the caller knows one.
        lot_id: Lot concerned, where the caller knows one.
        checkpoint_pct: Share of the run seen, 1 to 100.
        features: Finite values by feature name; a missing feature is absent.
    """

    injection_id: str | None
    lot_id: str | None
    checkpoint_pct: int
    features: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A signal over time: ``x_min`` minutes (increasing), ``y`` in ``unit``, both shape ``(n,)``."""

    x_min: Numbers
    y: Numbers
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """The part of a run's trace that exists so far.

    Attributes:
        injection_name: Name in the data system.
        method_id: Test method.
        instrument_id: Instrument.
        sample_name: Sample, where known.
        lot_id: Lot, where known.
        trace: Detector signal so far.
        run_time_min: Planned length of the run; ``None`` to take the method's.
        pressure: Pump pressure so far, where the system records it.
        channel: Detector channel of the trace; ``None`` where the method has one only.
        injected_at_utc: Start of the run; ``None`` for a run that is going on now.
    """

    injection_name: str
    method_id: str
    instrument_id: str
    sample_name: str | None
    lot_id: str | None
    trace: Signal
    run_time_min: float | None
    pressure: Signal | None
    channel: str | None = None
    injected_at_utc: datetime | None = None


def parse_score(body: bytes) -> ScoreRequest:
    """Read a ``POST /v1/score`` body.

    Raises:
        ProblemError: 400 not JSON, 422 with every field that breaks a rule.
    """
    posted = read_body(body, PostedScore, refused=REFUSED, words=_words)
    problems = _unprintable(posted, ("injection_id", "lot_id"))
    values = zip(_FEATURE_OF, msgspec.structs.astuple(posted.features), strict=True)
    features: dict[str, float] = {name: value for name, value in values if value is not None}
    if not features:
        problems.append(FieldProblem("features", _NEEDS["features"]))
    if features.get("checkpoint_pct", posted.checkpoint_pct) != posted.checkpoint_pct:
        problems.append(FieldProblem("features.checkpoint_pct", "differs from checkpoint_pct"))
    problems += _contradictions(features)
    if problems:
        raise refusal(REFUSED, problems)
    return ScoreRequest(injection_id=posted.injection_id, lot_id=posted.lot_id, checkpoint_pct=posted.checkpoint_pct, features=features)


def _contradictions(features: dict[str, float]) -> list[FieldProblem]:
    """Return which values cannot be beside each other."""
    problems: list[FieldProblem] = []
    if features.get("lot_failures_known", 0.0) > features.get("lot_results_known", inf):
        problems.append(FieldProblem("features.lot_failures_known", "is above lot_results_known: a failure is one of the results"))
    kinds = [name for name in _METHOD_FLAGS if features.get(name, 0.0) > 0]
    if len(kinds) > 1:
        problems.append(FieldProblem(f"features.{kinds[1]}", f"a run is of one kind of method, and {kinds[0]} says it is of another"))
    return problems


def parse_trace(body: bytes) -> TraceRequest:
    """Read a ``POST /v1/runs/{injection_id}/trace`` body.

    Raises:
        ProblemError: 400 not JSON, 422 with every field that breaks a rule.
    """
    posted = read_body(body, PostedTrace, refused=REFUSED, words=_words)
    problems = _unprintable(posted, _TEXTS[:-1])
    if posted.pressure is not None and not posted.pressure.unit.isprintable():
        problems.append(FieldProblem("pressure.unit", _text_words()))
    trace = _signal(posted.x_min, posted.y, posted.y_unit, "", problems)
    pressure = posted.pressure
    pump = None if pressure is None else _signal(pressure.x_min, pressure.y, pressure.unit, "pressure.", problems)
    injected_at_utc = _moment(posted.injected_at, problems)
    if problems:
        raise refusal(REFUSED, problems)
    return TraceRequest(
        injection_name=posted.injection_name,
        method_id=posted.method_id,
        instrument_id=posted.instrument_id,
        sample_name=posted.sample_name,
        lot_id=posted.lot_id,
        trace=trace,
        run_time_min=posted.run_time_min,
        pressure=pump,
        channel=posted.channel,
        injected_at_utc=injected_at_utc,
    )


def _words(path: str, value: object) -> str | None:
    """Return what a field needs, by its path and the value given."""
    name = path.rpartition(".")[2]
    if path.startswith("features."):
        return _feature_words(_FEATURE_OF[name], value)
    if name in {"x_min", "y"}:
        is_list = isinstance(value, list) and 2 <= len(cast("list[object]", value)) <= MAX_TRACE_POINTS
        return "needs numbers only" if is_list else f"needs a list of 2 to {MAX_TRACE_POINTS} numbers"
    if name in {*_TEXTS, "unit"}:
        return "is required" if value is None else _text_words()
    return _NEEDS.get(path)


def _feature_words(feature: Feature, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "needs a number or null"
    low, high = feature.minimum, feature.maximum
    if low is not None and high is not None:
        return f"needs a number from {low:g} to {high:g}: {feature.bound_reason}"
    side = f"of at least {low:g}" if low is not None else f"of at most {high:g}"
    return f"needs a number {side}: {feature.bound_reason}"


def _text_words() -> str:
    return f"needs 1 to {MAX_NAME_CHARS} printable characters"


def _unprintable(posted: Struct, names: tuple[str, ...]) -> list[FieldProblem]:
    texts = ((name, getattr(posted, name)) for name in names)
    return [FieldProblem(name, _text_words()) for name, text in texts if text is not None and not text.isprintable()]


def _moment(given: str | None, problems: list[FieldProblem]) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    problems.append(FieldProblem("injected_at", _NEEDS["injected_at"]))
    return None


def _signal(x_given: list[float], y_given: list[float], unit: str, prefix: str, problems: list[FieldProblem]) -> Signal:
    """Return a signal; problems are noted where lengths differ or times do not increase from 0."""
    x_min, y = np.array(x_given, dtype=np.float64), np.array(y_given, dtype=np.float64)
    if x_min.size != y.size:
        problems.append(FieldProblem(f"{prefix}y", "needs as many numbers as x_min"))
    if x_min[0] < 0 or not bool((x_min[1:] > x_min[:-1]).all()):
        problems.append(FieldProblem(f"{prefix}x_min", "needs increasing minutes from 0"))
    return Signal(x_min=x_min, y=y, unit=unit)
