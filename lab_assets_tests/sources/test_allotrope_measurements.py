"""PharmSpec, Gen5 images and VISIONlite: every number with its unit, place and time."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from lab_assets.contracts.bronze_readings import MEASUREMENTS
from lab_assets.sources.all_readers import recognise
from lab_assets.sources.base import Reader, ReadResult, UnreadableFileError
from lab_assets.sources.vendors.agilent.gen5_image import Gen5ImageReader
from lab_assets.sources.vendors.beckman.pharmspec import PharmSpecReader
from lab_assets.sources.vendors.thermo.visionlite import VisionliteReader
from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources import allotrope_builders as build
from lab_assets_tests.sources import builders
from lab_assets_tests.sources.allotrope_builders import rule, run, sureness
from lab_assets_tests.sources.allotrope_files import FILES as CHROMATOGRAPHY
from lab_assets_tests.sources.allotrope_files import READERS as CHROMATOGRAPHS

READERS: tuple[Reader, ...] = (PharmSpecReader(), Gen5ImageReader(), VisionliteReader())
FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "pharmspec": ("pharmspec", build.pharmspec),
    "hiac": ("pharmspec", build.hiac),
    "hiac_html": ("pharmspec", lambda: build.hiac_html().encode()),
    "gen5": ("gen5_image", lambda: build.gen5().encode()),
    "visionlite_fixed": ("visionlite", build.VISIONLITE["fixed"].encode),
    "visionlite_quant": ("visionlite", build.VISIONLITE["quant"].encode),
    "visionlite_scan": ("visionlite", build.VISIONLITE["scan"].encode),
}


def values(result: ReadResult) -> list[tuple[Any, ...]]:
    keys = ("measurement_no", "sample_name", "quantity", "position", "value", "unit")
    return [tuple(row[key] for key in keys) for row in result.tables["measurements"]]


class TestPharmSpec:
    @pytest.mark.parametrize("data", [build.pharmspec(), build.hiac(), build.hiac_html().encode()], ids=["pharmspec", "hiac", "html"])
    def test_counts_by_size_and_their_average(self, data: bytes):
        """Two runs and their average, two sizes, four quantities."""
        found = values(run(PharmSpecReader(), data))
        assert len(found) == 3 * 2 * 4
        assert (1, "LOT-7", "cumulative count", "2 µm", 48.0, "") in found
        assert (1, "LOT-7", "differential particle density", "5 µm", 5.0, "Counts/mL") in found
        assert (2, "LOT-7", "cumulative particle density", "2 µm", 120.0, "Counts/mL") in found
        assert (3, "LOT-7", "average differential count", "2 µm", 31.0, "") in found
        assert (3, "LOT-7", "average cumulative count", "5 µm", 5.0, "") in found

    def test_a_dotted_date_is_day_first(self):
        row = run(PharmSpecReader(), build.pharmspec(), zone="Europe/Ljubljana").tables["measurements"][0]
        assert (row["measured_at_text"], row["zone_known"]) == ("12.08.2022 07:51:50", False)
        assert row["measured_at_utc"] == datetime(2022, 8, 12, 5, 51, 50, tzinfo=UTC)
        assert (row["instrument_name"], row["software"], row["operator"]) == ("HRLD-400", "PharmSpec 3.4", "Ana")

    def test_only_what_the_file_says_is_rescued(self):
        rescued = run(PharmSpecReader(), build.pharmspec()).tables["measurements"][0]["rescued"]
        assert (rescued["View Volume"], rescued["Batch-Nr"], rescued["measurement identifier"]) == ("100", "B7", "Run1")
        assert not any("view volume" in key or "flush" in key for key in rescued)
        assert run(PharmSpecReader(), build.hiac()).tables["measurements"][0]["rescued"]["Run1"] == "Discarded"

    def test_other_workbooks_are_refused(self):
        assert rule(PharmSpecReader(), build.hiac_html().removesuffix("</table></body></html>")) == "truncated"
        assert rule(PharmSpecReader(), build.workbook(("a", "b"), ("1", "2"))) in {"unsupported", "truncated"}
        assert rule(PharmSpecReader(), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)) == "truncated"


class TestGen5:
    def test_features_of_wells(self):
        found = values(run(Gen5ImageReader(), build.gen5()))
        assert found[:2] == [(1, "Plate 1 A1", "Cell Count", "A1", 12087.0, ""), (1, "Plate 1 A1", "Object Size", "A1", 20.2, "")]
        assert found[-1] == (4, "Plate 1 B2", "Object Size", "B2", 3.45e6, "")
        assert [row[:1] + row[3:4] for row in found] == [(1, "A1")] * 2 + [(2, "A2")] * 2 + [(3, "B1")] * 2 + [(4, "B2")]

    def test_one_channel_gives_the_same_values(self):
        assert values(run(Gen5ImageReader(), build.gen5(channels=1))) == values(run(Gen5ImageReader(), build.gen5()))

    def test_what_is_no_number_keeps_its_text(self):
        result = run(Gen5ImageReader(), build.gen5())
        (row,) = (row for row in result.tables["measurements"] if row["value"] is None)
        assert (row["position"], row["quantity"], row["value_text"]) == ("A2", "Object Size", "OVRFLW")
        assert result.warnings == ["1 results without a value are left out"]

    def test_header_without_folders(self):
        row = run(Gen5ImageReader(), build.gen5()).tables["measurements"][0]
        assert (row["measured_at_text"], row["measured_at_utc"]) == ("3/15/2020 8:23:01 AM", datetime(2020, 3, 15, 8, 23, 1, tzinfo=UTC))
        assert (row["instrument_name"], row["software"], row["method_name"]) == ("Cytation7", "Gen5 3.12.08", "Count")
        assert row["rescued"]["channel 2 fluorescent tag setting"] == "GFP"
        assert "Documents" not in repr(row)

    def test_what_cannot_be_read_is_refused(self):
        assert rule(Gen5ImageReader(), build.gen5(results="")) == "empty"
        assert rule(Gen5ImageReader(), build.gen5().replace("Image Montage", "Absorbance Endpoint")) == "unsupported"
        assert rule(Gen5ImageReader(), build.gen5() * 2) == "unsupported"
        assert rule(Gen5ImageReader(), build.gen5().replace("B\t8528\t\tCell Count", "B\t8528")) == "truncated"
        kinetic = build.gen5().replace("Read\tImage", "Discontinuous Kinetics\tRuntime 1:00:00, 2 Reads\nRead\tImage")
        assert rule(Gen5ImageReader(), kinetic) == "unsupported"

    def test_a_table_for_each_feature_gives_the_same(self):
        """Exports without the results matrix have one table a feature; what is no number keeps its text there too."""
        tables = "Cell Count\n\t1\t2\nA\t12087\t13478\tCell Count\nB\t8528\t\tCell Count\n\n"
        tables += "Object Size\n\t1\t2\nA\t20.2\tOVRFLW\tObject Size\nB\t22.9\t3.45E+06\tObject Size\n\n"
        found = run(Gen5ImageReader(), build.gen5(results=tables))
        assert found.tables["measurements"] == run(Gen5ImageReader(), build.gen5()).tables["measurements"]

    @pytest.mark.parametrize(
        ("written", "instead", "expected"),
        [
            ("Results\n\t1\t2", "Results\n\t2\t3", "unsupported"),
            ("\t22.9\t3.45E+06\tObject Size\n", "", "truncated"),
            ("\t22.9\t3.45E+06\tObject Size", "\t1\t2\tCell Count", "duplicate_key"),
            ("22.9", "22,9", "not_a_number"),
        ],
        ids=["columns not from 1", "feature missing in a row", "feature twice", "two decimal marks"],
    )
    def test_tables_that_could_be_read_wrongly_are_refused(self, written: str, instead: str, expected: str):
        assert rule(Gen5ImageReader(), build.gen5().replace(written, instead)) == expected

    def test_decimal_commas(self):
        text = build.gen5().replace("20.2", "20,2").replace("22.9", "22,9").replace("3.45E+06", "3,45E+06")
        assert values(run(Gen5ImageReader(), text)) == values(run(Gen5ImageReader(), build.gen5()))

    def test_the_layout_names_the_samples(self):
        """Names stay as written, even those that look like numbers; the other fields of a well are kept."""
        layout = "Layout\n\t1\t2\nA\t007\tNA\tWell ID\n\t\t0.10\tConc/Dil\n\nActual Temperature:\t26.3\n\n"
        rows = run(Gen5ImageReader(), build.gen5(results=layout + build.GEN5_RESULTS)).tables["measurements"]
        assert [(row["position"], row["sample_name"]) for row in rows[::2]] == [
            ("A1", "007"),
            ("A2", "NA"),
            ("B1", "Plate 1 B1"),
            ("B2", "Plate 1 B2"),
        ]
        assert (rows[2]["rescued"]["Conc/Dil"], rows[2]["rescued"]["Actual Temperature"]) == ("0.10", "26.3")
        assert "Conc/Dil" not in rows[0]["rescued"]

    def test_sections_that_are_not_read_are_reported(self):
        fit = "Dose Fitting Results\n\nCurve Name\tR2\nDose_1\t0.991\n\nDose Interpolations\n\nCurve Name\tX\nDose_1\t1.9\n\n"
        result = run(Gen5ImageReader(), build.gen5(results=build.GEN5_RESULTS + fit))
        assert result.warnings[0] == "sections that are not read: 'Dose Fitting Results', 'Dose Interpolations'"
        assert values(result) == values(run(Gen5ImageReader(), build.gen5()))


class TestVisionlite:
    def test_fixed_wavelengths_and_what_was_calculated(self):
        assert values(run(VisionliteReader(), build.VISIONLITE["fixed"])) == [
            (1, "1", "absorbance", "500 nm", 0.027, "A"),
            (2, "1", "absorbance", "280 nm", 0.029, "A"),
            (1, "1", "Result", None, 0.056, ""),
            (3, "2", "absorbance", "500 nm", 0.047, "A"),
            (4, "2", "absorbance", "280 nm", 0.049, "A"),
            (3, "2", "Result", None, 0.096, ""),
        ]

    def test_quantification(self):
        found = values(run(VisionliteReader(), build.VISIONLITE["quant"]))
        assert found[:2] == [(1, "x", "absorbance", None, 0.02505, "A"), (1, "x", "mass concentration", None, 2.235, "mg/L")]

    def test_a_spectrum(self):
        result = run(VisionliteReader(), build.VISIONLITE["scan"])
        assert values(result) == [(1, "x", "absorbance", "400 nm", 0.043, "A"), (1, "x", "absorbance", "401 nm", 0.044, "A")]
        row = result.tables["measurements"][0]
        assert (row["measured_at_utc"], row["instrument_name"]) == (datetime(2024, 10, 7, 11, 9, 36, tzinfo=UTC), "Evolution 350")

    def test_without_a_header_there_is_no_time(self):
        row = run(VisionliteReader(), build.VISIONLITE["fixed"]).tables["measurements"][0]
        assert (row["measured_at_text"], row["measured_at_utc"], row["zone_known"]) == (None, None, False)

    def test_a_result_of_zero_and_a_ratio_are_kept(self):
        found = values(run(VisionliteReader(), "Sample Name,A260,A280,A260/A280,Result\nx,0.5,0.25,2.0,0\n"))
        assert found == [
            (1, "x", "absorbance", "260 nm", 0.5, ""),
            (2, "x", "absorbance", "280 nm", 0.25, ""),
            (1, "x", "A260/A280", None, 2.0, ""),
            (1, "x", "Result", None, 0.0, ""),
        ]

    def test_no_column_is_passed_over(self):
        """Blanks in a heading differ between versions; text about a sample is kept beside its values."""
        rows = run(VisionliteReader(), "Sample Name,500 nm   [A],280 nm [A],Comment\nNA,0.02,>3.0,hazy\n").tables["measurements"]
        assert [(row["position"], row["value"], row["value_text"]) for row in rows] == [("500 nm", 0.02, None), ("280 nm", None, ">3.0")]
        assert (rows[0]["sample_name"], rows[0]["rescued"]["Comment"]) == ("NA", "hazy")

    def test_units_are_the_files(self):
        text = "Sample Name,Dilution factor,Ordinate [A],Concentration [µg/mL],Error\nx,2,0.025,2.2,range\ny,1,0.03,,\n"
        result = run(VisionliteReader(), text)
        assert values(result)[1] == (1, "x", "mass concentration", None, 2.2, "µg/mL")
        assert result.tables["measurements"][0]["rescued"] == {"Dilution factor": "2", "Error": "range"}
        assert result.warnings == ["1 results without a value are left out"]
        assert values(run(VisionliteReader(), text.replace("µg/mL", "mmol/L")))[1][2] == "concentration"
        assert values(run(VisionliteReader(), "Sample Name,500 nm [%T]\nx,98.5\n")) == [(1, "x", "transmittance", "500 nm", 98.5, "%T")]

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_decimal_commas(self, separator: str):
        text = "Sample Name;500 nm   [A]\n1;0,027\n2;1\n".replace(";", separator)
        assert [row[4] for row in values(run(VisionliteReader(), text))] == [0.027, 1.0]

    def test_samples_that_are_numbers_are_no_times(self):
        """Such a table could pass for a chromatogram: sample numbers as times."""
        assert recognise("x.csv", b"Sample Name,Absorbance\n1,0.5\n2,0.6\n").format == "visionlite"

    def test_a_heading_without_unit_gives_none(self):
        assert values(run(VisionliteReader(), "Sample Name,Absorbance\nx,0.5\n"))[0] == (1, "x", "absorbance", None, 0.5, "")

    def test_what_cannot_be_read_is_refused(self):
        assert rule(VisionliteReader(), build.VISIONLITE["rate"]) == "unsupported"
        assert rule(VisionliteReader(), build.VISIONLITE["scan"][:-2]) == "truncated"
        assert rule(VisionliteReader(), build.VISIONLITE["fixed"].replace("2,0.047, 0.049, 0.096", "2,0.047")) == "truncated"
        assert rule(VisionliteReader(), build.VISIONLITE["fixed"].replace("280", "500")) == "duplicate_column"
        assert rule(VisionliteReader(), build.VISIONLITE["scan"].replace("0.044", "NaN")) == "not_finite"
        assert rule(VisionliteReader(), "Sample Name,500 nm   [A]\nx,\n") == "empty"


@pytest.mark.parametrize("file", FILES)
def test_rows_are_those_of_the_contract(file: str):
    file_format, data = FILES[file]
    reader = next(reader for reader in READERS if reader.format == file_format)
    rows = run(reader, data()).tables["measurements"]
    known = set(MEASUREMENTS.column_names)
    assert [row["source_row"] for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        assert set(row) <= known
        assert all(row[column.name] is not None for column in MEASUREMENTS.columns if not column.nullable and column.name in row)
    assert repr(rows) == repr(run(reader, data()).tables["measurements"])


@pytest.mark.parametrize("file", FILES)
def test_only_the_own_reader_knows_a_file(file: str):
    file_format, data = FILES[file]
    for reader in (*READERS, *CHROMATOGRAPHS):
        answer = sureness(reader, "file.bin", data())
        assert answer >= 90 if reader.format == file_format else answer == 0


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.format)
def test_chromatography_is_foreign(reader: Reader):
    assert all(sureness(reader, "file.bin", data()) == 0 for data in CHROMATOGRAPHY.values())


@pytest.mark.parametrize("reader", [*READERS, *CHROMATOGRAPHS], ids=lambda reader: reader.format)
def test_files_of_other_readers_are_not_taken(reader: Reader):
    texts = (builders.labsolutions(), builders.chromeleon(), builders.arw(), builders.arw(pairs=True), "Sample Name,Result,Unit\nx,1,%\n")
    assert all(sureness(reader, "file.csv", text.encode()) == 0 for text in texts)
    assert sureness(reader, "file.cdf", builders.andi()) == 0
    assert sureness(reader, "file.xlsx", build.workbook(("Sample Name", "Result"), ("x", "1"))) == 0


@needs_samples
@pytest.mark.parametrize("reader", [*READERS, *CHROMATOGRAPHS], ids=lambda reader: reader.format)
def test_foreign_samples_are_not_taken(reader: Reader):
    root = samples_dir() or pytest.skip()
    own = {"empower_json": "empower/input", "chromeleon_json": "chromeleon/input", "unicorn_zip": "unicorn/unicorn_single_uv.zip"}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            name = path.relative_to(root).as_posix()
            mine = reader.format in own and own[reader.format] in name
            answer = sureness(reader, name, path.read_bytes())
            assert answer >= 90 if mine else answer == 0, name


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_refused_or_read_and_nothing_else(file: str, capfd: pytest.CaptureFixture[str]):
    file_format, source = FILES[file]
    reader = next(reader for reader in READERS if reader.format == file_format)
    data = source()
    generator = np.random.default_rng(11)
    spoiled = [data[: int(at)] for at in generator.integers(1, len(data), 15)]
    for at in generator.integers(0, len(data), 40):
        changed = bytearray(data)
        changed[int(at)] ^= 1 << int(generator.integers(0, 8))
        spoiled.append(bytes(changed))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for each in spoiled:
            try:
                rows = run(reader, each).tables["measurements"]
            except UnreadableFileError:
                continue
            assert all(row["value"] is None or np.isfinite(row["value"]) for row in rows)
    assert capfd.readouterr().err == ""


TABLES = {
    "samples and one number": "Sample Name,Purity\n1,99.5\n2,99.4\n",
    "the same in German": "Sample Name;Gehalt\n1;99,5\n2;99,4\n",
    "plate photometer": "Sample name,Plate ID,Plate Position,A260,A260/A280\nx,P1,A1,0.1,1.8\ny,P1,B1,1.0,1.9\n",
    "plate photometer, other order": "Plate ID,Sample name,Date,A260\nP1,x,17/10/2016,0.1\nP1,y,17/10/2016,0.2\n",
    "wavelengths": "Wavelength,Absorbance (mAU)\n426.0,0.01\n426.0,0.02\n",
    "cell counter": "Cell Counter XR\n\nSample ID : S-1\nRunDate : 29 Sep 2023  5:21:32 AM\n\nResults:\nTotal cells : 4263\n",
    "plate reader": "User: x,Test run no.: 4\nDate: 5/14/2021,Time: 3:29:50 PM\n\nAbsorbance\n\n,1,2\nA,0.073,0.082\nB,0.045,0.067\n",
    "blocks of wells": "##BLOCKS= 1\nPlate:\tP1\t1.3\tEndpoint\tAbsorbance\n\tTemperature\t1\t2\n\t22\t2,6173\t2,4966\n~End\n",
    "qPCR": "* Block Type = 96-Well\n\n[Results]\nWell\tWell Position\tSample Name\tCT\n1\tA1\tx\t21.5\n2\tA2\ty\t22.5\n",
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("file_name", ["x.csv", "x.txt"])
def test_tables_of_other_instruments_belong_to_no_reader(name: str, file_name: str):
    with pytest.raises(UnreadableFileError) as caught:
        recognise(file_name, TABLES[name].encode())
    assert caught.value.rule == "unknown_format"
