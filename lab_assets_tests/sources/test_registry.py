"""Recognition by content, refusals for people, and files that are hostile."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.contracts.bronze import PROVENANCE, READER_TABLES
from lab_assets.sources.base import ReadContext, UnreadableFileError
from lab_assets.sources.decoding import base_name, decode, stem
from lab_assets.sources.quantities import NumberError, is_status_signal, parse_number, time_unit
from lab_assets.sources.registry import READERS, read_file, recognise
from lab_assets_tests.sources.builders import andi, arw, chromeleon, labsolutions, read, rule_of
from lab_assets_tests.sources.test_tables import LINES, LOTS, UTC_LOG
from lab_assets_tests.sources.test_text_traces import LONG

ONE_OF_EACH = {
    "labsolutions_text": labsolutions().encode(),
    "andi_netcdf": andi(peaks={"peak_retention_time": [0.5], "peak_area": [1.0]}),
    "arw": arw().encode(),
    "chromeleon_text": chromeleon().encode(),
    "long_table": LONG.encode(),
    "processing_table": LINES.encode(),
    "lims_csv": LOTS.encode(),
    "chamber_csv": UTC_LOG.encode(),
}


def test_names_and_tables_are_unique_and_contracted() -> None:
    assert len({reader.format for reader in READERS}) == len(READERS)
    contracted = {contract.name for contract in READER_TABLES}
    assert all(set(reader.tables) <= contracted for reader in READERS)


@pytest.mark.parametrize("name", ["x.txt", "x.csv", "x.arw", "x.cdf", "wrong.pdf", "x"])
@pytest.mark.parametrize("format_name", ONE_OF_EACH)
def test_content_counts_more_than_the_extension(format_name: str, name: str) -> None:
    assert recognise(name, ONE_OF_EACH[format_name]).format == format_name


@pytest.mark.parametrize("format_name", ONE_OF_EACH)
def test_rows_carry_exactly_the_columns_of_their_contract(format_name: str) -> None:
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    contracts = {contract.name: set(contract.column_names) - engine for contract in READER_TABLES}
    for table, rows in read(ONE_OF_EACH[format_name]).tables.items():
        for row in rows:
            assert set(row) == contracts[table]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"  \r\n", b"\xef\xbb\xbf", b"\x00" * 100])
def test_empty(data: bytes) -> None:
    assert rule_of(data)[0] == "empty"


def test_unknown_formats_say_what_was_seen() -> None:
    for data, seen in ((b"hello, world\n1,2\n", "hello, world"), (b"\x89PNG\r\n\x1a\n\x00\x00\x00", "89 50 4e 47")):
        with pytest.raises(UnreadableFileError) as error:
            read(data)
        assert error.value.rule == "unknown_format"
        assert seen in error.value.reason


def test_bad_bytes_name_their_offset() -> None:
    data = labsolutions().encode()
    at = data.index(b"1234")
    assert rule_of(data[:at] + b"\x00" + data[at:]) == ("encoding", f"byte {at}")
    assert rule_of(data[:at] + b"\xff\xfe\x81" + data[at:]) == ("encoding", f"byte {at}")
    broken = "Ä µ".encode() + b"\xb5" + data
    with pytest.raises(UnreadableFileError) as error:
        decode(broken)
    assert (error.value.rule, error.value.place) == ("encoding", "byte 5")


def test_encodings_that_are_understood() -> None:
    assert decode("25 µl, 30 °C".encode("latin-1")).lines == ["25 µl, 30 °C"]
    assert decode("a\r\nb\rc\n".encode("utf-16")).lines == ["a", "b", "c"]
    assert decode(b"\xef\xbb\xbfa").lines == ["a"]
    for wrong in ("a\x00b".encode("utf-16"), b"\xff\xfea"):
        with pytest.raises(UnreadableFileError, match="encoding"):
            decode(wrong)


def test_huge_line_is_refused_quickly() -> None:
    assert rule_of(LOTS.encode() + b"x" * (2 << 20))[0] == "long_line"


@given(st.sampled_from(sorted(ONE_OF_EACH)), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_read_or_refused_but_never_crash(format_name: str, draw: st.DataObject) -> None:
    data = bytearray(ONE_OF_EACH[format_name])
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data) - 1))
        data[at : at + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
    rule, tables = "", {}
    try:
        tables = read_file(bytes(data), ReadContext(file_name="x")).tables
    except UnreadableFileError as error:
        rule = error.rule
    assert bool(rule) != bool(tables)
    for row in (*tables.get("chromatograms", []), *tables.get("instrument_status", [])):
        assert np.isfinite(row["x"]).all()
        assert np.isfinite(row["y"]).all()
        assert (np.diff(row["x"]) > 0).all()


def test_errors_cross_process_borders() -> None:
    error = pickle.loads(pickle.dumps(UnreadableFileError("truncated", "cut", "line 3")))  # noqa: S301 - our own bytes
    assert (error.rule, error.reason, error.place, str(error)) == ("truncated", "cut", "line 3", "truncated: cut (line 3)")


def test_names_in_paths() -> None:
    assert base_name("C:\\Users\\tom\\a.lcd") == "a.lcd"
    assert [stem(path) for path in ("C:\\x\\a.b.lcd", "/x/SEQ-1_2", "v1.25", ".hidden")] == ["a.b", "SEQ-1_2", "v1.25", ".hidden"]


@pytest.mark.parametrize("text", ["", "1,5", "1 000", "0x10", "1_0", "１", "1.2.3", "--1", "1e", "."])
def test_numbers_are_strict(text: str) -> None:
    with pytest.raises(NumberError):
        parse_number(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_round_trip_with_either_decimal_mark(value: float) -> None:
    assert parse_number(repr(value)) == value
    assert parse_number(repr(value).replace(".", ","), ",") == value


def test_units_and_signals() -> None:
    assert [time_unit(text) for text in ("Time-Sec", "time in minutes", "s", "h", None)] == ["s", "min", "s", None, None]
    assert is_status_signal("Pump_Pressure", "")
    assert is_status_signal("Signal 3", "bar")
    assert not is_status_signal("2489 ChA", "AU")
    assert not is_status_signal("ED_1", "nC")


def test_tiff_pages_sizes_and_statistics() -> None:
    """Mean and standard deviation of 0..199 are 99.5 and sqrt((200^2 - 1) / 12) = 57.734."""
    import tifffile
    from PIL import Image

    buffer = io.BytesIO()
    pages = np.arange(200, dtype=np.uint16).reshape(10, 20)
    options = {
        "resolution": (2500.0, 2500.0),
        "resolutionunit": "CENTIMETER",
        "metadata": None,
        "description": "lot L1",
        "software": "Scope 3",
    }
    with tifffile.TiffWriter(buffer) as writer:
        for _ in range(2):
            writer.write(pages, **options)
    rows = read(buffer.getvalue(), "sub/tablet.tif").tables["images"]
    assert [(row["image_name"], row["page"]) for row in rows] == [("tablet.tif", 1), ("tablet.tif", 2)]
    row = rows[1]
    assert (row["width_px"], row["height_px"], row["channels"], row["dtype"]) == (20, 10, 1, "uint16")
    assert row["pixel_size_um"] == pytest.approx(4.0)
    assert row["intensity_mean"] == pytest.approx(99.5)
    assert row["intensity_sd"] == pytest.approx(57.734, abs=1e-3)
    assert (row["description"], row["rescued"]["Software"]) == ("lot L1", "Scope 3")
    assert Image.open(io.BytesIO(row["thumbnail_png"])).size == (20, 10)


@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_tiff_pixel_size_of_microscope_metadata(kind: str) -> None:
    import tifffile

    buffer = io.BytesIO()
    pixels = np.zeros((300, 400), np.uint8)
    if kind == "ome":
        tifffile.imwrite(buffer, pixels, ome=True, metadata={"axes": "YX", "PhysicalSizeX": 0.107, "PhysicalSizeXUnit": "µm"})
    else:
        tifffile.imwrite(buffer, pixels, imagej=True, resolution=(1 / 0.107, 1 / 0.107), metadata={"unit": "um"})
    (row,) = read(buffer.getvalue(), "a.tif").tables["images"]
    assert row["pixel_size_um"] == pytest.approx(0.107, rel=1e-4)


def test_tiff_colour_and_damage() -> None:
    import tifffile
    from PIL import Image

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.full((500, 1000, 3), 7, np.uint8), photometric="rgb", metadata=None)
    (row,) = read(buffer.getvalue(), "a.tif").tables["images"]
    assert (row["channels"], row["pixel_size_um"], row["intensity_sd"]) == (3, None, 0.0)
    assert Image.open(io.BytesIO(row["thumbnail_png"])).size == (128, 64)
    assert rule_of(buffer.getvalue()[:4000], "a.tif")[0] == "truncated"
    assert rule_of(b"II*\x00\x08\x00\x00\x00\xff", "a.tif")[0] == "truncated"


def _pdf(password: str | None = None) -> bytes:
    from pypdf import PdfReader, PdfWriter
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    canvas = Canvas(buffer, invariant=1)
    canvas.setTitle("Certificate C1")
    canvas.setAuthor("A. Metrologist")
    canvas.drawString(60, 700, "flow: deviation -0.8 %")
    canvas.showPage()
    canvas.drawString(60, 700, "second page")
    canvas.save()
    if password is None:
        return buffer.getvalue()
    writer = PdfWriter(clone_from=PdfReader(buffer))
    writer.encrypt(password, algorithm="RC4-128")
    locked = io.BytesIO()
    writer.write(locked)
    return locked.getvalue()


def test_pdf_pages_and_metadata() -> None:
    first, second = read(_pdf(), "c1.pdf").tables["documents"]
    assert (first["document_name"], first["page"], first["n_pages"], first["title"], first["author"]) == (
        "c1.pdf",
        1,
        2,
        "Certificate C1",
        "A. Metrologist",
    )
    assert "deviation -0.8 %" in first["text"]
    assert second["text"].strip() == "second page"


def test_pdf_locked_or_damaged() -> None:
    assert rule_of(_pdf("hunter2"), "c.pdf")[0] == "encrypted"
    assert rule_of(b"%PDF-1.4\nnothing", "c.pdf")[0] in {"truncated", "empty"}
