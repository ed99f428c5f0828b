"""Traces of one file that have the same name are numbered.

Belongs here: what holds for the traces of every format. Does not belong here: any format.

A trace is known by its injection and its channel. A file in which two of them have the same name, such as two detectors both called
"UV", keeps both: the later ones are numbered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from lab_assets.sources.core.read_result import ReadResult, Row

_INJECTION: Final = ("instrument_name", "injection_name", "injected_at_text")
_NAME_OF: Final = {"chromatograms": "channel", "instrument_status": "signal"}


def number_repeated_traces(result: ReadResult) -> ReadResult:
    """Return a file's rows with every trace of an injection under a name of its own, and a warning for each that was numbered."""
    warnings: list[str] = []
    tables = {name: _numbered(rows, _NAME_OF[name], warnings) if name in _NAME_OF else rows for name, rows in result.tables.items()}
    return replace(result, tables=tables, warnings=[*result.warnings, *warnings]) if warnings else result


def _numbered(rows: list[Row], column: str, warnings: list[str]) -> list[Row]:
    keys = [(*(row.get(name) for name in _INJECTION), row.get(column)) for row in rows]
    taken = Counter(keys)
    if len(taken) == len(rows):
        return rows
    seen: Counter[Sequence[object]] = Counter()
    numbered: list[Row] = []
    for row, key in zip(rows, keys, strict=True):
        seen[key] += 1
        if seen[key] == 1:
            numbered.append(row)
            continue
        number = seen[key]
        while (unique := (*key[:-1], f"{key[-1]} ({number})")) in taken:
            number += 1
        taken[unique] += 1
        warnings.append(f"injection {row.get('injection_name')!r} has {taken[key]} traces named {key[-1]!r}; one is kept as {unique[-1]!r}")
        numbered.append({**row, column: unique[-1]})
    return numbered
