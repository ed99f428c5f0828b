"""PDF documents made page by page."""

from __future__ import annotations

import io
from collections.abc import Callable

from reportlab.pdfgen.canvas import Canvas


def document(*pages: Callable[[Canvas], None], size: tuple[float, float] = (595, 842)) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=size, invariant=1)
    canvas.setTitle("Certificate C1")
    canvas.setAuthor("A. Metrologist")
    canvas.setCreator("CalSuite 4")
    canvas.setProducer("PrintLib 2")
    for draw in pages:
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def words(text: str) -> Callable[[Canvas], None]:
    return lambda canvas: canvas.drawString(60, 700, text)
