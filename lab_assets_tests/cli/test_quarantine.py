"""``lab quarantine`` on a ledger with refused files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lab_assets.contracts.bronze import FILES, QUARANTINED_ROWS
from lab_assets.contracts.core import TableContract
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger, NewArrival
from lab_assets.state.quarantine import Quarantine
from lab_assets_tests.cli.commands import Lab

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


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


def test_an_empty_quarantine_says_so(lab: Lab, settings: Settings) -> None:
    open_database(settings).dispose()
    assert lab("quarantine", "list").stdout.strip() == "no file is in quarantine"
    assert lab("quarantine", "list", "--json").document == []


def test_one_file_is_shown_with_its_kept_bytes_and_what_to_do(lab: Lab, ledger: Ledger, settings: Settings) -> None:
    answer = lab("quarantine", "show", "1", "--json").document
    assert answer["raw"] == str(settings.raw / "11" / ("1" * 64))
    assert "retry" in answer["next"]
    assert lab("quarantine", "show", "2", "--json").document["raw"] is None


def test_a_retry_is_on_record_with_who_and_why(lab: Lab, ledger: Ledger) -> None:
    assert lab("quarantine", "retry", "1", "--reason", "reader mended").exit_code == 0
    assert ledger.counts() == {"discarded": 1, "received": 1, "quarantined": 1}
    (entry,) = AuditLog(ledger.engine).entries(action="quarantine.retry")
    assert (entry.object, entry.reason) == ("arrival:1", "reader mended")
    assert entry.actor.startswith("shell:")


def test_what_has_no_bytes_cannot_be_tried_again(lab: Lab, ledger: Ledger) -> None:
    answer = lab("quarantine", "retry", "1", "2")
    assert answer.exit_code == 1
    assert "2: no bytes were taken" in answer.stderr
    assert ledger.counts() == {"quarantined": 2}
    assert AuditLog(ledger.engine).entries(action="quarantine") == []


def test_discarding_needs_a_reason_and_closes(lab: Lab, ledger: Ledger) -> None:
    assert lab("quarantine", "discard", "2").exit_code == 2
    assert lab("quarantine", "discard", "2", "--reason", "made by mistake", "--json").document["arrivals"] == [2]
    assert [row.arrival_id for row in Quarantine(ledger.engine).waiting()] == [1]
    assert AuditLog(ledger.engine).verify().ok


def test_unknown_numbers_and_accounts_change_nothing(lab: Lab, ledger: Ledger) -> None:
    assert "not in quarantine: 7" in lab("quarantine", "retry", "1", "7").stderr
    answer = lab("quarantine", "retry", "1", "--as", "nobody")
    assert answer.exit_code == 1
    assert "nobody" in answer.stderr
    assert ledger.counts() == {"quarantined": 2}


def test_refused_rows_are_listed_without_their_values(lab: Lab, settings: Settings) -> None:
    """One export with a bad row, corrected later, and another with two, not corrected."""
    assert lab("quarantine", "rows").stdout.strip() == "no single row was refused"
    open_database(settings).dispose()
    write(settings, FILES, [arrival(1, "a" * 64), arrival(2, "b" * 64, supersedes="a" * 64), arrival(3, "c" * 64, name="other.csv")])
    write(settings, QUARANTINED_ROWS, [rejected("a", 4, "upper"), rejected("c", 9, "unit"), rejected("c", 7, "upper")])

    answer = lab("quarantine", "rows", "--json").document
    assert [(row["source_row"], row["rule"], row["replaced"]) for row in answer] == [
        (7, "upper", False),
        (9, "unit", False),
        (4, "upper", True),
    ]
    assert {row["row_text"] for row in answer} == {"***"}
    assert [row["source_row"] for row in lab("quarantine", "rows", "--rule", "unit", "--json").document] == [9]
    assert lab("quarantine", "rows", "--table", "bronze.samples").stdout.strip() == "no such row was refused"
    shown = lab("quarantine", "rows", "--limit", "1").stdout
    assert "below the lower limit" in shown
    assert "1 of 3 row(s) shown" in shown
    assert "secret" not in shown


def write(settings: Settings, contract: TableContract, rows: list[dict[str, Any]]) -> None:
    write_deltalake(settings.table_uri(contract.layer, contract.name), pa.Table.from_pylist(rows, schema=contract.arrow_schema()))


def arrival(number: int, digest: str, *, name: str = "specifications.csv", supersedes: str | None = None) -> dict[str, Any]:
    blank = dict.fromkeys(FILES.column_names)
    own = {"arrival_id": number, "file_id": digest, "source": "lims", "file_name": name, "state": "committed", "supersedes": supersedes}
    return {**blank, **own, "arrived_at_utc": AT, "ingest_batch": number}


def rejected(digit: str, row: int, rule: str) -> dict[str, Any]:
    said = {
        "table_name": "specifications",
        "rule": rule,
        "column_name": rule,
        "reason": "below the lower limit",
        "row_text": '{"a": "secret"}',
    }
    kept = {"source": "lims", "source_file": f"{digit}.csv", "source_sha256": digit * 64, "source_row": row}
    return {**said, **kept, "ingested_at_utc": AT, "ingest_batch": ord(digit)}
