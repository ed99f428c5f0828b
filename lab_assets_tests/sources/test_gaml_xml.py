"""GAML documents written by hand after public files of the Thermo converters (Chromeleon, Turbochrom, Atlas)."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.contracts.bronze import PROVENANCE, READER_TABLES
from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.standards.gaml_xml import GamlXmlReader
from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources.gaml_builders import document, experiment, plain, trace, values, y_data

READER = GamlXmlReader()


def read(text: str | bytes, name: str = "file_3.gaml") -> ReadResult:
    return READER.read(text.encode() if isinstance(text, str) else text, ReadContext(file_name=name))


def rule_of(text: str | bytes) -> str:
    try:
        read(text)
    except UnreadableFileError as error:
        return error.rule
    return ""


def test_trace_with_times_units_and_parameters() -> None:
    more = (
        '<parameter name="AD_OPERATOR" label="Operator initials">JDJ</parameter><parameter name="SD_SAMP_NAME" label="Sample name">LOT-1</parameter>'
        '<parameter name="SD_INST_FILE" label="Instrument method file (including path)">C:\\x\\gasoline.mth</parameter>'
        '<parameter name="IN_INST_NAME" label="Instrument name">GC-2</parameter><parameter name="Login" label="User password">hunter2</parameter>'
    )
    found = read(document(experiment(trace(y_data()), more=more)))
    (row,) = found.tables["chromatograms"]
    assert (row["x"].tolist(), row["y"].tolist()) == ([0.0, 0.5, 1.0, 1.5], [1.0, -2.5, 3.0, 0.25])
    assert (row["x_unit"], row["y_unit"], row["channel"], row["y_factor"]) == ("MINUTES", "MILLIVOLTS", "UV_1", 1.0)
    assert (row["injection_name"], row["sample_name"], row["operator"], row["method_name"]) == ("STD 1", "LOT-1", "JDJ", "gasoline")
    assert (row["instrument_name"], row["software"]) == ("GC-2", "Chromeleon")
    assert (row["injected_at_utc"], row["zone_known"]) == (datetime(2024, 1, 25, 17, 33, 51, tzinfo=UTC), True)
    assert row["rescued"] == {"SD_INST_FILE": "gasoline.mth", "IN_INST_NAME": "GC-2", "wavelength": "254", "Ydata label": "Signal"}
    assert "hunter2" not in repr(found)
    assert "tom" not in repr(found)
    assert found.warnings == []


def test_peak_tables_of_two_converters() -> None:
    """The peak's own elements count before parameters; of ``Peak_Area`` and ``area`` the first, which is in the unit of the trace."""
    first, second = read(plain()).tables["vendor_peaks"]
    assert (first["peak_no"], first["peak_name"], first["channel"], first["injection_name"]) == (1, "API", "UV_1", "STD 1")
    assert (first["retention_time"], first["start_time"], first["end_time"], first["retention_unit"]) == (0.5, 0.25, 0.975, "MINUTES")
    assert (first["area"], first["height"], first["amount"], first["amount_unit"]) == (1.817625, 0.4955, 58.4, "mg/L")
    assert first["rescued"] == {"area": "0.03029375"}
    assert (second["peak_name"], second["area"], second["retention_time"], second["start_time"]) == ("C15", 74059.998896, 1.5, None)
    assert second["rescued"] == {"PK_RET_TIME": "1"}


def test_a_sequence_in_one_file() -> None:
    found = read(document(experiment(trace(y_data())), experiment(trace(y_data())), experiment(trace(y_data()), name="")))
    assert [row["injection_name"] for row in found.tables["chromatograms"]] == ["STD 1", "STD 1 #2", "SEQ_1 3"]
    assert found.warnings == ["2 experiments are named 'STD 1'; they are numbered"]


def test_several_signals_have_distinct_channels() -> None:
    text = document(experiment(trace(y_data("A"), y_data("B")), trace(y_data("x")), trace(y_data("x")), trace(y_data("C"), name="")))
    assert [row["channel"] for row in read(text).tables["chromatograms"]] == ["UV_1 A", "UV_1 B", "UV_1", "UV_1 #2", "C"]


def test_alternative_abscissa_is_taken_where_only_it_is_a_time() -> None:
    alt = f'<altXdata label="Seconds" units="SECONDS" valueorder="EVEN">{values("f", [0, 30, 60, 90])}</altXdata>'
    row = read(document(experiment(trace(y_data(), label="Scan", units="UNKNOWN", alt=alt)))).tables["chromatograms"][0]
    assert (row["x"].tolist(), row["x_unit"]) == ([0.0, 30.0, 60.0, 90.0], "SECONDS")
    both = read(document(experiment(trace(y_data(), alt=alt)))).tables["chromatograms"][0]
    assert both["x_unit"] == "MINUTES"
    only_label = read(document(experiment(trace(y_data(), units="UNKNOWN")))).tables["chromatograms"][0]
    assert only_label["x_unit"] == "Minutes"


def test_contradicting_unit_and_label_are_reported() -> None:
    """The vocabulary of GAML has no refractive index units; a public file states MILLIVOLTS for µRIU."""
    found = read(document(experiment(trace(y_data("µRIU")))))
    assert found.tables["chromatograms"][0]["y_unit"] == "MILLIVOLTS"
    assert found.warnings == ["trace 1: the unit is stated as MILLIVOLTS, but labelled 'µRIU'"]
    assert read(document(experiment(trace(y_data("mV"))))).warnings == []


def test_status_traces_and_other_techniques() -> None:
    text = document(experiment(trace(y_data(units="BAR"), name="Pump_Pressure"), trace(y_data(), technique="FLUOR")))
    found = read(text)
    assert list(found.tables) == ["instrument_status"]
    assert found.warnings == ["not read: 1 trace(s) of technique 'FLUOR'"]
    assert rule_of(document(experiment(trace(y_data(), technique="UVVIS")))) == "unsupported"
    assert rule_of(document()) == "unsupported"


def test_a_trace_over_a_further_dimension_is_left_out() -> None:
    grid = trace(y_data(), name="PDA").replace("<Xdata", f'<coordinates units="NANOMETERS">{values("f", [200, 201])}</coordinates><Xdata')
    assert read(document(experiment(trace(y_data()), grid))).warnings == ["not read: 1 trace(s) with a further dimension"]


def test_rows_carry_exactly_the_columns_of_their_contract() -> None:
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    contracts = {contract.name: set(contract.column_names) - engine for contract in READER_TABLES}
    for table, rows in read(plain()).tables.items():
        assert all(set(row) == contracts[table] for row in rows)


def test_bad_number_of_a_peak_is_a_rejected_row() -> None:
    found = read(plain().replace("74059.998896", "1.412.698.315"))
    assert [peak["peak_name"] for peak in found.tables["vendor_peaks"]] == ["API"]
    assert [(row.rule, row.source_row) for row in found.rejected] == [("not_a_number", 2)]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('numvalues="4"', 'numvalues="5"', "truncated"),
        ('numvalues="4"', 'numvalues="99999999999"', "too_large"),
        ('format="FLOAT32"', 'format="FLOAT16"', "unsupported"),
        ('byteorder="INTEL"', 'byteorder="MOTOROLA"', "unsupported"),
        (values("f", [1, -2.5, 3, 0.25]), values("f", [1, -2.5, float("inf"), 0.25]), "not_finite"),
        (values("f", [1, -2.5, 3, 0.25]), values("f", [1, -2.5, 3]), "truncated"),
        (values("f", [1, -2.5, 3, 0.25]), "", "truncated"),
        (values("d", [0, 0.5, 1, 1.5]), values("d", [0, 0.5, 0.5, 1.5]), "duplicate_x"),
        (values("d", [0, 0.5, 1, 1.5]), values("d", [0, 0.5, 0.25, 1.5]), "descending_x"),
        ("AAAA", "@@@@", "not_a_number"),
        ("</GAML>", "", "truncated"),
        ('<GAML version="1.20"', '<!DOCTYPE G [<!ENTITY a "b">]><GAML version="1.20"', "hostile_xml"),
    ],
)
def test_whole_document_is_refused(old: str, new: str, rule: str) -> None:
    assert old in plain()
    assert rule_of(plain().replace(old, new)) == rule


def test_sniff() -> None:
    assert READER.sniff("x", plain().encode()) == 100
    assert READER.sniff("x", plain().replace("UTF-8", "utf-16").encode("utf-16")) == 100
    for head in (b"", b"GAML", b'<?xml version="1.0"?><bioml><GAML:trace/></bioml>', b"<AnIML/>"):
        assert READER.sniff("x.gaml", head) == 0


@needs_samples
def test_no_real_sample_is_taken() -> None:
    folder = samples_dir()
    assert folder is not None
    for path in folder.rglob("*"):
        if path.is_file():
            assert READER.sniff(path.name, path.read_bytes()[: 1 << 16]) == 0, path


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_documents_are_read_or_refused(draw: st.DataObject) -> None:
    data = bytearray(plain().encode())
    if draw.draw(st.booleans()):
        del data[draw.draw(st.integers(0, len(data))) :]
    for _ in range(draw.draw(st.integers(0, 3))):
        at = draw.draw(st.integers(0, len(data)))
        data[at : at + draw.draw(st.integers(0, 6))] = draw.draw(st.binary(max_size=4) | st.sampled_from([b"9", b"<Xdata>", b"&lt;", b'"']))
    try:
        tables = read(bytes(data)).tables
    except UnreadableFileError:
        return
    assert tables
    for row in tables.get("chromatograms", []):
        assert np.isfinite(row["y"]).all()
        assert (np.diff(row["x"]) > 0).all()
