"""The files of a small laboratory, read independently of the product's readers and through them."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab_assets.simulation.bench_work import Injection, plan_sequence, run_injections
from lab_assets.simulation.chemistry import Solution, areas
from lab_assets.simulation.instruments import System
from lab_assets.simulation.lots import make_lots, release_sample
from lab_assets.simulation.run import SimulationSummary, injection_files, simulate
from lab_assets.simulation.scenarios import Scenarios, add_months
from lab_assets.simulation.world import ANALYSTS, INSTRUMENTS, Instrument
from lab_assets.sources.all_readers import read_file
from lab_assets.sources.base import ReadContext
from lab_assets_tests.simulation.small_laboratory import START, small


def _truth(summary: SimulationSummary) -> list[dict[str, object]]:
    from pyarrow import parquet

    return parquet.read_table(summary.truth_path).to_pylist()


def _table(folder: Path, pattern: str) -> list[dict[str, str]]:
    return [row for path in sorted(folder.glob(pattern)) for row in csv.DictReader(io.StringIO(path.read_text()))]


def test_the_same_arguments_give_the_same_bytes(plain: SimulationSummary, tmp_path: Path) -> None:
    again = small(tmp_path / "inbox")

    def digest(summary: SimulationSummary) -> dict[str, bytes]:
        paths = [*sorted(path for path in summary.out_dir.rglob("*") if path.is_file()), summary.truth_path]
        return {path.name if path == summary.truth_path else str(path.relative_to(summary.out_dir)): path.read_bytes() for path in paths}

    one, two = digest(plain), digest(again)
    assert one.keys() == two.keys()
    assert [name for name in one if hashlib.sha256(one[name]).digest() != hashlib.sha256(two[name]).digest()] == []


def test_every_injection_of_the_worklists_has_its_file(plain: SimulationSummary) -> None:
    names = [row["injection_name"] for row in _table(plain.out_dir / "lims", "sequences_*.csv")]
    files = {path.stem for path in plain.out_dir.glob("hplc_*/*") if path.is_file()}
    assert len(names) == len(set(names)) == sum(plain.injections.values())
    assert set(names) == files


def test_sequences_are_laid_out_and_recorded_before_they_start(plain: SimulationSummary) -> None:
    sequences: dict[str, list[dict[str, str]]] = {}
    for row in _table(plain.out_dir / "lims", "sequences_*.csv"):
        sequences.setdefault(row["sequence_id"], []).append(row)
    injected = {row["injection_name"]: row["injected_at_utc"] for row in _truth(plain)}
    for rows in sequences.values():
        roles = [row["sample_role"] for row in sorted(rows, key=lambda row: int(row["position"]))]
        assert roles[:4] == ["blank", "standard", "standard", "standard"]
        assert roles[-1] == "standard"
        assert set(roles[4:-1]) == {"sample"}
        assert all(n == 2 for n in Counter(row["sample_name"] for row in rows if row["sample_role"] == "sample").values())
        times = [injected[row["injection_name"]] for row in rows if row["sample_role"] == "sample"]
        recorded = datetime.fromisoformat(rows[0]["recorded_at_utc"])
        assert all(isinstance(at, datetime) and recorded < at for at in times)


def test_labsolutions_says_what_was_injected(plain: SimulationSummary) -> None:
    """Parsed with regular expressions, not with the product's reader."""
    path = next(iter(sorted((plain.out_dir / "hplc_shimadzu").glob("*_005.txt"))))
    text = path.read_bytes().decode()
    assert text.count("\r\n") == text.count("\n")
    block = text.split("[LC Chromatogram(Detector A-Ch1)]")[1].split("[LC Status")[0]
    points = re.findall(r"^(\d+\.\d{5})\t(-?\d+)\r?$", block, flags=re.MULTILINE)
    assert len(points) == 1050
    assert "# of Points\t1050\r\n" in block
    time, counts = np.array(points, dtype=float).T
    apex = time[np.argmax(counts)]
    assert 4.0 < apex < 4.5
    assert "[LC Status Trace(Pump A Pressure)]" in text
    table = re.search(r"\[Peak Table\(Detector A-Ch1\)\].*?\r\n\r\n", text, flags=re.DOTALL)
    assert table is not None
    api = next(line.split("\t") for line in table[0].splitlines() if "\tAPI\t" in line)
    assert float(api[1]) == pytest.approx(apex, abs=0.01)
    near = (time > float(api[2])) & (time < float(api[3]))
    baseline = counts[near][[0, -1]].mean()
    area_counts_s = np.trapezoid(counts[near] - baseline, time[near] * 60)
    assert float(api[4]) == pytest.approx(area_counts_s, rel=0.01)


def test_andi_opens_with_scipy(plain: SimulationSummary) -> None:
    from scipy.io import netcdf_file

    path = next(iter(sorted((plain.out_dir / "hplc_agilent").glob("*_002.cdf"))))
    with netcdf_file(io.BytesIO(path.read_bytes()), "r", mmap=False) as file:
        assert vars(file)["retention_unit"] == b"seconds"
        assert vars(file)["injection_date_time_stamp"].endswith(b"+0000")
        y = np.array(file.variables["ordinate_values"].data, dtype=float)
        interval = float(file.variables["actual_sampling_interval"].data)
        names = ["".join(name.astype(str)).rstrip("\0") for name in file.variables["peak_name"].data]
        retention = np.array(file.variables["peak_retention_time"].data)
    assert y.size == 1050
    assert names == ["API"]
    assert np.argmax(y) * interval == pytest.approx(float(retention[0]), abs=1.0)


def test_images_certificates_and_logs_open(plain: SimulationSummary) -> None:
    import pypdf
    import tifffile

    with tifffile.TiffFile(next(iter(sorted((plain.out_dir / "microscopy").glob("*.tif"))))) as image:
        page = image.pages.first
        assert page.shape == (256, 256)
        assert page.tags["ImageDescription"].value.startswith("lot ")
        numerator, denominator = page.tags["XResolution"].value
        assert numerator / denominator == pytest.approx(3125.0)  # 10 000 um per cm / 3.2 um per pixel
    reader = pypdf.PdfReader(next(iter(sorted((plain.out_dir / "metrology").glob("*LC-01*.pdf")))))
    assert len(reader.pages) == 1
    assert "Instrument: LC-01" in reader.pages[0].extract_text()
    german = (plain.out_dir / "chambers" / "CH-40_2025-01.csv").read_text().splitlines()
    assert re.fullmatch(r"01\.01\.2025 00:00:00;\d\d,\d\d;\d\d,\d", german[5])
    local = (plain.out_dir / "chambers" / "CH-30_2025-01.csv").read_text().splitlines()
    assert local[1].startswith("CH-30,2025-01-01 01:00:00,")  # midnight UTC is one o'clock in Berlin


def test_the_products_readers_take_every_file(plain: SimulationSummary) -> None:
    rows: Counter[str] = Counter()
    for path in sorted(plain.out_dir.rglob("*")):
        if not path.is_file():
            continue
        source, name = path.relative_to(plain.out_dir).as_posix().split("/", 1)
        result = read_file(path.read_bytes(), ReadContext(file_name=name, source=source))
        assert result.rejected == [], path.name
        rows.update({table: len(found) for table, found in result.tables.items()})
        for row in result.tables.get("chromatograms", []):
            assert row["injection_name"] == path.stem
            assert row["instrument_name"] in {"LC-01", "LC-02", "LC-03", "LC-04"}
    assert rows["chromatograms"] == rows["lims_sequences"] == sum(plain.injections.values())
    assert rows["processing_methods"] == 5
    assert rows["specifications"] == 12
    assert rows["lims_lots"] == 12


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda one: one.vendor)
def test_each_vendors_file_gives_back_the_trace_and_the_pressure(instrument: Instrument) -> None:
    """What the product's reader finds is what the detector and the pump gave, within the last digit the format carries."""
    injection = _sequence_on(instrument)[0]
    found: dict[str, list[dict[str, Any]]] = {"chromatograms": [], "instrument_status": []}
    for name, kind, data in injection_files(injection, Scenarios(starts={})):
        result = read_file(data, ReadContext(file_name=name, source=instrument.source))
        assert result.format == kind
        for table in found:
            found[table] += result.tables.get(table, [])
    detector = found["chromatograms"][0]
    to_mau = {"mAU": 1.0, "AU": 1000.0}[detector["y_unit"]] * (detector["y_factor"] or 1.0)
    to_min = 1 / 60 if detector["x_unit"].startswith("s") else 1.0
    assert np.array(detector["y"]) * to_mau == pytest.approx(injection.trace.signal_mau, abs=6e-4)
    assert np.array(detector["x"]) * to_min == pytest.approx(injection.trace.time_min, abs=1e-5)
    assert detector["injection_name"] == "SEQ2025-0001_001"
    assert detector["injected_at_utc"] == START
    assert detector["instrument_name"] == instrument.instrument_id
    pressure = next(row for row in found["instrument_status"] if "pressure" in row["signal"].lower())
    to_bar = {"bar": 1.0, "psi": 1 / 14.503773773}[pressure["y_unit"]]
    assert pressure["injection_name"] == "SEQ2025-0001_001"
    assert np.array(pressure["y"]) * to_bar == pytest.approx(injection.trace.pressure_bar, abs=0.01)


def test_carry_over_shows_in_what_follows_a_standard() -> None:
    """The closing standard's neighbour and the sample after the third standard carry 0.02-0.2 % of it."""
    fourth, fifth = _sequence_on(INSTRUMENTS[0])[3:5]
    previous = next(peak.area_mau_min for peak in fourth.state.peaks if peak.name == "API")
    carried = areas(Solution(content_pct={}, matrix=0.0), fifth.system, flow_change=0.0, carried_area=previous)
    assert carried["API"] == pytest.approx(fifth.system.carry_over * previous)
    assert 0.0002 <= fifth.system.carry_over < 0.003


def _sequence_on(instrument: Instrument) -> list[Injection]:
    """Run one assay sequence of one lot on a system."""
    end = add_months(START, 3)
    lot = make_lots(1, seed=5, start=START, end=end, scenarios=Scenarios(starts={}))[0]
    analyst = ANALYSTS[0]
    planned = plan_sequence("SEQ2025-0001", "ASSAY-01", [release_sample(lot)], seed=5, started_at=START, analyst=analyst)
    system = System(instrument, seed=5, start=START, scenarios=Scenarios(starts={}))
    return run_injections(planned, system, seed=5, analyst=analyst)


def test_the_truth_is_outside_of_the_inbox_and_calibrated(plain: SimulationSummary) -> None:
    truth = _truth(plain)
    assert not plain.truth_path.is_relative_to(plain.out_dir)
    assert len(truth) == 4 * plain.injections["sample"]
    assert {row["checkpoint_pct"] for row in truth} == {10, 25, 50, 75}
    for point in (10, 25, 50, 75):
        risks = np.array([row["risk"] for row in truth if row["checkpoint_pct"] == point], dtype=float)
        outcome = np.array([row["is_oos"] for row in truth if row["checkpoint_pct"] == point], dtype=float)
        spread = np.sqrt(np.sum(risks * (1 - risks))) / risks.size
        assert abs(risks.mean() - outcome.mean()) < 4 * spread + 0.01


def test_events_tell_a_story(plain: SimulationSummary) -> None:
    events = _table(plain.out_dir / "lims", "events_*.csv")
    assert len({event["event_id"] for event in events}) == len(events)
    assert all(event["at_utc"] <= event["recorded_at_utc"] for event in events)
    kinds = Counter(event["event"] for event in events)
    assert kinds["manufactured"] == 12
    assert kinds["released"] >= 1
    assert kinds["oos_closed"] <= kinds["oos_opened"]


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one lot"):
        simulate(tmp_path / "inbox", seed=1, n_lots=0, start=START, months=1)
    with pytest.raises(ValueError, match="drop folders"):
        simulate(tmp_path / "inbox", seed=1, n_lots=1, start=START, months=1, truth_path=tmp_path / "inbox" / "truth.csv")
