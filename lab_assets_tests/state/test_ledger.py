"""The ledger: what an arrival becomes, and batches across interruptions."""

from __future__ import annotations

from typing import Any

import pytest

from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database, utc_text, writing
from lab_assets.state.ledger import FoundMember, Ledger, NewArrival, Outcome
from lab_assets.state.quarantine import Quarantine
from lab_assets.state.schema_proposals import Proposal, ProposalError, SchemaProposals
from lab_assets.state.taken_paths import TakenPath, taken_paths

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
    assert taken_paths(ledger.engine, "hplc-1", ["a.txt"]) == {"a.txt": TakenPath(3, 1, 1, ONE)}
    assert ledger.open_batch(10) == 1
    assert [row.arrival_id for row in ledger.batch_arrivals(1)] == [number]


def test_the_same_bytes_under_another_name_are_a_duplicate(ledger: Ledger) -> None:
    assert len(ledger.record([arrival("a.txt"), arrival("copy.txt")])) == 1
    first, second = (ledger.open_batch(10), ledger.batch_arrivals(1))[1]
    assert (first.state, second.state, second.duplicate_of) == ("received", "duplicate", "hplc-1/a.txt")


def test_of_names_that_come_together_the_best_is_the_one_that_is_read(ledger: Ledger) -> None:
    assert len(ledger.record([arrival("b 10.txt"), arrival("c 10.txt"), arrival("b 9.txt")])) == 1
    ledger.open_batch(10)
    found = [(row.file_name, row.state, row.duplicate_of) for row in ledger.batch_arrivals(1)]
    best = "hplc-1/b 9.txt"
    assert found == [("b 9.txt", "received", None), ("b 10.txt", "duplicate", best), ("c 10.txt", "duplicate", best)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("unknown_format", ["1.txt", "z.txt", "2.txt", "3.txt", "4.txt", "5.txt"]),  # another folder's name next, five names a folder
        ("truncated", ["1.txt"]),  # the same under any name
    ],
)
def test_refused_bytes_are_read_under_another_name_where_that_may_matter(ledger: Ledger, rule: str, expected: list[str]) -> None:
    other = NewArrival(source="hplc-2", file_name="z.txt", size=3, mtime_ns=1, ctime_ns=1, file_id=ONE)
    ledger.record([*(arrival(f"{number}.txt") for number in range(1, 7)), other])
    read: list[str] = []
    while (batch := ledger.open_batch(100)) is not None:
        waiting = [row for row in ledger.batch_arrivals(batch) if row.state == "received"]
        read += [row.file_name for row in waiting]
        ledger.commit_batch(batch, [Outcome(arrival_id=row.arrival_id, state="quarantined", rule=rule) for row in waiting], {})
    assert read == expected
    (last,) = Quarantine(ledger.engine).waiting()
    assert last.file_name == expected[-1]
    touched = NewArrival(source=last.source, file_name=last.file_name, size=3, mtime_ns=2, ctime_ns=2, file_id=ONE)
    assert len(ledger.record([touched])) == 1, "refused bytes written anew are read again, also where they were given back before"


def test_of_names_that_come_together_the_one_that_takes_a_place_counts(ledger: Ledger) -> None:
    committed(ledger, arrival("today.txt", TWO))
    ledger.record([arrival("a.txt"), arrival("today.txt")])
    found = {row.file_name: (row.state, row.supersedes) for row in ledger.batch_arrivals(ledger.open_batch(10) or 0)}
    assert found == {"a.txt": ("duplicate", None), "today.txt": ("received", TWO)}


def test_the_same_bytes_again_under_the_same_name_are_no_arrival(ledger: Ledger) -> None:
    """A touched file: times change, bytes do not."""
    ledger.record([arrival("a.txt")])
    touched = NewArrival(source="hplc-1", file_name="a.txt", size=3, mtime_ns=9, ctime_ns=9, file_id=ONE)
    assert ledger.record([touched]) == []
    assert ledger.counts() == {"received": 1}
    assert taken_paths(ledger.engine, "hplc-1", ["a.txt"]) == {"a.txt": TakenPath(3, 9, 9, ONE)}


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
    assert "put back" in row.warnings[0]
    assert len(AuditLog(ledger.engine).entries(action="file.revise")) == 2


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


def refused(ledger: Ledger, name: str = "a.txt", file_id: str = ONE, mtime_ns: int = 1) -> Any:
    """Record an arrival and refuse it; return it."""
    ledger.record([NewArrival(source="hplc-1", file_name=name, size=3, mtime_ns=mtime_ns, ctime_ns=mtime_ns, file_id=file_id)])
    batch = ledger.open_batch(10)
    assert batch is not None
    (row,) = ledger.batch_arrivals(batch)
    outcome = Outcome(arrival_id=row.arrival_id, state="quarantined", rule="truncated", reason="cut", place="line 7")
    ledger.commit_batch(batch, [outcome], {})
    return row


def decide(ledger: Ledger, method: str, number: int, reason: str) -> int:
    with writing(ledger.engine) as connection:
        return getattr(Quarantine(ledger.engine), method)(connection, [number], by="shell:qa", reason=reason)


def test_a_retry_is_a_new_arrival_and_the_old_one_stays_on_record(ledger: Ledger) -> None:
    row, quarantine = refused(ledger), Quarantine(ledger.engine)
    assert ([each.rule for each in quarantine.waiting()], quarantine.counts()) == (["truncated"], {"truncated": 1})
    assert decide(ledger, "retry", row.arrival_id, "reader mended") == 1
    assert decide(ledger, "retry", row.arrival_id, "again") == 0
    assert (ledger.counts(), quarantine.waiting()) == ({"discarded": 1, "received": 1}, [])
    again = ledger.open_batch(10)
    assert again is not None
    assert [each.retry_of for each in ledger.batch_arrivals(again)] == [row.arrival_id]
    steps = [(step.event, step.by, step.reason, step.place) for step in quarantine.history(row.arrival_id)]
    assert steps == [("quarantined", "service:ingest", "cut", "line 7"), ("retried", "shell:qa", "reader mended", None)]
    assert quarantine.events_after(1)[0].file_name == "a.txt"


def test_what_is_discarded_keeps_both_reasons(ledger: Ledger) -> None:
    ledger.record([arrival("a.txt", "", state="quarantined", rule="not_a_file", reason="is a symbolic link")])
    (row,) = Quarantine(ledger.engine).waiting()
    assert decide(ledger, "discard", row.arrival_id, "test export") == 1
    assert decide(ledger, "discard", row.arrival_id, "again") == 0
    (batch_row,) = ledger.batch_arrivals(ledger.open_batch(10) or 0)
    assert (batch_row.state, batch_row.reason) == ("discarded", "is a symbolic link")
    assert [step.reason for step in Quarantine(ledger.engine).history(row.arrival_id)] == ["is a symbolic link", "test export"]


def test_refused_bytes_dropped_again_are_read_again(ledger: Ledger) -> None:
    """Under another name, or written anew under the same; a mere change of rights (other ctime, same mtime) is nothing."""
    row = refused(ledger)
    chmodded = NewArrival(source="hplc-1", file_name="a.txt", size=3, mtime_ns=1, ctime_ns=5, file_id=ONE)
    assert ledger.record([chmodded]) == []
    assert len(ledger.record([arrival("copy.txt", ONE)])) == 1
    assert ledger.counts() == {"discarded": 1, "received": 1}
    assert Quarantine(ledger.engine).history(row.arrival_id)[-1].reason == "the same bytes are read again as arrival 2"
    ledger.open_batch(10)
    second = refused(ledger, "b.txt", TWO)
    rewritten = NewArrival(source="hplc-1", file_name="b.txt", size=3, mtime_ns=9, ctime_ns=9, file_id=TWO)
    assert len(ledger.record([rewritten])) == 1
    assert Quarantine(ledger.engine).history(second.arrival_id)[-1].event == "retried"


def test_other_bytes_under_a_known_path_are_told_to_the_audit_trail(ledger: Ledger) -> None:
    committed(ledger, arrival("a.txt", ONE))
    committed(ledger, arrival("a.txt", TWO))
    (entry,) = AuditLog(ledger.engine).entries(action="file.revise")
    assert (entry.actor, entry.object) == ("service:ingest", "arrival:2")
    assert ONE in (entry.old or "")
    assert TWO in (entry.new or "")


def test_members_of_an_archive_become_arrivals_with_its_last_word(ledger: Ledger) -> None:
    """Two files inside of one archive; the second holds bytes that came before as a file of their own."""
    committed(ledger, arrival("known.csv", TWO))
    ledger.record([arrival("export.eln", ONE)])
    batch = ledger.open_batch(10)
    assert batch is not None
    (outer,) = ledger.batch_arrivals(batch)
    members = [FoundMember(name="run/a.txt", sha256="3" * 64, size=5), FoundMember(name="b.csv", sha256=TWO, size=3)]
    ledger.commit_batch(batch, [Outcome(arrival_id=outer.arrival_id, state="committed", members=members)], {})
    inner = ledger.open_batch(10)
    assert inner is not None
    found = [(row.file_name, row.state, row.member_of, row.duplicate_of) for row in ledger.batch_arrivals(inner)]
    assert found == [
        ("export.eln!/run/a.txt", "received", ONE, None),
        ("export.eln!/b.csv", "duplicate", ONE, "hplc-1/known.csv"),
    ]


def test_proposals_are_counted_and_decided_once(ledger: Ledger) -> None:
    ledger.record([arrival("a.csv", ONE), arrival("b.csv", TWO)])
    batch = ledger.open_batch(10)
    assert batch is not None
    proposal = Proposal(table_name="lims_lots", column_name="charge", proposed_column="lot_id", software="LIMS 5")
    rows = ledger.batch_arrivals(batch)
    ledger.commit_batch(
        batch, [Outcome(arrival_id=r.arrival_id, state="quarantined", rule="missing_column", proposals=[proposal]) for r in rows], {}
    )
    proposals = SchemaProposals(ledger.engine)
    (row,) = proposals.listed("proposed")
    assert (row.files, row.first_file, row.software) == (2, "a.csv", "LIMS 5")
    assert proposals.accepted("hplc-1", by_then=utc_text()) == {}
    with writing(ledger.engine) as connection:
        proposals.decide(connection, [row.proposal_id], accept=True, by="shell:qa", reason="update of the LIMS")
    assert proposals.accepted("hplc-1", by_then=utc_text()) == {"lims_lots": {"charge": "lot_id"}}
    assert proposals.accepted("other", by_then=utc_text()) == {}
    assert len(proposals.refused_files(row)) == 2
    with writing(ledger.engine) as connection, pytest.raises(ProposalError, match="accepted already, by shell:qa"):
        proposals.decide(connection, [row.proposal_id], accept=True, by="shell:qa", reason="")


def test_progress_of_a_station_only_speaks_of_its_inputs(ledger: Ledger) -> None:
    ledger.set_progress("silver.peaks", {"bronze.chromatograms": 3})
    ledger.set_progress("silver.peaks", {"bronze.chromatograms": 4, "silver.injections": 1})
    assert ledger.progress("silver.peaks") == {"bronze.chromatograms": 4, "silver.injections": 1}
    assert ledger.progress("gold.suitability") == {}


def test_the_noted_version_is_the_last_one_written(ledger: Ledger) -> None:
    assert ledger.noted_version("silver.peaks") is None
    ledger.note_table_commit("silver.peaks", 1)
    ledger.note_table_commit("silver.peaks", 2)
    assert ledger.noted_version("silver.peaks") == 2
