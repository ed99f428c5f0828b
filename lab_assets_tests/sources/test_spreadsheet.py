"""Workbooks, made with openpyxl or from parts written by hand, read like delimited text."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.sources.base import ArchiveReader, ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import open_archive
from lab_assets.sources.tables.spreadsheet import read_sheets
from lab_assets.sources.tables.table_xlsx import READERS, ROWS_A_SHEET
from lab_assets_tests.sources.builders import andi, arw, chromeleon, labsolutions
from lab_assets_tests.sources.spreadsheet_builders import LOT, LOT_NAMES, workbook
from lab_assets_tests.sources.text_tables import LINES, LOTS, UTC_LOG


def rewritten(data: bytes, changes: Mapping[str, tuple[bytes, bytes]], added: Mapping[str, bytes] | None = None) -> bytes:
    """The same archive with bytes of some parts replaced (name ``*``: of all), and parts added."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            part = old.read(name)
            for key in (name, "*"):
                if key in changes:
                    part = part.replace(*changes[key])
            new.writestr(name, part)
        for name, part in (added or {}).items():
            new.writestr(name, part)
    return buffer.getvalue()


def read_xlsx(data: bytes, **context: Any) -> ReadResult:
    archive = open_archive(data)
    reader = max(READERS, key=lambda reader: reader.sniff_archive("x.xlsx", archive))
    assert reader.sniff_archive("x.xlsx", archive) > 0
    return reader.read(data, ReadContext(file_name="x.xlsx", **context))


def rule_of_xlsx(data: bytes) -> tuple[str, str]:
    with pytest.raises(UnreadableFileError) as error:
        READERS[0].read(data, ReadContext(file_name="x.xlsx"))
    return error.value.rule, error.value.place


def test_lots_typed_cells() -> None:
    result = read_xlsx(workbook({"Lots": [LOT_NAMES, LOT, ("L2", "P1", None, 80, date(2025, 3, 5))]}))
    assert result.format == "lims_xlsx"
    first, second = result.tables["lims_lots"]
    assert (first["lot_id"], first["batch_size_kg"], first["source_row"]) == ("L1", 120.5, 2)
    assert first["recorded_at_utc"] == datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert (second["customer"], second["recorded_at_utc"]) == (None, datetime(2025, 3, 5, tzinfo=UTC))
    assert (result.rejected, result.warnings, result.events) == ([], [], [])


def test_a_sheet_says_the_same_as_the_text_it_was_made_of() -> None:
    import csv

    sheet = workbook({"Lots": list(csv.reader(LOTS.splitlines()))})
    from lab_assets_tests.sources.builders import read

    assert read_xlsx(sheet).tables == read(LOTS).tables


def test_directives_zone_decimal_and_date_order() -> None:
    """10:00 in Berlin in March is 09:00 UTC; a number cell keeps its point where text has a comma."""
    head = [["# zone:", "Europe/Berlin"], ["# decimal: ,"], ["# dates", "dmy"], []]
    rows = [LOT_NAMES, ("L1", "P1", "", "1,5", "04/03/2025 10:00"), ("L2", "P1", "", 2.5, datetime(2025, 3, 4, 10))]  # noqa: DTZ001
    lots = read_xlsx(workbook({"Lots": [*head, *rows]})).tables["lims_lots"]
    assert [row["batch_size_kg"] for row in lots] == [1.5, 2.5]
    assert {row["recorded_at_utc"] for row in lots} == {datetime(2025, 3, 4, 9, tzinfo=UTC)}
    assert [row["source_row"] for row in lots] == [6, 7]


def test_numbers_are_the_stored_ones() -> None:
    def change(book: Any) -> None:
        sheet = book.active
        sheet["D2"].number_format = "0"
        sheet["A2"].number_format = "00000"

    data = workbook({"Lots": [LOT_NAMES, (12345, 7.0, True, 0.3, LOT[4])]}, change)
    data = rewritten(data, {"xl/worksheets/sheet1.xml": (b"<v>0.3</v>", b"<v>0.30000000000000004</v>")})
    (row,) = read_xlsx(data).tables["lims_lots"]
    assert (row["lot_id"], row["product"], row["customer"], row["batch_size_kg"]) == ("12345", "7", "true", 0.30000000000000004)


def test_percent_format_is_never_taken_for_the_number() -> None:
    def change(book: Any) -> None:
        book.active["D2"].number_format = "0.0%"
        book.active["F2"].number_format = "0%"

    result = read_xlsx(workbook({"Lots": [(*LOT_NAMES, "yield"), ("L1", "P1", "", 0.995, LOT[4], 0.5), (*LOT, 0.5)]}, change))
    assert [(row.source_row, row.rule, row.column) for row in result.rejected] == [(2, "percent_format", "batch_size_kg")]
    assert "99.5 %" in result.rejected[0].reason
    assert result.tables["lims_lots"][0]["rescued"] == {"yield": "0.5"}


def test_formulas_without_value_and_errors_reject_their_row() -> None:
    def change(book: Any) -> None:
        book.active["A4"].data_type = "e"

    rows = [LOT_NAMES, ("L1", "P1", "", "=40*2", LOT[4]), LOT, ("#N/A", "P1", "", 1, LOT[4]), ("L3", "P1", "#DIV/0!", 1, LOT[4])]
    result = read_xlsx(workbook({"Lots": rows}, change))
    assert [row["source_row"] for row in result.tables["lims_lots"]] == [3]
    assert [(row.source_row, row.rule, row.column) for row in result.rejected] == [
        (2, "formula_without_value", "batch_size_kg"),
        (4, "error_value", "lot_id"),
        (5, "error_value", "customer"),
    ]
    assert result.rejected[0].row["batch_size_kg"] == "=40*2"
    assert result.rejected[0].reason.startswith("sheet 'Lots', row 2: ")


def test_a_formula_counts_by_its_stored_value() -> None:
    data = workbook({"Lots": [LOT_NAMES, ("L1", "P1", "=A2", "=40*2", LOT[4])]})
    part = "xl/worksheets/sheet1.xml"
    data = rewritten(data, {part: (b"<f>40*2</f><v></v>", b"<f>40*2</f><v>80</v>")})
    data = rewritten(data, {part: (b'<c r="C2"><f>A2</f><v></v>', b'<c r="C2" t="str"><f>A2</f><v></v>')})
    result = read_xlsx(data)
    (row,) = result.tables["lims_lots"]
    assert (row["batch_size_kg"], row["customer"]) == (80.0, None)
    assert result.warnings == ["sheet 'Lots': 2 cells are formulas; the values stored with them were taken"]


def test_formula_like_text_is_kept_verbatim() -> None:
    texts = ("=cmd|'/c calc'!A1", "+1+1", "@SUM(1)")

    def change(book: Any) -> None:
        for row in range(2, 5):
            book.active[f"C{row}"].data_type = "s"

    rows = [LOT_NAMES, *[(f"L{number}", "P1", text, 1, LOT[4]) for number, text in enumerate(texts)]]
    result = read_xlsx(workbook({"Lots": rows}, change))
    assert tuple(row["customer"] for row in result.tables["lims_lots"]) == texts


def test_times_alone_and_durations() -> None:
    rows = [(*LOT_NAMES, "clock", "span"), (*LOT, time(12, 30), timedelta(hours=25, minutes=3, seconds=4))]
    (row,) = read_xlsx(workbook({"Lots": rows})).tables["lims_lots"]
    assert row["rescued"] == {"clock": "12:30:00", "span": "25:03:04"}


def test_the_calendar_of_1904() -> None:
    def change(book: Any) -> None:
        book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904

    data = workbook({"Lots": [LOT_NAMES, LOT]}, change)
    assert read_xlsx(data).tables["lims_lots"][0]["recorded_at_utc"] == datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_several_sheets_hidden_ones_and_notes() -> None:
    def change(book: Any) -> None:
        book["Old"].sheet_state = "hidden"
        book["Older"].sheet_state = "veryHidden"

    result_names = ("result_id", "sample_name", "method_id", "analyte", "value", "unit", "recorded_at_utc")
    sheets = {
        "Notes": [["Exported for the audit"]],
        "Lots": [LOT_NAMES, LOT],
        "Old": [LOT_NAMES, ("L0", *LOT[1:])],
        "Older": [LOT_NAMES, ("L00", *LOT[1:])],
        "Results": [result_names, ("R1", "S1", "M", "water", 0.3, "%", LOT[4]), ("R2", "S1", "M", "water", "wet", "%", LOT[4])],
        "Empty": [],
        "Template": [LOT_NAMES],
        "More lots": [LOT_NAMES, ("L2", *LOT[1:])],
    }
    result = read_xlsx(workbook(sheets, change))
    assert [(row["lot_id"], row["source_row"]) for row in result.tables["lims_lots"]] == [("L1", 2), ("L2", 2 * ROWS_A_SHEET + 2)]
    assert result.tables["lims_results"][0]["source_row"] == ROWS_A_SHEET + 2
    (rejected,) = result.rejected
    assert (rejected.source_row, rejected.rule) == (ROWS_A_SHEET + 3, "not_a_number")
    assert rejected.reason.startswith("sheet 'Results', row 3: ")
    assert {warning for warning in result.warnings if "not read" in warning or "no rows" in warning} == {
        "sheet 'Notes' fits no table and was not read",
        "sheet 'Old' is hidden and was not read",
        "sheet 'Older' is hidden and was not read",
        "sheet 'Template' has column names and no rows",
    }


def test_titles_above_and_columns_beside() -> None:
    rows = [["Lots of March"], [], [None, *LOT_NAMES], [None, *LOT, "odd"]]
    result = read_xlsx(workbook({"Lots": rows}))
    (row,) = result.tables["lims_lots"]
    assert (row["lot_id"], row["source_row"], row["rescued"]) == ("L1", 4, {"column_7": "odd"})
    assert "sheet 'Lots': rows 1 to 1 above the column names were not read" in result.warnings


def test_one_broken_sheet_refuses_the_workbook_and_is_named() -> None:
    data = workbook({"A": [LOT_NAMES, LOT], "B": [("lot_id", "product", "customer", "site"), ("L1", "P", "C", "S")]})
    assert rule_of_xlsx(data) == ("missing_column", "sheet 'B', row 1")
    assert rule_of_xlsx(workbook({"A": [LOT_NAMES]}))[0] == "empty"
    assert rule_of_xlsx(workbook({"A": [["hello"]]}))[0] == "unknown_format"


def test_chamber_calibration_and_processing_sheets() -> None:
    day = [
        ["# chamber", "CH-1"],
        ["Datum", "Uhrzeit", "Temperatur (°C)", "Feuchte (%)"],
        [date(2025, 7, 1), time(12), 25.1, 60.25],
        [datetime(2025, 7, 1), time(12, 5), 25, 60],  # noqa: DTZ001
    ]
    result = read_xlsx(workbook({"Log": day}), zone="Europe/Berlin")
    assert result.format == "chamber_xlsx"
    first, second = result.tables["chamber_readings"]
    assert (first["chamber_id"], first["temperature_c"], first["humidity_pct"], first["read_at_text"]) == (
        "CH-1",
        25.1,
        60.25,
        "2025-07-01 12:00:00",
    )
    assert (first["read_at_utc"], first["zone_known"]) == (datetime(2025, 7, 1, 10, tzinfo=UTC), False)
    assert second["read_at_utc"] == datetime(2025, 7, 1, 10, 5, tzinfo=UTC)
    names = (
        "certificate_id",
        "instrument_id",
        "parameter",
        "deviation",
        "tolerance",
        "unit",
        "outcome",
        "performed_at_utc",
        "valid_until_utc",
    )
    row = ("C1", "HPLC-1", "flow", -0.8, 2, "%", "pass", date(2025, 1, 1), date(2026, 1, 1))
    result = read_xlsx(workbook({"Certificates": [names, row]}))
    assert (result.format, result.tables["calibrations"][0]["deviation"]) == ("calibration_xlsx", -0.8)
    lines = [line.replace('"', "").split("\t") for line in LINES.splitlines()]
    result = read_xlsx(workbook({"Lines": [lines[0], [*lines[1][:2], 0.0729, 2.9054, 16.5, 17.5]]}))
    assert (result.format, result.tables["processing_methods"][0]["slope"]) == ("processing_xlsx", 0.0729)


def test_a_wrong_extent_loses_no_rows() -> None:
    data = workbook({"Lots": [LOT_NAMES, LOT]})
    part = "xl/worksheets/sheet1.xml"
    assert b'<dimension ref="A1:E2"/>' in zipfile.ZipFile(io.BytesIO(data)).read(part)
    wrong = rewritten(data, {part: (b'<dimension ref="A1:E2"/>', b'<dimension ref="A1"/>')})
    assert read_xlsx(wrong).tables == read_xlsx(data).tables


def test_the_strict_variant_and_macros_and_links() -> None:
    data = workbook({"Lots": [LOT_NAMES, LOT]})
    main, relations = b"schemas.openxmlformats.org/spreadsheetml/2006/main", b"schemas.openxmlformats.org/officeDocument/2006/relationships"
    strict = rewritten(data, {"*": (main, b"purl.oclc.org/ooxml/spreadsheetml/main")})
    strict = rewritten(strict, {"*": (relations, b"purl.oclc.org/ooxml/officeDocument/relationships")})
    assert read_xlsx(strict).tables == read_xlsx(data).tables
    kind = b"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
    macros = {"xl/vbaProject.bin": b"\xd0\xcf macro", "xl/externalLinks/externalLink1.xml": b"<not xml", "docProps/app.xml": b"<"}
    with_macros = rewritten(
        rewritten(data, {"docProps/app.xml": (b"", b"")}),
        {"[Content_Types].xml": (kind, b"application/vnd.ms-excel.sheet.macroEnabled.main+xml")},
        {name: part for name, part in macros.items() if not name.startswith("docProps")},
    )
    assert read_xlsx(with_macros).tables == read_xlsx(data).tables


def test_hostile_xml_bombs_and_damage() -> None:
    data = workbook({"Lots": [LOT_NAMES, LOT]})
    entity = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><worksheet '
    assert rule_of_xlsx(rewritten(data, {"xl/worksheets/sheet1.xml": (b"<worksheet ", entity)}))[0] == "hostile_xml"
    assert rule_of_xlsx(rewritten(data, {"xl/worksheets/sheet1.xml": (b"</row>", b"")}))[0] == "truncated"
    bomb = rewritten(data, {}, {"xl/sharedStrings2.xml": b" " * (8 << 20)})
    with pytest.raises(UnreadableFileError, match="zip_bomb"):
        open_archive(bomb)
    far = rewritten(data, {"xl/worksheets/sheet1.xml": (b'<row r="2">', b'<row r="99999999">')})
    assert rule_of_xlsx(far)[0] == "too_large"


def test_locked_and_old_workbooks_are_refused() -> None:
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512)
    locked = ole + "EncryptedPackage".encode("utf-16-le")
    assert READERS[0].sniff("a.xlsx", locked) > 0
    assert [rule_of_xlsx(data)[0] for data in (locked, ole)] == ["encrypted", "unsupported"]
    assert READERS[0].sniff("a.doc", ole) == 0


@pytest.mark.parametrize("reader", READERS)
def test_foreign_files_are_left_to_others(reader: ArchiveReader) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("crate/ro-crate-metadata.json", "{}")
    assert reader.sniff_archive("x.xlsx", open_archive(buffer.getvalue())) == 0
    plate = workbook({"Plate 1": [["", 1, 2, 3], ["A", 0.1, 0.2, 0.3]], "Info": [["Instrument", "Reader 3"], ["Date", date(2025, 1, 1)]]})
    assert reader.sniff_archive("x.xlsx", open_archive(plate)) == 0
    for data in (labsolutions().encode(), andi(), arw().encode(), chromeleon().encode(), LOTS.encode(), UTC_LOG.encode()):
        assert reader.sniff("x.xlsx", data) == 0


SMALL = workbook({"Lots": [LOT_NAMES, LOT, ("L2", "P1", "=1", "=2", None)], "Log": [["Chamber", "Time", "Temp (°C)"], ["C", LOT[4], 5]]})


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_workbooks_are_read_or_refused_but_never_crash(draw: st.DataObject) -> None:
    """Bytes of the archive, and bytes of its parts with right checksums."""
    data = bytearray(SMALL)
    if draw.draw(st.booleans()):
        names = zipfile.ZipFile(io.BytesIO(SMALL)).namelist()
        buffer = io.BytesIO()
        target = draw.draw(st.sampled_from(names))
        with zipfile.ZipFile(io.BytesIO(SMALL)) as old, zipfile.ZipFile(buffer, "w") as new:
            for name in names:
                part = bytearray(old.read(name))
                if name == target:
                    at = draw.draw(st.integers(0, len(part) - 1))
                    part[at : at + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
                new.writestr(name, bytes(part))
        data = bytearray(buffer.getvalue())
    elif draw.draw(st.booleans()):
        data = data[: draw.draw(st.integers(1, len(data) - 1))]
    else:
        at = draw.draw(st.integers(0, len(data) - 1))
        data[at : at + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
    try:
        archive = open_archive(bytes(data))
        sure = [reader.sniff_archive("x.xlsx", archive) for reader in READERS]
        assert all(0 <= answer <= 100 for answer in sure)
        read_sheets(bytes(data))
        READERS[0].read(bytes(data), ReadContext(file_name="x.xlsx"))
    except UnreadableFileError as error:
        assert error.rule  # noqa: PT017 - any rule is right, any other exception is not
