"""Recognition by content, refusals for people, and files that are hostile."""

from __future__ import annotations

import ast
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lab_assets
from lab_assets.contracts.bronze import PROVENANCE, READER_TABLES
from lab_assets.sources.all_readers import READERS, read_file, recognise
from lab_assets.sources.base import ArchiveReader, ReadContext, UnreadableFileError
from lab_assets.sources.core.archives import is_archive, open_archive
from lab_assets.sources.core.decoding import base_name, decode, stem
from lab_assets.sources.core.quantities import NumberError, is_status_signal, parse_number, time_unit
from lab_assets.sources.core.rules import MEND
from lab_assets_tests.sources import agilent_builders, allotrope_builders, animl_builders, ezchrom_builders, gaml_builders, waters_builders
from lab_assets_tests.sources.builders import andi, arw, chromeleon, labsolutions, read, rule_of
from lab_assets_tests.sources.one_of_each import CALIBRATION, ONE_OF_EACH
from lab_assets_tests.sources.spreadsheet_builders import LOT, LOT_NAMES, workbook
from lab_assets_tests.sources.text_tables import LINES, LONG, LOTS, UTC_LOG

ROOT = Path(lab_assets.__file__).parent
SECRET = "S3cr3t-PaSS"


def test_names_and_tables_are_unique_and_contracted() -> None:
    assert len({reader.format for reader in READERS}) == len(READERS)
    contracted = {contract.name for contract in READER_TABLES}
    assert all(set(reader.tables) <= contracted for reader in READERS)


@pytest.mark.parametrize("name", ["x.txt", "x.csv", "x.arw", "x.cdf", "wrong.pdf", "x"])
@pytest.mark.parametrize("format_name", ONE_OF_EACH)
def test_content_counts_more_than_the_extension(format_name: str, name: str) -> None:
    assert recognise(name, ONE_OF_EACH[format_name]).format == format_name


@pytest.mark.parametrize("format_name", ONE_OF_EACH)
def test_rows_carry_exactly_the_columns_of_their_contract(format_name: str) -> None:
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    contracts = {contract.name: set(contract.column_names) - engine for contract in READER_TABLES}
    for table, rows in read(ONE_OF_EACH[format_name]).tables.items():
        for row in rows:
            assert set(row) == contracts[table]


@pytest.mark.parametrize("format_name", ONE_OF_EACH)
def test_every_other_reader_is_less_sure(format_name: str) -> None:
    data = ONE_OF_EACH[format_name]
    opened = open_archive(data) if is_archive(data) else None
    sure = {}
    for reader in READERS:
        if opened is None:
            sure[reader.format] = reader.sniff("x", data[: 1 << 16])
        else:
            sure[reader.format] = reader.sniff_archive("x", opened) if isinstance(reader, ArchiveReader) else 0
    others = max(value for name, value in sure.items() if name != format_name)
    assert sure[format_name] > others
    assert all(0 <= value <= 100 for value in sure.values())


@pytest.mark.parametrize("format_name", ONE_OF_EACH)
def test_reading_twice_says_the_same(format_name: str) -> None:
    first, again = (read_file(ONE_OF_EACH[format_name], ReadContext(file_name="x")) for _ in range(2))
    assert pickle.dumps(asdict(first)) == pickle.dumps(asdict(again))


SECRETS: dict[str, Callable[[], bytes | str]] = {
    "labsolutions_text": lambda: (
        labsolutions().replace("hunter2", SECRET).replace("Sample ID", f"User Name\t{SECRET}\r\nAPI Token\t{SECRET}\r\nSample ID")
    ),
    "andi_netcdf": lambda: andi(attributes={"operator_password": SECRET, "user_name": SECRET, "login_token": SECRET}),
    "arw": lambda: arw(pairs=True, overrides={"Password": SECRET, "User Name": SECRET, "Token": SECRET}),
    "chromeleon_text": lambda: chromeleon().replace("Operator\t", f"Password\t{SECRET}\nUser ID\t{SECRET}\nLogin\t{SECRET}\nOperator\t"),
    "long_table": lambda: (
        LONG.replace('"Detector"\n', '"Detector"\t"api_token"\n')
        .replace('"\n', f'"\t"{SECRET}"\n')
        .replace(f'"api_token"\t"{SECRET}"', '"api_token"')
    ),
    "processing_table": lambda: (
        f"# password: {SECRET}\n" + LINES.replace('"Peak_end"\n', '"Peak_end"\t"password"\n').replace("17.5\n", f'17.5\t"{SECRET}"\n')
    ),
    "lims_csv": lambda: (
        f"# user name: {SECRET}\n"
        + LOTS.replace("recorded_at_utc\n", "recorded_at_utc,login,api_token\n").replace("Z\n", f"Z,{SECRET},{SECRET}\n")
    ),
    "chamber_csv": lambda: f"# password: {SECRET}\n" + UTC_LOG.replace("Door", "Password").replace("closed", SECRET),
    "calibration_csv": lambda: (
        f"# token: {SECRET}\n"
        + CALIBRATION.replace("valid_until_utc\n", "valid_until_utc,secret\n").replace("2026-01-01\n", f"2026-01-01,{SECRET}\n")
    ),
    "agilent_d": lambda: agilent_builders.folder(
        {
            "DAD1A.ch": agilent_builders.ch179([1, 2]),
            "AcqData/sample_info.xml": f"<SampleInfo><Field><Name>Password</Name><Value>{SECRET}</Value></Field></SampleInfo>".encode(),
        },
        top="x.D/",
    ),
    "agilent_dx": lambda: agilent_builders.dx(
        signals=agilent_builders.entry(agilent_builders.A, "Signal179", "DAD1A", "mAU", Password=SECRET, UserName=SECRET)
    ),
    "waters_raw": lambda: waters_builders.folder(
        {
            **waters_builders.files(),
            "_HEADER.TXT": waters_builders.HEADER.replace(b"hunter2", SECRET.encode()) + f"$$ Login Password: {SECRET}\r\n".encode(),
        }
    ),
    "chromeleon_json": lambda: allotrope_builders.chromeleon_sequence(
        allotrope_builders.chromeleon_injection(1, password=SECRET, **{"api token": SECRET, "custom variables": {"user name": SECRET}})
    ),
    "empower_json": lambda: (
        json.dumps(allotrope_builders.empower()).replace("hunter2", SECRET).replace("t0ps3cret", SECRET).replace("hplc-robot", SECRET)
    ),
    "gen5_image": lambda: allotrope_builders.gen5().replace("Plate Number", f"Password\t{SECRET}\nUser Name\t{SECRET}\nPlate Number"),
    "openlab_rslt": lambda: allotrope_builders.openlab(dx={"user.xml": f"<User><Password>{SECRET}</Password></User>".encode()}),
    "pharmspec": lambda: allotrope_builders.workbook(
        *allotrope_builders.PHARMSPEC_HEAD,
        ("Password", ":", SECRET, "User Name", ":", SECRET),
        *allotrope_builders.PHARMSPEC_COUNTS,
        ("Approver_1",),
    ),
    "unicorn_zip": lambda: allotrope_builders.unicorn(
        criteria=allotrope_builders.unicorn_criterion("Password", SECRET) + allotrope_builders.unicorn_criterion("User name", SECRET)
    ),
    "lims_xlsx": lambda: workbook({"Lots": [(*LOT_NAMES, "password", "user name"), (*LOT, SECRET, SECRET)]}),
    "animl_xml": lambda: animl_builders.run().replace("hunter2", SECRET),
    "gaml_xml": lambda: gaml_builders.document(
        gaml_builders.experiment(
            gaml_builders.trace(gaml_builders.y_data()),
            more=f'<parameter name="a" label="Password">{SECRET}</parameter><parameter name="user_name">{SECRET}</parameter>',
        )
    ),
    "ezchrom_asc": lambda: ezchrom_builders.export(
        ("User Name:\tSystem", f"User Name:\t{SECRET}"), ("Version:\t3", f"Version:\t3\nPassword:\t{SECRET}")
    ),
}


@pytest.mark.parametrize("format_name", SECRETS)
def test_no_credential_reaches_a_table_or_a_message(format_name: str) -> None:
    made = SECRETS[format_name]()
    data = made.encode() if isinstance(made, str) else made
    result = read_file(data, ReadContext(file_name="x", strict=False))
    assert result.format == format_name
    assert SECRET not in repr(asdict(result))
    for damaged in (data[: len(data) * 2 // 3], data[:-3], data.replace(b"1", b"x"), data.replace(b"0", b"\x00"), data.replace(b",", b";")):
        try:
            message = repr(asdict(read_file(damaged, ReadContext(file_name="x", strict=True))))
        except UnreadableFileError as error:
            message = f"{error} {error.events}"
        assert SECRET not in message


def test_no_advice_is_for_a_rule_that_nothing_breaks() -> None:
    said: set[object] = set()
    for path in ROOT.rglob("*.py"):
        if path != ROOT / "sources" / "core" / "rules.py":
            said |= {
                node.value
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
    assert sorted(set(MEND) - said) == []


@pytest.mark.parametrize("data", [b"", b"\n\n", b"  \r\n", b"\xef\xbb\xbf", b"\x00" * 100])
def test_empty(data: bytes) -> None:
    assert rule_of(data)[0] == "empty"


def test_unknown_formats_say_what_was_seen() -> None:
    for data, seen in ((b"hello, world\n1,2\n", "hello, world"), (b"\x7fELF\x02\x01\x01\x00\x00\x00\x00", "7f 45 4c 46")):
        with pytest.raises(UnreadableFileError) as error:
            read(data)
        assert error.value.rule == "unknown_format"
        assert seen in error.value.reason


def test_bad_bytes_name_their_offset() -> None:
    data = labsolutions().encode()
    at = data.index(b"1234")
    assert rule_of(data[:at] + b"\x00" + data[at:]) == ("encoding", f"byte {at}")
    assert rule_of(data[:at] + b"\xff\xfe\x81" + data[at:]) == ("encoding", f"byte {at}")
    broken = "Ä µ".encode() + b"\xb5" + data
    with pytest.raises(UnreadableFileError) as error:
        decode(broken)
    assert (error.value.rule, error.value.place) == ("encoding", "byte 5")


def test_encodings_that_are_understood() -> None:
    assert decode("25 µl, 30 °C".encode("latin-1")).lines == ["25 µl, 30 °C"]
    assert decode("a\r\nb\rc\n".encode("utf-16")).lines == ["a", "b", "c"]
    assert decode(b"\xef\xbb\xbfa").lines == ["a"]
    for wrong in ("a\x00b".encode("utf-16"), b"\xff\xfea"):
        with pytest.raises(UnreadableFileError, match="encoding"):
            decode(wrong)


def test_huge_line_is_refused_quickly() -> None:
    assert rule_of(LOTS.encode() + b"x" * (2 << 20))[0] == "long_line"


@given(st.sampled_from(sorted(ONE_OF_EACH)), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_read_or_refused_but_never_crash(format_name: str, draw: st.DataObject) -> None:
    data = bytearray(ONE_OF_EACH[format_name])
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data) - 1))
        data[at : at + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
    rule, tables = "", {}
    try:
        tables = read_file(bytes(data), ReadContext(file_name="x")).tables
    except UnreadableFileError as error:
        rule = error.rule
    assert bool(rule) != bool(tables)
    for row in (*tables.get("chromatograms", []), *tables.get("instrument_status", [])):
        assert np.isfinite(row["x"]).all()
        assert np.isfinite(row["y"]).all()
        assert (np.diff(row["x"]) > 0).all()


def test_errors_cross_process_borders() -> None:
    error = pickle.loads(pickle.dumps(UnreadableFileError("truncated", "cut", "line 3")))  # noqa: S301 - our own bytes
    assert (error.rule, error.reason, error.place, str(error)) == ("truncated", "cut", "line 3", "truncated: cut (line 3)")


def test_names_in_paths() -> None:
    assert base_name("C:\\Users\\tom\\a.lcd") == "a.lcd"
    assert [stem(path) for path in ("C:\\x\\a.b.lcd", "/x/SEQ-1_2", "v1.25", ".hidden")] == ["a.b", "SEQ-1_2", "v1.25", ".hidden"]


@pytest.mark.parametrize("text", ["", "1,5", "1 000", "0x10", "1_0", "１", "1.2.3", "--1", "1e", "."])
def test_numbers_are_strict(text: str) -> None:
    with pytest.raises(NumberError):
        parse_number(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_round_trip_with_either_decimal_mark(value: float) -> None:
    assert parse_number(repr(value)) == value
    assert parse_number(repr(value).replace(".", ","), ",") == value


def test_units_and_signals() -> None:
    assert [time_unit(text) for text in ("Time-Sec", "time in minutes", "s", "h", None)] == ["s", "min", "s", None, None]
    assert is_status_signal("Pump_Pressure", "")
    assert is_status_signal("Signal 3", "bar")
    assert not is_status_signal("2489 ChA", "AU")
    assert not is_status_signal("ED_1", "nC")
