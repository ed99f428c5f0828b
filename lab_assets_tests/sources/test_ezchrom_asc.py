"""EZChrom ASCII exports written by hand after public files (two channels, 10 Hz, ``25 µV``)."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.contracts.bronze import PROVENANCE, READER_TABLES
from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.vendors.agilent.ezchrom_asc import EzchromAscReader
from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources.ezchrom_builders import LINES, export

READER = EzchromAscReader()


def read(text: str | bytes, name: str = "2023-06-29-007.dat.asc") -> ReadResult:
    return READER.read(text.encode() if isinstance(text, str) else text, ReadContext(file_name=name))


def rule_of(text: str | bytes) -> tuple[str, str]:
    try:
        read(text)
    except UnreadableFileError as error:
        return error.rule, error.place
    return "", ""


def test_channels_times_and_multipliers() -> None:
    """10 Hz in minutes: point 3 is 0.3 s = 0.005 min; 5 Hz in seconds: point 2 is 0.4 s."""
    found = read(export())
    first, second = found.tables["chromatograms"]
    assert first["x"].tolist() == pytest.approx([0, 0.1 / 60, 0.2 / 60, 0.005], abs=1e-15)
    assert second["x"].tolist() == [0.0, 0.2, 0.4]
    assert (first["y"].tolist(), second["y"].tolist()) == ([17416.0, 17502.0, -17511.0, 17457.0], [100.0, 200.0, 300.0])
    assert (first["x_unit"], first["y_unit"], first["y_factor"], first["channel"]) == ("Minutes", "pA", 0.000130208, "Channel 1")
    assert (second["x_unit"], second["y_unit"], second["y_factor"], second["channel"]) == ("Seconds", "25 µV", 0.5, "Channel 2")
    assert (first["source_row"], second["source_row"]) == (14, 18)
    assert found.warnings == []


def test_header_fields_with_base_names_and_without_the_user() -> None:
    found = read(export())
    row = found.tables["chromatograms"][0]
    assert (row["injection_name"], row["sample_name"], row["method_name"]) == ("2023-06-29-007", "Ni5, run: 2", "polyarc+TCD")
    assert row["injected_at_text"] == "6/29/2023 4:07:41 PM"
    assert row["injected_at_utc"] == datetime(2023, 6, 29, 16, 7, 41, tzinfo=UTC)
    assert row["software"] == "EZChrom (ASCII export version 3)"
    assert "System" not in repr(found)
    assert "tom" not in repr(found)


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends_say_the_same(separator: str, end: str) -> None:
    rows = read(export(separator=separator, end=end)).tables["chromatograms"]
    assert [(row["y"].tolist()[0], row["n_points"], row["y_factor"]) for row in rows] == [(17416.0, 4, 0.000130208), (100.0, 3, 0.5)]
    assert rows[0]["sample_name"] == "Ni5, run: 2"


def test_encodings_and_decimal_comma() -> None:
    latin = export(("6/29/2023 4:07:41 PM", "29.06.2023 16:07:41")).encode("latin-1")
    assert read(latin).tables["chromatograms"][1]["y_unit"] == "25 µV"
    comma = export(
        ("10.000000", "10,000000"), ("5.000000", "5,000000"), ("0.000130208\t0.5", "0,000130208\t0,5"), ("0.016667\t1.0", "0,016667\t1,0")
    )
    row = read("\ufeff" + comma).tables["chromatograms"][0]
    assert (row["y_factor"], row["x"][3]) == (0.000130208, pytest.approx(0.005))


def test_a_channel_without_points_is_left_out() -> None:
    text = export(("Total Data Points:\t4\t3", "Total Data Points:\t0\t7"), ("10.000000", "0.000000"))
    (row,) = read(text).tables["chromatograms"]
    assert (row["channel"], row["n_points"]) == ("Channel 2", 7)
    assert rule_of("\n".join((*LINES, "")).replace("\t4\t3", "\t0\t0"))[0] == "empty"


def test_a_multiplier_that_contradicts_the_unit_is_reported() -> None:
    found = read(export(("X Axis Multiplier:\t0.016667", "X Axis Multiplier:\t1")))
    assert found.tables["chromatograms"][0]["x"][3] == pytest.approx(0.005)
    assert found.warnings == ["X Axis Multiplier 1 does not turn seconds into Minutes; times are from the sampling rate"]


@pytest.mark.parametrize(
    ("old", "new", "rule", "place"),
    [
        ("\t4\t3\tPts.", "\t4\t4\tPts.", "truncated", "line 20"),
        ("\t4\t3\tPts.", "\t4\t2\tPts.", "truncated", "line 20"),
        ("\t4\t3\tPts.", "\t4.5\t3\tPts.", "not_a_number", ""),
        ("17502", "17o02", "not_a_number", "line 15"),
        ("17502", "1.412.698.315", "not_a_number", "line 15"),
        ("17502", "nan", "not_finite", "line 15"),
        ("Hz", "kHz", "unsupported", "line 8"),
        ("\tHz", "", "unsupported", "line 8"),
        ("10.000000", "0", "not_a_number", ""),
        ("10.000000\t5.000000", "10.000000", "truncated", "line 8"),
        ("Minutes", "Furlongs", "unsupported", ""),
        ("Y Axis Multiplier", "Z Axis Multiplier", "missing_section", ""),
    ],
)
def test_whole_file_is_refused_with_rule_and_place(old: str, new: str, rule: str, place: str) -> None:
    assert rule_of(export((old, new))) == (rule, place)


def test_a_cut_file_is_never_read_as_less() -> None:
    whole = export().rstrip()
    for cut in range(1, len(whole)):
        assert rule_of(whole[:-cut])[0], cut
    assert read(whole).warnings == ["the last line has no line end"]


def test_rows_carry_exactly_the_columns_of_their_contract() -> None:
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    contracts = {contract.name: set(contract.column_names) - engine for contract in READER_TABLES}
    found = read(export(("25 µV", "psi")))
    assert set(found.tables) == set(READER.tables)
    for table, rows in found.tables.items():
        assert all(set(row) == contracts[table] for row in rows)


@needs_samples
def test_no_real_sample_is_taken() -> None:
    folder = samples_dir()
    assert folder is not None
    assert READER.sniff("x", export().encode()) == 100
    for path in folder.rglob("*"):
        if path.is_file():
            assert READER.sniff(path.name, path.read_bytes()[: 1 << 16]) == 0, path


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_read_or_refused(draw: st.DataObject) -> None:
    data = bytearray(export().encode())
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data)))
        data[at : at + draw.draw(st.integers(0, 8))] = draw.draw(
            st.binary(max_size=4) | st.sampled_from([b"1e308", b"\t", b",", b"-", b"9" * 30])
        )
    try:
        tables = read(bytes(data)).tables
    except UnreadableFileError:
        return
    for row in (*tables.get("chromatograms", []), *tables.get("instrument_status", [])):
        assert np.isfinite(row["y"]).all()
        assert (np.diff(row["x"]) > 0).all()
