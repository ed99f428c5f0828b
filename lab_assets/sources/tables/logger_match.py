"""Which description a logger's file is of, and where its column names are.

Belongs here: recognition by columns and file name. Does not belong here: reading (``logger_table.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.core.archives import is_archive
from lab_assets.sources.core.decoding import base_name, peek_lines
from lab_assets.sources.core.delimited import Header, normalise, note_directive, split_names, split_unit
from lab_assets.sources.core.loggers import LoggerDescription
from lab_assets.sources.tables.spreadsheet import Sheet
from lab_assets.sources.tables.table_xlsx import candidate_headers

_SURE: Final = 97
"""All columns that a description asks for are there: surer than any reader that goes by common names."""
_BY_NAME: Final = 60
"""Only the file name matches: reading names the missing column."""


def surest(ranked: Sequence[tuple[int, LoggerDescription]]) -> LoggerDescription:
    """Return the description that fits best.

    Raises:
        UnreadableFileError: ``unknown_format`` when none fits.
    """
    sureness, description = max(ranked, key=lambda pair: pair[0], default=(0, None))
    if description is None or sureness == 0:
        raise UnreadableFileError(
            "unknown_format", "no description of a logger fits this file; docs/add-an-instrument.md says how to write one"
        )
    return description


def text_sureness(name: str, head: bytes, description: LoggerDescription) -> int:
    """Return how surely a text is of a described logger, 0 to 100.

    Args:
        name: File name.
        head: The first bytes of the file.
        description: Of the logger.
    """
    if not _name_fits(name, description) or is_archive(head):
        return 0
    try:
        header = text_header(_head_lines(head, description), description)
    except UnreadableFileError:
        return 0
    return _by_columns(None if header is None else header_sureness(header, description), description)


def sheets_sureness(name: str, sheets: Sequence[Sheet], description: LoggerDescription) -> int:
    """Return how surely a workbook is of a described logger, 0 to 100."""
    if not _name_fits(name, description):
        return 0
    headers = [header for sheet in sheets if not sheet.hidden and (header := sheet_header(sheet, description)) is not None]
    return _by_columns(max((header_sureness(header, description) for header in headers), default=None), description)


def header_sureness(header: Header, description: LoggerDescription) -> int:
    """Return how surely a header is of a described logger: entirely, when all columns asked for are there, or not at all."""
    asked = description.match_columns or wanted_columns(description)
    names = tuple(normalise(name) for name in header.names)
    return _SURE if all(position_of(name, header.names, names) is not None for name in asked) else 0


def text_header(lines: Sequence[str], description: LoggerDescription) -> Header | None:
    """Return the header of a text, with the directives above it, where its description expects it."""
    directives: dict[str, str] = {}
    start = description.header_starts_with.replace('"', "")
    for number, line in enumerate(lines, start=1):
        is_remark = note_directive(line, directives)
        if start:
            found = line.replace('"', "").lstrip().startswith(start)
        else:
            found = number > description.skip_lines and bool(line.strip()) and not (is_remark and not description.skip_lines)
        if found:
            separator = description.separator or max("\t;,", key=line.count)
            return Header(directives=directives, names=split_names(line, separator), separator=separator, line=number)
    return None


def sheet_header(sheet: Sheet, description: LoggerDescription) -> Header | None:
    """Return the header of a sheet: the row that begins as described, or the first one that has the columns, below the skipped rows."""
    start = description.header_starts_with.strip('";,\t ')
    headers = [header for header in candidate_headers(sheet) if header.line > description.skip_lines]
    if start:
        headers = [header for header in headers if next(filter(None, header.names), "").startswith(start)]
    return next((header for header in headers if header_sureness(header, description)), headers[0] if headers else None)


def wanted_columns(description: LoggerDescription) -> tuple[str, ...]:
    """Return the columns a description needs, each once."""
    own = (description.logger_column,) if description.logger_column else ()
    return tuple(dict.fromkeys((*description.time_columns, *own, *(column.name for column in description.columns))))


def position_of(wanted: str, written: Sequence[str], names: Sequence[str]) -> int | None:
    """Return where a described column is: by its whole name, else by its name without the unit when that is unmistakable."""
    whole = normalise(wanted)
    if whole in names:
        return names.index(whole)
    bare = normalise(split_unit(wanted)[0])
    alike = [index for index, name in enumerate(written) if normalise(split_unit(name)[0]) == bare]
    return alike[0] if len(alike) == 1 else None


def _by_columns(sureness: int | None, description: LoggerDescription) -> int:
    """Return how sure the columns make; a description that goes by the file name alone claims the file even without them."""
    return sureness or (0 if description.match_columns else _BY_NAME)


def _name_fits(name: str, description: LoggerDescription) -> bool:
    pattern = description.match_file_name
    return not pattern or fnmatchcase(base_name(name).casefold(), pattern.casefold())


def _head_lines(head: bytes, description: LoggerDescription) -> Sequence[str]:
    """Return the first lines leniently, in the encoding that reading will find."""
    if description.encoding is not None:
        return head.decode(description.encoding, "replace").splitlines()
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return peek_lines(head)
    whole = head[: head.rfind(b"\n") + 1] or head  # a character may be cut at the end of the head
    try:
        return whole.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return whole.decode("cp1252", "replace").splitlines()
