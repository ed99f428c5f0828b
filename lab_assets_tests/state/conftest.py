"""A database with an account in it, for tests of its rows and its audit trail."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from lab_assets.state.audit_chain import audited
from lab_assets.state.clock import as_text, utc_now
from lab_assets.state.governance_tables import USERS


@pytest.fixture
def people(engine: Engine) -> Engine:
    """The database with one account and the audit entry that tells of it."""
    now = as_text(utc_now())
    with audited(engine, actor="system:test", action="user.create", target="user:ann") as connection:
        values = {"name": "ann", "display_name": "Ann", "password_hash": "none", "created_at": now, "password_changed_at": now}
        connection.execute(USERS.insert().values(**values))
    return engine
