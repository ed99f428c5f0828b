"""Stations 8 and 9: predictions with decisions and explanations, and the watch over the model."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.station import LIGHTGBM, POLARS, TOWARDS_A_SCORE, Detail, reports, resilient, table_spec

SCORED = ("ml.predictions", "ml.decisions", "ml.explanations")
WATCHED = ("ml.drift", "ml.alerts")
FEATURES = ("features.injection_progress", "features.instrument_history", "features.lot_history", "features.storage_exposure")

ONLINE_LOG = table_spec("ml.online_log", kinds=("fastapi", "deltalake"))
"""Written by the service; here so that the graph shows where online predictions come from."""


@dg.multi_asset(
    specs=[
        table_spec("ml.predictions", deps=[*FEATURES, "silver.injections", "ml.oos_risk", "ml.online_log"], kinds=LIGHTGBM),
        table_spec("ml.decisions", deps=["ml.predictions"], kinds=LIGHTGBM),
        table_spec("ml.explanations", deps=["ml.predictions"], kinds=LIGHTGBM),
    ],
    name="scoring",
    op_tags={"lab/engine": "spark", **TOWARDS_A_SCORE},
)
def scoring(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult]:
    """Score what has features and no prediction of the serving model; fold the service's online predictions in."""
    from lab_assets.registry.serving import current_serving, verified_bundle
    from lab_assets.stations.ml.online import fold_online_log
    from lab_assets.stations.ml.predictions import score_waiting

    resilient(context, lake, lambda: fold_online_log(lake))
    serving = current_serving(lake.ledger.engine)
    told: dict[str, Detail] = {"model": "none in service: train, submit, approve and promote one"}
    if serving is not None:
        bundle = verified_bundle(lake.settings, lake.ledger.engine)
        mode = "batch" if context.job_name == "score_batch" else "stream"
        scored = resilient(
            context,
            lake,
            lambda: score_waiting(
                lake,
                bundle,
                model_version=serving.version,
                mode=mode,
                requested_by=context.run.tags.get("lab/user", "system:pipeline"),
                predicted_at_utc=datetime.now(UTC),
                again=mode == "batch",
            ),
        )
        told = {
            "model": f"{serving.model_name} {serving.version}",
            "model_digest": serving.digest,
            "scored": scored.predictions,
            **scored.paths,
        }
    context.log.info("scored: %s", told)
    yield from reports(context, lake, SCORED, extra={"ml.predictions": told})


@dg.multi_asset(
    specs=[
        table_spec("ml.drift", deps=["ml.predictions", "ml.training_sets"], kinds=POLARS),
        table_spec("ml.alerts", deps=["ml.drift", "ml.oos_risk"], kinds=POLARS),
    ],
    name="watching",
    op_tags={"lab/engine": "spark"},
)
def watching(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult]:
    """Hold recent inputs and predictions against what the model was calibrated on, and the alias against the ledger."""
    from lab_assets.registry.serving import current_serving, verified_bundle
    from lab_assets.stations.ml.drift import check_alias_moved, check_recent

    now = datetime.now(UTC)
    serving = current_serving(lake.ledger.engine)
    told: dict[str, Detail] = {"model": "none in service"}
    if serving is not None:
        bundle = verified_bundle(lake.settings, lake.ledger.engine)
        report = resilient(context, lake, lambda: check_recent(lake, bundle, model_version=serving.version, checked_at_utc=now))
        resilient(context, lake, lambda: check_alias_moved(lake, at_utc=now))
        told = {
            "drifted": list(report.drifted),
            "subjects": report.subjects,
            "rows": report.rows,
            "persistent": report.persistent,
            **({"reason": report.reason} if report.reason else {}),
        }
    context.log.info("drift: %s", told)
    yield from reports(context, lake, WATCHED, extra={"ml.drift": told})
