from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lab_assets.modeling.baseline import base_rate, baseline_risks
from lab_assets.modeling.evaluation import auc
from lab_assets.modeling.experiment import run_experiment
from lab_assets.modeling.training import BoosterParams, TrainingMatrix, train_booster
from lab_assets_tests.modeling.data import PLAN, experiment, matrix


def test_the_model_learns_what_there_is_to_learn():
    """Skill grows with the share of the run seen and stays below what the true risks reach."""
    done = experiment()
    model = done.evaluations["model"]
    assert done.bound is not None
    assert done.attained is not None
    assert model["checkpoint=10"].auc < model["checkpoint=75"].auc
    assert model["all"].log_loss < done.evaluations["base_rate"]["all"].log_loss
    assert done.attained["all"].log_loss < model["all"].log_loss
    assert done.attained["all"].log_loss == pytest.approx(done.bound.log_loss, abs=0.15)  # three standard errors of 120 injections
    assert done.verdict.passed, done.verdict.failures
    assert done.bundle.info.metrics["log_loss"] == model["all"].log_loss
    assert sum(each.rows for each in done.reliability) == int((done.parts == "test").sum())


def test_risks_are_calibrated_on_the_test_rows():
    """Mean risk and share of failures agree within three standard errors of some 120 test injections."""
    rows, _ = matrix()
    is_test = experiment().parts == "test"
    observed = rows.labels[is_test].mean()
    error = np.sqrt(observed * (1 - observed) / (is_test.sum() / 4))
    assert experiment().risks[is_test].mean() == pytest.approx(observed, abs=3 * error)


def test_a_frozen_split_is_kept_and_the_same_inputs_give_the_same_bundle():
    rows, _ = matrix()
    again = run_experiment(rows, PLAN, parts=experiment().parts)
    assert again.bundle.digest == experiment().bundle.digest
    assert again.bound is None
    assert again.attained is None


def test_true_risks_that_are_all_unknown_give_no_bound():
    rows, _ = matrix(injections=200, seed=4)
    assert run_experiment(rows, PLAN, true_risks=np.full(len(rows), np.nan)).bound is None


def test_threads_do_not_change_the_trees():
    rows, _ = matrix(injections=100)
    everything = np.ones(len(rows), dtype=bool)
    one, two = (train_booster(rows, everything, params=BoosterParams(num_threads=n), seed=1) for n in (1, 2))
    assert one.split("\nparameters:")[0] == two.split("\nparameters:")[0]
    assert one != train_booster(rows, everything, seed=2)


def test_trees_stay_small_enough_to_explain():
    with pytest.raises(ValueError, match="at most 200 x 15"):
        BoosterParams(max_trees=400)
    assert experiment().bundle.booster.num_trees() <= 200


def test_one_outcome_cannot_be_trained_on():
    rows, _ = matrix(injections=20)
    passes = rows.labels == 0
    with pytest.raises(ValueError, match="one outcome only"):
        train_booster(rows, passes)
    with pytest.raises(ValueError, match="one outcome only"):
        baseline_risks(rows, passes)


def test_few_positives_do_not_decide_the_number_of_trees():
    """Three failing injections in all: half of the most trees is taken."""
    rows, _ = matrix(injections=60)
    labels = np.zeros(len(rows))
    labels[[0, 40, 80]] = 1.0
    text = train_booster(
        replace(rows, labels=labels), np.ones(len(rows), dtype=bool), params=BoosterParams(max_trees=10, min_rows_in_leaf=1, l2=0)
    )
    assert text.count("Tree=") == 5


def test_base_rate_by_laplace():
    rows, _ = matrix(injections=20)
    marked = np.zeros(len(rows), dtype=bool)
    marked[:8] = True
    assert base_rate(replace(rows, labels=np.array([1.0, 1.0] + [0.0] * (len(rows) - 2))), marked) == pytest.approx(0.3)


def test_the_baseline_orders_rows_by_the_one_feature_that_tells():
    rows, _ = matrix(injections=300)
    linear = replace(rows, labels=(rows.features[:, 1] > 1).astype(float))
    risks = baseline_risks(linear, np.ones(len(rows), dtype=bool))
    assert auc(linear.labels, risks) > 0.99
    assert ((risks > 0) & (risks < 1)).all()


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"names": ("a",)}, "features are"),
        ({"lots": np.array(["A"])}, "lots has shape"),
        ({"labels": np.full(80, 0.5)}, "0 or 1"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(change, answer):
    rows, _ = matrix(injections=20)
    values = {name: getattr(rows, name) for name in ("features", "labels", "lots", "times", "checkpoints", "methods", "names")}
    with pytest.raises(ValueError, match=answer):
        TrainingMatrix(**{**values, **change})
