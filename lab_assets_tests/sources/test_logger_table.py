"""Loggers that a few lines of YAML make known."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.contracts.bronze import CHAMBER_READINGS, PROVENANCE, SENSOR_READINGS
from lab_assets.sources.all_readers import READERS
from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import open_archive
from lab_assets.sources.tables.logger_description import DescriptionError
from lab_assets.sources.tables.logger_table import LoggerTableReader
from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources.builders import andi, arw, chromeleon, labsolutions
from lab_assets_tests.sources.logger_builders import FILE, FREEZER, described
from lab_assets_tests.sources.spreadsheet_builders import workbook
from lab_assets_tests.sources.text_tables import LINES, LOTS, UTC_LOG

SIMPLE = """
name: simple
match: {file_name: "rh-*.csv"}
dates: mdy
time: {columns: When}
logger: {column: Unit}
columns:
  RH: {quantity: humidity, unit: "%"}
"""


def read(data: bytes | str, description: str = FREEZER, **context: object) -> ReadResult:
    raw = data.encode() if isinstance(data, str) else data
    return LoggerTableReader([described(description)]).read(raw, ReadContext(file_name="rh-1.csv", **context))  # type: ignore[arg-type]


def refusal(data: bytes | str, description: str = FREEZER, **context: object) -> UnreadableFileError:
    with pytest.raises(UnreadableFileError) as error:
        read(data, description, **context)
    return error.value


def test_long_rows_with_quantity_and_unit() -> None:
    """02:00 summer time is 00:00 UTC; the second 02:00 of that night is winter time, 01:00 UTC."""
    result = read(FILE)
    rows = result.tables["sensor_readings"]
    assert result.format == "logger:frostguard"
    assert [(row["quantity"], row["value"], row["unit"], row["source_row"]) for row in rows] == [
        ("temperature_1", -20.1, "degC", 6),
        ("temperature_2", -19.8, "degC", 6),
        ("temperature_1", -20.0, "degC", 7),
        ("temperature_1", -20.2, "degC", 8),
    ]
    assert [row["read_at_utc"].strftime("%d %H:%M") for row in rows] == ["25 23:30", "25 23:30", "26 00:00", "26 01:00"]
    assert {row["logger_id"] for row in rows} == {"FG-0042"}
    assert rows[0]["read_at_text"] == "26.10.2025 01:30:00"
    assert (rows[0]["zone_known"], rows[0]["rescued"], rows[3]["rescued"]) == (True, {"Tür": "zu"}, {"Tür": "auf"})
    (event,) = result.events
    assert (event.kind, event.column, event.instrument) == ("unknown_column", "tür", "FrostGuard 2")
    assert "hunter2" not in repr(result)


def test_rows_carry_exactly_the_columns_of_their_contract() -> None:
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    assert set(read(FILE).tables["sensor_readings"][0]) == set(SENSOR_READINGS.column_names) - engine
    assert set(read(CHAMBER_FILE, CHAMBER).tables["chamber_readings"][0]) == set(CHAMBER_READINGS.column_names) - engine


CHAMBER = """
name: cabinet
match: {columns: [T1, rH1]}
skip_lines: 1
separator: tab
time: {columns: Stamp, format: "%y%m%d-%H%M"}
logger: {id: CH-9}
table: chamber_readings
columns:
  T1: {column: temperature_c, unit: "°C"}
  rH1: {column: humidity_pct, unit: "%"}
"""
CHAMBER_FILE = "# cabinet nine\nStamp\tT1\trH1 [% rF]\n250301-1200\t25.5\t60\n250301-1205\t\t\n"


def test_chamber_rows_by_description_and_a_time_format() -> None:
    (row,) = read(CHAMBER_FILE, CHAMBER, zone="Asia/Tokyo").tables["chamber_readings"]
    assert (row["chamber_id"], row["temperature_c"], row["humidity_pct"], row["set_temperature_c"]) == ("CH-9", 25.5, 60.0, None)
    assert (row["read_at_text"], row["read_at_utc"], row["zone_known"]) == ("250301-1200", datetime(2025, 3, 1, 3, tzinfo=UTC), False)
    result = read(CHAMBER_FILE.replace("250301-1205\t", "noon\t1"), CHAMBER)
    assert [(rejected.source_row, rejected.rule) for rejected in result.rejected] == [(4, "bad_date")]


def test_file_name_and_date_order_and_logger_column() -> None:
    result = read('Unit,When,RH (%)\nA,03/04/2025 10:00,55.5\n,03/04/2025 10:00,55\nB,03/04/2025 10:00,"55,5"\n', SIMPLE)
    (row,) = result.tables["sensor_readings"]
    assert (row["logger_id"], row["value"], row["read_at_utc"]) == ("A", 55.5, datetime(2025, 3, 4, 10, tzinfo=UTC))
    assert [(rejected.source_row, rejected.rule, rejected.column) for rejected in result.rejected] == [
        (3, "missing_value", None),
        (4, "not_a_number", "RH"),
    ]


def test_encodings_are_found_or_described() -> None:
    latin = FILE.encode("cp1252")
    for data in (latin, FILE.encode("utf-8-sig"), FILE.encode("utf-16")):
        assert len(read(data).tables["sensor_readings"]) == 4
    stated = FREEZER + "encoding: cp437\n"
    assert len(read(FILE.encode("cp437"), stated).tables["sensor_readings"]) == 4
    assert refusal(FILE.encode("cp437"), FREEZER + "encoding: ascii\n").rule == "encoding"


@pytest.mark.parametrize(
    ("line", "label", "logger"),
    [
        ("Device: WB-7", "Device", "WB-7"),
        ("# device = WB-7", "Device", "WB-7"),
        ("Device   WB-7", "Device", "WB-7"),
        ("Device: Freezer 3, room 12; left", "Device", "Freezer 3, room 12; left"),
        ("Device: WB-7;;;", "Device", "WB-7"),
        ("Device;WB-7;Site;Cellar", "Device", "WB-7"),
        ("Device:;WB-7", "Device", "WB-7"),
        ("Device:, WB-7", "Device:", "WB-7"),
        ("Device\tWB-7\tCellar", "Device", "WB-7"),
        ("Device: WB-7\tCellar", "Device", "WB-7"),
        ('"Device: WB-7, left";;', "Device", "WB-7, left"),
        ('"Device","WB-7, left","Cellar"', "Device", "WB-7, left"),
        ('Device: "WB-7, left", Cellar', "Device", "WB-7, left"),
        ("Device WB-7", "Device ", "WB-7"),
        ("Device name: WB-7", "Device name", "WB-7"),
        ("# Device: WB-7", "# Device", "WB-7"),
        ("# WB-7", "# ", "WB-7"),
        ("Device name: WB-7", "Device", None),
        ("Device name;WB-7", "Device", None),
        ("Device WB-7", "Device", None),
        ("Devices: WB-7", "Device", None),
        ("Our device: WB-7", "Device", None),
        ("Device:", "Device", None),
        ("Device:;;", "Device", None),
        (f"Device{' ' * 12_000}", "Device", None),
        (f"{'#' * 12_000}{' ' * 12_000}", "Device", None),
    ],
)
def test_the_line_that_names_the_logger(line: str, label: str, logger: str | None) -> None:
    description = FREEZER.replace("logger: {line: Seriennummer}", f'logger: {{line: "{label}"}}')
    file = FILE.replace("Seriennummer: FG-0042", line)
    if logger is None:
        assert refusal(file, description).rule == "missing_section"
        file = file.replace("Passwort: hunter2", "Device: WB-8")
        logger = "WB-8"
    assert {row["logger_id"] for row in read(file, description).tables["sensor_readings"]} == {logger}


def test_sniff_goes_by_columns_and_name() -> None:
    reader = LoggerTableReader([described(FREEZER), described(SIMPLE)])
    assert reader.sniff("a.txt", FILE.encode()) == 97
    assert reader.sniff("a.txt", FILE.encode("utf-16")) == 97
    assert reader.sniff("sub/RH-7.CSV", b"Unit,When,RH\nA,1,2\n") == 97
    assert reader.sniff("RH-7.csv", b"Unit,RH\nA,2\n") == 60
    assert reader.sniff("other.csv", b"Unit,When,RH\nA,1,2\n") == 0
    foreign = (labsolutions().encode(), andi(), arw().encode(), chromeleon().encode(), LOTS.encode(), UTC_LOG.encode(), LINES.encode())
    assert [reader.sniff("x.csv", data) for data in foreign] == [0] * len(foreign)
    assert LoggerTableReader().sniff("x.csv", FILE.encode()) == 0
    others = max(other.sniff("a.txt", FILE.encode()) for other in READERS)
    assert others < 97


@needs_samples
def test_no_sample_is_taken_for_a_logger() -> None:
    folder = samples_dir()
    assert folder is not None
    reader = LoggerTableReader([described(FREEZER), described(SIMPLE), described(CHAMBER)])
    for path in Path(folder).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert reader.sniff(path.name, data[: 1 << 16]) == 0
            if data.startswith(b"PK"):
                assert reader.sniff_archive(path.name, open_archive(data)) == 0


def test_units_and_columns_must_be_the_described_ones() -> None:
    error = refusal(FILE.replace("Sonde 1 (°C)", "Sonde 1 (°F)"))
    assert (error.rule, error.events[0].kind, error.place) == ("unit_changed", "unit_changed", "line 5")
    error = refusal(FILE.replace("Sonde 2 (°C)", "Sonde2 (°C)"))
    assert (error.rule, [(event.kind, event.proposed) for event in error.events]) == (
        "missing_column",
        [("unknown_column", None), ("unknown_column", None), ("renamed_column", "sonde_2_°c"), ("missing_column", None)],
    )
    renames = {"sensor_readings": {event.column: event.proposed for event in error.events if event.kind == "renamed_column"}}
    result = read(FILE.replace("Sonde 2 (°C)", "Sonde2 (°C)"), renames=renames)
    assert result.tables == read(FILE).tables
    assert refusal(FILE, strict=True).rule == "unknown_column"
    assert refusal(FILE.replace("Seriennummer", "Nummer")).rule == "missing_section"
    assert refusal("nothing\n").rule == "unknown_format"


@pytest.mark.parametrize("cut", [2, 5, 12, 25])
def test_cut_files_are_refused(cut: int) -> None:
    whole = FILE + "26.10.2025;03:00:00;-20,2;-19,8;zu\n"
    assert refusal(whole[:-cut]).rule == "truncated" if cut > 3 else read(whole[:-cut])


def test_workbooks_of_loggers() -> None:
    day = datetime(2025, 7, 1, 12)  # noqa: DTZ001 - a workbook has no zones
    rows = [["FrostGuard"], ["Seriennummer", "FG-1"], [], ["Datum", "Uhrzeit", "Sonde 1 (°C)", "Sonde 2 (°C)"], [day, None, -20.5, "-19,5"]]
    data = workbook({"Info": [["made by hand"]], "Data": rows})
    reader = LoggerTableReader([described(FREEZER)])
    assert reader.sniff_archive("x.xlsx", open_archive(data)) == 97
    result = reader.read(data, ReadContext(file_name="x.xlsx"))
    first, second = result.tables["sensor_readings"]
    assert (first["logger_id"], first["value"], second["value"], first["source_row"]) == ("FG-1", -20.5, -19.5, 5)
    assert first["read_at_utc"] == datetime(2025, 7, 1, 10, tzinfo=UTC)
    assert "sheet 'Info' is no table of 'frostguard' and was not read" in result.warnings


def test_descriptions_of_the_context_are_used() -> None:
    context = ReadContext(file_name="x", loggers=(described(FREEZER),))
    assert LoggerTableReader().read(FILE.encode(), context).format == "logger:frostguard"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("name: frostguard", "name: Frost Guard", "name"),
        ("name: frostguard", "nome: frostguard", "name"),
        ("match: {columns: [Datum, Sonde 1]}", "match: {}", "match"),
        ("match: {columns: [Datum, Sonde 1]}", "match: [a]", "match"),
        ("match: {columns: [Datum, Sonde 1]}", "match: {columns: [yes]}", "match.columns"),
        ('separator: ";"', 'separator: "x"', "separator"),
        ('decimal: ","', "decimal: 1", "decimal"),
        ("zone: Europe/Berlin", "zone: Mars", "zone"),
        ("zone: Europe/Berlin", "encoding: base64", "encoding"),
        ("zone: Europe/Berlin", "skip_lines: 3", "skip_lines"),
        ("zone: Europe/Berlin", "skip_lines: many", "skip_lines"),
        ("time: {columns: [Datum, Uhrzeit]}", "time: {}", "time.columns"),
        ("time: {columns: [Datum, Uhrzeit]}", "time: {columns: Datum, zone: UTC}", "time.zone"),
        ("logger: {line: Seriennummer}", "logger: {id: A, column: B}", "logger"),
        ("{quantity: temperature_1, unit: degC}", "{quantity: temperature_1}", "columns.Sonde 1.unit"),
        ("{quantity: temperature_1, unit: degC}", "{column: temperature_c, unit: degC}", "columns.Sonde 1.quantity"),
        ("temperature_1", "temperature_2", "columns"),
        ("Sonde 1: {", "Password: {", "columns.Password"),
        ("instrument: FrostGuard 2", "colour: blue", "colour"),
        ("instrument: FrostGuard 2", "table: lims_lots", "table"),
        ("instrument: FrostGuard 2", "instrument: [", ""),
        ("instrument: FrostGuard 2", "instrument: &a x", ""),
    ],
)
def test_errors_of_descriptions_name_the_key(old: str, new: str, key: str) -> None:
    assert old in FREEZER
    with pytest.raises(DescriptionError, match=r"logger\.yaml") as error:
        described(FREEZER.replace(old, new))
    assert error.value.key == key


def test_chamber_descriptions_name_contract_columns_and_units() -> None:
    for old, new, key in (
        ("temperature_c", "warmth", "columns.T1.column"),
        ('"°C"', '"°F"', "columns.T1.unit"),
        ("column: temperature_c", "quantity: temperature_c", "columns.T1.column"),
    ):
        with pytest.raises(DescriptionError) as error:
            described(CHAMBER.replace(old, new))
        assert error.value.key == key


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_damaged_files_and_descriptions_never_crash(draw: st.DataObject) -> None:
    data = bytearray(draw.draw(st.sampled_from([FILE.encode(), CHAMBER_FILE.encode()])))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at : at + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
    both = (described(FREEZER), replace(described(CHAMBER), match_columns=()), described(SIMPLE))
    reader = LoggerTableReader(both)
    assert 0 <= reader.sniff("rh-x.csv", bytes(data)) <= 97
    try:
        reader.read(bytes(data), ReadContext(file_name="rh-x.csv"))
    except UnreadableFileError as error:
        assert error.rule  # noqa: PT017
    text = bytearray(FREEZER.encode())
    at = draw.draw(st.integers(0, len(text) - 1))
    text[at : at + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
    try:
        described(text.decode("utf-8", "replace"))
    except DescriptionError as error:
        assert "logger.yaml" in str(error)  # noqa: PT017


def test_the_example_of_the_guide() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "add-an-instrument.md").read_text(encoding="utf-8")
    (file, *_), (freezer, cabinet) = (re.findall(rf"```{kind}\n(.*?)```", guide, re.DOTALL) for kind in ("text", "yaml"))
    result = read(file, freezer)
    assert [(row["quantity"], row["value"]) for row in result.tables["sensor_readings"]] == [
        ("temperature_1", -20.1),
        ("temperature_2", -19.8),
        ("temperature_1", -20.0),
        ("temperature_2", -19.6),
    ]
    assert [(row.source_row, row.rule) for row in result.rejected] == [(7, "not_a_number")]
    assert refusal(file.replace("Probe 1 (°C)", "Probe 1 (°F)"), freezer).rule == "unit_changed"
    assert described(cabinet).table == "chamber_readings"
