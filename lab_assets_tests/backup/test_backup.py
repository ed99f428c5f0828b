"""A backup of a laboratory that works, verified, and put back under another path."""

from __future__ import annotations

import json
import stat
import threading
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lab_assets.contracts.bronze import CHROMATOGRAMS, FILES
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.home_identity import place_of
from lab_assets.ops.backup.folder import BackupError, BackupFolder
from lab_assets.ops.backup.keys import decrypt
from lab_assets.ops.backup.making import KeysChoice, make_backup
from lab_assets.ops.backup.parts import restore_part
from lab_assets.ops.backup.restore_report import Chosen
from lab_assets.ops.backup.verifying import verify
from lab_assets.settings import get_settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database
from lab_assets_tests.backup.homes import WORD, back_up, killed_at, other, plant_with_files, problems_of, put_in, rows_of
from lab_assets_tests.faults.ingestion import KILLED, Plant, run_of, tmpfs, unmount

KEY = "run/mask.key"


def test_a_restored_laboratory_is_the_one_that_was_backed_up(made: tuple[Plant, Path], plant: Plant, tmp_path: Path) -> None:
    """Under another path while the original is gone: rows, identity, key, rights and times of files; and it goes on working."""
    back_up(plant, tmp_path / "b")
    rows, identity = rows_of(plant), place_of(plant.settings).home_id
    key = (plant.settings.home / KEY).read_bytes()
    commit = plant.settings.home / "lake/bronze/files/_delta_log/00000000000000000001.json"
    written_ns = commit.stat().st_mtime_ns
    plant.settings.home.rename(tmp_path / "hidden")

    report = put_in(tmp_path / "b", tmp_path / "else" / "where")
    restored = other(plant, tmp_path / "else" / "where")
    assert (report.problems, report.keys, report.reconciled) == ([], "restored", [])
    assert rows_of(restored) == rows
    assert place_of(restored.settings).home_id == identity
    assert (restored.settings.home / KEY).read_bytes() == key
    assert stat.S_IMODE((restored.settings.home / KEY).stat().st_mode) == 0o600
    assert stat.S_IMODE(restored.settings.raw.stat().st_mode) == 0o700
    assert (restored.settings.home / commit.relative_to(plant.settings.home)).stat().st_mtime_ns == written_ns
    assert problems_of(restored) == []
    actions = [entry.action for entry in AuditLog(restored.lake.ledger.engine).entries()]
    assert actions[-3:] == ["backup.begin", "home.restore", "integrity.scrub"]

    restored.drop("c.txt", run_of("S-3"))
    restored.ingest_whole()
    assert restored.states()["hplc/c.txt"] == "committed"
    assert (restored.lake.row_count(CHROMATOGRAMS), restored.lake.row_count(FILES)) == (6, 5)


def test_a_second_backup_stores_what_is_new_alone(plant: Plant, folder: Path) -> None:
    """One file more of two traces: its original, rows of its tables and what records them; no other original and no other rows."""
    first = BackupFolder(folder).newest()
    plant.drop("c.txt", run_of("S-3"))
    plant.ingest_whole()
    report = back_up(plant, folder)
    second = BackupFolder(folder).snapshot(report.name)
    assert first is not None
    known = {entry.sha256 for entry in first.files}
    new = sorted(entry.path for entry in second.files if entry.sha256 not in known)
    assert report.new_files == len(new)
    assert len([path for path in new if path.startswith("raw/")]) == 1
    touched = {"/".join(path.split("/")[:3]) for path in new if path.startswith("lake/")}
    assert (
        touched == {"lake/bronze/chromatograms", "lake/bronze/vendor_peaks", "lake/bronze/instrument_status", "lake/bronze/files"} & touched
    )
    assert {"lake/bronze/chromatograms", "lake/bronze/files"} <= touched
    assert verify(BackupFolder(folder), BackupFolder(folder).names()).ok
    assert back_up(plant, folder, keep=1).removed == [first.name, second.name]
    assert verify(BackupFolder(folder), BackupFolder(folder).names()).ok


@pytest.mark.parametrize("place", ["backup_settled", "backup_stored"])
def test_an_interrupted_backup_leaves_the_former_one(plant: Plant, folder: Path, place: str, tmp_path: Path) -> None:
    plant.drop("c.txt", run_of("S-3"))
    plant.ingest_whole()
    assert killed_at(place, partial(back_up, plant, folder), plant.settings) == KILLED
    kept = BackupFolder(folder)
    assert len(kept.names()) == 1
    assert verify(kept, kept.names()).ok
    assert put_in(folder, tmp_path / "of_former").problems == []
    back_up(plant, folder)
    assert (len(kept.names()), verify(kept, kept.names()).ok, list(folder.glob(".work-*"))) == (2, True, [])


def test_backups_of_a_laboratory_that_is_written_to_are_each_of_one_moment(plant: Plant, tmp_path: Path) -> None:
    """Rows, audit entries and answers go on all the while: no backup holds a version, entry or anchor that the others lack."""
    stopped = threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        lake, number = plant.lake, 100
        audit = AuditLog(lake.ledger.engine)
        rows = lake.polars(CHROMATOGRAMS).to_arrow()
        try:
            while not stopped.is_set():
                number += 1
                lake.append(CHROMATOGRAMS, rows)
                audit.append(actor="worker", action="test.work", target=str(number))
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        reports = [back_up(plant, tmp_path / "b") for _ in range(3)]
    finally:
        stopped.set()
        worker.join()
    assert errors == []
    versions: list[int] = []
    for number, report in enumerate(reports):
        put_in(tmp_path / "b", tmp_path / f"home{number}", name=report.name)
        restored = other(plant, tmp_path / f"home{number}")
        assert problems_of(restored) == []
        ledger, lake = restored.lake.ledger, restored.lake
        assert lake.version(CHROMATOGRAMS) == ledger.noted_version(CHROMATOGRAMS.full_name)
        versions.append(lake.version(CHROMATOGRAMS))
    assert versions == sorted(set(versions)), "each backup is of a later moment"


def test_what_is_damaged_in_the_laboratory_is_named_and_left_out(plant: Plant, tmp_path: Path) -> None:
    """A flipped bit in a data file and a lost original: both by name, and the backup can be made all the same."""
    data = next((plant.settings.home / "lake/bronze/vendor_peaks").glob("*.parquet"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(bytes(content))
    raw = next(path for path in plant.settings.raw.glob("*/*"))
    raw.chmod(0o600)
    raw.write_bytes(b"other bytes")
    report = back_up(plant, tmp_path / "b")
    assert sorted(report.damaged) == sorted(
        [data.relative_to(plant.settings.home).as_posix(), raw.relative_to(plant.settings.home).as_posix()]
    )
    assert all("does not hold what was committed" in problem for problem in report.damaged.values())
    assert not verify(BackupFolder(tmp_path / "b"), [report.name]).ok


def test_a_changed_backup_is_found_and_never_put_back(folder: Path, tmp_path: Path) -> None:
    """One bit of one stored file, then of the list itself."""
    backups = BackupFolder(folder)
    snapshot = backups.newest()
    assert snapshot is not None
    entry = next(each for each in snapshot.files if each.path.startswith("lake/bronze/files/") and each.path.endswith(".parquet"))
    stored = backups.object_path(entry.sha256)
    stored.chmod(0o600)
    stored.write_bytes(stored.read_bytes()[:-1] + b"\x00")
    assert verify(backups, [snapshot.name]).findings == {entry.path: "changed"}
    with pytest.raises(BackupError, match=r"1 file\(s\) of backup .* are not what was stored"):
        put_in(folder, tmp_path / "new")
    assert not (tmp_path / "new" / "lab.db").exists()
    path = folder / "snapshots" / f"{snapshot.name}.json"
    document = json.loads(path.read_text())
    document["home_id"] = "another"
    path.write_text(json.dumps(document))
    with pytest.raises(BackupError, match="was changed since it was written"):
        backups.snapshot(snapshot.name)


def test_keys_are_read_with_their_passphrase_alone(plant: Plant, folder: Path, tmp_path: Path) -> None:
    """No file of a backup holds the key; a wrong passphrase writes nothing; a later backup of the same key needs none."""
    key = (plant.settings.home / KEY).read_bytes()
    assert [path for path in folder.rglob("*") if path.is_file() and key in path.read_bytes()] == []
    with pytest.raises(BackupError, match="is not the one that the keys of this backup were encrypted with"):
        put_in(folder, tmp_path / "new", passphrase="another")
    with pytest.raises(BackupError, match="give the passphrase"):
        put_in(folder, tmp_path / "new", passphrase=None)
    assert not (tmp_path / "new").exists()
    report = back_up(plant, folder, keys=KeysChoice())
    snapshot = BackupFolder(folder).snapshot(report.name)
    assert (report.keys, report.passphrase) == ("encrypted", None)
    assert decrypt(BackupFolder(folder), snapshot.keys_file, WORD, home_id=snapshot.home_id) == {KEY: key}
    with pytest.raises(BackupError, match="set LAB_BACKUP_PASSPHRASE"):
        back_up(plant, tmp_path / "b2", keys=KeysChoice())  # as of a schedule, whose log would keep it
    made_up = back_up(plant, tmp_path / "b2", keys=KeysChoice(may_make=True))
    assert made_up.passphrase is not None
    assert put_in(tmp_path / "b2", tmp_path / "with", passphrase=made_up.passphrase).keys == "restored"
    assert put_in(folder, tmp_path / "without", without_keys=True).keys == "left out"
    assert "run/mask.key" not in json.loads((tmp_path / "without" / "home.json").read_text())["kept"]


def test_sealed_keys_are_bound_to_their_laboratory(plant: Plant, folder: Path) -> None:
    """The standard cipher: what it gives is opened by the library itself under the same id, and under no other."""
    snapshot = BackupFolder(folder).newest()
    assert snapshot is not None
    with pytest.raises(BackupError, match="passphrase is not the one"):
        decrypt(BackupFolder(folder), snapshot.keys_file, WORD, home_id="another")
    assert AESGCM(bytes(32)).decrypt(bytes(12), AESGCM(bytes(32)).encrypt(bytes(12), b"x", b"id"), b"id") == b"x"


def test_a_place_that_is_not_free_or_not_fit_is_refused(plant: Plant, folder: Path, tmp_path: Path) -> None:
    home = plant.settings.home
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    for place, words in (
        (home / "backups", "lies inside of the laboratory"),
        (tmp_path, "holds the laboratory itself"),
        (tmp_path / "full", "holds something else than backups"),
    ):
        with pytest.raises(BackupError, match=words):
            back_up(plant, place)
    stranger = plant_with_files(tmp_path / "stranger" / "lab")
    with pytest.raises(BackupError, match="holds backups of another laboratory"):
        back_up(stranger, folder)
    with pytest.raises(BackupError, match="holds something already"):
        put_in(folder, home)
    with pytest.raises(BackupError, match="is no folder of backups"):
        put_in(tmp_path / "full", tmp_path / "new")
    elsewhere = plant.settings.model_copy(update={"db_url": "postgresql://server/lab"})
    with pytest.raises(BackupError, match="LAB_DB_URL: the ledger is kept by a database server"):
        make_backup(elsewhere, open_database(plant.settings), folder, by="shell:test", keys=KeysChoice())


def test_what_is_in_the_place_is_laid_aside_where_that_is_asked_for(plant: Plant, folder: Path) -> None:
    report = put_in(folder, plant.settings.home, replace=True)
    assert (report.problems, (Path(report.aside) / "lab.db").is_file()) == ([], True)
    assert Path(report.aside).name.startswith("lab.before-restore-")


def test_too_little_space_is_said_before_anything_is_stored(plant: Plant, tmp_path: Path) -> None:
    tmpfs(tmp_path / "small", "1m")
    try:
        with pytest.raises(EnvironmentFaultError, match=f"{tmp_path}/small .1 MB free; the databases take") as raised:
            back_up(plant, tmp_path / "small")
        assert raised.value.kind is Kind.DISK_FULL
        assert BackupFolder(tmp_path / "small").names() == []
    finally:
        unmount(tmp_path / "small")


def test_an_interrupted_restore_is_no_laboratory_and_goes_on(plant: Plant, folder: Path, tmp_path: Path) -> None:
    """Killed when all is written and nothing settled: refused for another backup, finished for the same, each file read once more."""
    assert killed_at("restore_written", partial(put_in, folder, tmp_path / "new"), plant.settings) == KILLED
    assert (tmp_path / "new" / ".restoring").is_file()
    later = back_up(plant, folder)
    with pytest.raises(BackupError, match="the begin of a restore of another backup"):
        put_in(folder, tmp_path / "new", name=later.name)
    first = next(name for name in BackupFolder(folder).names() if name != later.name)
    report = put_in(folder, tmp_path / "new")
    assert (report.backup, report.problems) == (first, []), "the same command goes on, although a newer backup was made meanwhile"
    assert not (tmp_path / "new" / ".restoring").exists()
    assert problems_of(other(plant, tmp_path / "new")) == []


def test_single_files_come_back_and_others_stay(plant: Plant, folder: Path) -> None:
    """A lost data file, a flipped bit in an original and another key; a description written since is nobody's to take back."""
    home = plant.settings.home
    lost = next((home / "lake/bronze/chromatograms").glob("*.parquet"))
    lost.unlink()
    raw = next(path for path in plant.settings.raw.glob("*/*"))
    raw.chmod(0o600)
    raw.write_bytes(b"other bytes")
    key = (home / KEY).read_bytes()
    (home / KEY).unlink()
    chosen = Chosen(folder=folder, passphrase=WORD)
    assert restore_part(plant.settings, chosen, "lake").restored == [lost.relative_to(home).as_posix()]
    done = restore_part(plant.settings, chosen, "raw")
    assert done.restored == [raw.relative_to(home).as_posix()]
    assert [Path(each).read_bytes() for each in done.aside] == [b"other bytes"]
    restore_part(plant.settings, chosen, KEY)
    assert (home / KEY).read_bytes() == key
    assert problems_of(plant) == []
    with pytest.raises(BackupError, match="holds nothing at 'lake/gold/nothing'"):
        restore_part(plant.settings, chosen, "lake/gold/nothing")


def test_the_command_says_what_it_did_and_by_its_exit_code(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from lab_assets.cli.main import app

    def lab(*arguments: str) -> tuple[int, str, str]:
        get_settings.cache_clear()
        done = CliRunner().invoke(app, list(arguments))
        return done.exit_code, done.stdout, done.stderr

    monkeypatch.setenv("LAB_HOME", str(plant.settings.home))
    monkeypatch.setenv("LAB_BACKUP_PASSPHRASE", WORD)
    code, out, _ = lab("backup", str(tmp_path / "b"), "--json")
    made = json.loads(out)
    assert (code, made["keys"], made["passphrase"], made["damaged"]) == (0, "encrypted", None, {})
    assert [each["backup"] for each in json.loads(lab("backup", "list", str(tmp_path / "b"), "--json")[1])] == [made["name"]]
    verified = json.loads(lab("backup", "verify", str(tmp_path / "b"), "--json")[1])
    assert (verified["ok"], verified["backups"]) == (True, [made["name"]])
    code, out, _ = lab("restore", str(tmp_path / "b"), "--home", str(tmp_path / "new"), "--json")
    assert (code, json.loads(out)["problems"]) == (0, [])
    code, _, err = lab("restore", str(tmp_path / "b"), "--home", str(tmp_path / "new"))
    assert (code, err.startswith(f"error: {tmp_path}/new holds something already")) == (1, True)
    assert lab("restore")[2] == "error: name the folder of the backup; to make lost tables anew without one, give --lake-from-raw\n"
    data = next((plant.settings.home / "lake/bronze/files").glob("*.parquet"))
    data.write_bytes(b"not what it was")
    assert lab("backup", str(tmp_path / "b"))[0] == 1
    assert lab("backup", "verify", str(tmp_path / "b"))[0] == 1
    assert open_database(plant.settings) is not None
    get_settings.cache_clear()
