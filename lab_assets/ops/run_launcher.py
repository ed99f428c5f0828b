"""Launching runs so that one whose process died is noticed, whoever was to look after it.

Belongs here: telling a living run from a dead one. Does not belong here: what is done about it (Dagster's monitoring, set in
``dagster.yaml``). Imported by Dagster alone, by its name in ``dagster.yaml``.

Dagster's own launcher leaves that to the code server that began the run. When both are gone, as after a power cut, the run would
count as started until its longest time is over, and nothing would be ingested meanwhile. Written for one machine; a cluster's run
launcher asks its scheduler instead.
"""

from __future__ import annotations

import psutil
from dagster import DagsterEventType, DagsterRun, DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus  # what every launcher outside of Dagster imports too

_CLOCK_TOLERANCE_S = 2.0


class LocalRunLauncher(DefaultRunLauncher):
    """Runs as processes of this machine, found alive or dead by the process that began them."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether runs can be asked after."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Tell whether the process of a started run lives."""
        told = self._instance.get_records_for_run(run.run_id, of_type=DagsterEventType.RUN_START, limit=1).records
        event = told[0].event_log_entry if told else None
        pid = None if event is None or event.dagster_event is None else event.dagster_event.pid
        if event is None or pid is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, msg="the run did not tell its process; its longest time holds")
        if _lives(pid, since_s=event.timestamp):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, msg=f"its process {pid} is gone, killed or lost with the machine")


def _lives(pid: int, *, since_s: float) -> bool:
    """Return whether a process lives that has had this number since a time; a later process with the same number is another."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= since_s + _CLOCK_TOLERANCE_S
    except psutil.NoSuchProcess:
        return False
