"""Results that people enter, judged and kept in versions.

Belongs here: what an entry of the LIMS comes to. Does not belong here: values from areas (``sequence_results.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lab_assets.domain.in_force import Row
from lab_assets.domain.result_versions import KnownResults, state_of, versions
from lab_assets.domain.run_context import LimsRecords
from lab_assets.domain.specifications import Specifications


class EnteredResults:
    """Results that people enter in the LIMS, judged: water, appearance and others without a chromatogram."""

    def __init__(self, records: LimsRecords, specifications: Specifications) -> None:
        self._records = records
        self._specifications = specifications

    def rows(self, entries: Sequence[Row], facts: Any) -> list[dict[str, Any]]:
        """Return every version of one result.

        Args:
            entries: Every version of its entry, rows of ``bronze.lims_results``.
            facts: The same as ``in_force.Facts`` by result.
        """
        key = entries[0]["result_id"]
        times: set[datetime] = set(facts.known_times(key))
        first = min(times)
        for entry in entries:
            times |= self._records.samples.known_times(entry["sample_name"])
            for version in self._records.samples.versions(entry["sample_name"]):
                lot = version.row["lot_id"]
                times |= self._records.lots.known_times(lot)
                for record in self._records.lots.versions(lot):
                    times |= self._specifications.known_times(record.row["product"], entry["method_id"])
        moments = sorted(moment for moment in times if moment >= first)
        known = [(moment, KnownResults({key: self._row(facts.row(key, known_by=moment), moment)}, complete=True)) for moment in moments]
        return versions(known, lambda moment: self._reason(facts, key, moment))

    def _row(self, entry: Row, moment: datetime) -> dict[str, Any]:
        sample: Row = self._records.samples.row(entry["sample_name"], known_by=moment) or {}
        lot: Row = self._records.lots.row(sample.get("lot_id"), known_by=moment) or {}
        limit = self._specifications.limit(
            lot.get("product"), entry["method_id"], entry["analyte"], at=entry["measured_at_utc"], known_by=moment
        )
        if limit is not None and limit["unit"] != entry["unit"]:
            limit = None  # a limit in another unit judges nothing; the result shows as no_spec
        low, high = (limit["spec_low"], limit["spec_high"]) if limit else (None, None)
        return {
            "result_id": entry["result_id"],
            "injection_id": None,
            "sample_name": entry["sample_name"],
            "lot_id": sample.get("lot_id"),
            "retest_of": sample.get("retest_of"),
            "channel": None,
            **{name: entry[name] for name in ("method_id", "analyte", "value", "unit", "replicate", "measured_at_utc")},
            "spec_low": low,
            "spec_high": high,
            "state": state_of(entry["value"], low, high),
        }

    def _reason(self, facts: Any, key: str, moment: datetime) -> str:
        what = "entry corrected" if moment in facts.known_times(key) else "sample, lot or specification recorded"
        return f"{what} at {moment:%Y-%m-%d %H:%M:%S} UTC"
