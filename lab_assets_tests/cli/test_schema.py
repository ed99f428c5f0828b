"""``lab schema`` and ``lab reconcile`` on a ledger with a refused file."""

from __future__ import annotations

import json

import pytest

from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger, NewArrival, Outcome
from lab_assets.state.schema_proposals import Proposal
from lab_assets_tests.cli.commands import Lab


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    """Arrival 1 of source ``lims`` lacks ``lot_id``; its column ``charge`` may be that, or (proposal 2) ``product``."""
    ledger = Ledger(open_database(settings))
    ledger.record([NewArrival(source="lims", file_name="lots.csv", size=3, mtime_ns=1, ctime_ns=1, file_id="1" * 64)])
    batch = ledger.open_batch(10)
    assert batch is not None
    proposals = [
        Proposal(table_name="lims_lots", column_name="charge", proposed_column=name, software="LIMS 5") for name in ("lot_id", "product")
    ]
    ledger.commit_batch(batch, [Outcome(arrival_id=1, state="quarantined", rule="missing_column", proposals=proposals)], {})
    return ledger


def test_proposals_are_listed_with_where_they_come_from(lab: Lab, ledger: Ledger) -> None:
    rows = lab("schema", "list", "--json").document
    assert [(row["proposal_id"], row["proposed_column"], row["state"]) for row in rows] == [
        (2, "product", "proposed"),
        (1, "lot_id", "proposed"),
    ]
    assert {(row["source"], row["first_file"], row["software"], row["files"]) for row in rows} == {("lims", "lots.csv", "LIMS 5", 1)}
    assert "lots.csv" in lab("schema", "list").stdout
    assert lab("schema", "list", "--state", "accepted").stdout.strip() == "no proposal is accepted"


def test_accepting_is_on_record_and_gives_refused_files_back(lab: Lab, ledger: Ledger) -> None:
    answer = lab("schema", "accept", "1", "--reason", "LIMS 5 names it so", "--json")
    assert answer.document == {"proposals": [1], "state": "accepted", "read_again": [1]}
    assert ledger.counts() == {"discarded": 1, "received": 1}
    (entry,) = AuditLog(ledger.engine).entries(action="schema.accept")
    assert (entry.object, entry.reason) == ("lims:lims_lots.lot_id", "LIMS 5 names it so")
    assert json.loads(entry.new or "{}")["column"] == "charge"
    assert lab("schema", "list", "--state", "accepted", "--json").document[0]["decided_by"].startswith("shell:")


def test_one_column_is_not_two_things(lab: Lab, ledger: Ledger) -> None:
    lab("schema", "accept", "1", "--reason", "first")
    answer = lab("schema", "accept", "2", "--reason", "second")
    assert answer.exit_code == 1
    assert "proposal 1 is accepted: 'charge' as 'lot_id'; reject it first" in answer.stderr
    assert lab("schema", "reject", "1", "--reason", "was wrong").exit_code == 0
    assert lab("schema", "accept", "2", "--reason", "second").exit_code == 0


def test_decisions_need_a_reason_and_a_proposal(lab: Lab, ledger: Ledger) -> None:
    assert lab("schema", "accept", "1").exit_code == 2
    answer = lab("schema", "reject", "9", "--reason", "x")
    assert (answer.exit_code, "no proposal 9" in answer.stderr) == (1, True)
    assert AuditLog(ledger.engine).entries(action="schema") == []


def test_nobody_decides_without_the_right(lab: Lab, ledger: Ledger) -> None:
    assert lab("schema", "accept", "1", "--reason", "x", "--as", "nobody").exit_code == 1
    assert ledger.counts() == {"quarantined": 1}


def test_an_untouched_laboratory_is_told_as_such(lab: Lab, settings: Settings) -> None:
    open_database(settings).dispose()
    assert lab("schema", "list").stdout.strip() == "no column was proposed"
    answer = lab("reconcile", "--json").document
    assert (answer["done"], answer["ledger_batch"], set(answer["tables"].values())) == ([], 0, {0})
    assert lab("reconcile", "--accept-lake").exit_code == 1
    assert lab("scrub", "--json").document == {"files": 0, "bytes": 0, "findings": [], "days": 0, "parts": []}


def test_a_ledger_ahead_of_the_lake_is_told_with_what_to_do(lab: Lab, ledger: Ledger) -> None:
    """The ledger has a committed batch; there is no lake at all."""
    answer = lab("reconcile")
    assert answer.exit_code == 1
    assert "lab reconcile --accept-lake" in answer.stderr


def test_all_refused_files_of_a_rule_are_retried_at_once(lab: Lab, ledger: Ledger) -> None:
    assert lab("quarantine", "retry", "--all", "--rule", "truncated", "--json").document["arrivals"] == []
    assert lab("quarantine", "retry", "--all", "--rule", "missing_column", "--json").document["arrivals"] == [1]
    assert lab("quarantine", "retry").exit_code == 1


def test_a_refused_file_shows_how_to_mend_it_and_its_steps(lab: Lab, ledger: Ledger) -> None:
    answer = lab("quarantine", "show", "1", "--json").document
    assert "lab schema accept" in answer["mend"]
    assert [step["event"] for step in answer["steps"]] == ["quarantined"]
