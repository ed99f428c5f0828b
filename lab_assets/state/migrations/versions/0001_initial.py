"""The first tables, the default roles, clearances, grants and masks.

A revision names its tables and columns itself, as they were on its day: what the code says of them later is none of its business.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BY = "system:install"
_ROLES = {
    "viewer": "reads the gold tables, tagged columns masked",
    "analyst": "reads the laboratory's tables, tagged columns masked; asks for risks",
    "scientist": "reads, trains and submits models, tagged columns masked",
    "qc_lead": "reads the laboratory's tables with names of colleagues; asks for risks",
    "qa": "reads everything in clear, reviews the audit trail, approves models",
    "admin": "manages people, grants, tags and masks; sees tagged columns masked",
}
_CLEARANCES = {"qa": ("personal_name", "customer", "patient", "formulation"), "qc_lead": ("personal_name",)}
_LAYERS = ("lab.bronze", "lab.silver", "lab.gold", "lab.features", "lab.ml", "lab.governance.lineage")
_GRANTS = {
    "viewer": {"SELECT": ("lab.gold",)},
    "analyst": {"SELECT": _LAYERS, "EXECUTE": ("lab",)},
    "scientist": {"SELECT": _LAYERS, "EXECUTE": ("lab",), "TRAIN": ("lab",)},
    "qc_lead": {"SELECT": _LAYERS, "EXECUTE": ("lab",)},
    "qa": {"SELECT": ("lab",), "EXECUTE": ("lab",), "APPROVE": ("lab",)},
    "admin": {"SELECT": ("lab",), "MANAGE": ("lab",), "EXECUTE": ("lab",)},
}
_MASKS = {"personal_name": "pseudonym", "customer": "redact", "patient": "null", "formulation": "redact"}

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BIG, _TEXT, _JSON = sa.BigInteger(), sa.Text(), sa.JSON()


def _required(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _optional(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=True)


def _number(name: str) -> sa.Column[Any]:
    """Return a primary key that counts up."""
    return sa.Column(name, _ID, nullable=False, autoincrement=True)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _one_of(table: str, column: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{column}"))


def _refers(table: str, column: str, to: str, to_column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.{to_column}"], name=op.f(f"fk_{table}_{column}_{to}"))


def _char(length: int) -> sa.String:
    return sa.String(length)


def upgrade() -> None:
    _people()
    _rights()
    _models_and_audit()
    _arrivals()
    _tables_and_stations()
    for table in ("audit", "serving_history"):
        _refuse("UPDATE", table)
        _refuse("DELETE", table)
    for table in ("users", "approvals"):
        _refuse("DELETE", table)
    if op.get_bind().dialect.name == "sqlite":  # INSERT OR REPLACE deletes without firing a delete trigger
        op.execute(
            "CREATE TRIGGER audit_next_only BEFORE INSERT ON audit "
            "WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit) "
            "BEGIN SELECT RAISE(ABORT, 'audit takes only the next number'); END"
        )
    _defaults()


def _people() -> None:
    op.create_table(
        "users",
        _required("name", _char(64)),
        _required("display_name", _char(255)),
        _required("password_hash", _TEXT),
        _required("disabled", sa.Boolean()),
        _required("failed_attempts", sa.Integer()),
        _optional("locked_until", _char(32)),
        _required("created_at", _char(32)),
        _required("password_changed_at", _char(32)),
        _optional("last_sign_in_at", _char(32)),
        _key("users", "name"),
    )
    op.create_table("roles", _required("name", _char(64)), _required("description", _TEXT), _key("roles", "name"))
    op.create_table(
        "role_members",
        _required("role", _char(64)),
        _required("user", _char(64)),
        _key("role_members", "role", "user"),
        _refers("role_members", "role", "roles", "name"),
        _refers("role_members", "user", "users", "name"),
    )
    op.create_table(
        "clearances",
        _required("role", _char(64)),
        _required("tag", _char(64)),
        _key("clearances", "role", "tag"),
        _refers("clearances", "role", "roles", "name"),
    )
    op.create_table(
        "sessions",
        _required("token_hash", _char(64)),
        _required("user", _char(64)),
        _required("created_at", _char(32)),
        _required("last_seen_at", _char(32)),
        _required("expires_at", _char(32)),
        _optional("revoked_at", _char(32)),
        _required("origin", _char(256)),
        _key("sessions", "token_hash"),
        _refers("sessions", "user", "users", "name"),
    )
    op.create_index("ix_sessions_user", "sessions", ["user"])


def _rights() -> None:
    op.create_table(
        "grants",
        _number("grant_id"),
        _required("securable", _char(255)),
        _required("principal", _char(80)),
        _required("privilege", _char(16)),
        _required("granted_by", _char(128)),
        _required("granted_at", _char(32)),
        _key("grants", "grant_id"),
        sa.UniqueConstraint("securable", "principal", "privilege", name=op.f("uq_grants_securable")),
        _one_of("grants", "privilege", "privilege in ('BROWSE', 'SELECT', 'MODIFY', 'MANAGE', 'EXECUTE', 'APPROVE', 'TRAIN')"),
    )
    op.create_table(
        "owners",
        _required("securable", _char(255)),
        _required("principal", _char(80)),
        _required("set_by", _char(128)),
        _required("set_at", _char(32)),
        _key("owners", "securable"),
    )
    op.create_table(
        "column_tags",
        _required("securable", _char(255)),
        _required("tag", _char(64)),
        _required("state", _char(8)),
        _required("set_by", _char(128)),
        _required("set_at", _char(32)),
        _required("reason", _TEXT),
        _key("column_tags", "securable", "tag"),
        _one_of("column_tags", "state", "state in ('set', 'removed')"),
    )
    op.create_table(
        "mask_policies",
        _required("tag", _char(64)),
        _required("method", _char(16)),
        _required("set_by", _char(128)),
        _required("set_at", _char(32)),
        _key("mask_policies", "tag"),
        _one_of("mask_policies", "method", "method in ('null', 'redact', 'pseudonym')"),
    )
    op.create_table(
        "policy_state",
        sa.Column("one", sa.Integer(), nullable=False, autoincrement=False),
        _required("version", _BIG),
        _key("policy_state", "one"),
        _one_of("policy_state", "one", "one = 1"),
    )


def _models_and_audit() -> None:
    op.create_table(
        "approvals",
        _number("approval_id"),
        _required("model_name", _char(128)),
        _required("model_version", _char(64)),
        _required("digest", _char(64)),
        _required("metrics", _JSON),
        _required("data_versions", _JSON),
        _required("evidence_digest", _char(64)),
        _required("trained_by", _char(128)),
        _required("submitted_by", _char(128)),
        _required("submitted_at", _char(32)),
        _required("submit_reason", _TEXT),
        _required("state", _char(16)),
        _optional("decided_by", _char(128)),
        _optional("decided_at", _char(32)),
        _optional("decision_reason", _TEXT),
        _key("approvals", "approval_id"),
        _one_of("approvals", "state", "state in ('submitted', 'approved', 'rejected')"),
    )
    live = sa.text("state <> 'rejected'")
    op.create_index(
        "uq_approvals_live", "approvals", ["model_name", "model_version"], unique=True, sqlite_where=live, postgresql_where=live
    )
    op.create_table(
        "serving_history",
        _number("seq"),
        _required("model_name", _char(128)),
        _required("model_version", _char(64)),
        _required("digest", _char(64)),
        _required("action", _char(16)),
        _required("approval_id", _ID),
        _required("decided_by", _char(128)),
        _required("at_utc", _char(32)),
        _required("reason", _TEXT),
        _key("serving_history", "seq"),
        _one_of("serving_history", "action", "action in ('promote', 'rollback')"),
        _refers("serving_history", "approval_id", "approvals", "approval_id"),
    )
    op.create_index("ix_serving_history_model", "serving_history", ["model_name", "seq"])
    op.create_table(
        "audit",
        sa.Column("seq", _ID, nullable=False, autoincrement=False),
        _required("at_utc", _char(32)),
        _required("actor", _char(128)),
        _required("action", _char(64)),
        _required("object", _char(512)),
        _optional("old", _TEXT),
        _optional("new", _TEXT),
        _required("reason", _TEXT),
        _required("origin", _char(256)),
        _required("request_id", _char(64)),
        _required("prev_hash", _char(64)),
        _required("hash", _char(64)),
        _key("audit", "seq"),
    )
    op.create_index("ix_audit_object", "audit", ["object"])
    op.create_index("ix_audit_actor", "audit", ["actor"])


def _arrivals() -> None:
    op.create_table(
        "ingest_batches",
        _number("batch"),
        _required("state", _char(16)),
        _required("opened_at", _char(32)),
        _optional("committed_at", _char(32)),
        _required("table_versions", _JSON),
        _key("ingest_batches", "batch"),
        _one_of("ingest_batches", "state", "state in ('open', 'staged', 'committed')"),
    )
    op.create_table(
        "arrivals",
        _number("arrival_id"),
        _required("source", _char(255)),
        _required("file_name", _TEXT),
        _optional("size", _BIG),
        _optional("mtime_ns", _BIG),
        _optional("ctime_ns", _BIG),
        _required("file_id", _char(64)),
        _required("state", _char(16)),
        _optional("format", _char(64)),
        _optional("rule", _char(64)),
        _optional("reason", _TEXT),
        _optional("place", _TEXT),
        _optional("supersedes", _char(64)),
        _optional("duplicate_of", _TEXT),
        _required("warnings", _JSON),
        _required("rows_parsed", _JSON),
        _required("rows_rejected", _JSON),
        _optional("batch", _ID),
        _required("arrived_at", _char(32)),
        _optional("retry_of", _ID),
        _key("arrivals", "arrival_id"),
        _one_of("arrivals", "state", "state in ('received', 'committed', 'quarantined', 'duplicate', 'vanished', 'discarded')"),
        _refers("arrivals", "batch", "ingest_batches", "batch"),
        _refers("arrivals", "retry_of", "arrivals", "arrival_id"),
    )
    op.create_index("ix_arrivals_path", "arrivals", ["source", "file_name"])
    op.create_index("ix_arrivals_file", "arrivals", ["file_id"])
    op.create_index("ix_arrivals_batch", "arrivals", ["batch"])
    op.create_index("ix_arrivals_state", "arrivals", ["state"])
    op.create_table(
        "current_paths",
        _required("source", _char(255)),
        _required("file_name", _char(1024)),
        _required("size", _BIG),
        _required("mtime_ns", _BIG),
        _required("ctime_ns", _BIG),
        _required("file_id", _char(64)),
        _required("arrival_id", _ID),
        _key("current_paths", "source", "file_name"),
    )


def _tables_and_stations() -> None:
    op.create_table(
        "table_commits",
        _required("table_name", _char(128)),
        _required("version", _BIG),
        _optional("row_count", _BIG),
        _required("committed_at", _char(32)),
        _key("table_commits", "table_name"),
        sa.UniqueConstraint("table_name", name=op.f("uq_table_commits_table_name")),
    )
    op.create_table(
        "station_progress",
        _required("station", _char(128)),
        _required("input_table", _char(128)),
        _required("version", _BIG),
        _key("station_progress", "station", "input_table"),
    )
    op.create_table(
        "station_queue", _required("station", _char(128)), _required("item", _char(255)), _key("station_queue", "station", "item")
    )
    op.create_table("lineage_outbox", _number("entry"), _required("derivation", _JSON), _key("lineage_outbox", "entry"))


def _refuse(operation: str, table: str) -> None:
    """Attach the trigger that refuses one operation on one table."""
    name = f"{table}_no_{operation.lower()}"
    message = f"{table} keeps its history: {operation.lower()} is refused"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER {name} BEFORE {operation} ON {table} BEGIN SELECT RAISE(ABORT, '{message}'); END")
    else:
        op.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{message}'; END $$")
        op.execute(f"CREATE TRIGGER {name} BEFORE {operation} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {name}()")


def _defaults() -> None:
    at = datetime.now(UTC).isoformat(timespec="microseconds")
    grants = [
        {"securable": securable, "principal": f"role:{role}", "privilege": privilege, "granted_by": _BY, "granted_at": at}
        for role, privileges in _GRANTS.items()
        for privilege, securables in ({"BROWSE": ("lab",)} | privileges).items()
        for securable in securables
    ]
    _insert("roles", [{"name": name, "description": text} for name, text in _ROLES.items()])
    _insert("clearances", [{"role": role, "tag": tag} for role, tags in _CLEARANCES.items() for tag in tags])
    _insert("grants", grants)
    _insert("mask_policies", [{"tag": tag, "method": method, "set_by": _BY, "set_at": at} for tag, method in _MASKS.items()])
    _insert("policy_state", [{"one": 1, "version": 1}])


def _insert(table: str, rows: list[dict[str, Any]]) -> None:
    op.bulk_insert(sa.table(table, *(sa.column(name) for name in rows[0])), rows)


def downgrade() -> None:
    raise RuntimeError("the first revision holds the audit trail and is not taken back; restore a backup instead")
