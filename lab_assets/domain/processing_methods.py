"""Processing methods in force: which integration windows apply to which injection.

Belongs here: choosing a set of windows. Does not belong here: integrating with them (``integration.py``).

A version of a processing method is the whole set of rows that one file states for it from one effective time on. A table without method
names holds for the injections of its own source that name no method.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lab_assets.domain.in_force import ALWAYS, Facts, Row, Version, recency, utc

NO_METHOD: Final = "none"
WINDOW_COLUMNS: Final = (
    *("analyte", "channel", "integration", "window_start", "window_end", "window_unit", "calibration", "slope", "intercept"),
    *("relative_response", "reference_analyte", "result_unit"),
)
"""Columns of ``bronze.processing_methods`` that say what is done."""
METHOD_COLUMNS: Final = ("method_name", "source", "effective_from_utc", "recorded_at_utc", "ingested_at_utc")
"""Columns that say what they hold for, beside those of ``in_force.RECENCY``."""


@dataclass(frozen=True)
class WindowSet:
    """What one version of a processing method says.

    Attributes:
        rows: Its windows, ``WINDOW_COLUMNS`` by name, in the file's order.
        processing_id: Digest of them; ``none`` for no windows.
    """

    rows: tuple[dict[str, Any], ...] = ()
    processing_id: str = NO_METHOD

    @staticmethod
    def of(rows: Iterable[Row]) -> WindowSet:
        """Build from rows of ``bronze.processing_methods``."""
        windows = tuple({name: row[name] for name in WINDOW_COLUMNS} for row in rows)
        return WindowSet(windows, processing_id(windows))

    @property
    def main_analyte(self) -> str:
        """The analyte measured against its own standard, the first such; empty without one."""
        for row in self.rows:
            if row["calibration"] == "external_standard" and (row["reference_analyte"] or row["analyte"]) == row["analyte"]:
                return str(row["analyte"])
        return ""


NO_WINDOWS: Final = WindowSet()


def method_key(method_id: str | None, source: str) -> str:
    """Return the key under which an injection's windows are kept: its method, or its source where it has none."""
    return f"method:{method_id}" if method_id else f"source:{source}"


class ProcessingMethods:
    """Every version of every processing method."""

    def __init__(self, rows: Iterable[Row]) -> None:
        """Build from rows of ``bronze.processing_methods`` with ``WINDOW_COLUMNS``, ``METHOD_COLUMNS`` and ``in_force.RECENCY``."""
        sets: dict[tuple[Any, ...], list[Row]] = {}
        for row in sorted(rows, key=lambda row: row["source_row"]):
            key = method_key(row["method_name"] or None, row["source"])
            sets.setdefault((key, row["source_sha256"], row["effective_from_utc"], row["recorded_at_utc"]), []).append(row)
        first = _first_undated(sets)
        self._facts = Facts(
            (
                name[0],
                Version(
                    effective=utc(name[2]),
                    known=_known(name, found, first),
                    order=recency(found[0])[:-1],
                    row=WindowSet.of(found),
                ),
            )
            for name, found in sets.items()
        )

    def windows(self, method_id: str | None, source: str, *, at: datetime | None = None, known_by: datetime | None = None) -> WindowSet:
        """Return the windows in force for injections of a method, or of a source without one; ``NO_WINDOWS`` where there are none."""
        return self._facts.row(method_key(method_id, source), at=at, known_by=known_by) or NO_WINDOWS

    def every_windows(self, method_id: str | None, source: str, *, at: datetime | None = None) -> list[WindowSet]:
        """Return every set of windows that was in force at a moment by what was known at some time, the one in force now last."""
        found: dict[str, WindowSet] = {}
        for known_by in sorted(self.known_times(method_id, source)):
            windows = self.windows(method_id, source, at=at, known_by=known_by)
            found.pop(windows.processing_id, None)
            found[windows.processing_id] = windows
        return list(found.values()) or [NO_WINDOWS]

    def known_times(self, method_id: str | None, source: str) -> frozenset[datetime]:
        """Return when versions of a method became known."""
        return self._facts.known_times(method_key(method_id, source))


def _first_undated(sets: Mapping[tuple[Any, ...], Sequence[Row]]) -> dict[str, tuple[Any, ...]]:
    """Return, of each method, the version without any time that arrived first: it counts as known from the beginning."""
    first: dict[str, tuple[Any, ...]] = {}
    for name, rows in sets.items():
        key = name[0]
        if name[2:] == (None, None) and (key not in first or _arrival(rows) < _arrival(sets[first[key]])):
            first[key] = name
    return first


def _arrival(rows: Sequence[Row]) -> tuple[Any, ...]:
    return (rows[0].get("path_revision") or rows[0]["ingest_batch"], *recency(rows[0]))


def _known(name: tuple[Any, ...], rows: Sequence[Row], first: Mapping[str, tuple[Any, ...]]) -> datetime:
    """Return when a version became known: as it states, else when it came into effect, else from the beginning or when it arrived.

    Nobody works by a version that is not known. Of versions that state no time the first was always known; nothing else than its arrival
    tells that a further one is later.
    """
    _, _, effective, recorded = name
    if (stated := recorded or effective) is not None:
        return utc(stated)
    return ALWAYS if first[name[0]] == name else utc(rows[0]["ingested_at_utc"])


def processing_id(windows: Sequence[Mapping[str, Any]]) -> str:
    """Return the digest of a set of windows, ``none`` for no windows."""
    if not windows:
        return NO_METHOD
    return hashlib.sha256(json.dumps(list(windows), sort_keys=True).encode()).hexdigest()[:16]
