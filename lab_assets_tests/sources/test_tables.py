"""LIMS exports, certificates, processing methods and chamber logs, written by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources.builders import read, rule_of
from lab_assets_tests.sources.text_tables import LINES, LOTS, UTC_LOG

RESULTS = "Result ID;Sample Name;Method ID;Analyte;Value;Unit;Recorded at UTC\n"
RESULT_ROW = "R1;S1;WATER;water;{value};%;{at}\n"


def test_lots() -> None:
    result = read(LOTS, "lots.csv")
    assert result.format == "lims_csv"
    first, second = result.tables["lims_lots"]
    assert (first["lot_id"], first["customer"], first["batch_size_kg"], first["source_row"]) == ("L1", "Acme", 120.5, 2)
    assert first["recorded_at_utc"] == datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert (second["customer"], second["site"], second["rescued"]) == (None, None, {})


def test_columns_by_name_in_any_order_and_case() -> None:
    text = "RECORDED AT UTC\tProduct\tLot ID\n2025-03-04T05:06:07Z\tP1\tL1\n"
    assert read(text).tables["lims_lots"][0]["lot_id"] == "L1"


def test_declared_decimal_dates_zone_and_separator() -> None:
    """10:00 in Berlin in March is 09:00 UTC."""
    head = "# table: results\n# separator: ;\n# decimal: ,\n# dates: dmy\n# zone: Europe/Berlin\n"
    row = read(head + RESULTS + RESULT_ROW.format(value="0,35", at="04/03/2025 10:00")).tables["lims_results"][0]
    assert (row["value"], row["recorded_at_utc"], row["source_row"]) == (0.35, datetime(2025, 3, 4, 9, tzinfo=UTC), 7)


@pytest.mark.parametrize(
    ("value", "at", "rule", "column"),
    [
        ("0,35", "2025-03-04", "not_a_number", "value"),
        ("1.412.698.315", "2025-03-04", "not_a_number", "value"),
        ("NaN", "2025-03-04", "not_finite", "value"),
        ("1e999", "2025-03-04", "not_finite", "value"),
        ("", "2025-03-04", "missing_value", "value"),
        ("0.35", "04/03/2025", "ambiguous_date", "recorded_at_utc"),
        ("0.35", "soon", "bad_date", "recorded_at_utc"),
    ],
)
def test_bad_rows_are_rejected_and_good_ones_stay(value: str, at: str, rule: str, column: str) -> None:
    good = RESULT_ROW.format(value="0.35", at="2025-03-04")
    result = read(RESULTS + good + RESULT_ROW.format(value=value, at=at) + good)
    assert [row["source_row"] for row in result.tables["lims_results"]] == [2, 4]
    (rejected,) = result.rejected
    assert (rejected.table, rejected.source_row, rejected.rule, rejected.column) == ("lims_results", 3, rule, column)
    assert rejected.row["result_id"] == "R1"


def test_vocabulary_whole_numbers_and_field_count() -> None:
    head = "sequence_id,injection_name,position,sample_name,sample_role,method_id,instrument_id,recorded_at_utc\n"
    row = "Q1,I{n},{n},S1,{role},A,H,2025-01-01\n"
    text = head + row.format(n=1, role="sample") + row.format(n="2.5", role="sample") + row.format(n=3, role="unknown") + "Q1,I4,4\n"
    result = read(text)
    assert [entry["position"] for entry in result.tables["lims_sequences"]] == [1]
    assert sorted((entry.source_row, entry.rule) for entry in result.rejected) == [
        (3, "not_a_number"),
        (4, "vocabulary"),
        (5, "field_count"),
    ]


def test_unknown_column_is_rescued_but_never_a_credential() -> None:
    text = "lot_id,product,recorded_at_utc,Colour,password\nL1,P1,2025-03-04,blue,hunter2\n"
    result = read(text)
    assert result.tables["lims_lots"][0]["rescued"] == {"colour": "blue"}
    assert result.warnings == ["columns kept in rescued: Colour"]
    assert "hunter2" not in repr(result)


def test_missing_column_and_changed_unit_refuse_the_file() -> None:
    assert rule_of(LOTS.replace("product", "item"))[0] == "missing_column"
    assert rule_of(LOTS.replace("batch_size_kg", "batch_size_g"))[0] == "unit_changed"
    assert rule_of(LOTS.replace("batch_size_kg", "Batch size [g]"))[0] == "unit_changed"
    assert read(LOTS.replace("batch_size_kg", "Batch size [kg]")).tables["lims_lots"][0]["batch_size_kg"] == 120.5
    assert rule_of(LOTS.replace("customer", "product"))[0] == "duplicate_column"


def test_headers_alone_bad_directives_and_open_quotes() -> None:
    assert rule_of(LOTS.splitlines()[0] + "\n")[0] == "empty"
    assert rule_of("# dates: ydm\n" + LOTS)[0] == "bad_directive"
    assert rule_of("# zone: Mars\n" + LOTS)[0] == "bad_directive"
    assert rule_of("# table: lots\n# separator: x\n" + LOTS)[0] in {"bad_directive", "unknown_format"}
    assert rule_of(LOTS + 'L3,"P1,x,1,2025-01-01\n') == ("truncated", "line 4")


def test_quoted_line_break_keeps_line_numbers_right() -> None:
    text = 'lot_id,product,formulation,recorded_at_utc\nL1,P1,"a\nb",2025-01-01\nL2,P1,c,never\n'
    result = read(text)
    assert result.tables["lims_lots"][0]["formulation"] == "a\nb"
    assert result.rejected[0].source_row == 4


@pytest.mark.parametrize("cut", range(2, 31))
def test_cut_last_line_refuses_the_file(cut: int) -> None:
    """The last line has 31 characters; every cut inside of it is seen."""
    assert rule_of(LOTS[:-cut])[0] == "truncated"


def test_no_final_line_end_is_fine_when_nothing_is_missing() -> None:
    assert len(read(LOTS[:-1]).tables["lims_lots"]) == 2


@pytest.mark.parametrize(
    ("header", "table"),
    [
        ("sample_name,lot_id,sample_type,recorded_at_utc\nS1,L1,release,2025-01-01\n", "lims_samples"),
        ("event_id,lot_id,event,at_utc,recorded_at_utc\nE1,L1,sampled,2025-01-01,2025-01-01\n", "lims_events"),
        (
            "spec_id,product,method_id,analyte,spec_low,spec_high,unit,effective_from_utc,recorded_at_utc\nX,P,M,A,95,105,%,2025-01-01,2025-01-01\n",
            "specifications",
        ),
    ],
)
def test_tables_are_recognised_by_their_columns(header: str, table: str) -> None:
    assert list(read(header).tables) == [table]


def test_calibration() -> None:
    text = (
        "certificate_id,instrument_id,parameter,deviation,tolerance,unit,outcome,performed_at_utc,valid_until_utc\n"
        "C1,HPLC-1,flow,-0.8,2,%,pass,2025-01-01,2026-01-01\nC1,HPLC-1,wavelength,3,2,nm,maybe,2025-01-01,2026-01-01\n"
    )
    result = read(text)
    assert result.format == "calibration_csv"
    assert (result.tables["calibrations"][0]["deviation"], result.rejected[0].rule) == (-0.8, "vocabulary")


def test_response_lines() -> None:
    row = read(LINES).tables["processing_methods"][0]
    assert (row["analyte"], row["channel"], row["slope"], row["intercept"]) == ("Formate", "RID-10A", 0.0729, 2.9054)
    assert (row["window_start"], row["window_end"], row["window_unit"]) == (16.5, 17.5, "min")
    assert (row["integration"], row["calibration"], row["method_name"], row["result_unit"]) == ("fixed_window", "line", None, None)


def test_response_lines_with_faults() -> None:
    text = LINES + '"A"\t"UV"\tx\t1\t1\t2\n"B"\t"UV"\t1\t1\t3\t2\n"C"\t"UV"\t1\n"D"\t"UV"\t\t1\t1\t2\n'
    result = read(text)
    assert len(result.tables["processing_methods"]) == 1
    assert sorted((row.source_row, row.rule) for row in result.rejected) == [
        (3, "not_a_number"),
        (4, "window_order"),
        (5, "field_count"),
        (6, "missing_value"),
    ]


def test_processing_method_with_contract_columns() -> None:
    text = (
        "method_name,analyte,channel,integration,window_start,window_end,window_unit,calibration,relative_response,reference_analyte,result_unit\n"
        "ASSAY-01,API,,detected,3.5,5.5,min,external_standard,1,API,%\nRS-01,IMP-A,,detected,2,1,min,external_standard,0.9,API,%\n"
    )
    result = read(text)
    assert result.format == "processing_table"
    (row,) = result.tables["processing_methods"]
    assert (row["method_name"], row["channel"], row["relative_response"], row["result_unit"]) == ("ASSAY-01", None, 1.0, "%")
    assert result.rejected[0].rule == "window_order"


METHOD = (
    "method_name,analyte,integration,window_start,window_end,window_unit,calibration{names}\n"
    "ASSAY-01,API,detected,3.5,5.5,min,external_standard{values}\n"
)
CERTIFICATE = (
    "certificate_id,instrument_id,parameter,deviation,tolerance,unit,outcome,performed_at_utc,valid_until_utc{names}\n"
    "C1,HPLC-1,flow,-0.8,2,%,pass,2025-01-01,2026-01-01{values}\n"
)


def test_a_method_may_state_when_it_was_recorded_and_is_valid_from() -> None:
    names, values = ",Effective From UTC,recorded_at_utc", ",2025-03-01,2025-02-27T08:30:00+02:00"
    result = read(METHOD.format(names=names, values=values), zone="Asia/Tokyo")
    (row,) = result.tables["processing_methods"]
    assert (row["effective_from_utc"], row["recorded_at_utc"]) == (
        datetime(2025, 3, 1, tzinfo=UTC),
        datetime(2025, 2, 27, 6, 30, tzinfo=UTC),
    )
    assert (row["rescued"], result.warnings, result.events) == ({}, [], [])


def test_a_certificate_may_state_when_it_was_recorded() -> None:
    """08:30 in Berlin in January is 07:30 UTC."""
    text = "# zone: Europe/Berlin\n" + CERTIFICATE.format(names=",recorded_at_utc", values=",2025-01-02 08:30")
    (row,) = read(text).tables["calibrations"]
    assert row["recorded_at_utc"] == datetime(2025, 1, 2, 7, 30, tzinfo=UTC)


def test_response_lines_may_state_when_they_were_recorded() -> None:
    text = LINES.replace('"Peak_end"', '"Peak_end"\t"effective_from_utc"\t"recorded_at_utc"').replace("17.5\n", "17.5\t\t2025-02-27\n")
    (row,) = read(text).tables["processing_methods"]
    assert (row["analyte"], row["effective_from_utc"], row["recorded_at_utc"]) == ("Formate", None, datetime(2025, 2, 27, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "table", "columns"),
    [
        (METHOD.format(names="", values=""), "processing_methods", ("effective_from_utc", "recorded_at_utc")),
        (
            METHOD.format(names=",effective_from_utc,recorded_at_utc", values=",,"),
            "processing_methods",
            ("effective_from_utc", "recorded_at_utc"),
        ),
        (LINES, "processing_methods", ("effective_from_utc", "recorded_at_utc")),
        (CERTIFICATE.format(names="", values=""), "calibrations", ("recorded_at_utc",)),
        (CERTIFICATE.format(names=",recorded_at_utc", values=","), "calibrations", ("recorded_at_utc",)),
    ],
)
def test_a_time_of_recording_that_is_not_stated_is_empty(text: str, table: str, columns: tuple[str, ...]) -> None:
    result = read(text)
    (row,) = result.tables[table]
    assert [row[column] for column in columns] == [None] * len(columns)
    assert (result.rejected, result.warnings) == ([], [])


@pytest.mark.parametrize(("text", "table"), [(METHOD, "processing_methods"), (CERTIFICATE, "calibrations")])
def test_a_row_with_an_ambiguous_time_of_recording_is_rejected(text: str, table: str) -> None:
    (rejected,) = read(text.format(names=",recorded_at_utc", values=",03/04/2025")).rejected
    assert (rejected.table, rejected.rule, rejected.column) == (table, "ambiguous_date", "recorded_at_utc")


@needs_samples
def test_real_response_lines() -> None:
    folder = samples_dir()
    assert folder is not None
    rows = read((folder / "hplc_sequence" / "standards_linear-model.tsv").read_bytes()).tables["processing_methods"]
    assert len(rows) == 8
    assert (rows[7]["analyte"], rows[7]["slope"], rows[7]["window_end"]) == ("Glucose", 0.00735951950304273, 11.5)


def test_chamber_log_in_utc() -> None:
    result = read(UTC_LOG, "log.csv", zone="Asia/Tokyo")
    assert result.format == "chamber_csv"
    (row,) = result.tables["chamber_readings"]
    assert (row["chamber_id"], row["temperature_c"], row["humidity_pct"]) == ("CH-1", 25.1, 60.2)
    assert (row["set_temperature_c"], row["set_humidity_pct"], row["rescued"]) == (25.0, 60.0, {"Door": "closed"})
    assert (row["read_at_utc"], row["zone_known"], row["read_at_text"]) == (datetime(2025, 3, 1, tzinfo=UTC), True, "2025-03-01 00:00:00")


def test_chamber_log_german_with_date_and_clock() -> None:
    text = "# decimal: ,\nKammer;Datum;Uhrzeit;Temperatur (°C);Feuchte (%)\nK1;01.07.2025;12:00:00;25,1;60,2\n"
    for data in (text.encode("cp1252"), text.encode("utf-8-sig")):
        (row,) = read(data, "log.csv", zone="Europe/Berlin").tables["chamber_readings"]
        assert (row["temperature_c"], row["read_at_utc"], row["zone_known"]) == (25.1, datetime(2025, 7, 1, 10, tzinfo=UTC), False)


def test_chamber_log_through_the_hour_that_happens_twice() -> None:
    """Berlin, 26 October 2025: 02:00 CEST is 00:00 UTC, 02:00 CET is 01:00 UTC."""
    times = ("01:30", "02:00", "02:30", "02:00", "02:30", "03:00")
    text = "Chamber,Time (Europe/Berlin),Temperature (°C),RH\n" + "".join(f"C,2025-10-26 {at},25,60\n" for at in times)
    rows = read(text).tables["chamber_readings"]
    assert [row["read_at_utc"].strftime("%d %H:%M") for row in rows] == [
        "25 23:30",
        "26 00:00",
        "26 00:30",
        "26 01:00",
        "26 01:30",
        "26 02:00",
    ]


def test_chamber_contract_columns() -> None:
    text = "chamber_id,read_at_utc,temperature_c,humidity_pct\nC,2025-01-01T00:00:00,5,\n"
    (row,) = read(text, zone="Asia/Tokyo").tables["chamber_readings"]
    assert (row["read_at_utc"], row["zone_known"], row["humidity_pct"]) == (datetime(2025, 1, 1, tzinfo=UTC), True, None)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("Temp (°C)", "Temp (°F)", "unit_changed"),
        ("Temp (°C)", "temperature_f", "unit_changed"),
        ("Temp (°C)", "Temp (K)", "unit_changed"),
        ("Temp (°C)", "Temp", "unit_missing"),
        ("RH [%]", "RH [fraction]", "unit_changed"),
        ("# chamber: CH-1\n", "", "missing_column"),
        ("2025-03-01 00:00:00,25.1,60.2,25,60,closed\n", "", "empty"),
    ],
)
def test_chamber_units_are_never_guessed(old: str, new: str, rule: str) -> None:
    assert rule_of(UTC_LOG.replace(old, new))[0] == rule


def test_chamber_fraction_without_unit() -> None:
    assert rule_of("chamber,time,temp (°C),RH\nC,2025-01-01,25,0.6\n")[0] == "unit_changed"


def test_chamber_bad_rows_and_cut() -> None:
    result = read(UTC_LOG + "2025-03-01 01:00:00,warm,60,25,60,closed\nlater,25,60,25,60,open\n1,2\n")
    assert sorted((row.source_row, row.rule) for row in result.rejected) == [(4, "not_a_number"), (5, "bad_date"), (6, "field_count")]
    assert rule_of(UTC_LOG + "2025-03-01 01:00:00,25.1,6")[0] == "truncated"
