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
from collections.abc import Iterator, Sequence
from typing import Any, Final

from lab_assets.sources.allotrope_measurements import Prepared, read_measurements
from lab_assets.sources.archives import Archive, is_archive
from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.decoding import stem

_OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HEADINGS: Final = ("Particle Size", "Run No.", "Cumulative Count")
_SHEETS: Final = ("xl/sharedStrings.xml", "xl/worksheets/sheet1.xml")
_MAX_SHEET_BYTES: Final = 4 << 20
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
    except (python_calamine.CalamineError, OSError, ValueError, IndexError) as error:
        reason = f"the workbook is cut or damaged ({type(error).__name__}); transfer it again"
        raise UnreadableFileError("truncated", reason) from None
    for row in rows:
        yield from (text for cell in row if (text := str(cell).strip()))


def _html_cells(data: bytes) -> Iterator[str]:
    from lxml import etree, html

    if b"</html>" not in data[-256:].lower():
        # readers of HTML are lenient: half a table would pass for a whole one
        raise UnreadableFileError("truncated", "the report has no end; export or transfer it again")
    try:
        root = html.fromstring(data)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as error:
        raise UnreadableFileError("truncated", f"the report is damaged ({type(error).__name__}); export it again") from None
    for cell in root.iter("td", "th"):
        if text := str(cell.text_content()).replace("\u00a0", " ").strip():
            yield text
