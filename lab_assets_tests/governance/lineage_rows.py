"""Rows of ``governance.lineage`` by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

AT = datetime(2026, 1, 1, tzinfo=UTC)


def made_from(
    output: str, version: int | str, inputs: dict[str, int | str], *, run_id: str = "r", at: datetime = AT
) -> list[dict[str, Any]]:
    """Return one row an input, as a commit of these inputs gives."""
    return [
        {
            "output": output,
            "output_version": str(version),
            "input": name,
            "input_version": str(read),
            "output_column": None,
            "input_column": None,
            "run_id": run_id,
            "code_version": "c",
            "recorded_at_utc": at,
        }
        for name, read in sorted(inputs.items())
    ]
