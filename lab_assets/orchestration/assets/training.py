"""Stations 6 and 7: labels, and a model trained, calibrated, judged and registered."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.station import POLARS, asset_key, note_derivation, reports, resilient, table_spec

MODEL_KEY = dg.AssetKey(["ml", "oos_risk"])
FEATURES = ("features.injection_progress", "features.instrument_history", "features.lot_history", "features.storage_exposure")


@dg.multi_asset(
    specs=[table_spec("ml.labels", deps=["silver.injections", "silver.results"], kinds=POLARS)],
    name="labels",
    op_tags={"lab/engine": "spark"},
)
def labels(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult]:
    """Label each sample injection by its judged results."""
    from lab_assets.stations.ml.training_sets import update_labels

    resilient(context, lake, lambda: update_labels(lake))
    yield from reports(context, lake, ["ml.labels"])


@dg.multi_asset(
    specs=[
        table_spec("ml.training_sets", deps=["ml.labels", "silver.injections", *FEATURES], kinds=POLARS),
        dg.AssetSpec(
            MODEL_KEY,
            deps=[asset_key("ml.training_sets")],
            description="Risk that an injection's reportable values turn out out of specification, told before the run ends.\n\n"
            "LightGBM, calibrated; registered in MLflow as challenger when the gate lets it pass, in service only after a second person approved it.",
            group_name="ml",
            owners=["team:data-science"],
            kinds={"lightgbm", "mlflow"},
        ),
        table_spec("ml.evaluations", deps=["ml.oos_risk"], kinds=("mlflow", "deltalake")),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "gate",
            asset=MODEL_KEY,
            blocking=True,
            description="Log-loss, Brier skill and calibration error against base rate and logistic baseline; refused models are not registered.",
        )
    ],
    name="training",
    op_tags={"lab/engine": "spark"},
)
def training(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Freeze a training set, train and calibrate on it, judge on later lots, log to MLflow."""
    from lab_assets.registry.serving import registry_of
    from lab_assets.stations.ml.experiments import keep_evaluations, train

    now = datetime.now(UTC)
    made = resilient(
        context,
        lake,
        lambda: train(lake, at_utc=now, run_id=context.run_id, trained_by=context.run.tags.get("lab/user", "system:pipeline")),
    )
    logged = registry_of(lake.settings).log_training(made.record)
    resilient(context, lake, lambda: keep_evaluations(lake, made.record, logged, at_utc=now))
    note_derivation(
        context, lake, "ml.oos_risk", logged.version or logged.run_id, {**made.record.table_versions, made.training_set_id: "frozen"}
    )
    verdict = made.record.experiment.verdict
    yield from reports(context, lake, ["ml.training_sets"], extra={"ml.training_sets": {"training_set_id": made.training_set_id}})
    yield dg.MaterializeResult(
        asset_key=MODEL_KEY,
        metadata={
            "model_version": logged.version or "refused by the gate",
            "model_digest": logged.digest,
            "mlflow_run_id": logged.run_id,
            "metrics": dg.MetadataValue.md(made.table_md()),
            "reliability": _picture(made.record.diagram),
        },
    )
    yield from reports(context, lake, ["ml.evaluations"])
    yield dg.AssetCheckResult(
        check_name="gate",
        asset_key=MODEL_KEY,
        passed=verdict.passed,
        metadata={"reasons": dg.MetadataValue.md("\n".join(f"- {r}" for r in verdict.reasons))},
    )


def _picture(png: bytes) -> dg.MarkdownMetadataValue:
    import base64

    return dg.MetadataValue.md(f"![reliability](data:image/png;base64,{base64.b64encode(png).decode()})")
