"""Predictions with decisions and explanations, and the watch over the model."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from lab_assets.contracts.all_contracts import contract
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.reports import (
    TOWARDS_A_SCORE,
    Detail,
    check_results,
    check_spec,
    report,
    resilient,
    selected,
    table_spec,
)

if TYPE_CHECKING:
    from lab_assets.modeling.bundle import ModelBundle

SCORED = ("ml.predictions", "ml.decisions", "ml.explanations")
WATCHED = ("ml.drift", "ml.alerts")
FEATURES = ("features.injection_progress", "features.instrument_history", "features.lot_history", "features.storage_exposure")
LIGHTGBM = ("lightgbm", "deltalake")

ONLINE_LOG = table_spec("ml.online_log", kinds=("fastapi", "deltalake"))
"""Written by the service; part of the graph so that it shows where online predictions come from."""


class ScoringConfig(dg.Config):
    """Which runs are scored."""

    everything: bool = False
    """Look at every run, not only at those whose features are new or have changed."""


@dg.multi_asset(
    specs=[
        table_spec(
            "ml.predictions", deps=[*FEATURES, "silver.injections", "bronze.chromatograms", "ml.oos_risk", "ml.online_log"], kinds=LIGHTGBM
        ),
        table_spec("ml.decisions", deps=["ml.predictions"], kinds=LIGHTGBM),
        table_spec("ml.explanations", deps=["ml.predictions"], kinds=LIGHTGBM),
    ],
    check_specs=[check_spec(name) for name in SCORED],
    name="scoring",
    can_subset=True,
    op_tags=TOWARDS_A_SCORE,
)
def scoring(
    context: dg.AssetExecutionContext, config: ScoringConfig, lake: dg.ResourceParam[Lakehouse]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Score what has new or changed features by the serving model; fold the service's online predictions in."""
    chosen = selected(context, SCORED)
    if chosen:
        before = {name: lake.version(contract(name)) for name in chosen}
        done = score_news(context, config, lake)
        context.log.info("scored: %s", done)
        for name in chosen:
            yield report(lake, name, before[name], done if name == "ml.predictions" else None)
    yield from check_results(context, lake, SCORED)


def score_news(context: dg.AssetExecutionContext, config: ScoringConfig, lake: Lakehouse) -> dict[str, Detail]:
    """Fold online predictions in, score what is new or has changed, and return what was done, for the report."""
    from lab_assets.registry.serving import current_serving, verified_bundle
    from lab_assets.stations.ml.online import fold_online_log
    from lab_assets.stations.ml.predictions import Scoring, score_waiting

    resilient(context, lake, lambda: fold_online_log(lake, run_id=context.run_id))
    serving = current_serving(lake.ledger.engine)
    if serving is None:
        return {
            "model": "none in service: train, submit, approve and promote one",
            "news": "no news: no model is in service that could score",
        }
    bundle = verified_bundle(lake.settings, lake.ledger.engine)
    mode = "batch" if context.job_name == "score_batch" else "stream"
    scoring = Scoring(
        model_version=serving.version,
        mode=mode,
        requested_by=context.run.tags.get("lab/user", "system:pipeline"),
        predicted_at_utc=datetime.now(UTC),
        run_id=context.run_id,
    )
    done = resilient(context, lake, lambda: score_waiting(lake, bundle, scoring, everything=config.everything or mode == "batch"))
    if done.reason:
        context.log.warning("%s", done.reason)
    found: dict[str, Detail] = {
        "model": f"{serving.model_name} {serving.version}",
        "model_digest": serving.digest,
        "scored": done.predictions,
        "superseded": done.superseded,
        "ended": done.ended,
        "waiting_for_context": done.waiting,
        "set_aside": done.set_aside,
        **done.paths,
        "news": done.words(),
    }
    return found | ({"reason": done.reason} if done.reason else {})


@dg.multi_asset(
    specs=[
        table_spec("ml.drift", deps=["ml.predictions", "ml.training_sets"]),
        table_spec("ml.alerts", deps=["ml.drift", "ml.oos_risk"]),
    ],
    check_specs=[check_spec(name) for name in WATCHED],
    name="watching",
    can_subset=True,
)
def watching(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lakehouse]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Hold recent inputs and predictions against what the model was calibrated on, and the alias against the ledger."""
    chosen = selected(context, WATCHED)
    if chosen:
        before = {name: lake.version(contract(name)) for name in chosen}
        done = _watch(context, lake, chosen)
        context.log.info("watched: %s", done)
        for name in chosen:
            yield report(lake, name, before[name], done[name])
    yield from check_results(context, lake, WATCHED)


def _watch(context: dg.AssetExecutionContext, lake: Lakehouse, chosen: list[str]) -> dict[str, dict[str, Detail]]:
    """Write the chosen tables and no other: alerts alone are those of the newest check that stands."""
    from lab_assets.registry.serving import current_serving, verified_bundle

    now = datetime.now(UTC)
    serving = current_serving(lake.ledger.engine)
    if serving is None:
        return {name: {"model": "none in service", "news": "no news: nothing to watch without a model in service"} for name in chosen}
    bundle = verified_bundle(lake.settings, lake.ledger.engine)
    done: dict[str, dict[str, Detail]] = {}
    if "ml.drift" in chosen:
        done["ml.drift"] = _check(context, lake, bundle, serving.version, now)
    if "ml.alerts" in chosen:
        done["ml.alerts"] = _raise_alerts(context, lake, bundle, serving.version, now)
    return done


def _check(
    context: dg.AssetExecutionContext, lake: Lakehouse, bundle: "ModelBundle", model_version: str, now: datetime
) -> dict[str, Detail]:
    from lab_assets.stations.ml.drift_checks import check_recent

    found = resilient(
        context, lake, lambda: check_recent(lake, bundle, model_version=model_version, checked_at_utc=now, run_id=context.run_id)
    )
    if found.is_new:
        news = f"{found.rows} recent prediction(s) compared, {len(found.drifted)} of {found.subjects} subject(s) drifted"
    else:
        news = f"no news: {found.reason or f'the same rows were compared before, in check {found.check_id}'}"
    return {
        "news": news,
        "check_id": found.check_id,
        "drifted": list(found.drifted),
        "subjects": found.subjects,
        "recent_rows": found.rows,
        "persistent": found.persistent,
    }


def _raise_alerts(
    context: dg.AssetExecutionContext, lake: Lakehouse, bundle: "ModelBundle", model_version: str, now: datetime
) -> dict[str, Detail]:
    from lab_assets.stations.ml.drift_checks import check_alias_moved, check_feature_set, raise_drift_alert

    raised = resilient(context, lake, lambda: raise_drift_alert(lake, model_version=model_version, at_utc=now, run_id=context.run_id))
    moved = resilient(context, lake, lambda: check_alias_moved(lake, at_utc=now))
    unscored = resilient(context, lake, lambda: check_feature_set(lake, bundle, model_version=model_version, at_utc=now))
    words = [*(["the newest check found drift"] if raised else []), *(["the champion alias had been moved"] if moved else [])]
    return {
        "news": f"raised: {', '.join(words)}" if words else "no news: nothing to raise that was not raised before",
        **({"unscored": unscored} if unscored else {}),
    }
