"""Starting, watching and ending processes: small real ones, and once the whole laboratory."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab_assets.compute.spark_server import SparkFiles
from lab_assets.fault_kinds import EnvironmentFaultError
from lab_assets.home_identity import place_of
from lab_assets.ops.components import Component, code_socket, components, http_status
from lab_assets.ops.dagster_home import dagster_instance, located
from lab_assets.ops.environment import child_environment, stated_settings
from lab_assets.ops.jobs import quiet, run_job
from lab_assets.ops.processes import ProcessError, alone, log_of, start, stop
from lab_assets.ops.startup import bring_up as bring_up_all
from lab_assets.ops.status import lab_status
from lab_assets.ops.supervision.plan import read_plan, read_state, state_path, write_plan
from lab_assets.ops.supervision.watch_files import STANDBYS, Post, posts
from lab_assets.process_identity import marked
from lab_assets.process_stamp import kill
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets_tests.cli.ports import free_port, free_ports
from lab_assets_tests.orchestration import small_graph
from lab_assets_tests.supervision.parts import bring_up, lives, record_of, until, web

NAMES = ("mlflow", "dagster-code", "dagster-web", "dagster-daemon", "service", "spark", "supervisor")


@pytest.fixture
def home(settings: Settings) -> Iterator[Settings]:
    """A home whose processes are ended whatever the test did."""
    settings.run.mkdir(parents=True)
    yield settings
    stop(settings)


def test_what_is_started_answers_and_is_ended_with_detached_descendants(home: Settings) -> None:
    part = web(home.home)
    (home.home / f"child-{part.port}").touch()
    bring_up(home, part)
    family = {process.pid for process in marked(place_of(home), "web")}
    assert len(family) == 2
    assert record_of(home, "web").pid in family
    assert stop(home) == ["web"]
    assert marked(place_of(home)) == []
    assert not any(map(lives, family))
    assert (stop(home), read_state(home)) == ([], None)


def test_starting_again_keeps_what_runs_and_adds_what_is_missing(home: Settings) -> None:
    first, second = web(home.home, "first"), web(home.home, "second")
    bring_up(home, first)
    pid = record_of(home, "first").pid
    bring_up(home, first, second)
    assert record_of(home, "first").pid == pid
    assert lives(record_of(home, "second").pid)
    bring_up(home, second)
    assert not lives(pid)


def test_a_busy_port_is_named_and_nothing_is_started(home: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EnvironmentFaultError, match=rf"a port is in use: port {port} of web by .*set LAB_WEB_PORT"):
            bring_up(home, web(home.home, "free"), web(home.home, port=port))
    assert (read_state(home), read_plan(home)) == (None, None)


def test_when_one_ends_at_once_its_last_words_are_told_and_the_others_end(home: Settings) -> None:
    broken = Component(name="broken", command=(sys.executable, "-c", "raise SystemExit('no licence')"), port=free_port(), health="/")
    with pytest.raises(ProcessError, match=r"(?s)broken ended at once, 2 times \(exit code 1\).*no licence"):
        bring_up(home, web(home.home), broken)
    assert (read_state(home), read_plan(home), marked(place_of(home))) == (None, None, [])


def test_what_ended_before_is_no_failure_of_now_whatever_the_clock_says(home: Settings) -> None:
    """All is killed, and the clock set back: the ends on record lie in the future. An old log says nothing of today."""
    part = web(home.home)
    bring_up(home, part)
    kill(marked(place_of(home)))
    document = json.loads(state_path(home).read_text())
    (record,) = document["processes"]
    record["ends_utc"] = [(datetime.now(UTC) + timedelta(minutes=number)).isoformat() for number in (20, 21, 22)]
    state_path(home).write_text(json.dumps(document))
    bring_up(home, part)
    assert lives(record_of(home, "web").pid)
    assert len(record_of(home, "web").ends_utc) >= 3
    log_of(home, "broken").write_text("No space left on device\n")
    broken = Component(name="broken", command=(sys.executable, "-c", "raise SystemExit('no licence')"), port=free_port(), health="/")
    with pytest.raises(ProcessError, match="no licence") as failed:
        bring_up(home, part, broken)
    assert "No space" not in str(failed.value)


def test_processes_of_an_earlier_program_are_ended_and_started_anew(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    part, said = web(home.home), list[str]()
    bring_up(home, part)
    pid = record_of(home, "web").pid
    plan = read_plan(home)
    assert plan is not None
    write_plan(home, replace(plan, program="of last week"))
    start(home, [part], socket=home.run / "none.sock", spark=False, say=said.append)
    assert "what runs was started by an earlier state of the program: all of it is ended and started anew" in said
    assert not lives(pid)
    assert lives(record_of(home, "web").pid)


def test_a_second_command_waits_for_the_first_and_says_so(home: Settings) -> None:
    said: list[str] = []
    with alone(home), pytest.raises(ProcessError, match="another 'lab up'"), alone(Settings(home=home.home), wait_s=1.2, say=said.append):
        pass
    assert said == [f"another 'lab up' or 'lab down' is at work on {home.home}; waiting for it"]


def test_two_at_once_have_one_set_of_processes_running(home: Settings) -> None:
    part = web(home.home)

    def once() -> int:
        with alone(Settings(home=home.home)):
            bring_up(home, part)
            return record_of(home, "web").pid

    with ThreadPoolExecutor(2) as together:
        pids = {each.result() for each in [together.submit(once) for _ in range(2)]}
    assert len(pids) == 1
    assert [each.pid for each in marked(place_of(home), "web")] == [*pids]


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
    assert template["storage"]["custom"]["config"] == {"base_dir": "dagster/storage"}


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


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A whole laboratory with a small graph, ended with its test."""
    monkeypatch.setenv("LAB_SPARK_MEMORY", "512m")
    ports = free_ports(3)
    settings = Settings(
        home=tmp_path / "lab", jars_dir=PROJECT_ROOT / ".jars", service_port=ports[0], dagster_port=ports[1], mlflow_port=ports[2]
    )
    settings.run.mkdir(parents=True)
    yield settings
    stop(settings)


def wait_for_run(settings: Settings, run_id: str) -> None:
    """Wait until a run has started."""
    with dagster_instance(settings) as instance:
        until("the run", lambda: instance.get_run_by_id(run_id).status.value == "STARTED", 90)  # type: ignore[union-attr]  # it was launched


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.spark
def test_the_whole_laboratory_comes_up_survives_and_leaves_nothing(laboratory: Settings) -> None:
    """All of it but one watcher is killed while a run is under way: it is back by itself, the run lived on, another is taken."""
    bring_up_all(laboratory, code_module="lab_assets_tests.orchestration.small_graph")
    answer = lab_status(laboratory)
    assert {each.name: each.state for each in answer.components} == dict.fromkeys(NAMES, "running")
    assert (answer.up, answer.problems, answer.inbox) == (True, [], {"ready": 0, "growing": 0, "refused": 0, "passed_over": 0})
    wait_for_run(laboratory, launch(laboratory.dagster_port))
    (run,) = lab_status(laboratory).runs
    assert (run.job, run.status, run.problem) == ("ingest", "STARTED", "")

    until("those that wait", lambda: all(Post(laboratory.run, each).holder() for each in STANDBYS))
    before = {each.name: each.pid or 0 for each in lab_status(laboratory).components}
    server = SparkFiles(laboratory).read_state()
    waiting = Post(laboratory.run, STANDBYS[0]).holder()
    assert server is not None
    assert waiting is not None
    for pid in (before.pop("supervisor"), waiting.pid, server.java_pid, *before.values()):
        os.kill(pid, signal.SIGKILL)
    until("the service", lambda: http_status(laboratory.service_port, "/healthz", timeout_s=1) == 200, 60)
    until("all of it", lambda: lab_status(laboratory).up, 120)
    assert [each.run_id for each in lab_status(laboratory).runs] == [run.run_id]
    after = {each.name: each.pid for each in lab_status(laboratory).components}
    assert all(after[name] != pid for name, pid in before.items())
    assert marked(place_of(laboratory))

    assert sorted(stop(laboratory)) == sorted(set(NAMES) - {"supervisor"})
    assert marked(place_of(laboratory)) == []
    assert [each.state for each in lab_status(laboratory).components] == ["stopped"] * len(NAMES)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.spark
def test_an_interrupted_up_leaves_nothing_behind(laboratory: Settings) -> None:
    """Ctrl-C while Spark is being started, which nothing but its own state file says yet; by then other components live, too."""
    environment = {**child_environment(laboratory, component=""), "PYTHONPATH": str(PROJECT_ROOT)}
    command = subprocess.Popen(
        (sys.executable, "-c", "from lab_assets.cli.main import app; app()", "up"),
        env=environment,
        cwd=laboratory.home,
        start_new_session=True,
    )
    files = SparkFiles(laboratory)
    until("Java", lambda: (server := files.read_state()) and server.java and not server.ready, 60)
    command.send_signal(signal.SIGINT)
    assert command.wait(timeout=60) != 0
    assert marked(place_of(laboratory)) == []
    assert (read_state(laboratory), files.read_state(), stop(laboratory)) == (None, None, [])


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.spark
def test_in_the_foreground_an_outside_end_of_all_watchers_is_repaired(laboratory: Settings) -> None:
    """As in a container: the command stays, sees to the watchers, and SIGTERM ends everything."""
    environment = {**child_environment(laboratory, component=""), "PYTHONPATH": str(PROJECT_ROOT)}
    command = subprocess.Popen(
        (sys.executable, "-c", "from lab_assets.cli.main import app; app()", "up", "--foreground"), env=environment, cwd=laboratory.home
    )
    try:
        until("the laboratory", lambda: lab_status(laboratory).up, 120)
        pids = {each.name: each.pid for each in lab_status(laboratory).components}
        for post in posts(laboratory.run):
            if holder := post.holder():
                os.kill(holder.pid, signal.SIGKILL)
        until("another supervisor", lambda: lab_status(laboratory).up, 60)
        assert {each.name: each.pid for each in lab_status(laboratory).components if each.name != "supervisor"}.items() <= pids.items()
    finally:
        command.send_signal(signal.SIGTERM)
        assert command.wait(timeout=90) == 0
    assert marked(place_of(laboratory)) == []
