"""What clients send for scoring, read strictly: each field by name, type and range, before anything is computed.

Belongs here: bytes -> request objects, or a problem that names the field. Does not belong here: scoring, HTTP.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeGuard

import numpy as np
import orjson
from numpy.typing import NDArray

from lab_assets.service.problems import FieldProblem, ProblemError

MAX_TRACE_POINTS: Final = 60_000
MAX_NAME_CHARS: Final = 200
_KEY = re.compile(rb'"\s*:')
_SCORE_FIELDS: Final = frozenset({"injection_id", "lot_id", "checkpoint_pct", "features"})
_TRACE_FIELDS: Final = frozenset(
    {"injection_name", "method_id", "instrument_id", "sample_name", "lot_id", "x_min", "y", "y_unit", "run_time_min", "pressure", "channel"}
    | {"injected_at"}
)
_PRESSURE_FIELDS: Final = frozenset({"x_min", "y", "unit"})
Numbers = NDArray[np.float64]


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


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a JSON value is a number; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def parse_object(body: bytes) -> tuple[dict[str, Any], bool]:
    """Parse a JSON object.

    Returns:
        The object, and whether the text is strict JSON. Text that is JSON but for ``NaN``, ``Infinity`` or numbers beyond the
        range of a double comes back as not strict, so that the caller can name the field; it must not be used otherwise.

    Raises:
        ProblemError: 400 not JSON or a repeated key, 422 not an object.
    """
    strict = True
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        document = _parse_leniently(body, str(error))
        strict = False
    if not isinstance(document, dict):
        raise ProblemError(422, "send a JSON object")
    if len(_KEY.findall(body)) != _count_keys(document):
        _refuse_repeated_keys(body)
    return document, strict


def _parse_leniently(body: bytes, reason: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ProblemError(400, f"the body is not JSON: {reason.partition(':')[0]}") from None


def _count_keys(document: object) -> int:
    """Count keys of nested objects; lists of scalars are not walked."""
    if isinstance(document, dict):
        return len(document) + sum(_count_keys(value) for value in document.values() if isinstance(value, dict | list))
    if isinstance(document, list) and document and isinstance(document[0], dict | list):
        return sum(_count_keys(value) for value in document)
    return 0


def _refuse_repeated_keys(body: bytes) -> None:
    """Parse once more, slowly, and refuse a key that an object holds twice.

    Raises:
        ProblemError: 400.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise ProblemError(400, "the body repeats a key")
        return dict(pairs)

    try:
        json.loads(body, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise ProblemError(400, "the body is not JSON") from None


def parse_score(body: bytes, feature_names: Mapping[str, object] | frozenset[str]) -> ScoreRequest:
    """Read a ``POST /v1/score`` body.

    Args:
        body: Raw bytes.
        feature_names: Names the model knows; any other name is refused.

    Raises:
        ProblemError: 400 not JSON, 422 with every field that breaks a rule.
    """
    document, strict = parse_object(body)
    problems = [FieldProblem(name, "unknown field") for name in document if name not in _SCORE_FIELDS]
    injection_id = _text(document, "injection_id", problems, required=False)
    lot_id = _text(document, "lot_id", problems, required=False)
    checkpoint = document.get("checkpoint_pct")
    if not isinstance(checkpoint, int) or isinstance(checkpoint, bool) or not 1 <= checkpoint <= 100:
        problems.append(FieldProblem("checkpoint_pct", "needs a whole number from 1 to 100"))
    features = _features(document.get("features"), feature_names, problems)
    if isinstance(checkpoint, int) and features.get("checkpoint_pct", checkpoint) != checkpoint:
        problems.append(FieldProblem("features.checkpoint_pct", "differs from checkpoint_pct"))
    _raise_if_any(problems, strict=strict)
    return ScoreRequest(injection_id=injection_id, lot_id=lot_id, checkpoint_pct=checkpoint or 0, features=features)


def _features(given: object, names: Mapping[str, object] | frozenset[str], problems: list[FieldProblem]) -> dict[str, float]:
    if not isinstance(given, dict) or not given:
        problems.append(FieldProblem("features", "needs an object of feature name to number"))
        return {}
    features: dict[str, float] = {}
    isfinite = math.isfinite
    for name, value in given.items():
        if name not in names:
            problems.append(FieldProblem(f"features.{_printable(name)}", "unknown feature"))
        elif value is None:
            continue
        elif value.__class__ is not float and not is_number(value):
            problems.append(FieldProblem(f"features.{name}", "needs a number or null"))
        elif not _is_finite(value, isfinite):
            problems.append(FieldProblem(f"features.{name}", "needs a finite number"))
        else:
            features[name] = float(value)
    return features


def _is_finite(value: float, isfinite: Callable[[float], bool]) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # a whole number beyond the range of a double
        return False


def parse_trace(body: bytes) -> TraceRequest:
    """Read a ``POST /v1/runs/{injection_id}/trace`` body.

    Raises:
        ProblemError: 400 not JSON, 422 with every field that breaks a rule.
    """
    document, strict = parse_object(body)
    problems = [FieldProblem(name, "unknown field") for name in document if name not in _TRACE_FIELDS]
    texts = {name: _text(document, name, problems, required=True) for name in ("injection_name", "method_id", "instrument_id", "y_unit")}
    sample_name = _text(document, "sample_name", problems, required=False)
    lot_id = _text(document, "lot_id", problems, required=False)
    channel = _text(document, "channel", problems, required=False)
    x_min = _numbers(document.get("x_min"), "x_min", problems)
    y = _numbers(document.get("y"), "y", problems)
    _check_signal(x_min, y, "", problems)
    run_time = document.get("run_time_min")
    if run_time is not None and not (is_number(run_time) and _is_finite(run_time, math.isfinite) and 0 < run_time <= 24 * 60):
        problems.append(FieldProblem("run_time_min", "needs minutes above 0, at most 1440"))
    pressure = _pressure(document.get("pressure"), problems)
    injected_at_utc = _moment(document.get("injected_at"), problems)
    _raise_if_any(problems, strict=strict)
    return TraceRequest(
        injection_name=texts["injection_name"] or "",
        method_id=texts["method_id"] or "",
        instrument_id=texts["instrument_id"] or "",
        sample_name=sample_name,
        lot_id=lot_id,
        trace=Signal(x_min=x_min, y=y, unit=texts["y_unit"] or ""),
        run_time_min=None if run_time is None else float(run_time),
        pressure=pressure,
        channel=channel,
        injected_at_utc=injected_at_utc,
    )


def _moment(given: object, problems: list[FieldProblem]) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    problems.append(FieldProblem("injected_at", "needs an ISO 8601 time with its offset, such as 2026-03-01T12:00:00+01:00"))
    return None


def _pressure(given: object, problems: list[FieldProblem]) -> Signal | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        problems.append(FieldProblem("pressure", "needs an object with x_min, y and unit"))
        return None
    problems.extend(FieldProblem(f"pressure.{name}", "unknown field") for name in given if name not in _PRESSURE_FIELDS)
    unit = _text(given, "unit", problems, required=True, prefix="pressure.")
    x_min = _numbers(given.get("x_min"), "pressure.x_min", problems)
    y = _numbers(given.get("y"), "pressure.y", problems)
    _check_signal(x_min, y, "pressure.", problems)
    return Signal(x_min=x_min, y=y, unit=unit or "")


def _numbers(given: object, name: str, problems: list[FieldProblem]) -> Numbers:
    """Return a list of finite numbers as float64, shape ``(n,)``; empty with a problem noted otherwise."""
    empty = np.empty(0)
    if not isinstance(given, list) or not 2 <= len(given) <= MAX_TRACE_POINTS:
        problems.append(FieldProblem(name, f"needs a list of 2 to {MAX_TRACE_POINTS} numbers"))
        return empty
    if not set(map(type, given)) <= {float, int}:
        problems.append(FieldProblem(name, "needs numbers only"))
        return empty
    try:
        values = np.array(given, dtype=np.float64)
    except OverflowError:
        values = np.array([np.inf])
    if not np.isfinite(values).all():
        problems.append(FieldProblem(name, "needs finite numbers"))
        return empty
    return values


def _check_signal(x_min: Numbers, y: Numbers, prefix: str, problems: list[FieldProblem]) -> None:
    if not x_min.size or not y.size:
        return  # already noted
    if x_min.size != y.size:
        problems.append(FieldProblem(f"{prefix}y", "needs as many numbers as x_min"))
    if x_min[0] < 0 or bool(np.any(np.diff(x_min) <= 0)):
        problems.append(FieldProblem(f"{prefix}x_min", "needs increasing minutes from 0"))


def _text(document: Mapping[str, object], name: str, problems: list[FieldProblem], *, required: bool, prefix: str = "") -> str | None:
    value = document.get(name)
    if value is None:
        if required:
            problems.append(FieldProblem(prefix + name, "is required"))
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARS or not value.isprintable():
        problems.append(FieldProblem(prefix + name, f"needs 1 to {MAX_NAME_CHARS} printable characters"))
        return None
    return value


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:80])


def _raise_if_any(problems: list[FieldProblem], *, strict: bool) -> None:
    if problems:
        shown = tuple(problems[:50])
        raise ProblemError(422, "nothing was scored: " + "; ".join(f"{one.field} {one.problem}" for one in shown[:5]), shown)
    if not strict:
        raise ProblemError(400, "the body is not strict JSON")
