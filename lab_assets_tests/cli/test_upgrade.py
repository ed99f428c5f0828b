"""A home of another version: looking changes nothing, an upgrade is announced, copied first and told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.settings import Settings
from lab_assets.state.database import HEAD, current_revision, open_database, open_engine, writing
from lab_assets.state.upgrade import pending, upgrade
from lab_assets_tests.cli.commands import Lab

DUMP = Path(__file__).parents[1] / "state" / "samples" / "revision_0002.sql"


@pytest.fixture
def old(settings: Settings) -> Settings:
    """A home as an older version left it."""
    settings.home.mkdir(parents=True)
    with closing(sqlite3.connect(settings.home / "lab.db")) as connection:
        connection.executescript(DUMP.read_text())
    return settings


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def test_a_command_that_looks_leaves_an_older_home_as_it_is(old: Settings, lab: Lab) -> None:
    refused = lab("query", "SELECT 1", "--as", "admin", "--json")
    assert (refused.exit_code, refused.document["error"]["kind"]) == (2, "older_database")
    assert f"lab.db is at revision 0002, this version works with {HEAD}; 'lab upgrade'" in refused.stderr
    assert revision(old.home / "lab.db") == "0002"
    problems = lab("status", "--json").document["problems"]
    assert any("of an older version" in problem and "'lab upgrade'" in problem for problem in problems)
    assert "no laboratory here yet" not in lab("status").stdout


def test_an_upgrade_is_announced_copied_first_and_told(old: Settings, lab: Lab) -> None:
    done = lab("upgrade", "--json")
    copy = Path(done.document["copy"])
    assert (done.exit_code, done.document["before"], done.document["after"]) == (0, "0002", HEAD)
    announced, said = done.stderr.splitlines()
    assert announced == f"the database is of an older version (revision 0002): it is brought to {HEAD}"
    assert str(copy) in said
    assert (revision(copy), revision(old.home / "lab.db"), copy.stat().st_mode & 0o077) == ("0002", HEAD, 0)
    again = lab("upgrade", "--json").document
    assert (again["upgraded"], len(list(copy.parent.iterdir()))) == (False, 1)


def test_a_newer_home_is_refused_and_named(settings: Settings, lab: Lab) -> None:
    engine = open_database(settings)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for command in (("query", "SELECT 1", "--as", "admin"), ("upgrade",), ("ingest",)):
        answer = lab(*command)
        assert (answer.exit_code, "written by a newer version" in answer.stderr, "Traceback" in answer.stderr) == (2, True, False)
    assert current_revision(open_engine(settings)) == "9999"


def test_a_damaged_database_is_not_upgraded(old: Settings) -> None:
    """A page in the middle is overwritten: the copy is looked through, and nothing is changed."""
    path = old.home / "lab.db"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    before = path.read_bytes()
    with pytest.raises(EnvironmentFaultError) as refused:
        upgrade(old, say=lambda _line: None)
    assert refused.value.kind is Kind.UNREADABLE_FILE
    assert (path.read_bytes()[100:] == before[100:], list((old.home / "upgrades").iterdir())) == (True, [])


def test_nothing_waits_where_no_database_is(settings: Settings) -> None:
    assert (pending(settings), settings.home.exists()) == (None, False)
