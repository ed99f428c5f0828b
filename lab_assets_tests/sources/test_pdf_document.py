"""Certificates as PDF: text, ruled tables, pictures of pages, and documents that are locked, cut or hostile."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader
from reportlab.pdfgen.canvas import Canvas

from lab_assets.contracts.bronze_core import PROVENANCE
from lab_assets.contracts.bronze_media import DOCUMENTS
from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.media import pdf_document, pdf_tables
from lab_assets.sources.media.pdf_document import MAX_RENDERED_PIXELS, PdfDocumentReader, page_image_png
from lab_assets_tests.sources.pdf_builders import document, words

READER = PdfDocumentReader()
CELLS = [["parameter", "deviation", "tolerance"], ["flow", "-0.8 %", "2 %"], ["oven", "0.4 °C", "1 °C"]]


def read(data: bytes, name: str = "sub/c1.pdf") -> ReadResult:
    return READER.read(data, ReadContext(file_name=name))


def rows(data: bytes) -> list[dict[str, Any]]:
    return read(data).tables["documents"]


def rule_of(data: bytes) -> str:
    try:
        read(data)
    except UnreadableFileError as error:
        return error.rule
    return ""


def ruled(cells: Sequence[Sequence[str]], top: int = 600) -> Callable[[Canvas], None]:
    """A table with lines, each cell 120 by 20 points."""

    def draw(canvas: Canvas) -> None:
        n_rows, n_columns = len(cells), len(cells[0])
        canvas.grid([60 + 120 * column for column in range(n_columns + 1)], [top - 20 * row for row in range(n_rows + 1)])
        for row, line in enumerate(cells):
            for column, cell in enumerate(line):
                canvas.drawString(64 + 120 * column, top - 20 * row - 14, cell)

    return draw


def locked(data: bytes, user: str, owner: str | None = None, algorithm: str = "RC4-128") -> bytes:
    from pypdf import PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(data)))
    writer.encrypt(user, owner, algorithm=algorithm)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def with_forms(content: bytes, forms: dict[str, bytes]) -> bytes:
    """One page that draws forms which may draw each other; all share one dictionary of resources, as many writers do."""
    from pypdf import PdfWriter
    from pypdf.generic import ArrayObject, DecodedStreamObject, DictionaryObject, FloatObject, NameObject

    writer = PdfWriter()
    page = writer.add_blank_page(200, 200)
    shared = DictionaryObject()
    resources = writer._add_object(DictionaryObject({NameObject("/XObject"): shared}))  # pyright: ignore[reportPrivateUsage]
    for name, data in forms.items():
        form = DecodedStreamObject()
        form.set_data(data)
        form.update(
            {
                NameObject("/Type"): NameObject("/XObject"),
                NameObject("/Subtype"): NameObject("/Form"),
                NameObject("/BBox"): ArrayObject(map(FloatObject, (0, 0, 200, 200))),
                NameObject("/Resources"): resources,
            }
        )
        shared[NameObject(f"/{name}")] = writer._add_object(form)  # pyright: ignore[reportPrivateUsage]
    stream = DecodedStreamObject()
    stream.set_data(content)
    page[NameObject("/Contents")] = writer._add_object(stream)  # pyright: ignore[reportPrivateUsage]
    page[NameObject("/Resources")] = resources
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def test_pages_text_and_metadata() -> None:
    first, second = rows(document(words("flow: deviation -0.8 %"), words("second page")))
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    assert set(first) == set(DOCUMENTS.column_names) - engine
    stated = (first["document_name"], first["page"], first["n_pages"], first["title"], first["author"])
    assert stated == ("c1.pdf", 1, 2, "Certificate C1", "A. Metrologist")
    assert first["software"] == "CalSuite 4; PrintLib 2"
    assert first["created_at_text"].startswith("D:2000")
    assert "deviation -0.8 %" in first["text"]
    assert second["text"].strip() == "second page"
    assert (first["tables_json"], second["tables_json"], second["source_row"]) == (None, None, 2)


def test_a_ruled_table_with_known_cells() -> None:
    first, second = rows(document(words("no table"), ruled(CELLS)))
    assert first["tables_json"] is None
    assert json.loads(second["tables_json"]) == [CELLS]
    assert "-0.8 %" in second["text"]


def test_two_tables_and_a_frame_on_one_page() -> None:
    """A frame around the page is no table."""

    def draw(canvas: Canvas) -> None:
        canvas.rect(20, 20, 555, 802)
        ruled(CELLS, top=700)(canvas)
        ruled([["a", "b"], ["", "2"]], top=300)(canvas)

    (row,) = rows(document(draw))
    assert json.loads(row["tables_json"]) == [CELLS, [["a", "b"], ["", "2"]]]


def test_merged_cells_are_null() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.lines([(60, y, 300, y) for y in (600, 580, 560)] + [(x, 600, x, 560) for x in (60, 300)] + [(180, 580, 180, 560)])
        for x, y, text in ((64, 586, "both"), (64, 566, "left"), (184, 566, "right")):
            canvas.drawString(x, y, text)

    (row,) = rows(document(draw))
    assert json.loads(row["tables_json"]) == [[["both", None], ["left", "right"]]]


def test_a_table_of_rectangles_drawn_in_a_form() -> None:
    def draw(canvas: Canvas) -> None:
        canvas.beginForm("table")
        for row, line in enumerate(CELLS):
            for column, cell in enumerate(line):
                canvas.rect(60 + 120 * column, 580 - 20 * row, 120, 20)
                canvas.drawString(64 + 120 * column, 586 - 20 * row, cell)
        canvas.endForm()
        canvas.doForm("table")

    (row,) = rows(document(draw))
    assert json.loads(row["tables_json"]) == [CELLS]


def test_a_scan_has_no_text() -> None:
    from PIL import Image
    from reportlab.lib.utils import ImageReader

    def draw(canvas: Canvas) -> None:
        canvas.drawImage(ImageReader(Image.new("L", (20, 20), 99)), 0, 0, 500, 500)

    result = read(document(draw))
    assert [row["text"] for row in result.tables["documents"]] == [""]
    assert result.warnings == ["the document has no text; it may be a scan"]


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_locked_documents(algorithm: str) -> None:
    """One that needs a password is refused; one that only restricts what may be done with it opens with none."""
    data = document(words("limits"), ruled(CELLS))
    assert rule_of(locked(data, "hunter2", algorithm=algorithm)) == "encrypted"
    restricted = locked(data, "", "hunter2", algorithm=algorithm)
    first, second = rows(restricted)
    assert "limits" in first["text"]
    assert json.loads(second["tables_json"]) == [CELLS]
    assert page_image_png(restricted, 1).startswith(b"\x89PNG")


def test_documents_that_lost_their_end_are_refused() -> None:
    data = document(words("one"), words("two"))
    for cut in (10, 100, 400, len(data) // 2, len(data) - 20):
        assert rule_of(data[:-cut]) == "truncated"
    revised = data + b"\n9 0 obj\n<< /Type /Annot >>\nendobj\n"
    assert rule_of(revised) == "truncated"
    assert rule_of(data + b"\r\n\x00\x00") == ""
    assert rule_of(b"%PDF-1.4\nnothing") == "truncated"


def test_forms_that_draw_forms_are_measured_before_they_are_read() -> None:
    """Ten drawings of ten drawings, seven deep, stand for ten million lines in less than a kilobyte."""
    forms = {f"F{depth}": f"/F{depth + 1} Do ".encode() * 10 for depth in range(7)} | {"F7": b" 0 0 m 9 9 l S "}
    started = time.monotonic()
    result = read(with_forms(b"/F0 Do", forms))
    assert time.monotonic() - started < 5
    assert result.tables["documents"][0]["tables_json"] is None
    assert "page 1: the drawing is too large" in result.warnings[0]


@pytest.mark.parametrize("content", [b"/A Do", b"/A%\nDo", b"/#41 Do"])
def test_a_form_that_draws_itself_is_left_out(content: bytes) -> None:
    result = read(with_forms(content, {"A": b" 0 0 m 9 9 l S /A Do /A Do "}))
    assert "too large" in result.warnings[0]


def test_forms_that_share_resources_are_read() -> None:
    result = read(with_forms(b"/A Do /B Do", {"A": b" 10 10 90 90 re S ", "B": b"/A Do"}))
    assert result.warnings == ["the document has no text; it may be a scan"]


def test_a_page_with_too_many_lines_is_left_out() -> None:
    """90 by 90 lines cross 8,100 times; the other page's table is read all the same."""

    def mesh(canvas: Canvas) -> None:
        canvas.grid([20 + 6 * step for step in range(90)], [20 + 6 * step for step in range(90)])
        canvas.drawString(20, 600, "mesh")

    started = time.monotonic()
    result = read(document(mesh, ruled(CELLS)))
    assert time.monotonic() - started < 5
    first, second = result.tables["documents"]
    assert (first["tables_json"], first["text"].strip()) == (None, "mesh")
    assert json.loads(second["tables_json"]) == [CELLS]
    assert result.warnings == ["page 1: tables are left out, their lines cannot be read within the limits"]


def test_pages_beyond_the_budget_of_tables_keep_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    data = document(ruled(CELLS), ruled(CELLS), ruled(CELLS))
    one = pdf_tables.page_load(PdfReader(io.BytesIO(data)).pages[0])
    assert one.has_lines
    monkeypatch.setattr(pdf_tables, "MAX_DOCUMENT_BYTES", 2 * one.content_bytes)
    result = read(data)
    assert [row["tables_json"] is not None for row in result.tables["documents"]] == [True, True, False]
    assert all("oven" in row["text"] for row in result.tables["documents"])
    assert "tables are left out" in result.warnings[0]


def test_large_documents_have_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond pypdf's budget PDFium reads the text."""
    data = document(words("flow: deviation -0.8 %"), ruled(CELLS))
    before = [row["text"].split() for row in rows(data)]
    monkeypatch.setattr(pdf_document, "MAX_PYPDF_BYTES", 10)
    assert [row["text"].split() for row in rows(data)] == before


def test_the_work_on_all_pages_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of 3 x 3 cells has 16 crossings, 256 squared; the second page is beyond 400."""
    monkeypatch.setattr(pdf_tables, "MAX_DOCUMENT_WORK", 400)
    first, second = rows(document(ruled(CELLS), ruled(CELLS)))
    assert (first["tables_json"] is None, second["tables_json"] is None) == (False, True)


def test_pictures_of_pages() -> None:
    """A4 of 595 x 842 points has 909 x 1287 pixels at 110 dpi, within one."""
    from PIL import Image

    data = document(words("one"), ruled(CELLS))
    picture = Image.open(io.BytesIO(page_image_png(data, 2)))
    assert picture.width == pytest.approx(909, abs=1)
    assert picture.height == pytest.approx(1287, abs=1)
    assert picture.convert("L").getextrema() == (0, 255)
    assert Image.open(io.BytesIO(page_image_png(data, 1, dpi=72))).width == pytest.approx(595, abs=1)


def test_pictures_are_bounded() -> None:
    from PIL import Image

    for size in ((14_000, 14_000), (14_000, 3)):
        picture = Image.open(io.BytesIO(page_image_png(document(words("x"), size=size), 1, dpi=600)))
        assert picture.width * picture.height <= MAX_RENDERED_PIXELS * 1.01


def test_pictures_that_cannot_be() -> None:
    data = document(words("one"))
    for page, dpi in ((0, 110), (2, 110), (1, 5), (1, 5000)):
        with pytest.raises(ValueError, match=r"page|resolution"):
            page_image_png(data, page, dpi)
    for broken, rule in ((b"%PDF-1.4\n", "truncated"), (locked(data, "hunter2"), "encrypted")):
        with pytest.raises(UnreadableFileError) as error:
            page_image_png(broken, 1)
        assert error.value.rule == rule


def test_only_pdf_is_recognised() -> None:
    assert READER.sniff("x.txt", document(words("x"))[:4096]) == 100
    assert READER.sniff("x.pdf", b"\x89PNG\r\n\x1a\n") == 0


WHOLE = document(words("one"), ruled(CELLS))
UNPACKED = with_forms(b" 10 10 90 90 re S /A Do BT (x) Tj ET", {"A": b" 0 0 m 9 9 l S "})


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damaged_documents_are_refused_or_read(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from([WHOLE, UNPACKED])))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    rule_of(bytes(damaged[: data.draw(st.integers(1, len(damaged)))]) + data.draw(st.sampled_from([b"", b"\n%%EOF\n"])))
