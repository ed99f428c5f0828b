"""Small real models over two features of the tables, and putting one into service.

Belongs here: training, registering and approving. Does not belong here: what is asserted of predictions.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

from lab_assets.features.definitions import FEATURE_SET_VERSION
from lab_assets.governance.approvals import Approvals
from lab_assets.governance.users import ensure_demo_users
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.modeling.bundle import ModelBundle
from lab_assets.modeling.experiment import Experiment, ExperimentPlan, run_experiment
from lab_assets.registry.model_records import TrainingRecord
from lab_assets.registry.serving import cache_bundle, mirror_ledger, registry_of
from lab_assets.state.database import writing
from lab_assets.stations.ml.experiments import keep_evaluations
from lab_assets_tests.modeling.data import PLAN, matrix

NAMES = ("checkpoint_pct", "worst_margin_so_far", "pressure_ripple_pct")
TRAINED = datetime(2025, 2, 1, tzinfo=UTC)


def plan(*, feature_set_version: str = FEATURE_SET_VERSION, training_set_id: str = "ts-small", seed: int = 3) -> ExperimentPlan:
    return replace(PLAN, feature_set_version=feature_set_version, training_set_id=training_set_id, seed=seed)


@cache
def experiment(feature_set_version: str = FEATURE_SET_VERSION, seed: int = 3) -> Experiment:
    """Train a model in which a margin far from its middle means failure."""
    return run_experiment(replace(matrix()[0], names=NAMES), plan(feature_set_version=feature_set_version, seed=seed))


def bundle(feature_set_version: str = FEATURE_SET_VERSION, seed: int = 3) -> ModelBundle:
    return experiment(feature_set_version, seed).bundle


def put_into_service(lake: Lakehouse) -> ModelBundle:
    """Log the model to MLflow, keep its evaluations, let a second person approve it and promote it."""
    made = experiment()
    record = TrainingRecord(
        plan=plan(), experiment=made, trained_by="scientist", trained_at_utc=TRAINED, code_commit="abc123", table_versions={"ml.labels": 1}
    )
    registry = registry_of(lake.settings)
    logged = registry.log_training(record)
    keep_evaluations(lake, record, logged, at_utc=TRAINED)
    with writing(lake.ledger.engine) as connection:
        ensure_demo_users(connection)
    ledger = Approvals(lake.ledger.engine)
    assert logged.version is not None
    submitted = ledger.submit(
        PLAN.model_name, logged.version, digest=logged.digest, metrics={"brier": 0.1}, data_versions={"ml.labels": 1},
        trained_by="scientist", submitted_by="scientist", reason="first",
    )  # fmt: skip
    ledger.approve(submitted.approval_id, approver="qa", evidence=submitted.evidence_digest, reason="good")
    cache_bundle(lake.settings, made.bundle)
    ledger.promote(PLAN.model_name, logged.version, by="qa", reason="serve")
    mirror_ledger(registry, lake.ledger.engine)
    return made.bundle
