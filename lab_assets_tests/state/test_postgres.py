"""PostgreSQL: history that cannot be rewritten, one laboratory a database, writers that do not act on the same row.

A server of the machine's own PostgreSQL, as an account without privileges; skipped where it or the driver is not installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError

from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.governance.gateway import QueryGateway
from lab_assets.ops.setting_checks import history_risk
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database, writing
from lab_assets.state.upgrade import upgrade

pytest.importorskip("psycopg")
ACCOUNT = 65534


def as_account(*command: str) -> None:
    """Run a program of PostgreSQL's, which refuses to run as root."""
    plain = ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups"] if os.geteuid() == 0 else []
    subprocess.run([*plain, *command], check=True, capture_output=True, timeout=60, cwd="/")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an empty server's databases, on a socket in a folder of its own."""
    if shutil.which("initdb") is None or shutil.which("pg_ctl") is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    folder = Path(f"/tmp/lab-pg-{os.getpid()}")
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    as_account("initdb", "-D", str(folder / "data"), "-U", "owner", "--auth=trust")
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    as_account("pg_ctl", "-D", str(folder / "data"), "-o", options, "-l", str(folder / "log"), "-w", "start")
    yield f"postgresql+psycopg://owner@/postgres?host={folder}"
    as_account("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def lab(server: str, tmp_path: Path) -> Iterator[tuple[Settings, Engine]]:
    """A laboratory on the server."""
    settings = Settings(home=tmp_path / "first", db_url=server)
    engine = open_database(settings)
    yield settings, engine
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE audit",
        "TRUNCATE serving_history, approvals",
        "TRUNCATE users CASCADE",
        "DELETE FROM audit",
        "UPDATE audit SET actor = 'x'",
        "INSERT INTO audit SELECT seq + 5, at_utc, actor, action, object, old, new, reason, origin, request_id, prev_hash, hash FROM audit",
    ],
)
def test_history_cannot_be_emptied_or_renumbered(lab: tuple[Settings, Engine], statement: str) -> None:
    log = AuditLog(lab[1])
    log.append(actor="admin", action="config.change", target="x")
    with pytest.raises(DatabaseError, match=r"keeps its history|only the next number"), writing(lab[1]) as connection:
        connection.execute(text(statement))
    log.append(actor="admin", action="config.change", target="y")
    assert (log.verify().ok, len(log.entries(action="config.change"))) == (True, 2)


def test_a_second_home_on_one_database_is_refused_by_name(lab: tuple[Settings, Engine], tmp_path: Path) -> None:
    """Also a copy of the first, as long as the first stands; moved, it is the same laboratory."""
    first, _ = lab
    with pytest.raises(EnvironmentFaultError) as refused:
        open_database(Settings(home=tmp_path / "second", db_url=first.db_url))
    assert refused.value.kind is Kind.OTHER_HOME
    assert f"belongs to the home {first.home}" in refused.value.how_much
    copy = Settings(home=tmp_path / "copy", db_url=first.db_url)
    shutil.copytree(first.home, copy.home)
    with pytest.raises(EnvironmentFaultError, match="belongs to the home"):
        open_database(copy)
    first.home.rename(tmp_path / "away")
    open_database(copy).dispose()


def test_a_replica_with_another_key_of_pseudonyms_is_refused(lab: tuple[Settings, Engine]) -> None:
    settings, engine = lab
    QueryGateway(settings, engine)
    key = settings.run / "mask.key"
    kept = key.read_bytes()
    key.write_bytes(bytes(32))
    with pytest.raises(EnvironmentFaultError) as refused:
        QueryGateway(settings, engine)
    assert (refused.value.kind, refused.value.where) == (Kind.OTHER_KEY, str(key))
    key.write_bytes(kept)
    QueryGateway(settings, engine)


def test_writers_do_not_act_on_the_same_row(lab: tuple[Settings, Engine]) -> None:
    """Three read-then-write transactions on one counter, twenty times each: none is lost."""

    def raise_it() -> None:
        for _ in range(20):
            with writing(lab[1]) as connection:
                seen = connection.execute(text("SELECT version FROM policy_state")).scalar_one()
                connection.execute(text("UPDATE policy_state SET version = :v"), {"v": seen + 1})

    with lab[1].connect() as connection:
        before = connection.execute(text("SELECT version FROM policy_state")).scalar_one()
    threads = [threading.Thread(target=raise_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with lab[1].connect() as connection:
        assert connection.execute(text("SELECT version FROM policy_state")).scalar_one() == before + 60


def test_an_account_that_could_drop_history_is_told(lab: tuple[Settings, Engine]) -> None:
    _, engine = lab
    assert history_risk(engine).startswith("the account owner may drop approvals, audit, serving_history, users")
    with engine.begin() as connection:
        connection.execute(text("CREATE ROLE worker LOGIN"))
        connection.execute(text("GRANT USAGE ON SCHEMA public TO worker"))
    worker = open_engine_as(engine, "worker")
    assert history_risk(worker) == ""
    worker.dispose()
    with engine.begin() as connection:
        connection.execute(text("DROP OWNED BY worker"))
        connection.execute(text("DROP ROLE worker"))


def open_engine_as(engine: Engine, account: str) -> Engine:
    from sqlalchemy import create_engine

    return create_engine(engine.url.set(username=account))


def test_an_older_database_on_a_server_waits_for_its_backup(lab: tuple[Settings, Engine]) -> None:
    """We cannot copy it: a person says that it is backed up."""
    settings, engine = lab
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0005'"))
    with pytest.raises(EnvironmentFaultError, match=r"pg_dump.*--backed-up"):
        upgrade(settings, say=lambda _line: None)
    with pytest.raises(EnvironmentFaultError, match="pg_dump"):
        open_database(settings)
