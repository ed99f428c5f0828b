"""Ctrl-C and SIGTERM in the commands of backups and of maintenance: one line of what is kept and what goes on, exit code 130."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from lab_assets.cli import maintain
from lab_assets.ops.backup import folder as folder_module
from lab_assets.ops.backup import making, parts, restoring, verifying
from lab_assets.ops.backup.folder import BackupFolder
from lab_assets.ops.backup.verifying import verify
from lab_assets.settings import Settings
from lab_assets_tests.backup.homes import lab_in, problems_of
from lab_assets_tests.faults.ingestion import Plant, run_of

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def _interrupted_at(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, number: signal.Signals = signal.SIGINT) -> None:
    """Have a signal come the first time that a function would be called."""
    whole = getattr(where, name)

    def comes(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(where, name, whole)
        signal.raise_signal(number)
        return whole(*arguments, **named)

    monkeypatch.setattr(where, name, comes)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_an_interrupted_backup_says_what_is_kept(
    plant: Plant, folder: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it stores; the command that it names makes the backup, and handlers of signals are as before."""
    plant.drop("c.txt", run_of("S-3"))
    plant.ingest_whole()
    before = [signal.getsignal(each) for each in SIGNALS]
    _interrupted_at(monkeypatch, making, "_new", number)
    said = f"interrupted: the earlier backups in {folder} are as they were, what was copied is kept, and 'lab backup {folder}' again takes it up"
    code, _, err = lab_in(plant.settings.home, "backup", str(folder))
    assert (code, err.splitlines()[-1], "Traceback" in err) == (130, said, False)
    assert ([signal.getsignal(each) for each in SIGNALS], list(folder.glob(".work-*"))) == (before, [])
    assert lab_in(plant.settings.home, "backup", str(folder))[0] == 0
    assert verify(BackupFolder(folder), BackupFolder(folder).names()).ok


def test_a_backup_interrupted_after_its_list_was_written_says_that_it_is_made(
    plant: Plant, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _interrupted_at(monkeypatch, folder_module.BackupFolder, "prune")
    code, _, err = lab_in(plant.settings.home, "backup", str(folder), "--keep", "1")
    name = BackupFolder(folder).names()[-1]
    assert (code, err.splitlines()[-1].startswith(f"interrupted: backup {name} was made all the same; ")) == (130, True)
    assert verify(BackupFolder(folder), [name]).ok


def test_interrupted_verifying_says_that_nothing_was_changed(plant: Plant, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _interrupted_at(monkeypatch, verifying, "problem_of")
    code, out, err = lab_in(plant.settings.home, "backup", "verify", str(folder))
    assert (code, out, err) == (130, "", f"interrupted: nothing was changed; 'lab backup verify {folder}' begins anew\n")


@pytest.mark.parametrize(("place", "number"), zip(["write_file", "_write_keys", "settle"], SIGNALS, strict=True))
def test_an_interrupted_restore_names_the_command_that_finishes_it(
    folder: Path, tmp_path: Path, place: str, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, name = tmp_path / "new", BackupFolder(folder).names()[0]
    _interrupted_at(monkeypatch, restoring, place, number)
    command = f"lab restore {folder} --home {home} --backup {name}"
    code, _, err = lab_in(tmp_path / "nowhere", "restore", str(folder), "--home", str(home))
    assert (code, err.splitlines()[-1], "Traceback" in err) == (
        130,
        f"interrupted: what was written stays, and {home} is no laboratory until '{command}' has finished it",
        False,
    )
    assert lab_in(tmp_path / "nowhere", *shlex.split(command)[1:])[0] == 0
    assert problems_of(Plant(Settings(home=home, stable_s=0))) == []


def test_a_restore_interrupted_before_it_writes_says_so(
    plant: Plant, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _interrupted_at(monkeypatch, restoring, "_free")
    code, _, err = lab_in(plant.settings.home, "restore", str(folder), "--home", str(tmp_path / "new"))
    assert (code, err) == (130, f"interrupted: nothing of the backup was written to {tmp_path / 'new'}\n")
    assert not (tmp_path / "new").exists()


def test_an_interrupted_part_names_the_command_that_brings_the_rest(plant: Plant, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = sorted((plant.settings.home / "lake/bronze/chromatograms").glob("*.parquet"))
    for path in lost:
        path.unlink()
    _interrupted_at(monkeypatch, parts, "write_file")
    code, _, err = lab_in(plant.settings.home, "restore", str(folder), "--only", "lake")
    command = f"lab restore {folder} --only lake"
    assert (code, err) == (130, f"interrupted: what was brought back stays; '{command}' again brings back the rest\n")
    assert lab_in(plant.settings.home, *shlex.split(command)[1:])[0] == 0
    assert [path.is_file() for path in lost] == [True] * len(lost)


def test_interrupted_maintenance_says_what_is_kept(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    _interrupted_at(monkeypatch, maintain, "_table")
    code, out, err = lab_in(plant.settings.home, "maintain", "bronze.files")
    assert (code, out, err) == (
        130,
        "",
        "interrupted: every table is whole, what was done stays, and 'lab maintain' again does the rest\n",
    )
