"""A model trained, calibrated, judged and registered."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from lab_assets.contracts.all_contracts import contract
from lab_assets.environment_errors import naming_environment_faults
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.plots import picture
from lab_assets.orchestration.assets.reports import Detail, asset_key, check_results, check_spec, report, resilient, selected, table_spec
from lab_assets.orchestration.assets.scoring import FEATURES

if TYPE_CHECKING:
    from lab_assets.stations.ml.training_sets import TrainingSet

MODEL_KEY = dg.AssetKey(["ml", "oos_risk"])
NAMES = ("ml.training_sets", "ml.evaluations")


@dg.multi_asset(
    specs=[
        table_spec("ml.training_sets", deps=["ml.labels", "silver.injections", *FEATURES]),
        dg.AssetSpec(
            MODEL_KEY,
            deps=[asset_key("ml.training_sets")],
            description="Risk that an injection's reportable values turn out out of specification, given before the run ends.\n\n"
            "LightGBM, calibrated; registered in MLflow as challenger when the gate lets it pass, in service only after a second person approved it.",
            group_name="ml",
            owners=["team:data-science"],
            kinds={"lightgbm", "mlflow"},
        ),
        table_spec("ml.evaluations", deps=["ml.oos_risk"], kinds=("mlflow", "deltalake")),
    ],
    check_specs=[
        *(check_spec(name) for name in NAMES),
        dg.AssetCheckSpec(
            "gate",
            asset=MODEL_KEY,
            blocking=True,
            description="Log-loss, Brier skill and calibration error against base rate and logistic baseline; refused models are not registered.",
        ),
    ],
    name="training",
    can_subset=True,
)
def training(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Freeze a training set, train and calibrate on it, judge on later lots, log to MLflow; or only the part that was chosen."""
    chosen = selected(context, NAMES)
    before = {name: lake.version(contract(name)) for name in NAMES}
    if MODEL_KEY in context.selected_asset_keys:
        yield from _train(context, lake, chosen, before)
    else:
        if "ml.training_sets" in chosen:
            from lab_assets.stations.ml.training_sets import freeze_training_set

            frozen = resilient(context, lake, lambda: freeze_training_set(lake, frozen_at_utc=datetime.now(UTC), run_id=context.run_id))
            yield report(lake, "ml.training_sets", before["ml.training_sets"], _frozen(frozen))
        if "ml.evaluations" in chosen:
            yield report(
                lake, "ml.evaluations", before["ml.evaluations"], {"news": "no news: written with each training, materialise oos_risk"}
            )
        if dg.AssetCheckKey(MODEL_KEY, "gate") in context.selected_asset_check_keys:
            yield _last_verdict(lake)
    yield from check_results(context, lake, NAMES)


def _train(
    context: dg.AssetExecutionContext, lake: Lakehouse, chosen: list[str], before: dict[str, int]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    from lab_assets.registry.known_models import require_known
    from lab_assets.registry.serving import registry_of
    from lab_assets.stations.ml.experiments import keep_evaluations, train

    require_known(registry_of(lake.settings), lake.ledger.engine)  # one that lost versions would give their numbers a second time
    now = datetime.now(UTC)
    made = resilient(
        context,
        lake,
        lambda: train(lake, at_utc=now, run_id=context.run_id, trained_by=context.run.tags.get("lab/user", "system:pipeline")),
    )
    with naming_environment_faults(lake.settings):
        logged = registry_of(lake.settings).log_training(made.record)
    resilient(context, lake, lambda: keep_evaluations(lake, made.record, logged, at_utc=now))
    verdict = made.record.experiment.verdict
    if "ml.training_sets" in chosen:
        yield report(lake, "ml.training_sets", before["ml.training_sets"], _frozen(made.frozen))
    yield dg.MaterializeResult(
        asset_key=MODEL_KEY,
        metadata={
            "model_version": logged.version or "refused by the gate",
            "model_digest": logged.digest,
            "mlflow_run_id": logged.run_id,
            "metrics": dg.MetadataValue.md(made.table_md()),
            "reliability": dg.MetadataValue.md(picture(made.record.diagram, alt="reliability", kind="png")),
        },
    )
    if "ml.evaluations" in chosen:
        yield report(lake, "ml.evaluations", before["ml.evaluations"])
    if dg.AssetCheckKey(MODEL_KEY, "gate") in context.selected_asset_check_keys:
        yield _verdict(passed=verdict.passed, reasons=list(verdict.reasons), failed=list(verdict.failures))


def _frozen(training_set: "TrainingSet") -> dict[str, Detail]:
    return {"training_set_id": training_set.training_set_id, "news": training_set.words()}


def _verdict(*, passed: bool, reasons: list[str], failed: list[str] | None = None) -> dg.AssetCheckResult:
    words: dict[str, Any] = {"reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in reasons))}
    if not passed:
        words["failed"] = reasons if failed is None else failed
    return dg.AssetCheckResult(check_name="gate", asset_key=MODEL_KEY, passed=passed, metadata=words)


def _last_verdict(lake: Lakehouse) -> dg.AssetCheckResult:
    """Return what the gate said of the model trained last: it was registered, or refused and has no version."""
    import polars as pl

    from lab_assets.contracts.ml import EVALUATIONS

    rows = lake.polars(EVALUATIONS, ["model_version", "run_id", "evaluated_at_utc"]).sort("evaluated_at_utc").tail(1)
    if rows.is_empty():
        return _verdict(passed=False, reasons=["no model was trained yet"])
    version, run_id = rows.select(pl.col("model_version"), pl.col("run_id")).row(0)
    if version:
        return _verdict(passed=True, reasons=[f"version {version} passed when it was trained (MLflow run {run_id})"])
    return _verdict(passed=False, reasons=[f"the model trained last was refused (MLflow run {run_id})"])
