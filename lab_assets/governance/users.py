"""Changes to people: new accounts, passwords, roles and the lock after bad passwords.

Belongs here: one account is one person, with a password only argon2 has seen. Does not belong here: reading
accounts (``accounts.py``), sessions (``sessions.py``), what a role may do (``policy.py``).
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine, func, select

from lab_assets.governance.accounts import User, UserError, get_user
from lab_assets.governance.sessions import revoke_all_sessions
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.clock import as_text, utc_now
from lab_assets.state.database import writing
from lab_assets.state.governance_tables import POLICY_STATE, ROLE_MEMBERS, ROLES, USERS

if TYPE_CHECKING:
    from argon2 import PasswordHasher

ROLE_NAMES: Final = ("viewer", "analyst", "scientist", "qc_lead", "qa", "admin")
MAX_BAD_PASSWORDS: Final = 5
LOCK_MIN: Final = 15
MIN_PASSWORD_LENGTH: Final = 12
MAX_PASSWORD_LENGTH: Final = 1024
SYSTEM_ACTOR: Final = "system:install"

_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,62}[a-z0-9]")


class SignInError(Exception):
    """Name or password is wrong, or the account is locked or disabled; which of them is never said."""

    def __init__(self) -> None:
        super().__init__("user name or password is wrong, or the account is locked or disabled")


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobody_hash() -> str:
    """Return a hash no password matches: unknown names cost the same work as known ones."""
    return _hasher().hash(secrets.token_urlsafe(32))


def bump_policy(connection: Connection) -> None:
    """Tell loaded policies that people, grants, tags or masks have changed; they load anew at their next question."""
    connection.execute(POLICY_STATE.update().values(version=POLICY_STATE.c.version + 1))


def create_user(
    connection: Connection,
    *,
    name: str,
    password: str,
    roles: tuple[str, ...],
    actor: str,
    display_name: str = "",
    reason: str = "",
    origin: str = "",
) -> User:
    """Create an account, in the caller's ``writing`` transaction.

    Args:
        connection: The transaction.
        name: 2 to 64 characters: small letters, digits, ``_``, ``.``, ``-``; begins with a letter.
        password: At least ``MIN_PASSWORD_LENGTH`` characters.
        roles: Known roles; at least one.
        actor: Who creates it.
        display_name: Printed name; default: the name.
        reason: Why.
        origin: Where from.

    Raises:
        UserError: name taken or malformed, password too weak, role unknown.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is not a user name: 2-64 small letters, digits, '_', '.', '-', beginning with a letter")
    if connection.execute(select(USERS.c.name).where(USERS.c.name == name)).first():
        raise UserError(f"user {name!r} exists; an account is never used again for another person")
    _check_roles(connection, roles)
    now = as_text(utc_now())
    connection.execute(
        USERS.insert().values(
            name=name,
            display_name=display_name or name,
            password_hash=_hasher().hash(_checked_password(name, password)),
            created_at=now,
            password_changed_at=now,
        )
    )
    connection.execute(ROLE_MEMBERS.insert(), [{"role": role, "user": name} for role in roles])
    bump_policy(connection)
    AuditLog(connection.engine).append(
        connection, actor=actor, action="user.create", target=f"user:{name}", new={"roles": sorted(roles)}, reason=reason, origin=origin
    )
    return get_user(connection, name)


def _check_roles(connection: Connection, roles: tuple[str, ...]) -> None:
    known = set(connection.execute(select(ROLES.c.name)).scalars())
    if not roles or (unknown := set(roles) - known):
        raise UserError(f"unknown role(s) {sorted(unknown)}; known: {sorted(known)}" if roles else f"name a role: {sorted(known)}")


def _checked_password(name: str, password: str) -> str:
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        raise UserError(f"a password has {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters")
    if (len(name) > 3 and name in password.lower()) or len(set(password)) < 5:
        raise UserError("the password is too easy to guess: it holds the user's name or fewer than 5 different characters")
    return password


def set_password(engine: Engine, name: str, *, password: str, actor: str, reason: str = "", origin: str = "") -> None:
    """Set a password, unlock the account and end its sessions.

    Raises:
        UserError: no such user, or the password is too weak.
    """
    hashed = _hasher().hash(_checked_password(name, password))
    with writing(engine) as connection:
        get_user(connection, name)
        change = {"password_hash": hashed, "password_changed_at": as_text(utc_now()), "failed_attempts": 0, "locked_until": None}
        connection.execute(USERS.update().where(USERS.c.name == name).values(**change))
        revoke_all_sessions(connection, name)
        AuditLog(engine).append(connection, actor=actor, action="user.password", target=f"user:{name}", reason=reason, origin=origin)


def set_disabled(engine: Engine, name: str, *, disabled: bool, actor: str, reason: str, origin: str = "") -> None:
    """Close an account (it is never deleted) or open it again; its sessions end.

    Raises:
        UserError: no such user, or no reason.
    """
    if not reason.strip():
        raise UserError("say why: a reason is required")
    with writing(engine) as connection:
        old = get_user(connection, name)
        connection.execute(USERS.update().where(USERS.c.name == name).values(disabled=disabled, failed_attempts=0, locked_until=None))
        revoke_all_sessions(connection, name)
        bump_policy(connection)
        AuditLog(engine).append(
            connection,
            actor=actor,
            action="user.disable" if disabled else "user.enable",
            target=f"user:{name}",
            old={"disabled": old.disabled},
            new={"disabled": disabled},
            reason=reason,
            origin=origin,
        )


def set_roles(engine: Engine, name: str, *, roles: tuple[str, ...], actor: str, reason: str, origin: str = "") -> None:
    """Give an account exactly these roles.

    Raises:
        UserError: no such user or role, no reason, or the actor changes their own roles.
    """
    if not reason.strip():
        raise UserError("say why: a reason is required")
    if actor == name:
        raise UserError("nobody changes their own roles")
    with writing(engine) as connection:
        old = get_user(connection, name)
        _check_roles(connection, roles)
        connection.execute(ROLE_MEMBERS.delete().where(ROLE_MEMBERS.c.user == name))
        connection.execute(ROLE_MEMBERS.insert(), [{"role": role, "user": name} for role in roles])
        bump_policy(connection)
        AuditLog(engine).append(
            connection,
            actor=actor,
            action="user.roles",
            target=f"user:{name}",
            old={"roles": old.roles},
            new={"roles": sorted(roles)},
            reason=reason,
            origin=origin,
        )


def verify_password(engine: Engine, *, name: str, password: str, origin: str = "", purpose: str = "sign_in") -> User:
    """Check a password; every answer takes one argon2 verification, whoever asks.

    A try is counted before it is checked, so that parallel guesses cannot go past ``MAX_BAD_PASSWORDS``; the last one locks
    the account for ``LOCK_MIN`` minutes. A good password clears the count.

    Args:
        engine: The database.
        name: Sign-in name, as typed.
        password: Password, as typed.
        origin: Where from.
        purpose: Word for the audit trail: ``sign_in`` or ``sign``.

    Returns:
        The account, with the sign-in before this one.

    Raises:
        SignInError: wrong, unknown, locked or disabled.
    """
    from argon2.exceptions import InvalidHashError, VerificationError

    stored = _count_try(engine, name)
    try:
        _hasher().verify(stored or _nobody_hash(), password[:MAX_PASSWORD_LENGTH])
    except (VerificationError, InvalidHashError):
        stored = None
    if stored is None:
        _refuse(engine, name, origin=origin, purpose=purpose)
    with writing(engine) as connection:
        user = get_user(connection, name)
        change = {"failed_attempts": 0, "locked_until": None, "last_sign_in_at": as_text(utc_now())}
        done = connection.execute(USERS.update().where((USERS.c.name == name) & USERS.c.disabled.is_(False)).values(**change))
        if done.rowcount == 1:
            AuditLog(engine).append(connection, actor=name, action=f"user.{purpose}", target=f"user:{name}", origin=origin)
            return user
    raise SignInError


def _count_try(engine: Engine, name: str) -> str | None:
    """Count one try; return the stored hash when the account may be tried at all."""
    now = utc_now()
    with writing(engine) as connection:
        row = connection.execute(select(USERS).where(USERS.c.name == name)).first()
        still_locked = row is not None and row.locked_until is not None and datetime.fromisoformat(row.locked_until) > now
        if row is None or row.disabled or still_locked:
            connection.execute(POLICY_STATE.update().values(one=1))  # the same write as below: time does not tell accounts apart
            return None
        attempts = 0 if row.locked_until else row.failed_attempts
        change: dict[str, object] = {"failed_attempts": attempts + 1, "locked_until": None}
        if attempts + 1 >= MAX_BAD_PASSWORDS:
            change["locked_until"] = as_text(now + timedelta(minutes=LOCK_MIN))
        connection.execute(USERS.update().where(USERS.c.name == name).values(**change))
        return row.password_hash


def _refuse(engine: Engine, name: str, *, origin: str, purpose: str) -> None:
    """Record a refused try, and the lock it led to, then refuse."""
    log = AuditLog(engine)
    with writing(engine) as connection:
        log.append(connection, actor=name, action=f"user.{purpose}_refused", target=f"user:{name}", origin=origin)
        locked = connection.execute(
            select(func.count()).select_from(USERS).where((USERS.c.name == name) & (USERS.c.failed_attempts == MAX_BAD_PASSWORDS))
        ).scalar_one()
        if locked:
            connection.execute(USERS.update().where(USERS.c.name == name).values(failed_attempts=MAX_BAD_PASSWORDS + 1))
            log.append(connection, actor="system:security", action="user.locked", target=f"user:{name}", origin=origin)
    raise SignInError


def ensure_demo_users(connection: Connection) -> dict[str, str]:
    """Create the six demonstration users, named after their roles, where no account exists yet.

    Returns:
        Their passwords, returned this once and kept nowhere; empty when any account exists.
    """
    if connection.execute(select(USERS.c.name).limit(1)).first():
        return {}
    passwords = {role: secrets.token_urlsafe(12) for role in ROLE_NAMES}
    for role, password in passwords.items():
        create_user(connection, name=role, password=password, roles=(role,), actor=SYSTEM_ACTOR, reason="demonstration")
    return passwords
