"""The sensors: files wake ingestion, persistent drift wakes retraining.

Belongs here: looking and asking. Does not belong here: any state of its own; the ledger is the truth, so no cursor can be lost.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from lab_assets.orchestration.jobs import INGEST, RETRAIN
from lab_assets.settings import get_settings

_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
RETRAIN_COOL_DOWN_DAYS = 7
_JITTER_S: Final = 1
"""The daemon looks at its sensors every five seconds or a little less; an interval of five would be met at every second look."""
_WAIT_S: Final = 2.0


def active_runs(instance: dg.DagsterInstance, job: str) -> int:
    """Count runs of a job that wait or run."""
    return instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=_ACTIVE))


@dg.sensor(
    job=INGEST,
    name="inbox",
    minimum_interval_seconds=max(1, get_settings().inbox_interval_s - _JITTER_S),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks at the drop folders and asks for one ingestion of all finished files.",
)
def inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason | dg.RunRequest:
    """Ask for one run when finished files or an interrupted batch wait and no ingestion is under way."""
    from lab_assets.ingest.inbox import look, patience_of
    from lab_assets.state.database import open_database
    from lab_assets.state.ledger import Ledger

    if active := active_runs(context.instance, INGEST.name):
        return dg.SkipReason(f"{active} ingestion(s) under way; it takes waiting files as well")
    settings = get_settings()
    engine = open_database(settings)
    try:
        ledger = Ledger(engine)
        found = look(settings.inbox, ledger.taken_paths(), patience_of(settings))
        if found.growing and not found.ready and settings.stable_s <= _WAIT_S:
            time.sleep(settings.stable_s)  # what landed a moment ago is finished then; the next look would be later
            found = look(settings.inbox, ledger.taken_paths(), patience_of(settings))
        unfinished = ledger.unfinished_batches()
        retried = ledger.waiting_arrivals()
    finally:
        engine.dispose()
    waiting = len(found.ready) + len(found.refused)
    if not waiting and not unfinished and not retried:
        return dg.SkipReason(f"{found.known} file(s) known, {found.growing} still growing, none newly finished")
    return dg.RunRequest(
        tags={"lab/files": str(waiting + retried), "lab/interrupted_batches": str(len(unfinished)), "lab/trigger": "inbox"}
    )


@dg.sensor(
    job=RETRAIN,
    name="persistent_drift",
    minimum_interval_seconds=600,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for retraining when drift was found in two of the last three checks and in the newest, at most once a week.",
)
def persistent_drift(context: dg.SensorEvaluationContext) -> dg.SkipReason | dg.RunRequest:
    """Ask once for each newest check that completes a persistent drift, with a cool-down."""
    from lab_assets.stations.ml.drift_history import newest_checks

    checks = newest_checks(get_settings())
    if not checks or not checks[0].drifted or sum(check.drifted for check in checks[:3]) < 2:
        return dg.SkipReason("no persistent drift")
    since = datetime.now(UTC) - timedelta(days=RETRAIN_COOL_DOWN_DAYS)
    recent = context.instance.get_runs_count(dg.RunsFilter(job_name=RETRAIN.name, created_after=since))
    if recent:
        return dg.SkipReason(f"drift persists, but a retraining was asked for in the last {RETRAIN_COOL_DOWN_DAYS} days")
    return dg.RunRequest(run_key=f"drift:{checks[0].check_id}", tags={"lab/trigger": "persistent_drift"})


SENSORS = (inbox, persistent_drift)
