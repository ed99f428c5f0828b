"""Runs begun by a fork of a warm process: real runs of a small graph in Dagster's own storage."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, DefaultRunLauncher
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin

from lab_assets.ops.dagster_home import dagster_instance
from lab_assets.orchestration.private.run_launcher import LAUNCHER_TAG, PROCESS_TAG, LocalRunLauncher, end_lost_runs
from lab_assets.orchestration.private.run_processes import RunProcesses
from lab_assets.settings import Settings
from lab_assets_tests.orchestration import small_graph

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterInstance]:
    """Dagster's instance of a home; its launcher's warm process serves all tests, as it serves a daemon."""
    with dagster_instance(Settings(home=tmp_path_factory.mktemp("runs"))) as opened:
        yield opened


def launched(instance: DagsterInstance, **tags: str) -> DagsterRun:
    """Launch the small graph's job as the daemon does."""
    origin = ReconstructableRepository.for_module("lab_assets_tests.orchestration.small_graph", "defs").get_reconstructable_job("ingest")
    job = small_graph.build_defs().resolve_job_def("ingest")
    run = instance.create_run_for_job(job, job_code_origin=origin.get_python_origin(), tags=tags)
    note_starting(instance, run)
    instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
    return run


def starting(instance: DagsterInstance, **tags: str) -> DagsterRun:
    """Record a run as the daemon does before its launcher is asked."""
    job = small_graph.build_defs().resolve_job_def("ingest")
    run = instance.create_run_for_job(job, tags=tags)
    note_starting(instance, run)
    return run


def note_starting(instance: DagsterInstance, run: DagsterRun) -> None:
    """Tell that a run is launched, as Dagster does before it asks the launcher."""
    event = DagsterEvent(event_type_value=DagsterEventType.PIPELINE_STARTING.value, job_name=run.job_name)
    instance.report_dagster_event(event, run_id=run.run_id)


def stopped_while_starting(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> DagsterRun:
    """Launch a run whose process is stopped as soon as there is one."""
    begin = RunProcesses.begin

    def begin_and_stop(processes: RunProcesses, arguments: str) -> int:
        process = begin(processes, arguments)
        psutil.Process(process).suspend()
        return process

    with monkeypatch.context() as patched:
        patched.setattr(RunProcesses, "begin", begin_and_stop)
        return launched(instance)


def status_of(instance: DagsterInstance, run: DagsterRun) -> DagsterRunStatus:
    """The status a run has now."""
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def wait_for(condition: Callable[[], bool], timeout_s: float = 150.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s"
        time.sleep(0.1)


def process_of(instance: DagsterInstance, run: DagsterRun) -> int:
    """The process that the run's tag names."""
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return int(found.tags[PROCESS_TAG].partition("@")[0])


def test_a_run_of_another_hosts_location_is_left_to_its_server(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its interpreter has the path that ours has, as in two containers of one image."""
    asked: list[str] = []
    monkeypatch.setattr(DefaultRunLauncher, "launch_run", lambda _self, context: asked.append(context.dagster_run.run_id))
    origin = ReconstructableRepository.for_module("lab_assets_tests.orchestration.small_graph", "defs").get_reconstructable_job("ingest")
    job = small_graph.build_defs().resolve_job_def("ingest")
    location = GrpcServerCodeLocationOrigin(host="10.0.0.9", port=4000, location_name="there")
    remote = RemoteRepositoryOrigin(location, "__repository__").get_job_origin("ingest")
    run = instance.create_run_for_job(job, job_code_origin=origin.get_python_origin(), remote_job_origin=remote)
    instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
    found = instance.get_run_by_id(run.run_id)
    assert (asked, found is not None and PROCESS_TAG in found.tags) == ([run.run_id], False)


def test_each_run_has_a_process_of_its_own_forked_from_one(instance: DagsterInstance) -> None:
    assert isinstance(instance.run_launcher, LocalRunLauncher)
    waiting = {"test/wait_s": "3"}
    runs = [launched(instance, **waiting), launched(instance, **waiting)]
    processes = [process_of(instance, run) for run in runs]
    parents = {psutil.Process(process).ppid() for process in processes}
    wait_for(lambda: all(status_of(instance, run) is DagsterRunStatus.SUCCESS for run in runs))
    assert len(set(processes)) == 2
    assert len(parents) == 1
    wait_for(lambda: not any(map(psutil.pid_exists, processes)))  # nothing is left of them, not even a zombie


def test_a_run_that_fails_is_told_as_failed(instance: DagsterInstance) -> None:
    run = launched(instance, **{"test/fail": "1"})
    wait_for(lambda: status_of(instance, run) is DagsterRunStatus.FAILURE)


def test_a_run_can_be_canceled(instance: DagsterInstance) -> None:
    run = launched(instance, **{"test/wait_s": "100"})
    wait_for(lambda: status_of(instance, run) is DagsterRunStatus.STARTED)
    assert instance.run_launcher.terminate(run.run_id)
    wait_for(lambda: status_of(instance, run) is DagsterRunStatus.CANCELED)
    wait_for(lambda: not psutil.pid_exists(process_of(instance, run)))


def test_a_run_whose_process_was_killed_can_be_canceled(instance: DagsterInstance) -> None:
    run = launched(instance, **{"test/wait_s": "100"})
    wait_for(lambda: status_of(instance, run) is DagsterRunStatus.STARTED)
    psutil.Process(process_of(instance, run)).kill()
    wait_for(lambda: not psutil.pid_exists(process_of(instance, run)))
    assert instance.run_launcher.terminate(run.run_id)
    assert status_of(instance, run) is DagsterRunStatus.CANCELED


def test_a_killed_warm_process_is_started_again(instance: DagsterInstance) -> None:
    first = launched(instance, **{"test/wait_s": "2"})
    warm = psutil.Process(process_of(instance, first)).parent()
    assert warm is not None
    warm.kill()
    warm.wait(timeout=10)
    second = launched(instance)
    wait_for(lambda: all(status_of(instance, run) is DagsterRunStatus.SUCCESS for run in (first, second)))


def test_a_run_killed_before_it_began_is_seen_at_once(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process is stopped before it begins, as on a busy machine, and killed; another that only takes its time is left alone."""
    runs = [stopped_while_starting(instance, monkeypatch) for _ in range(2)]
    killed, slow = (psutil.Process(process_of(instance, run)) for run in runs)
    assert end_lost_runs(instance) == {}
    killed.kill()
    wait_for(lambda: not psutil.pid_exists(killed.pid))
    assert end_lost_runs(instance) == {runs[0].run_id: f"its process {killed.pid} was killed, or lost with the machine, before it began"}
    assert [status_of(instance, run) for run in runs] == [DagsterRunStatus.FAILURE, DagsterRunStatus.STARTING]
    slow.resume()
    wait_for(lambda: status_of(instance, runs[1]) is DagsterRunStatus.SUCCESS)


def test_a_run_whose_launcher_died_before_it_named_a_process_is_ended(instance: DagsterInstance) -> None:
    child = subprocess.Popen(["sleep", "60"])
    launcher = f"{child.pid}@{psutil.Process(child.pid).create_time()}"
    run = starting(instance)
    instance.add_run_tags(run.run_id, {LAUNCHER_TAG: f"{launcher}@{run.run_id}"})
    assert end_lost_runs(instance) == {}
    child.kill()
    child.wait()
    assert end_lost_runs(instance) == {run.run_id: f"the process {child.pid} that launched it died meanwhile"}
    assert status_of(instance, run) is DagsterRunStatus.FAILURE


@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED])
def test_a_run_of_a_killed_command_is_ended_by_the_next(instance: DagsterInstance, status: DagsterRunStatus) -> None:
    """A command runs its job in its own process; a run that is tried again has the tags of the first, and lives."""
    command = subprocess.Popen(["sleep", "60"])
    job = small_graph.build_defs().resolve_job_def("ingest")
    run = instance.create_run_for_job(job, status=status)
    named = {PROCESS_TAG: f"{command.pid}@{psutil.Process(command.pid).create_time()}@{run.run_id}"}
    instance.add_run_tags(run.run_id, named)
    again = instance.create_run_for_job(job, status=status, tags=named)
    assert end_lost_runs(instance) == {}
    command.kill()
    command.wait()
    (lost,) = end_lost_runs(instance).items()
    assert lost[0] == run.run_id
    assert lost[1].startswith(f"its process {command.pid} was killed, or lost with the machine")
    assert [status_of(instance, each) for each in (run, again)] == [DagsterRunStatus.FAILURE, status]


def test_the_warm_process_ends_with_the_one_that_started_it() -> None:
    program = (
        "from lab_assets.orchestration.private.run_processes import RunProcesses\n"
        "runs = RunProcesses(); runs.begin('no arguments'); print(runs._warm.pid, flush=True)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    wait_for(lambda: not psutil.pid_exists(int(answer.stdout)), timeout_s=20)


def test_what_is_imported_ahead_starts_no_threads_that_a_fork_would_miss() -> None:
    """Arrow's allocator has a thread that it looks after itself when the process forks."""
    program = (
        "import importlib, pathlib; from lab_assets.orchestration.private.run_processes import PRELOADED\n"
        "for name in PRELOADED: importlib.import_module(name)\n"
        "print(sorted({(task / 'comm').read_text().strip() for task in pathlib.Path('/proc/self/task').iterdir() if task.name != str(__import__('os').getpid())}))"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    answer = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert answer.stdout.strip() in {"['jemalloc_bg_thd']", "[]"}
