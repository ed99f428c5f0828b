"""Empower, Chromeleon, OpenLab and UNICORN through allotropy: numbers, units, times, names, and what must not come out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from lab_assets.contracts.bronze_chromatography import CHROMATOGRAMS, INSTRUMENT_STATUS, VENDOR_PEAKS
from lab_assets.contracts.bronze_core import PROVENANCE
from lab_assets.sources.base import Reader, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import open_archive
from lab_assets.sources.vendors.agilent.openlab_rslt import OpenLabRsltReader
from lab_assets.sources.vendors.cytiva.unicorn_zip import UnicornZipReader
from lab_assets.sources.vendors.thermo.chromeleon_json import ChromeleonJsonReader
from lab_assets.sources.vendors.waters.empower_json import EmpowerJsonReader
from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources import allotrope_builders as build
from lab_assets_tests.sources.allotrope_builders import rule, run, sureness
from lab_assets_tests.sources.allotrope_files import FILES, READERS


def empower(document: dict[str, Any], zone: str = "UTC") -> ReadResult:
    return run(EmpowerJsonReader(), json.dumps(document), zone=zone)


class TestEmpower:
    def test_signals_are_in_seconds_and_milli_absorbance(self):
        """0.5, 1, 1.5 min x 60; 0.25 AU x 1000."""
        (row,) = empower(build.empower()).tables["chromatograms"]
        assert row["x"].tolist() == [30.0, 60.0, 90.0]
        assert row["y"].tolist() == pytest.approx([1.0, 250.0, 2.0])
        assert (row["x_unit"], row["y_unit"], row["channel"], row["injection_name"]) == ("s", "mAU", "UV 220", "Std 1_1")

    def test_peaks_are_in_seconds_and_milli_absorbance_seconds(self):
        """120000 uV.s / 1000 = 120 mAU.s; a missing peak is none; -50000 is Empower's empty field."""
        first, second = empower(build.empower()).tables["vendor_peaks"]
        assert (first["peak_name"], first["retention_time"], first["start_time"], first["end_time"]) == ("A", 60.0, 54.0, 72.0)
        assert (first["area"], first["area_unit"], first["height"], first["height_unit"]) == (120.0, "mAU.s", 5.0, "mAU")
        assert (second["peak_no"], second["height"], second["height_unit"], second["tailing"]) == (2, None, None, 1.25)
        assert (second["amount"], second["amount_unit"]) == (3.5, None)

    def test_a_time_without_zone_is_the_source_s(self):
        (row,) = empower(build.empower(), zone="Europe/Ljubljana").tables["chromatograms"]
        assert row["injected_at_text"] == "2017-01-04T08:44:56"
        assert row["injected_at_utc"] == datetime(2017, 1, 4, 7, 44, 56, tzinfo=UTC)
        assert row["zone_known"] is False

    def test_two_channels_of_one_injection_stay_apart(self):
        channels = [build.empower_channel(1), build.empower_channel(1, "UV 254"), build.empower_channel(1, "UV 254")]
        tables = empower(build.empower(channels, [build.empower_result(1, "UV 220")])).tables
        assert [row["channel"] for row in tables["chromatograms"]] == ["UV 220", "UV 254", "UV 254 (2)"]
        assert {row["injection_name"] for row in tables["chromatograms"]} == {"Std 1_1"}
        assert {row["channel"] for row in tables["vendor_peaks"]} == {"UV 220"}

    @pytest.mark.parametrize(("unit", "stated"), [("EU", "EU"), (None, "")])
    def test_a_unit_the_converter_does_not_know_is_kept(self, unit: str | None, stated: str):
        tables = empower(build.empower([build.empower_channel(1, unit=unit)])).tables
        (row,) = tables["chromatograms"]
        assert (row["y"].tolist(), row["y_unit"]) == ([0.001, 0.25, 0.002], stated)
        assert (tables["vendor_peaks"][0]["area"], tables["vendor_peaks"][0]["area_unit"]) == (120.0, "mV.s")

    def test_a_pressure_channel_is_status(self):
        tables = empower(build.empower([build.empower_channel(1, "Pump", unit="psi")], [])).tables
        assert [(row["signal"], row["y_unit"]) for row in tables["instrument_status"]] == [("Pump", "psi")]

    def test_the_result_processed_last_counts(self):
        old = build.empower_result(1, area=1.0, ResultId=5, DateProcessed="2017-01-05T10:00:00")
        new = build.empower_result(1, area=2000.0, ResultId=4, DateProcessed="2017-01-06T10:00:00")
        gone = build.empower_result(1, area=3.0, ResultId=6, DateProcessed="2017-01-07T10:00:00", ResultSuperseded=True)
        result = empower(build.empower(results=[new, gone, old]))
        assert [row["area"] for row in result.tables["vendor_peaks"]] == [2.0, 60.0]
        assert any("2 older results" in warning for warning in result.warnings)

    def test_role_set_vial_and_project_are_rescued(self):
        (row,) = empower(build.empower()).tables["chromatograms"]
        rescued = row["rescued"]
        assert (rescued["sample role type"], rescued["SampleSetName"], rescued["Vial"]) == ("standard sample role", "set 9", "2")
        assert (rescued["project"], row["operator"], row["instrument_name"]) == ("P7", "Ana", "237")

    def test_credentials_reach_nothing(self):
        document = build.empower()
        document["values"]["channels"][0]["fields"]["LoginPassword"] = "hunter2"
        text = repr(empower(document))
        assert not any(secret in text for secret in ("hplc-robot", "hunter2", "t0ps3cret"))

    def test_credentials_reach_no_message(self):
        document = build.empower()
        document["values"]["channels"][0]["chrom"] = [["hunter2"], [1.0]]
        with pytest.raises(UnreadableFileError) as caught:
            empower(document)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize(
        ("chrom", "expected"),
        [
            ([[0.5, 1.0], [1.0]], "truncated"),
            ([[0.5, None], [1.0, 2.0]], "not_a_number"),
            ([[0.5], [1.0], [2.0]], "unsupported"),
            ([[1.0, 0.5], [1.0, 2.0]], "descending_x"),
            ([[0.5, 0.5], [1.0, 2.0]], "duplicate_x"),
            ([[0.5, 1.0], [1.0, 1e400]], "not_finite"),
        ],
    )
    def test_a_spoiled_signal_refuses_the_file(self, chrom: Any, expected: str):
        document = build.empower()
        document["values"]["channels"][0]["chrom"] = chrom
        assert rule(EmpowerJsonReader(), json.dumps(document).replace("Infinity", "1e999")) == expected

    def test_not_a_number_in_a_field_is_no_value(self):
        text = json.dumps(build.empower()).replace("5000.0", "NaN", 1)
        assert run(EmpowerJsonReader(), text).tables["vendor_peaks"][0]["height"] is None

    def test_hostile_nesting_is_refused(self):
        assert rule(EmpowerJsonReader(), '{"values":' + "[" * 1_000_000) == "too_large"
        assert rule(EmpowerJsonReader(), '{"values":' + '{"a":' * 1_000_000 + "1" + "}" * 1_000_001) == "too_large"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("{}", "missing_section"),
            ("[]", "unsupported"),
            ('{"values": {"injections": [{"fields": {}}]}}', "missing_column"),
            ('{"values": {"injections": [{"fields": {"InjectionId": 1}}]}}', "empty"),
            ('{"values"', "truncated"),
            ("\udcff".encode("utf-8", "surrogatepass"), "encoding"),
        ],
    )
    def test_what_is_no_sample_set_is_refused(self, text: Any, expected: str):
        assert rule(EmpowerJsonReader(), text) == expected

    def test_the_same_file_gives_the_same_rows(self):
        assert repr(empower(build.empower())) == repr(empower(build.empower()))

    @needs_samples
    def test_the_sample_gives_the_published_document_s_numbers(self):
        folder = (samples_dir() or pytest.skip()) / "allotropy" / "empower"
        result = run(EmpowerJsonReader(), (folder / "input" / "example_with_blanks_and_stds.json").read_bytes())
        published = json.loads((folder / "expected_asm" / "example_with_blanks_and_stds.json").read_text(encoding="utf-8"))
        root = published["liquid chromatography aggregate document"]["liquid chromatography document"]
        cubes = [m["chromatogram data cube"]["data"] for g in root for m in g["measurement aggregate document"]["measurement document"]]
        rows = result.tables["chromatograms"]
        assert len(rows) == len(cubes) == 7
        for data in cubes:
            assert any(np.array_equal(r["x"], data["dimensions"][0]) and np.array_equal(r["y"], data["measures"][0]) for r in rows)
        assert rows[1]["injection_name"] == "Std 1_1176"
        assert "manager" not in repr(result)


class TestChromeleon:
    def test_minutes_become_seconds_and_areas_follow(self):
        result = run(ChromeleonJsonReader(), build.chromeleon_sequence(build.chromeleon_injection(2)))
        (row,), (peak,) = result.tables["chromatograms"], result.tables["vendor_peaks"]
        assert (row["x"].tolist(), row["x_unit"], row["y"].tolist(), row["y_unit"]) == ([0.0, 30.0, 60.0], "s", [0.0, 8.0, 1.0], "mAU")
        assert (peak["retention_time"], peak["area"], peak["area_unit"], peak["height_unit"]) == (60.0, 120.0, "mAU.s", "mAU")
        assert (peak["plates"], peak["tailing"], peak["resolution"]) == (312.0, 1.25, None)

    def test_baseline_values_keep_the_file_s_numbers_without_a_unit(self):
        (peak,) = run(ChromeleonJsonReader(), build.chromeleon_sequence(build.chromeleon_injection(2))).tables["vendor_peaks"]
        assert (peak["rescued"]["start value baseline"], peak["rescued"]["stop value baseline"]) == ("0.25", "0.5")
        assert not any(key.startswith("baseline value") for key in peak["rescued"])

    def test_standards_of_one_name_are_given_names_of_their_own(self):
        text = build.chromeleon_sequence(*(build.chromeleon_injection(number) for number in (2, 3)))
        rows = run(ChromeleonJsonReader(), text).tables["chromatograms"]
        assert [(row["injection_name"], row["sample_name"]) for row in rows] == [("SST_2", "SST"), ("SST_3", "SST")]

    def test_time_with_offset_person_and_fields(self):
        (row,) = run(ChromeleonJsonReader(), build.chromeleon_sequence(build.chromeleon_injection(2)), zone="Asia/Tokyo").tables[
            "chromatograms"
        ]
        assert (row["injected_at_utc"], row["zone_known"]) == (datetime(2011, 7, 15, 15, 28, 24, tzinfo=UTC), True)
        assert (row["operator"], row["instrument_name"], row["rescued"]["Stability"]) == ("Ana", "S1", "12M")
        assert (row["rescued"]["sequence name"], row["rescued"]["wavelength setting"]) == ("CU stage 1", "230.0")

    def test_a_time_in_another_order_is_not_guessed(self):
        injection = build.chromeleon_injection(1, **{"injection time": "03/04/2025 10:00:00"})
        result = run(ChromeleonJsonReader(), build.chromeleon_sequence(injection))
        (row,) = result.tables["chromatograms"]
        assert (row["injected_at_text"], row["injected_at_utc"]) == ("03/04/2025 10:00:00", None)
        assert result.warnings

    def test_a_signal_without_wavelength_has_no_unit(self):
        signals: list[dict[str, Any]] = build.chromeleon_injection(1)["signals"]
        del signals[0]["wavelength setting"]
        tables = run(ChromeleonJsonReader(), build.chromeleon_sequence(build.chromeleon_injection(1, signals=signals))).tables
        assert (tables["chromatograms"][0]["y_unit"], tables["vendor_peaks"][0]["area_unit"]) == ("", None)

    @pytest.mark.parametrize(("name", "unit"), [("FLD1_Signal_A", ""), ("Emission_1", ""), ("UV_VIS_1", "mAU"), ("Channel_1", "mAU")])
    def test_a_fluorescence_signal_has_no_absorbance_unit(self, name: str, unit: str):
        """Its detector has a wavelength as well."""
        signals: list[dict[str, Any]] = build.chromeleon_injection(1)["signals"]
        signals[0]["signal name"] = name
        (row,) = run(ChromeleonJsonReader(), build.chromeleon_sequence(build.chromeleon_injection(1, signals=signals))).tables[
            "chromatograms"
        ]
        assert row["y_unit"] == unit

    def test_injections_without_signals_are_no_rows(self):
        text = build.chromeleon_sequence(build.chromeleon_injection(1, signals=[]), build.chromeleon_injection(2))
        assert [row["injection_name"] for row in run(ChromeleonJsonReader(), text).tables["chromatograms"]] == ["SST_2"]
        assert rule(ChromeleonJsonReader(), build.chromeleon_sequence()) == "empty"

    @needs_samples
    def test_the_sample(self):
        path = (samples_dir() or pytest.skip()) / "allotropy" / "chromeleon" / "input" / "chromeleon_example_multi_signal.json"
        tables = run(ChromeleonJsonReader(), path.read_bytes()).tables
        assert [(row["channel"], row["x_last"]) for row in tables["chromatograms"]] == [("UV_VIS_1", 120.0), ("UV_VIS_2", 120.0)]
        (peak,) = tables["vendor_peaks"]
        assert (peak["channel"], peak["area"], peak["start_time"], peak["end_time"]) == ("UV_VIS_2", 480000.0, 24.0, 96.0)


class TestUnicorn:
    @pytest.mark.parametrize("framed", [True, False])
    def test_points_are_read_in_step(self, framed: bool):
        """Conductivity: 10 mS/cm is 1 S/m."""
        tables = run(UnicornZipReader(), build.unicorn(framed=framed)).tables
        (row,) = tables["chromatograms"]
        assert (row["channel"], row["x"].tolist(), row["x_unit"]) == ("UV 1_280", [0.0, 0.5, 1.0, 1.5], "mL")
        assert (row["y"].tolist(), row["y_unit"]) == ([1.0, 40.0, 2.0, 1.0], "mAU")
        status = {row["signal"]: (row["y"].tolist(), row["y_unit"]) for row in tables["instrument_status"]}
        assert status == {"Cond": ([1.0, 2.0, 3.0, 4.0], "S/m"), "System pressure": ([0.25, 0.5, 0.5, 0.25], "MPa")}

    def test_peaks_are_over_volume(self):
        (peak,) = run(UnicornZipReader(), build.unicorn()).tables["vendor_peaks"]
        assert (peak["retention_time"], peak["start_time"], peak["end_time"], peak["retention_unit"]) == (0.5, 0.25, 1.25, "mL")
        assert (peak["area"], peak["area_unit"], peak["height"], peak["height_unit"]) == (20.5, "mAU.mL", 40.0, "mAU")
        assert (peak["peak_name"], peak["tailing"], peak["resolution"], peak["channel"]) == ("IgG", 1.5, 2.25, "UV 1_280")

    def test_an_integrated_monitor_is_a_detector(self):
        tables = run(UnicornZipReader(), build.unicorn(cond_peaks=True)).tables
        assert [row["channel"] for row in tables["chromatograms"]] == ["UV 1_280", "Cond"]
        assert tables["vendor_peaks"][0]["channel"] == "Cond"

    def test_the_start_is_the_system_s_clock(self):
        (row,) = run(UnicornZipReader(), build.unicorn(), zone="Europe/Ljubljana").tables["chromatograms"]
        assert (row["injected_at_text"], row["zone_known"]) == ("2025-07-15T10:00:00.000", False)
        assert row["injected_at_utc"] == datetime(2025, 7, 15, 8, 0, tzinfo=UTC)
        assert row["rescued"]["MethodStartTimeUtcOffsetMinutes"] == "120"

    def test_the_first_sample_is_the_sample(self):
        criteria = build.unicorn_criterion("Sample_ID", "mAb 1") + build.unicorn_criterion("Sample_ID_2", "wash")
        (row,) = run(UnicornZipReader(), build.unicorn(criteria=criteria)).tables["chromatograms"]
        assert (row["sample_name"], row["rescued"]["Sample_ID_2"], row["injection_name"]) == ("mAb 1", "wash", "Run 7")
        assert (row["instrument_name"], row["software"], row["operator"]) == ("AKTA 5", "UNICORN 7.7", "Ana")

    def test_readings_without_flow_are_left_out_with_a_warning(self):
        result = run(UnicornZipReader(), build.unicorn(volumes=(0.0, 0.5, 0.5, 1.5)))
        assert result.tables["chromatograms"][0]["x"].tolist() == [0.0, 0.5, 1.5]
        assert any("1 readings without flow" in warning for warning in result.warnings)

    def test_spoiled_results_are_refused(self):
        assert rule(UnicornZipReader(), build.unicorn(volumes=(0.0, 1.0, 0.5, 1.5))) == "descending_x"
        assert rule(UnicornZipReader(), build.packed({"Chrom.1.Xml": "<a/>"})) == "missing_section"
        bomb = '<!DOCTYPE a [<!ENTITY b "b">]><ResultData>&b;</ResultData>'
        assert rule(UnicornZipReader(), build.packed({"Result.xml": bomb})) == "hostile_xml"

    @needs_samples
    def test_the_sample_s_unframed_arrays(self):
        """100 volumes from 0 to 500 mL; the published document holds them out of step."""
        path = (samples_dir() or pytest.skip()) / "allotropy" / "unicorn" / "unicorn_single_uv.zip"
        tables = run(UnicornZipReader(), path.read_bytes()).tables
        (row,) = tables["chromatograms"]
        assert (row["n_points"], row["x"][0], row["x_last"]) == (100, 0.0, 500.0)
        assert row["x"] == pytest.approx(np.linspace(0, 500, 100), rel=1e-6)
        assert [row["signal"] for row in tables["instrument_status"]] == ["Cond", "pH", "System pressure", "Cond temp"]


class TestOpenLab:
    def test_signals_and_pump(self):
        """Three points over 60 s; 400 x 0.5 = 200 bar = 20 MPa."""
        tables = run(OpenLabRsltReader(), build.openlab()).tables
        (row,), (status,) = tables["chromatograms"], tables["instrument_status"]
        assert (row["injection_name"], row["channel"], row["x"].tolist(), row["x_unit"]) == ("run-01", "DAD1A", [0.0, 30.0, 60.0], "s")
        assert (row["y"].tolist(), row["y_unit"]) == ([1.0, 40.0, 2.0], "mAU")
        assert (status["signal"], status["y"].tolist(), status["y_unit"]) == ("pump pressure", [20.0, 20.5, 21.0], "MPa")

    def test_peaks(self):
        (peak,) = run(OpenLabRsltReader(), build.openlab()).tables["vendor_peaks"]
        assert (peak["retention_time"], peak["area"], peak["area_unit"], peak["height"]) == (30.0, 12.5, "mAU.s", 40.0)
        assert (peak["plates"], peak["resolution"], peak["tailing"]) == (5000.0, 2.5, None)
        assert "asymmetry factor measured at 10 % height" not in peak["rescued"]

    def test_header(self):
        (row,) = run(OpenLabRsltReader(), build.openlab(), zone="Asia/Tokyo").tables["chromatograms"]
        assert (row["injected_at_text"], row["zone_known"]) == ("2023-09-01T07:52:57-04:00", True)
        assert row["injected_at_utc"] == datetime(2023, 9, 1, 11, 52, 57, tzinfo=UTC)
        assert (row["sample_name"], row["method_name"], row["operator"], row["software"]) == (
            "ACN",
            "Assay 38",
            "Ana",
            "OpenLabCDS 2.5",
        )
        assert (row["rescued"]["sample role type"], row["rescued"]["location identifier"]) == ("blank role", "P1-A2")

    def test_a_time_without_offset_is_the_source_s(self):
        data = build.openlab(dx={"run-01.dx": build.openlab_dx("ACN", at="2023-09-01T07:52:57")})
        (row,) = run(OpenLabRsltReader(), data, zone="Asia/Tokyo").tables["chromatograms"]
        assert (row["injected_at_utc"], row["zone_known"]) == (datetime(2023, 8, 31, 22, 52, 57, tzinfo=UTC), False)

    def test_a_role_found_by_a_part_of_the_name_is_left_out(self):
        result = run(OpenLabRsltReader(), build.openlab({"S10": "Calibration", "S1": "Blank"}))
        roles = {row["sample_name"]: row["rescued"].get("sample role type") for row in result.tables["chromatograms"]}
        assert roles == {"S10": None, "S1": "blank role"}
        assert any("S10" in warning for warning in result.warnings)

    def test_a_result_set_in_a_folder_or_packed_again(self):
        plain = run(OpenLabRsltReader(), build.openlab()).tables["chromatograms"][0]
        for data in (build.openlab(folder="Luxo.rslt/"), build.packed({"set.rslt": build.openlab()})):
            assert run(OpenLabRsltReader(), data).tables["chromatograms"][0]["injection_name"] == plain["injection_name"]

    def test_what_is_no_result_set_is_refused(self):
        assert rule(OpenLabRsltReader(), build.packed({"a.txt": "x"})) == "missing_section"
        assert rule(OpenLabRsltReader(), build.packed({"a.acaml": "<ACAML/>"})) == "missing_section"
        assert rule(OpenLabRsltReader(), build.openlab(dx={"run-01.dx": b"PK\x03\x04"})) == "truncated"
        assert rule(OpenLabRsltReader(), build.openlab(dx={"run-01.dx": b"text"})) == "truncated"


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.format)
def test_a_reader_knows_its_own_files_only(reader: Reader):
    for file_format, file in FILES.items():
        answer = sureness(reader, "file.bin", file())
        assert answer >= 90 if file_format == reader.format else answer == 0


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.format)
def test_rows_are_those_of_the_contracts(reader: Reader):
    tables = run(reader, FILES[reader.format]()).tables
    assert set(tables) <= set(reader.tables)
    for contract in (CHROMATOGRAMS, VENDOR_PEAKS, INSTRUMENT_STATUS):
        own = {column.name for column in contract.columns if column not in PROVENANCE} | {"source_row"}
        assert all(set(row) == own for row in tables.get(contract.name, []))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.format)
def test_a_damaged_file_is_refused_or_read_and_nothing_else(reader: Reader, capfd: pytest.CaptureFixture[str]):
    data = FILES[reader.format]()
    generator = np.random.default_rng(7)
    cuts = [data[: int(at)] for at in generator.integers(1, len(data), 25)]
    flips = []
    for at in generator.integers(0, len(data), 60):
        spoiled = bytearray(data)
        spoiled[int(at)] ^= 1 << int(generator.integers(0, 8))
        flips.append(bytes(spoiled))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for spoiled in [*cuts, *flips]:
            try:
                if spoiled.startswith(b"PK\x03\x04"):
                    open_archive(spoiled)
                run(reader, spoiled)
            except UnreadableFileError:
                pass
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("reader", READERS[:2], ids=lambda reader: reader.format)
def test_json_of_another_shape_is_refused_or_read_and_nothing_else(reader: Reader):
    generator = np.random.default_rng(5)
    strangers: list[Any] = [None, [], {}, "x", -1, True, [[]], {"value": 1}, 1e300, "\ud800"]
    for _ in range(150):
        root = json.loads(FILES[reader.format]())
        spots = list(_spots(root))
        holder, key = spots[int(generator.integers(0, len(spots)))]
        holder[key] = strangers[int(generator.integers(0, len(strangers)))]
        try:
            tables = run(reader, json.dumps(root)).tables
        except UnreadableFileError:
            continue
        for rows in tables.values():
            for row in rows:
                assert all(value.encode() is not None for value in row.values() if isinstance(value, str))


def _spots(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON document, as its container and key."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(pairs):
        yield node, key
        yield from _spots(value)
