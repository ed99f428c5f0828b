"""Launching runs at once, and noticing those whose process died, whoever was to look after them.

Belongs here: beginning a run, finding out whether one lives, ending one. Does not belong here: the processes themselves
(``run_processes.py``), what is done about a dead run (Dagster's monitoring, set in ``dagster.yaml``). Imported by Dagster alone, by its
name in ``dagster.yaml``.

Dagster's own launcher asks the code server for a run, which begins a new interpreter, and leaves it to that server whether the run
lives. When both are gone, as after a power cut, the run would count as started until its longest time is over, and nothing would be
ingested meanwhile. Written for one machine; a cluster's run launcher asks its scheduler instead.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

import psutil
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, DefaultRunLauncher, RunsFilter
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus  # what every launcher imports
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import serialize_value

from lab_assets.orchestration.private.run_database import PROCESS_TAG, named_process
from lab_assets.orchestration.private.run_processes import RunProcesses

if TYPE_CHECKING:
    from dagster._serdes import ConfigurableClassData

LAUNCHER_TAG: Final = ".dagster/lab_launcher"
"""The same of the process that launches a run: between the two tags, the run's own process is known to that one alone."""

_UNFINISHED: Final = [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_CLOCK_TOLERANCE_S: Final = 2.0


class LocalRunLauncher(DefaultRunLauncher):
    """Runs as processes of this machine, begun by a fork and found alive or dead by their number and age."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._processes = RunProcesses()

    def launch_run(self, context: LaunchRunContext) -> None:
        """Begin a run of this interpreter's code in a forked process; any other as Dagster does, which asks the location's own server."""
        run, origin = context.dagster_run, context.job_code_origin
        if origin is None or origin.executable_path != sys.executable or not _is_here(run):
            super().launch_run(context)
            return
        arguments = ExecuteRunArgs(job_origin=origin, run_id=run.run_id, instance_ref=self._instance.get_ref())
        self._instance.add_run_tags(run.run_id, {LAUNCHER_TAG: _named(os.getpid(), run.run_id)})
        process = self._processes.begin(serialize_value(arguments))
        self._instance.add_run_tags(run.run_id, {PROCESS_TAG: _named(process, run.run_id)})
        self._run_ids.add(run.run_id)

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run that was begun here; a run whose process is gone is canceled by saying so."""
        run = self._instance.get_run_by_id(run_id)
        named = "" if run is None else _own(run, PROCESS_TAG)
        if run is None or run.is_finished or not named:
            return bool(super().terminate(run_id))
        self._instance.report_run_canceling(run)
        process = _process(named)
        if process is None:
            self._instance.report_run_canceled(run, message=f"Its process {_number(named)} is gone.")
        else:
            process.send_signal(signal.SIGINT)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether runs can be asked after."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Tell whether the process of a started run lives."""
        records = self._instance.get_records_for_run(run.run_id, of_type=DagsterEventType.RUN_START, limit=1).records
        event = records[0].event_log_entry if records else None
        pid = None if event is None or event.dagster_event is None else event.dagster_event.pid
        if event is None or pid is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, msg="the run did not name its process; its time limit holds")
        if _lives(pid, since_s=event.timestamp):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, msg=f"its process {pid} is gone, killed or lost with the machine")


def _is_here(run: DagsterRun) -> bool:
    """Return whether the code server of a run's location is on this machine: the same interpreter's path on another host is no proof."""
    if run.remote_job_origin is None:
        return True
    location = run.remote_job_origin.repository_origin.code_location_origin
    host = location.host if isinstance(location, GrpcServerCodeLocationOrigin) and location.socket is None else _LOOPBACK[0]
    return host in _LOOPBACK


def end_lost_runs(instance: DagsterInstance) -> dict[str, str]:
    """Mark runs as failed whose process died.

    Dagster's daemon asks after runs that have begun (``check_run_worker_health``), while there is one, and waits minutes for a run that was
    only launched; what it holds back meanwhile waits as well. Dagster's own retries launch a launched run again that is marked so.

    Args:
        instance: Whose runs.

    Returns:
        What happened, by run.
    """
    lost: dict[str, str] = {}
    for run in instance.get_runs(RunsFilter(statuses=_UNFINISHED)):
        if not (problem := _lost(run)):
            continue
        now = instance.get_run_by_id(run.run_id)
        if now is not None and now.status is run.status:  # it may have begun, and ended, since the list was made
            instance.report_run_failed(now, problem)
            lost[run.run_id] = problem
    return lost


def this_process(run_id: str) -> dict[str, str]:
    """Return the tag of a run that goes on in this process itself."""
    return {PROCESS_TAG: _named(os.getpid(), run_id)}


def _own(run: DagsterRun, tag: str) -> str:
    """Return the process that a tag of a run names; empty where the tag was that of the run before it."""
    return named_process(run.tags.get(tag, ""), run.run_id)


def _lost(run: DagsterRun) -> str:
    """Return why a run will never begin, or end; empty while its process lives, or may still come."""
    own, launcher = _own(run, PROCESS_TAG), _own(run, LAUNCHER_TAG)
    if own:
        before = "" if run.status is DagsterRunStatus.STARTED else ", before it began"
        return "" if _process(own) else f"its process {_number(own)} was killed, or lost with the machine{before}"
    if launcher and _process(launcher) is None:
        return f"the process {_number(launcher)} that launched it died meanwhile"
    return ""


def _number(named: str) -> int:
    """Return the number of a process out of its name in a tag."""
    return int(named.partition("@")[0])


def _named(pid: int, run_id: str) -> str:
    """Return a process's number, its time of creation and its run; a process that has ended already has no such time."""
    try:
        return f"{pid}@{psutil.Process(pid).create_time()}@{run_id}"
    except psutil.NoSuchProcess:
        return f"{pid}@0@{run_id}"


def _process(named: str) -> psutil.Process | None:
    """Return the process that a tag names while it lives; ``None`` for a dead one or another that got the number."""
    try:
        process = psutil.Process(_number(named))
        same = abs(process.create_time() - float(named.partition("@")[2])) <= _CLOCK_TOLERANCE_S
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _lives(pid: int, *, since_s: float) -> bool:
    """Return whether a process lives that has had this number since a time; a later process with the same number is another."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= since_s + _CLOCK_TOLERANCE_S
    except psutil.NoSuchProcess:
        return False
