"""What a reader says of a file: rows, rejected rows, warnings, differences of columns, files inside of it, or a refusal.

Belongs here: the records that pass between readers and the rest of the product. Does not belong here: what a reader is
(``reader.py``), any format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Row = dict[str, Any]
"""One record: contract column name to value, without provenance except ``source_row``."""


@dataclass(frozen=True, kw_only=True)
class SchemaEvent:
    """One difference between a file's columns and the contract of their table.

    Attributes:
        kind: ``unknown_column`` (kept in ``rescued``), ``renamed_column`` (proposed, or accepted and used), ``missing_column`` or
            ``unit_changed``.
        table: Bronze table, without layer.
        column: Column as the file writes it, or the contract's that is missing.
        proposed: Contract column it may be.
        instrument: Instrument that wrote the file, as stated.
        software: Software and version that wrote the file, as stated.
    """

    kind: Literal["unknown_column", "renamed_column", "missing_column", "unit_changed"]
    table: str
    column: str
    proposed: str | None = None
    instrument: str | None = None
    software: str | None = None


class UnreadableFileError(ValueError):
    """A file that cannot be read as a whole; it goes to quarantine.

    Attributes:
        rule: Short stable name of the rule that was broken, such as ``truncated`` or ``missing_column``.
        reason: What is wrong and how to mend it, for people.
        place: Where in the file, such as ``line 12`` or ``[Peak Table(Ch1)]``; empty when the whole file is meant.
        events: How the file's columns differ from the contract, when that is why.
    """

    def __init__(self, rule: str, reason: str, place: str = "", events: Sequence[SchemaEvent] = ()) -> None:
        super().__init__(f"{rule}: {reason}" + (f" ({place})" if place else ""))
        self.rule = rule
        self.reason = reason
        self.place = place
        self.events = tuple(events)

    def __reduce__(self) -> tuple[type[UnreadableFileError], tuple[str, str, str, tuple[SchemaEvent, ...]]]:
        """Keep the parts when the error crosses a process border."""
        return (type(self), (self.rule, self.reason, self.place, self.events))


@dataclass(frozen=True, kw_only=True)
class RejectedRow:
    """One row that was not taken while others of the file were.

    Attributes:
        table: Bronze table the row was meant for, without layer.
        source_row: Row in the file, from 1.
        rule: Short stable name of the rule.
        reason: What is wrong, for people.
        column: Column that broke the rule, when one did.
        row: The row as read.
    """

    table: str
    source_row: int
    rule: str
    reason: str
    column: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict[str, Any])


MEMBER_MARK: Final = "!/"
"""Stands between the name of an archive and the name of a file inside of it."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file inside of another file, such as an attachment of a notebook entry; it is ingested as a file of its own.

    Attributes:
        name: Path inside of the archive, ``/`` between parts.
        data: Its bytes.
    """

    name: str
    data: bytes


@dataclass(frozen=True, kw_only=True)
class ReadResult:
    """Everything one file said.

    Attributes:
        format: Name of the format.
        tables: Rows by bronze table name (without layer); every row has ``source_row``.
        rejected: Rows left out, with the reason.
        warnings: What was noticed and let pass, for people.
        events: How the file's columns differ from the contract of their table.
        members: Files inside of it, each of which finds its own reader.
    """

    format: str
    tables: dict[str, list[Row]]
    rejected: list[RejectedRow] = field(default_factory=list[RejectedRow])
    warnings: list[str] = field(default_factory=list[str])
    events: list[SchemaEvent] = field(default_factory=list[SchemaEvent])
    members: list[Member] = field(default_factory=list[Member])
