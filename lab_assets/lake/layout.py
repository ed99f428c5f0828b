"""How tables are laid out: which columns carry statistics, how large files and row groups are.

Belongs here: one entry for what needs another than the default, with the reason. Does not belong here: doing it (``maintenance.py``).

Files come in the order of ingestion, which is roughly that of laboratory time, so names and times that rise with it (injections, lots,
samples, days) rule out files and row groups by their statistics. Identities that are digests do not: every file holds some of everything.
No table is ordered by them all the same: stations and the service ask by the name beside the identity (``Group.also``), an order would
write the whole table anew each time it is kept up, and each earlier copy would lie there until it is archived (ADR 18, with the measurement).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lab_assets.contracts.core import TableContract

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Layout of one table.

    Attributes:
        statistics: Columns with minimum and maximum a file and row group: those that reads ask by.
        file_bytes: Size up to which files are put together.
        group_rows: Rows of a row group, the least that is read and decoded at once.
        replaced_h: How long replaced files stay as they are at most, hours; ``None`` leaves it to the setting.
    """

    statistics: tuple[str, ...]
    file_bytes: int
    group_rows: int
    replaced_h: int | None = None

    def properties(self) -> dict[str, str]:
        """Return Delta's table properties."""
        statistics = {"delta.dataSkippingStatsColumns": ",".join(self.statistics)}
        if self.replaced_h is None:
            return statistics
        return {**statistics, "delta.deletedFileRetentionDuration": f"interval {self.replaced_h} hours"}


_ASKED_BY: Final[dict[str, tuple[str, ...]]] = {
    "bronze": ("ingest_batch", "source_sha256", "injection_name", "sample_name", "lot_id", "chamber_id", "read_at_utc", "result_id", "arrival_id"),
    "silver": ("injection_id", "injection_name", "sequence_id", "sample_name", "lot_id", "result_id", "injected_at_utc", "measured_at_utc", "chamber_id", "day"),
    "gold": ("lot_id", "sequence_id", "result_id", "exception_id", "subject", "product", "measured_at_utc"),
    "features": ("injection_id", "instrument_id", "lot_id", "sample_name", "event_time_utc", "known_time_utc"),
    "ml": ("prediction_id", "injection_id", "lot_id", "predicted_at_utc", "as_of_utc", "training_set_id", "checked_at_utc"),
    "governance": ("output", "seq", "reviewed_at_utc"),
}  # fmt: skip
_FILE_BYTES: Final = {"bronze": 256 * _MIB, "governance": 32 * _MIB}
"""Bronze and governance only grow, and bronze is read by few keys or in whole files by workers.

Others are corrected: a row that changes writes its whole file anew, and the earlier one stays until it is archived (ADR 25). So their files are of 4 MiB.
"""
_GROUP_ROWS: Final = 32 * 1024
"""One injection's rows lie in one group of this size by their name: a quarter of the time of a group as large as the file."""
_ARRAYS_GROUP_ROWS: Final = 256
"""A row with arrays (a trace, a spectrum) is some ten kilobytes long: so many rows are some megabytes."""

_REPLACED_H: Final = {"ml.online_log": 1}
"""A commit a second while scores flow: 86,400 small files a day, of which readers would otherwise list a day's worth."""


def layout_of(contract: TableContract) -> Layout:
    """Return the layout of a table: statistics on its key and on what tables of its layer are asked by."""
    wanted = dict.fromkeys((*contract.primary_key, *_ASKED_BY[contract.layer]))
    scalar = {column.name for column in contract.columns if "<" not in column.kind and column.kind != "binary"}
    long_rows = any(column.kind.startswith("array<float") for column in contract.columns)
    return Layout(
        statistics=tuple(name for name in wanted if name in scalar) or tuple(sorted(scalar))[:1],
        file_bytes=_FILE_BYTES.get(contract.layer, 4 * _MIB),
        group_rows=_ARRAYS_GROUP_ROWS if long_rows else _GROUP_ROWS,
        replaced_h=_REPLACED_H.get(contract.full_name),
    )
