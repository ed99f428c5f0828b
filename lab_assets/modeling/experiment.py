"""One training from matrix to judged bundle: split, train, calibrate, evaluate, gate.

Belongs here: the order of the steps. Does not belong here: the steps, logging, registration, tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from lab_assets.modeling.arrays import FloatArray, TextArray
from lab_assets.modeling.baseline import base_rate, baseline_risks
from lab_assets.modeling.bundle import ModelBundle
from lab_assets.modeling.bundle_info import BundleInfo
from lab_assets.modeling.calibration import Intervals, fit_calibration, fit_intervals
from lab_assets.modeling.conformal import fit_thresholds_by_checkpoint
from lab_assets.modeling.evaluation import (
    Bound,
    Metrics,
    PairedDifference,
    ReliabilityBin,
    attainable,
    evaluate_slices,
    log_losses,
    paired_difference,
    reliability,
    slices,
)
from lab_assets.modeling.explanation import contributions
from lab_assets.modeling.gate import GateCriteria, GateVerdict, judge
from lab_assets.modeling.split import split_by_time_and_lot
from lab_assets.modeling.training import BoosterParams, TrainingMatrix, train_booster

MIN_INTERVAL_ROWS: Final = 50
MIN_INTERVAL_MINORITY: Final = 5
"""A checkpoint with less calibration evidence takes its interval from all checkpoints together."""


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan:
    """What is to be trained and how.

    Attributes:
        model_name: Registered model.
        feature_set_version: Version of the feature definitions.
        training_set_id: Frozen training set.
        params: Hyperparameters of the booster.
        criteria: Limits of the gate.
        train_share: Share of rows for training.
        calibrate_share: Share of rows for calibration.
        alpha: Accepted share of conformal misses.
        seed: Seed of everything drawn.
    """

    model_name: str
    feature_set_version: str
    training_set_id: str
    params: BoosterParams = field(default_factory=BoosterParams)
    criteria: GateCriteria = field(default_factory=GateCriteria)
    train_share: float = 0.6
    calibrate_share: float = 0.2
    alpha: float = 0.1
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A judged model.

    Attributes:
        bundle: The model.
        verdict: The gate's verdict.
        parts: ``(n,)`` part of each row of the matrix.
        evaluations: Metrics on the test rows: candidate (``model``, ``baseline``, ``base_rate``) -> slice -> metrics.
        difference: Log-loss, model minus baseline, on the test rows.
        reliability: Reliability diagram of the test rows.
        risks: ``(n,)`` the model's risk for every row; out of sample only where the part is not ``train``.
        bound: Expected best on the test rows, when true risks were given.
        attained: Metrics of the true risks on the test rows' outcomes by slice, when they were given.
    """

    bundle: ModelBundle
    verdict: GateVerdict
    parts: TextArray
    evaluations: Mapping[str, Mapping[str, Metrics]]
    difference: PairedDifference
    reliability: tuple[ReliabilityBin, ...]
    risks: FloatArray
    bound: Bound | None = None
    attained: Mapping[str, Metrics] | None = None


def _fill_values(features: FloatArray) -> tuple[float | None, ...]:
    medians = np.median(features, axis=0)  # NaN as soon as one value is missing
    return tuple(None if np.isnan(value) else float(value) for value in medians.tolist())


def _intervals_by_checkpoint(raw: FloatArray, calibrate: TrainingMatrix) -> dict[int, Intervals]:
    pooled = fit_intervals(raw, calibrate.labels)
    fitted: dict[int, Intervals] = {}
    for value in np.unique(calibrate.checkpoints):
        rows = calibrate.checkpoints == value
        failures, n = float(calibrate.labels[rows].sum()), int(rows.sum())
        enough = n >= MIN_INTERVAL_ROWS and min(failures, n - failures) >= MIN_INTERVAL_MINORITY
        fitted[int(value)] = fit_intervals(raw[rows], calibrate.labels[rows]) if enough else pooled
    return fitted


def fit_bundle(
    matrix: TrainingMatrix, parts: TextArray, plan: ExperimentPlan, *, metrics: Mapping[str, float] | None = None
) -> ModelBundle:
    """Train on the rows marked ``train`` and calibrate on those marked ``calibrate``.

    Args:
        matrix: All rows.
        parts: ``(n,)`` part of each row.
        plan: What to train.
        metrics: Summary to put into the bundle.

    Returns:
        The bundle.

    Raises:
        ValueError: one of the two parts holds one outcome only.
    """
    import lightgbm as lgb

    train = parts == "train"
    text = train_booster(matrix, train, params=plan.params, seed=plan.seed)
    booster = lgb.Booster(model_str=text)
    calibrate = matrix.take(parts == "calibrate")
    raw = np.asarray(booster.predict(calibrate.features, raw_score=True, num_threads=1), dtype=np.float64)
    info = BundleInfo(
        model_name=plan.model_name,
        feature_names=matrix.names,
        feature_set_version=plan.feature_set_version,
        training_set_id=plan.training_set_id,
        base_rate=base_rate(matrix, train),
        base_value=float(contributions(booster, calibrate.features[:1])[0, -1]),
        calibration=fit_calibration(raw, calibrate.labels, rows_per_unit=len(np.unique(calibrate.checkpoints))),
        intervals=_intervals_by_checkpoint(raw, calibrate),
        thresholds=fit_thresholds_by_checkpoint(raw, calibrate.labels, checkpoints=calibrate.checkpoints, alpha=plan.alpha),
        alpha=plan.alpha,
        fill=_fill_values(matrix.features[train]),
        metrics=metrics or {},
    )
    return ModelBundle.create(info, text)


def _evaluate_candidates(
    test: TrainingMatrix, candidates: Mapping[str, FloatArray], *, rate: float, seed: int
) -> dict[str, dict[str, Metrics]]:
    marked = slices(checkpoints=test.checkpoints, methods=test.methods)
    return {
        name: evaluate_slices(test.labels, risks, lots=test.lots, base_rate=rate, marked=marked, seed=seed)
        for name, risks in candidates.items()
    }


def run_experiment(
    matrix: TrainingMatrix, plan: ExperimentPlan, *, parts: TextArray | None = None, true_risks: FloatArray | None = None
) -> Experiment:
    """Split, train, calibrate, evaluate and judge.

    Args:
        matrix: All rows.
        plan: What to train.
        parts: ``(n,)`` part of each row, when it was frozen before; else the split by time and lot.
        true_risks: ``(n,)`` attainable risks of the rows (NaN where unknown), for the bound; simulated data only.

    Returns:
        The judged model.

    Raises:
        ValueError: fewer than three lots, or a part with one outcome only.
    """
    divided = parts
    if divided is None:
        divided = split_by_time_and_lot(matrix.times, matrix.lots, train_share=plan.train_share, calibrate_share=plan.calibrate_share)
    draft = fit_bundle(matrix, divided, plan)
    risks = draft.score(matrix.features).risk
    is_test = divided == "test"
    test = matrix.take(is_test)
    rate = draft.info.base_rate
    reference = baseline_risks(matrix, divided == "train", seed=plan.seed)[is_test]
    candidates = {"model": risks[is_test], "baseline": reference, "base_rate": np.full(len(test), rate)}
    evaluations = _evaluate_candidates(test, candidates, rate=rate, seed=plan.seed)
    difference = paired_difference(
        log_losses(test.labels, risks[is_test]), log_losses(test.labels, reference), lots=test.lots, seed=plan.seed
    )
    verdict = judge(model=evaluations["model"], baseline=evaluations["baseline"], difference=difference, criteria=plan.criteria)
    bound, attained = _attainable_on(test, None if true_risks is None else true_risks[is_test], rate=rate, seed=plan.seed)
    return Experiment(
        bundle=_with_metrics(draft, evaluations["model"]["all"].values()),
        verdict=verdict,
        parts=divided,
        evaluations=evaluations,
        difference=difference,
        reliability=reliability(test.labels, risks[is_test]),
        risks=risks,
        bound=bound,
        attained=attained,
    )


def _with_metrics(bundle: ModelBundle, metrics: Mapping[str, float]) -> ModelBundle:
    return ModelBundle.create(replace(bundle.info, metrics=dict(metrics)), bundle.model_text)


def _attainable_on(
    test: TrainingMatrix, true_risks: FloatArray | None, *, rate: float, seed: int
) -> tuple[Bound | None, dict[str, Metrics] | None]:
    if true_risks is None:
        return None, None
    known = ~np.isnan(true_risks)
    if not known.any():
        return None, None
    rows = test.take(known)
    return attainable(true_risks[known]), _evaluate_candidates(rows, {"true": true_risks[known]}, rate=rate, seed=seed)["true"]
