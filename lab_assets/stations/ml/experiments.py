"""From a frozen training set to a judged model, with everything MLflow and ``ml.evaluations`` keep of it.

Belongs here: binding tables and modelling. Does not belong here: modelling (``lab_assets.modeling``), MLflow (``lab_assets.registry``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lab_assets.contracts.all_contracts import contract
from lab_assets.contracts.ml import EVALUATIONS
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.ml.training_sets import TrainingSet, freeze_training_set, matrix_of
from lab_assets.stations.runner import only_one

if TYPE_CHECKING:
    from lab_assets.registry.model_records import LoggedTraining, TrainingRecord


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A judged model and where it came from.

    Attributes:
        frozen: Training set.
        record: What is logged of it.
    """

    frozen: TrainingSet
    record: TrainingRecord

    def table_md(self) -> str:
        """Return the test metrics of model, baseline and base rate side by side, as Markdown."""
        found = self.record.experiment.evaluations
        values = {who: slices["all"].values() for who, slices in found.items()}
        lines = ["| metric | " + " | ".join(values) + " |", "|---" * (len(values) + 1) + "|"]
        for name in values["model"]:
            cells = (f"{metrics[name]:.4f}" if name in metrics else "" for metrics in values.values())
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def train(lake: Lakehouse, *, at_utc: datetime, run_id: str, trained_by: str) -> Trained:
    """Freeze, train, calibrate and judge.

    Args:
        lake: Tables.
        at_utc: Now.
        run_id: Run of the orchestrator.
        trained_by: Person or service answerable for the training.

    Raises:
        lab_assets.stations.ml.training_sets.TooFewLabelsError: there is not enough to learn from yet.
    """
    from lab_assets.features.definitions import FEATURE_SET_VERSION
    from lab_assets.modeling.experiment import ExperimentPlan, run_experiment
    from lab_assets.provenance import code_version
    from lab_assets.registry.mlflow_registry import MODEL_NAME
    from lab_assets.registry.model_records import TrainingRecord

    frozen = freeze_training_set(lake, frozen_at_utc=at_utc, run_id=run_id)
    plan = ExperimentPlan(model_name=MODEL_NAME, feature_set_version=FEATURE_SET_VERSION, training_set_id=frozen.training_set_id)
    parts = frozen.frame["part"].to_numpy().astype(str)
    experiment = run_experiment(matrix_of(frozen.frame), plan, parts=parts)
    record = TrainingRecord(
        plan=plan,
        experiment=experiment,
        trained_by=trained_by,
        trained_at_utc=at_utc,
        code_commit=code_version(),
        table_versions=frozen.table_versions,
        table_uris={name: lake.uri(contract(name)).removeprefix(f"{lake.settings.home}/") for name in frozen.table_versions},
        orchestration_run_id=run_id,
    )
    return Trained(frozen=frozen, record=record)


def keep_evaluations(lake: Lakehouse, record: TrainingRecord, logged: LoggedTraining, *, at_utc: datetime) -> int:
    """Append a training's metrics to ``ml.evaluations``, once for each MLflow run.

    Returns:
        Version of ``ml.evaluations`` afterwards.
    """
    import polars as pl

    with only_one(lake, EVALUATIONS.full_name):
        if not lake.polars(EVALUATIONS, ["run_id"], where=pl.col("run_id") == logged.run_id).is_empty():
            return lake.version(EVALUATIONS)
        rows = lake.local_rows(EVALUATIONS, evaluation_rows(record, logged, at_utc=at_utc))
        inputs: dict[str, int | str] = {f"model:{record.plan.model_name}": logged.version or logged.run_id}
        return lake.append(
            EVALUATIONS, rows, derivation=Derivation(inputs=inputs, run_id=record.orchestration_run_id, code_version=record.code_commit)
        )


def evaluation_rows(record: TrainingRecord, logged: LoggedTraining, *, at_utc: datetime) -> list[dict[str, Any]]:
    """Return the metrics of every candidate on every slice as rows of ``ml.evaluations``; undefined ones are left out."""
    rows: list[dict[str, Any]] = []
    for candidate, by_slice in record.experiment.evaluations.items():
        for name, metrics in by_slice.items():
            rows += [
                {
                    "model_name": record.plan.model_name,
                    "model_version": logged.version,
                    "run_id": logged.run_id,
                    "training_set_id": record.plan.training_set_id,
                    "candidate": candidate,
                    "part": "test",
                    "slice": name,
                    "metric": metric,
                    "value": value,
                    "rows": metrics.rows,
                    "evaluated_at_utc": at_utc,
                }
                for metric, value in metrics.values().items()
            ]
    return rows
