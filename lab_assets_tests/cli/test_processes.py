"""Starting, watching and ending processes: small real ones, and once the whole laboratory."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from lab_assets.fault_kinds import EnvironmentFaultError
from lab_assets.ops.components import Component, code_socket, components
from lab_assets.ops.dagster_home import dagster_instance, located
from lab_assets.ops.environment import stated_settings
from lab_assets.ops.jobs import quiet, run_job
from lab_assets.ops.processes import ProcessError, alone, marked, read_state, start, stop
from lab_assets.ops.startup import bring_up
from lab_assets.ops.status import lab_status
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets_tests.cli.ports import free_port
from lab_assets_tests.orchestration import small_graph

_CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)"


@pytest.fixture
def home(settings: Settings) -> Iterator[Settings]:
    """A home whose processes are ended whatever the test did."""
    settings.run.mkdir(parents=True)
    yield settings
    stop(settings)


def web(name: str = "web", port: int | None = None) -> Component:
    """A web server that also starts a child which detaches itself."""
    chosen = port or free_port()
    program = (
        f"{_CHILD}; import http.server as h; h.ThreadingHTTPServer(('127.0.0.1', {chosen}), h.SimpleHTTPRequestHandler).serve_forever()"
    )
    command = (sys.executable, "-c", program)
    return Component(name=name, command=command, port=chosen, port_setting="LAB_WEB_PORT", health="/", address=f"http://127.0.0.1:{chosen}")


def started(settings: Settings, *wanted: Component) -> list[int]:
    state = start(settings, wanted, socket=settings.run / "none.sock", spark=False)
    return [each.pid for each in state.processes]


def test_what_is_started_answers_and_is_ended_with_detached_descendants(home: Settings) -> None:
    (pid,) = started(home, web())
    state = read_state(home)
    assert state is not None
    family = {process.pid for process in marked(state.mark)}
    assert len(family) == 2
    assert pid in family
    assert stop(home) == ["web"]
    assert marked(state.mark) == []
    assert not any(psutil.pid_exists(member) and psutil.Process(member).status() != psutil.STATUS_ZOMBIE for member in family)
    assert (stop(home), read_state(home)) == ([], None)


def test_orphans_of_a_killed_process_are_found_by_their_mark(home: Settings) -> None:
    (pid,) = started(home, web())
    state = read_state(home)
    assert state is not None
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    assert len(marked(state.mark)) == 1
    stop(home)
    assert marked(state.mark) == []


def test_starting_again_keeps_what_runs_and_adds_what_is_missing(home: Settings) -> None:
    first, second = web("first"), web("second")
    pids = started(home, first, second)
    assert started(home, first, second) == pids
    os.kill(pids[1], signal.SIGKILL)
    psutil.Process(pids[1]).wait(timeout=5)
    again = started(home, first, second)
    assert again[0] == pids[0]
    assert again[1] != pids[1]


def test_a_busy_port_is_named_and_nothing_is_started(home: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EnvironmentFaultError, match=rf"port {port} of web by .*set LAB_WEB_PORT"):
            started(home, web("free"), web(port=port))
    assert read_state(home) is None


def test_when_one_ends_at_once_its_last_words_are_told_and_the_others_end(home: Settings) -> None:
    broken = Component(name="broken", command=(sys.executable, "-c", "raise SystemExit('no licence')"), port=free_port(), health="/")
    with pytest.raises(ProcessError, match=r"(?s)broken ended at once.*no licence"):
        started(home, web(), broken)
    assert read_state(home) is None


def test_two_commands_do_not_work_on_one_home_at_once(home: Settings) -> None:
    with alone(home), pytest.raises(ProcessError, match="another 'lab up'"), alone(Settings(home=home.home)):
        pass


def test_a_number_used_again_by_the_system_is_not_taken_for_ours(home: Settings) -> None:
    """The list names this test's own process with another creation time."""
    entry = {"name": "web", "pid": os.getpid(), "created_s": 1.0, "address": ""}
    (home.run / "up.json").write_text(json.dumps({"mark": "m", "socket": "s", "processes": [entry]}))
    assert stop(home) == []


def test_settings_travel_to_children_by_their_variables(tmp_path: Path) -> None:
    chosen = Settings(home=tmp_path, service_port=9000, source_zones={"a": "Europe/Berlin"}, mlflow_tracking_uri="http://mlflow")
    answer = stated_settings(chosen)
    expected = {
        "LAB_HOME": str(tmp_path),
        "LAB_SERVICE_PORT": "9000",
        "LAB_SOURCE_ZONES": '{"a": "Europe/Berlin"}',
        "MLFLOW_TRACKING_URI": "http://mlflow",
    }
    assert {name: answer[name] for name in expected} == expected


def test_only_the_service_leaves_the_loopback_and_an_outside_mlflow_is_not_started(tmp_path: Path) -> None:
    wanted = components(Settings(home=tmp_path, host="10.0.0.5", mlflow_tracking_uri="https://mlflow.example"))
    assert [each.name for each in wanted] == ["dagster-code", "dagster-web", "dagster-daemon", "service"]
    assert [each.address for each in wanted if each.address] == ["http://127.0.0.1:3000", "http://10.0.0.5:8600"]


def test_a_deep_home_gets_a_socket_whose_path_is_short_enough(tmp_path: Path) -> None:
    deep = code_socket(Settings(home=tmp_path / ("d" * 100)))
    try:
        assert len(str(deep)) < 100
    finally:
        deep.parent.rmdir()


def test_dagsters_home_has_its_paths_in_the_laboratorys(settings: Settings) -> None:
    template = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    answer = located(template, settings.home)
    assert answer["storage"]["custom"]["config"] == {"base_dir": str(settings.home / "storage")}
    assert (answer["storage"]["custom"]["class"], answer["telemetry"]) == ("OpenSqliteStorage", {"enabled": False})
    assert template["storage"]["custom"]["config"] == {"base_dir": "data/dagster/storage"}


@pytest.mark.parametrize(
    ("storage", "moved"),
    [
        ({"sqlite": {"base_dir": "data"}}, {"sqlite": {"base_dir": "HOME/storage"}}),
        ({"postgres": {"postgres_url": "postgresql://db/dagster"}}, {"postgres": {"postgres_url": "postgresql://db/dagster"}}),
    ],
)
def test_a_history_in_files_moves_with_the_home_and_one_on_a_server_stays(storage: dict[str, Any], moved: dict[str, Any]) -> None:
    assert located({"storage": storage}, Path("HOME"))["storage"] == moved


def test_events_of_more_runs_than_are_kept_open_are_all_there(settings: Settings) -> None:
    """Twenty runs, more than databases stay open; a second process reads them while the first still holds its own."""
    with dagster_instance(settings) as instance:
        assert type(instance.event_log_storage).__name__ == "OpenSqliteEventLogStorage"
        runs = [instance.create_run_for_job(small_graph.build_defs().resolve_job_def("ingest")) for _ in range(20)]
        for number in range(3):
            for run in runs:
                instance.report_engine_event(f"note {number}", run)
        here = {run.run_id: [log.message for log in instance.all_logs(run.run_id)] for run in runs}
        program = (
            "import sys; from lab_assets.ops.dagster_home import dagster_instance; from lab_assets.settings import Settings\n"
            "with dagster_instance(Settings(home=sys.argv[1])) as instance:\n"
            "    print(sum(len(instance.all_logs(run.run_id)) for run in instance.get_runs()))"
        )
        there = subprocess.run([sys.executable, "-c", program, str(settings.home)], capture_output=True, text=True, check=True, timeout=120)
        instance.wipe()
        assert instance.get_runs() == []
        assert all(instance.all_logs(run.run_id) == [] for run in runs)
    assert all(
        [message for message in messages if message.startswith("note")] == ["note 0", "note 1", "note 2"] for messages in here.values()
    )
    assert there.stdout.strip() == str(sum(map(len, here.values())))


def test_a_job_run_here_leaves_its_events_in_the_laboratory(settings: Settings) -> None:
    good = run_job(settings, "ingest", source=small_graph.build_defs)
    bad = run_job(settings, "ingest", tags={"test/fail": "1"}, source=small_graph.build_defs)
    assert (good.success, good.failures) == (True, {})
    assert (bad.success, list(bad.failures)) == (False, ["fails"])
    assert "as asked" in bad.failures["fails"]
    with dagster_instance(settings) as instance:
        answer = {run.run_id: run.status.value for run in instance.get_runs()}
    assert answer == {good.run_id: "SUCCESS", bad.run_id: "FAILURE"}


def test_a_check_that_stops_a_job_is_told_with_its_reasons(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    stopped = run_job(settings, "ingest", run_config=quiet("INFO"), tags={"test/refuse": "1"}, source=small_graph.build_defs)
    assert (stopped.success, stopped.refused) == (False, {"waits: judged": ["8 of 10", "0.2 above 0.1"]})
    assert list(stopped.failures.values()) == ["the check waits: judged did not pass: 8 of 10, 0.2 above 0.1"]
    assert "Stack Trace" not in capfd.readouterr().err


LAUNCH = "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename ... on LaunchRunSuccess { run { runId } } } }"


def launch(port: int) -> str:
    """Launch a run that waits, through the web server, the queue, the daemon and the code server; return its id."""
    selector = {"repositoryLocationName": "lab_assets", "repositoryName": "__repository__", "jobName": "ingest"}
    tags = [{"key": "test/wait_s", "value": "300"}]
    variables = {"p": {"selector": selector, "mode": "default", "executionMetadata": {"tags": tags}}}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/graphql", json.dumps({"query": LAUNCH, "variables": variables}), {"Content-Type": "application/json"})
    return json.load(connection.getresponse())["data"]["launchRun"]["run"]["runId"]


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.spark
def test_the_whole_laboratory_comes_up_works_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark, MLflow, Dagster and the service; a run is under way when everything is ended."""
    monkeypatch.setenv("LAB_SPARK_MEMORY", "512m")
    ports = [free_port() for _ in range(3)]
    settings = Settings(
        home=tmp_path / "lab", jars_dir=PROJECT_ROOT / ".jars", service_port=ports[0], dagster_port=ports[1], mlflow_port=ports[2]
    )
    settings.run.mkdir(parents=True)
    try:
        state = bring_up(settings, code_module="lab_assets_tests.orchestration.small_graph")
        answer = lab_status(settings)
        assert {each.name: each.state for each in answer.processes} == dict.fromkeys(
            ("mlflow", "dagster-code", "dagster-web", "dagster-daemon", "service", "spark"), "running"
        )
        assert (answer.up, answer.problems, answer.inbox) == (True, [], {"ready": 0, "growing": 0, "refused": 0, "passed_over": 0})
        run_id = launch(ports[1])
        deadline = time.monotonic() + 90
        with dagster_instance(settings) as instance:
            while instance.get_run_by_id(run_id).status.value != "STARTED" and time.monotonic() < deadline:  # type: ignore[union-attr]  # it was launched
                time.sleep(0.5)
            assert instance.get_run_by_id(run_id).status.value == "STARTED"  # type: ignore[union-attr]  # it was launched
    finally:
        ended = stop(settings)
    assert sorted(ended) == ["dagster-code", "dagster-daemon", "dagster-web", "mlflow", "service", "spark"]
    assert marked(state.mark) == []
    assert [each.state for each in lab_status(settings).processes] == ["stopped"] * 6
