"""Columns that come in other order, under other names, in other units, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lab_assets.contracts.bronze import READER_TABLES
from lab_assets.sources.all_readers import read_file, recognise
from lab_assets.sources.base import ReadContext, ReadResult, SchemaEvent, UnreadableFileError
from lab_assets.sources.core.synonyms import SYNONYMS, propose
from lab_assets.sources.tables.chamber_csv import ChamberCsvReader
from lab_assets_tests.sources.builders import read, rule_of
from lab_assets_tests.sources.text_tables import LINES, LOTS, UTC_LOG

ORIGIN = "# software: LabX 5.2\n# instrument: LIMS-2\n"
SEQUENCE = (
    "sequence_id,injection_name,position,sample_name,sample_role,method_id,instrument_id,weight_mg,recorded_at_utc\n"
    "Q1,I1,1,S1,sample,A,H,100.5,2025-01-01\n"
)


def read_with(data: str, **context: object) -> ReadResult:
    return read_file(data.encode(), ReadContext(file_name="x.csv", **context))  # type: ignore[arg-type]


def refusal(data: str, **context: object) -> UnreadableFileError:
    with pytest.raises(UnreadableFileError) as error:
        read_with(data, **context)
    return error.value


def kinds_of(events: object) -> list[tuple[str, str, str | None]]:
    assert isinstance(events, (list, tuple))
    return [(event.kind, event.column, event.proposed) for event in events]


def test_unknown_column_is_rescued_and_reported_with_its_origin() -> None:
    result = read(ORIGIN + LOTS.replace("customer", "Colour Code"))
    assert result.tables["lims_lots"][0]["rescued"] == {"colour_code": "Acme"}
    assert result.events == [
        SchemaEvent(kind="unknown_column", table="lims_lots", column="colour_code", instrument="LIMS-2", software="LabX 5.2")
    ]


def test_strict_refuses_unknown_columns() -> None:
    error = refusal(LOTS.replace("customer", "colour"), strict=True)
    assert (error.rule, kinds_of(error.events)) == ("unknown_column", [("unknown_column", "colour", None)])
    assert read_with(LOTS, strict=True).tables["lims_lots"]
    assert refusal(UTC_LOG, strict=True).rule == "unknown_column"
    assert read_with(UTC_LOG.replace(",Door", "").replace(",closed", ""), strict=True).tables["chamber_readings"]
    assert refusal(LOTS.replace("customer", "password"), strict=True).rule == "unknown_column"


@pytest.mark.parametrize(
    ("written", "normalised"),
    [("Batch No.", "batch_no"), ("Charge", "charge"), ("LotID", "lotid"), ("lot_idd", "lot_idd"), ("Chargen-Nr.", "chargen_nr")],
)
def test_missing_required_column_is_proposed_accepted_and_used(written: str, normalised: str) -> None:
    drifted = LOTS.replace("lot_id", written)
    error = refusal(drifted)
    assert (error.rule, error.place) == ("missing_column", "line 1")
    assert "lab schema list" in error.reason
    assert "lab schema accept" in error.reason
    assert kinds_of(error.events) == [
        ("unknown_column", normalised, None),
        ("renamed_column", normalised, "lot_id"),
        ("missing_column", "lot_id", None),
    ]
    result = read_with(drifted, renames={"lims_lots": {normalised: "lot_id"}})
    assert result.tables == read(LOTS).tables
    assert kinds_of(result.events) == [("renamed_column", normalised, "lot_id")]


def test_old_and_renamed_column_together_are_refused() -> None:
    both = LOTS.replace("customer", "charge")
    assert read(both).tables["lims_lots"]
    assert refusal(both, renames={"lims_lots": {"charge": "lot_id"}}).rule == "duplicate_column"
    assert rule_of("Lot ID,lot_id,product,recorded_at_utc\nL1,L2,P,2025-01-01\n")[0] == "duplicate_column"


def test_renames_of_other_tables_and_of_known_columns_change_nothing() -> None:
    renames = {"lims_samples": {"customer": "lot_id"}, "lims_lots": {"product": "lot_id", "customer": "nowhere"}}
    assert read_with(LOTS, renames=renames).tables == read(LOTS).tables


def test_a_renamed_time_is_of_the_sources_zone_and_order_of_dates() -> None:
    """The contract's own name says UTC; a name that the laboratory gave says nothing."""
    text = "lot_id,product,customer,angelegt\nL1,P1,Acme,03/04/2025 10:00\n"
    source = {"zone": "Europe/Berlin", "date_order": "dmy"}
    result = read_with(text, **source, renames={"lims_lots": {"angelegt": "recorded_at_utc"}})
    assert result.tables["lims_lots"][0]["recorded_at_utc"] == datetime(2025, 4, 3, 8, tzinfo=UTC)
    assert [warning for warning in result.warnings if "zone" in warning] == [
        "times of recorded_at_utc state no zone; they are read as Europe/Berlin"
    ]
    own = read_with(text.replace("angelegt", "recorded_at_utc"), **source)
    assert own.tables["lims_lots"][0]["recorded_at_utc"] == datetime(2025, 4, 3, 10, tzinfo=UTC)
    assert own.warnings == []


def test_optional_column_under_another_name_is_proposed_and_the_file_goes_on() -> None:
    result = read(SEQUENCE.replace("weight_mg", "Einwaage [mg]"))
    (row,) = result.tables["lims_sequences"]
    assert (row["weight_mg"], row["rescued"]) == (None, {"einwaage_mg": "100.5"})
    assert kinds_of(result.events) == [("unknown_column", "einwaage_mg", None), ("renamed_column", "einwaage_mg", "weight_mg")]
    result = read_with(SEQUENCE.replace("weight_mg", "Einwaage"), renames={"lims_sequences": {"einwaage": "weight_mg"}})
    assert (result.tables["lims_sequences"][0]["weight_mg"], result.warnings) == (100.5, [])


def test_units_in_names_must_agree() -> None:
    error = refusal(SEQUENCE.replace("weight_mg", "weight_g"))
    assert (error.rule, kinds_of(error.events)) == ("unit_changed", [("unit_changed", "weight_g", "weight_mg")])
    result = read(SEQUENCE.replace("weight_mg", "Einwaage [g]"))
    assert kinds_of(result.events) == [("unknown_column", "einwaage_g", None), ("unit_changed", "einwaage_g", "weight_mg")]
    assert (
        refusal(SEQUENCE.replace("weight_mg", "einwaage_g"), renames={"lims_sequences": {"einwaage_g": "weight_mg"}}).rule == "unit_changed"
    )
    assert read(SEQUENCE.replace("weight_mg", "weight [mg]")).events == []


def test_spelling_and_meaning_of_proposals() -> None:
    def column(name: str, *columns: str) -> str | None:
        found = propose(name, columns)
        return found.column if found and found.reason != "unit" else None

    assert column("prodct", "lot_id", "product") == "product"
    assert column("sampel_name", "lot_id", "sample_name") == "sample_name"
    assert column("performed_at", "performed_by") is None
    assert column("spec_hi", "spec_low") is None
    assert column("probe_2", "probe_1") is None
    assert column("result_pct", "value") is None
    assert column("ergebnis", "result_id", "value") == "value"
    assert column("colour", "product", "customer", "site") is None


def test_synonyms_are_normalised_and_of_contract_columns() -> None:
    contracted = {column.name for contract in READER_TABLES for column in contract.columns}
    assert set(SYNONYMS) <= contracted
    assert all(word == word.lower() and column not in words for column, words in SYNONYMS.items() for word in words)


def test_a_file_that_only_synonyms_tell_is_recognised_to_be_mended() -> None:
    text = "Chargennummer;Material;Kunde;Erfasst am\nL1;P1;Acme;2025-03-04\n"
    assert recognise("x.csv", text.encode()).format == "lims_csv"
    error = refusal(text)
    accepted = {event.column: event.proposed for event in error.events if event.kind == "renamed_column"}
    assert accepted == {"chargennummer": "lot_id", "material": "product", "kunde": "customer", "erfasst_am": "recorded_at_utc"}
    (row,) = read_with(text, renames={"lims_lots": accepted}).tables["lims_lots"]
    assert (row["lot_id"], row["product"], row["customer"]) == ("L1", "P1", "Acme")


def test_a_changed_worklist_column_of_response_lines() -> None:
    result = read(LINES.replace('"Detector"', '"Colour"'))
    assert kinds_of(result.events) == [("unknown_column", "colour", None)]
    assert result.tables["processing_methods"][0]["rescued"] == {"colour": "RID-10A"}


def test_chamber_columns_drift() -> None:
    result = read("# software: Logger 2\n" + UTC_LOG)
    assert result.events == [
        SchemaEvent(kind="unknown_column", table="chamber_readings", column="door", instrument="CH-1", software="Logger 2")
    ]
    drifted = UTC_LOG.replace("Temp (°C)", "Probe Temperature (°C)", 1)
    error = refusal(drifted)
    assert error.rule == "missing_column"
    assert ("renamed_column", "probe_temperature_°c", "temperature_c") in kinds_of(error.events)
    renames = {"chamber_readings": {"probe_temperature_°c": "temperature_c"}}
    accepted = read_with(drifted, renames=renames)
    assert accepted.tables == read(UTC_LOG).tables
    assert ("renamed_column", "probe_temperature_°c", "temperature_c") in kinds_of(accepted.events)
    both = UTC_LOG.replace("Door", "Probe Temperature (°C)").replace("closed", "25")
    assert refusal(both, renames=renames).rule == "duplicate_column"
    fahrenheit = UTC_LOG.replace("Temp (°C)", "Sensor (°F)", 1)
    assert refusal(fahrenheit, renames={"chamber_readings": {"sensor_°f": "temperature_c"}}).rule == "unit_changed"


def test_chamber_time_under_a_new_name() -> None:
    text = UTC_LOG.replace("Timestamp (UTC)", "Scan Time")
    with pytest.raises(UnreadableFileError) as error:
        ChamberCsvReader().read(text.encode(), ReadContext(file_name="x"))
    assert ("renamed_column", "scan_time", "read_at_text") in kinds_of(error.value.events)
    context = ReadContext(file_name="x", renames={"chamber_readings": {"scan_time": "read_at_text"}})
    (row,) = ChamberCsvReader().read(text.encode(), context).tables["chamber_readings"]
    assert row["read_at_text"] == "2025-03-01 00:00:00"


@pytest.mark.parametrize(
    ("value", "rule"),
    [("1,234.5", "not_a_number"), ("1 234", "not_a_number"), ("1'234", "not_a_number"), ("-inf", "not_finite"), ("#DIV/0!", "error_value")],
)
def test_numbers_that_a_locale_or_spreadsheet_spoiled(value: str, rule: str) -> None:
    result = read(LOTS + f'L3,P1,,"{value}",2025-01-01\n')
    (rejected,) = result.rejected
    assert (rejected.source_row, rejected.rule, rejected.column) == (4, rule, "batch_size_kg")


def test_ambiguous_dates_need_a_declared_order() -> None:
    text = "lot_id,product,recorded_at_utc\nL1,P1,03/04/2025\nL2,P1,2025-04-03\n"
    result = read(text)
    assert [(row.source_row, row.rule, row.column) for row in result.rejected] == [(2, "ambiguous_date", "recorded_at_utc")]
    days = {order: read(f"# dates: {order}\n{text}").tables["lims_lots"][0]["recorded_at_utc"].day for order in ("dmy", "mdy")}
    assert days == {"dmy": 3, "mdy": 4}


@pytest.mark.parametrize(
    "head",
    [
        '"# decimal: ,";;;\n"# zone: Europe/Berlin";;;\n',
        "# decimal: ,;;;\n# zone: Europe/Berlin;;;\n",
        "sep=;\n# decimal: ,\n# zone: Europe/Berlin\n",
        "# separator: ;\n# decimal: ,\n# zone: Europe/Berlin\n",
    ],
)
def test_directives_as_spreadsheet_programs_save_them(head: str) -> None:
    """Noon in Berlin in July is 10:00 UTC."""
    rows = "lot_id;product;batch_size_kg;recorded_at_utc;;\nL1;P1;80,5;2025-07-01 12:00:00;;\n#12;P1;1;2025-07-01;;\n# remark;;;;;\n"
    result = read(head + rows)
    first, second = result.tables["lims_lots"]
    assert (first["batch_size_kg"], first["recorded_at_utc"].hour, first["rescued"]) == (80.5, 10, {})
    assert (second["lot_id"], result.rejected, result.events) == ("#12", [], [])


def test_unnamed_columns_with_content_are_rescued_and_cell_errors_are_no_remarks() -> None:
    result = read("lot_id,product,recorded_at_utc,\nL1,P1,2025-01-01,odd\n#N/A,P1,2025-01-01,\n")
    assert result.tables["lims_lots"][0]["rescued"] == {"column_4": "odd"}
    assert [(row.source_row, row.rule) for row in result.rejected] == [(3, "error_value")]


def test_formula_like_cells_of_text_are_data() -> None:
    text = (
        LOTS.replace("Acme", "=cmd|'/c calc'!A1")
        .replace("L2", "+L2")
        .replace("2025-03-05T00:00:00Z\n", "2025-03-05T00:00:00Z\n@L3,P1,,1,2025-01-01\n")
    )
    rows = read(text).tables["lims_lots"]
    assert [row["lot_id"] for row in rows] == ["L1", "+L2", "@L3"]
    assert rows[0]["customer"] == "=cmd|'/c calc'!A1"


def test_header_of_blanks_takes_no_time() -> None:
    assert rule_of("lot_id,product,recorded_at_utc,(a" + " " * 100_000 + "b\nL1,P1,2025-01-01,x\n")[0] == ""
    assert rule_of("lot_id,product,recorded_at_utc,(a" + " " * 500_000 + "b\nL1,P1,2025-01-01,x\n")[0] == "long_line"


def test_other_columns_of_a_long_table() -> None:
    text = "Minutes,Intensity,Detector,Batch,Flag\n0.1,1,UV,B1,x\n0.2,2,UV,B1,y\n"
    result = read(text)
    assert result.tables["chromatograms"][0]["rescued"] == {"Batch": "B1"}
    assert kinds_of(result.events) == [("unknown_column", "batch", None), ("unknown_column", "flag", None)]
    assert result.warnings == ["columns that change from point to point and were not kept: Flag"]
    assert refusal(text, strict=True).rule == "unknown_column"
