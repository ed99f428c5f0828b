"""``lab simulate`` as people and scripts call it."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from lab_assets.cli.simulate import simulate


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command("simulate")(simulate)
    return app


def test_json_is_one_document_and_the_truth_goes_where_told(tmp_path: Path) -> None:
    truth = tmp_path / "kept" / "truth.csv"
    arguments = ["--out", str(tmp_path / "inbox"), "--lots", "1", "--months", "1", "--truth", str(truth), "--json"]
    result = CliRunner().invoke(_app(), arguments)
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["n_lots"] == 1
    assert summary["truth_path"] == str(truth)
    assert truth.read_text().startswith("injection_name,checkpoint_pct,risk,is_oos,")
    assert summary["n_files"] == sum(path.is_file() for path in (tmp_path / "inbox").rglob("*"))


def test_people_get_a_table(tmp_path: Path) -> None:
    result = CliRunner().invoke(_app(), ["--out", str(tmp_path / "inbox"), "--lots", "1", "--months", "1"])
    assert result.exit_code == 0
    assert "chamber_csv" in result.stdout
    assert "truth (not for the pipeline)" in result.stdout


def test_an_unknown_scenario_is_an_error_of_the_input(tmp_path: Path) -> None:
    result = CliRunner().invoke(_app(), ["--out", str(tmp_path / "inbox"), "--scenario", "earthquake"])
    assert result.exit_code == 1
    assert "unknown scenario 'earthquake'" in result.stderr
    assert CliRunner().invoke(_app(), []).exit_code == 2
