"""The schedules: drift checks and maintenance each day, retraining each month, oversight each hour, a scrub each week.

Belongs here: times. Does not belong here: what the jobs do.
"""

import dagster as dg

from lab_assets.orchestration.jobs import CHECK_DRIFT, OVERSIGHT, RETRAIN, SCRUB
from lab_assets.orchestration.maintenance import MAINTAIN


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
    cron_schedule="0 2 * * 0",
    execution_timezone="UTC",
    name="weekly_scrub",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def weekly_scrub(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One comparison of originals and tables with their recorded digests for each week."""
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
    """Small files put together each night, before the scrub reads them all."""
    day = context.scheduled_execution_time.date().isoformat()
    return dg.RunRequest(run_key=f"maintenance:{day}", tags={"lab/as_of": day, "lab/trigger": "schedule"})


SCHEDULES = (daily_drift, monthly_retraining, hourly_oversight, weekly_scrub, nightly_maintenance)
