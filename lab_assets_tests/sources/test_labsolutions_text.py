"""LabSolutions exports; layout and numbers of the multi-channel case follow a public LabSolutions 5.54 export (chromConverterExtraTests)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources.builders import LABSOLUTIONS_HEAD, labsolutions, labsolutions_trace, read, rule_of


def test_channels_status_and_multiplier_are_kept_as_stated() -> None:
    result = read(labsolutions())
    assert result.format == "labsolutions_text"
    first, second = result.tables["chromatograms"]
    assert [first["channel"], second["channel"]] == ["Detector A-Ch1", "Detector B-Ch1"]
    assert first["x"].tolist() == [0.01, 0.01833, 0.02667]
    assert first["y"].tolist() == [-1.0, 2.0, 5.0]
    assert (first["y_factor"], first["y_unit"], first["x_unit"], first["n_points"]) == (0.001, "mV", "min", 3)
    (pressure,) = result.tables["instrument_status"]
    assert (pressure["signal"], pressure["y_unit"], pressure["y"].tolist()) == ("Pump A Pressure", "MPa", [11.25, 11.5, 11.75])


def test_header_fields_by_name_with_base_names_only() -> None:
    row = read(labsolutions()).tables["chromatograms"][0]
    assert (row["injection_name"], row["sample_name"], row["method_name"]) == ("SEQ_007", "STD 1", "ASSAY-01")
    assert (row["instrument_name"], row["software"], row["operator"]) == ("HPLC RID", "LabSolutions 5.54 SP2", "Tom")
    assert row["rescued"]["Method File"] == "ASSAY-01.lcm"
    assert "Users" not in str(row)
    assert "hunter2" not in str(row)


def test_day_first_is_proven_by_another_date_of_the_file() -> None:
    row = read(labsolutions()).tables["chromatograms"][0]
    assert row["injected_at_text"] == "02/08/2023 17:08:21"
    assert row["injected_at_utc"] == datetime(2023, 8, 2, 17, 8, 21, tzinfo=UTC)
    assert row["zone_known"] is False


def test_zone_of_the_source_is_assumed() -> None:
    row = read(labsolutions(), zone="Europe/Berlin").tables["chromatograms"][0]
    assert row["injected_at_utc"] == datetime(2023, 8, 2, 15, 8, 21, tzinfo=UTC)


def test_ambiguous_date_stays_text_with_a_warning() -> None:
    result = read(labsolutions().replace("21/08/2024", "01/08/2024"))
    assert result.tables["chromatograms"][0]["injected_at_utc"] is None
    assert "day or month first" in result.warnings[0]


def test_peak_table_joins_the_only_trace_of_its_detector() -> None:
    unnamed, glucose = read(labsolutions()).tables["vendor_peaks"]
    assert (glucose["channel"], glucose["peak_no"], glucose["peak_name"]) == ("Detector B-Ch1", 2, "Glucose")
    assert (glucose["retention_time"], glucose["start_time"], glucose["end_time"]) == (11.395, 10.867, 12.658)
    assert (glucose["area"], glucose["height"], glucose["amount"]) == (904583.0, 49624.0, 27.775)
    assert (glucose["plates"], glucose["tailing"], glucose["resolution"]) == (9028.0, 1.192, 3.522)
    assert unnamed["peak_name"] is None
    assert glucose["rescued"] == {"Mark": "S"}


def test_a_renamed_peak_column_is_rescued_with_a_warning() -> None:
    result = read(labsolutions().replace("Plate #", "Plate Count(USP)"))
    assert result.tables["vendor_peaks"][1]["plates"] is None
    assert result.tables["vendor_peaks"][1]["rescued"]["Plate Count(USP)"] == "9028"
    assert result.warnings == ["columns of the peak table kept in rescued: Plate Count(USP)"]


def test_sections_without_points_or_rows() -> None:
    none = "[Chromatogram (Ch9)]\r\n# of Points\t0\r\n\r\n[Peak Table(Ch9)]\r\n# of Peaks\t0\r\n\r\n"
    assert len(read(labsolutions() + none).tables["chromatograms"]) == 2
    assert rule_of(LABSOLUTIONS_HEAD + none)[0] == "empty"
    assert rule_of(labsolutions().replace("# of Points\t3", "# of Points\tx", 1))[0] == "not_a_number"
    assert rule_of(labsolutions().replace("Multiplier\t0.001", "Multiplier\tx", 1))[0] == "not_a_number"
    assert rule_of(labsolutions().split("1\t8.238")[0] + "\r\n" + labsolutions_trace("Chromatogram (A)", [("0", "1")]))[0] == "truncated"
    assert rule_of(labsolutions().replace("\t8.450\t1584", "\t8.450", 1))[0] == "truncated"
    assert read(labsolutions() + "[PDA 3D]\r\nx\r\n").warnings == ["[PDA 3D] is not read"]


def test_bad_number_in_a_peak_is_a_rejected_row() -> None:
    result = read(labsolutions().replace("904583", "9o4583"))
    assert len(result.tables["vendor_peaks"]) == 1
    (rejected,) = result.rejected
    assert (rejected.table, rejected.rule) == ("vendor_peaks", "not_a_number")
    assert "9o4583" in rejected.reason


def test_decimal_comma() -> None:
    points = [("0,01000", "-1"), ("0,01833", "2"), ("0,02667", "5")]
    text = LABSOLUTIONS_HEAD + labsolutions_trace("Chromatogram (Ch1)", points, factor="0,5")
    row = read(text).tables["chromatograms"][0]
    assert row["x"].tolist() == [0.01, 0.01833, 0.02667]
    assert (row["y_factor"], row["channel"]) == (0.5, "Ch1")


def test_comma_separated_variant_bom_and_cr_line_ends_say_the_same() -> None:
    plain = read(labsolutions()).tables["chromatograms"]
    for variant in (labsolutions().replace("\t", ","), "\ufeff" + labsolutions(), labsolutions().replace("\r\n", "\r")):
        rows = read(variant).tables["chromatograms"]
        assert [row["y"].tolist() for row in rows] == [row["y"].tolist() for row in plain]
        assert rows[0]["injection_name"] == "SEQ_007"


@pytest.mark.parametrize(
    ("old", "new", "rule", "place"),
    [
        ("0.01833\t2", "0.01833\ttwo", "not_a_number", "line 43"),
        ("0.01833\t2", "0.01833\tNaN", "not_finite", "line 43"),
        ("0.01833\t2", "0.01833\t1e999", "not_finite", "line 43"),
        ("0.01833\t2", "0.01833", "not_a_number", "line 43"),
        ("0.01833\t2", "0.01833\t1_000", "not_a_number", "line 43"),
        ("0.01833\t2", "0.01000\t2", "duplicate_x", "line 43"),
        ("0.01833\t2", "0.00500\t2", "descending_x", "line 43"),
        ("0.01833\t2\r\n", "", "truncated", "[LC Chromatogram(Detector A-Ch1)]"),
        ("# of Peaks\t2", "# of Peaks\t3", "truncated", "[Peak Table(Detector B)]"),
    ],
)
def test_whole_file_is_refused_with_rule_and_place(old: str, new: str, rule: str, place: str) -> None:
    text = labsolutions()
    assert text.split("\r\n")[42] == "0.01833\t2"  # line 43, counted by hand
    assert rule_of(text.replace(old, new, 1)) == (rule, place)


def test_header_only_has_no_traces() -> None:
    assert rule_of(LABSOLUTIONS_HEAD)[0] == "missing_section"
    assert rule_of(LABSOLUTIONS_HEAD[:-9])[0] == "truncated"


@given(cut=st.integers(1, 260))
@settings(max_examples=120, deadline=None)
def test_a_cut_file_is_never_read_as_less(cut: int) -> None:
    """Cutting any number of bytes off the last trace either refuses the file or loses nothing but line ends."""
    whole = LABSOLUTIONS_HEAD + labsolutions_trace("Chromatogram (Ch1)", [(f"{i / 100:.5f}", str(1000 + i)) for i in range(30)])
    data = whole.encode()[:-cut]
    if not rule_of(data)[0]:
        assert read(data).tables["chromatograms"][0]["y"].tolist() == [1000.0 + i for i in range(30)]


@needs_samples
def test_real_export() -> None:
    """The ladder sample: 83 peaks and 66,255 points by its own header; first, last and largest values read off the file."""
    folder = samples_dir()
    assert folder is not None
    result = read((folder / "labsolutions_text" / "ladder.txt").read_bytes(), "ladder.txt")
    (row,) = result.tables["chromatograms"]
    assert (row["injection_name"], row["channel"], row["n_points"]) == ("FS19_214", "Ch1", 66255)
    assert (row["x"][0], row["y"][0], row["x"][-1], row["y"][-1]) == (0.00033, -362.0, 44.16967, 4328.0)
    assert row["injected_at_text"] == "7/18/2019 7:45:56 PM"
    assert row["injected_at_utc"] == datetime(2019, 7, 18, 19, 45, 56, tzinfo=UTC)
    assert (row["method_name"], row["instrument_name"], row["software"]) == ("SPME_sample_1", "GC-2014", "LabSolutions 5.82")
    peaks = result.tables["vendor_peaks"]
    assert len(peaks) == 83
    assert (peaks[35]["retention_time"], peaks[35]["area"], peaks[35]["plates"], peaks[35]["tailing"]) == (
        10.335,
        1175447.0,
        228393.0,
        1.494,
    )
    assert result.warnings == []
