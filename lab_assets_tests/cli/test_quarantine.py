"""``lab quarantine`` on a ledger with refused files."""

from __future__ import annotations

import pytest

from lab_assets.engine.database import open_database
from lab_assets.engine.ledger import Ledger, NewArrival
from lab_assets.engine.quarantine import Quarantine
from lab_assets.governance.audit import AuditLog
from lab_assets.settings import Settings
from lab_assets_tests.cli.conftest import Lab


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    """Arrival 1 has bytes (digest 1...1) and arrival 2, a link, has none."""
    ledger = Ledger(open_database(settings))
    common = {"source": "hplc", "size": 3, "mtime_ns": 1, "ctime_ns": 1, "state": "quarantined"}
    ledger.record(
        [
            NewArrival(**common, file_name="cut.txt", file_id="1" * 64, rule="truncated", reason="[bold]ends in the middle"),
            NewArrival(**common, file_name="link.txt", file_id="", rule="not_a_file", reason="is a symbolic link"),
        ]
    )
    return ledger


def test_the_list_tells_rule_and_reason(lab: Lab, ledger: Ledger) -> None:
    rows = lab("quarantine", "list", "--json").document
    assert [(row["arrival_id"], row["rule"], row["reason"]) for row in rows] == [
        (2, "not_a_file", "is a symbolic link"),
        (1, "truncated", "[bold]ends in the middle"),
    ]
    assert [row["arrival_id"] for row in lab("quarantine", "list", "--rule", "truncated", "--json").document] == [1]
    assert "[bold]ends in the middle" in lab("quarantine", "list").stdout


def test_an_empty_quarantine_says_so(lab: Lab) -> None:
    assert lab("quarantine", "list").stdout.strip() == "no file is in quarantine"
    assert lab("quarantine", "list", "--json").document == []


def test_one_file_is_shown_with_its_kept_bytes_and_what_to_do(lab: Lab, ledger: Ledger, settings: Settings) -> None:
    told = lab("quarantine", "show", "1", "--json").document
    assert told["raw"] == str(settings.raw / "11" / ("1" * 64))
    assert "retry" in told["next"]
    assert lab("quarantine", "show", "2", "--json").document["raw"] is None


def test_a_retry_is_on_record_with_who_and_why(lab: Lab, ledger: Ledger) -> None:
    assert lab("quarantine", "retry", "1", "--reason", "reader mended").exit_code == 0
    assert ledger.counts() == {"discarded": 1, "received": 1, "quarantined": 1}
    (entry,) = AuditLog(ledger.engine).entries(action="quarantine.retry")
    assert (entry.object, entry.reason) == ("arrival:1", "reader mended")
    assert entry.actor.startswith("shell:")


def test_what_has_no_bytes_cannot_be_tried_again(lab: Lab, ledger: Ledger) -> None:
    told = lab("quarantine", "retry", "1", "2")
    assert told.exit_code == 1
    assert "2: no bytes were taken" in told.stderr
    assert ledger.counts() == {"quarantined": 2}
    assert AuditLog(ledger.engine).entries(action="quarantine") == []


def test_discarding_needs_a_reason_and_closes(lab: Lab, ledger: Ledger) -> None:
    assert lab("quarantine", "discard", "2").exit_code == 2
    assert lab("quarantine", "discard", "2", "--reason", "made by mistake", "--json").document["arrivals"] == [2]
    assert [row.arrival_id for row in Quarantine(ledger.engine).waiting()] == [1]
    assert AuditLog(ledger.engine).verify().ok


def test_unknown_numbers_and_accounts_change_nothing(lab: Lab, ledger: Ledger) -> None:
    assert "not in quarantine: 7" in lab("quarantine", "retry", "1", "7").stderr
    told = lab("quarantine", "retry", "1", "--as", "nobody")
    assert told.exit_code == 1
    assert "nobody" in told.stderr
    assert ledger.counts() == {"quarantined": 2}
