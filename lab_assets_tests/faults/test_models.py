"""Model versions under ``kill -9``: in training, while registering, between a decision and its mirror in MLflow."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lab_assets.governance.approvals import ConflictError
from lab_assets.registry.mlflow_registry import CHALLENGER, CHAMPION, ModelRegistry
from lab_assets.registry.model_records import TrainingRecord
from lab_assets.registry.serving import cache_bundle, check_alias, current_serving, mirror_ledger, registry_of
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets_tests.faults.children import AT, trained
from lab_assets_tests.faults.laboratory import KILLED, Laboratory, end, environment_of, found, go, reply_of


@pytest.fixture(scope="module")
def record() -> TrainingRecord:
    """The training that is killed and repeated; its process makes the same bytes."""
    return trained(3)


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without a row; making its tables takes seconds."""
    settings = Settings(home=tmp_path_factory.mktemp("mlflow"))
    assert registry_of(settings).get_alias(CHAMPION) is None
    return Path(settings.mlflow_uri.removeprefix("sqlite:///"))


@pytest.fixture
def laboratory(tmp_path: Path, empty_mlflow: Path) -> Iterator[Laboratory]:
    made = found(Settings(home=tmp_path / "lab"))
    (made.settings.home / "mlflow").mkdir()
    with closing(sqlite3.connect(empty_mlflow)) as source, closing(sqlite3.connect(made.settings.home / "mlflow" / "mlflow.db")) as copy:
        source.backup(copy)
    yield made
    made.engine.dispose()


def runs_of(registry: ModelRegistry) -> list[str]:
    """Status of every run, sorted."""
    return sorted(run.info.status for run in registry._client.search_runs([registry._experiment_id]))


def models_of(registry: ModelRegistry) -> dict[str, str]:
    """Status by id of every logged model."""
    return {model.model_id: str(model.status) for model in registry._client.search_logged_models([registry._experiment_id])}


def test_killed_in_training_leaves_nothing_and_is_repeated(laboratory: Laboratory, record: TrainingRecord) -> None:
    """Case 19: killed half a second into about two seconds of training, nothing of it is in MLflow; a rerun makes version 1."""
    child = laboratory.child("train")
    go(child)
    time.sleep(0.5)
    child.kill()
    assert end(child) == KILLED
    registry = registry_of(laboratory.settings)
    assert (registry.versions(), models_of(registry), runs_of(registry)) == ([], {}, [])
    assert registry.log_training(record).version == "1"
    assert [each.digest for each in registry.versions()] == [record.experiment.bundle.digest]


@pytest.mark.parametrize("place", ["after_run_opened", "after_model_logged"])
def test_killed_before_registering_no_version_shows_and_a_rerun_makes_one(
    laboratory: Laboratory, record: TrainingRecord, place: str, tmp_path: Path
) -> None:
    """Case 19: the killed process leaves an open run, and at the second place a logged model; neither is a version."""
    child = laboratory.child("train", LAB_FAILPOINT=place)
    go(child)
    assert end(child) == KILLED
    registry = registry_of(laboratory.settings)
    assert registry.versions() == []
    assert registry.get_alias(CHALLENGER) is None
    assert runs_of(registry) == ["RUNNING"]
    left = models_of(registry)
    assert len(left) == (1 if place == "after_model_logged" else 0)

    logged = registry.log_training(record)
    (version,) = registry.versions()
    assert (version.version, version.digest, version.aliases) == ("1", record.experiment.bundle.digest, (CHALLENGER,))
    assert runs_of(registry) == ["FINISHED", "KILLED"]
    assert models_of(registry) == {**dict.fromkeys(left, "FAILED"), logged.model_id: "READY"}
    assert registry.download_bundle("1", tmp_path / "bundle", expected_digest=version.digest).digest == version.digest
    assert registry.log_training(record) == logged


def test_killed_after_registering_the_rerun_finishes_the_same_version(
    laboratory: Laboratory, record: TrainingRecord, tmp_path: Path
) -> None:
    """Case 19: a version that shows is whole already; the rerun adds what was missing and no second version."""
    child = laboratory.child("train", LAB_FAILPOINT="after_version_registered")
    go(child)
    assert end(child) == KILLED
    registry = registry_of(laboratory.settings)
    (version,) = registry.versions()
    assert (version.version, version.aliases, runs_of(registry)) == ("1", (), ["RUNNING"])
    assert version.metrics["log_loss"] == record.experiment.evaluations["model"]["all"].log_loss
    assert registry.download_bundle("1", tmp_path / "bundle", expected_digest=version.digest).digest == record.experiment.bundle.digest

    assert registry.log_training(record).version == "1"
    (finished,) = registry.versions()
    assert (finished.run_id, finished.model_id, finished.aliases) == (version.run_id, version.model_id, (CHALLENGER,))
    assert runs_of(registry) == ["FINISHED"]


def test_the_same_training_logged_by_two_processes_at_once_is_one_version(laboratory: Laboratory) -> None:
    """Case 19: a rerun that starts while the first is still at work waits for it and finds its version."""
    children = [laboratory.child("train"), laboratory.child("train")]
    go(*children)
    answers = [reply_of(child) for child in children]
    assert [end(child) for child in children] == [0, 0]
    assert answers[0] == answers[1]
    registry = registry_of(laboratory.settings)
    assert [each.version for each in registry.versions()] == ["1"]
    assert runs_of(registry) == ["FINISHED"]


@contextmanager
def service(laboratory: Laboratory) -> Iterator[list[str | None]]:
    """Run the real service; what it says it serves, asked every 20 ms, is appended to the list."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    env = environment_of(laboratory.settings, LAB_SERVICE_PORT=str(port))
    process = subprocess.Popen([sys.executable, "-m", "lab_assets.service"], env=env, cwd=PROJECT_ROOT, stderr=subprocess.DEVNULL)
    answers: list[str | None] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.02):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/readyz")
                answers.append(json.loads(connection.getresponse().read())["model_version"])
                connection.close()
            except OSError:
                if answers:
                    answers.append("no answer")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield answers
    finally:
        stop.set()
        asking.join()
        process.terminate()
        process.wait(timeout=30)


def wait_for(answers: list[str | None], version: str) -> None:
    deadline = time.monotonic() + 30
    while version not in answers[-1:]:
        assert time.monotonic() < deadline, f"never answered {version}: {answers[-5:]}"
        time.sleep(0.05)


def test_killed_around_the_serving_record_one_version_answers_and_mirrors_follow(laboratory: Laboratory, record: TrainingRecord) -> None:
    """Case 20: before the record is committed nothing has happened; after it the alias lags, which a check finishes.

    The running service answers 1 until the record of 2 is committed and 2 ever after, whatever the alias says.
    """
    registry = registry_of(laboratory.settings)
    for number, made in (("1", record), ("2", trained(4))):
        assert registry.log_training(made).version == number
        cache_bundle(laboratory.settings, made.experiment.bundle)
        laboratory.submit(number, made.experiment.bundle.digest)
    approve = ("--as", "qa", "--reason", "metrics reviewed")
    killed = laboratory.lab("model", "approve", "1", *approve, LAB_FAILPOINT="after_decision_commit")
    assert killed.returncode == KILLED, killed.stderr
    assert laboratory.ledger.get(1).state == "approved"
    assert "waits for no decision" in laboratory.lab("model", "approve", "1", *approve).stderr
    laboratory.ledger.approve(2, approver="qa", evidence=laboratory.ledger.get(2).evidence_digest, reason="better")
    laboratory.ledger.promote("oos_risk", "1", by="qa", reason="go live")
    assert mirror_ledger(registry, laboratory.engine)
    assert [(each.version, each.stage, each.aliases) for each in registry.versions()] == [
        ("2", "Staging", (CHALLENGER,)),
        ("1", "Production", (CHAMPION,)),
    ]

    with service(laboratory) as answers:
        wait_for(answers, "1")
        child = laboratory.child("promote", "2", LAB_FAILPOINT="before_serving_commit")
        assert end(child) == KILLED
        assert (serving_version(laboratory), registry.get_alias(CHAMPION)) == ("1", "1")
        assert not mirror_ledger(registry, laboratory.engine)

        killed = laboratory.lab("model", "promote", "2", "--as", "qa", "--reason", "better", LAB_FAILPOINT="after_serving_commit")
        assert killed.returncode == KILLED, killed.stderr
        assert (serving_version(laboratory), registry.get_alias(CHAMPION)) == ("2", "1")
        wait_for(answers, "2")
        alert = check_alias(registry, laboratory.engine, at_utc=AT)
        assert alert is not None
        assert (alert["kind"], alert["severity"]) == ("alias_moved", "warning")
        assert alert["message"].startswith("alias oos_risk@champion pointed to version 1 while version 2 serves; it was put back")
        assert check_alias(registry, laboratory.engine, at_utc=AT) is None
        time.sleep(1.2)  # two polls of the service
    assert [version for version, _ in itertools.groupby(answers)] == ["1", "2"]
    assert [(each.version, each.stage, each.aliases) for each in registry.versions()] == [
        ("2", "Production", (CHAMPION,)),
        ("1", "Archived", ()),
    ]
    promoted = [entry.object for entry in AuditLog(laboratory.engine).entries(action="model.promote")]
    assert promoted == ["model:oos_risk@1", "model:oos_risk@2"]
    assert AuditLog(laboratory.engine).verify().ok


def test_a_promotion_that_was_cut_off_is_finished_by_repeating_it(laboratory: Laboratory, record: TrainingRecord) -> None:
    """Case 20: the repeated command says that the version serves already, and moves the alias that was left behind."""
    registry = registry_of(laboratory.settings)
    made = registry.log_training(record)
    cache_bundle(laboratory.settings, record.experiment.bundle)
    submitted = laboratory.submit("1", made.digest)
    laboratory.ledger.approve(submitted.approval_id, approver="qa", evidence=submitted.evidence_digest, reason="good")
    laboratory.ledger.promote("oos_risk", "1", by="qa", reason="go live")
    assert registry.get_alias(CHAMPION) is None
    again = laboratory.lab("model", "promote", "1", "--as", "qa", "--reason", "go live")
    assert (again.returncode, again.stderr.strip()) == (1, "error: oos_risk version 1 serves already")
    assert (registry.get_alias(CHAMPION), registry.version("1").stage) == ("1", "Production")
    with pytest.raises(ConflictError):
        laboratory.ledger.promote("oos_risk", "1", by="qa", reason="go live")


def serving_version(laboratory: Laboratory) -> str | None:
    serving = current_serving(laboratory.engine)
    return serving.version if serving else None
