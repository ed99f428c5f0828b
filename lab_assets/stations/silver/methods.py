"""Processing methods in force: which windows apply to which injection.

Belongs here: choosing rows of ``bronze.processing_methods``. Does not belong here: integrating with them (``peaks.py``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lab_assets.contracts.bronze import PROCESSING_METHODS
from lab_assets.lake.lakehouse import Lakehouse

NO_METHOD: Final = "none"
_CARRIED: Final = (
    *("analyte", "channel", "integration", "window_start", "window_end", "window_unit", "calibration", "slope", "intercept"),
    *("relative_response", "reference_analyte", "result_unit"),
)

Windows = dict[str, list[dict[str, Any]]]


def method_key(method_id: str | None, source: str) -> str:
    """Return the key under which an injection's windows are kept: its method, or its source where it has none."""
    return f"method:{method_id}" if method_id else f"source:{source}"


def windows_in_force(lake: Lakehouse) -> Windows:
    """Return the windows by key; of several files for one key the latest counts, whole.

    A table without method names holds for the injections of its own source that name no method.
    """
    rows = lake.polars(PROCESSING_METHODS).to_dicts()
    latest: dict[str, tuple[int, str]] = {}
    for row in rows:
        key = method_key(row["method_name"] or None, row["source"])
        latest[key] = max(latest.get(key, (0, "")), (row["ingest_batch"], row["source_sha256"]))
    chosen: Windows = {}
    for row in sorted(rows, key=lambda row: row["source_row"]):
        key = method_key(row["method_name"] or None, row["source"])
        if latest[key] == (row["ingest_batch"], row["source_sha256"]):
            chosen.setdefault(key, []).append({name: row[name] for name in _CARRIED})
    return chosen


def processing_id(windows: Sequence[Mapping[str, Any]]) -> str:
    """Return the digest of a set of windows, ``none`` for no windows."""
    if not windows:
        return NO_METHOD
    return hashlib.sha256(json.dumps(list(windows), sort_keys=True).encode()).hexdigest()[:16]
