"""Contracts in the worker: the quick look lets pass only what pandera lets pass."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from lab_assets.contracts.core import Column, TableContract
from lab_assets.ingest import parsing, row_rules
from lab_assets.ingest.sandbox import Limits
from lab_assets.ingest.staged import StagedFile
from lab_assets.sources.base import ReadResult

COLUMNS = (
    Column(name="name", kind="string", meaning="a name", nullable=False),
    Column(name="kind", kind="string", meaning="a kind", allowed=("a", "b")),
    Column(name="code", kind="string", meaning="a code", pattern="[A-Z]{2}-[0-9]+"),
    Column(name="count", kind="int64", meaning="a count", nullable=False, minimum=1),
    Column(name="share", kind="float64", meaning="a share", minimum=0, maximum=1),
    Column(name="level", kind="float64", meaning="a level", nullable=False),
    Column(name="loose", kind="float64", meaning="any float", finite=False),
    Column(name="trace", kind="array<float64>", meaning="a trace", nullable=False),
    Column(name="rescued", kind="map<string,string>", meaning="the rest"),
)
CONTRACT = TableContract(layer="bronze", name="quick_look", grain="one row", description="A table.", owner="team:test", columns=COLUMNS)
GOOD: dict[str, Any] = {
    "name": "n",
    "kind": "a",
    "code": "AB-1",
    "count": 1,
    "share": 0.5,
    "level": 2.0,
    "loose": 1.0,
    "trace": np.arange(3.0),
    "rescued": {"k": "v"},
}
ODD = (None, float("nan"), float("inf"), -1, 0, 2, 0.0, 1.0, True, np.float64(0.5), np.int64(1), "a", "c", "AB-1", "AB-1\n", "")


def _failures(row: dict[str, Any], *, quickly: bool, monkeypatch: pytest.MonkeyPatch) -> object:
    with monkeypatch.context() as patch:
        if not quickly:
            patch.setattr(row_rules, "surely_kept", lambda _column, _values: False)
        try:
            return row_rules.contract_failures(CONTRACT, [GOOD, row])
        except (TypeError, ValueError) as error:
            return type(error)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_the_quick_look_changes_no_verdict(column: Column, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ODD:
        row = {**GOOD, column.name: value}
        assert _failures(row, quickly=True, monkeypatch=monkeypatch) == _failures(row, quickly=False, monkeypatch=monkeypatch), value


def test_good_rows_do_not_wake_pandera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_rules, "_schema", lambda *_: pytest.fail("pandera was asked"))
    sparse = {**GOOD, **dict.fromkeys(("kind", "code", "share", "loose", "rescued"))}
    assert row_rules.contract_failures(CONTRACT, [GOOD, sparse]) == {}


def test_a_broken_rule_is_reported_with_its_row() -> None:
    failures = row_rules.contract_failures(CONTRACT, [GOOD, {**GOOD, "count": 0}])
    assert [(position, column) for position, (_, column, _) in failures.items()] == [(1, "count")]


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [("count", 0, "minimum(1)"), ("share", 1.5, "maximum(1)"), ("kind", "c", "allowed(a|b)"), ("code", "x", "pattern([A-Z]{2}-[0-9]+)")],
)
def test_rules_are_named_in_the_contracts_words(column: str, value: Any, rule: str) -> None:
    ((broken, name, reason),) = row_rules.contract_failures(CONTRACT, [{**GOOD, column: value}]).values()
    assert (broken, name) == (rule, column)
    assert str(value) in reason


@pytest.mark.parametrize(
    ("tables", "words"),
    [({"readings": [{"source_row": 1}]}, "'readings', which is no table"), ({"images": [{"colour": "red", "source_row": 1}]}, "colour")],
)
def test_rows_that_no_table_would_hold_are_refused_and_not_lost(
    tables: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A reader's fault: a table without contract, or a column that its contract does not have."""
    (tmp_path / "raw").write_bytes(b"x")
    reader = SimpleNamespace(format="made_up", read=lambda *_: ReadResult(format="made_up", tables=tables))
    monkeypatch.setattr("lab_assets.sources.all_readers.recognise", lambda *_: reader)
    task = {
        "arrival_id": 1,
        "file_id": "1" * 64,
        "source": "s",
        "file_name": "f",
        "zone": "UTC",
        "date_order": None,
        "raw_path": str(tmp_path / "raw"),
    }
    staged = parsing.parse_one(task)
    assert (staged.state, staged.rule, staged.tables) == ("quarantined", "reader_error", {})
    assert words in (staged.reason or "")


def test_a_file_that_one_table_refuses_leaves_all_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its rows of a table that is laid earlier would stand beside a file in quarantine, and stand twice when it is let in."""
    reading = {"source_row": 1, "read_at_text": "t", "read_at_utc": datetime(2025, 1, 1, tzinfo=UTC), "zone_known": True}
    chamber = {**reading, "chamber_id": "C-1", "temperature_c": 25.0, "humidity_pct": 60.0}
    status = {"source_row": 1, "x": [0.0], "y": ["no number"]}

    def parsed(task: dict[str, Any], **_: Any) -> StagedFile:
        tables = {"chamber_readings": [dict(chamber)]} | ({"instrument_status": [status]} if task["arrival_id"] == 1 else {})
        return StagedFile(**{name: task[name] for name in ("arrival_id", "file_id", "source", "file_name")}, tables=tables)

    monkeypatch.setattr(parsing, "parse_one", parsed)
    monkeypatch.setattr(parsing, "apply_contracts", lambda _: None)
    staging = parsing.Staging(
        folder=str(tmp_path),
        raw=str(tmp_path),
        batch=1,
        at_utc=datetime(2025, 1, 1, tzinfo=UTC),
        limits=Limits(seconds=9.0, memory_bytes=2**30),
    )
    tasks = [{"arrival_id": n, "file_id": str(n) * 64, "source": "s", "file_name": f"{n}.csv"} for n in (1, 2)]
    outcomes = staging._stage("part", tasks, lambda _: None)
    assert [outcome["state"] for outcome in outcomes] == ["quarantined", "committed"]
    assert "rows of instrument_status do not fit its columns: y, row 1" in outcomes[0]["reason"]
    assert pl.read_parquet(tmp_path / "chamber_readings" / "part.parquet")["source_file"].to_list() == ["2.csv"]
    assert not (tmp_path / "instrument_status" / "part.parquet").exists()
