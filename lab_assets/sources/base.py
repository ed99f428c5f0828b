"""What a reader of one file format is, and what it returns.

Belongs here: the seam between bytes and records. Does not belong here: any format (one file each beside this one),
the registry (``registry.py``), folders, ledgers or Spark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Row = dict[str, Any]
"""One record: contract column name to value, without provenance except ``source_row``."""


class UnreadableFileError(ValueError):
    """A file that cannot be read as a whole; it goes to quarantine.

    Attributes:
        rule: Short stable name of the rule that was broken, such as ``truncated`` or ``missing_column``.
        reason: What is wrong and how to mend it, for people.
        place: Where in the file, such as ``line 12`` or ``[Peak Table(Ch1)]``; empty when the whole file is meant.
    """

    def __init__(self, rule: str, reason: str, place: str = "") -> None:
        super().__init__(f"{rule}: {reason}" + (f" ({place})" if place else ""))
        self.rule = rule
        self.reason = reason
        self.place = place

    def __reduce__(self) -> tuple[type[UnreadableFileError], tuple[str, str, str]]:
        """Keep the three parts when the error crosses a process border."""
        return (type(self), (self.rule, self.reason, self.place))


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
    """

    file_name: str
    source: str = "inbox"
    zone: str = "UTC"


@dataclass(frozen=True, kw_only=True)
class ReadResult:
    """Everything one file said.

    Attributes:
        format: Name of the format.
        tables: Rows by bronze table name (without layer); every row has ``source_row``.
        rejected: Rows left out, with the reason.
        warnings: What was noticed and let pass, for people.
    """

    format: str
    tables: dict[str, list[Row]]
    rejected: list[RejectedRow] = field(default_factory=list[RejectedRow])
    warnings: list[str] = field(default_factory=list[str])


class Reader(Protocol):
    """One format.

    ``sniff`` looks at the name and the first 64 KiB and answers how sure it is, 0 (not mine) to 100 (magic bytes or an
    unmistakable header); the surest reader wins, content counting more than the extension.
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
