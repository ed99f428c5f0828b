"""Predictions, the decisions made on them and the models that made them, wherever they are kept now.

Decisions are records: they are read back as they were made and never worked out again. The only thing computed on request is the
explanation of a prediction that needed none when it was made.

Belongs here: look-up by id and by digest. Does not belong here: writing them (``prediction_log.py``, the stations), masks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any, Final

from lab_assets.modeling.bundle import ModelBundle
from lab_assets.modeling.bundle_info import BundleError
from lab_assets.service.fetch import cached_bundle
from lab_assets.service.prediction_log import PredictionLog
from lab_assets.service.records import PREDICTION_COLUMNS, Outcome, Prediction, Record, driver_rows
from lab_assets.service.serving import ModelWatch, NoModelError
from lab_assets.service.table_cache import read_rows
from lab_assets.settings import Settings

ONLINE_LOG: Final = "ml.online_log"
PREDICTIONS: Final = "ml.predictions"
PREDICTION_TABLES: Final = (ONLINE_LOG, PREDICTIONS)
KEPT_MODELS: Final = 4
DECISION_PREFIX: Final = "d-"
WITH_PREDICTION: Final = "with the prediction"
ON_REQUEST: Final = "on request"
_OUTCOME_COLUMNS: Final = ("verdict", "path", "checks", "reasons", "policy_version", "drivers")
_DECISION_COLUMNS: Final = ("prediction_id", "verdict", "path", "checks", "reasons", "policy_version")
_END_COLUMNS: Final = ("ended_at_utc", "ended_reason", "superseded_by")
_DRIVER_COLUMNS: Final = ("prediction_id", "rank", "feature", "value", "contribution", "words")


class NotFoundError(Exception):
    """Nothing of that name."""


def find_prediction(settings: Settings, prediction_id: str, *, log: PredictionLog | None = None) -> Prediction:
    """Return one prediction: from this process's log, then the online log, then the table of all predictions.

    Raises:
        NotFoundError: no such prediction.
        TableUnavailableError: a table cannot be read.
    """
    return find_record(settings, prediction_id, log=log).prediction


def find_record(settings: Settings, prediction_id: str, *, log: PredictionLog | None = None) -> Record:
    """Return one prediction with what was decided on it, from where ``find_prediction`` looks and the tables of decisions and explanations.

    Raises:
        NotFoundError: no such prediction.
        TableUnavailableError: a table cannot be read.
    """
    recent = None if log is None else log.get(prediction_id)
    if recent is not None and recent.outcome is not None:
        return recent
    found = find_records(settings, [prediction_id])
    if found:
        return found[0]
    if recent is None:
        raise NotFoundError(f"no prediction {prediction_id!r}")
    return recent


def find_records(settings: Settings, prediction_ids: Sequence[str]) -> list[Record]:
    """Return the predictions that the tables hold, with their outcomes, in any order.

    Raises:
        TableUnavailableError: a table cannot be read.
    """
    found: dict[str, Record] = {}
    for row in read_rows(settings, ONLINE_LOG, where={"prediction_id": prediction_ids}, columns=PREDICTION_COLUMNS + _OUTCOME_COLUMNS):
        found[row["prediction_id"]] = Record.from_row(row)
    missing = [one for one in prediction_ids if one not in found]
    if missing:
        for row in _stored_predictions(settings, missing):
            found[row["prediction_id"]] = Record(prediction=Prediction.from_row(row), outcome=None)
    undecided = [name for name, record in found.items() if record.outcome is None]
    outcomes = _stored_outcomes(settings, undecided) if undecided else {}
    return [Record(prediction=one.prediction, outcome=one.outcome or outcomes.get(name)) for name, one in found.items()]


def _stored_predictions(settings: Settings, prediction_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return rows of ``ml.predictions``: found by their names alone, then read beside their times, by which other files are skipped.

    Names are digests and rule out no file; to decode the features of all predictions for one takes twenty times as long.
    """
    where: dict[str, Sequence[Any]] = {"prediction_id": prediction_ids}
    times = {row["as_of_utc"] for row in read_rows(settings, PREDICTIONS, where=where, columns=("as_of_utc",))}
    if not times:
        return []
    beside = {} if None in times else {"as_of_utc": list(times)}
    return read_rows(settings, PREDICTIONS, where=where | beside, columns=PREDICTION_COLUMNS)


def _stored_outcomes(settings: Settings, prediction_ids: Sequence[str]) -> dict[str, Outcome]:
    """Return outcomes from ``ml.decisions`` and ``ml.explanations`` by prediction."""
    where = {"prediction_id": prediction_ids}
    decisions = read_rows(settings, "ml.decisions", where=where, columns=_DECISION_COLUMNS)
    drivers: dict[str, list[dict[str, Any]]] = {}
    for row in read_rows(settings, "ml.explanations", where=where, columns=_DRIVER_COLUMNS) if decisions else ():
        drivers.setdefault(row.pop("prediction_id"), []).append(row)
    found: dict[str, Outcome] = {}
    for row in decisions:
        own = drivers.get(row["prediction_id"])
        outcome = Outcome.from_row({**row, "drivers": None if own is None else sorted(own, key=lambda driver: driver["rank"])})
        if outcome is not None:
            found[row["prediction_id"]] = outcome
    return found


def find_end(settings: Settings, prediction_id: str) -> dict[str, Any] | None:
    """Return when and why a prediction ended, and by what it was superseded; ``None`` where it counts.

    Raises:
        TableUnavailableError: the table cannot be read.
    """
    rows = read_rows(settings, PREDICTIONS, where={"prediction_id": [prediction_id]}, columns=_END_COLUMNS)
    return next((row for row in rows if row["ended_at_utc"] is not None), None)


def find_decision(settings: Settings, decision_id: str, *, log: PredictionLog | None = None) -> dict[str, Any]:
    """Return one decision as it was made. The decision of prediction ``p`` has the id ``d-p``.

    Raises:
        NotFoundError: no such decision, or none was made yet.
        TableUnavailableError: a table cannot be read.
    """
    if not decision_id.startswith(DECISION_PREFIX):
        raise NotFoundError(f"no decision {decision_id!r}")
    prediction_id = decision_id.removeprefix(DECISION_PREFIX)
    recent = None if log is None else log.get(prediction_id)
    if recent is None and (stored := read_rows(settings, "ml.decisions", where={"decision_id": [decision_id]})):
        return stored[0]
    try:
        record = find_record(settings, prediction_id, log=log)
    except NotFoundError:
        raise NotFoundError(f"no decision {decision_id!r}") from None
    return decision_row(record)


def decision_row(record: Record) -> dict[str, Any]:
    """Return the decision of a prediction, as ``ml.decisions`` keeps it.

    Raises:
        NotFoundError: none was recorded with the prediction, and the pipeline has not made one yet.
    """
    prediction, outcome = record.prediction, record.outcome
    if outcome is None:
        raise NotFoundError(
            f"prediction {prediction.prediction_id} is older than the record of decisions: the next run of scoring decides and keeps it"
        )
    return {
        "decision_id": DECISION_PREFIX + prediction.prediction_id,
        "prediction_id": prediction.prediction_id,
        "injection_id": prediction.injection_id,
        "lot_id": prediction.lot_id,
        **outcome.decision(),
        "decided_at_utc": prediction.predicted_at_utc,
        "verdict": outcome.verdict,
    }


class Models:
    """Bundles by digest: the one that serves, and older ones from the verified local cache."""

    def __init__(self, settings: Settings, watch: ModelWatch | None = None) -> None:
        self._settings = settings
        self._watch = watch
        self._kept: OrderedDict[str, ModelBundle] = OrderedDict()
        self._lock = Lock()

    def of(self, prediction: Prediction) -> ModelBundle:
        """Return the exact bundle that made a prediction, checked against the recorded digest.

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

    def verdict(self, record: Record) -> str:
        """Return the verdict as recorded; for decisions of before it was recorded, from the exact model and the recorded features.

        Raises:
            NotFoundError: as ``of``; also when the model uses another set of features than this program knows.
        """
        if record.outcome is not None and record.outcome.verdict is not None:
            return record.outcome.verdict
        bundle = self.of(record.prediction)
        return bundle.score_row(_vector(record.prediction, bundle)).verdict

    def drivers(self, record: Record) -> tuple[tuple[dict[str, Any], ...], str]:
        """Return what moved a risk, strongest first, and when it was computed: ``WITH_PREDICTION`` or ``ON_REQUEST``.

        Raises:
            NotFoundError: nothing was stored, and the exact model cannot be had any more.
        """
        if record.outcome is not None and record.outcome.drivers is not None:
            return record.outcome.drivers, WITH_PREDICTION
        bundle = self.of(record.prediction)
        return driver_rows(bundle.explain(_vector(record.prediction, bundle))), ON_REQUEST


def _vector(prediction: Prediction, bundle: ModelBundle) -> Any:
    from lab_assets.features.vector import from_map

    try:
        return from_map(prediction.features, bundle.feature_names)
    except ValueError as error:
        raise NotFoundError(f"prediction {prediction.prediction_id} was made with another set of features: {error}") from error
