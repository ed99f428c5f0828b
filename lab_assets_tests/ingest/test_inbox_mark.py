"""Which inbox is this laboratory's: gone mounts, another folder in its place, folders that cannot be read, copies."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab_assets.cli.main import app
from lab_assets.ingest.candidates import InboxError
from lab_assets.ingest.inbox_mark import mark_inbox
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.ingest.receive import Receiver
from lab_assets.ingest.watched_folder import WatchedFolder
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.ops.batches import look_now
from lab_assets.ops.doctor import examine
from lab_assets.ops.startup import prepare
from lab_assets.ops.status import lab_status
from lab_assets.settings import Settings, get_settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets.state.quarantine import Quarantine
from lab_assets_tests.faults.laboratory import environment_of, found, in_namespace
from lab_assets_tests.ingest.files import chromatogram, drop

ACCEPT = "if another folder took its place on purpose, 'lab ingest --accept-inbox'"


def problems(settings: Settings) -> list[str]:
    """What ``lab status`` says of the inbox."""
    return [problem for problem in lab_status(settings).problems if str(settings.inbox) in problem]


def examined(settings: Settings) -> tuple[str, str]:
    """What ``lab doctor`` says of the inbox."""
    return next((check.state, check.found) for check in examine(settings) if check.name == "inbox")


def test_an_empty_folder_in_place_of_the_inbox_is_a_problem_at_every_door(settings: Settings) -> None:
    """As a mount that is gone leaves it; ``lab up`` makes no new inbox over one that was there."""
    laboratory = found(settings)
    prepare(settings)
    drop(settings.inbox, "hplc", "a.txt", "a")
    assert look_now(settings, laboratory.engine).ready
    away = settings.inbox.rename(settings.home / "away")
    prepare(settings)
    assert not settings.inbox.exists()
    assert problems(settings) == [f"the inbox {settings.inbox} is not there: mount it again, or make the folder"]
    settings.inbox.mkdir()
    gone = f"the inbox {settings.inbox} has lost its mark .lab-inbox: mount again what was mounted there; {ACCEPT}"
    assert problems(settings) == [gone]
    assert examined(settings) == ("failed", f"the inbox {settings.inbox} has lost its mark .lab-inbox")
    with pytest.raises(InboxError, match="has lost its mark"):
        Receiver(settings, Ledger(laboratory.engine)).take(10)
    refused = laboratory.lab("ingest")
    assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", f"error: {gone}\n")
    mark_inbox(settings, anew=True)
    assert (problems(settings), examined(settings)[0]) == ([], "ok")
    settings.inbox.joinpath(".lab-inbox").unlink()
    settings.inbox.rmdir()
    away.rename(settings.inbox)
    assert [candidate.file_name for candidate in look_now(settings, laboratory.engine).ready] == ["a.txt"]


def test_the_inbox_of_another_laboratory_is_not_taken_for_this_ones(settings: Settings, tmp_path: Path) -> None:
    other = Settings(home=tmp_path / "other", stable_s=0)
    for each in (settings, other):
        prepare(each)
    shutil.rmtree(settings.inbox)
    shutil.copytree(other.inbox, settings.inbox)
    with pytest.raises(InboxError, match="is that of another laboratory"):
        look_now(settings, open_database(settings))


def test_a_drop_folder_whose_mount_is_gone_is_named_and_hides_no_other(settings: Settings) -> None:
    """A share in a drop folder, seen by one run; without it the folder is empty and says so, and the other folder is taken."""
    prepare(settings)
    drop(settings.inbox, "lims", "b.txt", "b")
    mounted = settings.inbox / "hplc"
    mounted.mkdir()
    program = (
        "from lab_assets.settings import get_settings; from lab_assets.ingest.inbox_mark import mark_inbox; mark_inbox(get_settings())"
    )
    run = in_namespace(f"mount -t tmpfs none {mounted}", sys.executable, "-c", program, env=environment_of(settings))
    assert run.returncode == 0, run.stderr
    looked = look_now(settings, open_database(settings))
    assert looked.problems == {"hplc": f"the mount of the folder {mounted} is gone: mount it again; {ACCEPT}"}
    assert [candidate.source for candidate in looked.ready] == ["lims"]
    assert problems(settings) == list(looked.problems.values())
    assert examined(settings)[0] == "failed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_a_folder_without_the_right_to_read_it_is_refused_until_there_is_one() -> None:
    """Root may read everything, so a child becomes nobody before it takes the files."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        settings = Settings(home=Path(name) / "lab", stable_s=0)
        prepare(settings)
        drop(settings.inbox, "hplc", "a.txt", "a")
        (drop(settings.inbox, "lims", "b.txt", "b").parent).chmod(0)
        for path in (settings.home, *settings.home.rglob("*")):
            os.chown(path, 65534, 65534)
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            taken = Receiver(settings, Ledger(open_database(settings))).take(10)
            os._exit(7 if (taken.recorded, len(taken.problems)) == (2, 1) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        receiver = Receiver(settings, Ledger(open_database(settings)))
        quarantine = Quarantine(receiver.ledger.engine)
        (refused,) = quarantine.waiting()
        assert (refused.file_name, refused.rule, refused.reason) == (
            "lims", "unreadable", "'lims' is a folder that cannot be read (Permission denied)",
        )  # fmt: skip
        (settings.inbox / "lims").chmod(0o755)
        receiver.begin()
        assert quarantine.waiting() == []
        assert quarantine.history(refused.arrival_id)[-1].reason == "it can be read now"
        assert receiver.take(10).recorded == 1


def test_a_share_that_fails_is_named_hides_no_other_and_ends_lab_ingest_with_2(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is gone answers with an error of its own kind, and the whole inbox used to count as unreadable for it."""
    monkeypatch.setenv("LAB_HOME", str(settings.home))
    monkeypatch.setenv("LAB_STABLE_S", "0")
    get_settings.cache_clear()
    prepare(settings)
    for source in ("hplc", "lims"):
        drop(settings.inbox, source, "a.txt", chromatogram(source))
    listed = WatchedFolder.list_names

    def stale(folder: WatchedFolder) -> None:
        if folder.place.source == "lims":
            raise OSError(116, "Stale file handle")
        listed(folder)

    monkeypatch.setattr(WatchedFolder, "list_names", stale)
    looked = look_now(settings, open_database(settings))
    assert [candidate.source for candidate in looked.ready] == ["hplc"]
    advice = "mount it again, or grant the right to list and enter it"
    assert looked.problems == {"lims": f"the folder {settings.inbox / 'lims'} cannot be read (Stale file handle): {advice}"}
    ended = CliRunner().invoke(app, ["ingest"])
    get_settings.cache_clear()
    assert ended.exit_code == 2, ended.output
    assert f"problem: {looked.problems['lims']}" in ended.stderr
    assert "1 committed, 1 quarantined in 1 batch(es)" in ended.stdout


def test_a_copied_laboratory_reads_none_of_its_known_files_again(lakehouse: Lakehouse, tmp_path: Path) -> None:
    """Copied with its modification times: the first run notes the new change times; what was written since is read."""
    for number in range(3):
        drop(lakehouse.settings.inbox, "hplc", f"{number}.txt", chromatogram(f"S-{number}"))
    Ingestor(lakehouse).run()
    lakehouse.ledger.engine.dispose()
    moved = lakehouse.settings.model_copy(update={"home": tmp_path / "copy"})
    shutil.copytree(lakehouse.settings.home, moved.home)
    path = moved.inbox / "hplc" / "2.txt"
    path.write_text(chromatogram("S-9"))
    copy = Lakehouse(moved, lakehouse.keeper, Ledger(open_database(moved)))
    receiver = Receiver(moved, copy.ledger)
    assert len(receiver.look().ready) == 3
    assert receiver.begin() == 2
    assert [candidate.file_name for candidate in receiver.look().ready] == ["2.txt"]
    assert Receiver(moved, copy.ledger).begin() == 0
