"""``lab table`` on a real Delta table: versions, difference, state at a time, restore."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lab_assets.contracts.registry import contract
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings
from lab_assets.state.audit import AuditLog
from lab_assets.state.database import open_database
from lab_assets_tests.cli.commands import Lab

NAME = "bronze.chromatograms"
CONTRACT = contract(NAME)


def row(injection: str, y: list[float], operator: str = "Tom") -> dict[str, Any]:
    blank = dict.fromkeys(CONTRACT.column_names)
    at = datetime(2026, 3, 1, tzinfo=UTC)
    own = {"injection_name": injection, "channel": "A", "x": [0.0] * len(y), "y": y, "n_points": len(y), "zone_known": True}
    kept = {"source": "hplc", "source_file": "a.txt", "source_sha256": "0" * 64, "source_row": 1, "ingested_at_utc": at, "ingest_batch": 1}
    return {**blank, **own, **kept, "operator": operator}


def write(settings: Settings, rows: list[dict[str, Any]], mode: str = "append") -> None:
    table = pa.Table.from_pylist(rows, schema=CONTRACT.arrow_schema())
    write_deltalake(settings.table_uri("bronze", "chromatograms"), table, mode=mode)  # type: ignore[call-overload]  # mode is a literal there


@pytest.fixture
def table(settings: Settings) -> datetime:
    """Version 0: i1. Version 1: i1, i2. Version 2: i2 and i3. Returns a time between versions 0 and 1."""
    write(settings, [row("i1", [1.0])])
    time.sleep(0.05)
    between = datetime.now(UTC)
    time.sleep(0.05)
    write(settings, [row("i2", [2.0] * 20)])
    write(settings, [row("i2", [2.0] * 20), row("i3", [3.0])], mode="overwrite")
    return between


def test_history_is_newest_first(lab: Lab, table: datetime) -> None:
    commits = lab("table", "history", NAME, "--json").document["commits"]
    assert [commit["version"] for commit in commits] == [2, 1, 0]
    assert [commit["version"] for commit in lab("table", "history", NAME, "--limit", "1", "--json").document["commits"]] == [2]
    assert NAME in lab("table", "history", NAME).stdout


def test_a_difference_speaks_of_rows_and_not_of_files(lab: Lab, table: datetime) -> None:
    """i2 was written anew in version 2, the same as before: it is in neither list."""
    found = lab("table", "diff", NAME, "1", "2", "--json").document
    assert [each["injection_name"] for each in found["added"]] == ["i3"]
    assert [each["injection_name"] for each in found["removed"]] == ["i1"]
    assert lab("table", "diff", NAME, "2", "2", "--json").document["added"] == []
    assert "1 row(s) added, 1 removed" in lab("table", "diff", NAME, "1", "2").stdout


def test_a_row_wider_than_the_screen_is_shown_field_by_field(lab: Lab, table: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thirty columns of a trace fit no screen; the six of a history fit one of 200 characters and not one of 60."""
    shown = lab("table", "as-of", NAME, "1").stdout.splitlines()
    names = sorted(line.split() for line in shown if line.startswith("injection_name"))
    assert names == [["injection_name", "i1"], ["injection_name", "i2"]]
    assert [line[:6] for line in shown if " of 2 " in line] == ["1 of 2", "2 of 2"]
    assert "┃ version ┃" in lab("table", "history", NAME).stdout
    monkeypatch.setenv("COLUMNS", "60")
    assert [line.split() for line in lab("table", "history", NAME).stdout.splitlines() if line.startswith("version")] == [
        ["version", "2"],
        ["version", "1"],
        ["version", "0"],
    ]


def test_a_table_is_shown_as_it_was(lab: Lab, table: datetime) -> None:
    by_version = lab("table", "as-of", NAME, "1", "--json").document
    assert (by_version["version"], by_version["row_count"]) == (1, 2)
    by_time = lab("table", "as-of", NAME, table.isoformat(), "--json").document
    assert (by_time["version"], [each["injection_name"] for each in by_time["rows"]]) == (0, ["i1"])
    without_zone = lab("table", "as-of", NAME, table.replace(tzinfo=None).isoformat(), "--json").document
    assert without_zone["version"] == 0


def test_names_of_persons_are_hidden_and_long_traces_are_short(lab: Lab, table: datetime) -> None:
    rows = {each["injection_name"]: each for each in lab("table", "as-of", NAME, "1", "--json").document["rows"]}
    assert [each["operator"] for each in rows.values()] == ["***", "***"]
    assert (rows["i1"]["y"], rows["i2"]["y"]) == ([1.0], "[20 values]")
    assert "Tom" not in lab("table", "diff", NAME, "0", "1").stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("as-of", NAME, "9"), "has versions 0 to 2, not 9"),
        (("as-of", NAME, "2001-01-01"), "did not exist at 2001-01-01"),
        (("as-of", NAME, "yesterday"), "neither a version nor a time"),
        (("diff", NAME, "0", "9"), "has versions 0 to 2, not 9"),
        (("history", "silver.peaks"), "silver.peaks has no data yet"),
        (("restore", NAME, "2", "--reason", "x"), "is at version 2; name an earlier one"),
    ],
)
def test_what_does_not_exist_is_told(lab: Lab, table: datetime, arguments: tuple[str, ...], reason: str) -> None:
    told = lab("table", *arguments)
    assert told.exit_code == 1
    assert reason in told.stderr


@pytest.mark.spark
def test_a_restore_is_a_new_commit_with_its_reason_on_record(lab: Lab, lakehouse: Lakehouse) -> None:
    lakehouse.append(CONTRACT, lakehouse.local_rows(CONTRACT, [row("i1", [1.0])]))
    lakehouse.append(CONTRACT, lakehouse.local_rows(CONTRACT, [row("i2", [2.0])]))
    told = lab("table", "restore", NAME, "1", "--reason", "wrong batch", "--json").document
    assert told == {"table": NAME, "restored": 1, "version": 3, "previous": 2}
    assert lakehouse.polars(CONTRACT)["injection_name"].to_list() == ["i1"]
    entries = AuditLog(open_database(lakehouse.settings)).entries(action="table")
    assert [entry.action for entry in entries] == ["table.restore_begin", "table.restore"]
    assert {entry.reason for entry in entries} == {"wrong batch"}
