"""The ledger: what an arrival becomes, and batches across interruptions."""

from __future__ import annotations

from typing import Any

import pytest

from lab_assets.engine.database import open_database
from lab_assets.engine.ledger import Ledger, NewArrival, Outcome
from lab_assets.settings import Settings

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    return Ledger(open_database(settings))


def arrival(name: str, file_id: str = ONE, **more: Any) -> NewArrival:
    return NewArrival(source="hplc-1", file_name=name, size=3, mtime_ns=1, ctime_ns=1, file_id=file_id, **more)


def committed(ledger: Ledger, *arrivals: NewArrival) -> list[Any]:
    """Record arrivals and take them through a whole batch."""
    ledger.record(arrivals)
    batch = ledger.open_batch(100)
    assert batch is not None
    rows = ledger.batch_arrivals(batch)
    ledger.commit_batch(batch, [Outcome(arrival_id=row.arrival_id, state="committed") for row in rows if row.state == "received"], {})
    return ledger.batch_arrivals(batch)


def test_new_bytes_wait_to_be_read(ledger: Ledger) -> None:
    (number,) = ledger.record([arrival("a.txt")])
    assert ledger.counts() == {"received": 1}
    assert ledger.taken_paths() == {("hplc-1", "a.txt"): (3, 1, 1)}
    assert ledger.open_batch(10) == 1
    assert [row.arrival_id for row in ledger.batch_arrivals(1)] == [number]


def test_the_same_bytes_under_another_name_are_a_duplicate(ledger: Ledger) -> None:
    assert len(ledger.record([arrival("a.txt"), arrival("copy.txt")])) == 1
    first, second = (ledger.open_batch(10), ledger.batch_arrivals(1))[1]
    assert (first.state, second.state, second.duplicate_of) == ("received", "duplicate", "hplc-1/a.txt")


def test_the_same_bytes_again_under_the_same_name_are_no_arrival(ledger: Ledger) -> None:
    """A touched file: times change, bytes do not."""
    ledger.record([arrival("a.txt")])
    touched = NewArrival(source="hplc-1", file_name="a.txt", size=3, mtime_ns=9, ctime_ns=9, file_id=ONE)
    assert ledger.record([touched]) == []
    assert ledger.counts() == {"received": 1}
    assert ledger.taken_paths()[("hplc-1", "a.txt")] == (3, 9, 9)


def test_other_bytes_under_the_same_name_supersede(ledger: Ledger) -> None:
    committed(ledger, arrival("a.txt", ONE))
    (row,) = committed(ledger, arrival("a.txt", TWO))
    assert (row.state, row.supersedes) == ("committed", ONE)


def test_a_file_put_back_to_its_first_bytes_is_on_record(ledger: Ledger) -> None:
    committed(ledger, arrival("a.txt", ONE))
    committed(ledger, arrival("a.txt", TWO))
    assert ledger.record([arrival("a.txt", ONE)]) == []
    batch = ledger.open_batch(10)
    assert batch is not None
    (row,) = ledger.batch_arrivals(batch)
    assert (row.state, row.supersedes, row.duplicate_of) == ("duplicate", TWO, "hplc-1/a.txt")


def test_batches_are_bounded_and_numbered_in_order(ledger: Ledger) -> None:
    ledger.record([arrival(f"{number}.txt", f"{number:064d}") for number in range(5)])
    assert [ledger.open_batch(2), ledger.open_batch(2), ledger.open_batch(2), ledger.open_batch(2)] == [1, 2, 3, None]
    assert [len(ledger.batch_arrivals(batch)) for batch in (1, 2, 3)] == [2, 2, 1]


def test_an_interrupted_batch_is_found_with_how_far_it_came(ledger: Ledger) -> None:
    ledger.record([arrival("a.txt", ONE), arrival("b.txt", TWO)])
    first, second = ledger.open_batch(1), ledger.open_batch(1)
    assert first is not None
    ledger.mark_staged(first)
    assert ledger.unfinished_batches() == [(first, "staged"), (second, "open")]
    ledger.commit_batch(first, [], {"bronze.files": 1})
    assert ledger.unfinished_batches() == [(second, "open")]


def test_a_retry_is_a_new_arrival_and_the_old_one_stays_on_record(ledger: Ledger) -> None:
    ledger.record([arrival("a.txt")])
    batch = ledger.open_batch(10)
    assert batch is not None
    (row,) = ledger.batch_arrivals(batch)
    ledger.commit_batch(batch, [Outcome(arrival_id=row.arrival_id, state="quarantined", rule="truncated", reason="cut")], {})
    assert [each.rule for each in ledger.quarantined()] == ["truncated"]
    assert ledger.retry([row.arrival_id]) == 1
    assert ledger.retry([row.arrival_id]) == 0
    assert (ledger.counts(), ledger.quarantined()) == ({"discarded": 1, "received": 1}, [])
    again = ledger.open_batch(10)
    assert again is not None
    assert [each.retry_of for each in ledger.batch_arrivals(again)] == [row.arrival_id]


def test_what_is_discarded_keeps_both_reasons(ledger: Ledger) -> None:
    ledger.record([arrival("a.txt", "", state="quarantined", rule="not_a_file", reason="is a symbolic link")])
    (row,) = ledger.quarantined()
    assert ledger.discard([row.arrival_id], "test export") == 1
    assert ledger.discard([row.arrival_id], "again") == 0
    (batch_row,) = ledger.batch_arrivals(ledger.open_batch(10) or 0)
    assert batch_row.reason == "is a symbolic link | discarded: test export"


def test_progress_of_a_station_only_speaks_of_its_inputs(ledger: Ledger) -> None:
    ledger.set_progress("silver.peaks", {"bronze.chromatograms": 3})
    ledger.set_progress("silver.peaks", {"bronze.chromatograms": 4, "silver.injections": 1})
    assert ledger.progress("silver.peaks") == {"bronze.chromatograms": 4, "silver.injections": 1}
    assert ledger.progress("gold.suitability") == {}


def test_the_noted_version_is_the_last_one_written(ledger: Ledger) -> None:
    assert ledger.noted_version("silver.peaks") is None
    ledger.note_table_commit("silver.peaks", 1, None)
    ledger.note_table_commit("silver.peaks", 2, None)
    assert ledger.noted_version("silver.peaks") == 2


def test_versions_told_of_are_kept_with_their_derivations(ledger: Ledger) -> None:
    """A run killed after a commit and before this leaves the version for the next run to tell of."""
    assert ledger.reported_versions() == {}
    ledger.note_derivations([{"output": "silver.peaks"}], {"silver.peaks": 3})
    ledger.note_derivations([], {"silver.lots": 9})
    assert ledger.reported_versions() == {"silver.peaks": 3}
    assert [told for _, told in ledger.pending_derivations()] == [{"output": "silver.peaks"}]
