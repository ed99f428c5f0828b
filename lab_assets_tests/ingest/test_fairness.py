"""Fair intake: shares of sources, what changed last beside what waits longest, archives beside what was dropped."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from lab_assets.ingest.candidates import Candidate
from lab_assets.ingest.fairness import FairQueue, shares
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.ingest.receive import Receiver
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger, NewArrival
from lab_assets_tests.ingest.files import chromatogram, drop


def waiting(source: str, count: int, *, since: int = 0) -> list[Candidate]:
    """Files of one source, changed one after the other."""
    return [
        Candidate(source=source, file_name=f"{number:05d}", path=Path("x"), size=1, mtime_ns=0, ctime_ns=since + number)
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("held", "limit", "wanted"),
    [
        ({"a": 100, "b": 3}, 10, {"a": 7, "b": 3}),
        ({"a": 100, "b": 100, "c": 100}, 9, {"a": 3, "b": 3, "c": 3}),
        ({"a": 2, "b": 2}, 10, {"a": 2, "b": 2}),
        ({"a": 5, "b": 5, "c": 5}, 2, {"a": 1, "b": 1, "c": 0}),
    ],
)
def test_sources_have_equal_shares_and_leave_what_they_do_not_use(held: dict[str, int], limit: int, wanted: dict[str, int]) -> None:
    assert shares(held, limit) == wanted


def test_a_source_that_had_none_comes_first_where_not_all_can_have_some() -> None:
    assert shares({"a": 5, "b": 5, "c": 5}, 2, {"a": 1, "b": 1}) == {"a": 1, "b": 0, "c": 1}


def test_a_trace_does_not_wait_for_a_delivery_of_another_source() -> None:
    queue = FairQueue()
    queue.add(waiting("archive", 100_000))
    assert len(queue.take(1000)) == 1000
    queue.add(waiting("hplc", 1, since=10**6))
    assert Counter(candidate.source for candidate in queue.take(1000)) == {"archive": 999, "hplc": 1}


def test_a_fifth_of_a_share_is_for_what_changed_last() -> None:
    """Ten of a hundred: the eight that wait longest and the two newest, then what came since in the same folder."""
    queue = FairQueue()
    queue.add(waiting("hplc", 100))
    assert [candidate.ctime_ns for candidate in queue.take(10)] == [0, 1, 2, 3, 4, 5, 6, 7, 98, 99]
    queue.add(waiting("hplc", 1, since=500))
    assert [candidate.ctime_ns for candidate in queue.take(10)] == [8, 9, 10, 11, 12, 13, 14, 15, 97, 500]
    assert len(queue) == 81


def test_every_file_is_taken_once_and_those_that_only_look_moved_last() -> None:
    queue = FairQueue()
    moved = [Candidate(source="a", file_name="m", path=Path("x"), size=1, mtime_ns=0, ctime_ns=-1, recorded_sha256="x", moved=True)]
    queue.add([*waiting("a", 23), *moved])
    batches = [queue.take(7) for _ in range(4)]
    assert [len(batch) for batch in batches] == [7, 7, 7, 3]
    assert batches[-1][-1] == moved[0]
    assert len({candidate.file_name for batch in batches for candidate in batch}) == 24
    assert queue.take(7) == []


def test_what_is_dropped_while_a_backlog_is_taken_is_in_the_next_batch(settings: Settings) -> None:
    """Forty junk files, ten a batch, and a trace dropped after the first batch; no complete look is needed for it."""
    settings.inbox.mkdir(parents=True)
    for number in range(40):
        drop(settings.inbox, "archive", f"{number}.bin", os.urandom(8).hex())
    receiver = Receiver(settings, Ledger(open_database(settings)))
    first = receiver.take(10)
    assert (first.waiting, first.live) == (30, False)
    drop(settings.inbox, "hplc", "run.txt", "a run")
    second = receiver.take(10)
    assert (second.recorded, second.live) == (10, True)
    with receiver.ledger.engine.connect() as connection:
        taken = [row[0] for row in connection.exec_driver_sql("select source from arrivals order by arrival_id")]
    assert Counter(taken[10:]) == {"archive": 9, "hplc": 1}


def test_an_archive_of_many_files_leaves_room_for_what_is_dropped(settings: Settings) -> None:
    """A hundred files out of one archive wait in the ledger when a trace comes: both are in the next batch."""
    ledger = Ledger(open_database(settings))

    def arrival(name: str, source: str, member_of: str | None) -> NewArrival:
        return NewArrival(source=source, file_name=name, size=1, mtime_ns=1, ctime_ns=1, file_id=f"{name:0>64}", member_of=member_of)

    ledger.record([arrival(f"{number}", "hplc", "a" * 64) for number in range(100)])
    ledger.record([arrival("run", "hplc", None)])
    batch = ledger.open_batch(10)
    assert batch is not None
    names = [row.file_name for row in ledger.batch_arrivals(batch)]
    assert len(names) == 10
    assert "run" in names


def test_a_run_goes_on_after_a_batch_of_nothing_but_known_files(lakehouse: Lakehouse) -> None:
    """Six copies of one run, two a batch, then another run: all are taken by one run."""
    settings = lakehouse.settings
    settings.batch_files = 2
    for number in range(6):
        drop(settings.inbox, "hplc", f"copy{number}.txt", chromatogram("S-1"))
    drop(settings.inbox, "zz", "last.txt", chromatogram("S-2"))
    report = Ingestor(lakehouse).run()
    assert (report.states, report.waiting) == ({"committed": 2, "duplicate": 5}, 0)


def test_a_run_takes_each_batch_on_and_leaves_the_rest_after_its_turn(lakehouse: Lakehouse) -> None:
    settings = lakehouse.settings
    settings.batch_files = 2
    for number in range(6):
        drop(settings.inbox, "hplc", f"{number}.txt", chromatogram(f"S-{number}"))
    committed: list[tuple[int, bool]] = []

    def taken_on(live: bool) -> None:
        committed.append((lakehouse.ledger.counts().get("committed", 0), live))

    first = Ingestor(lakehouse, between_batches=taken_on, turn_s=0).run()
    assert (first.states, first.waiting, committed) == ({"committed": 2}, 4, [])
    rest = Ingestor(lakehouse, between_batches=taken_on).run()
    assert (rest.states, rest.waiting, committed) == ({"committed": 4}, 0, [(4, False)])
