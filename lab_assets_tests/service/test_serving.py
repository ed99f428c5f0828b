"""Switching models: follows the ledger, refuses other bytes, keeps the old one."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest

from lab_assets.governance.approvals import Approvals
from lab_assets.modeling.bundle import MODEL_FILE, ModelBundle
from lab_assets.registry import serving as registry_serving
from lab_assets.service import record_watch, serving
from lab_assets.service.serving import ModelWatch, NoModelError
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets_tests.service import laboratory
from lab_assets_tests.service.laboratory import MODEL, approve

FEATURES = {"checkpoint_pct": 50, "features": {"worst_margin_so_far": -2.0, "pressure_ripple_pct": 2.5}}


@pytest.fixture(scope="module")
def second(lab):
    return laboratory.train(2)


def wait_for(happened, seconds: float = 3.0) -> float:
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - began


def test_without_an_approved_model_nothing_is_scored(tmp_path):
    settings = Settings(home=tmp_path)
    watch = ModelWatch(settings, open_database(settings))
    watch.refresh()
    with pytest.raises(NoModelError, match="lab model list"):
        _ = watch.current


def test_promotion_and_rollback_reach_requests_within_two_seconds(client, lab, second):
    approve(lab, "2", second)
    wait_for(lambda: client.state.watch.current.version == "2")
    answered = client.post("/v1/score", user="analyst", json=FEATURES).json()
    assert (answered["model_version"], answered["model_digest"]) == ("2", second.digest)
    Approvals(lab.engine).rollback(MODEL, by="qa", reason="try")
    assert wait_for(lambda: client.state.watch.current.version == "1") < 2
    old = client.get(f"/v1/predictions/{answered['prediction_id']}?explain=true", user="analyst")
    assert old.json()["drivers"], "a prediction of the replaced model can still be explained"


def test_a_look_that_fails_as_nobody_expected_does_not_end_the_watch(lab, monkeypatch):
    monkeypatch.setattr(serving, "POLL_S", 0.05)
    watch = ModelWatch(lab.settings, lab.engine)
    watch.start()
    served = watch.current
    with monkeypatch.context() as broken:
        broken.setattr(registry_serving, "current_serving", lambda *_, **__: 1 / 0)
        wait_for(lambda: watch.alarm is not None)
        assert watch.alarm == "ZeroDivisionError: division by zero"
        assert watch.current is served
    wait_for(lambda: watch.alarm is None)
    watch.stop()


def test_a_look_at_the_records_that_fails_is_said_and_repeated(lab, monkeypatch):
    monkeypatch.setattr(record_watch, "POLL_S", 0.05)
    watch = record_watch.RecordWatch(lab.settings, lab.engine)
    watch.start()
    assert watch.health.problems == []
    with monkeypatch.context() as broken:
        broken.setattr(record_watch, "record_health", lambda *_: 1 / 0)
        wait_for(lambda: watch.health.problems)
        assert watch.health.problems == ["whether actions can be recorded cannot be seen (ZeroDivisionError; the log says more)"]
    wait_for(lambda: not watch.health.problems)
    watch.stop()


def from_cache(settings: Settings, digest: str, *, version: str) -> ModelBundle:
    """The local cache alone, as when the registry has no copy of the version."""
    return ModelBundle.load(settings.run / "models" / digest, digest)


def test_bytes_that_are_not_the_approved_ones_never_serve(lab, tmp_path):
    """In a copy of the laboratory version 3 is approved and promoted, then one byte of its model is changed."""
    with closing(sqlite3.connect(lab.settings.home / "lab.db")) as source, closing(sqlite3.connect(tmp_path / "lab.db")) as copy:
        source.backup(copy)
    shutil.copytree(lab.settings.run / "models", tmp_path / "run" / "models")
    settings = Settings(home=tmp_path)
    engine = open_database(settings)
    watch = ModelWatch(settings, engine, load=from_cache)
    watch.refresh()
    served = watch.current
    third = laboratory.train(3)
    approve(replace(lab, settings=settings, engine=engine), "3", third)
    path = settings.run / "models" / third.digest / MODEL_FILE
    path.write_bytes(path.read_bytes().replace(b"leaf_value=", b"leaf_value= ", 1))
    watch.refresh()
    assert watch.alarm is not None
    assert "digest" in watch.alarm
    assert watch.current is served
    Approvals(engine).rollback(MODEL, by="qa", reason="back", model_version=served.version)
    watch.refresh()
    assert watch.alarm is None
    engine.dispose()


def test_score_explain_and_reproduce_as_commands(client, command):
    import orjson

    scored = command("score", "--injection", "SEQ-1_002", "--checkpoint", "50", "--json")
    assert scored.exit_code == 0, scored.output
    prediction_id = orjson.loads(scored.stdout)["prediction_id"]
    repeated = command("reproduce", prediction_id, "--json")
    assert repeated.exit_code == 0, repeated.output
    assert orjson.loads(repeated.stdout)["features_from"] == "tables"
    answered = orjson.loads(command("explain", prediction_id, "--as", "scientist", "--json").stdout)
    assert answered["prediction"]["requested_by"].startswith("person-")
    assert answered["raw_files"][0]["sha256"] == "cd" * 32
    assert "silver.injections" in answered["prediction"]["table_versions"]
    for arguments in (("explain", prediction_id), ("reproduce", prediction_id), ("score", "--injection", "i-1")):
        assert command(*arguments).exit_code == 0


def test_features_from_a_file(command, tmp_path):
    import orjson

    path = tmp_path / "features.json"
    path.write_bytes(orjson.dumps(FEATURES))
    assert orjson.loads(command("score", "--file", str(path), "--as", "analyst", "--json").stdout)["model_name"] == MODEL
    path.write_text('{"checkpoint_pct": 50, "features": {"nope": 1}}')
    refused = command("score", "--file", str(path))
    assert refused.exit_code == 1
    assert "features.nope" in refused.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("score",), 2, "either"),
        (("score", "--injection", "none"), 1, "no injection"),
        (("score", "--injection", "i-1", "--checkpoint", "33"), 1, "no features at 33 %"),
        (("score", "--injection", "i-1", "--as", "nobody"), 1, "no user"),
        (("score", "--injection", "i-1", "--as", "viewer"), 1, "may not EXECUTE"),
        (("explain", "p-none"), 1, "no prediction"),
        (("explain", "p-none", "--as", "viewer"), 1, "may not SELECT"),
        (("reproduce", "p-none"), 1, "no prediction"),
    ],
)
def test_what_cannot_be_done_is_said(command, arguments, code, words):
    result = command(*arguments)
    assert result.exit_code == code, result.output
    assert words in result.output
