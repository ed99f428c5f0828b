"""A look at the drop folders: what counts as finished and new."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from lab_assets.ingest.candidates import Look, Patience
from lab_assets.ingest.entries import UNSORTED
from lab_assets.ingest.inbox import InboxError, file_system_now, look, nothing_taken
from lab_assets.state.taken_paths import TakenPath


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox" / "hplc-1").mkdir(parents=True)
    return tmp_path / "inbox"


def seen(inbox: Path, *, stable_s: float = 0.0, now_s: float | None = None) -> Look:
    return look(inbox, nothing_taken, Patience(stable_s=stable_s), clock=file_system_now if now_s is None else lambda _folder: now_s)


def names(found: Look) -> list[tuple[str, str]]:
    return [(candidate.source, candidate.file_name) for candidate in found.ready]


def test_the_first_folder_is_the_source_and_the_rest_is_the_name(inbox: Path) -> None:
    (inbox / "hplc-1" / "pressure").mkdir()
    (inbox / "hplc-1" / "pressure" / "a.txt").write_text("a")
    (inbox / "loose.csv").write_text("b")
    assert sorted(names(seen(inbox))) == [("hplc-1", "pressure/a.txt"), (UNSORTED, "loose.csv")]


def test_an_inbox_that_is_gone_or_no_folder_is_a_problem(tmp_path: Path) -> None:
    """Not an inbox without files: nobody could tell the two apart."""
    with pytest.raises(InboxError, match=r"none is not there: mount it again, or make the folder"):
        seen(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InboxError, match=r"file is not a folder"):
        seen(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["names cannot be read", "names can be read, files cannot be asked for"])
def test_an_inbox_that_cannot_be_read_is_a_problem(mode: int) -> None:
    """Root may read everything, so a child becomes nobody."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "inbox" / "hplc-1").mkdir(parents=True)
        (folder / "inbox").chmod(mode)
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            try:
                seen(folder / "inbox")
            except InboxError as error:
                os._exit(7 if "cannot be read: grant the right" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_file_is_finished_when_it_did_not_change_for_a_while(inbox: Path) -> None:
    """Changed at time t: growing at t + 1 s, ready at t + 3 s, with 2 s asked for."""
    path = inbox / "hplc-1" / "a.txt"
    path.write_text("half")
    changed_s = path.stat().st_ctime
    assert (seen(inbox, stable_s=2, now_s=changed_s + 1).growing, names(seen(inbox, stable_s=2, now_s=changed_s + 1))) == (1, [])
    assert names(seen(inbox, stable_s=2, now_s=changed_s + 3)) == [("hplc-1", "a.txt")]


@pytest.mark.parametrize("mtime_s", [0, 4_070_908_800], ids=["year 1970", "year 2099"])
def test_modification_times_of_the_past_and_the_future_do_not_matter(inbox: Path, mtime_s: int) -> None:
    path = inbox / "hplc-1" / "a.txt"
    path.write_text("x")
    os.utime(path, (mtime_s, mtime_s))
    assert names(seen(inbox, stable_s=2, now_s=path.stat().st_ctime + 3)) == [("hplc-1", "a.txt")]


def test_a_share_whose_clock_is_ahead_does_not_stop_files(inbox: Path) -> None:
    path = inbox / "hplc-1" / "a.txt"
    path.write_text("x")
    assert names(seen(inbox, stable_s=2, now_s=path.stat().st_ctime - 3600)) == [("hplc-1", "a.txt")]


@pytest.mark.parametrize("name", ["a.tmp", "a.part", "a.CRDOWNLOAD", ".hidden", "~$book.xlsx", "a.txt~", "a.filepart"])
def test_names_of_unfinished_transfers_are_passed_over(inbox: Path, name: str) -> None:
    (inbox / "hplc-1" / name).write_text("x")
    found = seen(inbox)
    assert (names(found), found.growing, found.refused) == ([], 0, [])


def test_a_file_known_as_it_is_is_not_new_and_one_rewritten_is(inbox: Path) -> None:
    path = inbox / "hplc-1" / "a.txt"
    path.write_text("x")
    (first,) = seen(inbox).ready

    def taken(_source: str, _names: object) -> dict[str, TakenPath]:
        return {"a.txt": TakenPath(*first.fingerprint, "1" * 64)}

    again = look(inbox, taken, Patience(stable_s=0))
    assert (again.known, again.ready) == (1, [])
    path.write_text("y")
    assert [candidate.file_name for candidate in look(inbox, taken, Patience(stable_s=0)).ready] == ["a.txt"]


def test_what_is_no_regular_file_is_refused_with_the_reason(inbox: Path) -> None:
    (inbox / "hplc-1" / "link.txt").symlink_to("/etc/hostname")
    os.mkfifo(inbox / "hplc-1" / "pipe.txt")
    found = seen(inbox)
    assert {(candidate.file_name, reason) for candidate, reason in found.refused} == {
        ("link.txt", "is a symbolic link"),
        ("pipe.txt", "is not a regular file"),
    }
    assert found.ready == []


def test_a_drop_folder_of_the_inboxs_own_name_is_refused(inbox: Path) -> None:
    """Files in the inbox itself are of the source ``inbox``: ``inbox/inbox/x.csv`` and ``inbox/x.csv`` would replace each other for ever."""
    (inbox / "inbox").mkdir()
    for folder in (inbox, inbox / "inbox"):
        (folder / "x.csv").write_text("a")
    found = seen(inbox)
    assert [(one.source, one.file_name) for one in found.ready] == [("inbox", "x.csv")]
    assert [reason for _, reason in found.refused] == ["is a drop folder of the inbox's own name: call it otherwise"]


def test_a_folder_reached_by_a_link_is_not_walked(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.txt").write_text("x")
    (inbox / "shortcut").symlink_to(tmp_path / "elsewhere")
    assert names(seen(inbox)) == []


def test_a_name_that_is_no_text_is_kept_readable(inbox: Path) -> None:
    """Byte 0xff is no UTF-8; it is shown by its escape."""
    (Path(os.fsdecode(os.fsencode(inbox) + b"/hplc-1/bad\xff.txt"))).write_text("x")
    assert names(seen(inbox)) == [("hplc-1", "bad\\xff.txt")]


def test_the_oldest_change_comes_first(inbox: Path) -> None:
    for name in ("c.txt", "a.txt", "b.txt"):
        (inbox / "hplc-1" / name).write_text(name)
        os.utime(inbox / "hplc-1" / name)
    assert [candidate.ctime_ns for candidate in seen(inbox).ready] == sorted(candidate.ctime_ns for candidate in seen(inbox).ready)


def test_the_clock_of_the_share_decides_and_not_this_machines(inbox: Path) -> None:
    """A probe's own stamp is compared: a share whose clock is behind by an hour shows a growing file as growing."""
    path = inbox / "hplc-1" / "a.txt"
    path.write_text("half")
    stamped = path.stat().st_mtime
    assert abs(file_system_now(inbox / "hplc-1") - stamped) < 5
    assert list((inbox / "hplc-1").iterdir()) == [path]
    assert seen(inbox, stable_s=2, now_s=stamped + 0.5).growing == 1


def test_a_folder_of_an_instrument_is_one_item(inbox: Path) -> None:
    run = inbox / "hplc-1" / "run 7.D"
    (run / "AcqData").mkdir(parents=True)
    (run / "DAD1A.ch").write_bytes(b"12345")
    (run / "AcqData" / "sample.xml").write_bytes(b"123")
    (found,) = seen(inbox).ready
    assert (found.file_name, found.folder, found.size) == ("run 7.D", True, 8)
    assert found.ctime_ns == max(path.stat().st_ctime_ns for path in (run, *run.rglob("*")))


def test_a_folder_under_way_is_waited_for(inbox: Path) -> None:
    """An unfinished name in it, or a change less than the folder's own patience ago."""
    run = inbox / "hplc-1" / "run 7.raw"
    run.mkdir()
    (run / "_FUNC001.DAT.part").write_bytes(b"1")
    assert (seen(inbox).growing, seen(inbox).ready) == (1, [])
    (run / "_FUNC001.DAT.part").rename(run / "_FUNC001.DAT")
    patience = Patience(stable_s=0, folder_stable_s=10)
    changed_s = max(path.stat().st_ctime for path in (run, run / "_FUNC001.DAT"))
    assert look(inbox, nothing_taken, patience, clock=lambda _folder: changed_s + 9).growing == 1
    assert len(look(inbox, nothing_taken, patience, clock=lambda _folder: changed_s + 11).ready) == 1


def test_a_done_mark_says_that_a_file_is_finished(inbox: Path) -> None:
    """In a source of that protocol nothing is taken without it; elsewhere it only spares the waiting. It is never a file itself."""
    (inbox / "lims").mkdir()
    for source in ("hplc-1", "lims"):
        (inbox / source / "a.csv").write_text("x")
        (inbox / source / "b.csv").write_text("x")
        (inbox / source / "B.CSV.done").write_text("")
    patience = Patience(stable_s=1000, done_sources=("lims",))
    found = look(inbox, nothing_taken, patience)
    assert (sorted(names(found)), found.growing) == ([("hplc-1", "b.csv"), ("lims", "b.csv")], 2)
    later = look(inbox, nothing_taken, patience, clock=lambda _folder: (inbox / "lims" / "a.csv").stat().st_ctime + 2000)
    assert sorted(names(later)) == [("hplc-1", "a.csv"), ("hplc-1", "b.csv"), ("lims", "b.csv")]


def test_a_folder_with_the_name_of_a_file_is_refused(inbox: Path) -> None:
    (inbox / "hplc-1" / "x.csv").mkdir()
    found = seen(inbox)
    assert [(candidate.file_name, reason) for candidate, reason in found.refused] == [("x.csv", "is a folder with the name of a file")]


def test_files_passed_over_for_their_name_are_counted(inbox: Path) -> None:
    (inbox / "hplc-1" / "a.txt.part").write_text("x")
    (inbox / "hplc-1" / "Thumbs.db").write_text("x")
    assert (seen(inbox).passed_over, seen(inbox).ready) == (1, [])


def test_surely_new_comes_before_perhaps_new_and_moved_last(inbox: Path) -> None:
    """Of 4 files: one never seen, one of another size, one written anew with the same size, one with another change time only."""
    for name in ("moved.txt", "rewritten.txt", "longer.txt", "new.txt"):
        (inbox / "hplc-1" / name).write_text("x")
    mtime_ns = (inbox / "hplc-1" / "moved.txt").stat().st_mtime_ns

    def taken(_source: str, _names: object) -> dict[str, TakenPath]:
        return {
            "moved.txt": TakenPath(1, mtime_ns, 5, "1" * 64),
            "rewritten.txt": TakenPath(1, 5, 5, "2" * 64),
            "longer.txt": TakenPath(9, 5, 5, "3" * 64),
        }

    ready = look(inbox, taken, Patience(stable_s=0)).ready
    assert [candidate.file_name for candidate in ready] == ["longer.txt", "new.txt", "rewritten.txt", "moved.txt"]
    assert [candidate.recorded_sha256[:1] for candidate in ready] == ["", "", "2", "1"]
