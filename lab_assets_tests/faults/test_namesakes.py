"""The same bytes under several names: the shortest path counts, whichever came first, and nothing is lost on the way."""

from __future__ import annotations

import json
import shutil
from itertools import permutations
from pathlib import Path

import pytest

from lab_assets.contracts.bronze import CHROMATOGRAMS, FILES, VENDOR_PEAKS
from lab_assets.ingest.raw_store import RawStore
from lab_assets.ingest.reconciler import Reconciler
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database
from lab_assets.stations.quality import reconciliation
from lab_assets_tests.faults.ingestion import KILLED, Plant, copy_of, plant_at, put_back, run_of

NAMES = ("hplc/run 9.txt", "hplc/run 10.txt", "archive/run 10.txt")
"""The first has the shortest path; of the two equal names, the folder ``archive`` is first."""
RENAMED = {"hplc/a.txt": "committed", "hplc/b.txt": "duplicate"}
LOTS = "lot_id,product,recorded_at_utc,shift\nL-1,ALPHA-10,2025-01-01T00:00:00Z,night\n"
"""Lots with a column that the contract does not name."""


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return plant_at(tmp_path / "lab")


def drop(plant: Plant, path: str, data: str) -> None:
    source, _, name = path.partition("/")
    plant.drop(name, data, source=source)


def assert_renamed(plant: Plant) -> None:
    """The rows state the better name, once; the former name is a duplicate of it; ledger and tables agree."""
    lake = plant.lake
    assert plant.states() == RENAMED
    assert plant.arrivals()["hplc/b.txt"]["duplicate_of"] == "hplc/a.txt"
    assert lake.polars(CHROMATOGRAMS, ["source_file"])["source_file"].to_list() == ["a.txt"] * 2
    assert lake.polars(VENDOR_PEAKS, ["source_file"])["source_file"].to_list() == ["a.txt"] * 2
    assert lake.row_count(FILES) == 2
    assert lake.ledger.counts() == {"committed": 1, "duplicate": 1}
    assert reconciliation(lake) == {}


def renamed(plant: Plant) -> None:
    """Drop one run as ``b.txt``, and after it was ingested as ``a.txt``."""
    plant.drop("b.txt", run_of("S-1"))
    plant.ingest_whole()
    assert reconciliation(plant.lake) == {}, "totals of before are kept, so that they must be given up"
    plant.drop("a.txt", run_of("S-1"))


def test_a_better_name_takes_the_place_of_the_former_one(plant: Plant) -> None:
    renamed(plant)
    plant.ingest_whole()
    assert_renamed(plant)
    (entry,) = AuditLog(plant.lake.ledger.engine).entries(action="file.rename")
    assert (json.loads(entry.old), json.loads(entry.new)["file"]) == ({"files": ["hplc/b.txt"]}, "hplc/a.txt")
    plant.ingest_whole()
    assert_renamed(plant)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("order", list(permutations(NAMES)), ids=lambda order: " ".join(name[0] + name[-6] for name in order))
def test_the_path_decides_not_the_order_of_arrival(plant: Plant, order: tuple[str, ...], together: bool) -> None:
    for name in order:
        drop(plant, name, run_of("S-1"))
        if not together:
            plant.ingest_whole()
    plant.ingest_whole()
    rows = plant.lake.polars(CHROMATOGRAMS, ["source", "source_file"])
    assert rows.rows() == [("hplc", "run 9.txt")] * 2
    assert plant.states() == {name: "committed" if name == "hplc/run 9.txt" else "duplicate" for name in NAMES}
    assert {row["duplicate_of"] for row in plant.arrivals().values()} == {None, "hplc/run 9.txt"}
    assert reconciliation(plant.lake) == {}


@pytest.mark.parametrize(
    "place", ["committed_chromatograms", "committed_files", "former_rows_gone", "after_delta_commit", "after_ledger_commit"]
)
def test_a_run_killed_while_it_renames_loses_and_doubles_nothing(plant: Plant, place: str) -> None:
    renamed(plant)
    assert plant.ingest(FAILPOINT=place).returncode == KILLED
    plant.ingest_whole()
    assert_renamed(plant)


@pytest.mark.parametrize("place", ["committed_chromatograms", "committed_files", "former_rows_gone", "after_ledger_commit"])
def test_a_ledger_of_before_the_renaming_learns_it(plant: Plant, place: str) -> None:
    """Backed up with the former name, put back after a run that was killed on its way to the better one."""
    plant.drop("b.txt", run_of("S-1"))
    plant.ingest_whole()
    backup = copy_of(plant, "before.db")
    plant.drop("a.txt", run_of("S-1"))
    assert plant.ingest(FAILPOINT=place).returncode == KILLED
    put_back(plant, backup)
    plant.ingest_whole()
    assert_renamed(plant)


def test_tables_of_before_the_renaming_are_brought_up_again(plant: Plant) -> None:
    renamed(plant)
    shutil.copytree(plant.settings.home / "lake", plant.settings.home.parent / "lake-before")
    plant.ingest_whole()
    shutil.rmtree(plant.settings.home / "lake")
    shutil.copytree(plant.settings.home.parent / "lake-before", plant.settings.home / "lake")
    assert Reconciler(plant.lake, RawStore(plant.settings.raw)).accept_lake(by="shell:admin", reason="disk replaced") == 1
    plant.ingest_whole()
    assert_renamed(plant)


@pytest.mark.parametrize("order", [("a strict", "lax"), ("lax", "a strict")])
@pytest.mark.parametrize("together", [False, True])
def test_bytes_refused_in_one_folder_are_read_in_another(plant: Plant, order: tuple[str, ...], together: bool) -> None:
    """A strict folder refuses the unknown column; dropped at the same moment, the other folder's file is no mere duplicate of it."""
    for folder in order:
        plant.drop("lots.csv", LOTS, source=folder)
        if not together:
            plant.ingest_whole(STRICT_SOURCES='["a strict"]')
    plant.ingest_whole(STRICT_SOURCES='["a strict"]')
    assert plant.states()["lax/lots.csv"] == "committed"
    assert plant.states()["a strict/lots.csv"] in {"quarantined", "duplicate"}
    assert sum(plant.rows_by_file().values()) == 1
    assert reconciliation(plant.lake) == {}


def test_a_better_name_that_is_refused_leaves_the_former_one(plant: Plant) -> None:
    open_database(plant.settings)
    plant.drop("lots.csv", LOTS, source="lax")
    plant.ingest_whole(STRICT_SOURCES='["a strict"]')
    plant.drop("lots.csv", LOTS, source="a strict")
    plant.ingest_whole(STRICT_SOURCES='["a strict"]')
    assert plant.states() == {"lax/lots.csv": "committed", "a strict/lots.csv": "quarantined"}
    plant.ingest_whole(STRICT_SOURCES='["a strict"]')
    assert sum(plant.rows_by_file().values()) == 1
