"""Processing methods in force: which integration windows apply to which injection.

Belongs here: choosing a set of windows. Does not belong here: integrating with them (``integration.py``).

A version of a processing method is the whole set of rows that one file states for it from one effective time on. A table without method
names holds for the injections of its own source that name no method.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from lab_assets.domain.in_force import Facts, Row, Version, recency, utc

NO_METHOD: Final = "none"
WINDOW_COLUMNS: Final = (
    *("analyte", "channel", "integration", "window_start", "window_end", "window_unit", "calibration", "slope", "intercept"),
    *("relative_response", "reference_analyte", "result_unit"),
)
"""Columns of ``bronze.processing_methods`` that say what is done."""
METHOD_COLUMNS: Final = ("method_name", "source", "effective_from_utc", "recorded_at_utc")
"""Columns that say what they hold for, beside those of ``in_force.RECENCY``."""

Windows = tuple[dict[str, Any], ...]


def method_key(method_id: str | None, source: str) -> str:
    """Return the key under which an injection's windows are kept: its method, or its source where it has none."""
    return f"method:{method_id}" if method_id else f"source:{source}"


class ProcessingMethods:
    """Every version of every processing method."""

    def __init__(self, rows: Iterable[Row]) -> None:
        """Build from rows of ``bronze.processing_methods`` with ``WINDOW_COLUMNS``, ``METHOD_COLUMNS`` and ``in_force.RECENCY``."""
        sets: dict[tuple[Any, ...], list[Row]] = {}
        for row in sorted(rows, key=lambda row: row["source_row"]):
            name = (
                method_key(row["method_name"] or None, row["source"]),
                row["source_sha256"],
                row["effective_from_utc"],
                row["recorded_at_utc"],
            )
            sets.setdefault(name, []).append(row)
        self._facts = Facts(
            (
                key,
                Version(
                    effective=utc(effective),
                    known=utc(recorded),
                    order=recency(found[0])[:3],
                    row=tuple({name: row[name] for name in WINDOW_COLUMNS} for row in found),
                ),
            )
            for (key, _, effective, recorded), found in sets.items()
        )

    def windows(self, method_id: str | None, source: str, *, at: datetime | None = None, known_by: datetime | None = None) -> Windows:
        """Return the windows in force for injections of a method, or of a source without one; none where there are none."""
        return self._facts.row(method_key(method_id, source), at=at, known_by=known_by) or ()

    def known_times(self, method_id: str | None, source: str) -> set[datetime]:
        """Return when versions of a method became known."""
        return self._facts.known_times(method_key(method_id, source))


def processing_id(windows: Sequence[Mapping[str, Any]]) -> str:
    """Return the digest of a set of windows, ``none`` for no windows."""
    if not windows:
        return NO_METHOD
    return hashlib.sha256(json.dumps(list(windows), sort_keys=True).encode()).hexdigest()[:16]


def main_analyte(windows: Sequence[Mapping[str, Any]]) -> str:
    """Return the analyte that a method measures against its own standard, the first such window; empty without one."""
    for row in windows:
        if row["calibration"] == "external_standard" and (row["reference_analyte"] or row["analyte"]) == row["analyte"]:
            return str(row["analyte"])
    return ""
