"""What the tests of governance share: a password, a moment, rows put into tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import deltalake
import pyarrow as pa

from lab_assets.contracts.all_contracts import contract
from lab_assets.settings import Settings

PASSWORD = "correct-horse-9"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def write_table(settings: Settings, name: str, rows: list[dict[str, Any]]) -> None:
    """Append rows to a contract's Delta table; columns not given are null."""
    table = contract(name)
    full = [dict.fromkeys(table.column_names) | row for row in rows]
    deltalake.write_deltalake(
        settings.table_uri(table.layer, table.name), pa.Table.from_pylist(full, schema=table.arrow_schema()), mode="append"
    )
