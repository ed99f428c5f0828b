"""Tables of governance: people, roles, grants, tags, masks, approvals, serving and the audit trail.

Belongs here: table definitions and the triggers that keep history from being rewritten. Does not belong here: what the rows
mean and who may change them (``lab_assets.governance``), the ledger's tables (``ledger_tables.py``).

Points in time are ISO 8601 text in UTC with microseconds: equal text in SQLite and PostgreSQL, so hashes over them hold.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from lab_assets.state.metadata import METADATA

# SQLite counts up only an INTEGER PRIMARY KEY, and gives numbers of deleted rows again unless sqlite_autoincrement is set
_ID = BigInteger().with_variant(Integer, "sqlite")
_TIME = String(32)
_NAME = String(64)
_SECURABLE = String(255)

USERS: Final = Table(
    "users",
    METADATA,
    Column("name", _NAME, primary_key=True),
    Column("display_name", String(255), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("failed_attempts", Integer, nullable=False, default=0),
    Column("locked_until", _TIME),
    Column("created_at", _TIME, nullable=False),
    Column("password_changed_at", _TIME, nullable=False),
    Column("last_sign_in_at", _TIME),
)
"""One account is one person; it is disabled, never deleted and never used again."""

ROLES: Final = Table(
    "roles",
    METADATA,
    Column("name", _NAME, primary_key=True),
    Column("description", Text, nullable=False),
)

ROLE_MEMBERS: Final = Table(
    "role_members",
    METADATA,
    Column("role", _NAME, ForeignKey("roles.name"), primary_key=True),
    Column("user", _NAME, ForeignKey("users.name"), primary_key=True),
)

CLEARANCES: Final = Table(
    "clearances",
    METADATA,
    Column("role", _NAME, ForeignKey("roles.name"), primary_key=True),
    Column("tag", _NAME, primary_key=True),
)
"""Sensitivity tags a role sees in clear."""

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("token_hash", String(64), primary_key=True),
    Column("user", _NAME, ForeignKey("users.name"), nullable=False),
    Column("created_at", _TIME, nullable=False),
    Column("last_seen_at", _TIME, nullable=False),
    Column("expires_at", _TIME, nullable=False),
    Column("revoked_at", _TIME),
    Column("origin", String(256), nullable=False, default=""),
    Index("ix_sessions_user", "user"),
)

GRANTS: Final = Table(
    "grants",
    METADATA,
    Column("grant_id", _ID, primary_key=True, autoincrement=True),
    Column("securable", _SECURABLE, nullable=False),
    Column("principal", String(80), nullable=False),
    Column("privilege", String(16), nullable=False),
    Column("granted_by", String(128), nullable=False),
    Column("granted_at", _TIME, nullable=False),
    UniqueConstraint("securable", "principal", "privilege"),
    CheckConstraint("privilege in ('BROWSE', 'SELECT', 'MODIFY', 'MANAGE', 'EXECUTE', 'APPROVE', 'TRAIN')", name="privilege"),
    sqlite_autoincrement=True,
)

OWNERS: Final = Table(
    "owners",
    METADATA,
    Column("securable", _SECURABLE, primary_key=True),
    Column("principal", String(80), nullable=False),
    Column("set_by", String(128), nullable=False),
    Column("set_at", _TIME, nullable=False),
)

COLUMN_TAGS: Final = Table(
    "column_tags",
    METADATA,
    Column("securable", _SECURABLE, primary_key=True),
    Column("tag", _NAME, primary_key=True),
    Column("state", String(8), nullable=False),
    Column("set_by", String(128), nullable=False),
    Column("set_at", _TIME, nullable=False),
    Column("reason", Text, nullable=False),
    CheckConstraint("state in ('set', 'removed')", name="state"),
)
"""What was decided here about a column's tags, over what its contract says."""

MASK_POLICIES: Final = Table(
    "mask_policies",
    METADATA,
    Column("tag", _NAME, primary_key=True),
    Column("method", String(16), nullable=False),
    Column("set_by", String(128), nullable=False),
    Column("set_at", _TIME, nullable=False),
)
"""How each tag is hidden; which methods there are is said in ``lab_assets.governance.mask_methods``, and an unknown one hides like ``null``."""

POLICY_STATE: Final = Table(
    "policy_state",
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    CheckConstraint("one = 1", name="one"),
)
"""A single counter raised with every change of people, grants, tags and masks: loaded policies compare against it."""

APPROVALS: Final = Table(
    "approvals",
    METADATA,
    Column("approval_id", _ID, primary_key=True, autoincrement=True),
    Column("model_name", String(128), nullable=False),
    Column("model_version", _NAME, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("data_versions", JSON, nullable=False),
    Column("evidence_digest", String(64), nullable=False),
    Column("trained_by", String(128), nullable=False),
    Column("submitted_by", String(128), nullable=False),
    Column("submitted_at", _TIME, nullable=False),
    Column("submit_reason", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("decided_by", String(128)),
    Column("decided_at", _TIME),
    Column("decision_reason", Text),
    CheckConstraint("state in ('submitted', 'approved', 'rejected')", name="state"),
    Index(
        "uq_approvals_live",
        "model_name",
        "model_version",
        unique=True,
        sqlite_where=text("state <> 'rejected'"),
        postgresql_where=text("state <> 'rejected'"),
    ),
    sqlite_autoincrement=True,
)
"""One submission of one model version; a version is submitted again only after a rejection."""

SERVING_HISTORY: Final = Table(
    "serving_history",
    METADATA,
    Column("seq", _ID, primary_key=True, autoincrement=True),
    Column("model_name", String(128), nullable=False),
    Column("model_version", _NAME, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("action", String(16), nullable=False),
    Column("approval_id", _ID, ForeignKey("approvals.approval_id"), nullable=False),
    Column("decided_by", String(128), nullable=False),
    Column("at_utc", _TIME, nullable=False),
    Column("reason", Text, nullable=False),
    CheckConstraint("action in ('promote', 'rollback')", name="action"),
    Index("ix_serving_history_model", "model_name", "seq"),
    sqlite_autoincrement=True,
)
"""Which version should serve; the newest row of a model counts."""

AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("seq", _ID, primary_key=True, autoincrement=False),
    Column("at_utc", _TIME, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("action", _NAME, nullable=False),
    Column("object", String(512), nullable=False),
    Column("old", Text),
    Column("new", Text),
    Column("reason", Text, nullable=False),
    Column("origin", String(256), nullable=False),
    Column("request_id", _NAME, nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ix_audit_object", "object"),
    Index("ix_audit_actor", "actor"),
)
"""The chained log. ``seq`` counts from 1 without a gap; triggers refuse every change of what is written."""

APPEND_ONLY: Final = (AUDIT, SERVING_HISTORY)
NEVER_DELETED: Final = (USERS, APPROVALS)


def _guard(table: Table, operation: str) -> None:
    """Attach a trigger that refuses one operation on one table, for SQLite and PostgreSQL."""
    name = f"{table.name}_no_{operation.lower()}"
    message = f"{table.name} keeps its history: {operation.lower()} is refused"
    sqlite = f"CREATE TRIGGER {name} BEFORE {operation} ON {table.name} BEGIN SELECT RAISE(ABORT, '{message}'); END"
    function = f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{message}'; END $$"
    postgres = f"CREATE TRIGGER {name} BEFORE {operation} ON {table.name} FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
    event.listen(table, "after_create", DDL(sqlite).execute_if(dialect="sqlite"))
    event.listen(table, "after_create", DDL(function).execute_if(dialect="postgresql"))
    event.listen(table, "after_create", DDL(postgres).execute_if(dialect="postgresql"))


for _table in APPEND_ONLY:
    _guard(_table, "UPDATE")
    _guard(_table, "DELETE")
for _table in NEVER_DELETED:
    _guard(_table, "DELETE")

# INSERT OR REPLACE deletes without firing a delete trigger in SQLite: only the next number may be written.
event.listen(
    AUDIT,
    "after_create",
    DDL(
        "CREATE TRIGGER audit_next_only BEFORE INSERT ON audit "
        "WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit) "
        "BEGIN SELECT RAISE(ABORT, 'audit takes only the next number'); END"
    ).execute_if(dialect="sqlite"),
)
