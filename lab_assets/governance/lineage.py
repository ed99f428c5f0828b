"""Walking the lineage: what a version, or a column, rests on.

Belongs here: the way back through rows of ``governance.lineage``. Does not belong here: making the rows
(``lab_assets.stations.governance.lineage``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab_assets.lake.table_life import TableLife


def upstream(
    rows: Iterable[Mapping[str, Any]], output: str, output_version: int | str, *, life: TableLife | None = None
) -> list[dict[str, Any]]:
    """Return every lineage row that a version rests on, directly or not, each once, nearest first.

    A table that began anew has versions of one number in each of its lives. Of the thing that is traced, those of the given life count;
    further back, of each thing that was read, the version that was there when it was read.

    Args:
        rows: Rows of ``governance.lineage``.
        output: Thing to trace.
        output_version: Its version.
        life: Life of the table that is traced; default, and where it has no such version: that of the newest row.
    """
    by_output: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row.get("output_column") is None:
            by_output.setdefault((row["output"], row["output_version"]), []).append(dict(row))
    traced = by_output.get((output, str(output_version)), [])
    waiting = [_of_one_life([row for row in traced if is_of(life, row)] or traced, None)]
    found: list[dict[str, Any]] = []
    seen = {_step(steps) for steps in waiting}
    while waiting:
        for row in waiting.pop(0):
            found.append(row)
            steps = _of_one_life(by_output.get((row["input"], row["input_version"]), []), row["recorded_at_utc"])
            if (step := _step(steps)) not in seen:
                seen.add(step)
                waiting.append(steps)
    return found


def is_of(life: TableLife | None, row: Mapping[str, Any]) -> bool:
    """Return whether a row is about a version of some life of its table; without one, every row is."""
    return life is None or life.holds(row.get("output_table_id"), row["recorded_at_utc"])


def _of_one_life(rows: list[dict[str, Any]], read_at_utc: datetime | None) -> list[dict[str, Any]]:
    """Return, of the rows about one version, those of the newest life that was there at a moment; default: of the newest."""
    if not rows or ":" in rows[0]["output"]:  # a model has one life, and a row of its own from each evaluation
        return rows
    begun = [row for row in rows if read_at_utc is None or row["recorded_at_utc"] <= read_at_utc] or rows
    newest = max(begun, key=lambda row: row["recorded_at_utc"])
    if not (of := newest.get("output_table_id")):
        return [row for row in rows if row["recorded_at_utc"] == newest["recorded_at_utc"]]
    return [row for row in rows if row.get("output_table_id") == of]


def _step(rows: list[dict[str, Any]]) -> tuple[Any, ...]:
    """Return what tells a version, in one of its lives, from others."""
    return () if not rows else (rows[0]["output"], rows[0]["output_version"], rows[0].get("output_table_id"), rows[0]["recorded_at_utc"])


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
