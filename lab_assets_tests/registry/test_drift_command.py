from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
import typer
from deltalake import write_deltalake
from typer.testing import CliRunner

from lab_assets.cli.drift import drift, last_check
from lab_assets.contracts.all_contracts import contract
from lab_assets.settings import Settings, get_settings
from lab_assets.state.database import open_database

APP = typer.Typer()
APP.command()(drift)


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    monkeypatch.delenv("LAB_LAKE_URI", raising=False)
    get_settings.cache_clear()
    open_database(get_settings()).dispose()
    yield get_settings()
    get_settings.cache_clear()


def _write(settings: Settings, check: int, drifted: dict[str, bool], *, model_version: str = "1") -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=check)
    rows = [
        {
            "check_id": f"c{check}",
            "subject": subject,
            "psi": 0.5 if moved else 0.01,
            "ks": 0.2,
            "ks_p_value": 0.01,
            "psi_limit": 0.1,
            "missing_share": 0.0,
            "missing_share_reference": 0.0,
            "drifted": moved,
            "rows": 100,
            "reference_rows": 1000,
            "model_version": model_version,
            "window_start_utc": at,
            "window_end_utc": at,
            "checked_at_utc": at,
        }
        for subject, moved in drifted.items()
    ]
    assert set(rows[0]) == {column.name for column in contract("ml.drift").columns}
    write_deltalake(settings.table_uri("ml", "drift"), pa.Table.from_pylist(rows), mode="append")


def test_before_any_check(settings):
    assert CliRunner().invoke(APP, []).output == "no drift check ran yet: start the job check_drift\n"
    assert json.loads(CliRunner().invoke(APP, ["--json"]).output)["check_id"] is None


def test_the_last_check_with_persistence_over_three(settings):
    """``a`` drifted in checks 2 and 3, ``b`` in 3 only; what another model version saw in check 0 and 1 counts for neither."""
    _write(settings, 0, {"a": True, "b": True}, model_version="0")
    _write(settings, 1, {"a": False, "b": True}, model_version="0")
    _write(settings, 2, {"a": True, "b": False})
    _write(settings, 3, {"b": True, "a": True, "c": False})
    report = last_check(settings)
    assert (report["check_id"], report["model_version"], report["drifted"]) == ("c3", "1", 2)
    assert [(row["subject"], row["drifted"], row["persistent"]) for row in report["subjects"]] == [
        ("a", True, True),
        ("b", True, False),
        ("c", False, False),
    ]
    printed = CliRunner().invoke(APP, []).output
    assert "persistent" in printed
    assert "2 of 3 drifted" in printed
    assert len(json.loads(CliRunner().invoke(APP, ["--json"]).output)["subjects"]) == 3
