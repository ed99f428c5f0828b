"""The sensors: files wake ingestion, persistent drift wakes retraining.

Belongs here: looking and asking. Does not belong here: any state that could be lost; the ledger and Dagster's history are the
truth, and what the process remembers of the inbox only spares it questions.
"""

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dagster as dg

from lab_assets.orchestration.assets.bronze import PROGRESS_TAG, WAITING_TAG
from lab_assets.orchestration.jobs import INGEST, RETRAIN
from lab_assets.orchestration.private.run_launcher import end_lost_runs
from lab_assets.settings import get_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from lab_assets.ingest.inbox import InboxWatch

TRIGGER: Final = "lab/trigger"
"""Tag that says why a run was asked for."""
UNFINISHED_WORK: Final = "unfinished work"
"""Trigger of a run without files: an earlier one failed, or left something to a station."""
_FIRST_RETRY_S: Final = 5.0
_LONGEST_WITH_FILES_S: Final = 600.0
_LONGEST_S: Final = 3600.0
_COUNTED: Final = 12
"""Newest runs that are looked at: twelve doublings of the first wait are longer than the longest."""

_ENDED_BADLY: Final = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
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
_SPARE_S: Final = 0.8
"""A look that goes on ends so long before the daemon would begin the next one."""
_PAUSE_S: Final = 0.4
_TELL_AGAIN_S: Final = 600.0
"""Failed looks are kept for a year: a problem that lasts becomes one every ten minutes."""
_SHARE: Final = 0.1
"""Largest part of the time that is spent on looking: with many files known, pauses are longer."""


def active_runs(instance: dg.DagsterInstance, job: str) -> int:
    """Count runs of a job that wait or run."""
    return instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=_ACTIVE))


@lru_cache(maxsize=1)
def _watch(_inbox: Path, _database: str) -> "InboxWatch":
    """Return what this process remembers of the inbox between two looks."""
    from lab_assets.ingest.inbox_mark import watch_of

    return watch_of(get_settings())


_SAID: Final[dict[str, float]] = {}
"""When each problem of the inbox last became a failed look, monotonic seconds."""


def _tell(problem: str) -> dg.SkipReason:
    """Tell of a problem of the inbox: as a failed look when it is new and again after a while, in between as the reason of a skipped one.

    Raises:
        Failure: it has not become a failed look of late.
    """
    now = time.monotonic()
    if now - _SAID.get(problem, -math.inf) >= _TELL_AGAIN_S:
        _SAID.clear()
        _SAID[problem] = now
        raise dg.Failure(f"problem: {problem}")
    return dg.SkipReason(f"problem: {problem}")


@dg.sensor(
    job=INGEST,
    name="inbox",
    minimum_interval_seconds=max(1, get_settings().inbox_interval_s - _JITTER_S),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks at the drop folders and asks for one ingestion of all finished files, or to go on with what a run left undone.",
)
def inbox(context: dg.SensorEvaluationContext) -> dg.SkipReason | dg.RunRequest:
    """Ask for one run when finished files, an interrupted batch or work of a station wait and no ingestion is under way.

    Where nothing waits, it goes on looking until shortly before the daemon would ask again: a file is not left for the next look. The
    first look of a daemon, and one without a daemon, answers at once. A run that left files is followed by the next at once.

    Raises:
        Failure: the inbox, or a drop folder, cannot be looked at, and nothing else is to be done.
    """
    from lab_assets.state.database import open_database

    settings, began = get_settings(), time.monotonic()
    until_s = began + (0.0 if context.last_tick_completion_time is None else settings.inbox_interval_s - _SPARE_S)
    engine = open_database(settings)
    try:
        while True:
            looked = time.monotonic()
            answer, growing = _look(context.instance, engine)
            now, pause_s = time.monotonic(), max(_PAUSE_S, (time.monotonic() - looked) / _SHARE)
            if growing and until_s == began and settings.stable_s <= _WAIT_S:
                pause_s = settings.stable_s  # what landed a moment ago is finished then
                until_s = now + pause_s
            if not isinstance(answer, dg.SkipReason) or now + pause_s > until_s:
                return answer
            time.sleep(pause_s)
    finally:
        engine.dispose()


def _look(instance: dg.DagsterInstance, engine: "Engine") -> tuple[dg.SkipReason | dg.RunRequest, bool]:
    """Look once.

    Returns:
        The answer, and whether it may soon be another since something is still growing.
    """
    end_lost_runs(instance)
    if active := active_runs(instance, INGEST.name):
        return dg.SkipReason(f"{active} ingestion(s) under way; it takes waiting files as well"), False
    if left := _left_by_the_last(instance):
        return dg.RunRequest(tags={TRIGGER: "inbox", PROGRESS_TAG: left}), False
    return _look_for_work(instance, engine)


def _look_for_work(instance: dg.DagsterInstance, engine: "Engine") -> tuple[dg.SkipReason | dg.RunRequest, bool]:
    """Look for files, interrupted batches and work of stations; what is returned is that of ``_look``."""
    from lab_assets.ingest.candidates import InboxError, patience_of
    from lab_assets.state.ledger import Ledger
    from lab_assets.state.taken_paths import taken_paths
    from lab_assets.stations.all_stations import stations
    from lab_assets.stations.set_aside import waits_for_this_code

    settings, ledger = get_settings(), Ledger(engine)
    try:
        found = _watch(settings.inbox, settings.database_url).look(partial(taken_paths, engine), patience_of(settings))
    except InboxError as error:
        return _tell(str(error)), False
    unfinished = ledger.unfinished_batches()
    retried = ledger.waiting_arrivals()
    work = ledger.work_waits((*stations(), "ml.predictions")) or waits_for_this_code(ledger)
    waiting = len(found.ready) + len(found.refused)
    files = bool(waiting or unfinished or retried)
    attempts = _attempts(instance, files=files)
    if not files and not work and not attempts.failed:
        if found.problems:
            return _tell("; ".join(found.problems.values())), bool(found.growing)
        reason = f"{found.known} file(s) known, {found.growing} still growing, none newly finished"
        return dg.SkipReason(reason), bool(found.growing)
    if (left_s := attempts.next_s(time.time())) > 0:
        wanted = f"{waiting + retried} file(s) wait" if files else "work of an earlier run waits"
        reason = f"{wanted}; the last {attempts.number} run(s) did not finish it, tried again in {left_s:.0f} s"
        return dg.SkipReason(reason), bool(found.growing)
    tags = {TRIGGER: "inbox" if files else UNFINISHED_WORK, PROGRESS_TAG: str(waiting + retried)}
    if unfinished:
        tags["lab/resumes"] = ", ".join(f"batch {number}" for number, _ in unfinished)
    return dg.RunRequest(tags=tags), False


def _left_by_the_last(instance: dg.DagsterInstance) -> str:
    """Return how many files the newest ingestion left to the next; empty where it left none, or did not end well."""
    runs = instance.get_runs(dg.RunsFilter(job_name=INGEST.name), limit=1)
    return runs[0].tags.get(WAITING_TAG, "") if runs and runs[0].status is dg.DagsterRunStatus.SUCCESS else ""


@dataclass(frozen=True, kw_only=True)
class _Attempts:
    """The newest ingestions in a row that left their work undone.

    Attributes:
        number: How many.
        failed: Whether the newest of all failed or was ended.
        ended_s: When the newest ended, seconds since the epoch.
        longest_s: Longest time between two attempts, seconds.
    """

    number: int
    failed: bool
    ended_s: float
    longest_s: float

    def next_s(self, now_s: float) -> float:
        """Return the seconds until the next attempt, doubled with each one that failed; 0 or less is now."""
        if not self.number:
            return 0.0
        return self.ended_s + min(_FIRST_RETRY_S * 2 ** (self.number - 1), self.longest_s) - now_s


def _attempts(instance: dg.DagsterInstance, *, files: bool) -> _Attempts:
    """Read from Dagster's history how often the work was tried in vain.

    Args:
        instance: Whose history.
        files: Whether files wait. Then only failed runs count; without, also runs that were asked for the work and left it.
    """
    records = instance.get_run_records(dg.RunsFilter(job_name=INGEST.name), limit=_COUNTED)
    number = 0
    for record in records:
        if record.dagster_run.status not in _ENDED_BADLY and (files or record.dagster_run.tags.get(TRIGGER) != UNFINISHED_WORK):
            break
        number += 1
    failed = bool(records) and records[0].dagster_run.status in _ENDED_BADLY
    ended_s = (records[0].end_time or records[0].create_timestamp.timestamp()) if records else 0.0
    return _Attempts(number=number, failed=failed, ended_s=ended_s, longest_s=_LONGEST_WITH_FILES_S if files else _LONGEST_S)


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
    return dg.RunRequest(run_key=f"drift:{checks[0].check_id}", tags={TRIGGER: "persistent drift"})


SENSORS = (inbox, persistent_drift)
