"""Opening and migrating the relational state."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from lab_assets.settings import Settings
from lab_assets.state import database, ledger_tables
from lab_assets.state import governance_tables as tables
from lab_assets.state.database import HEAD, DatabaseUnavailableError, current_revision, migrate, open_database, open_engine, writing


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_every_defined_table_is_made(engine: Engine) -> None:
    assert set(tables.METADATA.tables) | {"alembic_version"} == set(inspect(engine).get_table_names())
    assert ledger_tables.METADATA is tables.METADATA


def test_sqlite_survives_a_power_cut_and_enforces_keys(engine: Engine) -> None:
    """``synchronous`` 2 is FULL (sqlite.org, PRAGMA synchronous)."""
    with engine.connect() as connection:
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert values == ["wal", 2, 1]
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(tables.ROLE_MEMBERS.insert().values(role="qa", user="nobody"))


def test_a_current_database_is_left_alone_without_alembic(settings: Settings) -> None:
    open_database(settings).dispose()
    code = (
        "import sys; from pathlib import Path; from lab_assets.settings import Settings; "
        "from lab_assets.state.database import open_engine, migrate; "
        f"print(migrate(open_engine(Settings(home=Path({str(settings.home)!r})))), 'alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def _migrate(home: Path) -> None:
    migrate(open_engine(Settings(home=home)))


def test_processes_that_migrate_together_migrate_once(settings: Settings) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_migrate, args=(settings.home,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert current_revision(open_engine(settings)) == HEAD


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'x'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT seq, at_utc, 'x', action, object, old, new, reason, origin, request_id, prev_hash, hash FROM audit",
        "INSERT INTO audit SELECT seq + 5, at_utc, actor, action, object, old, new, reason, origin, request_id, prev_hash, hash FROM audit",
        "DELETE FROM users",
    ],
)
def test_history_cannot_be_rewritten_through_sql(people: Engine, statement: str) -> None:
    with pytest.raises((IntegrityError, DatabaseError, OperationalError)), writing(people) as connection:
        connection.execute(text(statement))


def test_a_writer_reads_what_is_true_until_it_commits(engine: Engine) -> None:
    """Two read-then-write transactions on one counter: none is lost."""

    def raise_once() -> None:
        for _ in range(20):
            with writing(engine) as connection:
                seen = connection.execute(text("SELECT version FROM policy_state")).scalar_one()
                connection.execute(text("UPDATE policy_state SET version = :v"), {"v": seen + 1})

    threads = [threading.Thread(target=raise_once) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version FROM policy_state")).scalar() == 41


def test_a_file_that_cannot_be_opened_is_named_with_what_to_do(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "lab")
    (settings.home / "lab.db").mkdir(parents=True)
    with pytest.raises(
        DatabaseUnavailableError, match=r"lab\.db cannot be opened or written \(unable to open database file\); give .*LAB_HOME"
    ):
        open_database(settings)
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnavailableError, match=r"file/lab/lab\.db cannot be opened or written \(Not a directory\)"):
        open_database(Settings(home=tmp_path / "file" / "lab"))
