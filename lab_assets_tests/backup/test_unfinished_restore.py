"""A restore that was interrupted: every door refuses and names what finishes it, and nothing that people did is overwritten."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.home_identity import place_of
from lab_assets.ops.backup.folder import BackupError, BackupFolder
from lab_assets.ops.status import lab_status
from lab_assets.orchestration.resources import open_lakehouse
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database
from lab_assets_tests.backup.homes import back_up, killed_at, lab_in, other, problems_of, put_in
from lab_assets_tests.faults.ingestion import KILLED, Plant

MARK = ".restoring"
DOORS = (
    ("up",), ("upgrade",), ("ingest",), ("demo",), ("maintain",), ("scrub",), ("reconcile",), ("drift",),
    ("reconcile", "--new-database", "--reason", "it is gone"),
    ("query", "select 1", "--as", "qa"),
    ("catalog", "list"),
    ("explain", "any"), ("reproduce", "any"), ("score", "--injection", "any"),
    ("table", "history", "bronze.files"),
    ("run", "list"),
    ("user", "list"),
    ("audit", "verify"),
    ("model", "list"),
    ("quarantine", "list"), ("schema", "list"),
    ("restore", "--lake-from-raw"),
)  # fmt: skip


@pytest.fixture
def unfinished(plant: Plant, folder: Path, tmp_path: Path) -> Path:
    """A home whose restore was killed when all was written and nothing settled."""
    assert killed_at("restore_written", partial(put_in, folder, tmp_path / "new"), plant.settings) == KILLED
    return tmp_path / "new"


def _contents(home: Path) -> dict[str, str]:
    """Digests of what a home keeps, but for locks and an empty log of SQLite, which whoever reads makes."""
    files = (path for path in home.rglob("*") if path.is_file() and path.suffix not in {".lock", ".db-shm"})
    kept = (path for path in files if path.suffix != ".db-wal" or path.stat().st_size)
    return {path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def _worked(home: Path) -> None:
    """Sign in and out, as people did in a version whose doors stood open."""
    (home / MARK).rename(home / "mark")
    engine = open_database(Settings(home=home))
    AuditLog(engine).append(actor="qa", action="user.sign_in", target="qa")
    engine.dispose()  # the last connection moves what was written into the database itself
    (home / "mark").rename(home / MARK)


@pytest.mark.parametrize("is_written", [True, False], ids=["all is written", "no database yet"])
def test_every_door_refuses_and_names_the_command_that_finishes(unfinished: Path, folder: Path, is_written: bool) -> None:
    """Each in one line with exit code 2, and nothing is made or changed; the command that is named makes the laboratory."""
    if not is_written:
        for name in ("lab.db", "home.json"):
            (unfinished / name).unlink()
    before = _contents(unfinished)
    name = BackupFolder(folder).names()[0]
    named = f"lab restore {folder} --home {unfinished} --backup {name}"
    line = f"{unfinished} (backup {name}); nothing was changed, finish it with '{named}'"
    for door in (*DOORS, ("backup", str(unfinished.parent / "b")), ("restore", str(folder), "--only", "raw")):
        code, _, err = lab_in(unfinished, *door)
        assert (code, err.splitlines()[-1].endswith(line), "Traceback" in err) == (2, True, False), (door, code, err)
    assert _contents(unfinished) == before
    code, out, err = lab_in(unfinished, *shlex.split(named)[1:])
    assert (code, f"backup {name} is a laboratory in {unfinished}" in out) == (0, True), err
    assert lab_in(unfinished, "audit", "verify")[0] == 0


def _run_with_tables(settings: Settings) -> None:
    """Do what each step of a run begins with."""
    with open_lakehouse(settings):
        pass


def test_what_opens_a_home_without_a_command_refuses_too(unfinished: Path) -> None:
    """The service and the runs of Dagster open the database; whoever would make the home's record makes none."""
    settings = Settings(home=unfinished)
    (unfinished / "home.json").unlink()
    for door in (lambda: open_database(settings), lambda: place_of(settings), partial(_run_with_tables, settings)):
        with pytest.raises(EnvironmentFaultError, match="finish it with 'lab restore") as raised:
            door()
        assert raised.value.kind is Kind.UNFINISHED_RESTORE
    assert not (unfinished / "home.json").exists()


def test_status_and_doctor_name_it_as_their_problem(unfinished: Path, folder: Path) -> None:
    words = f"lab restore {folder} --home {unfinished} --backup {BackupFolder(folder).names()[0]}"
    assert [words in problem for problem in lab_status(Settings(home=unfinished)).problems] == [True]
    code, out, _ = lab_in(unfinished, "doctor", "--json")
    failed = {each["name"]: each for each in json.loads(out)["checks"] if each["state"] == "failed"}
    assert code == 1
    assert {words in failed[name]["mend"] for name in ("identity", "database")} == {True}


def test_what_people_did_since_is_not_overwritten(unfinished: Path, folder: Path) -> None:
    """An audit entry of theirs: refused, with who and what; laid aside with it where that is asked for."""
    _worked(unfinished)
    before = _contents(unfinished)
    with pytest.raises(BackupError, match=r"was written to since .*\(1 audit entry, the last at .* UTC: user.sign_in by qa\)"):
        put_in(folder, unfinished)
    assert _contents(unfinished) == before
    report = put_in(folder, unfinished, replace=True)
    assert report.problems == []
    with closing(sqlite3.connect(Path(report.aside) / "lab.db")) as aside:
        assert aside.execute("SELECT action FROM audit ORDER BY seq DESC LIMIT 1").fetchone() == ("user.sign_in",)
    assert problems_of(other_home(unfinished)) == []


def test_a_mark_of_an_earlier_version_is_read(unfinished: Path, folder: Path) -> None:
    """It held the name of the backup alone: doors name what they can, people's work is found, and the restore goes on without any."""
    name = BackupFolder(folder).names()[0]
    (unfinished / MARK).write_text(name)
    with pytest.raises(EnvironmentFaultError, match=re.escape(f"'lab restore FOLDER --home {unfinished} --backup {name}'")):
        open_database(Settings(home=unfinished))
    assert put_in(folder, unfinished).problems == []
    (unfinished / MARK).write_text(name)
    _worked(unfinished)
    with pytest.raises(BackupError, match=r"user\.sign_in by qa"):
        put_in(folder, unfinished)


def test_a_database_that_a_door_made_meanwhile_is_not_overwritten(unfinished: Path, folder: Path) -> None:
    """The restore had not come to the database: one with other bytes is somebody's, even with no entry of a person in it."""
    mark = json.loads((unfinished / MARK).read_text())
    (unfinished / MARK).write_text(json.dumps(mark | {"is_settling": False}))
    with closing(sqlite3.connect(unfinished / "lab.db")) as database:
        database.execute("UPDATE policy_state SET version = version + 1")
        database.commit()
    with pytest.raises(BackupError, match="its bytes are not those of the backup"):
        put_in(folder, unfinished)


def test_a_restore_killed_while_it_settles_goes_on_from_the_backup(plant: Plant, folder: Path, tmp_path: Path) -> None:
    """Its own entry in the trail is nobody's work, and what SQLite kept beside the database of then goes with it."""
    home = tmp_path / "new"
    assert killed_at("restore_recorded", partial(put_in, folder, home), plant.settings) == KILLED
    assert (home / "lab.db-wal").stat().st_size > 0
    draft = home / "raw" / f".{'0' * 32}.restoring"
    draft.write_bytes(b"half a file")
    assert put_in(folder, home).problems == []
    restored = other_home(home)
    actions = [entry.action for entry in AuditLog(restored.lake.ledger.engine).entries()]
    assert actions.count("home.restore") == 1
    assert problems_of(restored) == []
    assert not draft.exists()


def test_two_restores_into_one_place_are_not_at_work_at_once(unfinished: Path, folder: Path) -> None:
    with FileLock(unfinished / "run" / "restore.lock"), pytest.raises(BackupError, match="another 'lab restore' is at work on"):
        put_in(folder, unfinished)
    assert put_in(folder, unfinished).problems == []


def test_a_backup_of_the_finished_laboratory_can_be_made(plant: Plant, unfinished: Path, folder: Path, tmp_path: Path) -> None:
    put_in(folder, unfinished)
    assert back_up(other(plant, unfinished), tmp_path / "b").ok


def other_home(home: Path) -> Plant:
    """Return the laboratory in a home, with the settings of the tests."""
    return Plant(Settings(home=home, stable_s=0))
