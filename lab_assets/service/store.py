"""Predictions that were told, and the models that told them, wherever they are kept now.

Belongs here: look-up by id and by digest. Does not belong here: writing them (``prediction_log.py``, the pipeline), masks.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, Final

from lab_assets.decisions.review_path import Decision
from lab_assets.modeling.bundle import ModelBundle
from lab_assets.modeling.bundle_info import BundleError
from lab_assets.service.fetch import cached_bundle
from lab_assets.service.prediction_log import Prediction, PredictionLog
from lab_assets.service.scorer import decide_for, decision_json, verdict_of
from lab_assets.service.serving import ModelWatch, NoModelError
from lab_assets.service.table_cache import read_rows
from lab_assets.settings import Settings

PREDICTION_TABLES: Final = ("ml.online_log", "ml.predictions")
PREDICTION_COLUMNS: Final = tuple(Prediction.__dataclass_fields__)
KEPT_MODELS: Final = 4
DECISION_PREFIX: Final = "d-"


class NotFoundError(Exception):
    """Nothing of that name."""


def find_prediction(settings: Settings, prediction_id: str, *, log: PredictionLog | None = None) -> Prediction:
    """Return one prediction: from this process's log, then the online log, then the table of all predictions.

    Raises:
        NotFoundError: no such prediction.
        TableUnavailableError: a table cannot be read.
    """
    if log is not None and (recent := log.get(prediction_id)) is not None:
        return recent
    for table in PREDICTION_TABLES:
        rows = read_rows(settings, table, where={"prediction_id": [prediction_id]}, columns=PREDICTION_COLUMNS)
        if rows:
            return Prediction.from_row(rows[0])
    raise NotFoundError(f"no prediction {prediction_id!r}")


def find_decision(settings: Settings, decision_id: str, *, models: Models, log: PredictionLog | None = None) -> dict[str, Any]:
    """Return one decision: as the pipeline stored it, or worked out again from the kept prediction.

    The decision of prediction ``p`` has the id ``d-p``.

    Raises:
        NotFoundError: no such decision, prediction or model.
        TableUnavailableError: a table cannot be read.
    """
    stored = read_rows(settings, "ml.decisions", where={"decision_id": [decision_id]})
    if stored:
        return stored[0]
    if not decision_id.startswith(DECISION_PREFIX):
        raise NotFoundError(f"no decision {decision_id!r}")
    try:
        prediction = find_prediction(settings, decision_id.removeprefix(DECISION_PREFIX), log=log)
    except NotFoundError:
        raise NotFoundError(f"no decision {decision_id!r}") from None
    decision = decision_of(prediction, models)
    return {
        "decision_id": decision_id,
        "prediction_id": prediction.prediction_id,
        "injection_id": prediction.injection_id,
        "lot_id": prediction.lot_id,
        **decision_json(decision),
        "decided_at_utc": prediction.predicted_at_utc,
    }


def decision_of(prediction: Prediction, models: Models) -> Decision:
    """Return the decision that follows from a kept prediction.

    Raises:
        NotFoundError: its model cannot be had any more, or uses another set of features.
    """
    bundle = models.of(prediction)
    try:
        return decide_for(prediction, bundle, verdict=verdict_of(prediction, bundle))
    except ValueError as error:
        raise NotFoundError(f"the decision cannot be worked out again: {error}") from error


class Models:
    """Bundles by digest: the one that serves, and older ones from the verified local cache."""

    def __init__(self, settings: Settings, watch: ModelWatch | None = None) -> None:
        self._settings = settings
        self._watch = watch
        self._kept: OrderedDict[str, ModelBundle] = OrderedDict()
        self._lock = Lock()

    def of(self, prediction: Prediction) -> ModelBundle:
        """Return the exact bundle that told a prediction, checked against the recorded digest.

        Raises:
            NotFoundError: it cannot be had any more, or its bytes are not those of the digest.
        """
        digest = prediction.model_digest
        try:
            if self._watch is not None and self._watch.current.bundle.digest == digest:
                return self._watch.current.bundle
        except NoModelError:
            pass  # an older prediction may still be explained
        with self._lock:
            if digest not in self._kept:
                try:
                    self._kept[digest] = cached_bundle(self._settings, digest, version=prediction.model_version)
                except (BundleError, OSError) as error:
                    raise NotFoundError(f"model {digest[:12]} cannot be loaded: {error}") from error
                while len(self._kept) > KEPT_MODELS:
                    self._kept.popitem(last=False)
            return self._kept[digest]
