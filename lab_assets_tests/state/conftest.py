"""A migrated database per test, in a file of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from lab_assets.settings import Settings
from lab_assets.state.audit import audited
from lab_assets.state.clock import as_text, utc_now
from lab_assets.state.database import open_database
from lab_assets.state.governance_tables import USERS


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, made once and copied for each test."""
    home = tmp_path_factory.mktemp("template")
    engine = open_database(Settings(home=home))
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return home / "lab.db"


@pytest.fixture
def engine(settings: Settings, _template: Path) -> Iterator[Engine]:
    settings.home.mkdir(parents=True)
    shutil.copy(_template, settings.home / "lab.db")
    engine = open_database(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def people(engine: Engine) -> Engine:
    """The database with one account and the audit entry that tells of it."""
    now = as_text(utc_now())
    with audited(engine, actor="system:test", action="user.create", target="user:ann") as connection:
        values = {"name": "ann", "display_name": "Ann", "password_hash": "none", "created_at": now, "password_changed_at": now}
        connection.execute(USERS.insert().values(**values))
    return engine
