"""Rows of lineage and the way back to the files."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from lab_assets.contracts.governance import TABLES
from lab_assets.governance.lineage import column_upstream, upstream
from lab_assets.lake.table_life import TableLife
from lab_assets_tests.governance.lineage_rows import AT, made_from


def _made(output: str, version: int, **inputs: int) -> list[dict[str, Any]]:
    return made_from(output, version, {name.replace("__", "."): number for name, number in inputs.items()})


def test_the_way_back_names_each_step_once_even_round_a_loop() -> None:
    rows = [
        *_made("gold.x", 1, silver__a=5, silver__b=6),
        *_made("silver.a", 5, bronze__f=2),
        *_made("silver.b", 6, bronze__f=2),
        *_made("bronze.f", 2, gold__x=1),
        *_made("silver.a", 4, bronze__f=1),
    ]
    found = upstream(rows, "gold.x", 1)
    assert [(row["output"], row["input"]) for row in found] == [
        ("gold.x", "silver.a"),
        ("gold.x", "silver.b"),
        ("silver.a", "bronze.f"),
        ("silver.b", "bronze.f"),
        ("bronze.f", "gold.x"),
    ]
    assert upstream(rows, "gold.x", 2) == []


def _in(life: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "output_table_id": life} for row in rows]


@pytest.mark.parametrize("named", [True, False], ids=["ids recorded", "ids not recorded"])
def test_versions_of_two_lives_of_a_table_are_not_mixed(*, named: bool) -> None:
    """silver.a began anew on the 3rd day. gold.x 1 read its version 1 on the 2nd day, gold.x 2 the other version 1 on the 4th."""
    day = timedelta(days=1)
    rows = [
        *_in("first", made_from("silver.a", 1, {"bronze.f": 2}, at=AT + day)),
        *_in("gold", made_from("gold.x", 1, {"silver.a": 1}, at=AT + 2 * day)),
        *_in("second", made_from("silver.a", 1, {"bronze.f": 7}, at=AT + 3 * day)),
        *_in("gold", made_from("gold.x", 2, {"silver.a": 1}, at=AT + 4 * day)),
    ]
    rows = rows if named else [{**row, "output_table_id": None} for row in rows]

    def bronze(output: str, version: int, life: TableLife | None = None) -> list[str]:
        return [row["input_version"] for row in upstream(rows, output, version, life=life) if row["input"] == "bronze.f"]

    assert (bronze("gold.x", 1), bronze("gold.x", 2)) == (["2"], ["7"])
    assert bronze("silver.a", 1, TableLife(table_id="second", began_at_utc=AT + 3 * day)) == ["7"]
    assert bronze("silver.a", 1, TableLife(table_id="first", began_at_utc=AT)) == (["2"] if named else ["7"])
    assert bronze("silver.a", 1) == ["7"], "the newest, where nothing is there"


def test_ids_tell_lives_apart_though_the_clock_was_set_back() -> None:
    rows = [
        *_in("first", made_from("silver.a", 1, {"bronze.f": 2}, at=AT + timedelta(days=5))),
        *_in("second", made_from("silver.a", 1, {"bronze.f": 7}, at=AT)),
    ]
    found = upstream(rows, "silver.a", 1, life=TableLife(table_id="second", began_at_utc=AT))
    assert [row["input_version"] for row in found] == ["7"]


def test_contracts_of_the_layer() -> None:
    assert [table.full_name for table in TABLES] == [
        "governance.lineage",
        "governance.audit",
        "governance.access",
        "governance.integrity",
    ]
    assert {table.owner for table in TABLES} == {"team:governance"}


def test_rows_about_columns_are_walked_by_themselves() -> None:
    """A value comes from an area, the area from a trace; the versions' own rows are not mixed with them."""

    def row(output: str, column: str | None, source: str, source_column: str | None, at: datetime = AT) -> dict[str, object]:
        return {
            "output": output,
            "output_version": "1",
            "output_column": column,
            "input": source,
            "input_version": "1",
            "input_column": source_column,
            "recorded_at_utc": at,
        }

    rows = [
        row("silver.results", None, "silver.peaks", None),
        row("silver.results", "value", "silver.peaks", "height", AT - timedelta(days=1)),
        row("silver.results", "value", "silver.peaks", "area"),
        row("silver.peaks", "area", "bronze.chromatograms", "y"),
    ]
    found = [(each["input"], each["input_column"]) for each in column_upstream(rows, "silver.results", "value")]
    assert found == [("silver.peaks", "area"), ("bronze.chromatograms", "y")]
    assert [each["input"] for each in upstream(rows, "silver.results", 1)] == ["silver.peaks"]
