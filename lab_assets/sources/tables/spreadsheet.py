# pyright: reportMissingModuleSource=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (openpyxl has types in part)
"""Workbooks (XLSX, XLSM): their visible sheets as rows of text, each cell as it is stored.

Belongs here: what a cell of a workbook says. Does not belong here: columns and contracts; macros, links to other workbooks, charts and
pictures, of which nothing is opened.

Numbers are the stored ones, never as a format or a locale shows them. Times have no zone in a workbook: they become ISO text. A formula
counts by the value stored with it; nothing is calculated. Only the parts of the archive that hold sheets and their texts and formats are
given to the parser, and none of them may declare a document type.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final

from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.core.archives import Archive, open_archive
from lab_assets.sources.core.cells import PercentNumber, StoredNumber, UnvaluedFormula
from lab_assets.sources.core.decoding import shorten
from lab_assets.sources.core.xml_text import refuse_declarations, refuse_endless

MAX_SHEET_ROWS: Final = 1 << 20
"""Rows of a sheet by ISO/IEC 29500 applications."""
MAX_SHEET_COLUMNS: Final = 4096
MAX_SHEET_CELLS: Final = 20_000_000
MAX_EMPTY_CELLS: Final = 4_000_000
"""Most empty cells before the last one of their row: a few cells far to the right make a small file a large table."""
_MAX_PART_BYTES: Final = 256 << 20
_PEEK_ROWS: Final = 60

_PART: Final = re.compile(r".*\.(?:xml|rels)", re.IGNORECASE)
_UNREAD: Final = re.compile(
    r"(?:docProps|customXml|_xmlsignatures)/.*|(?:.*/)?(?:theme|drawings|diagrams|media|embeddings|activeX|ctrlProps|charts|chartsheets|dialogsheets"
    r"|pivotCache|pivotTables|slicers|slicerCaches|externalLinks|printerSettings|queryTables|tables|threadedComments|persons|comments"
    r"|richData|timelines|timelineCaches|webextensions)/.*|(?:.*/)?comments\d*\.xml|(?:.*/)?connections\.xml",
    re.IGNORECASE,
)
"""Parts that hold no cells: they are neither unpacked nor parsed."""
_FORMULA: Final = re.compile(rb"<(?:\w+:)?f[\s/>]")
_STRICT: Final = (
    (b"http://purl.oclc.org/ooxml/spreadsheetml/main", b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"),
    (b"http://purl.oclc.org/ooxml/officeDocument/relationships", b"http://schemas.openxmlformats.org/officeDocument/2006/relationships"),
)
"""Names of the strict variant of the format and those of the usual one, for the same things."""
_WHOLE_FLOAT: Final = 2.0**53


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One sheet.

    Attributes:
        name: Its name.
        hidden: Whether it is hidden; the rows of a hidden sheet are not read.
        rows: Row number, from 1, and cells without blanks around them, of each row that is not empty.
        n_formulas: Number of formulas in it.
    """

    name: str
    hidden: bool
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    n_formulas: int = 0


def is_workbook(archive: Archive) -> bool:
    """Tell whether an archive is a workbook, by its members' names."""
    names = {name.casefold() for name in archive.names}
    return "[content_types].xml" in names and any(re.fullmatch(r"(?:.*/)?workbook\d*\.xml", name) for name in names)


@lru_cache(maxsize=2)
def peek_sheets(archive: Archive) -> tuple[Sheet, ...]:
    """Return the first rows of each visible sheet, for recognising a format.

    Args:
        archive: An opened workbook.

    Raises:
        UnreadableFileError: as ``read_sheets``.
    """
    return _sheets(archive, most_rows=_PEEK_ROWS)


def read_sheets(data: bytes) -> tuple[Sheet, ...]:
    """Read a workbook.

    Args:
        data: The whole file.

    Returns:
        Its sheets in their order, hidden ones without rows.

    Raises:
        UnreadableFileError: a rule of archives, ``too_large``, ``hostile_xml``, ``truncated`` for damaged parts, or ``unsupported``
            for what is no workbook after all.
    """
    return _sheets(open_archive(data), most_rows=None)


def _sheets(archive: Archive, most_rows: int | None) -> tuple[Sheet, ...]:
    import openpyxl

    try:
        parts = workbook_parts(archive)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of decoration that is not read
            book = openpyxl.load_workbook(packed_parts(parts), read_only=True, data_only=True, keep_links=False)
            return tuple(_sheet(sheet, parts, most_rows) for sheet in book.worksheets)
    except UnreadableFileError:
        raise
    except (zipfile.BadZipFile, EOFError, SyntaxError) as error:  # SyntaxError: XML that is not well formed
        raise UnreadableFileError("truncated", f"the workbook is damaged ({error}); save or transfer it again") from error
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:  # whatever a parser of a large format meets in a file that is not of it
        problem = shorten(f"{type(error).__name__}: {error}", 200)
        raise UnreadableFileError("unsupported", f"the workbook cannot be read ({problem}); open it and save it again as .xlsx") from error


def workbook_parts(archive: Archive) -> dict[str, bytes]:
    """Return the parts of a workbook that are read: sheets, their texts and formats, and what joins them."""
    if not is_workbook(archive):
        raise UnreadableFileError("unsupported", "the archive is no workbook; save the table as .xlsx or CSV")
    parts: dict[str, bytes] = {}
    for name in archive.names:
        if not _PART.fullmatch(name) or _UNREAD.fullmatch(name):
            continue
        part = archive.read(name, limit=_MAX_PART_BYTES)
        refuse_declarations(part, shorten(name))
        refuse_endless(part, shorten(name))
        for strict, usual in _STRICT:
            part = part.replace(strict, usual)
        parts[name] = part
    return parts


def packed_parts(parts: Mapping[str, bytes]) -> io.BytesIO:
    """Return the parts as a workbook again."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    buffer.seek(0)
    return buffer


def _sheet(sheet: Any, parts: Mapping[str, bytes], most_rows: int | None) -> Sheet:
    """Read one sheet; its stated extent is not believed, as some programs state one cell."""
    if sheet.sheet_state != "visible":
        return Sheet(name=sheet.title, hidden=True, rows=())
    part = parts[sheet._worksheet_path]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - no public name tells the part
    formulas = _formulas(part) if most_rows is None and _FORMULA.search(part) else {}
    sheet.reset_dimensions()
    rows = tuple(_rows(sheet, formulas, most_rows))
    return Sheet(name=sheet.title, hidden=False, rows=rows, n_formulas=len(formulas))


def _rows(sheet: Any, formulas: Mapping[tuple[int, int], str | None], most_rows: int | None) -> Iterator[tuple[int, tuple[str, ...]]]:
    n_cells = n_filled = 0
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        if most_rows is not None and number > most_rows:
            return
        if len(cells) > MAX_SHEET_COLUMNS:
            reason = f"row {number} reaches to column {len(cells)}, more than {MAX_SHEET_COLUMNS}; delete what is far to the right"
            raise UnreadableFileError("too_large", reason, f"sheet {sheet.title!r}")
        n_cells += len(cells)
        fields = [_text(cell) for cell in cells]
        n_filled += len(fields) - fields.count("")
        if number > MAX_SHEET_ROWS or n_cells > MAX_SHEET_CELLS or n_cells - n_filled > MAX_EMPTY_CELLS:
            raise UnreadableFileError("too_large", "the sheet is larger than a table can be; export it as CSV", f"sheet {sheet.title!r}")
        for index, field in enumerate(fields, start=1):
            if not field and (text := formulas.get((number, index))) is not None:
                fields[index - 1] = UnvaluedFormula(text)
        while fields and not fields[-1]:
            fields.pop()
        if fields:
            yield number, tuple(fields)


def _text(cell: Any) -> str:
    """Return a cell as text."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        text = repr(int(value)) if abs(value) < _WHOLE_FLOAT and value == int(value) else repr(value)
        return PercentNumber(text) if "%" in _plain_format(cell.number_format) else StoredNumber(text)
    return _time_text(value, cell.number_format)


@lru_cache(maxsize=1024)
def _plain_format(number_format: str) -> str:
    """Return a number format without its literal texts and escaped signs."""
    return re.sub(r'"[^"]*"|\\.', "", number_format or "")


def _time_text(value: object, number_format: str) -> str:
    """Return a time as ISO text: a day where only a day is shown and stored, else day and time, or the time of day alone."""
    if isinstance(value, datetime):
        shows_time = re.search(r"[hs]", _plain_format(number_format), re.IGNORECASE)
        return value.date().isoformat() if value.time() == time() and not shows_time else value.isoformat()
    if isinstance(value, timedelta):
        seconds, micros = divmod(round(value.total_seconds() * 1_000_000), 1_000_000)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return f"{clock}.{micros:06d}" if micros else clock
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def _formulas(part: bytes) -> dict[tuple[int, int], str | None]:
    """Return where a sheet's formulas are: row and column, from 1, to the formula's text where no value is stored with it.

    A value that is an empty text counts as stored; the parser of cells cannot tell these apart.
    """
    from defusedxml.ElementTree import iterparse
    from openpyxl.utils.cell import coordinate_to_tuple

    found: dict[tuple[int, int], str | None] = {}
    row = column = 0
    for step, element in iterparse(io.BytesIO(part), events=("start", "end")):
        name = element.tag.rpartition("}")[2]
        if step == "start" and name == "row":
            row, column = int(float(element.get("r", row + 1))), 0
        elif step == "end" and name == "c":
            row, column = coordinate_to_tuple(element.get("r")) if element.get("r") else (row, column + 1)
            children = {child.tag.rpartition("}")[2]: child for child in element}
            if "f" in children:
                stored = element.get("t") == "str" or ("v" in children and children["v"].text)
                found[row, column] = None if stored else f"={children['f'].text or ''}"
            element.clear()
        elif step == "end" and name == "row":
            element.clear()
    return found
