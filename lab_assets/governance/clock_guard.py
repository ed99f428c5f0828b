"""A clock that was set back: seeing it from the audit trail, and a person taking it as it is.

Belongs here: how far the clock is behind what is recorded already. Does not belong here: the alarm in the trail (``audit_chain.py``
writes it with the first entry after the step), what is refused meanwhile (``approvals.py``).

Time recorded in the trail only grows, save where an alarm stands; so the latest time is that of the newest entry or one that an
alarm names. It counts until the clock has passed it, or until someone who manages the laboratory accepts the clock with a reason.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine, select

from lab_assets.governance.grants import require_manage
from lab_assets.state.audit_chain import CLOCK, STEPPED_BACK, AuditEntry, AuditLog
from lab_assets.state.clock import from_text, is_set_back, utc_now
from lab_assets.state.governance_tables import AUDIT

ACCEPTED: Final = "clock.accept"


class ClockBehindError(RuntimeError):
    """The clock is behind what is recorded already, so nothing may be signed."""


class ClockAcceptError(ValueError):
    """The clock cannot be accepted as asked."""


@dataclass(frozen=True, kw_only=True)
class StepBack:
    """A clock that is behind the audit trail.

    Attributes:
        behind: By how much.
        seq: Entry that holds the later time.
        at_utc: That time, ISO 8601 text in UTC.
    """

    behind: timedelta
    seq: int
    at_utc: str

    @property
    def message(self) -> str:
        """The alarm in words, with the way out."""
        return (
            f"the clock is {self.behind.total_seconds():.0f} s behind audit entry {self.seq} ({self.at_utc}); approving, rejecting and "
            "promoting wait until it has caught up or 'lab audit accept-clock' takes it as it is"
        )


def step_back(engine: Engine, *, now: datetime) -> StepBack | None:
    """Return how far a clock is behind the audit trail; ``None`` when it is not.

    Args:
        engine: The database.
        now: What the clock says.
    """
    newest = select(AUDIT.c.seq, AUDIT.c.at_utc).order_by(AUDIT.c.seq.desc()).limit(1)
    of_clock = select(AUDIT.c.action, AUDIT.c.old).where((AUDIT.c.object == CLOCK) & AUDIT.c.action.in_((STEPPED_BACK, ACCEPTED)))
    with engine.connect() as connection:
        head = connection.execute(newest).first()
        steps = connection.execute(of_clock.order_by(AUDIT.c.seq)).all()
    if head is None:
        return None
    latest = (head.at_utc, head.seq)
    for row in reversed(steps):
        if row.action == ACCEPTED:
            break
        old = json.loads(row.old)
        latest = max(latest, (old["at_utc"], old["seq"]))
    at_utc, seq = latest
    return StepBack(behind=from_text(at_utc) - now, seq=seq, at_utc=at_utc) if is_set_back(at_utc, now=now) else None


def accept_clock(engine: Engine, *, by: str, reason: str, origin: str = "") -> AuditEntry:
    """Take the clock as it is, so that signing goes on; needs ``MANAGE`` on the laboratory.

    Who manages does not sign: what an administrator accepts lets others go on, not themselves.

    Raises:
        ManageRefusedError: the policy says no; the refusal is in the audit trail.
        ClockAcceptError: the clock is not behind, or no reason is given.
    """
    require_manage(engine, by)
    if not reason.strip():
        raise ClockAcceptError("say why: a reason is required")
    found = step_back(engine, now=utc_now())
    if found is None:
        raise ClockAcceptError("the clock is not behind the audit trail")
    old = {"at_utc": found.at_utc, "seq": found.seq}
    return AuditLog(engine).append(actor=by, action=ACCEPTED, target=CLOCK, old=old, reason=reason.strip(), origin=origin)
