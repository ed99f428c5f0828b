"""Agilent folders and containers: the real one against its published trace, every version of a signal written by hand, and damage."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.contracts.bronze import PROVENANCE, READER_TABLES
from lab_assets.sources.base import ArchiveReader, ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import open_archive, pack_folder
from lab_assets.sources.vendors.agilent.agilent_d import AgilentDReader, four_digit_year
from lab_assets.sources.vendors.agilent.agilent_dx import AgilentDxReader
from lab_assets.sources.vendors.agilent.agilent_signal import _refuse_missing, read_curve, read_signal, version_of
from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources.agilent_builders import A, B, P, ch130, ch179, curve, dx, entry, folder, header, put, uv

D, DX = AgilentDReader(), AgilentDxReader()


def read(data: bytes, name: str = "run 7.D", *, reader: ArchiveReader = D, zone: str = "UTC") -> ReadResult:
    return reader.read(data, ReadContext(file_name=name, zone=zone))


def refused(data: bytes, *, reader: ArchiveReader = D) -> UnreadableFileError:
    with pytest.raises(UnreadableFileError) as caught:
        read(data, reader=reader)
    return caught.value


@needs_samples
def test_real_folder() -> None:
    """pink.D: every time and value of its published trace, bit for bit, and the metadata published beside it."""
    samples = samples_dir()
    assert samples is not None
    target = io.BytesIO()
    pack_folder(samples / "agilent_d" / "pink.D", target)
    assert D.sniff_archive("pink.D", open_archive(target.getvalue())) == 95
    result = read(target.getvalue(), "day 1/pink.D", zone="Asia/Shanghai")
    (row,) = result.tables["chromatograms"]
    expected = np.loadtxt(samples / "agilent_d" / "expected_pink" / "DAD1A.csv", delimiter=",", skiprows=1)
    published = json.loads((samples / "agilent_d" / "expected_pink" / "info.json").read_text())
    metadata = published["datafiles"]["DAD1A.ch"]["metadata"]
    assert row["n_points"] == published["datafiles"]["DAD1A.ch"]["shape"][0] == 9000
    np.testing.assert_array_equal(row["x"], expected[:, 0])
    np.testing.assert_array_equal(row["y"], expected[:, 1])
    assert (row["channel"], row["y_unit"], row["x_unit"]) == (metadata["signal"], metadata["unit"], "min")
    assert row["injected_at_text"] == published["metadata"]["date"] == "11-Jun-22, 21:43:07"
    assert (row["injected_at_utc"], row["zone_known"]) == (datetime(2022, 6, 11, 13, 43, 7, tzinfo=UTC), False)
    assert row["rescued"]["vial"] == published["metadata"]["vialpos"]
    assert (row["injection_name"], row["sample_name"], row["method_name"]) == ("pink", "葛花-S2128854-001", "20220222-001")
    assert (row["operator"], result.warnings) == ("LJM", [])


@needs_samples
@pytest.mark.parametrize("kept", [39072, 0x1800 + 8 * 8000, 77824, 78143, 0x1800, 0x17FF, 3, 0])
def test_a_cut_real_channel_is_refused(kept: int) -> None:
    """Also where it is cut between two points, as a broken copy is: its times would be wrong otherwise."""
    samples = samples_dir()
    assert samples is not None
    whole = (samples / "agilent_d" / "pink.D" / "DAD1A.ch").read_bytes()
    assert refused(folder({"DAD1A.ch": whole[:kept]})).rule in {"truncated", "unsupported"}


@pytest.mark.parametrize("version", ["130", "30", "8"])
def test_records_of_differences(version: str) -> None:
    body = struct.pack(">BBhhhihBBhBB", 0x10, 4, 5, -1, -0x8000, -70000, 3, 0x10, 1, -3, 0, 0)
    signal = read_signal(bytes(header(version, 0, 240000, offset=1.0)) + body, "x.ch")
    assert signal.y.tolist() == [3.5, 3.0, -34999.0, -34997.5, -34999.0]  # stored 5, 4, -70000, -69997, -70000; half of it, plus 1
    assert signal.x.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(("version", "times"), [("81", [0.0, 1.0, 2.0, 3.0]), ("181", [0.0, 4 / 3, 8 / 3, 4.0])])
def test_second_differences(version: str, times: list[float]) -> None:
    """Steps 2, 2+1; then the absolute 2**31 + 7, whose low half has its highest bit set; then one step of -1 from rest."""
    body = struct.pack(">hhhhIh", 2, 1, 0x7FFF, 0, 2**31 + 7, -1) + (b"\x00\x00" if version == "181" else b"")
    signal = read_signal(bytes(header(version, 0, 240000, scale=1.0)) + body, "x.ch")
    assert signal.y.tolist() == [2.0, 5.0, 2.0**31 + 7, 2.0**31 + 6]
    assert signal.x.tolist() == pytest.approx(times)


@pytest.mark.parametrize("version", ["130", "30", "179"])
def test_numbers_are_those_of_the_public_parser(version: str, tmp_path: Path) -> None:
    """The reader of rainbow-api is independent of ours; both must agree to the last bit where it knows the version."""
    from rainbow.agilent import chemstation

    values = np.cumsum(np.random.default_rng(7).integers(-900, 900, 1000))
    signal_at = 0x1075 if version != "30" else 0x254
    head = bytes(header(version, 162, 162 + 999 * 200, texts={signal_at: "DAD1A, Sig=210,4 Ref=off"}, scale=1000 / 2**21))
    if version == "179":
        body = values.astype("<f8").tobytes()
    else:
        steps = np.diff(values, prepend=0).astype(">i2")
        body = b"".join(b"\x10" + bytes([len(part)]) + part.tobytes() for part in np.split(steps, range(200, 1000, 200))) + b"\x00\x00"
    (tmp_path / "dad1a.ch").write_bytes(head + body)
    theirs = chemstation.parse_ch(str(tmp_path / "dad1a.ch"))
    ours = read_signal(head + body, "dad1a.ch")
    assert theirs is not None
    np.testing.assert_array_equal(ours.y, theirs.data[:, 0])
    np.testing.assert_allclose(ours.x, theirs.xlabels, rtol=1e-14)
    assert ours.texts["signal"] == theirs.metadata["signal"]


def test_channels_status_and_fields_of_a_folder() -> None:
    files = {
        "dad1a.ch": ch179([2, 4, 6]),
        "DAD1B.CH": ch130(),
        "PMP1A.ch": ch179([200, 202], signal="PMP1A, Pressure", unit="bar"),
        "PMP1C.ch": ch179([1, 1], signal="PMP1C, Flow", unit="mL/min"),
        "Report.TXT": b"not read",
        "ACQ.M/acq.ms": b"a method",
    }
    result = read(folder(files))
    first, second = result.tables["chromatograms"]
    assert (first["channel"], first["y"].tolist(), first["y_unit"]) == ("DAD1A,Sig=210,4  Ref=off", [1.0, 2.0, 3.0], "mAU")
    assert first["x"].tolist() == pytest.approx([400 / 60000, 800 / 60000, 1200 / 60000])
    assert (second["channel"], second["y"].tolist()) == ("DAD1B, Sig=254,4 Ref=off", [2.5, 2.0, 35000.0, 35001.5, 35000.0])
    assert [row["signal"] for row in result.tables["instrument_status"]] == ["PMP1A, Pressure", "PMP1C, Flow"]
    assert [row["y_unit"] for row in result.tables["instrument_status"]] == ["bar", "mL/min"]
    assert (first["injection_name"], first["sample_name"], first["operator"], first["method_name"]) == ("run 7", "STD 1", "Tom", "ASSAY")
    assert first["injected_at_utc"] == datetime(2022, 6, 11, 21, 43, 7, tzinfo=UTC)
    assert first["rescued"]["file"] == "dad1a.ch"
    assert (result.format, result.warnings) == ("agilent_d", [])


def test_rows_have_the_columns_of_their_contract() -> None:
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    contracts = {contract.name: set(contract.column_names) - engine for contract in READER_TABLES}
    for result in (read(folder({"a.ch": ch179([1, 2]), "b.ch": ch179([1, 2], unit="bar")})), read(dx(), "a.dx", reader=DX)):
        assert set(result.tables) == {"chromatograms", "instrument_status"}
        for table, rows in result.tables.items():
            assert all(set(row) == contracts[table] for row in rows)


def test_a_zipped_folder_is_named_after_the_folder() -> None:
    (row,) = read(folder({"FID1A.ch": ch179([1, 2])}, top="seq/run 9.D/", compressed=True), "upload.zip").tables["chromatograms"]
    assert row["injection_name"] == "run 9"


def test_a_folder_zipped_with_backslashes() -> None:
    files = {"run 9.D\\FID1A.ch": ch179([1, 2]), "run 9.D\\sequence.acam_": SEQUENCE.encode()}
    (row,) = read(folder(files), "upload.zip").tables["chromatograms"]
    assert (row["injection_name"], row["instrument_name"], row["rescued"]["file"]) == ("run 9", "HPLC 4", "FID1A.ch")


def test_channels_with_the_same_name_are_given_names_of_their_own() -> None:
    names = {"A.ch": ch179([1, 2], signal="Front Signal"), "B.ch": ch179([1, 2], signal="Front Signal"), "C.ch": ch179([1, 2], signal="")}
    rows = read(folder(names)).tables["chromatograms"]
    assert [row["channel"] for row in rows] == ["A: Front Signal", "B: Front Signal", "C"]


@pytest.mark.parametrize(
    ("date", "utc", "known"),
    [
        ("17 Dec 19  10:04 am", datetime(2019, 12, 17, 10, 4, tzinfo=UTC), False),
        ("28 Jun 13  10:59 am -0500", datetime(2013, 6, 28, 15, 59, tzinfo=UTC), True),
        ("8/20/20 2:00:32 PM", datetime(2020, 8, 20, 14, 0, 32, tzinfo=UTC), False),
        ("18-Nov-98, 15:48:06", datetime(1998, 11, 18, 15, 48, 6, tzinfo=UTC), False),
        ("2023-02-23T15:05:20.4882635+01:00", datetime(2023, 2, 23, 14, 5, 20, 488263, tzinfo=UTC), True),
        ("someday", None, False),
    ],
)
def test_dates(date: str, utc: datetime | None, known: bool) -> None:
    data = bytearray(ch179([1, 2]))
    put(data, 0x957, date + "\x00", wide=True)
    result = read(folder({"FID1A.ch": bytes(data)}))
    (row,) = result.tables["chromatograms"]
    assert (row["injected_at_text"], row["injected_at_utc"], row["zone_known"]) == (date, utc, known)
    assert len(result.warnings) == (utc is None)


def test_years_of_four_digits_stay() -> None:
    assert four_digit_year("26.05.2017 16:52") == "26.05.2017 16:52"
    assert four_digit_year("2017-05-26 16:52") == "2017-05-26 16:52"


SEQUENCE = """<?xml version="1.0"?><ACAML xmlns="urn:schemas-agilent-com:acaml15"><Doc><Content>
<Resources><Instrument><Name>HPLC 4</Name><Module><Name>DAD</Name></Module></Instrument></Resources>
<SampleContexts><Result><DataAnalysisSoftware>ChemStation Rev. C.01.07</DataAnalysisSoftware></Result></SampleContexts>
<SampleParams><IdentParam><Name>usp</Name></IdentParam><AcqParam><VialNumber>23</VialNumber><InjectionVolume val="1"/></AcqParam></SampleParams>
<CreatedByUser>LAB\\analyst</CreatedByUser></Content></Doc></ACAML>"""


def test_xml_of_the_folder_fills_what_the_channels_leave_open() -> None:
    bare = bytes(header("179", 0, 400)) + np.array([1.0, 2.0]).tobytes()
    (row,) = read(folder({"DAD1A.ch": bare, "sequence.acam_": SEQUENCE.encode()})).tables["chromatograms"]
    assert (row["instrument_name"], row["sample_name"], row["software"]) == ("HPLC 4", "usp", "ChemStation Rev. C.01.07")
    assert (row["rescued"]["vial"], row["rescued"]["injection_volume"], row["operator"]) == ("23", "1", None)
    assert (row["channel"], row["injected_at_text"]) == ("DAD1A", None)


def test_what_the_channel_says_counts_more() -> None:
    (row,) = read(folder({"DAD1A.ch": ch179([1, 2]), "sequence.acam_": SEQUENCE.encode()})).tables["chromatograms"]
    assert (row["sample_name"], row["rescued"]["vial"], row["instrument_name"]) == ("STD 1", "P2-B9", "HPLC 4")


def test_sample_info() -> None:
    fields = {
        "Sample Name": "S1",
        "Sample Position": "Vial 1",
        "OperatorName": "Ann",
        "InstrumentName": "GC 2",
        "AcqTime": "",
        "Password": "x",
    }
    info = "".join(f"<Field><Name>{name}</Name><Value>{value}</Value></Field>" for name, value in fields.items())
    bare = bytes(header("179", 0, 400)) + np.array([1.0, 2.0]).tobytes()
    files = {"FID1A.ch": bare, "AcqData/sample_info.xml": f"<SampleInfo>{info}</SampleInfo>".encode()}
    (row,) = read(folder(files)).tables["chromatograms"]
    assert (row["sample_name"], row["operator"], row["instrument_name"], row["rescued"]["vial"]) == ("S1", "Ann", "GC 2", "Vial 1")


BOMB = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><ACAML><Name>&b;</Name></ACAML>'


@pytest.mark.parametrize("xml", [BOMB, SEQUENCE[:200], "no xml", '<?xml version="1.0" encoding="unheard-of"?><a/>'])
def test_unsafe_or_damaged_xml_beside_good_channels_is_named_in_a_warning(xml: str) -> None:
    result = read(folder({"DAD1A.ch": ch179([1, 2]), "sequence.acam_": xml.encode()}))
    assert len(result.tables["chromatograms"]) == 1
    assert len(result.warnings) == 1


def test_few_wavelengths_are_channels() -> None:
    result = read(folder({"DAD1.uv": uv(2)}))
    first, second = result.tables["chromatograms"]
    assert (first["channel"], second["channel"]) == ("DAD1 200 nm", "DAD1 202.05 nm")
    assert (first["x"].tolist(), first["y"].tolist(), first["y_unit"]) == ([0.0, 1.0, 2.0], [0.0, 5.0, 10.0], "mAU")
    assert (second["y"].tolist(), result.warnings) == ([0.5, 5.5, 10.5], [])


def test_spectra_and_masses_are_named_in_a_warning() -> None:
    files = {"DAD1A.ch": ch179([1, 2]), "DAD1.uv": uv(65), "DAD2.uv": uv(2, tag=70), "MSD1.MS": b"\x01\x32\x00\x00"}
    result = read(folder(files))
    assert len(result.tables["chromatograms"]) == 1
    assert [warning.split()[0] for warning in result.warnings] == ["DAD1.uv", "DAD2.uv", "MSD1.MS"]


@pytest.mark.parametrize("damage", [uv(2, n_stated=4), uv(2, n_stated=0), uv(2)[:-8], uv(2)[: 0x1000 + 40]])
def test_damaged_spectra_of_few_wavelengths_are_refused(damage: bytes) -> None:
    assert refused(folder({"DAD1A.ch": ch179([1, 2]), "DAD1.uv": damage})).rule == "truncated"


NAN = ch179([1, float("nan")])
NO_SCALE = ch179([1, 2], scale=0.0)
BACKWARDS = ch179([1, 2], last=100)


@pytest.mark.parametrize(
    ("damaged", "rule"),
    [
        (ch130()[:-1], "truncated"),
        (ch130()[:-2], "truncated"),  # no end mark: the next record is missing
        (ch130()[:-6], "truncated"),
        (ch130()[:0x1802], "truncated"),
        (ch130()[:-2] + b"\x11\x00", "truncated"),  # a damaged tag
        (ch130() + b"\x00" * 4096, "truncated"),  # zeros instead of records
        (ch179([1, 2])[:-1], "truncated"),
        (ch179([], last=800), "truncated"),
        (b"\x03179", "truncated"),
        (b"\x03182" + bytes(0x2000), "unsupported"),
        (b"", "unsupported"),
        (b"text, not a signal", "unsupported"),
        (NAN, "not_finite"),
        (NO_SCALE, "not_finite"),
        (BACKWARDS, "not_finite"),
    ],
)
def test_a_damaged_channel_refuses_the_whole_folder(damaged: bytes, rule: str) -> None:
    error = refused(folder({"DAD1A.ch": ch179([1, 2, 3]), "DAD1B.ch": damaged}))
    assert error.rule == rule
    assert error.place.startswith("DAD1B.ch")


def test_an_interval_that_no_detector_has_means_missing_points() -> None:
    """1000 points 400 ms apart are right; 600 of them in the same time would be 667 ms apart."""
    whole = ch179(range(1000))
    assert len(read(folder({"a.ch": whole})).tables["chromatograms"][0]["x"]) == 1000
    cut = bytearray(whole[: 0x1800 + 600 * 8])
    assert refused(folder({"a.ch": bytes(cut)})).rule == "truncated"
    struct.pack_into(">I", cut, 0x116, 600)  # GC files count their points: then any interval is right
    assert len(read(folder({"a.ch": bytes(cut)})).tables["chromatograms"][0]["x"]) == 600


def test_zeros_instead_of_the_last_records_are_noticed() -> None:
    """300 points in records of 100 at 5 Hz; without the last record they would be 300 ms apart, and the zeros look like padding."""
    record = b"\x10" + bytes([100]) + struct.pack(">100h", *range(100))
    head = bytes(header("130", 0, 299 * 200))
    assert read_signal(head + 3 * record + bytes(2), "x").x.size == 300
    assert read_signal(head + 3 * record + bytes(100), "x").x.size == 300
    with pytest.raises(UnreadableFileError, match="points are missing"):
        read_signal(head + 2 * record + bytes(len(record) + 2), "x")


def test_an_empty_channel_is_named_in_a_warning() -> None:
    empty = bytes(header("130", 0, 0)) + b"\x00\x00"
    result = read(folder({"DAD1A.ch": ch179([1, 2]), "DAD1B.ch": empty}))
    assert (len(result.tables["chromatograms"]), result.warnings) == (1, ["DAD1B.ch has no points and was left out"])
    assert refused(folder({"DAD1B.ch": empty})).rule == "missing_section"


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        ({"MSD1.MS": b"x"}, "missing_section"),
        ({"a.D/x.ch": ch179([1]), "b.D/x.ch": ch179([1])}, "unsupported"),
        ({"x.ch": ch179([1]), "X.CH": ch179([1])}, "unsupported"),
        ({"x.txt": b""}, "unsupported"),
        ({}, "unsupported"),
    ],
)
def test_folders_that_are_not_one_injection(files: Mapping[str, bytes], rule: str) -> None:
    assert refused(folder(files)).rule == rule


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no archive", ch179([1])])
def test_no_archive_at_all(data: bytes) -> None:
    for reader in (D, DX):
        assert refused(data, reader=reader).rule == "truncated"
        assert reader.sniff("pink.D", data) == 0


@pytest.mark.parametrize("reader", [D, DX])
def test_an_archive_without_its_beginning(reader: ArchiveReader) -> None:
    """The offsets of its directory then point before the file."""
    whole = dx() if reader is DX else folder({"a.ch": ch130()})
    assert refused(whole[9:], reader=reader).rule == "truncated"


def test_recognition() -> None:
    def sureness(name: str, *members: str) -> tuple[int, int]:
        archive = open_archive(folder(dict.fromkeys(members, b"x")))
        return D.sniff_archive(name, archive), DX.sniff_archive(name, archive)

    assert sureness("x.D", "dad1A.CH", "RUN.LOG") == (95, 0)
    assert sureness("x.zip", "x.d/DAD1.UV") == (95, 0)
    assert sureness("x.zip", "FID1A.ch") == (60, 0)
    assert sureness("x.D", "DATA.MS") == (60, 0)
    assert sureness("x.D", "AcqData/MSScan.bin", "AcqData/run.m/acq.ms") == (0, 0)
    assert sureness("x.dx", "Injection.ACMD", "a.CH") == (60, 100)
    assert sureness("x.zip", "__MACOSX/x.D/._DAD1A.ch", "readme.txt") == (0, 0)
    assert sureness("x.raw", "_HEADER.TXT", "_FUNCTNS.INF") == (0, 0)


def test_container() -> None:
    result = read(dx(), "day/run 3.dx", reader=DX)
    first, second = result.tables["chromatograms"]
    assert (first["channel"], first["y"].tolist(), first["y_unit"]) == ("DAD1A,Sig=210,4  Ref=off", [1.0, 2.0, 3.0], "mAU")
    assert (second["channel"], second["y"].tolist()) == ("DAD1B,Sig=254,4  Ref=off", [4.0, 5.0])
    (pressure,) = result.tables["instrument_status"]
    assert (pressure["signal"], pressure["y_unit"], pressure["x"].tolist()) == ("PMP1A,Pressure", "bar", [0.0, 1.0, 2.5])
    assert pressure["y"].tolist() == pytest.approx([200.0, 201.0, 203.0])
    assert (first["injection_name"], first["sample_name"], first["operator"], first["method_name"]) == ("run 3", "S-1", "Admin", "ASSAY 7")
    assert (first["injected_at_utc"], first["zone_known"]) == (datetime(2023, 2, 23, 14, 5, 20, 488263, tzinfo=UTC), True)
    assert (first["rescued"]["vial"], first["rescued"]["injection_volume"]) == ("D1F-A8", "5")
    assert [row["source_row"] for row in (first, second, pressure)] == [1, 2, 3]
    assert len(result.warnings) == 1
    assert "Spectrum" in result.warnings[0]
    assert not any(A in str(row) for rows in result.tables.values() for row in rows)


@pytest.mark.parametrize(
    ("parts", "rule"),
    [
        ({f"{A}.CH": ch179([2, 4])}, "truncated"),  # three are stated
        ({f"{A}.CH": ch179([2, 4, 6])[:-3]}, "truncated"),
        ({f"{A}.CH": ch179([2, 4, 6], scale=0.25)}, "unit_changed"),
        ({f"{A}.CH": b"\x03179"}, "truncated"),
        ({f"{A}.CH": b"junk"}, "unsupported"),
        ({f"{P}.IT": curve([(0, 1), (1, 2)])}, "truncated"),
        ({f"{P}.IT": curve([(0, 1), (2, 2), (1, 3)])}, "descending_x"),
        ({f"{P}.IT": curve([(0, 1), (2, 2), (3, float("inf"))])}, "not_finite"),
        ({"injection.acmd": BOMB.encode()}, "hostile_xml"),
        ({"injection.acmd": b"<Acmd>"}, "truncated"),
    ],
)
def test_damaged_containers_are_refused(parts: Mapping[str, bytes], rule: str) -> None:
    assert refused(dx(parts=parts), reader=DX).rule == rule


def test_a_listed_signal_without_its_part_is_refused_and_a_curve_named_in_a_warning() -> None:
    missing = entry("55555555", "Signal179", "DAD1C", "mAU", NumberOfValues="3")
    assert refused(dx(signals=missing), reader=DX).rule == "missing_section"
    listed = entry(A, "Signal179", "DAD1A", "mAU") + entry("55555555", "InstrumentTrace179", "TCC1A", "°C")
    assert "'TCC1A' is listed without data" in read(dx(signals=listed), "a.dx", reader=DX).warnings


def test_unlisted_parts_are_read_by_their_own_header() -> None:
    result = read(dx(signals=entry(B, "Signal179", "DAD1B", "mAU")), "a.dx", reader=DX)
    assert sorted(row["channel"] for row in result.tables["chromatograms"]) == ["DAD1A,Sig=210,4  Ref=off", "DAD1B"]
    assert len(result.tables["instrument_status"]) == 1
    assert len(result.warnings) == 2


def test_a_container_without_signals_is_refused() -> None:
    files = {"injection.acmd": b"<Acmd/>"}
    assert refused(folder(files), reader=DX).rule == "missing_section"
    assert refused(folder({"x": b""}), reader=DX).rule == "missing_section"


@settings(max_examples=150, deadline=None)
@given(
    at=st.integers(0, 10**6),
    byte=st.integers(0, 255),
    cut=st.integers(0, 10**6),
    version=st.sampled_from(["130", "179", "181", "30", "81"]),
)
def test_nothing_but_a_refusal_comes_out_of_damaged_signals(at: int, byte: int, cut: int, version: str) -> None:
    whole = bytearray({"130": ch130(), "179": ch179([1, 2, 3])}.get(version) or bytes(header(version, 0, 800)) + b"\x00\x01" * 8)
    whole[at % len(whole)] = byte
    damaged = bytes(whole[: cut % (len(whole) + 1)]) if cut % 3 else bytes(whole)
    for decode in (read_signal, read_curve):
        try:
            signal = decode(damaged, "x")
        except UnreadableFileError:
            continue
        assert signal.x.size == signal.y.size
        assert np.isfinite(signal.y).all()


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.integers(0, 10**6), which=st.sampled_from(["d", "dx", "uv"]))
def test_nothing_but_a_refusal_comes_out_of_damaged_archives(at: int, byte: int, cut: int, which: str) -> None:
    reader: ArchiveReader = DX if which == "dx" else D
    whole = bytearray(dx() if which == "dx" else folder({"DAD1.uv": uv(3)} if which == "uv" else {"a.ch": ch130(), "b.ch": ch179([1, 2])}))
    whole[at % len(whole)] = byte
    damaged = bytes(whole[: cut % (len(whole) + 1)]) if cut % 3 else bytes(whole)
    try:
        result = read(damaged, reader=reader)
    except UnreadableFileError:
        return
    assert sum(map(len, result.tables.values())) >= 1


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.integers(0, 10**6))
def test_nothing_but_a_refusal_comes_out_of_damaged_spectra_and_manifests(at: int, byte: int, cut: int) -> None:
    """Damage below the archive's own checksums."""
    for whole, name, reader in ((uv(3), "DAD1.uv", D), (zipfile.ZipFile(io.BytesIO(dx())).read("injection.acmd"), "injection.acmd", DX)):
        changed = bytearray(whole)
        changed[at % len(changed)] = byte
        damaged = bytes(changed[: cut % (len(changed) + 1)]) if cut % 3 else bytes(changed)
        data = dx(parts={name: damaged}) if reader is DX else folder({name: damaged, "a.ch": ch130()})
        try:
            read(data, reader=reader)
        except UnreadableFileError:
            continue


@pytest.mark.parametrize(
    ("head", "version"), [(b"\x03179x", "179"), (b"\x0230", "30"), (b"\x03ab1", ""), (b"", ""), (b"\x09123456789", ""), (b"\x0313", "")]
)
def test_version(head: bytes, version: str) -> None:
    assert version_of(head) == version


@pytest.mark.parametrize(("n_points", "last_ms"), [(1801, 1800 * 333.0), (30_001, 30_000 * 1000 / 70)])
def test_a_detector_that_is_not_listed_samples_at_a_round_interval_or_rate(n_points: int, last_ms: float) -> None:
    """333 ms, and 70 times a second: in no list, and no sign of a cut."""
    _refuse_missing(n_points, 0.0, last_ms, "x.ch")


def test_points_missing_from_a_round_interval_are_noticed() -> None:
    """1,801 points 333 ms apart, of which 100 are gone: 352.6 ms, which nothing samples at."""
    with pytest.raises(UnreadableFileError, match=r"352\.\d+ ms apart"):
        _refuse_missing(1701, 0.0, 1800 * 333.0, "x.ch")
