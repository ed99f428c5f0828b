# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
# (lxml has no types)
"""Beckman Coulter PharmSpec and HIAC particle counts (``.xlsx``, ``.xls``, also HTML named ``.xls``), through ``allotropy``.

Belongs here: this format: counts by particle size for each run, and their average. Does not belong here: limits of a pharmacopoeia.

The converter reads ``12.08.2022`` month first; the file's own text is read here. It labels the view volume, a percentage, as mL: only
what the file itself says is kept. The counts and their units are the file's.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import Archive, is_archive, open_archive
from lab_assets.sources.core.decoding import shorten, stem
from lab_assets.sources.standards.allotrope import is_panic
from lab_assets.sources.standards.allotrope_measurements import Prepared, read_measurements
from lab_assets.sources.tables.spreadsheet import packed_parts, workbook_parts

_OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HEADINGS: Final = ("Particle Size", "Run No.", "Cumulative Count")
_SHEETS: Final = ("xl/sharedStrings.xml", "xl/worksheets/sheet1.xml")
_MAX_SHEET_BYTES: Final = 4 << 20
_MAX_CELLS: Final = 1_000_000
_REFERENCE: Final = re.compile(r"([A-Za-z]{0,3})([0-9]{0,7})")
_RECORD: Final = struct.Struct("<HHHH")
_RECORD_END: Final = struct.Struct("<H")
_SEVERAL_CELLS: Final = frozenset({0xBD, 0xBE})
_CELL_RECORDS: Final = _SEVERAL_CELLS | {0x06, 0xFD, 0xD6, 0x204, 0x205, 0x203, 0x27E, 0x406, 0x206, 0x02, 0x03, 0x04, 0x05, 0x201, 0x01}
"""Records of the format before 2007 that begin with a row and a column; those of several cells end with their last column."""
_KEPT: Final = frozenset(
    {
        *("View Volume", "View Volume (%)", "No Of Runs", "Sample Volume (mL)", "Tare Volume (mL)", "Dilution Factor", "Container ID"),
        *("Sensor Model", "Sensor Serial Number", "Batch-Nr", "Ro-Nr", "Bemerkungen 1", "Bemerkungen 2", "Project ID / Study"),
    }
)


class PharmSpecReader:
    """Reader of PharmSpec and HIAC particle counts."""

    format: str = "pharmspec"
    tables: tuple[str, ...] = ("measurements",)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: the headings of the counts, in an OLE workbook or in HTML."""
        del name
        if head.startswith(_OLE_MAGIC):
            found = sum(text.encode(code) in head for text in _HEADINGS for code in ("utf-16-le", "latin-1"))
            return 95 if found >= 2 else 0
        if head[:256].lstrip().lower().startswith(b"<html"):
            return 95 if b"Run Counter Test" in head or sum(text.encode() in head for text in _HEADINGS) >= 2 else 0
        return 0

    def sniff_archive(self, name: str, archive: Archive) -> int:
        """Return how surely this is the format: the headings of the counts in the texts of a workbook."""
        del name
        known: set[str] = set()
        for member in _SHEETS:
            if member in archive.names and archive.size(member) <= _MAX_SHEET_BYTES:
                try:
                    texts = archive.read(member)
                except UnreadableFileError:
                    return 0
                known |= {heading for heading in _HEADINGS if heading.encode() in texts}
        return 95 if len(known) >= 2 else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one report.

        Raises:
            UnreadableFileError: ``unsupported``, ``truncated`` for a damaged workbook, ``missing_section``, ``empty``.
        """
        return read_measurements(data, context, file_format=self.format, vendor="BECKMAN_PHARMSPEC", prepare=_prepare)


def _prepare(data: bytes, context: ReadContext) -> Prepared:
    if is_archive(data):
        data = _checked_workbook(data)
    elif data.startswith(_OLE_MAGIC):
        _check_old_workbook(data)
    cells = list(_html_cells(data) if data.lstrip()[:5].lower() == b"<html" else _sheet_cells(data))
    stated = _fields(cells)
    version = next((match[1] for cell in cells[:40] if (match := re.search(r"\bv(\d+(?:\.\d+){0,2})", cell))), None)
    discarded = {key: text for key, text in stated.items() if text == "Discarded"}
    return Prepared(
        data=data,
        name=f"{stem(context.file_name)}.{'xlsx' if is_archive(data) else 'xls'}",
        measured_at_text=stated.get("Sample Date"),
        instrument_name=stated.get("Sensor Model"),
        software=f"PharmSpec {version}" if version else "PharmSpec",
        rescued={key: text for key, text in stated.items() if key in _KEPT and text != "-"} | discarded,
    )


def _fields(cells: Sequence[str]) -> dict[str, str]:
    """Return the fields above the counts, written as ``Name | : | value`` or ``Name | : value``."""
    end = next((at for at, cell in enumerate(cells) if cell.startswith("Particle Size")), len(cells))
    found: dict[str, str] = {}
    for at, cell in enumerate(cells[:end]):
        following = cells[at + 1] if at + 1 < end else ""
        if cell.startswith(":") or not following.startswith(":"):
            continue
        text = following.removeprefix(":").strip() or (cells[at + 2] if at + 2 < end else "")
        if text and not text.startswith(":"):
            found.setdefault(cell, text)
    return found


def _sheet_cells(data: bytes) -> Iterator[str]:
    """Return the cells of the first sheet that are not empty, line by line.

    Raises:
        UnreadableFileError: ``truncated``.
    """
    import python_calamine

    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        rows: list[list[Any]] = book.get_sheet_by_index(0).to_python()
    except BaseException as error:
        if not isinstance(error, (python_calamine.CalamineError, OSError, ValueError, IndexError)) and not is_panic(error):
            raise
        reason = f"the workbook is cut or damaged ({type(error).__name__}); transfer it again"
        raise UnreadableFileError("truncated", reason) from None
    for row in rows:
        yield from (text for cell in row if (text := str(cell).strip()))


def _checked_workbook(data: bytes) -> bytes:
    """Return the parts of a workbook that hold cells, and nothing else; none of them reaches far beyond what a report has.

    The libraries lay a sheet out in memory from its first cell to its last, however few there are between.

    Raises:
        UnreadableFileError: the rules of workbooks, ``too_large``.
    """
    from xml.parsers.expat import ExpatError, ParserCreate

    parts = workbook_parts(open_archive(data))
    for name, part in parts.items():
        extent = _Extent()
        parser = ParserCreate()
        parser.StartElementHandler = extent.start
        try:
            parser.Parse(part, True)  # noqa: FBT003 - takes no keywords
        except (ExpatError, LookupError, ValueError) as error:
            raise UnreadableFileError("truncated", "a part of the workbook is damaged; transfer it again", shorten(name)) from error
        extent.check(shorten(name))
    return packed_parts(parts).getvalue()


class _Extent:
    """The last row and column that a sheet's cells state or reach."""

    def __init__(self) -> None:
        self.n_rows = self.n_columns = self._column = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take one element into account."""
        name = tag.rpartition(":")[2]
        if name == "row":
            self._column = 0
        if name not in {"row", "c"}:
            return
        stated = _REFERENCE.fullmatch(attributes.get("r", ""))
        if stated is None:
            raise UnreadableFileError("too_large", "a cell lies outside of any sheet")
        letters, digits = stated.groups()
        self._column = _column_number(letters) if letters else self._column + (name == "c")
        self.n_columns = max(self.n_columns, self._column)
        self.n_rows = max(self.n_rows + (name == "row"), int(digits or 0))

    def check(self, place: str) -> None:
        """Refuse a sheet that is larger than any report."""
        if self.n_rows * self.n_columns > _MAX_CELLS:
            raise UnreadableFileError("too_large", f"the sheet is {self.n_rows} rows by {self.n_columns} columns; no report is", place)


def _column_number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter.upper()) - ord("A") + 1
    return number


def _check_old_workbook(data: bytes) -> None:
    """Refuse a workbook of the format before 2007 whose cells reach far beyond what a report has; each record states row and column.

    Raises:
        UnreadableFileError: ``truncated``, ``too_large``.
    """
    import olefile

    try:
        with olefile.OleFileIO(data) as container:
            stream = next(name for name in (["Workbook"], ["Book"]) if container.exists(name))  # pyright: ignore[reportArgumentType]
            records = container.openstream(stream).read()  # pyright: ignore[reportArgumentType]
    except Exception as error:
        raise UnreadableFileError("truncated", f"the workbook is damaged ({type(error).__name__}); transfer it again") from error
    n_rows = n_columns = at = 0
    while at + 8 <= len(records):
        kind, length, row, column = _RECORD.unpack_from(records, at)
        if kind in _CELL_RECORDS:
            last = _RECORD_END.unpack_from(records, at + 2 + length)[0] if kind in _SEVERAL_CELLS and length >= 6 else column
            n_rows, n_columns = max(n_rows, row + 1), max(n_columns, column + 1, last + 1)
        at += 4 + length
    if n_rows * n_columns > _MAX_CELLS:
        raise UnreadableFileError("too_large", f"the workbook has {n_rows} rows by {n_columns} columns; no report has")


def _html_cells(data: bytes) -> Iterator[str]:
    from lxml import etree, html

    if b"<!entity" in data.lower():
        raise UnreadableFileError("hostile_xml", "the report declares entities, which no report does; export it again")
    if b"</html>" not in data[-256:].lower():
        # readers of HTML are lenient: half a table would pass for a whole one
        raise UnreadableFileError("truncated", "the report has no end; export or transfer it again")
    try:
        root = html.fromstring(data)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as error:
        raise UnreadableFileError("truncated", f"the report is damaged ({type(error).__name__}); export it again") from None
    n_cells = 0
    for cell in root.iter("td", "th"):
        spans = [cell.get(name, "1").strip() for name in ("rowspan", "colspan")]
        if not all(span.isascii() and span.isdigit() and len(span) <= 4 for span in spans):
            raise UnreadableFileError("too_large", "a cell spans more cells than any report has")
        n_cells += max(1, int(spans[0])) * max(1, int(spans[1]))
        if n_cells > _MAX_CELLS:
            raise UnreadableFileError("too_large", f"the report has more than {_MAX_CELLS} cells")
        if text := str(cell.text_content()).replace("\u00a0", " ").strip():
            yield text


READERS: Final = (PharmSpecReader(),)
