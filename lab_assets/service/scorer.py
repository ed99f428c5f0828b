"""Scoring without HTTP: features or a partial trace in, a kept prediction and its decision out. Used by routes and CLI alike.

Belongs here: the order of the steps. Does not belong here: the features (``lab_assets.features``), the model
(``lab_assets.modeling``), the rules of review (``lab_assets.decisions``), who may ask (``auth.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from lab_assets.decisions.review_path import decide
from lab_assets.features.definitions import CHECKPOINTS_PCT
from lab_assets.features.inputs import TODAY, ModelInputs, not_computed, resolve
from lab_assets.features.progress import checkpoint_time, progress_features
from lab_assets.features.trace import pressure_trace
from lab_assets.features.vector import assemble_online, from_map
from lab_assets.modeling.bundle import ModelBundle
from lab_assets.modeling.conformal import CANNOT_TELL, Verdict
from lab_assets.service.expectations import KnownMethods, RunBooks, expected_run, last_run_time, unknown_names
from lab_assets.service.feature_context import surroundings
from lab_assets.service.json_body import refusal
from lab_assets.service.plausibility import in_unit_of, refuse_unknown, signal_warnings, trace_problems, unknown_warnings
from lab_assets.service.prediction_log import PredictionLog
from lab_assets.service.problems import FieldProblem, ProblemError
from lab_assets.service.records import Outcome, Prediction, Record, driver_rows, new_prediction_id
from lab_assets.service.requests import REFUSED, Numbers, ScoreRequest, TraceRequest
from lab_assets.service.run_rows import KEPT_COLUMNS, RunRows
from lab_assets.service.serving import ModelWatch, ServedModel
from lab_assets.service.traces import TRACE_KEY, keep_trace
from lab_assets.service.waiting_tables import WaitingTables
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger, ledger_of

Clock = Callable[[], datetime]


class FeatureSetMismatchError(Exception):
    """The model was made with features that this program does not compute, or computes otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One prediction with what was decided on it.

    Attributes:
        prediction: The prediction.
        outcome: Verdict, review path and drivers.
        warnings: What is implausible about the input; also among the outcome's reasons.
    """

    prediction: Prediction
    outcome: Outcome
    warnings: tuple[str, ...] = ()

    @property
    def record(self) -> Record:
        """What is kept."""
        return Record(prediction=self.prediction, outcome=self.outcome)

    def to_json(self) -> dict[str, object]:
        """Return the public form."""
        made = self.prediction
        return {
            "prediction_id": made.prediction_id,
            "injection_id": made.injection_id,
            "lot_id": made.lot_id,
            "checkpoint_pct": made.checkpoint_pct,
            "risk": made.risk,
            "risk_low": made.risk_low,
            "risk_high": made.risk_high,
            "verdict": self.outcome.verdict,
            "decision": self.outcome.decision(),
            "warnings": list(self.warnings),
            "model_name": made.model_name,
            "model_version": made.model_version,
            "model_digest": made.model_digest,
            "feature_set_version": made.feature_set_version,
            "predicted_at_utc": made.predicted_at_utc,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a prediction is about and rests on.

    Attributes:
        injection_id: Injection, where known.
        lot_id: Lot, where known.
        checkpoint_pct: Share of the run seen.
        features: Finite values of the model's inputs, by the computations that it was made with.
        table_versions: Version of every table the features came from.
        as_of: Nothing later was used; ``None`` where the caller brought the features.
        warnings: What is implausible about what the features were computed from.
        problems: What cannot be about it; a prediction that was kept all the same is repeated all the same.
    """

    injection_id: str | None
    lot_id: str | None
    checkpoint_pct: int
    features: dict[str, float]
    table_versions: dict[str, int]
    as_of: datetime | None
    warnings: tuple[str, ...] = ()
    problems: tuple[FieldProblem, ...] = ()


def answer(subject: Subject, model: ServedModel, *, now: datetime, user: str) -> Answer:
    """Score one subject with one model; keeps nothing.

    A model is given the features it was made with, of those of the subject; no others are kept with the prediction.

    Raises:
        FeatureSetMismatchError: this program does not compute the model's features.
    """
    info, inputs = model.bundle.info, computed_inputs(model)
    features = {name: subject.features[name] for name in inputs.names if name in subject.features}
    vector = from_map(features, info.feature_names)
    scores = model.bundle.score_row(vector)
    warnings = subject.warnings + model.plausible.warnings(vector)
    prediction = Prediction(
        prediction_id=new_prediction_id(now),
        injection_id=subject.injection_id,
        lot_id=subject.lot_id,
        checkpoint_pct=subject.checkpoint_pct,
        risk=scores.risk,
        risk_low=scores.low,
        risk_high=scores.high,
        raw_score=scores.raw,
        model_name=model.name,
        model_version=model.version,
        model_digest=model.bundle.digest,
        feature_set_version=info.feature_set_version,
        features=features,
        table_versions=subject.table_versions,
        predicted_at_utc=now,
        as_of_utc=subject.as_of,
        mode="online",
        requested_by=user,
    )
    verdict: Verdict = CANNOT_TELL if warnings else scores.verdict
    return Answer(prediction=prediction, outcome=_decided(prediction, model.bundle, verdict, warnings), warnings=warnings)


def computed_inputs(model: ServedModel) -> ModelInputs:
    """Return where a model's inputs are read from.

    Raises:
        FeatureSetMismatchError: this program does not compute them.
    """
    info = model.bundle.info
    if (inputs := resolve(info.feature_set_version, info.feature_names)) is None:
        uses = not_computed(info.feature_set_version, info.feature_names)
        raise FeatureSetMismatchError(f"the model {model.name} {model.version} uses {uses}")
    return inputs


def _decided(prediction: Prediction, bundle: ModelBundle, verdict: Verdict, warnings: tuple[str, ...]) -> Outcome:
    """Decide once, by the rules of now; the outcome is kept and never worked out again.

    Drivers are computed only where checks are mandatory: they take ten times as long as the score.
    """
    low = prediction.risk if prediction.risk_low is None else prediction.risk_low
    high = prediction.risk if prediction.risk_high is None else prediction.risk_high
    known = {"risk": prediction.risk, "risk_low": low, "risk_high": high, "verdict": verdict, "features": prediction.features}
    decision, drivers = decide(**known), None
    if decision.path == "mandatory_checks":
        drivers = bundle.explain(from_map(prediction.features, bundle.feature_names))
        decision = decide(**known, drivers=drivers)
    return Outcome(
        verdict=verdict,
        path=decision.path,
        checks=decision.checks,
        reasons=decision.reasons + warnings,
        policy_version=decision.policy_version,
        drivers=None if drivers is None else driver_rows(drivers),
    )


class Scorer:
    """Scores with the model that serves, and keeps each prediction before it is answered."""

    def __init__(
        self,
        settings: Settings,
        *,
        models: ModelWatch,
        log: PredictionLog,
        rows: Callable[[], RunRows],
        clock: Clock,
        ledger: Ledger | None = None,
    ) -> None:
        """Put together.

        Args:
            settings: Where traces are kept.
            models: What serves.
            log: Keeps predictions.
            rows: Gives the tables as they are now, once for each prediction.
            clock: Gives the time.
            ledger: Says which tables wait to be made anew; default: the laboratory's.
        """
        self._settings = settings
        self._models = models
        self._log = log
        self._rows = rows
        self._books = RunBooks()
        self._clock = clock
        self._ledger = ledger or ledger_of(settings)

    def score_features(self, request: ScoreRequest, *, user: str) -> Answer:
        """Score posted feature values.

        Raises:
            NoModelError: no model serves.
            FeatureSetMismatchError: the model was made with another set of features.
            LogUnavailableError: the prediction cannot be kept.
        """
        model = self._models.current
        features = computed_inputs(model).of_posted({**request.features, "checkpoint_pct": float(request.checkpoint_pct)})
        subject = Subject(
            injection_id=request.injection_id,
            lot_id=request.lot_id,
            checkpoint_pct=request.checkpoint_pct,
            features=features,
            table_versions={},
            as_of=None,
        )
        made = answer(subject, model, now=self._clock(), user=user)
        self._log.append(made.record)
        return made

    def score_injection(self, injection_id: str, *, checkpoint_pct: int, user: str) -> Answer:
        """Score a run that is in the tables, as of now, from its stored features; with a warning while a table waits to be made anew.

        Raises:
            ReadBackError: the run or its features at the checkpoint are not in the tables; it says so where these wait to be made anew.
            NoModelError, FeatureSetMismatchError, LogUnavailableError: as ``score_features``.
            TableUnavailableError: a table cannot be read.
        """
        from lab_assets.service.stored_features import FEATURE_TABLES, INJECTIONS, ReadBackError, newest_features

        now, model = self._clock(), self._models.current
        inputs, waiting = computed_inputs(model), WaitingTables(self._ledger, (INJECTIONS, *FEATURE_TABLES))
        try:
            found = newest_features(self._settings, injection_id, checkpoint_pct=checkpoint_pct, at=now, inputs=inputs)
        except ReadBackError as error:
            raise ReadBackError("; ".join((str(error), *waiting.warnings()))) from error
        subject = Subject(
            injection_id=found.injection_id,
            lot_id=found.lot_id,
            checkpoint_pct=checkpoint_pct,
            features=found.features,
            table_versions=found.table_versions,
            as_of=now,
            warnings=waiting.warnings(),
        )
        made = answer(subject, model, now=now, user=user)
        self._log.append(made.record)
        return made

    def score_trace(self, injection_id: str, request: TraceRequest, *, body: bytes, user: str) -> Answer:
        """Compute features from a partial trace and what is known around the run, and score them.

        Args:
            injection_id: Injection the trace belongs to.
            request: The parsed body.
            body: The body's bytes, kept by content so that the prediction can be repeated.
            user: Who asks.

        Raises:
            ProblemError: 422 less of the run is seen than the first checkpoint, its length or its method is not known, or something
                cannot be about the trace: a unit other than the standards', times far beyond the run, a signal far below zero.
            NoModelError, FeatureSetMismatchError, LogUnavailableError: as ``score_features``.
            OSError: the trace cannot be kept.
        """
        now = self._clock()
        model = self._models.current
        waiting = WaitingTables(self._ledger, KEPT_COLUMNS)
        read = self._rows()
        refuse_unknown(request, methods=KnownMethods(read))
        subject = trace_subject(injection_id, request, read=read, now=now, inputs=computed_inputs(model), books=self._books)
        if subject.problems:
            raise refusal(REFUSED, list(subject.problems))
        digest, path = keep_trace(self._settings.raw, body)
        warnings = waiting.warnings() + unknown_warnings(unknown_names(read, request)) + subject.warnings
        subject = replace(subject, table_versions={**subject.table_versions, TRACE_KEY + digest: 0}, warnings=warnings)
        made = answer(subject, model, now=now, user=user)
        self._log.append(made.record, file=path)
        return made


def trace_subject(
    injection_id: str,
    request: TraceRequest,
    *,
    read: RunRows,
    now: datetime,
    inputs: ModelInputs = TODAY,
    books: RunBooks | None = None,
) -> Subject:
    """Compute the features of a partial trace at the last checkpoint it has reached, from what was known then.

    A run that states its start is seen as when it reached the checkpoint, as in the tables of features; one that states none goes on now. A
    start in the future (a clock that is wrong) counts as now.

    Args:
        injection_id: Injection the trace belongs to.
        request: The trace and what is stated of its run.
        read: Reads the tables.
        now: Nothing seen or recorded later is used.
        inputs: What is asked for, and the feature set of the stored rows used.
        books: Keeps what was gathered of runs that go on.

    Raises:
        ProblemError: 422 too little is seen, or the length of the run is not known.
        TableUnavailableError: a table cannot be read.
    """
    started = request.injected_at_utc
    run_time_min = request.run_time_min or last_run_time(
        read, instrument_id=request.instrument_id, method_id=request.method_id, at=now if started is None else min(now, started)
    )
    if run_time_min is None:
        raise ProblemError(422, "the length of this run is not known", (FieldProblem("run_time_min", "is required for this method"),))
    checkpoint = reached_checkpoint(request.trace.x_min, run_time_min)
    at = now if started is None else min(now, checkpoint_time(started, run_time_min, checkpoint))
    expected = expected_run(read, injection_id, request, run_time_min=run_time_min, at=at, books=books)
    context, expectation = expected.context, expected.expectation
    pressure, trace = request.pressure, in_unit_of(request.trace, expected.signal_unit)
    progress = progress_features(
        trace.x_min,
        trace.y,
        checkpoint_pct=checkpoint,
        run_time_min=run_time_min,
        expectation=expectation,
        pressure=None if pressure is None else pressure_trace(pressure.x_min, pressure.y, unit=pressure.unit),
    )
    around = surroundings(
        read,
        injection_id=injection_id,
        instrument_id=context.instrument_id,
        method_id=context.method_id,
        lot_id=context.lot_id,
        sample_name=context.sample_name,
        at=at,
        feature_set_version=inputs.feature_set_version,
    )
    features = assemble_online(
        inputs.as_row(progress),
        around.instrument,
        around.lot,
        around.storage,
        checkpoint_pct=checkpoint,
        method_id=context.method_id,
        inputs=inputs,
    )
    return Subject(
        injection_id=injection_id,
        lot_id=context.lot_id,
        checkpoint_pct=checkpoint,
        features=features,
        table_versions=read.versions,
        as_of=at,
        warnings=signal_warnings(trace, expectation, run_time_min=run_time_min, noise=expected.noise),
        problems=trace_problems(trace, request, run_time_min=run_time_min, standards_unit=expected.signal_unit, expectation=expectation),
    )


def reached_checkpoint(x_min: Numbers, run_time_min: float) -> int:
    """Return the last checkpoint a trace has reached, share of the run in %.

    A checkpoint counts as reached when the next point would lie beyond it, so a trace cut at a checkpoint reaches it.

    Args:
        x_min: Times of the points, shape ``(n,)``, n >= 2, minutes.
        run_time_min: Planned length of the run, minutes.

    Raises:
        ProblemError: 422 the first checkpoint is still ahead.
    """
    step_min = float(x_min[-1] - x_min[0]) / (x_min.size - 1)
    seen_pct = 100.0 * (float(x_min[-1]) + step_min) / run_time_min
    reached = [checkpoint for checkpoint in CHECKPOINTS_PCT if checkpoint < seen_pct - 1e-6]
    if not reached:
        raise ProblemError(
            422,
            f"only {100.0 * float(x_min[-1]) / run_time_min:.1f} % of the run is seen; the first risk is given at {CHECKPOINTS_PCT[0]} %",
            (FieldProblem("x_min", f"ends before {CHECKPOINTS_PCT[0]} % of the run"),),
        )
    return reached[-1]
