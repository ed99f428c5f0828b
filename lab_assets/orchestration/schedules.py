"""The schedules: drift checks, maintenance and a part of the scrub each day, retraining each month, oversight and the scores' log each hour.

Belongs here: times. Does not belong here: what the jobs do.
"""

from collections.abc import Callable
from typing import Any, Final

import dagster as dg

from lab_assets.orchestration.jobs import CHECK_DRIFT, OVERSIGHT, RETRAIN, SCRUB
from lab_assets.orchestration.maintenance import MAINTAIN
from lab_assets.settings import get_settings

_HOUR: Final = "%Y-%m-%dT%H"
_DAY: Final = "%Y-%m-%d"
_MONTH: Final = "%Y-%m"
_LONG_LOG: Final = 1_000
"""Commits of the log of scores that are worth a run: a quarter of an hour of steady scoring."""

_Answer = dg.RunRequest | dg.SkipReason


def _scheduled(
    name: str, job: Any, *, cron: str, run: str, period: str, description: str, asked: Callable[[dg.RunRequest], _Answer] | None = None
) -> dg.ScheduleDefinition:
    """Declare a schedule with one run for each period; a tick fired again gives the same run key.

    Args:
        name: Name of the schedule.
        job: What it starts.
        cron: When, UTC.
        run: First part of the run's key.
        period: Format of the time that is the other part.
        description: For people.
        asked: Decides whether the run is worth it, and with which settings; without it, it always is.
    """

    def tick(context: dg.ScheduleEvaluationContext) -> _Answer:
        at = context.scheduled_execution_time.strftime(period)
        request = dg.RunRequest(run_key=f"{run}:{at}", tags={"lab/as_of": at, "lab/trigger": "schedule"})
        return asked(request) if asked else request

    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
        execution_fn=tick,
    )


def _where_the_log_is_long(request: dg.RunRequest) -> _Answer:
    from lab_assets.contracts.ml import ONLINE_LOG
    from lab_assets.lake.data_files import local_path, log_names
    from lab_assets.lake.opening import is_remote

    uri = get_settings().table_uri(ONLINE_LOG.layer, ONLINE_LOG.name)
    length = 0 if is_remote(uri) else len(log_names(local_path(uri)))
    if length < _LONG_LOG:
        return dg.SkipReason(f"the log of scores has {length} commits, fewer than {_LONG_LOG}")
    config = {"ops": {"maintain_tables": {"config": {"tables": [ONLINE_LOG.full_name]}}}}
    return dg.RunRequest(run_key=request.run_key, run_config=config, tags=request.tags)


daily_drift = _scheduled(
    "daily_drift", CHECK_DRIFT, cron="0 5 * * *", run="drift", period=_DAY, description="One drift check for each calendar day."
)
monthly_retraining = _scheduled(
    "monthly_retraining",
    RETRAIN,
    cron="0 3 1 * *",
    run="retrain",
    period=_MONTH,
    description="One retraining for each month, up to the gate.",
)
hourly_oversight = _scheduled(
    "hourly_oversight",
    OVERSIGHT,
    cron="20 * * * *",
    run="oversight",
    period=_HOUR,
    description="Every layer each hour, whether or not files came: what was left is made, and every table is held against its contract.",
)
daily_scrub = _scheduled(
    "daily_scrub",
    SCRUB,
    cron="0 2 * * *",
    run="scrub",
    period=_DAY,
    description="Part of the originals and tables against their recorded digests each day: all of them in LAB_SCRUB_DAYS.",
)
nightly_maintenance = _scheduled(
    "nightly_maintenance",
    MAINTAIN,
    cron="30 1 * * *",
    run="maintenance",
    period=_DAY,
    description="Small files are put together each night, before the scrub reads its part of them.",
)
hourly_score_log = _scheduled(
    "hourly_score_log",
    MAINTAIN,
    cron="50 * * * *",
    run="score_log",
    period=_HOUR,
    description="The log of scores, a commit a second, is put in order each hour in which it has grown long.",
    asked=_where_the_log_is_long,
)

SCHEDULES = (daily_drift, monthly_retraining, hourly_oversight, daily_scrub, nightly_maintenance, hourly_score_log)
