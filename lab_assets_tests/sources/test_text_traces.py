"""Empower ``.arw``, Chromeleon text and long-format tables; layouts of public real files, numbers small enough to check by eye."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources.builders import arw, chromeleon, read, rule_of
from lab_assets_tests.sources.text_tables import LONG


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_arw_layouts_say_the_same(end: str, pairs: bool) -> None:
    """Legend in one line or in pairs, and the three line ends; date and zone as in a public Alliance export."""
    result = read(arw(pairs=pairs, end=end), "SEQ_004_2489 ChA.arw")
    assert result.format == "arw"
    (row,) = result.tables["chromatograms"]
    assert row["x"].tolist() == [0.0, 0.008333333, 0.01666667]
    assert row["y"].tolist() == [0.0, 0.18279, -0.4542]
    assert (row["channel"], row["sample_name"], row["instrument_name"]) == ("2489 ChA", "LOT-1", "Alliance 2")
    assert (row["x_unit"], row["y_unit"], row["injection_name"]) == ("min", "AU", "SEQ_004")
    assert row["injected_at_utc"] == datetime(2022, 1, 7, 15, 22, 48, tzinfo=UTC)
    assert row["zone_known"] is True
    assert row["rescued"]["channeldescription"] == "254nm"


def test_arw_system_pressure_is_status_and_stated_injection_name_wins() -> None:
    text = arw(overrides={"Channel": "System Pressure", "Units": "psi", "Injection Name": "SEQ_9"})
    tables = read(text, "x_System Pressure.arw").tables
    assert list(tables) == ["instrument_status"]
    assert (tables["instrument_status"][0]["injection_name"], tables["instrument_status"][0]["y_unit"]) == ("SEQ_9", "psi")


def test_arw_without_quotes_whose_sample_is_a_number() -> None:
    row = read(arw(overrides={"SampleName": "4711"}).replace('"', ""), "a.arw").tables["chromatograms"][0]
    assert (row["sample_name"], row["n_points"], row["channel"]) == ("4711", 3, "2489 ChA")


def test_arw_credentials_reach_nothing() -> None:
    result = read(arw(overrides={"Password": "hunter2", "User Name": "tom1"}), "a.arw")
    assert "hunter2" not in repr(result)
    assert "tom1" not in repr(result)


def test_arw_faults() -> None:
    legend = arw().rsplit("0.0\t0.0", 1)[0]
    assert rule_of(legend, "a.arw")[0] == "empty"
    assert rule_of(legend.replace('"SampleName"', '"SampleName"') + "Wavelength\t200\t201\r0.1\t1\t2\r", "a.arw")[0] == "unsupported"
    assert rule_of(arw().replace("0.18279", "x"), "a.arw") == ("not_a_number", "line 4")
    assert rule_of(arw().rstrip("\r")[:-4] + "", "a.arw")[0] in {"", "truncated"}
    assert rule_of(arw()[: -len("0.4542\r")], "a.arw")[0] == "truncated"


def test_chromeleon_english() -> None:
    result = read(chromeleon())
    assert (result.format, result.warnings) == ("chromeleon_text", [])
    (row,) = result.tables["chromatograms"]
    assert row["y"].tolist() == [-0.0896, -0.03875, 1.0199, -0.0107]
    assert (row["injection_name"], row["channel"], row["instrument_name"], row["method_name"]) == (
        "SEQ-9_003",
        "ED_1",
        "HPLC-4",
        "ASSAY-01",
    )
    assert (row["x_unit"], row["y_unit"]) == ("min", "nC")
    assert row["injected_at_text"] == "26.05.2017 16:52:02"
    assert row["injected_at_utc"] == datetime(2017, 5, 26, 16, 52, 2, tzinfo=UTC)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252", "utf-8"])
def test_chromeleon_german_machine(encoding: str) -> None:
    """Decimal commas, dd.mm.yyyy, BOM or Windows-1252 with a micro sign, CRLF."""
    data = chromeleon(",").replace("\n", "\r\n").encode(encoding)
    row = read(data).tables["chromatograms"][0]
    assert row["x"].tolist() == [0.0, 0.016667, 0.033333, 0.05]
    assert row["rescued"]["injection volume (µl)"] == "25.0"


def test_chromeleon_offset_and_us_clock() -> None:
    row = read(chromeleon(date="5/26/2017", time="4:52:02 PM +02:00")).tables["chromatograms"][0]
    assert (row["injected_at_utc"], row["zone_known"]) == (datetime(2017, 5, 26, 14, 52, 2, tzinfo=UTC), True)


def test_chromeleon_pressure_is_status() -> None:
    text = chromeleon(unit="bar").replace("Channel\tED_1", "Channel\tPump_Pressure")
    assert list(read(text).tables) == ["instrument_status"]


def test_chromeleon_stated_count() -> None:
    """Whole last line: shortened on purpose, a warning. Cut last line: refused."""
    short = chromeleon(n_stated=3241)
    assert read(short).warnings == ["3241 points are stated, 4 are there"]
    assert rule_of(short[:-1])[0] == "truncated"
    assert rule_of(short[:-5])[0] == "truncated"
    assert rule_of(chromeleon().rstrip("\n")) == ("", "")
    assert rule_of(chromeleon()[:-3])[0] == "truncated"


def test_chromeleon_without_data() -> None:
    assert rule_of(chromeleon().split("Chromatogram Data:\n")[0])[0] == "truncated"
    assert rule_of(chromeleon().split("0.000000\tn.a.")[0])[0] == "empty"
    assert rule_of(chromeleon().replace("Value (nC)", "Result (nC)"))[0] == "missing_column"


def test_long_table_channels() -> None:
    result = read(LONG)
    uv, rid = result.tables["chromatograms"]
    assert (uv["channel"], uv["y"].tolist(), rid["channel"], rid["x"].tolist()) == ("UV", [-0.6, 1.5], "RID-10A", [0.0, 0.5])
    assert (uv["injection_name"], uv["sample_name"], uv["x_unit"], uv["y_unit"]) == ("A1", "A1", "min", "")
    assert (uv["injected_at_text"], uv["injected_at_utc"], uv["instrument_name"]) == (None, None, None)
    assert (uv["source_row"], rid["source_row"]) == (2, 4)


def test_long_table_column_order_and_interleaved_lines() -> None:
    text = "Detector,File,Intensity (mV),Seconds\nA,x.lcd,1,0\nB,x.lcd,5,0\nA,x.lcd,2,1\nB,x.lcd,oops,1\n"
    assert rule_of(text) == ("not_a_number", "line 5")
    first, second = read(text.replace("oops", "6")).tables["chromatograms"]
    assert (first["y"].tolist(), second["y"].tolist(), first["y_unit"], first["x_unit"]) == ([1.0, 2.0], [5.0, 6.0], "mV", "s")


def test_long_table_faults() -> None:
    assert rule_of(LONG.splitlines()[0] + "\n")[0] == "empty"
    for cut in range(2, 25):
        assert rule_of(LONG[:-cut])[0] == "truncated", cut
    assert rule_of(LONG[:-1]) == ("", "")
    assert rule_of(LONG.replace('1.5\t"A1.lcd"', "1.5")) == ("field_count", "line 3")
    assert rule_of(LONG.replace('"UV"', '""'))[0] == "missing_value"


@needs_samples
def test_real_sequence() -> None:
    """A1: three detectors; first and last points read off the file."""
    folder = samples_dir()
    assert folder is not None
    rows = read((folder / "hplc_sequence" / "A1.txt").read_bytes(), "A1.txt").tables["chromatograms"]
    assert [row["channel"] for row in rows] == ["SPD-20A 260nm", "SPD-20A 210nm", "RID-10A"]
    assert (rows[0]["x"][1], rows[0]["y"][1]) == (0.0183327775925308, -0.991)
    assert (rows[2]["x"][-1], rows[2]["y"][-1], rows[2]["n_points"]) == (50.0, 5.556, 6000)


@needs_samples
def test_real_chromeleon_file() -> None:
    folder = samples_dir()
    assert folder is not None
    result = read((folder / "chromeleon_text" / "chromeleon_period.txt").read_bytes())
    row = result.tables["chromatograms"][0]
    assert (row["n_points"], row["x"][-1], row["y"][-1]) == (10, 0.15, -0.0251)
    assert (row["instrument_name"], row["injection_name"]) == ("PC-99HX762_1", "20170526_MME_AA_STD-Mix2")
    assert result.warnings == ["3241 points are stated, 10 are there"]
