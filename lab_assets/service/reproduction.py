"""Repeats a prediction from what was recorded: the same table versions, the same trace or features, the same model bytes.

Belongs here: rebuilding the vector of a prediction and scoring it again. Does not belong here: storing or showing it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lab_assets.features.inputs import ModelInputs, not_computed, resolve
from lab_assets.features.vector import from_map
from lab_assets.service.records import Prediction
from lab_assets.service.requests import parse_trace
from lab_assets.service.run_rows import DeltaRows
from lab_assets.service.scorer import trace_subject
from lab_assets.service.store import Models
from lab_assets.service.stored_features import ReadBackError, features_at, find_run, sets_held
from lab_assets.service.traces import TRACE_KEY, read_trace
from lab_assets.settings import Settings

TOLERANCE: Final = 1e-9
"""Largest difference of risks that counts as the same."""


class ReproductionError(Exception):
    """What a prediction rests on is not there any more; the message says what."""


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What came out when a prediction was repeated.

    Attributes:
        prediction_id: The prediction.
        model_digest: Digest of the bundle used, equal to the recorded one.
        features_from: ``tables``, ``trace`` (and tables) or ``caller``: where the feature values were taken from again.
        features_equal: Whether every value is the recorded one, to the last bit.
        differing: Names of features that differ.
        risk: Risk as recorded.
        risk_again: Risk as computed now.
        difference: Absolute difference of the two.
        reproduced: Features equal and difference within ``TOLERANCE``.
        note: What the result does not prove; empty where there is nothing to say.
    """

    prediction_id: str
    model_digest: str
    features_from: str
    features_equal: bool
    differing: tuple[str, ...]
    risk: float
    risk_again: float
    difference: float
    reproduced: bool
    note: str


def reproduce(settings: Settings, prediction: Prediction, *, models: Models) -> Reproduction:
    """Repeat one prediction.

    Raises:
        ReproductionError: a row, the trace, or this program's feature definitions are not those of the prediction.
        NotFoundError: the exact model cannot be had any more.
        TableUnavailableError: a recorded table version is gone.
    """
    bundle = models.of(prediction)
    if (inputs := resolve(prediction.feature_set_version, bundle.feature_names)) is None:
        used = not_computed(prediction.feature_set_version, bundle.feature_names)
        raise ReproductionError(f"the prediction used {used}; or repeat it with the version of the program that made it")
    features, origin, note = _features_again(settings, prediction, inputs)
    names = sorted(features.keys() | prediction.features.keys())
    differing = tuple(name for name in names if features.get(name) != prediction.features.get(name))
    risk = bundle.score_row(from_map(features, bundle.feature_names)).risk
    difference = abs(risk - prediction.risk)
    return Reproduction(
        prediction_id=prediction.prediction_id,
        model_digest=bundle.digest,
        features_from=origin,
        features_equal=not differing,
        differing=differing,
        risk=prediction.risk,
        risk_again=risk,
        difference=difference,
        reproduced=not differing and difference <= TOLERANCE,
        note=note,
    )


def _features_again(settings: Settings, prediction: Prediction, inputs: ModelInputs) -> tuple[Mapping[str, float], str, str]:
    """Return the model's feature values, where they came from, and what that does not prove."""
    traces = [name.removeprefix(TRACE_KEY) for name in prediction.table_versions if name.startswith(TRACE_KEY)]
    if not traces and not prediction.table_versions:
        return prediction.features, "caller", "the feature values were the caller's; only model and score are repeated"
    first: Mapping[str, float] | None = None
    for read in _sets_of_then(settings, prediction, inputs):
        again = _from_trace(settings, prediction, traces[0], read) if traces else _from_tables(settings, prediction, read)
        first = again if first is None else first
        if again == prediction.features:
            first = again
            break
    return first or {}, "trace" if traces else "tables", ""


def _sets_of_then(settings: Settings, prediction: Prediction, inputs: ModelInputs) -> Iterator[ModelInputs]:
    """Give the rows that a prediction can rest on: of this program's set, of the model's own, of any that was the program's in between."""
    yield inputs
    tried = {inputs.feature_set_version, prediction.feature_set_version}
    if prediction.feature_set_version != inputs.feature_set_version:
        yield inputs.of_rows(prediction.feature_set_version, held=())
    found, held = sets_held(settings, prediction.table_versions)
    for version in sorted(found - tried):
        yield inputs.of_rows(version, held)


def _from_trace(settings: Settings, prediction: Prediction, digest: str, inputs: ModelInputs) -> Mapping[str, float]:
    if prediction.as_of_utc is None or prediction.injection_id is None:
        raise ReproductionError("the prediction names a trace but no injection or moment")
    try:
        body = read_trace(settings.raw, digest)
    except (OSError, ValueError) as error:
        raise ReproductionError(f"the posted trace {digest} is not as it was kept: {error}") from error
    subject = trace_subject(
        prediction.injection_id,
        parse_trace(body),
        read=DeltaRows(settings, prediction.table_versions),
        now=prediction.as_of_utc,
        inputs=inputs,
    )
    return subject.features


def _from_tables(settings: Settings, prediction: Prediction, inputs: ModelInputs) -> Mapping[str, float]:
    """Rebuild a batch, stream or stored run's vector with the point-in-time join that made it."""
    if prediction.injection_id is None or prediction.checkpoint_pct is None or prediction.as_of_utc is None:
        raise ReproductionError("the prediction names no injection, checkpoint or moment")
    try:
        run = find_run(settings, prediction.injection_id, version=prediction.table_versions.get("silver.injections"))
    except ReadBackError as error:
        raise ReproductionError(str(error)) from error
    return features_at(
        settings,
        run,
        checkpoint_pct=prediction.checkpoint_pct,
        at=prediction.as_of_utc,
        versions=prediction.table_versions,
        inputs=inputs,
    ).features
