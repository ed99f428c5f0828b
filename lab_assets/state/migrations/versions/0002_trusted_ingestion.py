"""Steps of quarantine, proposals for renamed columns, digests of data files; members of archives."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String, inspect

from lab_assets.state import ledger_tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = (ledger_tables.QUARANTINE_EVENTS, ledger_tables.SCHEMA_PROPOSALS, ledger_tables.DATA_FILES)


def upgrade() -> None:
    bind = op.get_bind()
    if "member_of" not in {column["name"] for column in inspect(bind).get_columns("arrivals")}:
        op.add_column("arrivals", Column("member_of", String(64)))
    for table in _TABLES:
        table.create(bind, checkfirst=True)


def downgrade() -> None:
    for table in reversed(_TABLES):
        table.drop(op.get_bind(), checkfirst=True)
    with op.batch_alter_table("arrivals") as arrivals:
        arrivals.drop_column("member_of")
