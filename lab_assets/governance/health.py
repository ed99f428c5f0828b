"""Whether actions can be recorded and signed now.

Belongs here: looking, for ``lab status``, ``lab doctor`` and the service's health. Does not belong here: refusing (an audit entry
that cannot be written stops its action wherever that is, see ``audit_chain.py``), mending.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from lab_assets.disk import existing, write_fault
from lab_assets.governance.clock_guard import step_back
from lab_assets.settings import Settings
from lab_assets.state.clock import utc_now


@dataclass(frozen=True, kw_only=True)
class RecordHealth:
    """What keeps actions from being recorded or signed; no paths and no data, since probes without an account see it.

    Attributes:
        unwritable: Why no entry can be written; empty when one can be.
        clock: Why nothing may be signed; empty when it may be.
    """

    unwritable: str = ""
    clock: str = ""

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, for people."""
        return [each for each in (self.unwritable, self.clock) if each]


def record_health(settings: Settings, engine: Engine) -> RecordHealth:
    """Try to write where audit entries and their anchors are kept, and hold the clock against the trail."""
    anchored = existing(settings.run)
    database = engine.url.database if engine.url.get_backend_name() == "sqlite" else None
    folders = dict.fromkeys((anchored, Path(database).parent) if database else (anchored,))
    faults = [fault.strerror or str(fault) for fault in map(write_fault, folders) if fault is not None]
    unwritable = f"no audit entry can be written ({faults[0]}): what needs one is refused" if faults else ""
    try:
        behind = step_back(engine, now=utc_now())
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        return RecordHealth(unwritable=unwritable or f"the audit trail cannot be read ({reason}): what needs an entry is refused")
    return RecordHealth(unwritable=unwritable, clock=behind.message if behind else "")
