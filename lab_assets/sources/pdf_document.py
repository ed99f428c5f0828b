"""Certificates and reports as PDF: one row a page with its text.

Belongs here: text and metadata. Does not belong here: tables inside of documents, or text recognition of scans.
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any, Final

from lab_assets.sources.base import ReadContext, ReadResult, Row, UnreadableFileError
from lab_assets.sources.decoding import base_name

if TYPE_CHECKING:
    import pypdf

MAX_PAGES: Final = 2000
MAX_PAGE_CHARS: Final = 1_000_000


class PdfDocumentReader:
    """Reader of PDF documents."""

    format: str = "pdf_document"
    tables: tuple[str, ...] = ("documents",)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: PDF's magic bytes within the first kilobyte."""
        del name
        return 100 if b"%PDF-" in head[:1024] else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one document, a row for each page.

        Raises:
            UnreadableFileError: ``encrypted``, ``truncated`` for a damaged file, ``empty`` without pages, ``too_large``.
        """
        import pypdf
        from pypdf.errors import PyPdfError

        logging.getLogger("pypdf").setLevel(logging.ERROR)
        try:
            document = pypdf.PdfReader(io.BytesIO(data), strict=False)
            rows = _rows(document, base_name(context.file_name))
        except UnreadableFileError:
            raise
        except (PyPdfError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
            reason = f"the PDF is cut or damaged ({type(error).__name__}); transfer it again"
            raise UnreadableFileError("truncated", reason) from error
        warnings = [] if any(row["text"] for row in rows) else ["the document has no text; it may be a scan"]
        return ReadResult(format=self.format, tables={"documents": rows}, warnings=warnings)


def _rows(document: pypdf.PdfReader, name: str) -> list[Row]:
    if document.is_encrypted:
        raise UnreadableFileError("encrypted", "the document is encrypted; export it without a password")
    n_pages = len(document.pages)
    if n_pages == 0:
        raise UnreadableFileError("empty", "the document has no pages")
    if n_pages > MAX_PAGES:
        raise UnreadableFileError("too_large", f"{n_pages} pages are more than {MAX_PAGES}")
    stated: dict[str, Any] = document.metadata or {}
    return [
        {
            "document_name": name,
            "page": number,
            "n_pages": n_pages,
            "title": _stated(stated.get("/Title")),
            "author": _stated(stated.get("/Author")),
            "created_at_text": _stated(stated.get("/CreationDate")),
            "text": (page.extract_text() or "")[:MAX_PAGE_CHARS].replace("\x00", ""),
            "source_row": number,
        }
        for number, page in enumerate(document.pages, start=1)
    ]


def _stated(value: object) -> str | None:
    return str(value).strip() or None if value is not None else None
