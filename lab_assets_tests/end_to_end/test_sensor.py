"""``dagster dev`` alone: a dropped file is noticed, ingested and scored, and nothing stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from lab_assets.compute.spark_server import stop_server
from lab_assets.ops.dagster_home import prepare_home
from lab_assets.settings import PROJECT_ROOT
from lab_assets_tests.cli.ports import free_port
from lab_assets_tests.end_to_end.laboratory import Laboratory

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
NEW = "SEQ9999-0001_001"


def _another_run(laboratory: Laboratory) -> bytes:
    """Return a real trace of the laboratory as another injection's file."""
    first = sorted((laboratory.settings.inbox / "hplc_shimadzu").glob("*.txt"))[10]
    return re.sub(re.escape(first.stem), NEW, first.read_bytes().decode("utf-8")).encode()


def _predicted(laboratory: Laboratory) -> bool:
    injections = pl.read_delta(laboratory.settings.table_uri("silver", "injections"))
    predictions = pl.read_delta(laboratory.settings.table_uri("ml", "predictions"))
    return predictions.join(injections.filter(pl.col("injection_name") == NEW), on="injection_id", how="semi").height == 4


def _wait(condition: object, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(1)
    return False


def _of_this_laboratory(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("LAB_HOME") == str(home):
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return found


def test_a_dropped_file_is_ingested_and_scored_by_its_sensor(laboratory: Laboratory, tmp_path: Path) -> None:
    home = laboratory.settings.home
    # no worklist names the run: it is scored when its time of grace is over, and nothing but the sensor sees to that
    environment = {**laboratory.environment, "DAGSTER_HOME": str(prepare_home(laboratory.settings)), "LAB_CONTEXT_GRACE_S": "60"}
    log = (tmp_path / "dagster.log").open("wb")
    command = [str(Path(sys.executable).parent / "dagster"), "dev", "-p", str(free_port())]
    dev = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        target = laboratory.settings.inbox / "hplc_shimadzu" / f"{NEW}.txt"
        target.write_bytes(_another_run(laboratory))
        assert _wait(lambda: _predicted(laboratory), 420), (tmp_path / "dagster.log").read_text()[-5000:]
    finally:
        os.killpg(dev.pid, signal.SIGINT)
        dev.wait(timeout=120)
        log.close()
    assert _wait(lambda: not _of_this_laboratory(home), 300), [process.cmdline() for process in _of_this_laboratory(home)]
    stop_server(laboratory.settings)
