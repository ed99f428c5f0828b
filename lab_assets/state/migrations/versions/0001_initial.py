"""Every table, the default roles, clearances, grants and masks.

Later revisions create only what this one did not: ``create_all`` here follows the definitions of its day, so a later
``create_table`` names ``if_not_exists=True``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from types import ModuleType

from alembic import op
from sqlalchemy import Table

from lab_assets.state import governance_tables as tables
from lab_assets.state import ledger_tables
from lab_assets.state.metadata import METADATA

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


def _tables_of(module: ModuleType) -> list[Table]:
    return [value for name, value in vars(module).items() if isinstance(value, Table) and not name.startswith("_")]


def upgrade() -> None:
    bind = op.get_bind()
    METADATA.create_all(bind, tables=[*_tables_of(tables), *_tables_of(ledger_tables)])
    at = datetime.now(UTC).isoformat(timespec="microseconds")
    grants = [
        {"securable": securable, "principal": f"role:{role}", "privilege": privilege, "granted_by": _BY, "granted_at": at}
        for role, privileges in _GRANTS.items()
        for privilege, securables in ({"BROWSE": ("lab",)} | privileges).items()
        for securable in securables
    ]
    op.bulk_insert(tables.ROLES, [{"name": name, "description": text} for name, text in _ROLES.items()])
    op.bulk_insert(tables.CLEARANCES, [{"role": role, "tag": tag} for role, tags in _CLEARANCES.items() for tag in tags])
    op.bulk_insert(tables.GRANTS, grants)
    op.bulk_insert(tables.MASK_POLICIES, [{"tag": t, "method": m, "set_by": _BY, "set_at": at} for t, m in _MASKS.items()])
    op.bulk_insert(tables.POLICY_STATE, [{"one": 1, "version": 1}])


def downgrade() -> None:
    raise RuntimeError("the first revision holds the audit trail and is not taken back; restore a backup instead")
