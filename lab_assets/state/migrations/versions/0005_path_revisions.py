"""An arrival says which revision of its path it is, and where it stands that replaces what counts under another path.

Rows of before have no revision; their batch stands for it, and so it does for the arrivals they came by, which may be read again.
"""

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
    op.add_column("arrivals", sa.Column("revises_revision", sa.BigInteger()))
    op.execute("UPDATE arrivals SET path_revision = batch WHERE batch IS NOT NULL")


def downgrade() -> None:
    op.drop_column("arrivals", "revises_revision")
    op.drop_column("arrivals", "revises_path")
    op.drop_column("arrivals", "path_revision")
