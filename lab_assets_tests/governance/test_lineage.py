"""Rows of lineage and the way back to the files."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lab_assets.contracts.governance import LINEAGE, TABLES
from lab_assets.governance.lineage import Derivation, lineage_rows, upstream

AT = datetime(2026, 1, 1, tzinfo=UTC)


def _made(output: str, version: int, **inputs: int) -> Derivation:
    sources = {name.replace("__", "."): number for name, number in inputs.items()}
    return Derivation(output=output, output_version=version, inputs=sources, run_id="r", code_version="c", recorded_at=AT)


def test_one_row_per_input_with_the_columns_of_the_contract() -> None:
    rows = lineage_rows([_made("gold.x", 3, silver__b=2, silver__a=1)])
    assert [(row["input"], row["input_version"]) for row in rows] == [("silver.a", "1"), ("silver.b", "2")]
    assert set(rows[0]) == set(LINEAGE.column_names)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        Derivation(output="a", output_version=1, inputs={}, run_id="r", code_version="c", recorded_at=datetime(2026, 1, 1))  # noqa: DTZ001  the point


def test_the_way_back_names_each_step_once_even_round_a_loop() -> None:
    rows = lineage_rows(
        [
            _made("gold.x", 1, silver__a=5, silver__b=6),
            _made("silver.a", 5, bronze__f=2),
            _made("silver.b", 6, bronze__f=2),
            _made("bronze.f", 2, gold__x=1),
            _made("silver.a", 4, bronze__f=1),
        ]
    )
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
