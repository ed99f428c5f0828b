"""A demonstration of few lots: the gate refuses the model, and the command says so."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import polars as pl
import pytest

from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets_tests.end_to_end.laboratory import LAB

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_a_demonstration_of_thirty_lots_ends_at_the_gate_with_a_message(spark_url: str, tmp_path: Path) -> None:
    """Of its later lots too few fail to judge a model by: each criterion that was not met is named, and every table is there."""
    environment = {**os.environ, "LAB_HOME": str(tmp_path / "lab"), "LAB_STABLE_S": "0.5", "LAB_SPARK_REMOTE": spark_url}
    command = [LAB, "demo", "--lots", "30", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=PROJECT_ROOT, timeout=1200)
    assert done.returncode == 1, done.stderr[-6000:]
    assert "Traceback" not in done.stderr
    assert "Stack Trace" not in done.stderr
    report, settings = json.loads(done.stdout), Settings(home=tmp_path / "lab")
    assert report["serving"] == "none"
    assert any(reason.endswith("failures among them, at least 10 needed") for reason in report["refused"])
    message = done.stderr[done.stderr.index("error: ") :].splitlines()
    assert message[0] == "error: no model passed the gate; nothing was promoted and no run was scored"
    assert message[1 : 1 + len(report["refused"])] == [f"  {reason}" for reason in report["refused"]]
    lots = pl.read_delta(settings.table_uri("gold", "lot_disposition"))
    assert lots.height == 30
    evaluated = pl.read_delta(settings.table_uri("ml", "evaluations"))
    assert evaluated.height > 0
    assert evaluated["model_version"].fill_null("").unique().to_list() == [""]
