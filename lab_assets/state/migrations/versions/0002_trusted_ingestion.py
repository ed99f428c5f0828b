"""Steps of quarantine, proposals for renamed columns, digests of data files; members of archives.

Databases that a later release made at revision 0001 hold some of this already: what is there stays.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    if "member_of" not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("arrivals")}:
        op.add_column("arrivals", sa.Column("member_of", sa.String(64)))
    op.create_table(
        "quarantine_events",
        sa.Column("event_id", _ID, nullable=False, autoincrement=True),
        sa.Column("arrival_id", _ID, nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("rule", sa.String(64)),
        sa.Column("reason", sa.Text()),
        sa.Column("place", sa.Text()),
        sa.Column("mend", sa.Text()),
        sa.Column("at_utc", sa.String(32), nullable=False),
        sa.Column("by", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_quarantine_events")),
        sa.ForeignKeyConstraint(["arrival_id"], ["arrivals.arrival_id"], name=op.f("fk_quarantine_events_arrival_id_arrivals")),
        sa.CheckConstraint("event in ('quarantined', 'retried', 'discarded')", name=op.f("ck_quarantine_events_event")),
        if_not_exists=True,
    )
    op.create_index("ix_quarantine_events_arrival", "quarantine_events", ["arrival_id"], if_not_exists=True)
    op.create_table(
        "schema_proposals",
        sa.Column("proposal_id", _ID, nullable=False, autoincrement=True),
        sa.Column("source", sa.String(255), nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("column_name", sa.String(255), nullable=False),
        sa.Column("proposed_column", sa.String(64), nullable=False),
        sa.Column("instrument_name", sa.Text()),
        sa.Column("software", sa.Text()),
        sa.Column("first_file", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.String(32), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("decided_by", sa.String(128)),
        sa.Column("decided_at", sa.String(32)),
        sa.Column("decision_reason", sa.Text()),
        sa.PrimaryKeyConstraint("proposal_id", name=op.f("pk_schema_proposals")),
        sa.UniqueConstraint("source", "table_name", "column_name", "proposed_column", name=op.f("uq_schema_proposals_source")),
        sa.CheckConstraint("state in ('proposed', 'accepted', 'rejected')", name=op.f("ck_schema_proposals_state")),
        if_not_exists=True,
    )
    op.create_table(
        "data_files",
        sa.Column("table_name", sa.String(128), nullable=False),
        sa.Column("path", sa.String(512), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("table_name", "path", name=op.f("pk_data_files")),
        if_not_exists=True,
    )


def downgrade() -> None:
    for table in ("data_files", "schema_proposals", "quarantine_events"):
        op.drop_table(table, if_exists=True)
    with op.batch_alter_table("arrivals") as arrivals:
        arrivals.drop_column("member_of")
