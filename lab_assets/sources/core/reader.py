"""What a reader of one file format is, and what it is given besides the bytes.

Belongs here: the protocol of readers. Does not belong here: what they return (``read_result.py``), any format, the choice among all
(``lab_assets.sources.all_readers``), folders, ledgers or Spark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from lab_assets.sources.core.archives import Archive
from lab_assets.sources.core.loggers import LoggerDescription
from lab_assets.sources.core.moments import DateOrder
from lab_assets.sources.core.read_result import ReadResult


@dataclass(frozen=True, kw_only=True)
class ReadContext:
    """What is known about a file besides its bytes.

    Attributes:
        file_name: Path below the drop folder, as it arrived.
        source: Drop folder.
        zone: IANA zone assumed for times without one, such as ``Europe/Berlin``.
        date_order: Order of day and month declared for dates that leave it open, if any.
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
