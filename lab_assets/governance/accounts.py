"""Accounts as they are: one person each, with the roles they hold.

Belongs here: reading them. Does not belong here: changing them and checking passwords (``users.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from lab_assets.state.governance_tables import ROLE_MEMBERS, USERS


class UserError(ValueError):
    """A change to accounts that cannot be made as asked."""


@dataclass(frozen=True, kw_only=True)
class User:
    """One account.

    Attributes:
        name: Sign-in name.
        display_name: Printed name, as signatures show it.
        roles: Roles held, sorted.
        disabled: Whether the account is closed.
        locked_until: End of the lock after bad passwords.
        last_sign_in_at: Last good password before this one.
    """

    name: str
    display_name: str
    roles: tuple[str, ...]
    disabled: bool
    locked_until: datetime | None
    last_sign_in_at: datetime | None


def get_user(connection: Connection, name: str) -> User:
    """Return one account.

    Raises:
        UserError: no such user.
    """
    for user in list_users(connection, name=name):
        return user
    raise UserError(f"no user {name!r}")


def list_users(connection: Connection, *, name: str | None = None) -> list[User]:
    """Return all accounts by name, or the one named."""
    members: dict[str, list[str]] = {}
    for row in connection.execute(select(ROLE_MEMBERS.c.user, ROLE_MEMBERS.c.role).order_by(ROLE_MEMBERS.c.role)):
        members.setdefault(row.user, []).append(row.role)
    query = select(USERS).order_by(USERS.c.name)
    rows = connection.execute(query if name is None else query.where(USERS.c.name == name))
    return [
        User(
            name=row.name,
            display_name=row.display_name,
            roles=tuple(members.get(row.name, ())),
            disabled=row.disabled,
            locked_until=datetime.fromisoformat(row.locked_until) if row.locked_until else None,
            last_sign_in_at=datetime.fromisoformat(row.last_sign_in_at) if row.last_sign_in_at else None,
        )
        for row in rows
    ]
