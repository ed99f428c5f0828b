"""Repeats a prediction from what was recorded: the same table versions, the same trace or features, the same model bytes.

Belongs here: rebuilding the vector of a prediction and scoring it again. Does not belong here: storing or showing it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lab_assets.features.definitions import FEATURE_SET_VERSION, supports
from lab_assets.features.vector import from_map
from lab_assets.service.records import Prediction
from lab_assets.service.requests import parse_trace
from lab_assets.service.run_rows import DeltaRows
from lab_assets.service.scorer import trace_subject
from lab_assets.service.store import Models
from lab_assets.service.stored_features import ReadBackError, features_at, find_run
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
    if not supports(prediction.feature_set_version, bundle.feature_names):
        raise ReproductionError(
            f"the prediction used feature set {prediction.feature_set_version}, which this program (set {FEATURE_SET_VERSION}) does not "
            "compute: repeat it with the version of the program that made it"
        )
    features, origin, note = _features_again(settings, prediction, bundle.feature_names)
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


def _features_again(settings: Settings, prediction: Prediction, names: Sequence[str]) -> tuple[Mapping[str, float], str, str]:
    """Return the model's feature values, where they came from, and what that does not prove.

    A prediction of before this program's feature set rests on stored rows of its own set, one made since on rows of this program's.
    """
    traces = [name.removeprefix(TRACE_KEY) for name in prediction.table_versions if name.startswith(TRACE_KEY)]
    if not traces and not prediction.table_versions:
        return prediction.features, "caller", "the feature values were the caller's; only model and score are repeated"
    found: list[dict[str, float]] = []
    for feature_set in dict.fromkeys((FEATURE_SET_VERSION, prediction.feature_set_version)):
        again = _from_trace(settings, prediction, traces[0], feature_set) if traces else _from_tables(settings, prediction, feature_set)
        found.append({name: again[name] for name in names if name in again})
        if found[-1] == prediction.features:
            break
    equal = next((features for features in found if features == prediction.features), found[0])
    return equal, "trace" if traces else "tables", ""


def _from_trace(settings: Settings, prediction: Prediction, digest: str, feature_set_version: str) -> Mapping[str, float]:
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
        feature_set_version=feature_set_version,
    )
    return subject.features


def _from_tables(settings: Settings, prediction: Prediction, feature_set_version: str) -> Mapping[str, float]:
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
        feature_set_version=feature_set_version,
    ).features
