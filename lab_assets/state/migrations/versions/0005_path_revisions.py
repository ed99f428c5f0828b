"""An arrival says which revision of its path it is, where an earlier one stands for it, and what it replaces under another path."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("arrivals", sa.Column("path_revision", sa.BigInteger()))
    op.add_column("arrivals", sa.Column("revises_path", sa.Text()))


def downgrade() -> None:
    op.drop_column("arrivals", "revises_path")
    op.drop_column("arrivals", "path_revision")
