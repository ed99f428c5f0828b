"""Accounts, passwords, locks and sessions."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from lab_assets.governance import sessions, users
from lab_assets.governance.accounts import UserError, get_user, list_users
from lab_assets.governance.sessions import create_session, resolve_session, revoke_session, token_hash
from lab_assets.governance.users import (
    MAX_BAD_PASSWORDS,
    ROLE_NAMES,
    SignInError,
    create_user,
    ensure_demo_users,
    set_disabled,
    set_password,
    set_roles,
    verify_password,
)
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.clock import as_text, utc_now
from lab_assets.state.database import writing
from lab_assets.state.governance_tables import SESSIONS, USERS
from lab_assets_tests.governance.tables import PASSWORD


def _actions(engine: Engine) -> list[str]:
    return [entry.action for entry in AuditLog(engine).entries()]


def test_demo_users_are_made_once_and_their_passwords_work(engine: Engine) -> None:
    with writing(engine) as connection:
        passwords = ensure_demo_users(connection)
    assert tuple(passwords) == ROLE_NAMES
    assert len(set(passwords.values())) == 6
    assert verify_password(engine, name="qa", password=passwords["qa"]).roles == ("qa",)
    with writing(engine) as connection:
        assert ensure_demo_users(connection) == {}
        stored = connection.execute(select(USERS.c.password_hash)).scalars().all()
    assert all(text.startswith("$argon2id$") for text in stored)
    assert not any(password in str(AuditLog(engine).entries()) for password in passwords.values())


@pytest.mark.parametrize("name", ["", "A", "Ann", "1ann", "ann smith", "ann\n", "x" * 65, "role:qa", "shell:root", "ann:"])
def test_names_that_could_be_mistaken_are_refused(engine: Engine, name: str) -> None:
    with pytest.raises(UserError), writing(engine) as connection:
        create_user(connection, name=name, password=PASSWORD, roles=("qa",), actor="t")


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "dorothea-2026", "x" * 1025])
def test_weak_passwords_are_refused(engine: Engine, password: str) -> None:
    with pytest.raises(UserError), writing(engine) as connection:
        create_user(connection, name="dorothea", password=password, roles=("qa",), actor="t")


def test_unknown_roles_and_taken_names_are_refused(people: Engine) -> None:
    for name, roles in (("ann", ("boss",)), ("ann", ()), ("qa", ("qa",))):
        with pytest.raises(UserError), writing(people) as connection:
            create_user(connection, name=name, password=PASSWORD, roles=roles, actor="t")


@pytest.mark.parametrize(("name", "password"), [("qa", "wrong-password-1"), ("nobody", PASSWORD), ("qa", ""), ("' OR 1=1 --", "x")])
def test_a_refusal_never_tells_why(people: Engine, name: str, password: str) -> None:
    with pytest.raises(SignInError, match="user name or password is wrong, or"):
        verify_password(people, name=name, password=password, origin="test")
    last = AuditLog(people).entries(limit=1)[0]
    assert (last.action, last.object, last.origin) == ("user.sign_in_refused", f"user:{name}", "test")


def test_the_fifth_bad_password_locks_and_the_lock_ends(people: Engine) -> None:
    for _ in range(MAX_BAD_PASSWORDS):
        with pytest.raises(SignInError):
            verify_password(people, name="qa", password="wrong-password-1")
    with pytest.raises(SignInError):
        verify_password(people, name="qa", password=PASSWORD)
    assert _actions(people).count("user.locked") == 1
    with writing(people) as connection:
        past = as_text(utc_now() - timedelta(seconds=1))
        connection.execute(USERS.update().where(USERS.c.name == "qa").values(locked_until=past))
    assert verify_password(people, name="qa", password=PASSWORD).name == "qa"
    with people.connect() as connection:
        assert connection.execute(select(USERS.c.failed_attempts).where(USERS.c.name == "qa")).scalar() == 0


def test_parallel_guesses_do_not_get_more_tries(people: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    real = users._hasher()

    class Counting:
        """The real hasher, counting verifications of the account's own hash."""

        def hash(self, password: str) -> str:
            return real.hash(password)

        def verify(self, stored: str, password: str) -> bool:
            checked.append(stored)
            return real.verify(stored, password)

    counting = Counting()
    monkeypatch.setattr(users, "_hasher", lambda: counting)
    with people.connect() as connection:
        own = connection.execute(select(USERS.c.password_hash).where(USERS.c.name == "qa")).scalar()

    def guess() -> None:
        with pytest.raises(SignInError):
            verify_password(people, name="qa", password="wrong-password-1")

    threads = [threading.Thread(target=guess) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert checked.count(own) == MAX_BAD_PASSWORDS
    assert len(checked) == 9  # the others cost the same work, against nobody's hash


def test_a_disabled_account_cannot_sign_in_and_is_kept(people: Engine) -> None:
    token = create_session(people, verify_password(people, name="analyst", password=PASSWORD), idle_min=30)
    set_disabled(people, "analyst", disabled=True, actor="admin", reason="left")
    assert resolve_session(people, token, idle_min=30) is None
    with pytest.raises(SignInError):
        verify_password(people, name="analyst", password=PASSWORD)
    with people.connect() as connection:
        assert get_user(connection, "analyst").disabled
    set_disabled(people, "analyst", disabled=False, actor="admin", reason="back")
    assert verify_password(people, name="analyst", password=PASSWORD).last_sign_in_at is not None
    assert {"user.disable", "user.enable"} <= set(_actions(people))


def test_changes_need_a_reason_and_another_person(people: Engine) -> None:
    with pytest.raises(UserError, match="reason"):
        set_disabled(people, "analyst", disabled=True, actor="admin", reason=" ")
    with pytest.raises(UserError, match="own roles"):
        set_roles(people, "admin", roles=("qa",), actor="admin", reason="me too")
    with pytest.raises(UserError, match="no user"):
        set_disabled(people, "ghost", disabled=True, actor="admin", reason="x")
    set_roles(people, "viewer", roles=("analyst", "viewer"), actor="admin", reason="promoted")
    with people.connect() as connection:
        assert get_user(connection, "viewer").roles == ("analyst", "viewer")
        assert len(list_users(connection)) == 6


def test_a_new_password_unlocks_and_ends_sessions(people: Engine) -> None:
    token = create_session(people, verify_password(people, name="qa", password=PASSWORD), idle_min=30)
    set_password(people, "qa", password="another-horse-7", actor="admin")
    assert resolve_session(people, token, idle_min=30) is None
    with pytest.raises(SignInError):
        verify_password(people, name="qa", password=PASSWORD)
    assert verify_password(people, name="qa", password="another-horse-7").name == "qa"


def test_a_session_is_kept_hashed_resolves_and_ends(people: Engine) -> None:
    token = create_session(people, verify_password(people, name="qa", password=PASSWORD), idle_min=30, origin="::1")
    with people.connect() as connection:
        assert connection.execute(select(SESSIONS.c.token_hash)).scalars().all() == [token_hash(token)]
    found = resolve_session(people, token, idle_min=30)
    assert found is not None
    assert found.user.name == "qa"
    assert resolve_session(people, token + "x", idle_min=30) is None
    assert resolve_session(people, "", idle_min=30) is None
    assert revoke_session(people, token)
    assert not revoke_session(people, token)
    assert resolve_session(people, token, idle_min=30) is None


def test_use_prolongs_a_session_up_to_its_longest(people: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    start = utc_now()
    token = create_session(people, verify_password(people, name="qa", password=PASSWORD), idle_min=30)
    alive_until = start
    for minutes in range(20, 24 * 60, 20):
        monkeypatch.setattr(sessions, "utc_now", lambda at=start + timedelta(minutes=minutes): at)
        if resolve_session(people, token, idle_min=30) is None:
            break
        alive_until = start + timedelta(minutes=minutes)
    assert alive_until - start == timedelta(hours=12)


def test_an_idle_session_ends(people: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    token = create_session(people, verify_password(people, name="qa", password=PASSWORD), idle_min=30)
    later = utc_now() + timedelta(minutes=31)
    monkeypatch.setattr(sessions, "utc_now", lambda: later)
    assert resolve_session(people, token, idle_min=30) is None
