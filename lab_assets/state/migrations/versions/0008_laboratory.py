"""The database says whose it is; on PostgreSQL history is not emptied and the audit takes only its next number, as on SQLite."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0005"
branch_labels = None
depends_on = None

_HISTORY = ("audit", "serving_history", "users", "approvals")


def upgrade() -> None:
    op.create_table(
        "laboratory",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_laboratory"),
    )
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in _HISTORY:
        name = f"{table}_no_truncate"
        message = f"{table} keeps its history: truncate is refused"
        op.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{message}'; END $$")
        op.execute(f"CREATE TRIGGER {name} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {name}()")
    op.execute(
        "CREATE FUNCTION audit_next_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq), 0) + 1 FROM audit) THEN "
        "RAISE EXCEPTION 'audit takes only the next number'; END IF; RETURN NEW; END $$"
    )
    op.execute("CREATE TRIGGER audit_next_only BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION audit_next_only()")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER audit_next_only ON audit")
        op.execute("DROP FUNCTION audit_next_only()")
        for table in _HISTORY:
            op.execute(f"DROP TRIGGER {table}_no_truncate ON {table}")
            op.execute(f"DROP FUNCTION {table}_no_truncate()")
    op.drop_table("laboratory")
