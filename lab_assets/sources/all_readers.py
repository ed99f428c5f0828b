"""Every reader, and which one a file belongs to.

Belongs here: finding the product's own readers, the choice among them by content, and what becomes of a file that a reader trips over.
Does not belong here: any format, the search for readers of other packages (``core/installed.py``).

A module below ``vendors``, ``standards``, ``media`` or ``tables`` registers its readers in a tuple of the name ``READERS``; nothing is
edited in this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final, TypeVar

from lab_assets.sources.base import ArchiveReader, ReadContext, Reader, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import Archive, is_archive, open_archive
from lab_assets.sources.core.channels import number_repeated_traces
from lab_assets.sources.core.decoding import is_secret, peek_lines, shorten
from lab_assets.sources.core.faults import refusal_of, refuse_uncontracted
from lab_assets.sources.core.installed import Installed, find_readers
from lab_assets.sources.core.loggers import LoggerDescription
from lab_assets.sources.tables.logger_table import LoggerTableReader

_Used = TypeVar("_Used")

FOLDERS: Final = ("vendors", "standards", "media", "tables")
"""Where the product's readers lie, from the most special to what anybody may write."""


def find_own_readers(package: str = "lab_assets.sources", root: Path = Path(__file__).parent) -> tuple[Reader, ...]:
    """Import every module below ``FOLDERS`` and return the readers that it registers.

    The order decides only between equally sure readers: by folder as in ``FOLDERS``, then by path, then as the module lists them.

    Args:
        package: Name of the package.
        root: Its folder.

    Raises:
        TypeError: something registered is no reader; the module is named.
        ValueError: two readers have the same format; both modules are named.
    """
    readers: dict[str, Reader] = {}
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("[!_]*.py")):
            module = ".".join((package, *file.relative_to(root).with_suffix("").parts))
            registered: tuple[object, ...] = getattr(import_module(module), "READERS", ())
            for reader in registered:
                if not isinstance(reader, Reader):
                    raise TypeError(f"{module}: {reader!r} in READERS is no reader; one has format, tables, sniff and read")
                if first := readers.get(reader.format):
                    raise ValueError(f"{module}: the format {reader.format!r} is registered by {type(first).__module__} already")
                readers[reader.format] = reader
    return tuple(readers.values())


READERS: Final[tuple[Reader, ...]] = find_own_readers()
"""The product's own formats."""

HEAD_BYTES: Final = 1 << 16
"""How much of a file is looked at to recognise it."""


def recognise(name: str, data: bytes, loggers: tuple[LoggerDescription, ...] = ()) -> Reader:
    """Return the reader of a file, judged by its content first.

    Args:
        name: File name.
        data: The whole file; the members of an archive are listed at its end.
        loggers: Descriptions of the laboratory's own loggers.

    Returns:
        The surest reader.

    Raises:
        UnreadableFileError: ``empty`` for no bytes, ``unknown_format`` when no reader knows the content, or a rule of archives.
    """
    head = data[:HEAD_BYTES]
    if not head.strip(b"\x00 \t\r\n\f\v\xef\xbb\xbf\xff\xfe"):
        raise UnreadableFileError("empty", "the file is empty; export or transfer it again")
    archive = open_archive(data) if is_archive(head) else None
    surest, sureness = READERS[0], 0
    for reader in (*READERS, LoggerTableReader(loggers)) if loggers else READERS:
        answer = _ask(reader, name, head, archive)
        if answer > sureness:
            surest, sureness = reader, answer
        if sureness >= 100:
            return surest
    failures: list[str] = []
    for reader in installed().readers:
        try:
            answer = _ask(reader, name, head, archive)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a package that trips over a file must not cost it its own reader
            failures.append(f"reader {reader.format!r} failed to look at it: {type(error).__name__}: {error}")
            continue
        if answer > sureness:
            surest, sureness = reader, answer
    if sureness == 0:
        seen = _seen(head) if archive is None else f"an archive of {', '.join(map(shorten, archive.names[:5])) or 'nothing'}"
        left_out = "".join(f"; {problem}" for problem in (*failures, *installed().problems))
        raise UnreadableFileError("unknown_format", f"the file is {seen}, in no format known here ('lab doctor' names them){left_out}")
    return surest


@cache
def installed() -> Installed:
    """Return the readers that other packages bring, looked for once in a process."""
    return find_readers([reader.format for reader in READERS])


def _ask(reader: Reader, name: str, head: bytes, archive: Archive | None) -> int:
    """Return how surely a file is of a reader's format; only readers of archives are asked about archives."""
    if archive is None:
        return reader.sniff(name, head)
    return reader.sniff_archive(name, archive) if isinstance(reader, ArchiveReader) else 0


def read_file(data: bytes, context: ReadContext) -> ReadResult:
    """Recognise and read one file.

    Args:
        data: The whole file.
        context: What is known besides the bytes.

    Returns:
        Everything the file says, each trace of an injection under a name of its own.

    Raises:
        UnreadableFileError: the file as a whole is not usable.
    """
    return read_by(recognise(context.file_name, data, context.loggers), data, context)


def read_by(reader: Reader, data: bytes, context: ReadContext) -> ReadResult:
    """Read one file by the reader that it was recognised for.

    Args:
        reader: What ``recognise`` returned.
        data: The whole file.
        context: What is known besides the bytes.

    Returns:
        As of ``read_file``.

    Raises:
        UnreadableFileError: the file as a whole is not usable, or ``reader_error``: what was read fits no table.
    """
    return number_repeated_traces(refuse_uncontracted(reader.read(data, context), reader))


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A file that nothing was made of.

    Attributes:
        format: Format of the reader that was chosen, if one was.
        error: Rule, reason and place, for people.
        fault: What was raised where the reader has a fault, for whoever mends it.
    """

    format: str | None
    error: UnreadableFileError
    fault: BaseException | None = None


def read_or_refuse(load: Callable[[], bytes], context: ReadContext, use: Callable[[ReadResult], _Used]) -> _Used | Refused:
    """Read one file and use what it says; whatever goes wrong with it costs this file alone.

    Args:
        load: Returns the whole file.
        context: What is known besides the bytes.
        use: What is made of the result; where it fails, so does the file.

    Returns:
        What ``use`` returned, or why the file is refused. Only an interrupt and an exit of the process are raised.
    """
    reader: Reader | None = None
    try:
        data = load()
        reader = recognise(context.file_name, data, context.loggers)
        return use(read_by(reader, data, context))
    except (KeyboardInterrupt, SystemExit):
        raise
    except UnreadableFileError as error:
        return Refused(format=reader.format if reader else None, error=error)
    except BaseException as error:  # noqa: BLE001 - panics of libraries written in Rust are no Exception
        return Refused(format=reader.format if reader else None, error=refusal_of(error, reader), fault=error)


def _seen(head: bytes) -> str:
    """Describe the beginning of a file for people; a line that may hold a credential is not shown."""
    if b"\x00" in head[:512] and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"unknown, beginning with the bytes {head[:8].hex(' ')}"
    shown = [line.strip() for line in peek_lines(head)[:20] if line.strip()][:3]
    return f"unknown, beginning with the text {shorten(' '.join('(not shown)' if is_secret(line) else line for line in shown))}"
