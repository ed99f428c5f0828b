"""``lab demo`` where there is too little to train on, and interrupted: a message, whole tables, an exit code, and no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from lab_assets.contracts.governance import LINEAGE
from lab_assets.ops.dagster_home import home_folder
from lab_assets.ops.demo import TRUTH
from lab_assets.orchestration.private.run_database import run_database, unfinished_runs
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.stations.all_stations import STATIONS
from lab_assets.stations.governance.lineage import missing_lineage
from lab_assets_tests.cli.commands import Lab
from lab_assets_tests.faults.laboratory import environment_of, lab_command
from lab_assets_tests.stations.small_laboratory import opened, rows_of, take, write_files


@pytest.mark.parametrize("lots", ["0", "1", "29", "-5"])
def test_fewer_lots_than_thirty_are_refused_before_anything_is_made(lab: Lab, settings: Settings, lots: str) -> None:
    answer = lab("demo", "--lots", lots)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "Invalid value for '--lots'" in answer.stderr
    assert "30" in answer.stderr
    assert not settings.home.exists()


@pytest.fixture
def simulated(settings: Settings) -> Settings:
    """The small laboratory of two lots, as a demonstration left it that was killed after ingestion: 14 labelled injections."""
    write_files(settings.inbox)
    with opened(settings.home) as lake:
        take(lake)
    (settings.run / TRUTH).touch()
    return settings


def test_a_demonstration_without_a_model_says_why_and_leaves_whole_tables(
    lab: Lab, simulated: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    with opened(simulated.home) as lake:
        before = {station.name: rows_of(lake, station.target).to_dicts() for station in STATIONS}
    answer = lab("demo", "--lots", "30")
    assert answer.exit_code == 1
    lines = answer.stderr.splitlines()
    (at,) = [place for place, line in enumerate(lines) if line.startswith("error: ")]
    assert lines[at] == "error: no model passed the gate; nothing was promoted and no run was scored"
    assert lines[at + 1].startswith("  14 labelled injection(s) with 1 out of specification: at least 200 with both outcomes are needed")
    assert f"The tables of {simulated.home} are whole" in answer.stderr
    assert "'lab demo --lots 150'" in answer.stderr
    shown = answer.stderr + capfd.readouterr().err
    assert "Traceback" not in shown
    assert "Stack Trace" not in shown
    assert "Files in: 52 committed" in answer.stdout
    with opened(simulated.home) as lake:
        assert {station.name: rows_of(lake, station.target).to_dicts() for station in STATIONS} == before
        assert lake.row_count(LINEAGE) > 0
        assert missing_lineage(lake) == {}
    again = lab("demo", "--lots", "30", "--json")
    assert (again.exit_code, again.document["serving"], len(again.document["refused"])) == (1, "none", 1)


def test_an_interrupted_demonstration_goes_on_where_it_stopped(lab: Lab, settings: Settings) -> None:
    """As a terminal does it, to every process of the group, while files are taken; no run is left that nobody ends."""
    write_files(settings.inbox)
    settings.run.mkdir(parents=True, exist_ok=True)
    (settings.run / TRUTH).touch()
    env = environment_of(settings, LAB_STABLE_S="0")
    demo = subprocess.Popen(
        lab_command("demo", "--lots", "30"),
        env=env,
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert demo.stderr is not None
    for line in demo.stderr:
        if line.startswith("ingest ..."):
            break
    deadline = time.monotonic() + 120
    while not unfinished_runs(run_database(home_folder(settings))):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(demo.pid, signal.SIGINT)
    out, err = demo.communicate(timeout=60)
    said = [line for line in err.splitlines() if " of 52 file(s)" not in line]
    assert (demo.returncode, out) == (130, "")
    assert "".join(said) == f"interrupted: what was made in {settings.home} stays, and 'lab demo' again goes on from there"
    assert unfinished_runs(run_database(home_folder(settings))) == []
    again = lab("demo", "--lots", "30")
    assert (again.exit_code, "Files in: 52 committed" in again.stdout) == (1, True)
