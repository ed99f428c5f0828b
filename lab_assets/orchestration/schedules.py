"""The schedules: drift checks, maintenance and a part of the scrub each day, retraining each month, oversight and the scores' log each hour.

Belongs here: times. Does not belong here: what the jobs do.
"""

import dagster as dg

from lab_assets.orchestration.jobs import CHECK_DRIFT, OVERSIGHT, RETRAIN, SCRUB
from lab_assets.orchestration.maintenance import MAINTAIN
from lab_assets.settings import get_settings


@dg.schedule(
    job=CHECK_DRIFT,
    cron_schedule="0 5 * * *",
    execution_timezone="UTC",
    name="daily_drift",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def daily_drift(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One drift check for each calendar day; a tick fired again gives the same run key."""
    day = context.scheduled_execution_time.date().isoformat()
    return dg.RunRequest(run_key=f"drift:{day}", tags={"lab/as_of": day, "lab/trigger": "schedule"})


@dg.schedule(
    job=RETRAIN,
    cron_schedule="0 3 1 * *",
    execution_timezone="UTC",
    name="monthly_retraining",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def monthly_retraining(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One retraining for each month, ending at the gate."""
    month = context.scheduled_execution_time.strftime("%Y-%m")
    return dg.RunRequest(run_key=f"retrain:{month}", tags={"lab/as_of": month, "lab/trigger": "schedule"})


@dg.schedule(
    job=OVERSIGHT,
    cron_schedule="20 * * * *",
    execution_timezone="UTC",
    name="hourly_oversight",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def hourly_oversight(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every layer each hour, whether or not files arrived: what was left is made, and every table is held against its contract."""
    hour = context.scheduled_execution_time.strftime("%Y-%m-%dT%H")
    return dg.RunRequest(run_key=f"oversight:{hour}", tags={"lab/as_of": hour, "lab/trigger": "schedule"})


@dg.schedule(
    job=SCRUB,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    name="daily_scrub",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def daily_scrub(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Part of the originals and tables against their recorded digests each day: all of them in ``LAB_SCRUB_DAYS``."""
    day = context.scheduled_execution_time.date().isoformat()
    return dg.RunRequest(run_key=f"scrub:{day}", tags={"lab/as_of": day, "lab/trigger": "schedule"})


@dg.schedule(
    job=MAINTAIN,
    cron_schedule="30 1 * * *",
    execution_timezone="UTC",
    name="nightly_maintenance",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly_maintenance(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Small files put together each night, before the scrub reads its part of them."""
    day = context.scheduled_execution_time.date().isoformat()
    return dg.RunRequest(run_key=f"maintenance:{day}", tags={"lab/as_of": day, "lab/trigger": "schedule"})


_LONG_LOG = 1_000
"""Commits of the log of scores that are worth a run: a quarter of an hour of steady scoring."""


@dg.schedule(
    job=MAINTAIN,
    cron_schedule="50 * * * *",
    execution_timezone="UTC",
    name="hourly_score_log",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def hourly_score_log(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """The log of scores, a commit a second, is put in order each hour in which it has grown long."""
    from lab_assets.contracts.ml import ONLINE_LOG
    from lab_assets.lake.data_files import local_path, log_names
    from lab_assets.lake.opening import is_remote

    uri = get_settings().table_uri(ONLINE_LOG.layer, ONLINE_LOG.name)
    length = 0 if is_remote(uri) else len(log_names(local_path(uri)))
    if length < _LONG_LOG:
        return dg.SkipReason(f"the log of scores has {length} commits, fewer than {_LONG_LOG}")
    hour = context.scheduled_execution_time.strftime("%Y-%m-%dT%H")
    config = {"ops": {"maintain_tables": {"config": {"tables": [ONLINE_LOG.full_name]}}}}
    return dg.RunRequest(run_key=f"score_log:{hour}", run_config=config, tags={"lab/trigger": "schedule"})


SCHEDULES = (daily_drift, monthly_retraining, hourly_oversight, daily_scrub, nightly_maintenance, hourly_score_log)
