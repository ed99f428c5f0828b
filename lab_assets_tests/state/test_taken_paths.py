"""What paths held when they were taken, asked for by name."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import event, text

from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger, NewArrival
from lab_assets.state.taken_paths import TakenPath, taken_paths


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    return Ledger(open_database(settings))


def test_only_what_is_asked_for_of_one_source_is_answered(ledger: Ledger) -> None:
    """1,201 names are more than two questions hold; one was never taken, one belongs to another source."""
    names = [f"{number:04d}.txt" for number in range(1200)]
    ledger.record([NewArrival(source="a", file_name=name, size=1, mtime_ns=2, ctime_ns=3, file_id=name.zfill(64)) for name in names])
    ledger.record([NewArrival(source="b", file_name="other.txt", size=9, mtime_ns=9, ctime_ns=9, file_id="f" * 64)])
    found = taken_paths(ledger.engine, "a", [*reversed(names), "other.txt"])
    assert found == {name: TakenPath(1, 2, 3, name.zfill(64)) for name in names}
    assert taken_paths(ledger.engine, "a", []) == {}


def test_names_are_found_by_the_key_and_not_by_reading_the_table(ledger: Ledger) -> None:
    query = "EXPLAIN QUERY PLAN SELECT size FROM current_paths WHERE source = 'a' AND file_name IN ('1', '2')"
    with ledger.engine.connect() as connection:
        plan = " ".join(row[3] for row in connection.execute(text(query)))
    assert "SEARCH current_paths USING INDEX" in plan
    assert "SCAN" not in plan


def test_one_arrival_asks_by_its_keys_whatever_the_history_holds(ledger: Ledger) -> None:
    """Every query of recording one new file and opening its batch, as SQLite plans it: none reads a table or all of one state.

    What waits is put in order by source, which scans a subquery of the arrivals that have no batch yet, found by the index.
    """
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, _context: object, _many: bool) -> None:
        asked.append((statement, parameters))

    event.listen(ledger.engine, "before_cursor_execute", note)
    ledger.record([NewArrival(source="a", file_name="a.txt", size=1, mtime_ns=2, ctime_ns=3, file_id="1" * 64)])
    assert ledger.open_batch(10) == 1
    event.remove(ledger.engine, "before_cursor_execute", note)
    queries = [(statement, parameters) for statement, parameters in asked if statement.startswith(("SELECT", "UPDATE"))]
    assert len(queries) >= 4
    with ledger.engine.connect() as connection:
        for statement, parameters in queries:
            plan = " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))
            assert re.findall(r"SCAN (?!\(subquery|anon_)\w+", plan) == [], (statement, plan)
            assert "ix_arrivals_state" not in plan, (statement, plan)
