"""The rolling scrub: each file once in some days, what was found until it is right again, alerts by name."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from lab_assets.contracts.all_contracts import contract
from lab_assets.contracts.governance import INTEGRITY
from lab_assets.contracts.ml import ALERTS
from lab_assets.ingest.scrub import due_parts, part_of
from lab_assets.lake.data_files import local_path
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.state import audit_chain
from lab_assets.state.audit_chain import AuditLog
from lab_assets.stations.governance.copies import newest_scrub
from lab_assets.stations.governance.scrubbing import scrub_laboratory, update_integrity

LOTS = contract("silver.lots")
FIRST = date(2026, 3, 1)


@pytest.fixture
def lots(lakehouse: Lakehouse) -> Lakehouse:
    """Twelve lots in a commit each: 12 data files, 13 commits."""
    for number in range(12):
        row = {"lot_id": f"L{number}", "product": "P", "recorded_at_utc": datetime(2026, 3, 1, tzinfo=UTC)}
        lakehouse.append(LOTS, lakehouse.local_rows(LOTS, [row]))
    return lakehouse


@pytest.fixture
def on(lots: Lakehouse, monkeypatch: pytest.MonkeyPatch):
    """Scrub what is due on a day."""

    def scrub(day: date):
        monkeypatch.setattr(audit_chain, "utc_now", lambda: datetime(day.year, day.month, day.day, 2, tzinfo=UTC))
        return scrub_laboratory(lots.settings, lots.ledger, today=day)

    return scrub


def test_the_first_scrub_sees_all_and_then_each_file_is_seen_once_a_week(on) -> None:
    assert on(FIRST).files == 25
    week = [on(FIRST + timedelta(days=day)) for day in range(1, 8)]
    assert [report.parts for report in week] == [((FIRST + timedelta(days=day)).toordinal() % 7,) for day in range(1, 8)]
    assert sum(report.files for report in week) == 25


def test_what_was_missed_on_its_day_is_seen_on_the_next(on, lots: Lakehouse) -> None:
    """The machine was off from the 8th to the 12th: the 13th does those days' parts as well."""
    for day in range(7):
        on(FIRST + timedelta(days=day))
    missed = {(FIRST + timedelta(days=day)).toordinal() % 7 for day in range(7, 13)}
    assert due_parts(AuditLog(lots.ledger.engine), 7, FIRST + timedelta(days=12)) == missed


def test_what_is_found_is_named_each_day_until_it_is_right_and_alerted_once(lots: Lakehouse, on) -> None:
    on(FIRST)
    path = next(local_path(lots.uri(LOTS)).glob("*.parquet"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    shown = str(path.relative_to(lots.settings.home))
    own_day = next(day for day in range(1, 8) if (FIRST + timedelta(days=day)).toordinal() % 7 == part_of(shown, 7))
    days = [FIRST + timedelta(days=day) for day in range(own_day, own_day + 3)]
    for day in days:
        report = update_integrity(lots, today=day)
        assert [(each.object, each.problem) for each in report.findings] == [(shown, "changed")]
    assert lots.polars(INTEGRITY)["object"].to_list() == [shown] * 3
    assert lots.polars(ALERTS, ["kind", "severity", "subject"]).rows() == [("integrity", "critical", shown)]
    assert newest_scrub(lots).named == (f"changed: {shown}",)
    path.write_bytes(whole)
    assert update_integrity(lots, today=days[-1]).findings == ()


def test_a_broken_page_of_a_database_is_named(lots: Lakehouse) -> None:
    """Dagster's history is no record, and still nothing that breaks unseen."""
    import sqlite3

    path = lots.settings.home / "dagster" / "storage" / "runs.db"
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, body TEXT)")
        connection.executemany("INSERT INTO runs (body) VALUES (?)", [("x" * 500,) for _ in range(200)])
    connection.close()
    assert scrub_laboratory(lots.settings, lots.ledger).findings == ()
    data = bytearray(path.read_bytes())
    data[4096 * 2 : 4096 * 2 + 64] = bytes(64)
    Path(path).write_bytes(data)
    (found,) = scrub_laboratory(lots.settings, lots.ledger).findings
    assert (found.kind, found.object) == ("database", "dagster/storage/runs.db")
