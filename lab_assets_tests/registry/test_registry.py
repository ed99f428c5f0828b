"""One MLflow with a real SQLite database and one relational database, shared by all tests of this file."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from lab_assets.cli.model import app
from lab_assets.governance.users import ensure_demo_users
from lab_assets.modeling.bundle_info import BundleError, DigestMismatchError
from lab_assets.modeling.gate import GateVerdict
from lab_assets.registry.diagram import reliability_png
from lab_assets.registry.mlflow_registry import CHALLENGER, CHAMPION, ModelRegistry, TrainingRecord, UnknownVersionError
from lab_assets.registry.serving import (
    NotApprovedError,
    NothingServesError,
    bundle_of,
    check_alias,
    current_serving,
    registry_of,
    verified_bundle,
)
from lab_assets.settings import Settings, get_settings
from lab_assets.state.database import open_database, writing
from lab_assets.state.governance_tables import SERVING_HISTORY
from lab_assets_tests.modeling.data import PLAN, experiment, matrix

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Lab:
    settings: Settings
    engine: Engine
    registry: ModelRegistry

    def run(self, *arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output


def _record(seed: int, *, passed: bool = True) -> TrainingRecord:
    from lab_assets.modeling.experiment import run_experiment

    plan = replace(PLAN, seed=seed)
    done = experiment() if seed == PLAN.seed else run_experiment(matrix()[0], plan)
    if not passed:
        done = replace(done, verdict=GateVerdict(passed=False, reasons=("NOT MET: too weak",), failures=("too weak",)))
    return TrainingRecord(
        plan=plan,
        experiment=done,
        trained_by="scientist",
        trained_at_utc=AT,
        code_commit="abc123",
        table_versions={"features.injection_progress": 0, "ml.labels": 7},
        table_uris={"ml.labels": "lake/ml/labels"},
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("LAB_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("LAB_DB_URL", raising=False)
        patch.chdir(home)
        get_settings.cache_clear()
        settings = get_settings()
        engine = open_database(settings)
        with writing(engine) as connection:
            ensure_demo_users(connection)
        yield Lab(settings, engine, registry_of(settings))
        engine.dispose()
        get_settings.cache_clear()


def test_from_training_to_serving_and_back(lab):
    """The whole life of two versions, with the ledger as the truth and MLflow as its mirror."""
    assert lab.registry.versions() == []
    assert json.loads(lab.run("list", "--json")) == []
    with pytest.raises(NothingServesError, match="train, submit, approve and promote"):
        verified_bundle(lab.settings, lab.engine)

    first, second = lab.registry.log_training(_record(3)), lab.registry.log_training(_record(4))
    assert (first.version, second.version) == ("1", "2")
    assert lab.registry.log_training(_record(3)) == first  # a run that is repeated registers nothing
    refused = lab.registry.log_training(_record(5, passed=False))
    assert refused.version is None
    assert lab.registry.get_alias(CHALLENGER) == "2"
    _look_at_what_was_logged(lab, first.run_id)

    lab.run("submit", "1", "--as", "scientist", "--reason", "first model")
    assert "may not approve" in lab.run("approve", "1", "--as", "scientist", "--reason", "mine is good", code=1)
    assert "is not approved" in lab.run("promote", "1", "--as", "qa", "--reason", "hurry", code=1)
    assert "evidence is not the one" in lab.run("approve", "1", "--as", "qa", "--reason", "seen", "--evidence", "0" * 64, code=1)
    lab.run("approve", "1", "--as", "qa", "--reason", "metrics reviewed")
    lab.run("promote", "1", "--as", "qa", "--reason", "go live")
    assert verified_bundle(lab.settings, lab.engine).digest == first.digest
    assert lab.registry.version("1").stage == "Production"

    lab.run("submit", "2", "--as", "scientist", "--reason", "retrained")
    lab.run("reject", "2", "--as", "qa", "--reason", "which lots?")
    assert lab.registry.version("2").stage == "Archived"
    lab.run("submit", "2", "--as", "scientist", "--reason", "retrained on the lots of February")
    lab.run("approve", "2", "--as", "qa", "--reason", "better")
    lab.run("promote", "2", "--as", "qa", "--reason", "better")
    assert [(each.version, each.stage, each.aliases) for each in lab.registry.versions()] == [
        ("2", "Production", (CHAMPION,)),
        ("1", "Archived", ()),
    ]
    lab.run("rollback", "--as", "qa", "--reason", "complaint 17")
    serving = current_serving(lab.engine)
    assert serving is not None
    assert (serving.version, serving.digest, serving.decided_by, serving.reason) == ("1", first.digest, "qa", "complaint 17")
    assert verified_bundle(lab.settings, lab.engine).digest == first.digest
    assert lab.registry.get_alias(CHAMPION) == "1"

    _check_lists(lab)
    _check_a_moved_alias_is_put_back(lab)
    _check_changed_bytes_are_refused(lab, second.digest)
    _check_a_row_without_approval_is_refused(lab)


def _look_at_what_was_logged(lab: Lab, run_id: str) -> None:
    info = lab.registry.version("1")
    assert info.table_versions == {"features.injection_progress": 0, "ml.labels": 7}  # version 0 is kept
    assert info.metrics["log_loss"] == experiment().evaluations["model"]["all"].log_loss
    assert info.slice_metrics["checkpoint_75/auc"] == experiment().evaluations["model"]["checkpoint=75"].auc
    assert (info.trained_by, info.training_set_id, info.feature_set_version) == ("scientist", "ts-test", "fs-test")
    client = lab.registry._client
    run = client.get_run(run_id)
    assert run.data.params["seed"] == "3"
    assert {each.dataset.source_type for each in run.inputs.dataset_inputs} == {"delta_table"}
    assert run.info.artifact_uri == f"mlflow-artifacts:/{run_id}/artifacts"  # no path of this machine is in it
    logged = lab.settings.mlflow_artifacts / run_id / "artifacts"
    assert {each.name for each in logged.iterdir()} >= {"reliability.png", "gate.json"}
    files = [path.name for path in lab.settings.mlflow_artifacts.rglob("*") if path.is_file()]
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".cloudpickle", ".joblib"))]
    described = next(lab.settings.mlflow_artifacts.rglob("MLmodel")).read_text()
    assert "python_function" not in described
    assert "lab_assets_bundle" in described


def _check_lists(lab: Lab) -> None:
    rows = json.loads(lab.run("list", "--json"))
    assert [(row["version"], row["approval"], row["serves"]) for row in rows] == [("2", "approved", False), ("1", "approved", True)]
    assert "Production" in lab.run("list")
    compared = json.loads(lab.run("compare", "1", "2", "--json"))
    assert compared["same_training_set"] is True
    row = next(each for each in compared["metrics"] if each["metric"] == "all/log_loss")
    assert row["difference"] == row["second"] - row["first"]
    assert "all/log_loss" in lab.run("compare", "1", "2")
    assert "has no version '9'" in lab.run("compare", "1", "9", code=1)
    assert "waits for no decision" in lab.run("reject", "1", "--as", "qa", "--reason", "late", code=1)
    assert "may not train" in lab.run("submit", "1", "--as", "qa", "--reason", "not my work", code=1)
    with pytest.raises(UnknownVersionError):
        lab.registry.set_stage("9", "Archived")


def _check_a_moved_alias_is_put_back(lab: Lab) -> None:
    assert check_alias(lab.registry, lab.engine, at_utc=AT) is None
    lab.registry.set_alias(CHAMPION, "2")
    alert = check_alias(lab.registry, lab.engine, at_utc=AT)
    assert alert is not None
    assert alert["kind"] == "alias_moved"
    assert alert["message"].startswith("alias oos_risk@champion pointed to version 2 while version 1 serves")
    assert lab.registry.get_alias(CHAMPION) == "1"
    lab.registry.set_alias(CHAMPION, None)
    assert "pointed to nothing" in (check_alias(lab.registry, lab.engine, at_utc=AT) or {})["message"]


def _check_changed_bytes_are_refused(lab: Lab, digest: str) -> None:
    """A cached bundle that was changed is fetched anew; artefacts that were changed in MLflow are refused."""
    folder = lab.settings.run / "models" / digest
    model = folder / "model.txt"
    model.write_text(model.read_text().replace("leaf_value=", "leaf_value=9", 1))
    assert bundle_of(lab.settings, digest, version="2").digest == digest
    assert list(folder.parent.glob("refused-*"))
    shutil.rmtree(folder)
    for path in lab.settings.mlflow_artifacts.rglob("model.txt"):
        path.write_text(path.read_text().replace("leaf_value=", "leaf_value=9", 1))
    with pytest.raises(DigestMismatchError, match=f"bundle in {lab.settings.mlflow_artifacts}/.*/bundle has digest"):
        bundle_of(lab.settings, digest, version="2")
    assert not folder.exists()
    shutil.rmtree(lab.settings.mlflow_artifacts)
    with pytest.raises(BundleError, match="cannot be read"):
        bundle_of(lab.settings, digest, version="2")


def _check_a_row_without_approval_is_refused(lab: Lab) -> None:
    """Whoever writes to the database itself names another digest: what serves is then refused, not guessed."""
    row = {
        "model_name": "oos_risk",
        "model_version": "2",
        "digest": "f" * 64,
        "action": "promote",
        "approval_id": 1,
        "decided_by": "mallory",
        "at_utc": "2026-03-01T12:00:00.000000Z",
        "reason": "forged",
    }
    with writing(lab.engine) as connection:
        connection.execute(SERVING_HISTORY.insert().values(**row))
        with pytest.raises(NotApprovedError, match="without an approval"):
            current_serving(connection)
    with pytest.raises(NotApprovedError):
        verified_bundle(lab.settings, lab.engine)


def test_the_diagram_is_a_picture():
    assert reliability_png(experiment().reliability, title="t").startswith(b"\x89PNG")


def test_the_diagram_is_drawn_once_for_all_who_show_it(lab):
    record = _record(3, passed=False)
    assert record.diagram is record.diagram
    run_id = lab.registry.log_training(record).run_id
    (logged,) = (path for path in lab.settings.mlflow_artifacts.rglob("reliability.png") if run_id in path.parts)
    assert logged.read_bytes() == record.diagram


def test_an_embedded_mlflow_keeps_a_write_ahead_log(lab):
    """Making its tables takes some seventy commits, and readers are not locked out while a training is logged."""
    assert lab.registry.get_alias("nobody") is None
    with closing(sqlite3.connect(lab.settings.mlflow_uri.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_registry_is_not_opened_before_it_is_used(tmp_path: Path):
    ModelRegistry(f"sqlite:///{tmp_path}/m/mlflow.db", tmp_path / "artifacts")
    assert list(tmp_path.iterdir()) == []
