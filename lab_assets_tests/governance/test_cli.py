"""The commands on governance: what they print for machines, their exit codes, and who is recorded as acting."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from sqlalchemy import Engine
from typer.testing import CliRunner

from lab_assets import settings as settings_module
from lab_assets.cli import audit, catalog, grant, query, tag, user
from lab_assets.contracts.all_contracts import contracts
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets_tests.governance.lineage_rows import made_from
from lab_assets_tests.governance.tables import write_table

APP = typer.Typer()
for _name, _group in (("user", user.app), ("audit", audit.app), ("catalog", catalog.app)):
    APP.add_typer(_group, name=_name)
for _name, _command in (("grant", grant.grant), ("revoke", grant.revoke), ("tag", tag.tag), ("mask", tag.mask), ("query", query.query)):
    APP.command(_name)(_command)


@pytest.fixture
def home(people: Engine, lots: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("LAB_HOME", str(lots.home))
    settings_module.get_settings.cache_clear()
    yield people
    settings_module.get_settings.cache_clear()


def lab(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(APP, list(arguments), input=typed)


def document(*arguments: str) -> Any:
    done = lab(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_query_as_three_people(home: Engine) -> None:
    sql = "SELECT lot_id, customer FROM silver.lots ORDER BY 1 LIMIT 1"
    assert document("query", sql, "--as", "qa")["rows"] == [["L1", "Acme"]]
    masked = document("query", sql, "--as", "analyst")
    assert masked["rows"] == [["L1", "***"]]
    assert masked["masked_columns"] == {"silver.lots.customer": "customer"}
    assert (masked["columns"], masked["row_count"], masked["table_versions"]) == (["lot_id", "customer"], 1, {"silver.lots": 0})
    unknown = lab("query", sql, "--as", "ghost")
    assert unknown.exit_code == 1
    assert "no user 'ghost'" in unknown.stderr
    assert unknown.stdout == ""
    assert lab("query", sql).exit_code == 2
    assert "masked for analyst" in lab("query", sql, "--as", "analyst").stdout


def test_times_and_odd_values_are_json(home: Engine) -> None:
    sql = "SELECT recorded_at_utc, CAST('NaN' AS DOUBLE), [1, NULL], 1.5, {'a': 1} FROM silver.lots LIMIT 1"
    assert document("query", sql, "--as", "qa")["rows"] == [["2026-01-02T03:04:05+00:00", None, [1, None], "1.5", {"a": 1}]]


def test_an_accounts_life(home: Engine) -> None:
    assert lab("user", "add", "ann", "--role", "analyst", "--password-stdin", "--as", "admin", typed="battery-staple-5\n").exit_code == 0
    assert lab("user", "add", "ann", "--role", "analyst", "--password-stdin", typed="battery-staple-5\n").exit_code == 1
    assert lab("user", "add", "bob", "--role", "analyst", "--password-stdin", "--as", "qa", typed="battery-staple-5\n").exit_code == 1
    assert lab("user", "roles", "ann", "--role", "viewer", "--reason", "moved").exit_code == 0
    assert lab("user", "passwd", "ann", "--password-stdin", typed="battery-staple-6\n").exit_code == 0
    assert lab("user", "disable", "ann").exit_code == 2
    assert lab("user", "disable", "ann", "--reason", "left", "--as", "admin").exit_code == 0
    ann = next(item for item in document("user", "list") if item["name"] == "ann")
    assert (ann["roles"], ann["disabled"]) == (["viewer"], True)
    assert "disabled" in lab("grant", "SELECT", "lab", "role:viewer", "--as", "ann").stderr
    actors = {entry.action: entry.actor.partition(":")[0] for entry in AuditLog(home).entries(target="user:ann")}
    assert actors == {"user.create": "admin", "user.roles": "shell", "user.password": "shell", "user.disable": "admin"}


def test_rights_are_given_and_taken_back(home: Engine) -> None:
    sentence = ("SELECT", "ON", "silver.lots", "TO", "role:viewer")
    assert lab("grant", *sentence, "--as", "analyst").exit_code == 1
    assert document("grant", *sentence, "--as", "admin")["changed"] is True
    assert document("query", "SELECT count(*) FROM silver.lots", "--as", "viewer")["rows"] == [[3]]
    assert any(item["securable"] == "lab.silver.lots" for item in document("grant"))
    assert lab("revoke", "SELECT", "ON", "silver.lots", "FROM", "role:viewer").exit_code == 0
    assert lab("revoke", "SELECT", "silver.lots", "role:viewer").exit_code == 1
    assert lab("query", "SELECT count(*) FROM silver.lots", "--as", "viewer").exit_code == 1
    assert lab("grant", "SELECT").exit_code == 2


def test_tags_and_masks(home: Engine) -> None:
    assert lab("tag", "silver.lots.site", "customer", "--reason", "tells", "--as", "admin").exit_code == 0
    assert {"table": "silver.lots", "column": "site", "tags": ["customer"]} in document("tag")
    assert lab("tag", "silver.lots.site", "customer", "--remove").exit_code == 1
    assert lab("tag", "silver.lots.site", "customer", "--remove", "--reason", "does not").exit_code == 0
    assert lab("tag", "silver.lots.site").exit_code == 2
    masks = document("mask", "customer", "null", "--reason", "stricter")
    assert {"tag": "customer", "method": "null", "roles_in_clear": ["qa"]} in masks
    assert document("query", "SELECT DISTINCT customer FROM silver.lots", "--as", "analyst")["rows"] == [[None]]
    assert "pseudonym" in lab("mask").stdout


def test_the_trail(home: Engine, tmp_path: Path) -> None:
    assert document("audit", "verify")["ok"] is True
    assert [entry["action"] for entry in document("audit", "show", "--action", "user", "--limit", "2")] == ["user.create", "user.create"]
    out = tmp_path / "trail.jsonl"
    exported = document("audit", "export", str(out))
    assert exported["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert json.loads(out.read_text().splitlines()[-1])["action"] == "audit.export"
    assert lab("audit", "export", str(out)).exit_code == 1
    anchor = Path(str(home.url.database)).parent / "run" / "audit_anchor.jsonl"
    anchor.unlink()
    broken = lab("audit", "verify", "--json")
    assert broken.exit_code == 1
    assert json.loads(broken.stdout)["ok"] is False
    assert lab("audit", "verify").exit_code == 1
    assert lab("audit", "show").exit_code == 0


def test_examine_says_who_is_to_act_before_and_after_a_proposal(home: Engine) -> None:
    (Path(str(home.url.database)).parent / "run" / "audit_anchor.jsonl").unlink()
    before = lab("audit", "examine").stdout.splitlines()[-1]
    assert "or an administrator proposes to take it as it is ('lab audit accept --as USER --reason WHY')" in before
    proposed = lab("audit", "accept", "--as", "admin", "--reason", "the disk was changed").stdout.splitlines()[-1]
    after = lab("audit", "examine").stdout.splitlines()[-1]
    assert f"or QA confirms what admin proposed ('{proposed}'), to take it as it is" in after
    assert "an administrator proposes" not in after


def test_the_catalogue(home: Engine, lots: Settings) -> None:
    names = [item["table"] for item in document("catalog", "list")]
    assert names == list(contracts())
    table = next(item for item in document("catalog", "list", "--layer", "silver") if item["table"] == "silver.lots")
    assert (table["version"], table["rows"], table["owner"]) == (0, 3, "team:lims")
    assert "silver.samples" in [item["table"] for item in document("catalog", "search", "patient", "initials")]
    shown = document("catalog", "show", "silver.lots")
    assert next(column for column in shown["columns"] if column["name"] == "customer")["tags"] == ["customer"]
    assert lab("catalog", "show", "silver.lots").exit_code == 0
    assert lab("catalog", "show", "silver.nothing").exit_code == 1
    assert lab("catalog", "list", "--layer", "nothing").exit_code == 1
    assert lab("catalog", "lineage", "silver.samples").exit_code == 1
    assert [row["input"] for row in document("catalog", "lineage", "silver.lots")["lineage"]] == ["external"]
    now = datetime.now(UTC)  # rows of before the table was made would be of an earlier life of it
    made = [*made_from("silver.lots", 0, {"bronze.lims_lots": 4}, at=now), *made_from("bronze.lims_lots", 4, {"files:7": 1}, run_id="q")]
    column = {**made[0], "output_column": "lot_id", "input_column": "lot_id", "input_version": "declared"}
    write_table(lots, "governance.lineage", [*made, column])
    steps = document("catalog", "lineage", "silver.lots")["lineage"]
    assert [(row["output"], row["input"]) for row in steps] == [("silver.lots", "bronze.lims_lots"), ("bronze.lims_lots", "files:7")]
    columns = document("catalog", "lineage", "silver.lots", "--column", "lot_id")["lineage"]
    assert [(row["output_column"], row["input"], row["input_column"]) for row in columns] == [("lot_id", "bronze.lims_lots", "lot_id")]
    assert lab("catalog", "lineage", "silver.lots", "--column", "nothing").exit_code == 1


def test_the_commands_start_without_science() -> None:
    code = (
        "import sys; from lab_assets.cli import audit, catalog, grant, query, tag, user; "
        "print(sorted({'duckdb', 'sqlglot', 'cedarpy', 'sqlalchemy', 'deltalake', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
