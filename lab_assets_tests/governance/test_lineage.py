"""Rows of lineage and the way back to the files."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from lab_assets.contracts.governance import TABLES
from lab_assets.governance.lineage import column_upstream, upstream
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
