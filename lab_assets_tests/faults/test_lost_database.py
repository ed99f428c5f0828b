"""A lab.db that was lost is not made a second time, whoever comes first, and learns from the tables only when a person says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from lab_assets.contracts.bronze import FILES
from lab_assets.home_identity import LostError
from lab_assets.ops.status import lab_status
from lab_assets.service.state import open_state
from lab_assets.service.table_cache import TableLostError, read_rows
from lab_assets.state.database import DatabaseLostError, open_database
from lab_assets.state.ledger import Ledger
from lab_assets_tests.faults.ingestion import Plant, plant_at, run_of
from lab_assets_tests.faults.laboratory import Laboratory


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """A home with one file, ingested, whose database is gone."""
    plant = plant_at(tmp_path / "lab")
    plant.drop("a.txt", run_of("S-1"))
    plant.ingest_whole()
    for path in plant.settings.home.glob("lab.db*"):
        path.unlink()
    return plant


COMMANDS = (("query", "SELECT count(*) FROM bronze.files", "--as", "qa"), ("scrub",), ("ingest",))


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_say_so_and_make_none(plant: Plant, command: tuple[str, ...]) -> None:
    done = Laboratory(plant.settings, None).lab(*command)  # pyright: ignore[reportArgumentType]
    assert done.returncode != 0
    assert "lab.db is gone, though it was made here before" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (plant.settings.home / "lab.db").exists()


@pytest.mark.parametrize("record", [True, False])
def test_every_door_says_so(plant: Plant, record: bool) -> None:
    """Also in a home of before ``home.json``: originals and tables say that there was one."""
    if not record:
        (plant.settings.home / "home.json").unlink()
    for look in (
        lambda: open_database(plant.settings),
        lambda: open_state(plant.settings),
        lambda: plant.lake,
    ):
        with pytest.raises(DatabaseLostError, match=r"lab\.db is gone, though it was made here before.*'lab restore'"):
            look()
    with pytest.raises(TableLostError, match=r"lab\.db is gone"):
        read_rows(plant.settings, "bronze.files")
    assert any("lab.db is gone" in problem for problem in lab_status(plant.settings).problems)
    assert not (plant.settings.home / "lab.db").exists()


def test_one_without_tables_is_lost_as_well(plant: Plant) -> None:
    import sqlite3

    sqlite3.connect(plant.settings.home / "lab.db").execute("PRAGMA journal_mode=WAL").close()
    with pytest.raises(LostError, match=r"lab\.db has no tables, though it was filled here before"):
        open_database(plant.settings)


def test_a_file_taken_away_or_replaced_under_a_running_process_is_noticed(tmp_path: Path) -> None:
    """Kept connections would go on with a file that nobody else sees."""
    plant = plant_at(tmp_path / "lab")
    engine = open_database(plant.settings)
    path, spare = plant.settings.home / "lab.db", tmp_path / "spare.db"
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(path, spare)
    path.unlink()
    with pytest.raises(DatabaseLostError), engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    shutil.copy(spare, path)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM arrivals")).scalar() == 0


def test_a_person_may_begin_a_new_one_that_learns_from_the_tables(plant: Plant) -> None:
    lab = Laboratory(plant.settings, None).lab  # pyright: ignore[reportArgumentType]
    assert lab("reconcile", "--new-database").returncode != 0
    done = lab("reconcile", "--new-database", "--reason", "the disk died, there is no backup")
    assert done.returncode == 0, done.stderr
    assert "learnt from bronze.files" in done.stdout
    assert plant.states() == {"hplc/a.txt": "committed"}
    assert Ledger(open_database(plant.settings)).counts() == {"committed": 1}
    again = lab("reconcile", "--new-database", "--reason", "once more")
    assert "this one is not" in again.stderr
    assert plant.lake.row_count(FILES) == 1
