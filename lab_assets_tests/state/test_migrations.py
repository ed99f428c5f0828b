"""Revisions: frozen, complete, and without loss for a database that an earlier release filled.

``samples/revision_0002.sql`` is such a database as SQLite dumps it: people, arrivals of every state, a batch that is open, steps of
quarantine, a proposal, an approval that serves, and a lineage outbox that was emptied.
"""

from __future__ import annotations

import ast
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, Table, delete, insert, select
from sqlalchemy.exc import DatabaseError, IntegrityError

from lab_assets.settings import Settings
from lab_assets.state import database
from lab_assets.state import governance_tables as governance
from lab_assets.state import ledger_tables as ledger
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import HEAD, current_revision, migrate, open_database, open_engine, writing
from lab_assets.state.ledger import Ledger, NewArrival
from lab_assets.state.metadata import METADATA
from lab_assets.state.upgrade import upgrade

DUMP = Path(__file__).parent / "samples" / "revision_0002.sql"
NUMBERED = [table for table in METADATA.tables.values() if any(column.autoincrement is True for column in table.primary_key)]

Contents = dict[str, list[dict[str, Any]]]


def contents(file: Path) -> Contents:
    """Return every row of every table of a SQLite file, by column, sorted."""
    with sqlite3.connect(file) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
        rows = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}  # noqa: S608 - its own names
    return {name: sorted(map(dict, found), key=repr) for name, found in rows.items()}


def differences(engine: Engine) -> list[Any]:
    """Return what Alembic would change so that the database is as the tables in the code."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, METADATA)


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """A laboratory whose database is the one of revision 0002."""
    settings.home.mkdir(parents=True)
    connection = sqlite3.connect(settings.home / "lab.db")
    connection.executescript(DUMP.read_text())
    connection.close()
    return settings


def upgraded(settings: Settings) -> Engine:
    """Open a database of an older version after it was brought to this one's."""
    upgrade(settings, say=lambda _line: None)
    return open_database(settings)


def test_revisions_make_what_the_code_expects(engine: Engine) -> None:
    assert differences(engine) == []


def test_revisions_name_everything_themselves() -> None:
    """What a revision imports from the product changes under it; only Alembic and SQLAlchemy may be asked."""
    for file in (Path(database.__file__).parent / "migrations" / "versions").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("lab_assets"), file.name
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("lab_assets") for alias in node.names), file.name


def _items(sql: str) -> list[str]:
    """Return the items of a definition, whatever their order: split at commas outside of inner parentheses."""
    definition = " ".join(sql.replace('"', "").split())
    if not definition.startswith("CREATE TABLE"):
        return [definition]
    return re.split(r", (?![^()]*\))", definition.partition("(")[2].removesuffix(")").strip())


def test_checks_triggers_and_keys_are_those_of_the_code(engine: Engine, tmp_path: Path) -> None:
    """What Alembic does not compare: CHECKs, triggers and AUTOINCREMENT, held against what ``create_all`` would make."""

    def parts(of: Engine) -> dict[str, set[str]]:
        query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name <> 'alembic_version'"
        with of.connect() as connection:
            rows = connection.exec_driver_sql(query).all()
            return {name: set(_items(sql)) for name, sql in rows}

    other = open_engine(Settings(home=tmp_path / "other"))
    METADATA.create_all(other)
    assert parts(engine) == parts(other)


def test_nothing_is_lost_on_the_way_from_an_earlier_release(filled: Settings) -> None:
    file = filled.home / "lab.db"
    before = contents(file)
    engine = open_engine(filled)
    assert current_revision(engine) == "0002"
    assert migrate(engine)
    assert current_revision(engine) == HEAD
    after = contents(file)
    assert differences(engine) == []
    assert after.pop("station_attention") == after.pop("laboratory") == []
    assert after.pop("alembic_version") == [{"version_num": HEAD}]
    del before["alembic_version"]
    assert len(before["arrivals"]) == 7
    new = dict.fromkeys(("revises_path", "revises_revision"))
    arrivals = [row | new | {"path_revision": row["batch"]} for row in before["arrivals"]]
    assert after == before | {"arrivals": arrivals}


def test_a_migrated_database_works_on(filled: Settings) -> None:
    """Numbers go on, keys and triggers hold, the audit trail is whole."""
    engine = upgraded(filled)
    assert AuditLog(engine).verify().reason.startswith("the anchor file")  # the dump has none
    assert AuditLog(engine).verify().first_bad_seq is None
    work = Ledger(engine)
    arrival = NewArrival(source="hplc-1", file_name="new.txt", size=3, mtime_ns=1, ctime_ns=1, file_id="9" * 64)
    assert work.record([arrival]) == [8]
    assert work.unfinished_batches() == [(2, "open")]
    assert work.open_batch(10) == 3
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM approvals",
        "DELETE FROM serving_history",
        "UPDATE serving_history SET reason = 'x'",
        "UPDATE audit SET actor = 'x'",
        "DELETE FROM users",
        "UPDATE arrivals SET batch = 99",
        "UPDATE arrivals SET state = 'x'",
        "INSERT INTO quarantine_events (arrival_id, event, at_utc, by) VALUES (999, 'retried', 'x', 'x')",
        "UPDATE grants SET securable = 'lab', principal = 'role:qa', privilege = 'BROWSE'",
    ],
)
def test_a_migrated_database_refuses_what_it_refused_before(filled: Settings, statement: str) -> None:
    engine = upgraded(filled)
    with pytest.raises((IntegrityError, DatabaseError)), writing(engine) as connection:
        connection.exec_driver_sql(statement)


def test_a_row_that_refers_to_nothing_stops_the_migration_and_changes_nothing(filled: Settings) -> None:
    """Foreign keys are off while tables take each other's place; what they would have refused is found before the commit."""
    with sqlite3.connect(filled.home / "lab.db") as connection:
        connection.execute("INSERT INTO quarantine_events (arrival_id, event, at_utc, by) VALUES (999, 'retried', 'x', 'x')")
    engine = open_engine(filled)
    with pytest.raises(RuntimeError, match="of table quarantine_events refers to a row of arrivals that is not there"):
        migrate(engine)
    assert current_revision(engine) == "0002"
    assert "station_attention" not in contents(filled.home / "lab.db")


def test_a_table_that_was_changed_by_hand_is_not_guessed_at(filled: Settings) -> None:
    with sqlite3.connect(filled.home / "lab.db") as connection:
        connection.executescript("DROP TABLE lineage_outbox; CREATE TABLE lineage_outbox (entry INTEGER PRIMARY KEY, derivation JSON);")
    with pytest.raises(RuntimeError, match="lineage_outbox is not as revision 0002 made it"):
        migrate(open_engine(filled))


def _rows() -> dict[str, dict[str, Any]]:
    """Return a row that each numbered table takes, where nothing refers to it."""
    at = "2026-01-01T00:00:00.000000+00:00"
    return {
        "ingest_batches": {"state": "open", "opened_at": at},
        "arrivals": {"source": "s", "file_name": "f", "state": "received", "arrived_at": at},
        "lineage_outbox": {"derivation": {}},
        "quarantine_events": {"arrival_id": 1, "event": "retried", "at_utc": at, "by": "x"},
        "schema_proposals": {
            **dict.fromkeys(("source", "table_name", "column_name", "proposed_column", "first_file"), "x"),
            "first_seen_at": at,
            "state": "proposed",
        },
        "grants": {"securable": "lab.x", "principal": "role:qa", "privilege": "BROWSE", "granted_by": "x", "granted_at": at},
    }


def test_every_numbered_table_is_known() -> None:
    never_deleted = {table.name for table in (*governance.APPEND_ONLY, *governance.NEVER_DELETED)}
    assert {table.name for table in NUMBERED} - never_deleted == set(_rows())


def _number_after_emptying(engine: Engine, table: Table) -> tuple[int, int]:
    """Insert, delete all, insert; return both numbers."""
    row = _rows()[table.name]
    (number,) = table.primary_key
    with writing(engine) as connection:
        if table is ledger.QUARANTINE_EVENTS and not connection.execute(select(ledger.ARRIVALS.c.arrival_id)).first():
            connection.execute(insert(ledger.ARRIVALS).values(arrival_id=1, **_rows()["arrivals"]))
        first = connection.execute(insert(table).values(**row)).inserted_primary_key
        if table in (ledger.ARRIVALS, ledger.INGEST_BATCHES):  # rows that others of the dump refer to stay
            connection.execute(delete(table).where(number == first[0]))
        else:
            connection.execute(delete(table))
        second = connection.execute(insert(table).values(**row)).inserted_primary_key
    assert first is not None
    assert second is not None
    return int(first[0]), int(second[0])


@pytest.mark.parametrize("name", sorted(_rows()))
def test_a_number_is_never_given_twice(engine: Engine, name: str) -> None:
    """SQLite gives the number of the last deleted row again, unless the table says otherwise."""
    first, second = _number_after_emptying(engine, METADATA.tables[name])
    assert second == first + 1


@pytest.mark.parametrize("name", sorted(_rows()))
def test_a_number_is_never_given_twice_after_a_migration_either(filled: Settings, name: str) -> None:
    first, second = _number_after_emptying(upgraded(filled), METADATA.tables[name])
    assert second == first + 1


def test_the_outbox_goes_on_where_it_can_never_have_been(filled: Settings) -> None:
    """It was emptied before the migration: writes under its early numbers count as done already."""
    with upgraded(filled).begin() as connection:
        noted = connection.execute(insert(ledger.LINEAGE_OUTBOX).values(derivation={"output": "silver.peaks"}))
    assert noted.inserted_primary_key == (1_000_000_001,)


def test_rows_of_the_ledger_survive_many_connections(filled: Settings) -> None:
    """A process that had the database open before the migration goes on with it."""
    early = open_engine(filled)
    with early.connect() as connection:
        assert connection.execute(select(ledger.ARRIVALS.c.arrival_id)).all()
    migrate(open_engine(filled))
    assert Ledger(early).counts() == {"committed": 2, "discarded": 1, "duplicate": 1, "received": 3}
