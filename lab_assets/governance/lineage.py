"""Walking the lineage: what a version, or a column, rests on.

Belongs here: the way back through rows of ``governance.lineage``. Does not belong here: making the rows
(``lab_assets.stations.governance.lineage``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any


def upstream(rows: Iterable[Mapping[str, Any]], output: str, output_version: int | str) -> list[dict[str, Any]]:
    """Return every lineage row that a version rests on, directly or not, each once, nearest first.

    Args:
        rows: Rows of ``governance.lineage``.
        output: Thing to trace.
        output_version: Its version.
    """
    by_output: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row.get("output_column") is not None:
            continue
        by_output.setdefault((row["output"], row["output_version"]), []).append(dict(row))
    found: list[dict[str, Any]] = []
    waiting, seen = [(output, str(output_version))], {(output, str(output_version))}
    while waiting:
        for row in by_output.get(waiting.pop(0), []):
            found.append(row)
            source = (row["input"], row["input_version"])
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return found


def column_upstream(rows: Iterable[Mapping[str, Any]], output: str, column: str) -> list[dict[str, Any]]:
    """Return every row about columns that a column rests on by the newest declarations, directly or not, each once, nearest first.

    Args:
        rows: Rows of ``governance.lineage``.
        output: Table, ``layer.table``.
        column: Its column.
    """
    newest: dict[str, datetime] = {}
    declared: list[dict[str, Any]] = []
    for row in rows:
        if row.get("output_column") is not None:
            declared.append(dict(row))
            newest[row["output"]] = max(row["recorded_at_utc"], newest.get(row["output"], row["recorded_at_utc"]))
    by_column: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in declared:
        if row["recorded_at_utc"] == newest[row["output"]]:
            by_column.setdefault((row["output"], row["output_column"]), []).append(row)
    found: list[dict[str, Any]] = []
    waiting, seen = [(output, column)], {(output, column)}
    while waiting:
        for row in by_column.get(waiting.pop(0), []):
            found.append(row)
            source = (row["input"], row["input_column"])
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return found
