"""Case 26 below the tables: small real disks for originals, staged rows, tables and the ledger, full in the middle of an ingestion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deltalake import DeltaTable

from lab_assets.contracts.bronze import CHROMATOGRAMS, FILES, VENDOR_PEAKS
from lab_assets.contracts.core import TableContract
from lab_assets.environment_errors import naming_environment_faults
from lab_assets.fault_kinds import EnvironmentFaultError
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.quality import reconciliation
from lab_assets_tests.faults.ingestion import Plant, full, plant_at, run_of, tmpfs, unmount
from lab_assets_tests.faults.laboratory import Laboratory
from lab_assets_tests.faults.table_programs import NUMBERS, numbers

NO_SPACE = "No space left on device"


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """A home whose ledger may lie on a disk of its own, with one good file, its duplicate and one that is refused."""
    plant = plant_at(tmp_path / "lab", db_url=f"sqlite:///{tmp_path}/ledger/lab.db")
    (tmp_path / "ledger").mkdir()
    plant.drop("a.txt", run_of("S-1"))
    plant.drop("b.txt", run_of("S-1"))
    plant.drop("noise.dat", b"\x01\x02\x03" * 50)
    return plant


@contextmanager
def small_disk(folder: Path, size: str = "4m") -> Iterator[Path]:
    """A folder on a disk of its own."""
    tmpfs(folder, size)
    try:
        yield folder
    finally:
        unmount(folder)


def assert_refused(plant: Plant, *, listed: tuple[int, ...] = (0,)) -> None:
    """An ingestion fails with the reason, and no file counts as done; the list of files has all of the batch or nothing."""
    done = plant.ingest(DB_URL=plant.settings.database_url)
    assert done.returncode == 1
    assert NO_SPACE in done.stderr or "database or disk is full" in done.stderr
    assert plant.lake.ledger.counts().get("committed", 0) == 0
    assert plant.lake.row_count(FILES) in listed
    assert list(plant.settings.raw.glob(".draft-*")) == []


def assert_each_once(plant: Plant) -> None:
    """With space, one more run leaves one good file (2 traces, 2 peaks), one duplicate and one refused, once each."""
    plant.ingest_whole(DB_URL=plant.settings.database_url)
    lake = plant.lake
    assert plant.states() == {"hplc/a.txt": "committed", "hplc/b.txt": "duplicate", "hplc/noise.dat": "quarantined"}
    assert (lake.row_count(FILES), lake.row_count(CHROMATOGRAMS), lake.row_count(VENDOR_PEAKS)) == (3, 2, 2)
    assert lake.ledger.unfinished_batches() == []
    assert reconciliation(lake) == {}


def test_no_space_for_originals(plant: Plant) -> None:
    """Case 26: the copy is refused; the ledger knows of nothing, no half copy is left, and ``lab ingest`` names the disk."""
    with small_disk(plant.settings.raw) as disk:
        with full(disk):
            assert_refused(plant)
            assert plant.lake.ledger.counts() == {}
            assert [path.name for path in disk.iterdir()] == ["ballast"]
            environment = {"LAB_DB_URL": plant.settings.database_url, "LAB_SPARK_REMOTE": plant.settings.spark_remote or ""}
            answer = Laboratory(plant.settings, plant.lake.ledger.engine).lab("ingest", LAB_STABLE_S="0", **environment)
            assert answer.returncode == 2
            line = f"error: bronze: {NO_SPACE}: the disk of {disk} has 0 KiB free; nothing is lost, free space and run it again"
            assert line in answer.stderr.splitlines()
        assert_each_once(plant)


def test_no_space_for_staged_rows(plant: Plant) -> None:
    """Case 26: the workers cannot lay rows down; no table has any."""
    with small_disk(plant.settings.run / "staging") as disk:
        with full(disk):
            assert_refused(plant)
            assert plant.lake.row_count(CHROMATOGRAMS) == 0
        assert_each_once(plant)


@pytest.mark.parametrize("table", [VENDOR_PEAKS, FILES], ids=lambda table: table.name)
def test_no_space_for_one_table_of_a_batch(plant: Plant, table: TableContract) -> None:
    """Case 26: another table of the batch is committed, this one is not: the rerun finishes the batch and doubles nothing."""
    with small_disk(Path(plant.lake.uri(table))) as disk:
        plant.lake.open(table)
        with full(disk):
            assert_refused(plant)
            assert plant.lake.row_count(CHROMATOGRAMS) == 2
        assert_each_once(plant)


@pytest.mark.parametrize("spare_pages", [0, 12, 24])
def test_no_space_for_the_ledger(plant: Plant, spare_pages: int) -> None:
    """Case 26: the ledger takes nothing at once, or some steps of the batch and then nothing."""
    ledger = Path(plant.settings.database_url.removeprefix("sqlite:///")).parent
    with small_disk(ledger):
        plant.lake.open(FILES)
        with full(ledger, spare_pages=spare_pages):
            assert_refused(plant, listed=(0, 3))
        assert_each_once(plant)


def test_a_commit_without_space_is_none_at_all(lakehouse: Lakehouse) -> None:
    """Case 26: one page of 4 KiB more at each try, until the append succeeds: before that the table is as it was, after it has one row more.

    So the disk is full in the data file, in the commit, and between the two.
    """
    lakehouse.append(NUMBERS, numbers(lakehouse, "a", 1))
    folder = Path(lakehouse.uri(NUMBERS))
    aside = folder.with_name("aside")
    folder.rename(aside)
    refused = 0
    with small_disk(folder):
        for path in aside.rglob("*"):
            target = folder / path.relative_to(aside)
            target.mkdir(exist_ok=True) if path.is_dir() else target.write_bytes(path.read_bytes())
        for spare_pages in range(20):
            with full(folder, spare_pages=spare_pages):
                try:
                    with naming_environment_faults(lakehouse.settings):
                        lakehouse.append_once(NUMBERS, numbers(lakehouse, "a", 2), app="a", version=2)
                    break
                except EnvironmentFaultError:
                    refused += 1
            assert (lakehouse.version(NUMBERS), DeltaTable(folder).version()) == (1, 1)
            assert lakehouse.polars(NUMBERS)["number"].to_list() == [1]
            for orphan in set(folder.glob("*.parquet")) - {Path(uri) for uri in DeltaTable(folder).file_uris()}:
                orphan.unlink()  # what no commit names is no part of the table
        assert refused >= 2
        assert sorted(lakehouse.polars(NUMBERS)["number"]) == [1, 2]
        assert lakehouse.version(NUMBERS) == 2
