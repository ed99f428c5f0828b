"""Waters folders, written by hand in MassLynx' layout and compared with what rainbow-api reads from the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.contracts.bronze import PROVENANCE, READER_TABLES
from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import open_archive, pack_folder
from lab_assets.sources.vendors.waters.waters_raw import WatersRawReader
from lab_assets_tests.sources.waters_builders import HEADER, POINTS, chro, chroms, files, folder, functions, scans, spectra, with_functions

RAW = WatersRawReader()


def read(data: bytes, name: str = "run 7.raw", *, zone: str = "UTC") -> ReadResult:
    return RAW.read(data, ReadContext(file_name=name, zone=zone))


def refused(data: bytes) -> UnreadableFileError:
    with pytest.raises(UnreadableFileError) as caught:
        read(data)
    return caught.value


def test_analog_channels_and_header() -> None:
    result = read(folder(files()), "day/run 7.raw", zone="America/New_York")
    uv, elsd = result.tables["chromatograms"]
    assert (uv["channel"], uv["y_unit"], uv["x"].tolist(), uv["y"].tolist()) == ("TUV 260nm@1", "AU", [0.5, 1.0, 1.5], [0.25, 0.75, -0.125])
    assert (elsd["channel"], elsd["y_unit"]) == ("ELSD Signal", "")
    assert [(row["signal"], row["y_unit"]) for row in result.tables["instrument_status"]] == [
        ("(1) Column Temperature", "°C"),
        ("µBSM Composition A", "%"),
    ]
    assert (uv["injection_name"], uv["sample_name"], uv["instrument_name"], uv["method_name"]) == ("run 7", "S-7", "ZQ", "gradient_13min")
    assert (uv["injected_at_text"], uv["injected_at_utc"]) == ("03-Dec-2011 18:34:05", datetime(2011, 12, 3, 23, 34, 5, tzinfo=UTC))
    assert (uv["rescued"]["vial"], uv["rescued"]["job_code"], uv["rescued"]["file"]) == ("f,3", "12032011_2", "_CHRO001.DAT")
    assert (uv["zone_known"], uv["x_unit"], result.warnings, result.format) == (False, "min", [], "waters_raw")
    for secret in ("hunter2", "Tom"):
        assert not any(secret in str(row) for rows in result.tables.values() for row in rows)


def test_numbers_are_those_of_the_public_parser(tmp_path: Path) -> None:
    """rainbow-api is independent of ours; both must agree to the last bit on channels and UV functions."""
    from rainbow import waters

    raw = tmp_path / "run.raw"
    raw.mkdir()
    values = np.random.default_rng(7).normal(size=500).astype("<f4")
    members = with_functions(12) | {"_CHRO001.DAT": chro(list(zip(np.arange(500) / 100, values.tolist(), strict=True)))}
    members["_CHROMS.INF"] = chroms((("TUV 260nm@1", "AU"), ("Temp", "C"), ("BSM Composition A", "%"), ("ELSD Signal", "mV")))
    for name, data in members.items():
        (raw / name).write_bytes(data)
    theirs = waters.read(str(raw))
    packed = io.BytesIO()
    pack_folder(raw, packed)
    ours = {row["channel"]: row for row in read(packed.getvalue()).tables["chromatograms"]}
    channel = theirs.get_file("_CHRO001.DAT")
    np.testing.assert_array_equal(ours["TUV 260nm@1"]["x"], channel.xlabels.astype(float))
    np.testing.assert_array_equal(ours["TUV 260nm@1"]["y"], channel.data[:, 0].astype(float))
    assert (channel.metadata["signal"], channel.metadata["unit"]) == ("TUV 260nm@1", ours["TUV 260nm@1"]["y_unit"])
    function = theirs.get_file("_FUNC001.DAT")
    assert function.ylabels.tolist() == [210.0, 254.0]
    for column, name in enumerate(("_FUNC001 210 nm", "_FUNC001 254 nm")):
        np.testing.assert_array_equal(ours[name]["x"], function.xlabels.astype(float))
        np.testing.assert_array_equal(ours[name]["y"], function.data[:, column].astype(float))
    assert theirs.metadata["date"] == ours["TUV 260nm@1"]["injected_at_text"]


def test_rows_have_the_columns_of_their_contract() -> None:
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    contracts = {contract.name: set(contract.column_names) - engine for contract in READER_TABLES}
    tables = read(folder(with_functions(12))).tables
    assert set(tables) == {"chromatograms", "instrument_status"}
    for table, rows in tables.items():
        assert all(set(row) == contracts[table] for row in rows)


def test_few_wavelengths_are_channels() -> None:
    """Stored -50, 50, 150 at 210 nm and one more at 254 nm, each times four."""
    rows = {row["channel"]: row for row in read(folder(with_functions(12))).tables["chromatograms"]}
    assert rows["_FUNC001 210 nm"]["y"].tolist() == [-200.0, 200.0, 600.0]
    assert rows["_FUNC001 254 nm"]["y"].tolist() == [-196.0, 204.0, 604.0]
    assert rows["_FUNC001 254 nm"]["x"].tolist() == [0.0, 0.5, 1.0]


def test_masses_and_many_wavelengths_are_named_in_a_warning() -> None:
    members = with_functions(0, 12) | {"_FUNC002.IDX": scans(3, 65), "_FUNC002.DAT": spectra(3, range(200, 265))}
    result = read(folder(members))
    assert [row["channel"] for row in result.tables["chromatograms"]] == ["TUV 260nm@1", "ELSD Signal"]
    assert [warning.split()[0] for warning in result.warnings] == ["_FUNC001.DAT", "_FUNC002.DAT"]


def test_names_in_any_case_and_a_folder_zipped_by_a_person() -> None:
    lowered = {name.lower(): data for name, data in files().items()}
    row = read(folder(lowered, top="data/run 9.RAW/"), "upload.zip").tables["chromatograms"][0]
    assert (row["injection_name"], row["sample_name"]) == ("run 9", "S-7")


def test_channels_with_the_same_name_are_given_names_of_their_own() -> None:
    members = files() | {"_CHROMS.INF": chroms([("An1", "AU")] * 3 + [("An2", "AU")])}
    names = [row["channel"] for row in read(folder(members)).tables["chromatograms"]]
    assert names == ["_CHRO001: An1", "_CHRO002: An1", "_CHRO003: An1", "An2"]


def test_what_was_noticed_and_let_pass() -> None:
    members = files() | {"_CHRO002.DAT": chro(POINTS[:1]), "_CHRO004.DAT": chro([]), "_CHRO005.DAT": chro()}
    warnings = read(folder(members)).warnings
    assert ["is it complete" in warning for warning in warnings] == [False, False, True]
    assert "no points" in warnings[0]
    assert "not described" in warnings[1]
    scaled = files() | {"_CHROMS.INF": chroms(scale="0.1")}
    assert sum("not applied" in warning for warning in read(folder(scaled)).warnings) == 3


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"_CHRO002.DAT": chro()[:-1]}, "truncated"),
        ({"_CHRO002.DAT": chro()[:100]}, "truncated"),
        ({"_CHRO002.DAT": b""}, "truncated"),
        ({"_CHROMS.INF": chroms()[:-1]}, "truncated"),
        ({"_CHROMS.INF": b"x"}, "truncated"),
        ({"_CHRO002.DAT": chro([(0, 1), (1, float("nan"))])}, "not_finite"),
        ({"_CHRO002.DAT": chro([(0, 1), (1, 1), (1, 2)])}, "duplicate_x"),
        ({"_CHRO002.DAT": chro([(0, 1), (1, 1), (0.5, 2)])}, "descending_x"),
        ({"_FUNC001.DAT": spectra(3, (210, 254))[:-6]}, "truncated"),
        ({"_FUNC001.IDX": scans(3, 2)[:-1]}, "truncated"),
        ({"_FUNC001.IDX": b""}, "truncated"),
        ({"_FUNC001.DAT": spectra(2, (210, 254)) + spectra(1, (210, 280))}, "truncated"),
    ],
)
def test_a_damaged_channel_refuses_the_whole_folder(changes: Mapping[str, bytes], rule: str) -> None:
    error = refused(folder(with_functions(12) | changes))
    assert error.rule == rule
    assert error.place.split(",")[0].split(".")[0] == next(iter(changes)).split(".")[0]


@pytest.mark.parametrize("missing", ["_CHRO002.DAT", "_FUNC001.IDX"])
def test_a_missing_file_refuses_the_whole_folder(missing: str) -> None:
    members = with_functions(12)
    del members[missing]
    assert refused(folder(members)).rule == "missing_section"


@pytest.mark.parametrize(
    ("members", "rule"),
    [
        ({"_HEADER.TXT": HEADER, "_FUNCTNS.INF": functions(0), "_FUNC001.DAT": b"x", "_FUNC001.IDX": b"y"}, "missing_section"),
        ({"a.raw/_HEADER.TXT": HEADER, "b.raw/_HEADER.TXT": HEADER}, "unsupported"),
        ({"_HEADER.TXT": HEADER, "_header.txt": HEADER}, "unsupported"),
        ({"x.txt": b""}, "unsupported"),
    ],
)
def test_folders_that_are_not_one_injection(members: Mapping[str, bytes], rule: str) -> None:
    assert refused(folder(members)).rule == rule


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", HEADER])
def test_no_archive_at_all(data: bytes) -> None:
    assert refused(data).rule == "truncated"
    assert RAW.sniff("x.raw", data) == 0


@pytest.mark.parametrize(
    ("members", "sureness"),
    [
        (["_HEADER.TXT", "_FUNCTNS.INF"], 97),
        (["x.raw/_header.txt", "x.raw/_chroms.inf"], 97),
        (["_FUNC001.DAT", "_FUNC001.IDX"], 70),
        (["_HEADER.TXT"], 0),
        (["DAD1A.ch"], 0),
        (["injection.acmd"], 0),
        ([], 0),
    ],
)
def test_recognition(members: Sequence[str], sureness: int) -> None:
    assert RAW.sniff_archive("x.raw", open_archive(folder(dict.fromkeys(members, b"x")))) == sureness


def test_a_date_that_is_none_stays_text() -> None:
    members = files() | {"_HEADER.TXT": HEADER.replace(b"03-Dec-2011", b"03-Foo-2011")}
    result = read(folder(members))
    row = result.tables["chromatograms"][0]
    assert (row["injected_at_text"], row["injected_at_utc"], len(result.warnings)) == ("03-Foo-2011 18:34:05", None, 1)
    del members["_HEADER.TXT"]
    assert read(folder(members)).tables["chromatograms"][0]["injected_at_text"] is None


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(sorted(with_functions(12))), at=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.integers(0, 10**6))
def test_nothing_but_a_refusal_comes_out_of_damage(name: str, at: int, byte: int, cut: int) -> None:
    members = with_functions(12)
    changed = bytearray(members[name])
    changed[at % len(changed)] = byte
    members[name] = bytes(changed[: cut % (len(changed) + 1)]) if cut % 3 else bytes(changed)
    try:
        result = read(folder(members))
    except UnreadableFileError:
        return
    for rows in result.tables.values():
        assert all(np.isfinite(row["y"]).all() and len(row["x"]) == len(row["y"]) == row["n_points"] for row in rows)
