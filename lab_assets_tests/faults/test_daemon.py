"""Case 21: the daemon, the code server and the process of a started run are killed: the run is found dead, and its work is finished."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from filelock import FileLock

from lab_assets.contracts.bronze import CHROMATOGRAMS, FILES, VENDOR_PEAKS
from lab_assets.ops.components import Component, code_socket, components
from lab_assets.ops.dagster_home import prepare_home, write_workspace
from lab_assets.ops.processes import UpState, start, stop
from lab_assets.ops.startup import prepare
from lab_assets.settings import PROJECT_ROOT
from lab_assets.stations.quality import reconciliation
from lab_assets_tests.faults.ingestion import Plant, plant_at, run_of

pytestmark = [pytest.mark.spark, pytest.mark.timeout(400)]

POLL_S = 3


@pytest.fixture
def plant(tmp_path: Path, spark_url: str) -> Iterator[Plant]:
    """A home with one file, whose Dagster looks after its runs every few seconds; its processes are ended with it."""
    plant = plant_at(tmp_path / "lab", spark_remote=spark_url, inbox_interval_s=1)
    prepare(plant.settings)
    template = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    template["run_monitoring"]["poll_interval_seconds"] = POLL_S
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(template))
    prepare_home(plant.settings, template=tmp_path / "dagster.yaml")
    plant.drop("a.txt", run_of("S-1"))
    yield plant
    stop(plant.settings)


def bring_up(plant: Plant, socket: Path) -> UpState:
    """Start the code server and the daemon, as ``lab up`` does among others."""
    write_workspace(plant.settings, socket)
    wanted: list[Component] = [
        each for each in components(plant.settings, socket_path=socket) if each.name in {"dagster-code", "dagster-daemon"}
    ]
    return start(plant.settings, wanted, socket=socket, spark=False)


def wait_for(what: str, condition: Callable[[], object], timeout_s: float) -> None:
    """Wait until something holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + timeout_s, f"{what} did not come within {timeout_s:.0f} s"
        time.sleep(0.2)


def started(instance: DagsterInstance) -> DagsterRun | None:
    """The ingestion that runs, if any."""
    runs = instance.get_runs(RunsFilter(job_name="ingest", statuses=[DagsterRunStatus.STARTED]))
    return runs[0] if runs else None


def process_of(instance: DagsterInstance, run: DagsterRun) -> int:
    """The process that began a run."""
    (record,) = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.RUN_START).records
    event = record.event_log_entry.dagster_event
    assert event is not None
    assert event.pid is not None
    return event.pid


def test_a_killed_daemon_and_run_leave_nothing_stuck(plant: Plant) -> None:
    """Case 21: killed with the traces committed and the list of files not; found dead within the monitor time, finished by the next run."""
    socket = code_socket(plant.settings)
    locks = plant.settings.run / "locks"
    locks.mkdir(exist_ok=True)
    with DagsterInstance.from_config(str(plant.settings.home / "dagster")) as instance:
        with FileLock(locks / f"{FILES.full_name}.lock"):  # the run waits here, with half of the batch committed
            up = bring_up(plant, socket)
            wait_for("half a batch", lambda: plant.lake.row_count(VENDOR_PEAKS) == 2 and started(instance), 150)
            run = started(instance)
            assert run is not None
            victims = [process_of(instance, run), *(each.pid for each in up.processes)]
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            wait_for("the end of the killed", lambda: not any(map(alive, victims)), 20)
        assert instance.get_run_by_id(run.run_id).status == DagsterRunStatus.STARTED  # type: ignore[union-attr]  # it is there
        assert [state for _, state in plant.lake.ledger.unfinished_batches()] == ["staged"]

        bring_up(plant, socket)
        wait_for("the end of the dead run", lambda: instance.get_run_by_id(run.run_id).is_finished, POLL_S + 30)  # type: ignore[union-attr]
        (answer,) = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.RUN_FAILURE).records
        assert answer.event_log_entry.dagster_event is not None
        assert f"its process {victims[0]} is gone" in (answer.event_log_entry.dagster_event.message or "")
        wait_for("the batch", lambda: plant.lake.ledger.unfinished_batches() == [], 120)
        assert {each.run_id for each in instance.get_runs(RunsFilter(job_name="ingest"))} > {run.run_id}
    lake = plant.lake
    assert plant.states() == {"hplc/a.txt": "committed"}
    assert (lake.row_count(FILES), lake.row_count(CHROMATOGRAMS), lake.row_count(VENDOR_PEAKS)) == (1, 2, 2)
    assert reconciliation(lake) == {}


def alive(pid: int) -> bool:
    """Return whether a process lives."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
