"""The blocking check that files and rows add up: in total, and file by file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_assets.contracts.bronze import CHROMATOGRAMS, VENDOR_PEAKS
from lab_assets.lake import commits as arrow_commits
from lab_assets.ops.progress import progress_since
from lab_assets.stations.quality import reconciliation
from lab_assets_tests.faults.ingestion import Plant, plant_at, run_of


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Two runs of 2 traces and 2 peaks each, taken."""
    plant = plant_at(tmp_path / "lab")
    plant.drop("a.txt", run_of("S-1"))
    plant.drop("b.txt", run_of("S-2"))
    plant.ingest_whole()
    return plant


def test_rows_lost_and_rows_doubled_are_told_even_where_the_totals_agree(plant: Plant) -> None:
    """The peaks of one file go and those of the other are there twice: 4 of 4 in all, 0 and 4 by file instead of 2 and 2."""
    lake = plant.lake
    digests = {path: row["file_id"] for path, row in plant.arrivals().items()}
    lake.delete(VENDOR_PEAKS, f"source_sha256 = '{digests['hplc/a.txt']}'")
    rows = lake.polars(VENDOR_PEAKS).to_arrow()
    arrow_commits.append(lake.open(VENDOR_PEAKS), VENDOR_PEAKS, rows)
    assert lake.row_count(VENDOR_PEAKS) == 4
    assert reconciliation(lake) == {"bronze.vendor_peaks: hplc/a.txt": (2, 0), "bronze.vendor_peaks: hplc/b.txt": (2, 4)}


def test_what_adds_up_is_counted_once(plant: Plant) -> None:
    """A batch found right is not counted file by file again; its totals still are."""
    lake = plant.lake
    assert reconciliation(lake) == {}
    assert lake.ledger.progress("check:file_by_file") == {"batch": 1}
    lake.delete(CHROMATOGRAMS, "injection_name IS NOT NULL")
    assert reconciliation(lake) == {"bronze.chromatograms": (4, 0)}


def test_progress_is_told_from_the_ledger(plant: Plant) -> None:
    """2 files in 4 s: 0.5 files/s; of 6 waiting, 4 are left for 8 s."""
    engine = plant.lake.ledger.engine
    now = progress_since(engine, 0, waiting=6, seconds=4.0)
    assert now.line() == "2 of 6 file(s), 0.5 files/s, about 8 s left"
    assert progress_since(engine, 1, waiting=6, seconds=4.0).line() == "0 of 6 file(s)"
    assert progress_since(engine, 0, waiting=0, seconds=4.0).line() == "2 of 2 file(s), 0.5 files/s"
