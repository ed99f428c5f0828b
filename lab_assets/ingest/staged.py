"""A file on its way through a reading child: its rows, what is wrong with it, and the outcome that the ledger is given.

Belongs here: what is known of one file. Does not belong here: reading it (``parsing.py``), rules of its rows (``row_rules.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

from lab_assets.sources.base import ReadResult, Row, SchemaEvent

if TYPE_CHECKING:
    import pyarrow as pa

_PROPOSAL: Final = ("table_name", "column_name", "proposed_column", "instrument_name", "software")


@dataclass(kw_only=True)
class StagedFile:
    """One file and what was made of it so far.

    Attributes:
        arrival_id: Number of its arrival in the ledger.
        file_id: SHA-256 of its bytes.
        source: Drop folder.
        file_name: Path below the drop folder.
        path_revision: Number of the arrival by which that path came to hold these bytes; ``None`` where a file is only looked at.
        revises_path: Path whose rows this file's replace, with its drop folder; ``None`` for its own.
        revises_revision: Revision of that path behind which they stand.
        format: Format it was read as.
        rule: Rule that refused it; ``None`` as long as it is good.
        reason: Why it was refused.
        place: Where in the file the reason lies.
        warnings: What the reader noticed.
        tables: Its rows by bronze table.
        rejected: Rows of ``bronze.quarantined_rows``.
        events: Rows of ``bronze.schema_events``.
        members: Files found inside of it: ``name``, ``sha256``, ``size``.
    """

    arrival_id: int
    file_id: str
    source: str
    file_name: str
    path_revision: int | None = None
    revises_path: str | None = None
    revises_revision: int | None = None
    format: str | None = None
    rule: str | None = None
    reason: str | None = None
    place: str | None = None
    warnings: list[str] = field(default_factory=list[str])
    tables: dict[str, list[Row]] = field(default_factory=dict[str, "list[Row]"])
    rejected: list[Row] = field(default_factory=list["Row"])
    events: list[Row] = field(default_factory=list["Row"])
    members: list[Row] = field(default_factory=list["Row"])

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> Self:
        """Return a file about which nothing is known yet.

        Args:
            task: A row of ``parsing.task_schema``.
        """
        named = {name: task[name] for name in ("arrival_id", "file_id", "source", "file_name")}
        return cls(
            **named,
            path_revision=task.get("path_revision"),
            revises_path=task.get("revises_path"),
            revises_revision=task.get("revises_revision"),
        )

    @property
    def state(self) -> str:
        """``committed`` or ``quarantined``."""
        return "committed" if self.rule is None else "quarantined"

    def take(self, result: ReadResult) -> None:
        """Take what a reader made of the file."""
        self.format = result.format
        self.warnings = list(result.warnings)
        self.tables = {name: list(rows) for name, rows in result.tables.items() if rows}
        self.note(result.events)
        for row in result.rejected:
            self.reject(row.table, row.row, row.rule, row.column, row.reason, source_row=row.source_row)

    def note(self, events: Sequence[SchemaEvent]) -> None:
        """Note how the file's columns differ from their contract."""
        self.events += [_event_row(event) for event in events]

    def reject(self, table: str, row: Mapping[str, Any], rule: str, column: str | None, reason: str, *, source_row: int) -> None:
        """Put one of its rows aside; the other rows go on."""
        aside = {"table_name": table, "source_row": source_row, "rule": rule, "column_name": column, "reason": reason}
        self.rejected.append({**aside, "row_text": row_text(row)})

    def refuse(self, rule: str, reason: str, place: str) -> Self:
        """Turn the file into a refused one: nothing of it is laid down but how its columns differ."""
        self.rule, self.reason, self.place = rule, reason, place
        self.tables, self.rejected, self.members = {}, [], []
        return self

    def outcome(self) -> Row:
        """Return what became of the file, with its counts: a row of ``outcome_schema``."""
        lost: dict[str, int] = {}
        for row in self.rejected:
            lost[row["table_name"]] = lost.get(row["table_name"], 0) + 1
        kept = {name: len(rows) for name, rows in self.tables.items() if rows}
        parsed = {name: kept.get(name, 0) + lost.get(name, 0) for name in {**kept, **lost}}
        return {
            **{name: getattr(self, name) for name in ("arrival_id", "state", "format", "rule", "reason", "place", "warnings", "members")},
            "rows_parsed": list(parsed.items()),
            "rows_rejected": list(lost.items()),
            "proposals": [{name: event[name] for name in _PROPOSAL} for event in self.events if event["kind"] == "renamed_column"],
        }


def outcome_schema() -> pa.Schema:
    """Return the schema of what became of each file."""
    import pyarrow as pa

    text, counts = pa.string(), pa.map_(pa.string(), pa.int64())
    fields = [pa.field("arrival_id", pa.int64())]
    fields += [pa.field(name, text) for name in ("state", "format", "rule", "reason", "place")]
    fields += [pa.field("warnings", pa.list_(text)), pa.field("rows_parsed", counts), pa.field("rows_rejected", counts)]
    member = pa.struct([("name", text), ("sha256", text), ("size", pa.int64())])
    proposal = pa.struct([(name, text) for name in _PROPOSAL])
    return pa.schema([*fields, pa.field("members", pa.list_(member)), pa.field("proposals", pa.list_(proposal))])


def row_text(row: Mapping[str, Any]) -> str:
    """Return a row as JSON for people, bounded."""

    def default(value: object) -> str:
        return value.isoformat() if isinstance(value, datetime) else str(value)

    return json.dumps(row, default=default, ensure_ascii=False)[:4000]


def _event_row(event: SchemaEvent) -> Row:
    return {
        "kind": event.kind,
        "table_name": event.table,
        "column_name": event.column,
        "proposed_column": event.proposed,
        "instrument_name": event.instrument,
        "software": event.software,
        "source_row": 1,
    }
