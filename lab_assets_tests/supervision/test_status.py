"""What ``lab status`` says, and the document that describes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from sqlalchemy import Engine

from lab_assets.ops.batches import last_batch
from lab_assets.ops.dagster_home import dagster_instance, home_folder
from lab_assets.ops.processes import stop
from lab_assets.ops.status import LabStatus, lab_status
from lab_assets.ops.supervision.plan import State, read_plan, read_state, state_path
from lab_assets.ops.supervision.watch_files import LEADER, Post, posts
from lab_assets.orchestration.private.run_database import PROCESS_TAG, newest_heartbeat, run_database
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.database import writing
from lab_assets.state.ledger_tables import INGEST_BATCHES
from lab_assets_tests.orchestration import small_graph
from lab_assets_tests.supervision.parts import bring_up, lives, record_of, web

SCHEMA = PROJECT_ROOT / "docs" / "lab-status.schema.json"


def as_command(settings: Settings) -> LabStatus:
    """What the command prints, held against its own description."""
    environment = {**os.environ, "LAB_HOME": str(settings.home), "PYTHONPATH": str(PROJECT_ROOT)}
    command = (sys.executable, "-c", "from lab_assets.cli.main import app; app()", "status", "--json")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return LabStatus.model_validate_json(done.stdout, strict=True)


def test_the_schema_in_the_documentation_is_that_of_the_answer() -> None:
    assert json.loads(SCHEMA.read_text()) == LabStatus.model_json_schema()


def test_every_field_says_what_it_is() -> None:
    parts = [LabStatus.model_json_schema(), *LabStatus.model_json_schema()["$defs"].values()]
    bare = [name for part in parts for name, field in part.get("properties", {}).items() if "description" not in field]
    assert bare == []


def test_the_answer_is_a_document_after_the_first_ingestion(settings: Settings, engine: Engine) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    with writing(engine) as connection:
        connection.execute(INGEST_BATCHES.insert().values(batch=1, state="committed", opened_at=now, committed_at=now, table_versions={}))
    assert {type(name) for name in last_batch(engine) or {}} == {str}  # SQLAlchemy's own kind of text is none that JSON writers take
    answer = as_command(settings)
    assert answer.last_batch is not None
    assert (answer.last_batch["batch"], answer.last_batch["state"], answer.up) == (1, "committed", False)
    assert {each.state for each in answer.components} == {State.STOPPED}


def test_a_database_that_is_being_made_is_a_problem_and_no_error(settings: Settings) -> None:
    settings.home.mkdir(parents=True)
    with closing(sqlite3.connect(settings.home / "lab.db")) as connection:
        connection.execute("PRAGMA user_version = 1")
    answer = lab_status(settings)
    assert (answer.last_batch, answer.up) == (None, False)
    assert any("holds no tables yet" in each for each in answer.problems)


@pytest.fixture
def history(settings: Settings) -> Iterator[DagsterInstance]:
    """The laboratory's history of runs."""
    with dagster_instance(settings) as instance:
        yield instance


def a_run(history: DagsterInstance, status: DagsterRunStatus, process: str = "") -> DagsterRun:
    job = small_graph.build_defs().resolve_job_def("ingest")
    run = history.create_run_for_job(job, status=status)
    if process:
        history.add_run_tags(run.run_id, {PROCESS_TAG: f"{process}@{run.run_id}"})
    return run


def test_runs_that_hang_or_lost_their_process_are_problems(settings: Settings, history: DagsterInstance) -> None:
    with psutil.Popen(["sleep", "60"]) as child:
        try:
            child.suspend()
            good = a_run(history, DagsterRunStatus.STARTED, f"{os.getpid()}@{psutil.Process().create_time()}")
            hung = a_run(history, DagsterRunStatus.STARTED, f"{child.pid}@{psutil.Process(child.pid).create_time()}")
            lost = a_run(history, DagsterRunStatus.STARTING, "99999999@1.0")
            a_run(history, DagsterRunStatus.SUCCESS)
            answer = {each.run_id: each for each in lab_status(settings).runs}
        finally:
            child.kill()
    assert [*answer] == [good.run_id, hung.run_id, lost.run_id]
    assert (answer[good.run_id].problem, answer[good.run_id].pid, answer[good.run_id].job) == ("", os.getpid(), "ingest")
    assert f"kill -CONT {child.pid}" in answer[hung.run_id].problem
    assert (answer[lost.run_id].problem, answer[lost.run_id].pid) == (
        "has lost its process 99999999; 'lab up', or the next ingestion, ends it and takes up its work",
        None,
    )


def test_a_run_that_does_not_get_beyond_its_start_is_a_problem(settings: Settings, history: DagsterInstance) -> None:
    run = a_run(history, DagsterRunStatus.NOT_STARTED)
    assert [each.problem for each in lab_status(settings).runs] == [""]
    two_minutes_ago = (datetime.now(UTC) - timedelta(minutes=2)).replace(tzinfo=None)
    with history.run_storage.connect() as connection:  # type: ignore[attr-defined]  # SQL storage has it
        connection.exec_driver_sql("UPDATE runs SET update_timestamp = ?", (str(two_minutes_ago),))
    (answer,) = lab_status(settings).runs
    assert answer.run_id == run.run_id
    assert answer.problem.startswith("has been starting for 12")


def test_a_job_whose_newest_runs_failed_is_a_problem_until_one_succeeds(settings: Settings, history: DagsterInstance) -> None:
    job = small_graph.build_defs().resolve_job_def("ingest")

    def run(**tags: str) -> str:
        return job.execute_in_process(instance=history, tags=tags, raise_on_error=False).run_id

    run()
    assert lab_status(settings).problems == []
    run(**{"test/fail": "yes"})
    newest = run(**{"test/fail": "yes"})
    (problem,) = lab_status(settings).problems
    assert problem.startswith("the last 2 runs of ingest failed, at 20")
    assert problem.endswith(f" UTC: as asked; 'lab run log {newest[:8]}' shows all")
    run()
    assert lab_status(settings).problems == []


def test_a_run_that_was_lost_says_why_it_failed(settings: Settings, history: DagsterInstance) -> None:
    run = a_run(history, DagsterRunStatus.STARTED)
    history.report_run_failed(run, "its process is gone")
    (problem,) = lab_status(settings).problems
    assert "the last run of ingest failed" in problem
    assert ": its process is gone; 'lab run log" in problem


def test_the_daemons_heartbeat_is_read_as_dagster_keeps_it(settings: Settings, history: DagsterInstance) -> None:
    from dagster._daemon.types import DaemonHeartbeat

    database = run_database(home_folder(settings))
    assert newest_heartbeat(database) is None
    for number, kind in ((1_800_000_000.0, "SENSOR"), (1_800_000_030.0, "SCHEDULER")):
        history.add_daemon_heartbeat(DaemonHeartbeat(number, kind, "one", None))
    newest = newest_heartbeat(database)
    assert newest is not None
    assert datetime.fromisoformat(newest).replace(tzinfo=UTC).timestamp() == 1_800_000_030.0


def test_a_state_that_cannot_be_read_is_named_and_no_death_invented(home: Settings) -> None:
    """With the supervisor stopped by a signal, so that nobody writes it again meanwhile."""
    bring_up(home, web(home.home))
    pid, leader = record_of(home, "web").pid, Post(home.run, LEADER)
    watchers = [holder for each in posts(home.run) if (holder := each.holder())]
    for each in watchers:
        os.kill(each.pid, signal.SIGSTOP)
    for path in (state_path(home), leader.path):
        path.write_bytes(path.read_bytes()[:9])
    answer = lab_status(home)
    for each in watchers:
        os.kill(each.pid, signal.SIGCONT)
    states = {each.name: (each.state, each.pid) for each in answer.components}
    assert states == {"web": (State.RUNNING, pid), LEADER: (State.RUNNING, None)}
    assert [each.partition(";")[0] for each in answer.problems] == [
        f"{state_path(home)} cannot be read",
        f"{LEADER} works, but {leader.path}, which says who it is, cannot be read",
    ]


def test_a_copied_home_shows_and_ends_nothing_of_the_original(home: Settings, tmp_path: Path) -> None:
    part = web(home.home)
    bring_up(home, part)
    pid = record_of(home, "web").pid
    copy = Settings(home=Path(shutil.copytree(home.home, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock"))))
    assert (read_state(copy), read_plan(copy), stop(copy)) == (None, None, [])
    assert lives(pid)
    assert {each.state for each in lab_status(copy).components} == {State.STOPPED}
    try:
        bring_up(copy, web(copy.home))
        assert (lab_status(copy).up, lab_status(home).up, record_of(home, "web").pid) == (True, True, pid)
    finally:
        stop(copy)
    assert lives(pid)
    assert lab_status(home).up
