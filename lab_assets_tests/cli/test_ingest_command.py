"""``lab ingest``: interrupted, beside another ingestion, and what it says of a run that failed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import dagster as dg
import orjson
import pytest
from filelock import FileLock

from lab_assets.ops.jobs import run_job
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets_tests.faults.laboratory import Laboratory, environment_of, found, lab_command
from lab_assets_tests.ingest.files import chromatogram, drop

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def laboratory(settings: Settings) -> Laboratory:
    """A laboratory with one run in its inbox."""
    made = found(settings)
    drop(settings.inbox, "hplc", "a.txt", chromatogram("S-1"))
    return made


def lock(settings: Settings, name: str) -> FileLock:
    """A lock of the laboratory, to be held by the test."""
    (settings.run / "locks").mkdir(parents=True, exist_ok=True)
    return FileLock(settings.run / "locks" / f"{name}.lock")


def test_ctrl_c_says_what_is_kept_and_the_next_run_finishes_it(laboratory: Laboratory) -> None:
    """As a terminal does it, to every process of the group, while the rows wait for the table."""
    from lab_assets.state.ledger import Ledger

    ledger = Ledger(laboratory.engine)
    env = environment_of(laboratory.settings, LAB_STABLE_S="0")
    with lock(laboratory.settings, "bronze.chromatograms"):
        run = subprocess.Popen(
            lab_command("ingest"),
            env=env,
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while [state for _, state in ledger.unfinished_batches()] != ["staged"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=60)
    said = [line for line in err.splitlines() if " of 1 file(s)" not in line]
    kept = "0 file(s) are committed; 1 more are recorded, their originals kept; nothing is lost"
    assert (run.returncode, out, said) == (130, "", [f"interrupted: {kept}, and the next 'lab ingest' or 'lab up' finishes it"])
    again = laboratory.lab("ingest", LAB_STABLE_S="0")
    assert (again.returncode, again.stdout.splitlines()[0].partition(";")[0]) == (0, "1 committed in 1 batch(es)")


def test_an_ingestion_beside_another_claims_none_of_its_files(laboratory: Laboratory) -> None:
    with lock(laboratory.settings, "ingest"):
        beside = laboratory.lab("ingest", "--json", LAB_STABLE_S="0")
    assert beside.returncode == 0, beside.stderr
    document = orjson.loads(beside.stdout)
    assert (document["batches"], document["states"], document["success"]) == ([], {}, True)
    assert document["tags"]["lab/busy"] == "another run is ingesting and takes the waiting files as well"


@dg.op
def says_nothing_at_first() -> None:
    raise ValueError("\n   \nthe scale sent no weight")


@dg.op
def says_nothing_at_all() -> None:
    raise ValueError


@dg.op(required_resource_keys={"scale"})
def never_begun() -> None:
    return


@dg.resource
def broken_scale() -> None:
    raise OSError("the scale does not answer")


def graph() -> dg.Definitions:
    """Three jobs that fail, each in its own way."""

    @dg.job(executor_def=dg.in_process_executor)
    def late() -> None:
        says_nothing_at_first()

    @dg.job(executor_def=dg.in_process_executor)
    def silent() -> None:
        says_nothing_at_all()

    @dg.job(executor_def=dg.in_process_executor, resource_defs={"scale": broken_scale})
    def unopened() -> None:
        never_begun()

    return dg.Definitions(jobs=[late, silent, unopened])


@pytest.mark.parametrize(
    ("job", "where", "reason"),
    [
        ("late", "says_nothing_at_first", "the scale sent no weight"),
        ("silent", "says_nothing_at_all", "ValueError without a message"),
        ("unopened", "unopened", "the scale does not answer"),
    ],
)
def test_a_failed_run_has_a_reason(tmp_path: Path, job: str, where: str, reason: str) -> None:
    outcome = run_job(Settings(home=tmp_path / "lab"), job, source=graph)
    assert (outcome.success, outcome.interrupted, list(outcome.failures)) == (False, False, [where])
    assert reason in outcome.failures[where]
