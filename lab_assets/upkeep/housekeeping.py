"""One round of housekeeping beside the tables.

Belongs here: the order, and the entry in the audit trail. Does not belong here: what may go (the other modules of this room).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.ledger import SYSTEM
from lab_assets.upkeep import leftovers
from lab_assets.upkeep.databases import give_back
from lab_assets.upkeep.logs import turn_over_large
from lab_assets.upkeep.removal import Removal, size_of

if TYPE_CHECKING:
    from sqlalchemy import Engine


def housekeep(settings: Settings, engine: Engine, *, now: datetime, dry_run: bool = False) -> list[Removal]:
    """Remove what ended processes left, turn over logs, remove what people deleted in MLflow, give back the space of deleted rows.

    Args:
        settings: Whose home.
        engine: Its database.
        now: The moment.
        dry_run: Only say what would go.
    """
    steps: dict[str, Callable[[], Removal]] = {
        "scratch": lambda: leftovers.spark_scratch(settings, now=now, dry_run=dry_run),
        "staging": lambda: leftovers.staged_batches(settings, engine, now=now, dry_run=dry_run),
        "drafts": lambda: leftovers.drafts(settings, now=now, dry_run=dry_run),
        "quarantine": lambda: leftovers.quarantine_copies(settings, now=now, dry_run=dry_run),
        "logs": lambda: turn_over_large(settings, dry_run=dry_run),
        "mlflow": lambda: _mlflow(settings, now=now, dry_run=dry_run),
        "databases": lambda: give_back(settings, dry_run=dry_run),
    }
    return [_tried(name, step) for name, step in steps.items()]


def _tried(name: str, step: Callable[[], Removal]) -> Removal:
    """Take one step; where the disk or a right stops it, the others go on."""
    try:
        return step()
    except OSError as error:
        return Removal(what=name, items=0, bytes=0, note=f"not done: {error}")


def _mlflow(settings: Settings, *, now: datetime, dry_run: bool) -> Removal:
    from lab_assets.registry.deleted_runs import deleted_runs, remove_deleted

    what = "runs deleted in MLflow"
    found = deleted_runs(settings, now=now)
    if found is None or not (found.run_ids or found.needed):
        return Removal(what=what, items=0, bytes=0)
    if found.needed:
        note = f"nothing was removed: a registered model rests on {', '.join(found.needed)}, deleted in MLflow; restore it there"
        return Removal(what=what, items=0, bytes=0, note=note)
    if dry_run:
        return Removal(what=what, items=len(found.run_ids), bytes=0)
    before = size_of(settings.mlflow_artifacts)
    try:
        remove_deleted(settings, found)
    except (RuntimeError, OSError) as error:
        return Removal(what=what, items=0, bytes=0, note=str(error))
    return Removal(what=what, items=len(found.run_ids), bytes=max(before - size_of(settings.mlflow_artifacts), 0))


def record_removals(engine: Engine, removals: Sequence[Removal], *, actor: str = SYSTEM, origin: str = "maintenance") -> None:
    """Put what was removed into the audit trail; a round that removed nothing has no entry."""
    done = [asdict(each) for each in removals if each.items]
    if done:
        AuditLog(engine).append(
            actor=actor,
            action="maintenance.removed",
            target="lab",
            new={"removed": done},
            reason="maintenance by the settings",
            origin=origin,
        )
