"""Sessions of signed-in people: opaque tokens, of which only the hash is kept.

Belongs here: begin, resolve, end. Does not belong here: passwords (``users.py``), cookies and headers (the service).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine, select

from lab_assets.governance.accounts import User, UserError, get_user
from lab_assets.state.audit_chain import AuditLog, clean
from lab_assets.state.clock import as_text, from_text, utc_now
from lab_assets.state.database import writing
from lab_assets.state.governance_tables import SESSIONS

LONGEST_H: Final = 12
"""A session ends after this many hours however busy it is."""

_TOUCH_S: Final = 30
"""Use is written down at most this often; resolving a session is otherwise one read."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """One signed-in person.

    Attributes:
        user: The account, as it is now.
        created_at: When the password was given.
        expires_at: When the session ends unless used before.
    """

    user: User
    created_at: datetime
    expires_at: datetime


def token_hash(token: str) -> str:
    """Return what is kept of a token: 256 random bits need no salt."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def create_session(engine: Engine, user: User, *, idle_min: int, origin: str = "") -> str:
    """Begin a session for a person whose password was just verified; return its token.

    Args:
        engine: The database.
        user: The account.
        idle_min: Minutes without use after which it ends.
        origin: Where from.
    """
    token, now = secrets.token_urlsafe(32), utc_now()
    values = {"user": user.name, "created_at": as_text(now), "last_seen_at": as_text(now), "origin": clean(origin, 256)}
    with writing(engine) as connection:
        expires = as_text(now + timedelta(minutes=idle_min))
        connection.execute(SESSIONS.insert().values(token_hash=token_hash(token), expires_at=expires, **values))
        AuditLog(engine).append(connection, actor=user.name, action="session.begin", target=f"user:{user.name}", origin=origin)
    return token


def resolve_session(engine: Engine, token: str, *, idle_min: int) -> Session | None:
    """Return the living session of a token; ``None`` for an unknown, ended or idle one or a disabled person.

    Args:
        engine: The database.
        token: As the client holds it.
        idle_min: Minutes without use after which it ends.
    """
    key, now = token_hash(token), utc_now()
    with engine.connect() as connection:
        row = connection.execute(select(SESSIONS).where(SESSIONS.c.token_hash == key)).first()
        if row is None or row.revoked_at is not None or from_text(row.expires_at) <= now:
            return None
        try:
            user = get_user(connection, row.user)
        except UserError:
            return None
    if user.disabled:
        return None
    expires = min(now + timedelta(minutes=idle_min), from_text(row.created_at) + timedelta(hours=LONGEST_H))
    if now - from_text(row.last_seen_at) >= timedelta(seconds=_TOUCH_S):
        with writing(engine) as connection:
            live = (SESSIONS.c.token_hash == key) & SESSIONS.c.revoked_at.is_(None)
            connection.execute(SESSIONS.update().where(live).values(last_seen_at=as_text(now), expires_at=as_text(expires)))
    return Session(user=user, created_at=from_text(row.created_at), expires_at=expires)


def revoke_session(engine: Engine, token: str, *, origin: str = "") -> bool:
    """End a session; return whether it was alive."""
    live = (SESSIONS.c.token_hash == token_hash(token)) & SESSIONS.c.revoked_at.is_(None)
    with writing(engine) as connection:
        user = connection.execute(select(SESSIONS.c.user).where(live)).scalar()
        if user is None:
            return False
        connection.execute(SESSIONS.update().where(live).values(revoked_at=as_text(utc_now())))
        AuditLog(engine).append(connection, actor=user, action="session.end", target=f"user:{user}", origin=origin)
    return True


def revoke_all_sessions(connection: Connection, user: str) -> None:
    """End every session of a person, in the caller's transaction."""
    live = (SESSIONS.c.user == user) & SESSIONS.c.revoked_at.is_(None)
    connection.execute(SESSIONS.update().where(live).values(revoked_at=as_text(utc_now())))
