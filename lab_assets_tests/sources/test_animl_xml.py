"""AnIML documents written by hand after the core schema and the technique definitions, with the habits of a public writer."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.contracts.bronze import PROVENANCE, READER_TABLES
from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.standards.animl_xml import AnimlXmlReader
from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources.animl_builders import (
    METHOD,
    NAMESPACE,
    PEAKS,
    SAMPLE,
    SIGNAL,
    TIME,
    TRACE,
    document,
    incremented,
    individual,
    packed,
    result,
    run,
    series,
    step,
)

READER = AnimlXmlReader()


def read(text: str | bytes, name: str = "file_3.animl", zone: str = "UTC") -> ReadResult:
    data = text.encode() if isinstance(text, str) else text
    return READER.read(data, ReadContext(file_name=name, zone=zone))


def rule_of(text: str | bytes) -> str:
    try:
        read(text)
    except UnreadableFileError as error:
        return error.rule
    return ""


def test_trace_with_everything_the_document_says() -> None:
    found = read(run())
    (row,) = found.tables["chromatograms"]
    assert row["x"].tolist() == [0.0, 0.5, 1.0, 1.5]
    assert row["y"].tolist() == [1.0, 2.5, -3.0, 0.25]
    assert (row["x_unit"], row["y_unit"], row["y_factor"], row["n_points"], row["channel"]) == ("min", "mAU", 1.0, 4, "UV 254")
    assert (row["injection_name"], row["sample_name"], row["method_name"]) == ("Run 7", "LOT-1", "ASSAY-01")
    assert (row["instrument_name"], row["software"], row["operator"]) == ("HPLC-4", "CDS 2.1", "A. Analyst")
    assert (row["injected_at_text"], row["zone_known"]) == ("2024-03-04T05:06:07.5+01:00", True)
    assert row["injected_at_utc"] == datetime(2024, 3, 4, 4, 6, 7, 500000, tzinfo=UTC)
    assert row["rescued"] == {
        "sample sampleID": "S1",
        "device Manufacturer": "Maker",
        "device SerialNumber": "SN9",
        "Pump / Flow": "1.5 mL/min",
    }
    assert "hunter2" not in repr(found)
    assert found.warnings == []


def test_peak_table_joins_the_only_channel() -> None:
    api, impurity = read(run()).tables["vendor_peaks"]
    assert (api["peak_no"], api["peak_name"], api["channel"], api["injection_name"]) == (1, "API", "UV 254", "Run 7")
    assert (api["retention_time"], api["start_time"], api["end_time"], api["retention_unit"]) == (0.5, 0.25, 0.75, "min")
    assert (api["area"], api["area_unit"], impurity["area"], impurity["height"]) == (1234.5, "mAU*min", 0.001, None)
    assert impurity["rescued"] == {"Retention Factor": "1.5"}


def test_rows_carry_exactly_the_columns_of_their_contract() -> None:
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    contracts = {contract.name: set(contract.column_names) - engine for contract in READER_TABLES}
    weighing = '<Result name="R"><Category name="C"><Parameter name="m" parameterType="Float64"><D>1</D></Parameter></Category></Result>'
    pressure = series("Pump pressure", individual("F", [1, 2, 3, 4]), kind="Float32", unit="bar")
    for text in (run(), document(step("Weighing", weighing)), document(step("LC", result("p", 4, TIME, pressure)))):
        for table, rows in read(text).tables.items():
            assert all(set(row) == contracts[table] for row in rows), table


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (individual("I", [1, 2, 3, 4]), "Int32"),
        (individual("F", ["1", "2.0", "3e0", "+4"]), "Float32"),
        (f"<EncodedValueSet>{packed('i', [1, 2, 3, 4])}</EncodedValueSet>", "Int32"),
        (f"<EncodedValueSet>{packed('q', [1, 2, 3, 4])}</EncodedValueSet>", "Int64"),
        (f"<EncodedValueSet>\n {packed('d', [1, 2, 3, 4])}\n</EncodedValueSet>", "Float64"),
        ("<D>1</D><D>2</D><D>3</D><D>4</D>", "Float64"),
        (incremented(1, 1, 3).replace("<D>", "<I>").replace("</D>", "</I>"), "Int32"),
        (
            individual("F", [3, 4]).replace("ValueSet>", 'ValueSet startIndex="2" endIndex="3">', 1)
            + f'<EncodedValueSet startIndex="0" endIndex="1">{packed("f", [1, 2])}</EncodedValueSet>',
            "Float32",
        ),
    ],
)
def test_every_way_of_writing_values(body: str, kind: str) -> None:
    text = document(step("HPLC", result("t", 4, TIME, series("A", body, kind=kind))))
    assert read(text).tables["chromatograms"][0]["y"].tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("namespace", ["", ' xmlns="urn:org:astm:animl:schema:core:draft:1.0"'])
def test_other_namespaces(namespace: str) -> None:
    text = run().replace(f' xmlns="{NAMESPACE}"', namespace)
    assert len(read(text).tables["vendor_peaks"]) == 2
    prefixed = (
        run().replace(f' xmlns="{NAMESPACE}"', f' xmlns:a="{NAMESPACE}"').replace("<AnIML", "<a:AnIML").replace("</AnIML", "</a:AnIML")
    )
    assert READER.sniff("x", prefixed.encode()) == 100


def test_units_swapped_and_columns_shorter_than_the_table() -> None:
    """A public writer puts the unit into ``quantity``, writes F and D into one series, and names only identified peaks."""
    time = series("Retention Time", individual("F", [0, 500, 1000]), kind="Float32", dependency="independent", unit="Time", quantity="ms")
    signal = series("Signal", individual("F", [5, 6, 7]), kind="Float32", unit="Signal", quantity="arbitrary")
    peaks = result(
        "Peak Table",
        2,
        series("Number", individual("I", [0, 1]), kind="Int32").replace(' dependency="dependent"', ""),
        series("Name", individual("S", ["Ethanol"]), kind="String"),
        series("Retention Time", individual("D", [0.1, 0.2]), kind="Float32", unit="Time", quantity="min"),
        series("Adjusted Retention Time", "<IndividualValueSet/>", kind="Float32"),
        series("Value", individual("F", [7, 8]), kind="Float32", unit="Arbitrary", quantity="arbitrary"),
    )
    text = document(
        step("Chromatography", "", name="Chromatography"),
        step("Flame Ionization Detector", result("FID", 3, time, signal), step_id="d", name="Detector"),
        step("Chromatography Peak Table", peaks, step_id="p", name="Peaks"),
    )
    found = read(text, "run_12.animl")
    (row,) = found.tables["chromatograms"]
    assert (row["channel"], row["x_unit"], row["y_unit"], row["injection_name"], row["sample_name"]) == (
        "FID",
        "ms",
        "arbitrary",
        "run_12",
        "LOT-1",
    )
    assert [(peak["peak_name"], peak["channel"], peak["height"], peak["retention_unit"]) for peak in found.tables["vendor_peaks"]] == [
        (None, "FID", None, "min"),
        (None, "FID", None, "min"),
    ]
    assert found.tables["vendor_peaks"][0]["rescued"] == {"Value": "7 arbitrary"}
    assert found.warnings == ["step 3, 'Peak Table': 1 values of 'Name' for 2 peaks are left out"]


def test_several_injections_and_their_detectors() -> None:
    """Detectors belong to the run they refer to; the source file names the injection."""
    uses = '<ExperimentDataReferenceSet><ExperimentDataReference experimentStepID="{}" role="Run" dataPurpose="consumed"/></ExperimentDataReferenceSet>'
    text = document(
        step("LC", "", step_id="r1", name="Run A").replace('name="Run A"', r'name="Run A" sourceDataLocation="C:\Users\tom\SEQ_1.dat"'),
        step("LC", "", step_id="r2", name="Run B"),
        step("UV/Vis Trace", TRACE, step_id="d2", infrastructure=uses.format("r2")),
        step("UV/Vis Trace", TRACE, step_id="d1", infrastructure=uses.format("r1")),
        step("Chromatography Peak Table", PEAKS, step_id="p1", infrastructure=uses.format("d1")),
    )
    found = read(text)
    assert sorted(row["injection_name"] for row in found.tables["chromatograms"]) == ["Run B", "SEQ_1"]
    assert {peak["injection_name"] for peak in found.tables["vendor_peaks"]} == {"SEQ_1"}
    assert "tom" not in repr(found)


def test_channels_of_one_injection_have_distinct_names() -> None:
    text = document(
        step("HPLC", TRACE + TRACE + result("B", 4, TIME, SIGNAL.replace("UV 254", "Signal"), SIGNAL.replace("UV 254", "Value")))
    )
    rows = read(text).tables["chromatograms"]
    assert [row["channel"] for row in rows] == ["UV 254", "UV 254 #2", "B Signal", "B Value"]


def test_pressure_is_status_and_spectra_are_left_out() -> None:
    pressure = series("Pump pressure", individual("F", [1, 2, 3, 4]), kind="Float32", unit="bar")
    wavelength = series("Wavelength", individual("F", [200, 201]), kind="Float32", dependency="independent", unit="nm")
    spectrum = result("Spectrum", 2, wavelength, series("Intensity", individual("F", [1, 2]), kind="Float32"))
    found = read(document(step("HPLC", result("t", 4, TIME, pressure) + spectrum)))
    assert found.tables["instrument_status"][0]["signal"] == "Pump pressure"
    assert found.warnings == ["not read: 1 series set(s) 'Spectrum' without an axis of time"]
    assert rule_of(document(step("HPLC", spectrum))) == "unsupported"


def test_reported_values_of_other_techniques() -> None:
    body = (
        '<Result name="Weighing"><Category name="Mass"><Parameter name="Net" parameterType="Float64"><D>10.25</D><Unit label="mg" quantity="mass"/>'
        '</Parameter><Parameter name="Stable" parameterType="Boolean"><Boolean>true</Boolean></Parameter></Category></Result>'
    )
    text = document(step("Weighing", body, infrastructure=SAMPLE + "<Timestamp>2024-03-04T05:06:07</Timestamp>"))
    net, stable = read(text, zone="Europe/Berlin").tables["measurements"]
    assert (net["technique"], net["quantity"], net["value"], net["unit"], net["position"]) == (
        "Weighing",
        "Net",
        10.25,
        "mg",
        "Weighing / Mass",
    )
    assert (net["sample_name"], net["measurement_no"], net["zone_known"]) == ("LOT-1", 1, False)
    assert net["measured_at_utc"] == datetime(2024, 3, 4, 4, 6, 7, tzinfo=UTC)
    assert (stable["value"], stable["value_text"]) == (None, "true")


WELLS = series(
    "Position",
    "<AutoIncrementedValueSet><StartValue><I>0</I></StartValue><Increment><I>1</I></Increment></AutoIncrementedValueSet>",
    kind="Int32",
    dependency="independent",
)
READ = series("Value", individual("F", [0.0996, 0.2146, "NaN"]), kind="Float32", unit="OD")
GROUP = series("Sample Group", individual("S", ["one", "one", ""]), kind="String")


def test_values_by_position_on_a_plate() -> None:
    short = series("Delay", individual("F", [0.26]), kind="Float32", unit="s")
    text = document(step("Microplate Read", result("Read", 3, WELLS, READ, GROUP, short), infrastructure=SAMPLE, method=METHOD))
    found = read(text)
    first, second, third = found.tables["measurements"]
    assert (first["quantity"], first["value"], first["unit"], first["position"]) == ("Value", 0.0996, "OD", "Read / 0")
    assert (second["value"], second["position"], second["rescued"]["Sample Group"]) == (0.2146, "Read / 1", "one")
    assert (third["value"], third["value_text"], third["position"]) == (None, "NaN", "Read / 2")
    assert first["rescued"]["Pump / Flow"] == "1.5 mL/min"
    assert (first["measurement_no"], first["sample_name"], first["technique"]) == (1, "LOT-1", "Microplate Read")
    assert found.warnings == ["step 1, 'Read': 1 values of 'Delay' for 3 positions are left out"]


def test_values_by_position_that_are_cut_or_have_another_axis() -> None:
    wells = series("Well", individual("S", ["A1", "A2"]), kind="String", dependency="independent")
    with pytest.raises(UnreadableFileError, match="3 positions are stated, 2 are there"):
        read(document(step("Microplate Read", result("Read", 3, wells, READ))))
    wavelength = series("Wavelength", individual("F", [400, 500, 600]), kind="Float32", dependency="independent", unit="nm")
    with pytest.raises(UnreadableFileError, match="technique 'UV'"):
        read(document(step("UV", result("Read", 3, wavelength, READ))))


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('length="4"', 'length="5"', "truncated"),
        ('endIndex="3"', 'endIndex="2"', "truncated"),
        ('endIndex="3"', 'endIndex="99999999999"', "too_large"),
        ('endIndex="3"', 'endIndex="x"', "not_a_number"),
        (packed("f", [1, 2.5, -3, 0.25]), packed("f", [1, 2.5, -3]), "truncated"),
        (packed("f", [1, 2.5, -3, 0.25]), packed("f", [1, 2.5, -3, float("nan")]), "not_finite"),
        (packed("f", [1, 2.5, -3, 0.25]), packed("f", [1, 2.5, -3, 0.25])[:-3], "truncated"),
        (packed("f", [1, 2.5, -3, 0.25]), "!!!!", "not_a_number"),
        ("<Increment><D>0.5", "<Increment><D>0", "duplicate_x"),
        ("<Increment><D>0.5", "<Increment><D>-1", "descending_x"),
        ("<Increment><D>0.5", "<Increment><D>0,5", "not_a_number"),
        ("<D>0.5</D><D>1.25</D>", "", "truncated"),
        ("</AnIML>", "", "truncated"),
        ("<AnIML", "<AnIMLs", "truncated"),
        ("UTF-8", "utf-99", "encoding"),
    ],
)
def test_whole_document_is_refused(old: str, new: str, rule: str) -> None:
    text = run()
    assert old in text
    for column in ("Start Time", "End Time", "Area", "Retention Factor"):
        text = text.replace(f'name="{column}"', f'name="x{column}x"')
    assert rule_of(text.replace(old, new)) == rule


def test_bad_number_of_a_peak_is_a_rejected_row() -> None:
    found = read(run().replace("1234.5", "1.412.698.315"))
    assert [peak["peak_name"] for peak in found.tables["vendor_peaks"]] == ["IMP-A"]
    assert [(row.rule, row.source_row) for row in found.rejected] == [("not_a_number", 1)]


BOMB = '<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("hostile", [BOMB, OUTSIDE, '<!DOCTYPE AnIML SYSTEM "http://x.org/a.dtd">'])
def test_hostile_documents(hostile: str) -> None:
    text = (
        run()
        .replace("<AnIML", hostile + "<AnIML", 1)
        .replace("A. Analyst", "&b;" if hostile is BOMB else "&a;" if hostile is OUTSIDE else "x")
    )
    assert READER.sniff("x.xml", text.encode()) == 100
    assert rule_of(text) == "hostile_xml"


def test_deep_nesting_is_refused_quickly() -> None:
    assert rule_of(f'<AnIML xmlns="{NAMESPACE}">' + "<a>" * 100_000) == "hostile_xml"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1", "windows-1252"])
def test_encodings(encoding: str) -> None:
    declared = encoding.removesuffix("-sig")
    text = run().replace("LOT-1", "Prüfling µ").replace("UTF-8", declared)
    assert READER.sniff("x", text.encode(encoding)) == 100
    assert read(text.encode(encoding)).tables["chromatograms"][0]["sample_name"] == "Prüfling µ"


def test_foreign_files_are_not_taken() -> None:
    for head in (b"", b"<html><body>AnIML</body></html>", b"<?xml version='1.0'?><GAML/>", b"AnIML", b"<!-- <AnIML> --><x/>", b"<!DOCTYPE"):
        assert READER.sniff("x.animl", head) == 0


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
    data = bytearray(run().encode())
    if draw.draw(st.booleans()):
        del data[draw.draw(st.integers(0, len(data))) :]
    for _ in range(draw.draw(st.integers(0, 3))):
        at = draw.draw(st.integers(0, len(data)))
        data[at : at + draw.draw(st.integers(0, 6))] = draw.draw(st.binary(max_size=4) | st.sampled_from([b"9", b"<I>", b"&amp;", b'"']))
    try:
        tables = read(bytes(data)).tables
    except UnreadableFileError:
        return
    assert tables
    for row in tables.get("chromatograms", []):
        assert np.isfinite(row["y"]).all()
        assert (np.diff(row["x"]) > 0).all()
