"""Changing the policy's data: grants, owners, tags on columns, masks of tags.

Belongs here: the changes, each with its audit entry and only by those who may. Does not belong here: what the data mean when a
question is decided (``policy.py``), accounts and roles (``users.py``).

The actor is an account with ``MANAGE`` on the thing, or ``shell:<login>``: who can read and write the installation's files from
its own shell is its administrator anyway, and the audit trail says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, select

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.core import SENSITIVITY_TAGS
from lab_assets.governance.mask_methods import MASK_METHODS
from lab_assets.governance.policy import PolicyEngine
from lab_assets.governance.securables import PRIVILEGES, Securable, UnknownSecurableError, parse_securable
from lab_assets.governance.users import bump_policy
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.clock import as_text, utc_now
from lab_assets.state.database import writing
from lab_assets.state.governance_tables import CLEARANCES, COLUMN_TAGS, GRANTS, MASK_POLICIES, OWNERS, ROLES, USERS

SHELL_PREFIX: Final = "shell:"


class GrantError(ValueError):
    """A change that cannot be made as asked."""


class ManageRefusedError(PermissionError):
    """The actor may not change this; the refusal is in the audit trail."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One right.

    Attributes:
        securable: What it is held on.
        principal: ``role:<name>`` or ``user:<name>``.
        privilege: The right.
        granted_by: Who gave it.
        granted_at: When.
    """

    securable: str
    principal: str
    privilege: str
    granted_by: str
    granted_at: datetime


class Stewardship:
    """Changes of grants, owners, tags and masks on behalf of one actor."""

    def __init__(self, engine: Engine, *, actor: str, origin: str = "") -> None:
        self._engine, self._actor, self._origin = engine, actor, origin
        self._log = AuditLog(engine)

    def grant(self, privilege: str, securable: str, principal: str, *, reason: str = "") -> bool:
        """Give a right; return whether it was new.

        Raises:
            GrantError: unknown privilege, securable or principal, a right that means nothing there, or a right for oneself.
            ManageRefusedError: the actor may not.
        """
        target, privilege = self._checked(privilege, securable)
        if principal == f"user:{self._actor}":
            raise GrantError("nobody grants a right to themselves")
        with self._change(target) as (connection, _):
            _check_principal(connection, principal)
            key = _grant_key(target, principal, privilege)
            if connection.execute(select(GRANTS.c.grant_id).where(key)).first():
                return False
            values = {"securable": target.name, "principal": principal, "privilege": privilege}
            connection.execute(GRANTS.insert().values(granted_by=self._actor, granted_at=as_text(utc_now()), **values))
            self._record(connection, "policy.grant", target.name, new=values, reason=reason)
        return True

    def revoke(self, privilege: str, securable: str, principal: str, *, reason: str = "") -> bool:
        """Take a right back; return whether it was held there (what is inherited is revoked where it was given).

        Raises:
            GrantError: unknown privilege or securable.
            ManageRefusedError: the actor may not.
        """
        target, privilege = self._checked(privilege, securable)
        with self._change(target) as (connection, _):
            if connection.execute(GRANTS.delete().where(_grant_key(target, principal, privilege))).rowcount == 0:
                return False
            values = {"securable": target.name, "principal": principal, "privilege": privilege}
            self._record(connection, "policy.revoke", target.name, old=values, reason=reason)
        return True

    def set_owner(self, securable: str, principal: str, *, reason: str = "") -> None:
        """Name the owner of a thing: all rights on it but approving and seeing tagged columns in clear.

        Raises:
            GrantError: unknown securable or principal.
            ManageRefusedError: the actor may not.
        """
        target = _parse(securable)
        with self._change(target) as (connection, _):
            _check_principal(connection, principal)
            old = connection.execute(select(OWNERS.c.principal).where(OWNERS.c.securable == target.name)).scalar()
            connection.execute(OWNERS.delete().where(OWNERS.c.securable == target.name))
            connection.execute(
                OWNERS.insert().values(securable=target.name, principal=principal, set_by=self._actor, set_at=as_text(utc_now()))
            )
            self._record(connection, "policy.owner", target.name, old=old, new=principal, reason=reason)

    def set_tag(self, column: str, tag: str, *, present: bool, reason: str) -> None:
        """Put a sensitivity tag on a column or take it off; the column's mask follows at the next question.

        Args:
            column: ``layer.table.column``.
            tag: One of the known tags.
            present: Whether the column carries it from now on.
            reason: Why; required, since taking a tag off shows what was hidden.

        Raises:
            GrantError: unknown column or tag, or no reason.
            ManageRefusedError: the actor may not.
        """
        target = _parse(column)
        if target.kind != "Column" or tag not in SENSITIVITY_TAGS:
            raise GrantError(f"name layer.table.column and one of the tags {sorted(SENSITIVITY_TAGS)}")
        if not reason.strip():
            raise GrantError("say why: a reason is required")
        with self._change(target) as (connection, policy):
            old = sorted(policy.tags.get(target.table, {}).get(target.name.rpartition(".")[2], ()))
            connection.execute(COLUMN_TAGS.delete().where((COLUMN_TAGS.c.securable == target.name) & (COLUMN_TAGS.c.tag == tag)))
            row = {"securable": target.name, "tag": tag, "state": "set" if present else "removed", "reason": reason}
            connection.execute(COLUMN_TAGS.insert().values(set_by=self._actor, set_at=as_text(utc_now()), **row))
            new = sorted({*old, tag} if present else set(old) - {tag})
            self._record(connection, "policy.tag" if present else "policy.untag", target.name, old=old, new=new, reason=reason)

    def set_mask(self, tag: str, method: str, *, reason: str) -> None:
        """Say how a tag's values are hidden from those without clearance.

        Args:
            tag: One of the known tags.
            method: One of ``MASK_METHODS``.
            reason: Why.

        Raises:
            GrantError: unknown tag or method, or no reason.
            ManageRefusedError: the actor may not.
        """
        if tag not in SENSITIVITY_TAGS or method not in MASK_METHODS:
            raise GrantError(f"name one of the tags {sorted(SENSITIVITY_TAGS)} and one of the methods {list(MASK_METHODS)}")
        if not reason.strip():
            raise GrantError("say why: a reason is required")
        with self._change(_parse("lab")) as (connection, _):
            old = connection.execute(select(MASK_POLICIES.c.method).where(MASK_POLICIES.c.tag == tag)).scalar()
            connection.execute(MASK_POLICIES.delete().where(MASK_POLICIES.c.tag == tag))
            connection.execute(MASK_POLICIES.insert().values(tag=tag, method=method, set_by=self._actor, set_at=as_text(utc_now())))
            self._record(connection, "policy.mask", f"tag:{tag}", old=old, new=method, reason=reason)

    def _checked(self, privilege: str, securable: str) -> tuple[Securable, str]:
        privilege, target = privilege.upper(), _parse(securable)
        if privilege not in PRIVILEGES:
            raise GrantError(f"no privilege {privilege!r}; known: {', '.join(PRIVILEGES)}")
        if not target.takes(privilege):
            raise GrantError(f"{privilege} means nothing on {target.name}")
        return target, privilege

    def _require_manage(self, connection: Connection, target: Securable) -> PolicyEngine:
        """Load the policy inside the transaction and refuse unless the actor manages the target."""
        policy = PolicyEngine.load(connection, contracts())
        if self._actor.startswith(SHELL_PREFIX):
            return policy
        decision = policy.decide(self._actor, "MANAGE", target)
        if not decision.allowed:
            raise ManageRefusedError(f"{self._actor} may not manage {target.name} ({', '.join(decision.reasons)})")
        return policy

    @contextmanager
    def _change(self, target: Securable) -> Iterator[tuple[Connection, PolicyEngine]]:
        """Run one change; a refusal is recorded in a transaction of its own, since the change's is rolled back."""
        try:
            with writing(self._engine) as connection:
                yield connection, self._require_manage(connection, target)
        except ManageRefusedError as error:
            self._log.append(actor=self._actor, action="policy.refused", target=target.name, new={"why": str(error)}, origin=self._origin)
            raise

    def _record(self, connection: Connection, action: str, target: str, *, old: Any = None, new: Any = None, reason: str = "") -> None:
        bump_policy(connection)
        self._log.append(connection, actor=self._actor, action=action, target=target, old=old, new=new, reason=reason, origin=self._origin)


def require_manage(engine: Engine, actor: str) -> None:
    """Refuse unless the actor manages the whole catalogue, as accounts and roles need.

    Raises:
        ManageRefusedError: the actor may not; the refusal is in the audit trail.
    """
    if actor.startswith(SHELL_PREFIX):
        return
    with engine.connect() as connection:
        decision = PolicyEngine.load(connection, contracts()).decide(actor, "MANAGE", "lab")
    if not decision.allowed:
        AuditLog(engine).append(actor=actor, action="policy.refused", target="lab", new={"rules": decision.reasons})
        raise ManageRefusedError(f"{actor} may not manage lab ({', '.join(decision.reasons)})")


def list_clearances(connection: Connection) -> dict[str, list[str]]:
    """Return the roles that see each tag in clear, by tag."""
    found: dict[str, list[str]] = {}
    for row in connection.execute(select(CLEARANCES).order_by(CLEARANCES.c.tag, CLEARANCES.c.role)):
        found.setdefault(row.tag, []).append(row.role)
    return found


def list_grants(connection: Connection) -> list[Grant]:
    """Return all grants, by securable, principal and privilege."""
    columns = (GRANTS.c.securable, GRANTS.c.principal, GRANTS.c.privilege, GRANTS.c.granted_by, GRANTS.c.granted_at)
    rows = connection.execute(select(*columns).order_by(*columns[:3])).mappings()
    return [Grant(**{**row, "granted_at": datetime.fromisoformat(row["granted_at"])}) for row in rows]


def access_rows(policy: PolicyEngine, reviewed_at: datetime) -> list[dict[str, Any]]:
    """Return the access review as rows of ``governance.access``: every right of every person and what it comes from.

    Rights are listed on the catalog and on each schema, table and model that they were granted on or are inherited by. People are named
    in the column ``user`` alone, which carries a tag.
    """
    known = contracts()
    names = ["lab", *sorted({f"lab.{table.layer}" for table in known.values()}), *(f"lab.{table}" for table in known), *policy.models]
    rows: list[dict[str, Any]] = []
    for target in map(_parse, names):
        for privilege in (name for name in PRIVILEGES if target.takes(name)):
            for principal, source, through in _sources(policy, target, privilege):
                kind, _, name = principal.partition(":")
                rows += [
                    {
                        "reviewed_at_utc": reviewed_at,
                        "user": user.name,
                        "securable": target.name,
                        "privilege": privilege,
                        "principal": through,
                        "granted_on": source,
                        "clearances": sorted(policy.clearances(user.name)),
                    }
                    for user in policy.users.values()
                    if not user.disabled
                    and (name in user.roles if kind == "role" else name == user.name)
                    and policy.decide(user.name, privilege, target).allowed
                ]
    return rows


def _sources(policy: PolicyEngine, target: Securable, privilege: str) -> list[tuple[str, str, str]]:
    """Return who holds a privilege by a grant or, but for ``APPROVE``, by owning: principal, where that stands, what the review says."""
    held = [
        (principal, source, principal if principal.startswith("role:") else "user")
        for principal, source in sorted(policy.holders(target, privilege).items())
    ]
    owning = {} if privilege == "APPROVE" else policy.holders(target, "owners")
    return held + [
        (principal, source, f"owner {principal}" if principal.startswith("role:") else "owner")
        for principal, source in sorted(owning.items())
    ]


def _parse(text: str) -> Securable:
    try:
        return parse_securable(text, contracts())
    except UnknownSecurableError as error:
        raise GrantError(str(error)) from error


def _grant_key(target: Securable, principal: str, privilege: str) -> Any:
    return (GRANTS.c.securable == target.name) & (GRANTS.c.principal == principal) & (GRANTS.c.privilege == privilege)


def _check_principal(connection: Connection, principal: str) -> None:
    kind, _, name = principal.partition(":")
    table = {"role": ROLES, "user": USERS}.get(kind)
    if table is None or connection.execute(select(table.c.name).where(table.c.name == name)).first() is None:
        raise GrantError(f"no principal {principal!r}: name role:<role> or user:<account>")
