"""Ruled tables of PDF pages, within limits that a hostile page cannot pass.

Belongs here: what a page costs to interpret, and its tables by the lines drawn around their cells. Does not belong here: text and
metadata of documents (``pdf_document.py``), tables without lines, which cannot be distinguished from text in columns.

A page is measured before it is interpreted, because forms that draw forms can stand for any amount of work in few bytes.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    import pypdf
    from pdfplumber.page import Page

Cells = list[list[str | None]]

MAX_PAGE_BYTES: Final = 256 << 10
"""Most bytes of drawing operators on a page whose tables are looked for, forms counted as often as they are drawn; a page of a
certificate has 5 to 50 KiB. A hostile page of this size takes 12 seconds."""
MAX_DOCUMENT_BYTES: Final = 1 << 20
"""The same for all pages of a document together."""
MAX_FORM_DEPTH: Final = 16
MAX_EDGES: Final = 20_000
MAX_LINE_PAIRS: Final = 200_000
MAX_CROSSINGS: Final = 4000
"""Most crossings of lines on one page; finding cells takes time with their square."""
MAX_DOCUMENT_WORK: Final = 300_000_000
"""Most squared crossings of a document, about half a minute."""
MAX_CELL_WORK: Final = 20_000_000
"""Most letters times rows of tables on one page."""
MAX_TABLES_CHARS: Final = 1_000_000

_SNAP_PT: Final = 3
_DRAW: Final = re.compile(rb"/([^\s/<>\[\](){}%]+)(?:\s|%[^\r\n]*[\r\n])+Do\b")
_ESCAPED: Final = re.compile(rb"#([0-9A-Fa-f]{2})")
_LINES: Final = re.compile(rb"\s(?:re|l)\s")
_FONT_FILES: Final = ("/FontFile", "/FontFile2", "/FontFile3")


@dataclass(frozen=True, kw_only=True)
class PageLoad:
    """What a page costs to interpret.

    Attributes:
        content_bytes: Bytes of drawing operators, forms counted as often as they are drawn, and of character maps.
        has_lines: Whether it draws lines or rectangles.
    """

    content_bytes: int
    has_lines: bool


class TooMuchWorkError(ValueError):
    """A page that stands for more work than is done for one."""


def page_load(page: pypdf.PageObject) -> PageLoad:
    """Measure one page without interpreting it.

    Raises:
        TooMuchWorkError: forms that draw themselves, or are nested too deep.
        pypdf.errors.PyPdfError: the page is damaged, or a stream unpacks to more than pypdf allows.
    """
    contents = page.get_contents()
    resources = _part(page, "/Resources")
    load = _load(contents.get_data() if contents is not None else b"", resources, {}, 0)
    return PageLoad(content_bytes=load.content_bytes + _font_bytes(resources), has_lines=load.has_lines)


def _load(data: bytes, resources: Any, measured: dict[int, PageLoad], depth: int) -> PageLoad:
    """Measure operators and the forms they draw; a form counts once for each time it is drawn."""
    if depth > MAX_FORM_DEPTH:
        raise TooMuchWorkError("forms are nested in one another without end")
    forms = _part(resources, "/XObject")
    loads: list[PageLoad] = []
    for name in _DRAW.findall(data):
        form = _part(forms, "/" + _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), name).decode("latin-1"))
        if _part(form, "/Subtype") != "/Form" or not hasattr(form, "get_data"):
            continue
        if id(form) not in measured:
            measured[id(form)] = _load(form.get_data(), _part(form, "/Resources") or resources, measured, depth + 1)
        loads.append(measured[id(form)])
    return PageLoad(
        content_bytes=len(data) + sum(load.content_bytes for load in loads),
        has_lines=bool(_LINES.search(data)) or any(load.has_lines for load in loads),
    )


def _part(holder: Any, key: str) -> Any:
    """Return what a dictionary of a PDF holds under a name, references followed; ``None`` for nothing or no dictionary."""
    found: Any = holder.get(key) if hasattr(holder, "get") else None
    return found.get_object() if hasattr(found, "get_object") else found


def _font_bytes(resources: Any) -> int:
    """Return the size of the character maps of a page's fonts; unpack the fonts themselves once, within pypdf's limit."""
    fonts = _part(resources, "/Font")
    total = 0
    for name in fonts or ():
        font = _part(fonts, name)
        maps = _part(font, "/ToUnicode")
        if hasattr(maps, "get_data"):
            total += len(maps.get_data())
        for key in _FONT_FILES:
            file = _part(_part(font, "/FontDescriptor"), key)
            if hasattr(file, "get_data"):
                file.get_data()
    return total


@dataclass(kw_only=True)
class TableFinder:
    """Finds the tables of a document's pages.

    Attributes:
        data: The document.
        skipped: Pages whose tables were left out because they cannot be read within the limits, from 1.
    """

    data: bytes
    skipped: list[int] = field(default_factory=list[int])
    _work: int = 0

    def tables_json(self, loads: Mapping[int, PageLoad]) -> dict[int, str]:
        """Return the tables of pages as JSON; pages without any are left out.

        Args:
            loads: What each page costs, by its number from 1.
        """
        numbers: list[int] = []
        total = 0
        for number, load in loads.items():
            if load.has_lines and load.content_bytes <= min(MAX_PAGE_BYTES, MAX_DOCUMENT_BYTES - total):
                total += load.content_bytes
                numbers.append(number)
            elif load.has_lines:
                self.skipped.append(number)
        if not numbers:
            return {}
        import pdfplumber
        from pdfminer.psexceptions import PSException
        from pdfplumber.utils.exceptions import MalformedPDFException, PdfminerException

        damage = (PSException, MalformedPDFException, PdfminerException, *DAMAGE)
        found: dict[int, str] = {}
        try:
            with pdfplumber.open(io.BytesIO(self.data), pages=numbers) as document:
                for page in document.pages:
                    try:
                        tables = self._tables(page)
                    except (TooMuchWorkError, *damage):
                        self.skipped.append(page.page_number)
                        continue
                    finally:
                        page.close()
                    if tables:
                        found[page.page_number] = orjson.dumps(tables).decode()
        except damage:
            self.skipped.extend(number for number in numbers if number not in found and number not in self.skipped)
        return found

    def _tables(self, page: Page) -> list[Cells]:
        """Return the tables of one page that have more than one cell."""
        self._refuse_work(page)
        tables = page.find_tables()
        if len(page.chars) * sum(len(table.rows) for table in tables) > MAX_CELL_WORK:
            raise TooMuchWorkError("too many letters in too many rows")
        cells: list[Cells] = [[[_clean(cell) for cell in row] for row in table.extract()] for table in tables if len(table.cells) > 1]
        cells = [table for table in cells if any(cell for row in table for cell in row)]
        if sum(len(cell or "") for table in cells for row in table for cell in row) > MAX_TABLES_CHARS:
            raise TooMuchWorkError("the cells hold too much text")
        return cells

    def _refuse_work(self, page: Page) -> None:
        """Refuse a page with so many lines that looking for cells would take minutes."""
        from pdfplumber.table import edges_to_intersections, merge_edges
        from pdfplumber.utils.geometry import filter_edges

        if len(page.edges) > MAX_EDGES:
            raise TooMuchWorkError(f"{len(page.edges)} lines are more than {MAX_EDGES}")
        merged = merge_edges(filter_edges(page.edges, min_length=1), _SNAP_PT, _SNAP_PT, _SNAP_PT, _SNAP_PT)
        lines = filter_edges(merged, min_length=_SNAP_PT)
        n_upright = sum(1 for line in lines if line["orientation"] == "v")
        if n_upright * (len(lines) - n_upright) > MAX_LINE_PAIRS:
            raise TooMuchWorkError("too many lines")
        n_crossings = len(edges_to_intersections(lines, _SNAP_PT, _SNAP_PT))
        self._work += n_crossings**2
        if n_crossings > MAX_CROSSINGS or self._work > MAX_DOCUMENT_WORK:
            raise TooMuchWorkError(f"{n_crossings} crossings of lines")


def _clean(cell: str | None) -> str | None:
    return cell.replace("\x00", "").strip() if cell is not None else None


DAMAGE: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    AssertionError,
    NotImplementedError,
    EOFError,
    OSError,
    struct.error,
    zlib.error,
)
"""What the readers of PDF raise on damaged files, besides their own errors."""
