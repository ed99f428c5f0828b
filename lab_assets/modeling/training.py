# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
"""Training of the booster: small, deterministic, stopped early on lots it has not seen.

Belongs here: matrices and boosters. Does not belong here: calibration, judgement, storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from lab_assets.modeling.arrays import AnyArray, BoolArray, FloatArray, IntArray, TextArray
from lab_assets.modeling.split import latest_lots

MIN_STOPPING_POSITIVES: Final = 5
"""Fewer positives than this in the stopping slice say nothing about when to stop."""


@dataclass(frozen=True, kw_only=True)
class TrainingMatrix:
    """Rows of one training set, ready for numerical work.

    Attributes:
        features: ``(n, p)`` float64; NaN where a feature is absent.
        labels: ``(n,)`` float64, 1.0 where the injection was out of specification.
        lots: ``(n,)`` lot of each row.
        times: ``(n,)`` time of each row, numbers or ``datetime64``.
        checkpoints: ``(n,)`` int64, share of the run seen, in %.
        methods: ``(n,)`` test method of each row.
        names: Feature names in column order, ``p`` of them.
    """

    features: FloatArray
    labels: FloatArray
    lots: TextArray
    times: AnyArray
    checkpoints: IntArray
    methods: TextArray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.features.shape != (n, len(self.names)):
            raise ValueError(f"features are {self.features.shape}, expected ({n}, {len(self.names)})")
        for name in ("lots", "times", "checkpoints", "methods"):
            if getattr(self, name).shape != (n,):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected ({n},)")
        if not np.isin(self.labels, (0.0, 1.0)).all():
            raise ValueError("labels must be 0 or 1")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: BoolArray) -> TrainingMatrix:
        """Return the marked rows, ``(n,)`` booleans, in the same order."""
        return TrainingMatrix(
            features=self.features[rows],
            labels=self.labels[rows],
            lots=self.lots[rows],
            times=self.times[rows],
            checkpoints=self.checkpoints[rows],
            methods=self.methods[rows],
            names=self.names,
        )


@dataclass(frozen=True, kw_only=True)
class BoosterParams:
    """Hyperparameters of the booster; the defaults keep exact SHAP of one row below half a millisecond.

    Attributes:
        max_trees: Most trees, at most 200.
        leaves: Most leaves a tree, at most 15.
        learning_rate: Shrinkage.
        min_rows_in_leaf: Fewest rows in a leaf.
        feature_fraction: Share of features offered to each tree.
        row_fraction: Share of rows drawn for each tree.
        l2: L2 penalty on leaf values.
        stopping_share: Share of the training rows (latest lots) held out to decide the number of trees.
        stopping_rounds: Trees without gain before stopping.
        num_threads: Threads of LightGBM; the model does not depend on it.
        extra: Further LightGBM parameters, which win over all others.
    """

    max_trees: int = 200
    leaves: int = 15
    learning_rate: float = 0.05
    min_rows_in_leaf: int = 25
    feature_fraction: float = 0.7
    row_fraction: float = 0.8
    l2: float = 5.0
    stopping_share: float = 0.2
    stopping_rounds: int = 25
    num_threads: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if not (1 <= self.max_trees <= 200 and 2 <= self.leaves <= 15):
            raise ValueError(f"{self.max_trees} trees x {self.leaves} leaves: at most 200 x 15 keeps explanations fast")

    def lightgbm(self, seed: int) -> dict[str, Any]:
        """Return LightGBM's own parameters for a seed."""
        return {
            "objective": "binary",
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.min_rows_in_leaf,
            "feature_fraction": self.feature_fraction,
            "bagging_fraction": self.row_fraction,
            "bagging_freq": 1,
            "lambda_l2": self.l2,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.num_threads,
            "seed": seed,
            "verbosity": -1,
            **self.extra,
        }


def _trees_wanted(matrix: TrainingMatrix, params: BoosterParams, seed: int) -> int:
    """Return the number of trees at which the loss on the latest lots of the matrix was least."""
    import lightgbm as lgb

    held_out = latest_lots(matrix.times, matrix.lots, share=params.stopping_share)
    positives = int(matrix.labels[held_out].sum())
    enough = MIN_STOPPING_POSITIVES <= positives <= int(held_out.sum()) - MIN_STOPPING_POSITIVES
    if not enough or len(np.unique(matrix.labels[~held_out])) < 2:
        return params.max_trees // 2
    names = list(matrix.names)
    settings = params.lightgbm(seed)
    fitted = lgb.Dataset(matrix.features[~held_out], matrix.labels[~held_out], feature_name=names, params=settings)
    stopping = lgb.Dataset(matrix.features[held_out], matrix.labels[held_out], reference=fitted, params=settings)
    booster = lgb.train(
        settings,
        fitted,
        num_boost_round=params.max_trees,
        valid_sets=[stopping],
        callbacks=[lgb.early_stopping(params.stopping_rounds, verbose=False)],
    )
    return max(booster.best_iteration, 1)


def train_booster(matrix: TrainingMatrix, rows: BoolArray, *, params: BoosterParams | None = None, seed: int = 0) -> str:
    """Train a LightGBM booster and return it as LightGBM's text format.

    The number of trees is decided on the latest lots of the training rows, which the deciding booster has not seen;
    the booster returned is then fitted to all training rows with that number. Same rows, parameters and seed give
    the same text.

    Args:
        matrix: All rows.
        rows: ``(n,)`` booleans, the rows to train on; those of calibration and test must not be among them.
        params: Hyperparameters; defaults when omitted.
        seed: Seed of row and feature sampling.

    Returns:
        The model in LightGBM's text format; its raw score is the log-odds of being out of specification.

    Raises:
        ValueError: the training rows do not hold both outcomes.
    """
    import lightgbm as lgb

    chosen = params or BoosterParams()
    training = matrix.take(rows)
    if len(np.unique(training.labels)) < 2:
        raise ValueError(f"{len(training)} training rows hold one outcome only; both are needed")
    n_trees = _trees_wanted(training, chosen, seed)
    settings = chosen.lightgbm(seed)
    data = lgb.Dataset(training.features, training.labels, feature_name=list(matrix.names), params=settings)
    return lgb.train(settings, data, num_boost_round=n_trees).model_to_string()
