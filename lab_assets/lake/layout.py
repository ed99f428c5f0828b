"""How tables are laid out: which columns carry statistics, and by what maintenance orders their rows.

Belongs here: one entry a table that needs another than the default, with the reason. Does not belong here: doing it (``maintenance.py``).

Files come in the order of ingestion, which is roughly that of laboratory time, so names and times that rise with it (worklists, lots,
samples, days) are ruled out by their statistics without any ordering. Identities that are digests are not: every file holds some of
everything. Tables that are asked by such an identity are ordered by it when their small files are put together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lab_assets.contracts.core import TableContract


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Layout of one table.

    Attributes:
        statistics: Columns with minimum and maximum a file: those that reads ask by.
        ordered_by: Columns that rows are ordered by when files are put together; empty: as they come.
        reason: Why.
    """

    statistics: tuple[str, ...]
    ordered_by: tuple[str, ...] = ()
    reason: str = ""

    def properties(self) -> dict[str, str]:
        """Return Delta's table properties."""
        return {"delta.dataSkippingStatsColumns": ",".join(self.statistics)}


_ASKED_BY: Final[dict[str, tuple[str, ...]]] = {
    "bronze": ("ingest_batch", "source_sha256", "injection_name", "sample_name", "lot_id", "chamber_id", "read_at_utc", "result_id", "arrival_id"),
    "silver": ("injection_id", "injection_name", "sequence_id", "sample_name", "lot_id", "result_id", "injected_at_utc", "measured_at_utc", "chamber_id", "day"),
    "gold": ("lot_id", "sequence_id", "result_id", "exception_id", "subject", "product", "measured_at_utc"),
    "features": ("injection_id", "instrument_id", "lot_id", "sample_name", "event_time_utc", "known_time_utc"),
    "ml": ("prediction_id", "injection_id", "lot_id", "predicted_at_utc", "as_of_utc", "training_set_id", "checked_at_utc"),
    "governance": ("output", "seq", "reviewed_at_utc"),
}  # fmt: skip
_ORDERED: Final[dict[str, Layout]] = {}


def layout_of(contract: TableContract) -> Layout:
    """Return the layout of a table: statistics on its key and on what tables of its layer are asked by."""
    if (own := _ORDERED.get(contract.full_name)) is not None:
        return own
    wanted = dict.fromkeys((*contract.primary_key, *_ASKED_BY[contract.layer]))
    scalar = {column.name for column in contract.columns if "<" not in column.kind and column.kind != "binary"}
    return Layout(statistics=tuple(name for name in wanted if name in scalar) or tuple(sorted(scalar))[:1])
