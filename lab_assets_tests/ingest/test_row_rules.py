"""Rows before they are laid down: NaN is no value, and rows that cannot be asked cost their own file alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from lab_assets.contracts.bronze_readings import CHAMBER_READINGS, SENSOR_READINGS
from lab_assets.contracts.core import TableContract
from lab_assets.ingest.row_rules import apply_contracts
from lab_assets.ingest.staged import StagedFile

NAN = float("nan")
AT = {"read_at_text": "2026-01-01", "read_at_utc": datetime(2026, 1, 1, tzinfo=UTC), "zone_known": True}


def staged(contract: TableContract, rows: list[dict[str, Any]]) -> tuple[StagedFile, pa.Table]:
    """Return a file after its rules were asked, and its rows as they are laid down."""
    numbered = [{"source_row": number, **AT, **row} for number, row in enumerate(rows, start=1)]
    file = StagedFile(arrival_id=1, file_id="1" * 64, source="chamber-1", file_name="a.csv", tables={contract.name: numbered})
    apply_contracts([file])
    return file, pa.Table.from_pylist(file.tables[contract.name], schema=contract.arrow_schema())


def test_nan_in_a_column_that_may_miss_values_becomes_no_value() -> None:
    rows = [{"temperature_c": 25.0, "humidity_pct": NAN}, {"temperature_c": NAN, "humidity_pct": 60.0}]
    file, table = staged(CHAMBER_READINGS, [{"chamber_id": "C-1", **row} for row in rows])
    assert (file.state, file.rejected) == ("committed", [])
    assert table["temperature_c"].to_pylist() == [25.0, None]
    assert table["humidity_pct"].to_pylist() == [None, 60.0]


def test_nan_where_a_value_is_needed_is_a_missing_value() -> None:
    reading = {"logger_id": "L-1", "quantity": "temperature", "unit": "degC"}
    file, table = staged(SENSOR_READINGS, [{**reading, "value": 5.0}, {**reading, "value": NAN}])
    assert [(row["source_row"], row["rule"], row["column_name"]) for row in file.rejected] == [(2, "missing_value", "value")]
    assert table["value"].to_pylist() == [5.0]


@pytest.mark.parametrize("value", ["warm", [1.0], {"a": 1}])
def test_rows_that_no_rule_can_be_asked_of_refuse_their_file_alone(value: object) -> None:
    """A reader of another package may give anything; ingestion of the others goes on."""
    reading = {"source_row": 1, "chamber_id": "C-1", "humidity_pct": 60.0, **AT}
    tables = [{CHAMBER_READINGS.name: [{**reading, "temperature_c": given}]} for given in (25.0, value, 26.0)]
    files = [
        StagedFile(arrival_id=number, file_id="1" * 64, source="s", file_name=f"{number}.csv", tables=rows)
        for number, rows in enumerate(tables, start=1)
    ]
    apply_contracts(files)
    assert [file.rule for file in files] == [None, "reader_error", None]
    assert [list(file.tables) for file in files] == [["chamber_readings"], [], ["chamber_readings"]]
    assert "the rules of its tables cannot be asked of its rows: " in (files[1].reason or "")
