"""``lab read``: the JSON that other programs rely on, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lab_assets.cli.read import read
from lab_assets_tests.sources.builders import labsolutions
from lab_assets_tests.sources.text_tables import LOTS

app = typer.Typer()
app.command("read")(read)


def run(*arguments: str) -> tuple[int, Any]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_json_of_an_injection(tmp_path: Path) -> None:
    path = tmp_path / "SEQ_007.txt"
    path.write_text(labsolutions(), newline="")
    code, (report,) = run(str(path))
    assert code == 0
    assert (report["file"], report["format"], report["state"], report["reason"]) == (str(path), "labsolutions_text", "ok", None)
    (injection,) = report["injections"]
    assert list(injection) == ["injection_name", "sample_name", "injected_at_text", "zone_known", "channels", "vendor_peaks"]
    assert injection["channels"][0] == {
        "channel": "Detector A-Ch1",
        "n_points": 3,
        "x_first": 0.01,
        "x_last": 0.02667,
        "x_unit": "min",
        "y_min": -0.001,
        "y_max": 0.005,
        "y_unit": "mV",
    }
    assert injection["vendor_peaks"][1]["area"] == 904583.0
    assert report["tables"] == {"chromatograms": 2, "instrument_status": 1, "vendor_peaks": 2}


def test_tables_without_injections_and_rejected_rows(tmp_path: Path) -> None:
    path = tmp_path / "lots.csv"
    path.write_text(LOTS + "L3,P1,,x,2025-01-01\n")
    code, (report,) = run(str(path))
    assert (code, report["injections"], report["tables"]) == (0, [], {"lims_lots": 2})
    assert [(row["source_row"], row["rule"]) for row in report["rejected"]] == [(4, "not_a_number")]


def test_refused_files_fail_the_command_and_the_others_are_still_shown(tmp_path: Path) -> None:
    good, empty, strange = tmp_path / "good.csv", tmp_path / "empty.txt", tmp_path / "strange.bin"
    good.write_text(LOTS)
    empty.write_bytes(b"")
    strange.write_bytes(b"\x7fELF\x00")
    code, reports = run(str(good), str(empty), str(strange), str(tmp_path), str(tmp_path / "none"))
    assert code == 1
    assert [report["state"] for report in reports] == ["ok", "rejected", "rejected", "rejected", "rejected"]
    assert [report["reason"].split(":")[0] for report in reports[1:]] == ["empty", "unknown_format", "folder", "missing"]
    assert all(report["injections"] == [] for report in reports[1:])


def test_a_file_whose_rows_are_all_rejected_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "lots.csv"
    path.write_text(LOTS.replace("2025-03-0", "never "))
    code, (report,) = run(str(path))
    assert (code, report["state"], len(report["rejected"])) == (1, "rejected", 2)


def test_table_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "a.txt"
    path.write_text(labsolutions(), newline="")
    result = CliRunner().invoke(app, [str(path)])
    assert result.exit_code == 0
    assert "Detector B-Ch1" in result.stdout
