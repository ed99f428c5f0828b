"""Lineage: which versions a version was made from, as rows of ``governance.lineage``.

Belongs here: building the rows, and walking them. Does not belong here: writing the table (the engine), finding out what a run
read (the assets).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """One thing made by one run.

    Attributes:
        output: What was made: ``layer.table`` or ``model:name``.
        output_version: Its version.
        inputs: Version that was read, by input: ``layer.table``, ``model:name``, ``files:<batch>``, ``features:<set>``.
        run_id: Run that made it.
        code_version: Version of the code that made it.
        recorded_at: When, zone-aware.
    """

    output: str
    output_version: int | str
    inputs: Mapping[str, int | str]
    run_id: str
    code_version: str
    recorded_at: datetime

    def __post_init__(self) -> None:
        if self.recorded_at.tzinfo is None:
            raise ValueError("a recorded time needs a zone")


def lineage_rows(derivations: Iterable[Derivation]) -> list[dict[str, Any]]:
    """Return rows of ``governance.lineage``, one per input, in the order given; versions become text."""
    return [
        {
            "output": made.output,
            "output_version": str(made.output_version),
            "input": source,
            "input_version": str(version),
            "run_id": made.run_id,
            "code_version": made.code_version,
            "recorded_at_utc": made.recorded_at,
        }
        for made in derivations
        for source, version in sorted(made.inputs.items())
    ]


def upstream(rows: Iterable[Mapping[str, Any]], output: str, output_version: int | str) -> list[dict[str, Any]]:
    """Return every lineage row that a version rests on, directly or not, each once, nearest first.

    Args:
        rows: Rows of ``governance.lineage``.
        output: Thing to trace.
        output_version: Its version.
    """
    by_output: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
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
