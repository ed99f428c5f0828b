"""Synthetic training sets whose truth is known."""

from __future__ import annotations

from functools import cache

import numpy as np

from lab_assets.modeling.arrays import FloatArray
from lab_assets.modeling.experiment import Experiment, ExperimentPlan, run_experiment
from lab_assets.modeling.training import TrainingMatrix

CHECKPOINTS = (10, 25, 50, 75)


def matrix(*, injections: int = 600, seed: int = 0) -> tuple[TrainingMatrix, FloatArray]:
    """Return rows of ``injections`` x 4 checkpoints in lots of four injections, and each row's true risk.

    The log-odds are ``-3.5 + 3 |z|``, as with a two-sided specification, which no straight line tells; feature ``early`` is z plus noise that falls with the share of the run seen, ``noise``
    tells nothing and is missing in every tenth row.
    """
    generator = np.random.default_rng(seed)
    z = np.repeat(generator.normal(size=injections), len(CHECKPOINTS))
    risk = 1 / (1 + np.exp(3.5 - 3.0 * np.abs(z)))
    labels = np.repeat((generator.random(injections) < risk[:: len(CHECKPOINTS)]).astype(np.float64), len(CHECKPOINTS))
    checkpoints = np.tile(np.array(CHECKPOINTS, dtype=np.int64), injections)
    early = z + generator.normal(size=len(z)) * 10.0 / checkpoints
    noise = generator.normal(size=len(z))
    noise[::10] = np.nan
    index = np.arange(len(z)) // len(CHECKPOINTS)
    built = TrainingMatrix(
        features=np.column_stack((checkpoints.astype(np.float64), early, noise)),
        labels=labels,
        lots=np.array([f"L{i // 4:04d}" for i in index]),
        times=index.astype(np.float64),
        checkpoints=checkpoints,
        methods=np.where(index % 2 == 0, "ASSAY-01", "RS-01"),
        names=("checkpoint_pct", "early", "noise"),
    )
    return built, risk


PLAN = ExperimentPlan(model_name="oos_risk", feature_set_version="fs-test", training_set_id="ts-test", seed=3)


@cache
def experiment() -> Experiment:
    """Return one judged model, trained once for all tests."""
    rows, risk = matrix()
    return run_experiment(rows, PLAN, true_risks=risk)
