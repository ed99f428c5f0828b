"""Cases 18 and 22: runs killed at every step, two runs at once, lost and restored state: each row exactly once, each file in one state."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab_assets.contracts.bronze import CHROMATOGRAMS, FILES, READER_TABLES, VENDOR_PEAKS
from lab_assets.ingest.raw_store import RawStore
from lab_assets.ingest.reconciler import LakeBehindError, Reconciler
from lab_assets.ingest.scrub import scrub
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets.state.quarantine import Quarantine
from lab_assets.stations.quality import reconciliation
from lab_assets_tests.faults.ingestion import KILLED, PLACES, Plant, copy_of, plant_at, put_back, run_of

EXPECTED = {"hplc/a.txt": "committed", "hplc/b.txt": "duplicate", "hplc/noise.dat": "quarantined"}


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    plant = plant_at(tmp_path / "lab")
    plant.drop("a.txt", run_of("S-1"))
    plant.drop("b.txt", run_of("S-1"))
    plant.drop("noise.dat", b"\x01\x02\x03" * 50)
    return plant


def assert_each_once(plant: Plant) -> None:
    """One good file (2 traces, 2 peaks), one duplicate, one refused: once each, and ledger and tables agree."""
    lake = plant.lake
    assert plant.states() == EXPECTED
    assert (lake.row_count(FILES), lake.row_count(CHROMATOGRAMS), lake.row_count(VENDOR_PEAKS)) == (3, 2, 2)
    assert lake.ledger.unfinished_batches() == []
    assert lake.ledger.counts() == {"committed": 1, "duplicate": 1, "quarantined": 1}
    assert reconciliation(lake) == {}
    assert [path.name for path in plant.settings.raw.glob(".draft-*")] == []


@pytest.mark.parametrize("place", PLACES)
def test_case_18_a_run_killed_at_any_step_loses_and_doubles_nothing(plant: Plant, place: str) -> None:
    killed = plant.ingest(FAILPOINT=place)
    assert killed.returncode == KILLED, killed.stderr[-2000:]
    plant.ingest_whole()
    assert_each_once(plant)


def test_case_18_killed_at_one_step_after_the_other(plant: Plant) -> None:
    """The second run finishes the first one's work and is killed as well, and so on through all steps."""
    for place in PLACES:
        plant.ingest(FAILPOINT=place)
    plant.ingest_whole()
    assert_each_once(plant)


def test_case_18_killed_while_the_next_batch_is_copied(plant: Plant) -> None:
    """Batches of one file: at each step the next file is being copied already."""
    for place in PLACES:
        plant.ingest(FAILPOINT=place, BATCH_FILES="1")
    plant.ingest_whole(BATCH_FILES="1")
    assert_each_once(plant)


def test_case_22_two_runs_at_once_take_each_file_once(plant: Plant) -> None:
    """Started together; one takes the files, the other is told so, or finds nothing left."""
    children = [plant.start(), plant.start()]
    ends = [child.communicate(timeout=300) for child in children]
    assert sorted(child.returncode for child in children) in ([0, 0], [0, 1])
    if 1 in {child.returncode for child in children}:
        assert any("another run is ingesting" in err for _, err in ends)
    assert_each_once(plant)


def test_losing_the_history_of_runs_changes_nothing(plant: Plant) -> None:
    """Dagster's storage, where sensors would keep cursors, is gone: nothing comes in twice."""
    plant.ingest_whole()
    for name in ("dagster", "run"):
        shutil.rmtree(plant.settings.home / name, ignore_errors=True)
    plant.ingest_whole()
    assert_each_once(plant)


def test_a_ledger_put_back_to_yesterday_learns_from_the_tables(plant: Plant) -> None:
    """Backed up before the run, put back after it: the batch is learnt, its files do not come in again, new ones do."""
    backup = copy_of(plant, "before.db") if (plant.settings.home / "lab.db").exists() else None
    if backup is None:
        open_database(plant.settings)
        backup = copy_of(plant, "before.db")
    plant.ingest_whole()
    put_back(plant, backup)
    plant.drop("c.txt", run_of("S-2"))
    plant.ingest_whole()
    assert plant.states() == {**EXPECTED, "hplc/c.txt": "committed"}
    assert (plant.lake.row_count(CHROMATOGRAMS), plant.lake.row_count(FILES)) == (4, 4)
    assert reconciliation(plant.lake) == {}
    assert plant.lake.ledger.counts() == {"committed": 2, "duplicate": 1, "quarantined": 1}
    assert [entry.action for entry in AuditLog(plant.lake.ledger.engine).entries(action="ledger")] == ["ledger.adopt"]
    assert len(Quarantine(plant.lake.ledger.engine).waiting()) == 1


def test_a_ledger_lost_in_the_middle_of_a_batch_takes_its_half_back(plant: Plant) -> None:
    """Killed after traces were committed and before files were; the ledger of before is put back: the half batch goes, and comes again."""
    open_database(plant.settings)
    backup = copy_of(plant, "before.db")
    assert plant.ingest(FAILPOINT="committed_chromatograms").returncode == KILLED
    put_back(plant, backup)
    plant.ingest_whole()
    assert_each_once(plant)
    assert [entry.action for entry in AuditLog(plant.lake.ledger.engine).entries(action="ledger")] == ["ledger.undo"]


def test_tables_put_back_to_yesterday_stop_ingestion_until_a_person_decides(plant: Plant) -> None:
    """Nothing is written over a lake that lost rows; once accepted, what it lacks is read again from the originals."""
    plant.ingest_whole()
    shutil.copytree(plant.settings.home / "lake", plant.settings.home.parent / "lake-before")
    plant.drop("c.txt", run_of("S-2"))
    plant.ingest_whole()
    shutil.rmtree(plant.settings.home / "lake")
    shutil.copytree(plant.settings.home.parent / "lake-before", plant.settings.home / "lake")
    (plant.inbox / "hplc" / "c.txt").unlink()

    refused = plant.ingest()
    assert refused.returncode == 1
    assert "lab reconcile --accept-lake" in refused.stderr
    reconciler = Reconciler(plant.lake, RawStore(plant.settings.raw))
    with pytest.raises(LakeBehindError, match="batch 2"):
        reconciler.settle()
    assert reconciler.accept_lake(by="shell:admin", reason="disk replaced, lake of yesterday") == 1
    assert scrub(plant.settings, plant.lake.ledger).findings == ()
    plant.ingest_whole()
    assert plant.states() == {**EXPECTED, "hplc/c.txt": "committed"}
    assert (plant.lake.row_count(CHROMATOGRAMS), plant.lake.row_count(FILES)) == (4, 4)
    assert reconciliation(plant.lake) == {}


def test_an_original_that_is_gone_refuses_its_file_alone(plant: Plant) -> None:
    """Killed after the ledger row; the raw copy vanishes; the file is refused by name, the others go on."""
    assert plant.ingest(FAILPOINT="after_ledger_row").returncode == KILLED
    ledger = Ledger(open_database(plant.settings))
    batch = ledger.open_batch(10)
    assert batch is not None
    good = next(row for row in ledger.batch_arrivals(batch) if row.state == "received" and row.file_name != "noise.dat")
    (plant.settings.raw / good.file_id[:2] / good.file_id).unlink()
    plant.ingest_whole()
    rules = {row.file_name: row.rule for row in Quarantine(ledger.engine).waiting()}
    assert rules == {good.file_name: "original_missing", "noise.dat": "unknown_format"}
    assert all(plant.lake.row_count(table) == 0 for table in READER_TABLES)
