"""Changing a database as someone would who owns its file.

Belongs here: the change. Does not belong here: assertions.
"""

from __future__ import annotations

import sqlite3

from lab_assets.settings import Settings


def tamper(settings: Settings, *statements: str) -> None:
    """Change the database file as someone would who owns it: triggers dropped first."""
    connection = sqlite3.connect(settings.home / "lab.db")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
