"""Mask methods are listed in the program alone: the database takes any name, and an unknown one hides like ``null``."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("mask_policies") as table:
        table.drop_constraint(op.f("ck_mask_policies_method"), type_="check")


def downgrade() -> None:
    with op.batch_alter_table("mask_policies") as table:
        table.create_check_constraint(op.f("ck_mask_policies_method"), "method in ('null', 'redact', 'pseudonym')")
