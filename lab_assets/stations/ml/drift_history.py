"""The last drift checks, read without Spark.

Belongs here: a small read for sensors and commands. Does not belong here: judging drift (``lab_assets.modeling.drift``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lab_assets.contracts.ml import DRIFT
from lab_assets.lake.reader import standing_rows
from lab_assets.settings import Settings


@dataclass(frozen=True, kw_only=True)
class DriftCheck:
    """One check: its identity, when it was made, and whether any subject drifted."""

    check_id: str
    checked_at_utc: datetime
    drifted: bool


def newest_checks(settings: Settings, limit: int = 3) -> list[DriftCheck]:
    """Return the newest checks, newest first; none before the first check.

    Raises:
        DamagedTableError: the table, or some of its commits, are gone.
    """
    import polars as pl

    rows = standing_rows(settings, DRIFT, ["check_id", "checked_at_utc", "drifted"])
    checks = rows.group_by("check_id").agg(pl.col("checked_at_utc").first(), pl.col("drifted").any())
    found: list[dict[str, Any]] = checks.sort("checked_at_utc", descending=True).head(limit).to_dicts()
    return [DriftCheck(**row) for row in found]
