"""Every number of the real files against what their owners published, or against the file read in the plainest way."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from lab_assets.sources.all_readers import read_file, recognise
from lab_assets.sources.base import ReadContext, ReadResult
from lab_assets_tests.samples import needs_samples, samples_dir

pytestmark = needs_samples

ANDI = ("DIONEX", "EXAMPLE", "ACID", "SHIMADZU", "VARIAN1", "WATERS4")
SEQUENCE = ("A1", "A2", "A3", *(f"STD{level}-{run}" for level in (6, 12, 25, 50, 100) for run in (1, 2)))
FORMATS = {
    **{f"andi_cdf/{name}.CDF": "andi_netcdf" for name in ANDI},
    **{f"hplc_sequence/{name}.txt": "long_table" for name in SEQUENCE},
    "hplc_sequence/standards_linear-model.tsv": "processing_table",
    "labsolutions_text/ladder.txt": "labsolutions_text",
    "chromeleon_text/chromeleon_period.txt": "chromeleon_text",
    "allotropy/chromeleon/input/chromeleon_example_multi_signal.json": "chromeleon_json",
    "allotropy/empower/input/example_with_blanks_and_stds.json": "empower_json",
    "allotropy/unicorn/unicorn_single_uv.zip": "unicorn_zip",
}


def sample(path: str) -> Path:
    folder = samples_dir()
    assert folder is not None
    return folder / path


def result_of(path: str) -> ReadResult:
    return read_file(sample(path).read_bytes(), ReadContext(file_name=path.rpartition("/")[2]))


@pytest.mark.parametrize("path", FORMATS)
def test_recognised_under_any_name(path: str) -> None:
    data = sample(path).read_bytes()
    assert {recognise(name, data).format for name in (path, "x", "x.csv", "x.pdf")} == {FORMATS[path]}


@pytest.mark.parametrize("name", ANDI)
def test_andi_everything_published(name: str) -> None:
    expected = json.loads(sample("andi_cdf/expected.json").read_text())[f"{name}.CDF"]
    result = result_of(f"andi_cdf/{name}.CDF")
    (row,) = result.tables["chromatograms"]
    attributes = {key: (value or "").strip() for key, value in expected["attributes"].items()}
    y = row["y"] * row["y_factor"]
    assert (row["n_points"], y.min(), y.max()) == (
        expected["points"],
        pytest.approx(expected["min"], abs=6e-7),
        pytest.approx(expected["max"], abs=6e-7),
    )
    assert row["x_last"] == pytest.approx(expected["delay"] + expected["sampling_interval"] * (expected["points"] - 1), rel=1e-5)
    assert (row["software"] or "none") == (attributes["dataset_origin"] or "none")  # one writes the word
    assert row["rescued"].get("sample_id", "none") == (attributes["sample_id"] or "none")
    assert row["rescued"]["aia_template_revision"] == attributes["aia_template_revision"]
    peaks = result.tables.get("vendor_peaks", [])
    assert len(peaks) == expected["n_peaks"]
    for peak, published in zip(peaks, expected["peaks"], strict=True):
        for ours, theirs in (("start_time", "peak_start_time"), ("end_time", "peak_end_time"), ("amount", "peak_amount")):
            assert peak[ours] == (pytest.approx(published[theirs], rel=1e-5, abs=6e-5) if theirs in published else None)
        assert peak["start_time"] is None or peak["start_time"] <= peak["retention_time"] <= peak["end_time"]


@pytest.mark.parametrize("name", SEQUENCE)
def test_every_point_of_the_sequence(name: str) -> None:
    with sample(f"hplc_sequence/{name}.txt").open(newline="") as lines:
        points = list(csv.DictReader(lines, delimiter="\t"))
    rows = {row["channel"]: row for row in result_of(f"hplc_sequence/{name}.txt").tables["chromatograms"]}
    assert set(rows) == {point["Detector"] for point in points} == {"SPD-20A 260nm", "SPD-20A 210nm", "RID-10A"}
    for channel, row in rows.items():
        own = [point for point in points if point["Detector"] == channel]
        assert row["x"].tolist() == [float(point["Minutes"]) for point in own]
        assert row["y"].tolist() == [float(point["Intensity"]) for point in own]
        assert (row["sample_name"], row["x_unit"]) == (own[0]["File"].removesuffix(".lcd"), "min")


def test_every_peak_of_the_ladder() -> None:
    """The export's own table, line by line; 83 peaks."""
    lines = sample("labsolutions_text/ladder.txt").read_text(encoding="latin-1").splitlines()
    start = lines.index("[Peak Table(Ch1)]")
    table = list(csv.DictReader(lines[start + 2 : start + 3 + 83], delimiter="\t"))
    peaks = result_of("labsolutions_text/ladder.txt").tables["vendor_peaks"]
    assert len(peaks) == len(table) == 83
    columns = {"retention_time": "R.Time", "start_time": "I.Time", "end_time": "F.Time", "area": "Area", "height": "Height"}
    for peak, line in zip(peaks, table, strict=True):
        assert {ours: peak[ours] for ours in columns} == {ours: float(line[theirs]) for ours, theirs in columns.items()}
        assert (peak["peak_no"], peak["plates"]) == (int(line["Peak#"]), float(line["Plate #"]) or None)
        assert [peak[ours] or 0.0 for ours in ("tailing", "resolution")] == [float(line["Tailing"]), float(line["Resolution"])]


def test_every_point_of_chromeleon() -> None:
    lines = sample("chromeleon_text/chromeleon_period.txt").read_text(encoding="utf-8-sig").splitlines()
    points = [line.split("\t") for line in lines[lines.index("Chromatogram Data:") + 2 :] if line.strip()]
    (row,) = result_of("chromeleon_text/chromeleon_period.txt").tables["chromatograms"]
    assert row["x"].tolist() == [float(point[0]) for point in points]
    assert row["y"].tolist() == [float(point[2]) for point in points]


# Allotrope


def documents(path: str) -> list[dict[str, Any]]:
    """The measurements of a published document."""
    root = json.loads(sample(path).read_text(encoding="utf-8"))["liquid chromatography aggregate document"]
    groups = [group["measurement aggregate document"] for group in root["liquid chromatography document"]]
    return [measurement for group in groups for measurement in group["measurement document"]]


def published_peaks(measurement: dict[str, Any]) -> list[dict[str, Any]]:
    processed = measurement.get("processed data aggregate document", {}).get("processed data document", [])
    return [peak for data in processed for peak in data.get("peak list", {}).get("peak", [])]


@pytest.mark.parametrize(
    ("file", "published", "count"),
    [
        ("chromeleon/input/chromeleon_example_multi_signal.json", "chromeleon/expected_asm/chromeleon_example_multi_signal.json", 1),
        ("empower/input/example_with_blanks_and_stds.json", "empower/expected_asm/example_with_blanks_and_stds.json", 0),
        ("unicorn/unicorn_single_uv.zip", "unicorn/unicorn_single_uv.json", 0),
    ],
)
def test_peaks_are_those_of_the_published_document(file: str, published: str, count: int) -> None:
    """Areas, heights and times with their units; two of the three samples have none."""
    theirs = [peak for measurement in documents(f"allotropy/{published}") for peak in published_peaks(measurement)]
    ours = result_of(f"allotropy/{file}").tables.get("vendor_peaks", [])
    assert len(ours) == len(theirs) == count

    names = {
        "area": "peak area",
        "height": "peak height",
        "start_time": "peak start",
        "end_time": "peak end",
        "retention_time": "retention time",
    }
    for peak, other in zip(ours, theirs, strict=True):
        assert {ours: peak[ours] for ours in names} == {ours: other[name]["value"] for ours, name in names.items()}
        units = tuple(other[name]["unit"] for name in ("peak area", "peak height", "retention time"))
        assert (peak["area_unit"], peak["height_unit"], peak["retention_unit"]) == units
