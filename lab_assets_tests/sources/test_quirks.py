"""Habits of real exports, one hand-made file each; every expected number can be read off the file in the test."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.sources.base import ReadContext, UnreadableFileError
from lab_assets.sources.core.moments import parse_moment
from lab_assets.sources.vendors.shimadzu.labsolutions_text import LabSolutionsTextReader
from lab_assets_tests.sources.andi_builders import packed
from lab_assets_tests.sources.builders import (
    LABSOLUTIONS_HEAD,
    LABSOLUTIONS_PEAKS,
    andi,
    arw,
    chromeleon,
    labsolutions,
    labsolutions_trace,
    read,
    rule_of,
)

POINTS = (("0.01000", "-1"), ("0.01833", "2"), ("0.02667", "5"))
TRACE = labsolutions_trace("LC Chromatogram(Detector A-Ch1)", POINTS)
PEAK_NAMES = "Peak#\tR.Time\tI.Time\tF.Time\tArea\tHeight\tConc.\tID#\tName\r\n"
COMPOUND_NAMES = "ID#\tName\tR.Time\tArea\tHeight\tConc.\tUnit\tCurve\t1st\r\n"


def peak_table(*lines: str, name: str = "Detector A-Ch1", names: str = PEAK_NAMES) -> str:
    return f"[Peak Table({name})]\r\n# of Peaks\t{len(lines)}\r\n{names}" + "".join(f"{line}\r\n" for line in lines) + "\r\n"


def compounds(*lines: str, name: str = "Detector A", names: str = COMPOUND_NAMES) -> str:
    return f"[Compound Results({name})]\r\n# of IDs\t{len(lines)}\r\n{names}" + "".join(f"{line}\r\n" for line in lines) + "\r\n"


# Texts


@pytest.mark.parametrize("text", [labsolutions(), chromeleon(), arw()])
def test_byte_order_mark(text: str) -> None:
    plain = read(text, "a.arw").tables["chromatograms"]
    for encoding in ("utf-8-sig", "utf-16"):
        rows = read(text.encode(encoding), "a.arw").tables["chromatograms"]
        assert [row["y"].tolist() for row in rows] == [row["y"].tolist() for row in plain]
        assert rows[0]["injection_name"] == plain[0]["injection_name"]


@pytest.mark.parametrize("text", [labsolutions(), chromeleon(), arw()])
def test_lines_that_end_with_cr_alone(text: str) -> None:
    cr = text.replace("\r\n", "\n").replace("\n", "\r")
    assert read(cr, "a.arw").tables["chromatograms"][0]["n_points"] in {3, 4}


def test_latin_1_micro_sign() -> None:
    text = LABSOLUTIONS_HEAD + labsolutions_trace("LC Chromatogram(RID)", POINTS, unit="µRIU")
    assert read(text.encode("latin-1")).tables["chromatograms"][0]["y_unit"] == "µRIU"
    assert "injection volume (µl)" in read(chromeleon().encode("latin-1")).tables["chromatograms"][0]["rescued"]


def test_decimal_comma_in_every_text_format() -> None:
    comma = [(x.replace(".", ","), y) for x, y in POINTS]
    german = LABSOLUTIONS_HEAD + peak_table("1\t8,238\t7,958\t8,450\t1584\t108\t0,500\t1\tAPI")
    german += labsolutions_trace("LC Chromatogram(Detector A-Ch1)", comma, factor="0,001")
    result = read(german)
    (row,), (peak,) = result.tables["chromatograms"], result.tables["vendor_peaks"]
    assert (row["x"].tolist(), row["y_factor"]) == ([0.01, 0.01833, 0.02667], 0.001)
    assert (peak["retention_time"], peak["amount"]) == (8.238, 0.5)
    assert read(chromeleon(",")).tables["chromatograms"][0]["y"].tolist() == [-0.0896, -0.03875, 1.0199, -0.0107]
    head, mark, points = arw().partition("0.0\t0.0")
    assert read(head + (mark + points).replace(".", ","), "a.arw").tables["chromatograms"][0]["y"].tolist() == [0.0, 0.18279, -0.4542]


# Times


def test_dotted_dates_are_day_first() -> None:
    row = read(LABSOLUTIONS_HEAD.replace("02/08/2023 17:08:21", "02.08.2023 17:08:21") + TRACE).tables["chromatograms"][0]
    assert row["injected_at_utc"] == datetime(2023, 8, 2, 17, 8, 21, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2.8.2023. 17:08:21", "2023. 08. 02. 17:08:21", "2023.08.02. 17:08:21"])
def test_a_dot_behind_every_part_of_a_date(text: str) -> None:
    """Croatian and Hungarian settings."""
    assert parse_moment(text, zone="UTC").utc == datetime(2023, 8, 2, 17, 8, 21, tzinfo=UTC)


def test_twelve_hour_date_that_the_united_states_would_not_write() -> None:
    result = read(chromeleon(date="12/06/2019", time="11:49:36 PM"))
    row = result.tables["chromatograms"][0]
    assert (row["injected_at_text"], row["injected_at_utc"]) == ("12/06/2019 11:49:36 PM", None)
    assert "day or month first" in result.warnings[0]


def test_twelve_hour_dates_of_the_united_states() -> None:
    head = LABSOLUTIONS_HEAD.replace("02/08/2023 17:08:21", "8/2/2023 5:08:21 PM").replace("21/08/2024", "8/21/2024")
    row = read(head.replace("02/08/2023 17:07:47", "8/2/2023 5:07:47 PM") + TRACE).tables["chromatograms"][0]
    assert (row["injected_at_text"], row["injected_at_utc"]) == ("8/2/2023 5:08:21 PM", datetime(2023, 8, 2, 17, 8, 21, tzinfo=UTC))
    midnight = read(chromeleon(date="8/2/2023", time="12:05:00 AM")).tables["chromatograms"][0]
    assert midnight["injected_at_utc"] == datetime(2023, 8, 2, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "month"),
    [("15. maj 2021 08:00:00", 5), ("15.avg.2021 08:00:00", 8), ("15. okt. 2021 08:00:00", 10), ("15-Okt-2021 08:00:00", 10)],
)
def test_slovene_month_names(text: str, month: int) -> None:
    row = read(LABSOLUTIONS_HEAD.replace("02/08/2023 17:08:21", text) + TRACE).tables["chromatograms"][0]
    assert (row["injected_at_text"], row["injected_at_utc"]) == (text, datetime(2021, month, 15, 8, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "hour", "minute"), [("2019/07/18 午後 7:45:56", 19, 45), ("2019/7/18 上午 07:45:56", 7, 45), ("2019/7/18 午前 0:05:56", 0, 5)]
)
def test_half_of_the_day_before_the_clock(text: str, hour: int, minute: int) -> None:
    assert parse_moment(text, zone="UTC").utc == datetime(2019, 7, 18, hour, minute, 56, tzinfo=UTC)


def test_month_before_the_day() -> None:
    assert parse_moment("May 26, 2017 4:52:02 PM", zone="UTC").utc == datetime(2017, 5, 26, 16, 52, 2, tzinfo=UTC)


@pytest.mark.parametrize("stamp", ["1900,01,01,00,00,00", "39910101000000+0000"])
def test_impossible_andi_dates_stay_text(stamp: str) -> None:
    result = read(andi(attributes={"injection_date_time_stamp": stamp}), "a.cdf")
    assert result.tables["chromatograms"][0]["injected_at_text"] == stamp
    assert result.tables["chromatograms"][0]["injected_at_utc"] is None
    assert len(result.warnings) == 1


# Names and numbers


def test_names_stay_verbatim() -> None:
    """``10M`` for 10MG is for people to mend, not for a reader."""
    assert (
        read(labsolutions().replace("Sample Name\tSTD 1", "Sample Name\tTAB 10M  b")).tables["chromatograms"][0]["sample_name"]
        == "TAB 10M  b"
    )
    assert read(arw(overrides={"SampleName": "10M"}), "a.arw").tables["chromatograms"][0]["sample_name"] == "10M"


@pytest.mark.parametrize("number", ["1.412.698.315", "1,412,698,315", "1.41E+0.9", "1 412"])
def test_numbers_spoiled_by_a_spreadsheet_are_refused_with_their_line(number: str) -> None:
    assert rule_of(labsolutions().replace("0.01833\t2", f"0.01833\t{number}"))[0::1] == ("not_a_number", "line 43")
    assert rule_of(chromeleon().replace("-0.038750", number)) == ("not_a_number", "line 21")
    assert rule_of(chromeleon(",").replace("-0,038750", number)) == ("not_a_number", "line 21")
    assert rule_of(arw().replace("0.18279", number), "a.arw") == ("not_a_number", "line 4" if "," not in number else "line 3")
    rejected = read(labsolutions().replace("904583", number)).rejected
    assert [(row.rule, row.source_row) for row in rejected] == [("not_a_number", 32)]


# LabSolutions


def test_compound_results_fill_what_the_peak_table_leaves_empty() -> None:
    """By ID; by retention time; never over a name that is there. A compound that was not found stays beside the trace."""
    text = LABSOLUTIONS_HEAD + peak_table(
        "1\t8.238\t8.0\t8.4\t1584\t108\t0.000\t\t",
        "2\t11.395\t11.0\t12.0\t900\t90\t27.775\t1\tGlucose",
        "3\t15.593\t15.0\t16.0\t500\t50\t\t2\t",
    )
    text += compounds(
        "1\tGlucose\t11.395\t900\t90\t27.775\tg/L\tLinear\t3.2e+004",
        "2\tLactate\t15.593\t500\t50\t50.000\tg/L\tLinear\t9.8e+003",
        "3\tFormate\t0.000\t0\t0\t0.000\tg/L\tLinear\t0.0e+000",
        "4\tVoid\t8.238\t1584\t108\t1.500\tg/L\tLinear\t1.0e+000",
    )
    result = read(text + TRACE)
    void, glucose, lactate = result.tables["vendor_peaks"]
    assert [(peak["peak_name"], peak["amount"], peak["amount_unit"]) for peak in (void, glucose, lactate)] == [
        ("Void", 1.5, "g/L"),
        ("Glucose", 27.775, "g/L"),
        ("Lactate", 50.0, "g/L"),
    ]
    assert lactate["rescued"] == {"ID#": "2", "Curve": "Linear", "1st": "9.8e+003"}
    (row,) = result.tables["chromatograms"]
    assert row["rescued"]["compound 3 Formate"] == "R.Time 0.000; Area 0; Height 0; Conc. 0.000; Unit g/L; Curve Linear; 1st 0.0e+000"
    assert result.warnings == []


def test_compound_results_that_contradict_the_peak_table_are_reported() -> None:
    text = LABSOLUTIONS_HEAD + peak_table("1\t8.238\t8.0\t8.4\t1584\t108\t2.5\t1\tAPI", "2\t9.5\t9.0\t9.9\t1\t1\t1.0\t2\tIMP") + TRACE
    lines = ("1\tAPI\t8.238\t1584\t108\t3.5\tg/L\tLinear\t1", "2\tOTHER\t9.500\t1\t1\t1.0\tg/L\tLinear\t1")
    result = read(text + compounds(*lines))
    assert [peak["amount"] for peak in result.tables["vendor_peaks"]] == [2.5, 1.0]
    assert [peak["peak_name"] for peak in result.tables["vendor_peaks"]] == ["API", "IMP"]
    assert len(result.warnings) == 2
    assert rule_of(text + compounds(*lines).replace("# of IDs\t2", "# of IDs\t3"))[0] == "truncated"


def test_unit_of_the_concentration_in_its_column_name() -> None:
    names = PEAK_NAMES.replace("Conc.", "Conc.(mg/L)").replace("R.Time", "R.Time (min)")
    (peak,) = read(LABSOLUTIONS_HEAD + peak_table("1\t8.238\t8.0\t8.4\t1584\t108\t2.5\t1\tAPI", names=names) + TRACE).tables["vendor_peaks"]
    assert (peak["retention_time"], peak["amount"], peak["amount_unit"]) == (8.238, 2.5, "mg/L")


def test_pda_channels_have_the_names_of_their_peak_tables() -> None:
    pda = labsolutions_trace("PDA Multi Chromatogram(Ch1)", POINTS).replace("Intensity Units", "Wavelength(nm)\t215\r\nIntensity Units")
    text = LABSOLUTIONS_HEAD + peak_table("1\t8.238\t8.0\t8.4\t1584\t108\t2.5\t1\tAPI", name="PDA-Ch1") + pda
    result = read(text + labsolutions_trace("Chromatogram (Ch1)", POINTS) + "[PDA 3D]\r\n# of Points\t1\r\n")
    pda_row, plain = result.tables["chromatograms"]
    assert (pda_row["channel"], pda_row["rescued"]["Wavelength(nm)"], plain["channel"]) == ("PDA-Ch1", "215", "Ch1")
    assert result.tables["vendor_peaks"][0]["channel"] == "PDA-Ch1"
    assert result.warnings == ["[PDA 3D] is not read"]
    assert rule_of(LABSOLUTIONS_HEAD + "[PDA 3D]\r\n# of Points\t1\r\n")[0] == "unsupported"


def test_traces_of_one_name_are_kept_apart() -> None:
    text = LABSOLUTIONS_HEAD + labsolutions_trace("Chromatogram (Ch1)", POINTS) * 2 + labsolutions_trace("LC Chromatogram(Ch1)", POINTS)
    rows = read(text).tables["chromatograms"]
    assert [row["channel"] for row in rows] == ["Ch1", "Chromatogram Ch1", "LC Chromatogram Ch1"]


def test_every_status_trace_is_status() -> None:
    names = ("Pump A Pressure", "Pump B Pressure", "Oven Temperature", "UV Cell Temp.", "Room Temp.", "Cooler", "Degasser Vacuum")
    text = LABSOLUTIONS_HEAD + TRACE + "".join(labsolutions_trace(f"LC Status Trace({name})", POINTS, unit="MPa") for name in names)
    result = read(text)
    assert [row["signal"] for row in result.tables["instrument_status"]] == list(names)
    assert [row["channel"] for row in result.tables["chromatograms"]] == ["Detector A-Ch1"]


def test_batch_export_of_several_injections_in_one_file() -> None:
    other = (LABSOLUTIONS_HEAD + TRACE).replace("SEQ_007", "SEQ_008").replace("STD 1", "STD 2").replace("0.01833\t2", "0.01833\t3")
    rows = read(labsolutions() + other).tables["chromatograms"]
    assert [(row["injection_name"], row["sample_name"]) for row in rows] == [("SEQ_007", "STD 1")] * 2 + [("SEQ_008", "STD 2")]
    assert rows[2]["y"].tolist() == [-1.0, 3.0, 5.0]
    again = read(labsolutions() * 2)
    assert [row["injection_name"] for row in again.tables["vendor_peaks"]] == ["SEQ_007"] * 2 + ["SEQ_007 #2"] * 2
    assert again.warnings == ["2 injections are of the data file 'SEQ_007'; they are numbered"]


@pytest.mark.parametrize("separator", [",", ";"])
def test_other_separators_and_quoted_names(separator: str) -> None:
    text = labsolutions().replace("\t", separator).replace("Glucose", f'"Glucose{separator} D"')
    result = read(text)
    assert result.tables["vendor_peaks"][1]["peak_name"] == f"Glucose{separator} D"
    assert result.tables["chromatograms"][1]["y"].tolist() == [10.0, 40.0, 1234.0]


def test_total_ion_chromatogram_of_gcms() -> None:
    trace = "[MS Chromatogram]\r\nm/z\tTIC\r\n# of Points\t2\r\nRet.Time\tAbsolute Intensity\tRelative Intensity\r\n2.000\t100\t50.0\r\n2.005\t200\t100.0\r\n\r\n"
    peaks = "[MC Peak Table]\r\n# of Peaks\t1\r\nMass\tTIC\r\nPeak#\tRet.Time\tProc.From\tProc.To\tMass\tArea\tHeight\tName\r\n1\t2.003\t2.0\t2.1\tTIC\t7\t3\tEthanol\r\n\r\n"
    head = LABSOLUTIONS_HEAD.replace("LabSolutions\r\n", "GCMSsolution\r\n")
    result = read(head + peaks + trace)
    (row,), (peak,) = result.tables["chromatograms"], result.tables["vendor_peaks"]
    assert (row["channel"], row["y"].tolist(), row["x_unit"]) == ("MS TIC", [100.0, 200.0], "")
    assert (peak["channel"], peak["peak_name"], peak["start_time"], peak["end_time"]) == ("MS TIC", "Ethanol", 2.0, 2.1)


GCMS_HEAD = (
    "[Header]\r\nData File Name\tC:\\gcms\\SEQ_9.qgd\r\nOutput Date\t10/26/2018\r\nOutput Time\t6:39:07 PM\r\n\r\n"
    "[Sample Information]\r\nOperator Name\tAnn\r\nAnalyzed\t10/22/2018 1:07:50 PM\r\nSample Name\tS-9\r\nSample ID\t\r\nVial#\t4\r\n"
    "Injection Volume\t1\r\nInjection Count\t1\r\n\r\n"
)


def gcms_trace(mass: str) -> str:
    head = f"[MS Chromatogram]\r\nm/z\t{mass}\r\nEvent Time(msec)\t200\r\n# of Points\t2\r\nStart Time(min)\t2.000\r\n"
    return f"{head}Ret.Time\tAbsolute Intensity\tRelative Intensity\r\n2.000\t100\t50.0\r\n2.005\t200\t100.0\r\n"


def test_gcms_that_names_no_application_and_several_masses() -> None:
    """Sample, vial and injection are fields of Empower as well; the time is called ``Analyzed``, its unit is that of the start."""
    columns = "Peak#\tRet.Time\tProc.From\tProc.To\tMass\tArea\tHeight\tName"
    peaks = f"[MC Peak Table]\r\n# of Peaks\t1\r\nMass\tTIC\r\n{columns}\r\n1\t2.003\t2.0\t2.1\tTIC\t7\t3\tEthanol\r\n\r\n"
    performance = "[MS Column Performance Table]\r\n# of Peaks\t1\r\nPeak#\tk'\r\n1\t0.5\r\n\r\n"
    result = read(GCMS_HEAD + peaks + performance + gcms_trace("1-1 TIC") + gcms_trace("1-1 92.00"))
    assert result.format == "labsolutions_text"
    total, other = result.tables["chromatograms"]
    assert (total["channel"], other["channel"], total["x_unit"]) == ("MS 1-1 TIC", "MS 1-1 92.00", "min")
    assert (total["injected_at_text"], total["injected_at_utc"]) == ("10/22/2018 1:07:50 PM", datetime(2018, 10, 22, 13, 7, 50, tzinfo=UTC))
    assert [peak["channel"] for peak in result.tables["vendor_peaks"]] == ["MS 1-1 TIC"]
    assert result.warnings == ["[MS Column Performance Table] is not read"]


def batch_of_tables(tables: str) -> str:
    return LABSOLUTIONS_HEAD + tables + (LABSOLUTIONS_HEAD + tables).replace("SEQ_007", "SEQ_008").replace("STD 1", "STD 2")


def test_batch_of_peak_tables_without_chromatograms() -> None:
    result = read(batch_of_tables(LABSOLUTIONS_PEAKS))
    assert list(result.tables) == ["vendor_peaks"]
    peaks = result.tables["vendor_peaks"]
    assert [(peak["injection_name"], peak["channel"], peak["peak_no"]) for peak in peaks] == [
        (name, "Detector B", number) for name in ("SEQ_007", "SEQ_008") for number in (1, 2)
    ]
    assert (peaks[3]["area"], peaks[3]["rescued"]["Sample Name"]) == (904583.0, "STD 2")
    assert peaks[0]["rescued"]["Acquired"] == "02/08/2023 17:08:21"
    assert result.warnings == ["the export has no chromatograms, only tables of peaks"]


def test_compound_results_stand_for_a_missing_peak_table() -> None:
    columns = "ID#\tName\tR.Time\tArea\tHeight\tConc.\tCurve"
    rows = (
        "1\tNa+\t3.677\t14728\t2041\t0.103\tLinear\r\n2\tMg2+\t0.000\t0\t0\t0.000\tLinear\r\n3\tK+\t5.319\t3809\t382\t0.626\tLinear\r\n\r\n"
    )
    tables = f"[Compound Results(Detector A)]\r\n# of IDs\t3\r\n{columns}\r\n{rows}[Compound Results(Detector B)]\r\n# of IDs\t0\r\n\r\n"
    result = read(batch_of_tables(tables))
    sodium, potassium, *others = result.tables["vendor_peaks"]
    assert (sodium["channel"], sodium["peak_no"], sodium["peak_name"], sodium["retention_time"]) == ("Detector A", 1, "Na+", 3.677)
    assert (potassium["peak_no"], potassium["peak_name"], potassium["amount"], potassium["rescued"]["ID#"]) == (2, "K+", 0.626, "3")
    assert len(others) == 2
    assert "SEQ_007, Detector A: compounds that were not found: compound 2 Mg2+" in result.warnings
    with_trace = read(LABSOLUTIONS_HEAD + tables + TRACE)
    assert [peak["peak_name"] for peak in with_trace.tables["vendor_peaks"]] == ["Na+", "K+"]
    assert with_trace.tables["chromatograms"][0]["rescued"]["compound 2 Mg2+"]


def test_tables_without_chromatograms_that_may_be_a_cut_file() -> None:
    """A single injection, a batch whose last injection lacks a table, or one of which others have chromatograms."""
    other = LABSOLUTIONS_PEAKS.replace("Detector B", "Detector A")
    assert rule_of(LABSOLUTIONS_HEAD + LABSOLUTIONS_PEAKS)[0] == "missing_section"
    assert rule_of(batch_of_tables(other + LABSOLUTIONS_PEAKS).removesuffix(LABSOLUTIONS_PEAKS))[0] == "missing_section"
    assert rule_of(labsolutions() + LABSOLUTIONS_HEAD + LABSOLUTIONS_PEAKS)[0] == "missing_section"
    assert rule_of(batch_of_tables(LABSOLUTIONS_PEAKS)[:-20])[0] == "truncated"
    assert rule_of(batch_of_tables(""))[0] == "missing_section"


def test_a_text_without_sections_is_refused() -> None:
    with pytest.raises(UnreadableFileError, match="missing_section"):
        LabSolutionsTextReader().read(b"nothing of this format\n", ReadContext(file_name="x"))


# Chromeleon


def test_chromeleon_thousands_separators() -> None:
    """Both marks in one number leave no doubt; the stated count may be grouped too."""
    german = chromeleon(",", n_stated=4).replace("1,019900", "1.234,567890").replace("Data Points\t4", "Data Points\t3.241")
    result = read(german)
    assert result.tables["chromatograms"][0]["y"][2] == 1234.56789
    assert result.warnings == ["thousands separators are left out of the numbers", "3241 points are stated, 4 are there"]
    english = chromeleon().replace("1.019900", "-1,234.567890")
    assert read(english).tables["chromatograms"][0]["y"][2] == -1234.56789


def test_chromeleon_points_without_a_value() -> None:
    result = read(chromeleon().replace("-0.089600", "n.a.").replace("-0.010700", "n.a."))
    assert result.tables["chromatograms"][0]["x"].tolist() == [0.016667, 0.033333]
    assert result.warnings == ["2 points without a value (n.a.) at the ends of the trace are left out"]
    assert rule_of(chromeleon().replace("-0.038750", "n.a.")) == ("not_a_number", "line 21")
    every = chromeleon().replace("-0.038750", "n.a.").replace("-0.089600", "n.a.").replace("1.019900", "n.a.").replace("-0.010700", "n.a.")
    assert rule_of(every)[0] == "empty"


def test_chromeleon_several_blocks() -> None:
    second = chromeleon().replace("ED_1", "UV_1").replace("nC", "mAU").replace("1.019900", "2.019900")
    first, other = read(chromeleon() + "\n" + second).tables["chromatograms"]
    assert (first["channel"], first["y_unit"], first["y"].tolist()[2]) == ("ED_1", "nC", 1.0199)
    assert (other["channel"], other["y_unit"], other["y"].tolist()[2]) == ("UV_1", "mAU", 2.0199)
    same = read(chromeleon() + "\n" + chromeleon())
    assert [row["channel"] for row in same.tables["chromatograms"]] == ["ED_1", "ED_1 #2"]
    assert read(chromeleon() + "\nPeak Results:\nNo.\tTime\n").warnings == ["not read: Peak Results:"]
    assert rule_of(chromeleon() + "\n" + second.split("0.000000\tn.a.")[0])[0] == "empty"
    assert rule_of(chromeleon() + "\nChromatogram Data:")[0] == "truncated"


def test_chromeleon_pda_is_refused() -> None:
    assert rule_of(chromeleon().replace("Value (nC)", "200.0\t201.0"))[0] == "unsupported"


CHROMELEON_6 = (
    "Filepath\tC:\\Chromel\\data\\Ann\\S-1.SEQ\\UV_VIS_1.CHL\\20.acd\nChannel\tUV_VIS_1\n\n"
    "Sample Information:\nSequence\tHPLC\\Ann\\S-1.SEQ\nSample\tLOT-7 0h\nQNT method\tQUANT-2\nPGM file\tRUN-3\nDate\t02.03.2023\nTime\t07:44:41\n\n"
    "Raw Data Header Information:\nData Points\t3\nDetector\tVWD3000.dll\nData System\tChromeleon\nVersion High\t06\nVersion Low\t80\n"
    "Signal Dimension\tmAU\nSignal Unit\tAbsorbance\n\nSignal Parameter Information:\nSignal Info\tWVL:254 nm\n\t \n\n\n\n"
    "Raw Data:\nTime(min)\tStep(sec)\tValue(mAU)\n0,000000\t0,00\t0,126890\t\n0,001667\t0,10\t0,126930\t\n0,003333\t0,10\t-1,5\t\n"
)


def test_chromeleon_6() -> None:
    result = read(CHROMELEON_6)
    assert (result.format, result.warnings) == ("chromeleon_text", [])
    (row,) = result.tables["chromatograms"]
    assert (row["x"].tolist(), row["y"].tolist()) == ([0.0, 0.001667, 0.003333], [0.12689, 0.12693, -1.5])
    assert (row["injection_name"], row["channel"], row["x_unit"], row["y_unit"]) == ("LOT-7 0h", "UV_VIS_1", "min", "mAU")
    assert (row["injected_at_text"], row["injected_at_utc"]) == ("02.03.2023 07:44:41", datetime(2023, 3, 2, 7, 44, 41, tzinfo=UTC))
    assert (row["software"], row["method_name"], row["instrument_name"]) == ("Chromeleon 6.80", "RUN-3", None)
    assert (row["rescued"]["processing method"], row["rescued"]["signal quantity"], row["rescued"]["sequence"]) == (
        "QUANT-2",
        "Absorbance",
        "S-1.SEQ",
    )
    assert "Ann" not in str(row)
    assert rule_of(CHROMELEON_6[:-4])[0] == "truncated"
    assert read(CHROMELEON_6.replace("Data Points\t3", "Data Points\t30")).warnings == ["30 points are stated, 3 are there"]


def test_chromeleon_first_points_without_a_decimal_mark() -> None:
    text = chromeleon(",").replace("0,000000\tn.a.\t-0,089600", "0\tn.a.\t0")
    assert read(text).tables["chromatograms"][0]["y"].tolist() == [0.0, -0.03875, 1.0199, -0.0107]


# Empower


def test_arw_with_two_header_lines_and_an_empty_last_field() -> None:
    text = arw(overrides={"Units": ""}).replace('\t""\r', "\r")
    row = read(text, "SEQ_004_2489 ChA.arw").tables["chromatograms"][0]
    assert (row["sample_name"], row["y_unit"], row["channel"]) == ("LOT-1", "", "2489 ChA")


def test_arw_without_a_header() -> None:
    result = read("0\t-3.166199e-05\r0.01666667\t0.0001190186\r", "SEQ_004.arw")
    (row,) = result.tables["chromatograms"]
    assert (row["injection_name"], row["channel"], row["y"].tolist()) == ("SEQ_004", "channel", [-3.166199e-05, 0.0001190186])
    assert result.warnings == ["the file has no header; sample, channel, time and unit are not known"]


def test_arw_of_british_summer_time() -> None:
    text = arw(overrides={"Date Acquired": "5/15/2025 9:21:47 PM BST"})
    row = read(text, "a.arw", zone="Europe/London").tables["chromatograms"][0]
    assert (row["injected_at_utc"], row["zone_known"]) == (datetime(2025, 5, 15, 20, 21, 47, tzinfo=UTC), True)
    other = read(text, "a.arw")
    assert other.tables["chromatograms"][0]["injected_at_utc"] is None
    assert "declare the zone of the source" in other.warnings[0]


def test_arw_of_a_pda_is_refused() -> None:
    head = arw().partition("0.0\t0.0")[0]
    assert rule_of(head + "Wavelength\t200\t201\rTime\r0.0\t1\t2\r0.1\t3\t4\r", "a.arw")[0] == "unsupported"
    assert rule_of(head + "0.0\t1\t2\r0.1\t3\t4\r", "a.arw")[0] == "unsupported"
    assert read(head + "0.0\t1\t\r0.1\t3\t\r", "a.arw").tables["chromatograms"][0]["y"].tolist() == [1.0, 3.0]


# ANDI


def test_andi_minutes_beside_an_interval_in_seconds() -> None:
    """1200 points each 0.5 s are 600 s: a stated run time of 10 min proves it without any peak."""
    minutes = {"retention_unit": "minutes"}
    seconds = read(andi(attributes=minutes, y=[1.0] * 1200, delay=0, extra={"actual_run_time_length": 10.0}), "a.cdf")
    assert seconds.tables["chromatograms"][0]["x_unit"] == "seconds"
    assert "run time" in seconds.warnings[0]
    whole = read(andi(attributes=minutes, y=[1.0] * 1200, delay=0, interval=1 / 120, extra={"actual_run_time_length": 10.0}), "a.cdf")
    assert (whole.tables["chromatograms"][0]["x_unit"], whole.warnings) == ("minutes", [])
    early = {"peak_retention_time": [0.25]}
    long_run = andi(attributes=minutes, y=[1.0] * 1200, delay=0, interval=1 / 120, extra={"actual_run_time_length": 10.0}, peaks=early)
    assert read(long_run, "a.cdf").tables["chromatograms"][0]["x_unit"] == "minutes"


def test_andi_interval_without_a_unit() -> None:
    result = read(andi(attributes={"retention_unit": " "}), "a.cdf")
    assert result.tables["chromatograms"][0]["x_unit"] == "seconds"
    assert len(result.warnings) == 1


def test_andi_volts_beside_areas_in_microvolt_seconds() -> None:
    """Nothing in the file tells the unit of the areas, so none is given; both numbers stay as they are."""
    data = andi(attributes={"detector_unit": "volts"}, peaks={"peak_retention_time": [0.5], "peak_area": [2e6]})
    result = read(data, "a.cdf")
    (peak,) = result.tables["vendor_peaks"]
    assert (result.tables["chromatograms"][0]["y_unit"], peak["area"], peak["area_unit"]) == ("volts", 2e6, None)


def test_andi_peaks_without_start_and_end() -> None:
    (peak,) = read(andi(peaks={"peak_retention_time": [0.5], "peak_area": [1.0]}), "a.cdf").tables["vendor_peaks"]
    assert (peak["start_time"], peak["end_time"]) == (None, None)


def test_andi_peaks_without_retention_times() -> None:
    (peak,) = read(andi(peaks={"peak_area": [1.0]}, names=["API"]), "a.cdf").tables["vendor_peaks"]
    assert (peak["retention_time"], peak["area"], peak["peak_name"]) == (None, 1.0, "API")


def test_andi_blank_sample_identifiers() -> None:
    row = read(andi(attributes={"sample_name": "  ", "sample_id": " "}), "a.cdf").tables["chromatograms"][0]
    assert row["sample_name"] is None
    assert "sample_id" not in row["rescued"]


@pytest.mark.parametrize(("delay", "times"), [(1.5, [1.5, 2.0, 2.5]), (-0.5, [-0.5, 0.0, 0.5])])
def test_andi_start_delay(delay: float, times: list[float]) -> None:
    assert read(andi(delay=delay), "a.cdf").tables["chromatograms"][0]["x"].tolist() == times


@pytest.mark.parametrize(("magic", "word"), [(b"\x89HDF\r\n\x1a\n", "HDF5"), (b"CDF\x05", "CDF-5")])
def test_andi_in_another_container_is_refused_clearly(magic: bytes, word: str) -> None:
    with pytest.raises(UnreadableFileError) as error:
        read(magic + b"\0" * 40 + b"ordinate_values", "a.cdf")
    assert error.value.rule == "unsupported"
    assert word in error.value.reason
    assert rule_of(magic + b"\0" * 40, "a.h5")[0] == "unknown_format"


@pytest.mark.parametrize("record", [False, True])
def test_andi_whole_numbers_in_fixed_and_record_dimensions(record: bool) -> None:
    row = read(packed(record=record), "a.cdf").tables["chromatograms"][0]
    assert (row["y"].tolist(), row["y_factor"], row["x"].tolist()) == ([10.0, 20.0, -30.0], 1.0, [0.0, 0.5, 1.0])


def test_andi_packed_ordinates() -> None:
    """A scale factor is a multiplier beside the numbers; an offset cannot be, so both are applied: 10 x 0.5 + 2 = 7."""
    scaled = read(packed(scale_factor=0.5), "a.cdf").tables["chromatograms"][0]
    assert (scaled["y"].tolist(), scaled["y_factor"]) == ([10.0, 20.0, -30.0], 0.5)
    both = read(packed(scale_factor=0.5, add_offset=2.0), "a.cdf")
    assert (both.tables["chromatograms"][0]["y"].tolist(), both.tables["chromatograms"][0]["y_factor"]) == ([7.0, 12.0, -13.0], 1.0)
    assert both.warnings == ["the ordinates are packed; scale_factor 0.5 and add_offset 2 are applied"]
    assert rule_of(packed(scale_factor=b"half"), "a.cdf")[0] == "not_a_number"
    assert rule_of(packed(scale_factor=0.0), "a.cdf")[0] == "not_finite"


def test_andi_mass_spectra_are_refused() -> None:
    assert rule_of(packed(mass=True), "a.cdf")[0] == "unsupported"


# Damage

RICH = {
    "labsolutions": (
        LABSOLUTIONS_HEAD
        + peak_table("1\t8.238\t8.0\t8.4\t1584\t108\t2.5\t1\tAPI")
        + compounds("1\tAPI\t8.238\t1584\t108\t3.5\tg/L\tLinear\t1")
        + TRACE
        + LABSOLUTIONS_HEAD
        + TRACE
    ).encode(),
    "chromeleon": (chromeleon() + "\n" + chromeleon(",")).encode(),
    "andi": andi(peaks={"peak_retention_time": [0.5], "peak_area": [1.0]}, names=["API"], extra={"actual_run_time_length": 2.0}),
    "packed": packed(scale_factor=0.5, add_offset=2.0),
    "arw": arw().encode(),
}


@given(st.sampled_from(sorted(RICH)), st.data())
@settings(max_examples=250, deadline=None)
def test_damaged_files_are_read_or_refused(name: str, draw: st.DataObject) -> None:
    data = bytearray(RICH[name])
    if draw.draw(st.booleans()):
        del data[draw.draw(st.integers(0, len(data))) :]
    for _ in range(draw.draw(st.integers(0, 4))):
        at = draw.draw(st.integers(0, len(data)))
        data[at : at + draw.draw(st.integers(0, 8))] = draw.draw(
            st.binary(max_size=8) | st.sampled_from([b"\t", b'"', b"[", b"]\r\n", b"#", b"9"])
        )
    try:
        tables = read(bytes(data), "x").tables
    except UnreadableFileError:
        return
    for row in (*tables.get("chromatograms", []), *tables.get("instrument_status", [])):
        assert np.isfinite(row["y"]).all()
        assert (np.diff(row["x"]) > 0).all()
