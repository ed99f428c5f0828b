"""What a station must look at again; numbers that SQLite never gives twice.

SQLite gives the number of a deleted row again unless its table says AUTOINCREMENT, which only a new table can. So each table
with such numbers is copied into one that says it, with its indexes and triggers. PostgreSQL's sequences never went back.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NUMBERED = {
    "ingest_batches": "batch",
    "arrivals": "arrival_id",
    "lineage_outbox": "entry",
    "quarantine_events": "event_id",
    "schema_proposals": "proposal_id",
    "grants": "grant_id",
    "approvals": "approval_id",
    "serving_history": "seq",
}

_OUTBOX_FROM = 1_000_000_000
"""The outbox was emptied again and again, so how far it had counted is not known: it goes on where it can never have been."""


def upgrade() -> None:
    op.create_table(
        "station_attention",
        sa.Column("station", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at_utc", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("station", "kind", "key", name=op.f("pk_station_attention")),
    )
    if op.get_bind().dialect.name == "sqlite":
        for table, number in _NUMBERED.items():
            _number_once(table, number)
        onwards = sa.text("UPDATE sqlite_sequence SET seq = max(seq, :start) WHERE name = 'lineage_outbox'")
        op.execute(onwards.bindparams(start=_OUTBOX_FROM))


def _number_once(table: str, number: str) -> None:
    """Copy a table into one whose numbers only grow; foreign keys are off meanwhile (``migrate`` sees to it and checks them)."""
    bind = op.get_bind()
    definition = str(bind.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).scalar_one())
    if "AUTOINCREMENT" in definition:
        return
    around = bind.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND tbl_name = ?", (table,))
    statements = [row[0] for row in around if row[0]]
    fresh = definition
    for old, new in (
        (f"CREATE TABLE {table} (", f"CREATE TABLE {table}_numbered ("),
        (f"{number} INTEGER NOT NULL", f"{number} INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT"),
        (f"CONSTRAINT pk_{table} PRIMARY KEY ({number})", ""),
    ):
        if fresh.count(old) != 1:
            raise RuntimeError(f"table {table} is not as revision 0002 made it ({old!r} is not in its definition); restore a backup")
        fresh = fresh.replace(old, new)
    bind.exec_driver_sql(_without_empty_item(fresh))
    bind.exec_driver_sql(f"INSERT INTO {table}_numbered SELECT * FROM {table}")  # noqa: S608 - names are those above
    bind.exec_driver_sql(f"DROP TABLE {table}")
    bind.exec_driver_sql(f"ALTER TABLE {table}_numbered RENAME TO {table}")
    for statement in statements:
        bind.exec_driver_sql(statement)


def _without_empty_item(definition: str) -> str:
    """Return a table's definition without the empty line between two commas that a taken away constraint leaves."""
    head, _, body = definition.partition("(\n")
    items = [line.strip().rstrip(",").rstrip() for line in body.rstrip().removesuffix(")").splitlines()]
    return f"{head}(\n\t" + ", \n\t".join(item for item in items if item) + "\n)"


def downgrade() -> None:
    op.drop_table("station_attention")
