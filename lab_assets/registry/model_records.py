"""What is written to MLflow for one training, and how a registered version is read back.

Belongs here: names of tags, parameters and metrics. Does not belong here: calls to MLflow (``mlflow_registry.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from lab_assets.modeling.bundle import ModelBundle
from lab_assets.modeling.evaluation import Metrics
from lab_assets.modeling.experiment import Experiment, ExperimentPlan

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

TAG: Final = "lab."
TABLE_TAG: Final = "lab.table_version."
Stage = Literal["None", "Staging", "Production", "Archived"]


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What is known of one training beside the model itself.

    Attributes:
        plan: What was trained and how.
        experiment: The judged model.
        trained_by: Person or service identity answerable for the training.
        trained_at_utc: When.
        code_commit: Commit of the code, or the package version where there is no repository.
        table_versions: Version of every table read, by ``layer.table``.
        table_uris: Where those tables are, by ``layer.table``; below the home where they lie in it, so that it may be moved.
        orchestration_run_id: Run of the orchestrator, empty when there is none.
    """

    plan: ExperimentPlan
    experiment: Experiment
    trained_by: str
    trained_at_utc: datetime
    code_commit: str
    table_versions: Mapping[str, int]
    table_uris: Mapping[str, str] = field(default_factory=dict[str, str])
    orchestration_run_id: str = ""

    @cached_property
    def diagram(self) -> bytes:
        """The reliability diagram of the test rows as PNG, drawn once: MLflow and the orchestrator show the same picture."""
        from lab_assets.registry.diagram import reliability_png

        return reliability_png(self.experiment.reliability, title=f"{self.plan.model_name} on the test rows")


@dataclass(frozen=True, kw_only=True)
class LoggedTraining:
    """Where a training is found in MLflow.

    Attributes:
        run_id: MLflow run.
        model_id: MLflow LoggedModel.
        version: Registered version; ``None`` when the gate refused the model.
        digest: Digest of the bundle.
    """

    run_id: str
    model_id: str
    version: str | None
    digest: str


@dataclass(frozen=True, kw_only=True)
class VersionInfo:
    """One registered version as MLflow shows it.

    Attributes:
        version: Version number as text.
        digest: Digest of the bundle as tagged; to be verified against the bytes before use.
        stage: Lifecycle state.
        aliases: Aliases that point here.
        run_id: MLflow run.
        model_id: MLflow LoggedModel.
        training_set_id: Frozen training set.
        feature_set_version: Version of the feature definitions.
        trained_by: Who trained it.
        created_at_utc: When it was registered.
        metrics: Test metrics over all rows.
        slice_metrics: The same by slice, as ``checkpoint_50/log_loss``.
        table_versions: Version of every table read.
    """

    version: str
    digest: str
    stage: Stage
    aliases: tuple[str, ...]
    run_id: str
    model_id: str
    training_set_id: str
    feature_set_version: str
    trained_by: str
    created_at_utc: datetime
    metrics: Mapping[str, float]
    slice_metrics: Mapping[str, float]
    table_versions: Mapping[str, int]


def milliseconds(at: datetime) -> int:
    """Return a time as MLflow counts it: milliseconds since 1970."""
    return int(at.timestamp() * 1_000)


def tags_of(record: TrainingRecord) -> dict[str, str]:
    """Return the tags of run and version; table versions are among them since MLflow drops version 0 of a data set."""
    info = record.experiment.bundle.info
    return {
        f"{TAG}digest": record.experiment.bundle.digest,
        f"{TAG}training_set_id": info.training_set_id,
        f"{TAG}feature_set_version": info.feature_set_version,
        f"{TAG}trained_by": record.trained_by,
        f"{TAG}code_commit": record.code_commit,
        f"{TAG}orchestration_run_id": record.orchestration_run_id,
        f"{TAG}gate": "passed" if record.experiment.verdict.passed else "refused",
        **{f"{TABLE_TAG}{table}": str(version) for table, version in record.table_versions.items()},
    }


def params_of(plan: ExperimentPlan) -> dict[str, Any]:
    """Return the parameters of a training, flat."""
    booster = {name: value for name, value in asdict(plan.params).items() if name != "extra"}
    return {
        **{f"booster.{name}": value for name, value in {**booster, **plan.params.extra}.items()},
        **{f"gate.{name}": value for name, value in asdict(plan.criteria).items()},
        "train_share": plan.train_share,
        "calibrate_share": plan.calibrate_share,
        "alpha": plan.alpha,
        "seed": plan.seed,
    }


def metrics_of(experiment: Experiment) -> dict[str, float]:
    """Return metrics as ``candidate/slice/metric``; MLflow allows no equals sign in names."""
    named: dict[str, Mapping[str, Metrics]] = dict(experiment.evaluations)
    if experiment.attained is not None:
        named["attainable"] = experiment.attained
    flat = {
        f"{candidate}/{part.replace('=', '_')}/{metric}": value
        for candidate, slices in named.items()
        for part, metrics in slices.items()
        for metric, value in metrics.values().items()
    }
    difference = experiment.difference
    flat |= {"difference/mean": difference.mean, "difference/low": difference.low, "difference/high": difference.high}
    if experiment.bound is not None:
        flat |= {f"bound/{name}": value for name, value in asdict(experiment.bound).items() if not math.isnan(value)}
    return flat


def signature_of(bundle: ModelBundle) -> Any:
    """Return the MLflow signature: every feature may be missing; five outputs."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    outputs: list[Any] = [ColSpec("double", name) for name in ("raw", "risk", "low", "high")] + [ColSpec("string", "verdict")]
    inputs: list[Any] = [ColSpec("double", name, required=False) for name in bundle.feature_names]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def version_info(found: ModelVersion, run: Run, aliases: Mapping[str, str]) -> VersionInfo:
    """Return one registered version from MLflow's records."""
    tags: dict[str, str] = dict(found.tags or {})
    values = {name.removeprefix("model/"): value for name, value in run.data.metrics.items() if name.startswith("model/")}
    stage = tags.get(f"{TAG}stage", "None")
    return VersionInfo(
        version=str(found.version),
        digest=tags.get(f"{TAG}digest", ""),
        stage=cast("Stage", stage) if stage in {"Staging", "Production", "Archived"} else "None",
        aliases=tuple(sorted(alias for alias, version in aliases.items() if str(version) == str(found.version))),
        run_id=str(found.run_id),
        model_id=tags.get(f"{TAG}model_id", ""),
        training_set_id=tags.get(f"{TAG}training_set_id", ""),
        feature_set_version=tags.get(f"{TAG}feature_set_version", ""),
        trained_by=tags.get(f"{TAG}trained_by", ""),
        created_at_utc=datetime.fromtimestamp((found.creation_timestamp or 0) / 1_000, tz=UTC),
        metrics={name.removeprefix("all/"): value for name, value in values.items() if name.startswith("all/")},
        slice_metrics={name: value for name, value in values.items() if not name.startswith("all/")},
        table_versions={
            name.removeprefix(TABLE_TAG): int(value)
            for name, value in run.data.tags.items()
            if name.startswith(TABLE_TAG) and value.lstrip("-").isdigit()
        },
    )
