"""Hand-made rows in a lake of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from lab_assets.contracts.core import TableContract
from lab_assets.lake.lakehouse import Lakehouse

Put = Callable[..., int]


def at(day: int, hour: int = 0) -> datetime:
    """A moment of March 2025."""
    return datetime(2025, 3, day, hour, tzinfo=UTC)


def putting(lake: Lakehouse) -> Put:
    """Return a function that appends hand-made rows to a table of a laboratory."""

    def append(contract: TableContract, *rows: dict[str, Any], batch: int = 1) -> int:
        provenance = {"source": "lims", "source_file": "f.csv", "source_sha256": f"sha{batch}", "ingest_batch": batch}
        filled = [
            {**provenance, "ingested_at_utc": datetime(2025, 6, 1, tzinfo=UTC), "source_row": number, **row}
            for number, row in enumerate(rows, start=1)
        ]
        return lake.append(contract, lake.local_rows(contract, filled))

    return append
