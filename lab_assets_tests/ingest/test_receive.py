"""Taking files in: what comes first, how often the inbox is looked at, a laboratory that was copied elsewhere."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import wait
from pathlib import Path

import pytest

from lab_assets.ingest.ingestor import Ingestor
from lab_assets.ingest.receive import Receiver
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets_tests.ingest.files import chromatogram, drop


@pytest.fixture
def receiver(settings: Settings) -> Receiver:
    settings.inbox.mkdir(parents=True)
    return Receiver(settings, Ledger(open_database(settings)))


def names(ledger: Ledger) -> list[str]:
    """Names of the next batch, in the order of their arrival."""
    batch = ledger.open_batch(1000)
    return [] if batch is None else [row.file_name for row in ledger.batch_arrivals(batch)]


def test_files_beyond_the_limit_wait_for_the_next_call(receiver: Receiver) -> None:
    for number in range(5):
        path = drop(receiver.settings.inbox, "hplc", f"{number}.txt", str(number))
        os.utime(path, (1, 1))
    found = [receiver.take(2) for _ in range(4)]
    assert [(intake.recorded, intake.waiting, intake.may_go_on) for intake in found] == [
        (2, 3, True), (2, 1, True), (1, 0, True), (0, 0, False),
    ]  # fmt: skip
    assert names(receiver.ledger) == [f"{number}.txt" for number in range(5)]


def test_a_file_that_changes_between_look_and_copy_is_taken_at_the_next_look(receiver: Receiver) -> None:
    drop(receiver.settings.inbox, "hplc", "a.txt", "a")
    late = drop(receiver.settings.inbox, "hplc", "b.txt", "half")
    assert receiver.take(1).waiting == 1
    late.write_text("half and half")
    assert (receiver.take(1).recorded, names(receiver.ledger)) == (0, ["a.txt"])
    assert (receiver.take(1).recorded, names(receiver.ledger)) == (1, ["b.txt"])
    assert not receiver.take(1).may_go_on


def test_what_is_copied_ahead_is_recorded_by_the_call_that_would_have_copied_it(receiver: Receiver) -> None:
    """Three files, one a call: the next one lies in the raw store before it is on record, and is on record once."""
    for number in range(3):
        path = drop(receiver.settings.inbox, "hplc", f"{number}.txt", str(number))
        os.utime(path, (1, 1))
    kept: list[int] = []
    with receiver:
        for _ in range(3):
            intake = receiver.take(1)
            receiver.copy_ahead(1)
            wait(receiver._ahead.values())
            kept.append(len([path for path in receiver.settings.raw.glob("*/*") if path.is_file()]))
            assert (intake.recorded, sum(receiver.ledger.counts().values()), intake.waiting) == (1, 3 - intake.waiting, intake.waiting)
        assert not receiver.take(1).may_go_on
    assert kept == [2, 3, 3]
    assert names(receiver.ledger) == ["0.txt", "1.txt", "2.txt"]


def test_a_file_that_changes_before_it_is_copied_ahead_is_taken_at_the_next_look(receiver: Receiver) -> None:
    drop(receiver.settings.inbox, "hplc", "a.txt", "a")
    late = drop(receiver.settings.inbox, "hplc", "b.txt", "half")
    assert receiver.take(1).waiting == 1
    late.write_text("half and half")
    receiver.copy_ahead(1)
    assert (receiver.take(1).recorded, receiver.take(1).recorded, receiver.take(1).may_go_on) == (0, 1, False)
    assert names(receiver.ledger) == ["a.txt", "b.txt"]


def test_copies_that_nobody_asks_for_leave_their_files_waiting(receiver: Receiver) -> None:
    drop(receiver.settings.inbox, "hplc", "a.txt", "a")
    drop(receiver.settings.inbox, "hplc", "b.txt", "b")
    with receiver:
        receiver.take(1)
        receiver.copy_ahead(1)
    assert receiver._ahead == {}
    assert receiver.take(1).recorded == 1
    assert names(receiver.ledger) == ["a.txt", "b.txt"]


def test_a_refused_path_beyond_the_limit_is_on_record_too(receiver: Receiver) -> None:
    """Links are recorded as refused; with a limit of one, the second comes with the second call."""
    (receiver.settings.inbox / "hplc").mkdir()
    for name in ("a", "b"):
        (receiver.settings.inbox / "hplc" / name).symlink_to("/etc/hostname")
    assert [receiver.take(1).recorded for _ in range(3)] == [1, 1, 0]
    assert receiver.ledger.counts() == {"quarantined": 2}


def test_a_copied_laboratory_takes_new_files_at_the_first_call(lakehouse: Lakehouse, tmp_path: Path) -> None:
    """1,500 files known, all with other change times in the copy: two new ones come in at once, and the others are known again.

    Progress counts what is read: 1,500 files that only look moved would put its end far away.
    """
    for number in range(1500):
        drop(lakehouse.settings.inbox, "hplc", f"{number:04d}.txt", chromatogram("S-1"))
    assert Ingestor(lakehouse).run().states == {"committed": 1, "duplicate": 1499}
    lakehouse.ledger.engine.dispose()
    moved = Settings(home=tmp_path / "moved", stable_s=0)
    shutil.copytree(lakehouse.settings.home, moved.home)
    drop(moved.inbox, "hplc", "new-1.txt", chromatogram("NEW-1"))
    drop(moved.inbox, "hplc", "new-2.txt", chromatogram("NEW-2"))

    copy = Lakehouse(moved, lakehouse.keeper, Ledger(open_database(moved)))
    said: list[str] = []
    assert Ingestor(copy, progress=said.append).run().states == {"committed": 2}
    assert [line.partition(" file(s)")[0] for line in said] == ["2 of 2"]
    found = Receiver(moved, copy.ledger).look()
    assert (found.ready, found.known) == ([], 1502)
    assert Ingestor(copy).run().states == {}
