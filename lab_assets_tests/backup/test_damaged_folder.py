"""A folder of backups that was damaged: what is damaged is found, mended from the laboratory, or named; the rest goes on."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from lab_assets.ingest.scrub import scrub
from lab_assets.ops.backup.folder import BackupError, BackupFolder, FileEntry, Snapshot
from lab_assets.ops.backup.keys import decrypt
from lab_assets.ops.backup.making import KeysChoice
from lab_assets.ops.backup.parts import restore_part
from lab_assets.ops.backup.restore_report import Chosen
from lab_assets.ops.backup.restoring import restore
from lab_assets.ops.backup.reuse import Reuse
from lab_assets.ops.backup.verifying import verify
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets_tests.backup.homes import WORD, back_up, flip, lab_in, other, put_in
from lab_assets_tests.faults.ingestion import Plant, run_of


def _newest(folder: Path) -> Snapshot:
    found = BackupFolder(folder).newest()
    assert found is not None
    return found


def _rows(folder: Path) -> FileEntry:
    """Return a data file that the laboratory and every backup have."""
    return next(each for each in _newest(folder).files if each.path.startswith("lake/bronze/files/") and each.path.endswith(".parquet"))


def _object(folder: Path, entry: FileEntry) -> Path:
    return BackupFolder(folder).object_path(entry.sha256)


def _verified(folder: Path) -> dict[str, str]:
    return verify(BackupFolder(folder), BackupFolder(folder).names()).findings


def test_what_verifying_finds_damaged_is_mended_by_the_next_backup(plant: Plant, folder: Path, tmp_path: Path) -> None:
    """A flipped bit: the command says what helps, and that helps; every backup can be put back again."""
    entry = _rows(folder)
    flip(_object(folder, entry))
    code, _, err = lab_in(plant.settings.home, "backup", "verify", str(folder))
    assert code == 1
    assert f"the next 'lab backup {folder}' stores anew what the laboratory still holds of it" in err
    code, out, _ = lab_in(plant.settings.home, "backup", str(folder), "--copy")
    assert (code, "1 stored file(s) had been damaged in the folder and were stored anew" in out) == (0, True)
    assert _verified(folder) == {}
    for number, name in enumerate(BackupFolder(folder).names()):
        assert put_in(folder, tmp_path / f"home{number}", name=name).problems == []


def test_sixteen_backups_read_everything_that_they_share(plant: Plant, folder: Path) -> None:
    """Nobody verified: the backup in whose turn the digest is finds the flipped bit, and mends it."""
    shared = sorted((each for each in _newest(folder).files if each.path.startswith("lake/")), key=lambda each: each.sha256)
    entry = next(each for each in shared if each.sha256[0] > "0")  # the digit of the backup that is there
    flip(_object(folder, entry))
    turns = int(entry.sha256[0], 16)
    assert [back_up(plant, folder, copy_all=True).mended for _ in range(turns)] == [0] * (turns - 1) + [1]
    assert _verified(folder) == {}


def test_each_backup_hashes_a_sixteenth_and_the_turns_come_round(folder: Path) -> None:
    backups = BackupFolder(folder)
    former, digits = _newest(folder), ""
    for _ in range(17):
        reuse = Reuse(backups, former)
        sizes = {entry.sha256: entry.size for entry in former.files}
        assert all(reuse.is_sound(sha256, size) for sha256, size in sizes.items())
        assert reuse.hashed_bytes == sum(size for sha256, size in sizes.items() if sha256[0] == reuse.digit)
        digits += reuse.digit
        former = Snapshot(**{**vars(former), "hashed_again": reuse.digit})
    assert digits == "123456789abcdef01"


def test_contents_that_were_cut_short_or_are_gone_are_stored_anew(plant: Plant, folder: Path) -> None:
    """Their size tells, without hashing."""
    cut, gone = [each for each in _newest(folder).files if each.path.startswith("lake/bronze/vendor_peaks/")][:2]
    _object(folder, cut).chmod(0o600)
    _object(folder, cut).write_bytes(b"PAR1")
    _object(folder, gone).unlink()
    report = back_up(plant, folder, copy_all=True)
    assert (report.mended, report.ok, _verified(folder)) == (2, True, {})


def test_what_the_laboratory_holds_no_more_is_named_until_it_is_removed(plant: Plant, folder: Path, tmp_path: Path) -> None:
    """The database of an earlier moment: each backup says so by its exit code, and is whole itself; without the earlier one all is well."""
    first = _newest(folder)
    flip(_object(folder, next(each for each in first.files if each.path == "lab.db")))
    AuditLog(plant.lake.ledger.engine).append(actor="qa", action="test.note", target="lab")
    assert _verified(folder) == {"lab.db": "changed"}
    for _ in range(2):
        code, _, err = lab_in(plant.settings.home, "backup", str(folder))
        said = f"damaged in the folder, and the laboratory holds it no more: lab.db: changed in backup {first.name}"
        assert (code, said in err, "see 'A damaged backup' in docs/backup.md" in err) == (1, True, True)
    assert put_in(folder, tmp_path / "new").problems == []
    assert lab_in(plant.settings.home, "backup", str(folder), "--keep", "1")[0] == 0
    assert (_verified(folder), (folder / "damaged.json").exists()) == ({}, False)


def test_what_is_damaged_in_both_places_is_named_in_both(plant: Plant, folder: Path) -> None:
    """On one disk an original and its backup may be one file: nothing can mend it, and no backup is called whole."""
    entry = _rows(folder)
    flip(_object(folder, entry))
    flip(plant.settings.home / entry.path)
    _verified(folder)
    report = back_up(plant, folder)
    assert (list(report.damaged), list(report.damaged_contents), report.ok) == ([entry.path], [entry.path], False)


def test_advice_of_a_restore_names_backups_that_help(plant: Plant, folder: Path, tmp_path: Path) -> None:
    """Earlier backups share contents: one is named where it holds none of what is damaged, and none where all hold it."""
    first = _newest(folder)
    plant.drop("c.txt", run_of("S-3"))
    plant.ingest_whole()
    second = back_up(plant, folder, copy_all=True)
    known = {entry.sha256 for entry in first.files}
    new = next(each for each in _newest(folder).files if each.path.endswith(".parquet") and each.sha256 not in known)
    flip(_object(folder, new))
    with pytest.raises(BackupError, match=f"backup {first.name} holds none of these contents"):
        put_in(folder, tmp_path / "new")
    assert put_in(folder, tmp_path / "earlier", name=first.name).problems == []
    shared = next(each for each in _newest(folder).files if each.path.endswith(".parquet") and each.sha256 in known)
    flip(_object(folder, shared))
    with pytest.raises(BackupError, match="no other backup in the folder is without them"):
        put_in(folder, tmp_path / "third")
    back_up(plant, folder, copy_all=True)  # as the message says, and the same command goes on
    report = put_in(folder, tmp_path / "new")
    assert (report.backup, report.problems) == (second.name, [])


def test_a_part_that_is_damaged_names_a_backup_that_helps(plant: Plant, folder: Path) -> None:
    entry = _rows(folder)
    (plant.settings.home / entry.path).unlink()
    flip(_object(folder, entry))
    with pytest.raises(BackupError, match="is changed; no other backup in the folder is without it"):
        restore_part(plant.settings, Chosen(folder=folder), "lake/bronze/files")


def test_a_damaged_file_can_be_left_out_and_is_named(plant: Plant, folder: Path, tmp_path: Path) -> None:
    """The laboratory is lost and one file of its backup, too: the others come back, and the scrub finds what is missing."""
    entry = _rows(folder)
    flip(_object(folder, entry))
    settings = Settings(home=tmp_path / "new", stable_s=0)
    chosen = Chosen(folder=folder, passphrase=WORD)
    with pytest.raises(BackupError, match="or give --without-damaged"):
        restore(settings, chosen, by="shell:test")
    report = restore(settings, chosen, by="shell:test", without_damaged=True)
    assert f"{entry.path} is changed in the backup and was left out: see docs/recovery.md" in report.problems
    assert [each.object for each in scrub(settings, other(plant, tmp_path / "new").lake.ledger).findings] != []
    flip(_object(folder, next(each for each in _newest(folder).files if each.path == "lab.db")))
    with pytest.raises(BackupError, match=r"2 file\(s\) of backup .*without them$"):
        restore(Settings(home=tmp_path / "second"), chosen, by="shell:test", without_damaged=True)


def _cut_list(folder: Path, name: str) -> Path:
    path = folder / "snapshots" / f"{name}.json"
    path.write_bytes(path.read_bytes()[:-100])
    return path


@pytest.mark.parametrize("which", [0, -1], ids=["the older one", "the newest"])
def test_a_damaged_list_hides_no_other_backup(plant: Plant, folder: Path, tmp_path: Path, which: int) -> None:
    """List, verify, restore and backup name it and what sets it aside; each goes on with the others, and nothing is removed meanwhile."""
    back_up(plant, folder, copy_all=True)
    names = BackupFolder(folder).names()
    cut = names.pop(which)
    path = _cut_list(folder, cut)
    aside = f"mv {path} {folder}"
    code, out, err = lab_in(plant.settings.home, "backup", "list", str(folder))
    assert (code, names[0] in out.replace("\n", ""), aside in err) == (1, True, True)
    listed = json.loads(lab_in(plant.settings.home, "backup", "list", str(folder), "--json")[1])
    assert [(each["backup"], "problem" in each) for each in listed] == [(names[0], False), (cut, True)]
    assert list(_verified(folder)) == [f"snapshots/{cut}.json"]
    if which == -1:
        with pytest.raises(BackupError, match=r"was changed since it was written.*'lab backup list"):
            put_in(folder, tmp_path / "new")
    assert put_in(folder, tmp_path / "other", name=names[0]).problems == []

    code, _, err = lab_in(plant.settings.home, "backup", str(folder), "--copy", "--keep", "1")
    assert (code, aside in err, len(BackupFolder(folder).names())) == (1, True, 3)
    assert put_in(folder, tmp_path / "after").problems == []
    source, target = map(Path, shlex.split(aside)[1:])
    shutil.move(source, target)
    assert lab_in(plant.settings.home, "backup", "list", str(folder))[0] == 0
    assert lab_in(plant.settings.home, "backup", str(folder), "--copy", "--keep", "1")[0] == 0
    assert (len(BackupFolder(folder).names()), _verified(folder)) == (1, {})


def test_no_list_at_all_can_be_read(plant: Plant, folder: Path) -> None:
    """Everything is compared anew: contents that are there are hashed instead of trusted, and stored again where they are damaged."""
    entry = _rows(folder)
    _cut_list(folder, BackupFolder(folder).names()[0])
    flip(_object(folder, entry))
    report = back_up(plant, folder, copy_all=True)
    assert (report.ok, len(report.damaged_lists), report.hashed_bytes > 0) == (False, 1, True)
    assert verify(BackupFolder(folder), [report.name]).ok


def test_the_newest_whole_backup_stays_while_something_is_damaged(plant: Plant, folder: Path, tmp_path: Path) -> None:
    """With --keep 1, too: the original is lost in the laboratory, and only the earlier backup has it."""
    lost = next(each for each in _newest(folder).files if each.path.startswith("raw/"))
    whole = _newest(folder).name
    (plant.settings.home / lost.path).unlink()
    for _ in range(2):
        report = back_up(plant, folder, keep=1)
        assert list(report.damaged) == [lost.path]
    assert BackupFolder(folder).names() == [whole, report.name]
    assert put_in(folder, tmp_path / "new", name=whole).problems == []
    restore_part(plant.settings, Chosen(folder=folder, name=whole), "raw")
    assert sorted(back_up(plant, folder, keep=1).removed) == [whole, report.name]


def test_damaged_keys_are_not_taken_over(plant: Plant, folder: Path, tmp_path: Path) -> None:
    """A schedule without the passphrase is refused, with the file by name; with it they are encrypted anew."""
    former = _newest(folder)
    flip(folder / "keys" / former.keys_file)
    with pytest.raises(BackupError, match=rf"{former.keys_file}, which holds .* is changed: the keys need a passphrase"):
        back_up(plant, folder, keys=KeysChoice())
    made = BackupFolder(folder).snapshot(back_up(plant, folder).name)
    assert list(decrypt(BackupFolder(folder), made.keys_file, WORD, home_id=made.home_id)) == ["run/mask.key"]
    assert put_in(folder, tmp_path / "new").keys == "restored"


@pytest.mark.parametrize("content", [None, b"{"], ids=["gone", "cut"])
def test_a_folder_whose_own_record_is_damaged_is_known_by_its_lists(
    plant: Plant, folder: Path, tmp_path: Path, content: bytes | None
) -> None:
    record = folder / "lab-backup.json"
    written = record.read_bytes()
    record.unlink()
    if content is not None:
        record.write_bytes(content)
    assert put_in(folder, tmp_path / "new").problems == []
    assert back_up(plant, folder).ok
    assert record.read_bytes() == written
