"""A fresh laboratory per test: real SQLite, real Delta tables, real argon2 at its cheapest setting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Engine

from lab_assets.governance import users
from lab_assets.governance.users import ROLE_NAMES, create_user
from lab_assets.settings import Settings
from lab_assets.state.database import writing
from lab_assets_tests.governance.tables import AT, PASSWORD, write_table


@pytest.fixture(scope="session", autouse=True)
def _cheap_hashes() -> Iterator[None]:
    """Argon2 at its smallest cost: the same library and format, 100 times faster than what protects real passwords."""
    with pytest.MonkeyPatch.context() as patch:
        hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr(users, "_hasher", lambda: hasher)
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "lab")


@pytest.fixture
def people(engine: Engine) -> Engine:
    """The database with one account per role, named after it."""
    with writing(engine) as connection:
        for role in ROLE_NAMES:
            create_user(connection, name=role, password=PASSWORD, roles=(role,), actor="system:test")
    return engine


@pytest.fixture
def lots(engine: Engine, settings: Settings) -> Settings:
    """Three lots of two customers, four injections by two analysts, in a home with a database."""
    del engine  # tables without one are those of a laboratory whose database was lost
    write_table(
        settings,
        "silver.lots",
        [
            {"lot_id": "L1", "product": "P", "customer": "Acme", "formulation": "secret-1", "batch_size_kg": 10.0, "recorded_at_utc": AT},
            {"lot_id": "L2", "product": "P", "customer": "Acme", "formulation": "secret-2", "batch_size_kg": 20.0, "recorded_at_utc": AT},
            {"lot_id": "L3", "product": "Q", "customer": "Bolt", "formulation": "secret-3", "batch_size_kg": 30.0, "recorded_at_utc": AT},
        ],
    )
    write_table(
        settings,
        "silver.injections",
        [
            {"injection_id": f"I{number}", "lot_id": lot, "analyst": analyst}
            for number, lot, analyst in ((1, "L1", "Ann Smith"), (2, "L1", "Ann Smith"), (3, "L2", "Bob Stone"), (4, "L3", None))
        ],
    )
    return settings
