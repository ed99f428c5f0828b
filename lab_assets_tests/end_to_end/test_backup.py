"""A backup of the whole laboratory while it ingests and scores, and all of it again in another place, the original hidden."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from lab_assets.registry.serving import registry_of
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets_tests.cli.ports import free_ports
from lab_assets_tests.end_to_end.laboratory import Laboratory

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

WORD = "a passphrase of the tests"
FEATURES = {"checkpoint_pct": 50, "features": {"worst_margin_so_far": -2.5}}
ON_THEIR_WAY = 3
LONG = bool(os.environ.get("LAB_TESTS_LONG"))
"""Whether what takes minutes is tried as well."""


def _at(laboratory: Laboratory, home: Path) -> Laboratory:
    """Return the laboratory in a place, with ports of its own."""
    service, dagster, mlflow = map(str, free_ports(3))
    ports = {"LAB_SERVICE_PORT": service, "LAB_DAGSTER_PORT": dagster, "LAB_MLFLOW_PORT": mlflow}
    environment = laboratory.environment | ports | {"LAB_HOME": str(home), "LAB_BACKUP_PASSPHRASE": WORD, "COLUMNS": "200"}
    return replace(laboratory, settings=Settings(home=home), environment=environment)


class Scores:
    """A client that asks for scores without a pause, and remembers what it was answered."""

    def __init__(self, laboratory: Laboratory) -> None:
        base = f"http://127.0.0.1:{laboratory.environment['LAB_SERVICE_PORT']}"
        self.client = httpx.Client(base_url=base, timeout=60)
        signed = self.client.post("/v1/login", json={"user": "analyst", "password": laboratory.report["passwords"]["analyst"]})
        assert signed.status_code == 200, signed.text
        self.client.cookies.clear()
        self.client.headers["Authorization"] = f"Bearer {signed.json()['token']}"
        self.answered: list[str] = []

    def ask(self) -> str:
        answer = self.client.post("/v1/score", json=FEATURES)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["prediction_id"])

    @contextmanager
    def going_on(self) -> Iterator[None]:
        stopped = threading.Event()
        errors: list[BaseException] = []

        def work() -> None:
            try:
                while not stopped.is_set():
                    self.answered.append(self.ask())
                    time.sleep(0.005)
            except BaseException as error:  # noqa: BLE001 - shown by the test
                errors.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield
        finally:
            stopped.set()
            worker.join()
        assert errors == []


@contextmanager
def _service(laboratory: Laboratory) -> Iterator[None]:
    """Run the service alone."""
    port = laboratory.environment["LAB_SERVICE_PORT"]
    log = (laboratory.settings.home.parent / "service.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "lab_assets.service"], env=laboratory.environment, cwd=PROJECT_ROOT, stdout=log, stderr=log
    )
    try:
        for _ in range(600):
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)
        log.close()


def _drop_runs(laboratory: Laboratory) -> None:
    """Lay real traces of the laboratory down as other injections' files."""
    first = sorted((laboratory.settings.inbox / "hplc_shimadzu").glob("*.txt"))[20]
    for number in range(ON_THEIR_WAY):
        name = f"SEQ8888-{number:04d}_001"
        (first.parent / f"{name}.txt").write_bytes(re.sub(re.escape(first.stem), name, first.read_bytes().decode()).encode())


def _whole(laboratory: Laboratory, *arguments: str, code: int = 0) -> str:
    done = laboratory.lab(*arguments)
    assert done.returncode == code, (arguments, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout


def _predictions_of(settings: Settings) -> set[str]:
    """Return the ids that the tables and the spool of the service hold."""
    held: set[str] = set()
    for name in ("online_log", "predictions"):
        held |= set(pl.read_delta(settings.table_uri("ml", name), columns=["prediction_id"])["prediction_id"])
    for path in (settings.run / "spool").rglob("*.jsonl"):
        held |= {json.loads(line)["prediction"]["prediction_id"] for line in path.read_bytes().split(b"\n") if line}
    return held


def test_a_backup_under_load_is_a_laboratory_elsewhere(laboratory: Laboratory, tmp_path: Path) -> None:
    """Ingestion and 100 scores a second go on; of what was answered before the backup nothing is missing in it, and all of it works."""
    home, seconds = tmp_path / "original" / "lab", dict[str, float]()
    shutil.copytree(
        laboratory.settings.home, home, ignore=shutil.ignore_patterns("scratch")
    )  # the other tests of this folder find the laboratory as it was
    original = _at(laboratory, home)
    _whole(original, "up")
    try:
        scores = Scores(original)
        with scores.going_on():
            _drop_runs(original)
            first = original.json("backup", str(tmp_path / "b"))
            time.sleep(6)  # by now the sensor has noticed the files, and their run is under way
            answered = set(scores.answered)
            second = original.json("backup", str(tmp_path / "b"))
        assert len(answered) > 100
    finally:
        _whole(original, "down")
    assert (first["damaged"], second["damaged"], second["new_bytes"] < first["new_bytes"] / 2) == ({}, {}, True)
    hidden = home.with_name("hidden")
    home.rename(hidden)
    try:
        restored = _at(laboratory, tmp_path / "elsewhere" / "lab")
        report = json.loads(_whole(restored, "restore", str(tmp_path / "b"), "--home", str(restored.settings.home), "--json"))
        seconds |= {f"restore {name}": value for name, value in report["seconds"].items()}
        seconds |= {f"backup {name}": value for name, value in second["seconds"].items()}
        _check(restored, answered, report)
    finally:
        hidden.rename(home)
    sys.stdout.write("".join(f"{name}: {value:.1f} s\n" for name, value in seconds.items()))
    assert original.lab("audit", "verify").returncode == 0


def _check(restored: Laboratory, answered: set[str], report: dict[str, Any]) -> None:
    """Doctor, audit trail, ledger and tables agree; what was answered is there and comes out again; it serves and trains."""
    assert (report["problems"], report["keys"]) == ([], "restored")
    checks = {each["name"]: each["state"] for each in json.loads(restored.lab("doctor", "--json").stdout)["checks"]}
    assert {name for name, state in checks.items() if state == "failed"} == set()
    _whole(restored, "audit", "verify")
    _whole(restored, "reconcile")
    assert answered - _predictions_of(restored.settings) == set()
    with _service(restored):  # commits what the spool of the backup holds
        assert Scores(restored).ask() not in answered
    batch = pl.read_delta(restored.settings.table_uri("ml", "predictions")).filter(pl.col("mode") != "online")["prediction_id"][0]
    for prediction in (batch, min(answered)):
        _whole(restored, "reproduce", prediction)
    if LONG:
        _whole(restored, "ingest")
        _whole(restored, "scrub")
    _train_again(restored)


def _train_again(restored: Laboratory) -> None:
    """Train on the restored tables; what is registered afterwards lies below the restored home, each version with its own bytes."""
    program = (
        "from lab_assets.ops.jobs import run_job; from lab_assets.settings import get_settings; "
        "done = run_job(get_settings(), 'train'); print(done.failures, done.refused); raise SystemExit(not done.success)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=restored.environment, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    registry = registry_of(restored.settings)
    for version in registry.versions():
        folder = restored.settings.home.parent / f"bundle-{version.version}"
        assert registry.download_bundle(version.version, folder, expected_digest=version.digest).digest == version.digest
