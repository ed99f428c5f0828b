"""Telling people that a process keeps ending.

Belongs here: the entry in the audit trail, which the pages, ``lab audit`` and exports show. Does not belong here: the problem line of
``lab status``, which stands as long as the state does.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from lab_assets.settings import Settings

if TYPE_CHECKING:
    from lab_assets.ops.supervision.plan import Record

FAILING: Final = "process.failing"
RECOVERED: Final = "process.recovered"
_ACTOR: Final = "system"


def tell(settings: Settings, record: Record, action: str) -> bool:
    """Record that a process keeps ending, or that it works again; return whether that could be kept.

    The database may be what fails: then the problem line of ``lab status`` and the supervisor's log stand alone.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from lab_assets.fault_kinds import EnvironmentFaultError
    from lab_assets.home_identity import LostError
    from lab_assets.state.audit_chain import AuditError, AuditLog
    from lab_assets.state.database import HEAD, current_revision, open_engine

    if settings.db_url is None and not (settings.home / "lab.db").exists():  # nothing may be made in its place
        return False
    content = {"restarts": record.restarts, "last_end": record.last_end}
    try:
        engine = open_engine(settings)
        try:
            if current_revision(engine) != HEAD:
                return False
            AuditLog(engine).append(actor=_ACTOR, action=action, target=f"process:{record.name}", new=content, origin="supervisor")
        finally:
            engine.dispose()
    except (AuditError, SQLAlchemyError, OSError, LostError, EnvironmentFaultError) as error:
        sys.stderr.write(f"{action} of {record.name} could not be kept in the audit trail: {error}\n")
        return False
    return True
