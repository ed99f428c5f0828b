# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (pypdfium2 has no types)
"""Certificates and reports as PDF: one row a page with its text and its ruled tables, and pictures of pages on demand.

Belongs here: text, metadata, rendering. Does not belong here: how tables are found (``pdf_tables.py``), or text recognition of scans.
"""

from __future__ import annotations

import io
import logging
import math
import threading
from typing import TYPE_CHECKING, Any, Final

from lab_assets.sources.base import ReadContext, ReadResult, Row, UnreadableFileError
from lab_assets.sources.core.decoding import base_name
from lab_assets.sources.media.pdf_tables import DAMAGE, PageLoad, TableFinder, TooMuchWorkError, page_load

if TYPE_CHECKING:
    import pypdf

MAX_PAGES: Final = 2000
MAX_PAGE_CHARS: Final = 1_000_000
MAX_PYPDF_BYTES: Final = 4 << 20
"""Most bytes of drawing operators that pypdf reads the text of, at 5 microseconds each; of larger documents PDFium reads it."""
MAX_TEXT_BYTES: Final = 16 << 20
"""Most bytes of drawing operators in a document whose text is read at all."""
MAX_DPI: Final = 600
MAX_RENDERED_PIXELS: Final = 16_000_000
"""Largest picture of a page; larger paper is rendered at a lower resolution."""

_HEADER_BYTES: Final = 1024
_END: Final = b"%%EOF"
_PDFIUM: Final = threading.Lock()
"""PDFium is not safe to be called from several threads at once."""


class PdfDocumentReader:
    """Reader of PDF documents."""

    format: str = "pdf_document"
    tables: tuple[str, ...] = ("documents",)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: PDF's magic bytes within the first kilobyte."""
        del name
        return 100 if b"%PDF-" in head[:_HEADER_BYTES] else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one document, a row for each page.

        Raises:
            UnreadableFileError: ``encrypted`` for one that needs a password, ``truncated`` for a cut or damaged file, ``empty``
                without pages, ``too_large``.
        """
        import pypdf
        from pypdf.errors import DependencyError, PyPdfError

        for library in ("pypdf", "pdfminer"):  # both log every oddity they repair
            logging.getLogger(library).setLevel(logging.CRITICAL)
        _refuse_cut(data)
        warnings: list[str] = []
        try:
            document = pypdf.PdfReader(io.BytesIO(data), strict=False)
            _refuse_locked(document)
            rows = _rows(document, data, base_name(context.file_name), warnings)
        except UnreadableFileError:
            raise
        except DependencyError as error:
            raise UnreadableFileError("encrypted", "the document's encryption is not known; export it without a password") from error
        except (PyPdfError, *DAMAGE) as error:
            reason = f"the PDF is cut or damaged ({type(error).__name__}); transfer it again"
            raise UnreadableFileError("truncated", reason) from error
        if not any(row["text"] for row in rows):
            warnings.append("the document has no text; it may be a scan")
        return ReadResult(format=self.format, tables={"documents": rows}, warnings=warnings)


def page_image_png(data: bytes, page: int, dpi: int = 110) -> bytes:
    """Render one page.

    Args:
        data: The document.
        page: Page, from 1.
        dpi: Resolution, pixels per inch, 10 to ``MAX_DPI``; less is used where the picture would have more than
            ``MAX_RENDERED_PIXELS``.

    Returns:
        A PNG on white.

    Raises:
        UnreadableFileError: ``encrypted`` or ``truncated``.
        ValueError: the document has no such page, or the resolution is out of bounds.
    """
    import pypdfium2

    if not 10 <= dpi <= MAX_DPI:
        raise ValueError(f"a resolution of {dpi} dpi is not within 10 to {MAX_DPI}")
    with _PDFIUM:
        try:
            with pypdfium2.PdfDocument(data) as document:
                if not 1 <= page <= len(document):
                    raise ValueError(f"the document has {len(document)} pages, not a page {page}")
                return _render(document[page - 1], dpi)
        except pypdfium2.PdfiumError as error:
            locked = "password" in str(error).lower()
            reason = "the document is encrypted; export it without a password" if locked else "the PDF is cut or damaged; transfer it again"
            raise UnreadableFileError("encrypted" if locked else "truncated", reason, f"page {page}") from error


def _render(page: Any, dpi: int) -> bytes:
    width_pt, height_pt = page.get_size()
    if not (0 < width_pt < math.inf and 0 < height_pt < math.inf):
        raise UnreadableFileError("truncated", "the page has no size; transfer the PDF again")
    scale = min(dpi / 72, math.sqrt(MAX_RENDERED_PIXELS / (width_pt * height_pt)), MAX_RENDERED_PIXELS / 16 / max(width_pt, height_pt))
    buffer = io.BytesIO()
    page.render(scale=scale).to_pil().convert("RGB").save(buffer, format="PNG")
    return buffer.getvalue()


def _rows(document: pypdf.PdfReader, data: bytes, name: str, warnings: list[str]) -> list[Row]:
    n_pages = len(document.pages)
    if n_pages == 0:
        raise UnreadableFileError("empty", "the document has no pages")
    if n_pages > MAX_PAGES:
        raise UnreadableFileError("too_large", f"{n_pages} pages are more than {MAX_PAGES}")
    loads = _loads(document)
    finder = TableFinder(data=data)
    tables = finder.tables_json(loads)
    heavy = [number for number in range(1, n_pages + 1) if number not in loads]
    if heavy:
        warnings.append(f"{_pages(heavy)}: the drawing is too large to be interpreted; text and tables are left out")
    if finder.skipped:
        warnings.append(f"{_pages(finder.skipped)}: tables are left out, their lines cannot be read within the limits")
    if sum(load.content_bytes for load in loads.values()) <= MAX_PYPDF_BYTES:
        texts = {number: document.pages[number - 1].extract_text() or "" for number in loads}
    else:
        texts = _pdfium_texts(data, list(loads))
    stated: dict[str, Any] = document.metadata or {}
    written = dict.fromkeys(filter(None, (_stated(stated.get("/Creator")), _stated(stated.get("/Producer")))))
    return [
        {
            "document_name": name,
            "page": number,
            "n_pages": n_pages,
            "title": _stated(stated.get("/Title")),
            "author": _stated(stated.get("/Author")),
            "created_at_text": _stated(stated.get("/CreationDate")),
            "software": "; ".join(written) or None,
            "text": texts.get(number, "")[:MAX_PAGE_CHARS].replace("\x00", ""),
            "tables_json": tables.get(number),
            "source_row": number,
        }
        for number in range(1, n_pages + 1)
    ]


def _loads(document: pypdf.PdfReader) -> dict[int, PageLoad]:
    """Measure the pages; those too heavy to be interpreted are left out."""
    from pypdf.errors import LimitReachedError

    found: dict[int, PageLoad] = {}
    total = 0
    for number, page in enumerate(document.pages, start=1):
        try:
            load = page_load(page)
        except (TooMuchWorkError, LimitReachedError):
            continue
        if total + load.content_bytes <= MAX_TEXT_BYTES:
            total += load.content_bytes
            found[number] = load
    return found


def _pdfium_texts(data: bytes, numbers: list[int]) -> dict[int, str]:
    """Return the text of pages by PDFium, which takes a tenth of pypdf's time and differs from it in blanks and line breaks."""
    import pypdfium2

    with _PDFIUM:
        try:
            with pypdfium2.PdfDocument(data) as document:
                return {number: document[number - 1].get_textpage().get_text_bounded().replace("\r\n", "\n") for number in numbers}
        except pypdfium2.PdfiumError as error:
            raise UnreadableFileError("truncated", "the PDF is cut or damaged; transfer it again") from error


def _refuse_cut(data: bytes) -> None:
    """Refuse a document that lost its end; readers mend such files silently, with pages missing or an older revision."""
    end = data.rfind(_END)
    if end < 0 or b" obj" in data[end:]:
        raise UnreadableFileError("truncated", "the end of the PDF is missing; transfer it again", f"byte {len(data)}")


def _refuse_locked(document: pypdf.PdfReader) -> None:
    """Refuse a document that asks for a password; one that only restricts printing opens with an empty one."""
    if document.is_encrypted and not document.decrypt(""):
        raise UnreadableFileError("encrypted", "the document is encrypted; export it without a password")


def _pages(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return f"page {shown}" + (" and others" if len(numbers) > 10 else "")


def _stated(value: object) -> str | None:
    return str(value).replace("\x00", "").strip() or None if value is not None else None


READERS: Final = (PdfDocumentReader(),)
