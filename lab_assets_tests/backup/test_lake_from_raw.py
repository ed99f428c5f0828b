"""Lost tables, made anew from the kept originals as the ledger says they were."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from lab_assets.cli.restore import _print_rebuilt
from lab_assets.contracts.bronze import CHROMATOGRAMS, FILES
from lab_assets.contracts.core import TableContract
from lab_assets.ingest.raw_store import RawStore
from lab_assets.ingest.reconciler import LakeBehindError, Reconciler
from lab_assets.ingest.scrub import scrub
from lab_assets.ops.lake_from_raw import LakeRebuilt, rebuild_lake
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import writing
from lab_assets.state.quarantine import Quarantine
from lab_assets.stations.all_stations import stations
from lab_assets.stations.quality import reconciliation
from lab_assets.stations.runner import update
from lab_assets_tests.backup.homes import killed_at, other, rows_of
from lab_assets_tests.faults.ingestion import KILLED, Plant, plant_at, run_of

RECORDED = ("governance.lineage", "governance.audit", "governance.access")
"""Tables that say what was done, and say more after a rebuild."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Three batches: two runs, a duplicate and a refused file; then the same path with other bytes; then a refusal that a person closed."""
    plant = plant_at(tmp_path_factory.mktemp("made") / "lab")
    plant.drop("a.txt", run_of("S-1"))
    plant.drop("b.txt", run_of("S-2"))
    plant.drop("again.txt", run_of("S-1"))
    plant.drop("noise.dat", b"\x01\x02\x03" * 50)
    plant.ingest_whole()
    plant.drop("a.txt", run_of("S-9"))
    _work(plant)
    plant.drop("other.dat", b"\x04\x05\x06" * 50)
    plant.ingest_whole()
    quarantine = Quarantine(plant.lake.ledger.engine)
    with writing(quarantine.engine) as connection:
        quarantine.discard(connection, [quarantine.waiting()[0].arrival_id], by="qa", reason="no file of ours")
    _work(plant)
    return plant


@pytest.fixture
def plant(made: Plant, tmp_path: Path) -> Plant:
    """A laboratory of the test's own."""
    shutil.copytree(made.settings.home, tmp_path / "lab")
    return other(made, tmp_path / "lab")


def _work(plant: Plant) -> None:
    plant.ingest_whole()
    lake = plant.lake
    for station in stations().values():
        update(lake, station)


def _rebuild(plant: Plant) -> LakeRebuilt:
    return rebuild_lake(plant.lake, by="shell:test", reason="disk lost")


def test_a_lost_lake_comes_back_row_by_row(plant: Plant) -> None:
    """All of it gone, checkpoints of earlier versions of the product still there: every row of then, times of ingestion included."""
    rows = rows_of(plant, but=RECORDED)
    assert len(rows["bronze.files"]) == 6
    (plant.settings.run / "checkpoints" / "bronze.chromatograms").mkdir(parents=True)
    shutil.rmtree(plant.settings.home / "lake")
    with pytest.raises(LakeBehindError, match="lab restore --lake-from-raw"):
        Reconciler(plant.lake, RawStore(plant.settings.raw)).settle()
    done = _rebuild(plant)
    assert (done.is_whole, done.replayed.batches, done.replayed.arrivals) == (True, 3, 6)
    assert rows_of(plant, but=RECORDED) == rows
    assert reconciliation(plant.lake) == {}
    assert scrub(plant.settings, plant.lake.ledger).findings == ()
    assert [entry.action for entry in AuditLog(plant.lake.ledger.engine).entries(action="lake")] == ["lake.rebuild_begin", "lake.rebuild"]
    assert not _rebuild(plant).did_anything
    plant.drop("c.txt", run_of("S-3"))
    _work(plant)
    assert plant.states()["hplc/c.txt"] == "committed"


@pytest.mark.parametrize("table", [CHROMATOGRAMS, FILES])
def test_one_lost_table_is_filled_and_the_others_are_left_alone(plant: Plant, table: TableContract) -> None:
    rows, version = rows_of(plant, but=RECORDED), plant.lake.version(stations()["silver.peaks"].target)
    shutil.rmtree(plant.settings.home / "lake" / table.layer / table.name)
    done = _rebuild(plant)
    assert done.bronze == [table.full_name]
    assert done.made == ([] if table is FILES else done.made)
    assert rows_of(plant, but=RECORDED) == rows
    assert reconciliation(plant.lake) == {}
    assert plant.lake.version(stations()["silver.peaks"].target) == version


FEATURES = ["features.injection_progress", "features.instrument_history"]
"""Feature tables that have rows here."""


def test_lost_feature_tables_are_named_since_former_sets_do_not_come_back(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of a lost lake that had rows; none where one is only made again because what it rests on was lost."""
    shutil.rmtree(plant.settings.home / "lake")
    done = _rebuild(plant)
    assert sorted(done.former_lost) == FEATURES
    _print_rebuilt(done, 1.0)
    said = capsys.readouterr().err
    assert [name for name in FEATURES if f"{name}: rows of former feature sets that it held do not come back" in said] == FEATURES
    shutil.rmtree(plant.settings.home / "lake" / CHROMATOGRAMS.layer / CHROMATOGRAMS.name)
    again = _rebuild(plant)
    assert set(FEATURES) & set(again.made)
    assert again.former_lost == []


def test_a_rebuild_that_was_killed_keeps_ingestion_waiting_and_goes_on(plant: Plant) -> None:
    """Killed after traces of a batch were committed and before its files were: nothing new comes between, nothing is there twice."""
    rows = rows_of(plant, but=RECORDED)
    shutil.rmtree(plant.settings.home / "lake")
    assert killed_at("committed_chromatograms", partial(_rebuild, plant), plant.settings) == KILLED
    plant.drop("c.txt", run_of("S-3"))
    refused = plant.ingest()
    assert (refused.returncode, "run 'lab restore --lake-from-raw' again" in refused.stderr) == (1, True)
    assert _rebuild(plant).is_whole
    assert rows_of(plant, but=RECORDED) == rows
    _work(plant)
    assert plant.states()["hplc/c.txt"] == "committed"


def test_files_that_are_read_otherwise_today_are_named(plant: Plant) -> None:
    """The original of one run is gone: its rows cannot come back, the ledger's word of it stays, and the exit is not a clean one."""
    (arrival,) = [row for row in plant.arrivals().values() if row["file_name"] == "b.txt"]
    RawStore(plant.settings.raw).path(arrival["file_id"]).unlink()
    shutil.rmtree(plant.settings.home / "lake")
    done = _rebuild(plant)
    assert (done.is_whole, done.replayed.differing_files) == (False, 1)
    (line,) = done.replayed.differing
    assert line.startswith("hplc/b.txt: committed with ")
    assert line.endswith("then, quarantined for original_missing (the kept original is not in the raw store) now")
    assert plant.states()["hplc/b.txt"] == "committed"
    assert {"bronze.chromatograms: hplc/b.txt", "bronze.vendor_peaks: hplc/b.txt"} <= set(reconciliation(plant.lake))


def test_tables_put_back_to_yesterday_get_the_times_of_then(plant: Plant) -> None:
    """What a lake of before lacks is read again under its own batch number, with the time of ingestion that the ledger kept."""
    lake = plant.settings.home / "lake"
    kept = plant.settings.home.parent / "yesterday"
    shutil.copytree(lake, kept)
    plant.drop("c.txt", run_of("S-3"))
    plant.ingest_whole()
    rows = rows_of(plant, but=RECORDED)
    shutil.rmtree(lake)
    shutil.copytree(kept, lake)
    assert Reconciler(plant.lake, RawStore(plant.settings.raw)).accept_lake(by="qa", reason="lake of yesterday") == 1
    plant.ingest_whole()
    assert {name: rows_of(plant)[name] for name in rows if name.startswith("bronze.")} == {
        name: each for name, each in rows.items() if name.startswith("bronze.")
    }
