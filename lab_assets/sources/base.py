"""What a reader of one file format is, and what it returns.

Belongs here: the seam between bytes and records. Does not belong here: any format (one file each beside this one),
the registry (``registry.py``), folders, ledgers or Spark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from lab_assets.sources.core.archives import Archive
    from lab_assets.sources.core.moments import DateOrder
    from lab_assets.sources.tables.logger_description import LoggerDescription

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


@dataclass(frozen=True, kw_only=True)
class ReadContext:
    """What is known about a file besides its bytes.

    Attributes:
        file_name: Path below the drop folder, as it arrived.
        source: Drop folder.
        zone: IANA zone assumed for times without one, such as ``Europe/Berlin``.
        date_order: Order of day and month declared for dates that do not tell it themselves, if any.
        renames: By table (without layer): column as files of this source write it, normalised, to the contract's column; each
            was accepted by a person.
        strict: Whether a column that the contract does not name refuses the file instead of going to ``rescued``.
        loggers: Descriptions of delimited loggers known to this laboratory.
    """

    file_name: str
    source: str = "inbox"
    zone: str = "UTC"
    date_order: DateOrder | None = None
    renames: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    strict: bool = False
    loggers: tuple[LoggerDescription, ...] = ()


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


@runtime_checkable
class Reader(Protocol):
    """One format.

    ``sniff`` looks at the name and the first 64 KiB and answers how sure it is, 0 (not mine) to 100 (magic bytes or an
    unmistakable header); the surest reader wins, content counting more than the extension. Zip archives and packed folders are
    shown to readers that are ``ArchiveReader`` as well, and to no others.
    """

    format: str
    tables: tuple[str, ...]

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the reader's format, 0-100."""
        ...

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read the whole file.

        Raises:
            UnreadableFileError: the file as a whole is not usable.
        """
        ...


@runtime_checkable
class ArchiveReader(Reader, Protocol):
    """A format that is a zip archive or an instrument's folder."""

    def sniff_archive(self, name: str, archive: Archive) -> int:
        """Return how surely this is the reader's format, 0-100, judged by the members' names and, where needed, contents."""
        ...
