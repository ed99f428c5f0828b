"""Taking a mishap of the audit trail as it is: one person proposes it with a reason, another one confirms it.

Belongs here: who may, and the two entries. Does not belong here: what is wrong with a trail, and that what was accepted stays listed
(``lab_assets.state.audit_faults``).

Who manages the laboratory proposes, who approves in it confirms: the administrator, who could have caused the mishap, cannot let it pass
alone. Both entries bind exactly what is wrong; whatever else goes wrong later is another fault.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from lab_assets.governance.clock_guard import ClockBehindError, step_back
from lab_assets.governance.policy import PolicyStore
from lab_assets.state.audit_chain import AuditEntry, AuditLog, stated_reason
from lab_assets.state.audit_faults import ACCEPT, PROPOSE, Fault
from lab_assets.state.clock import utc_now

TRAIL = "audit"
"""Object of the entries about the trail itself."""


class AcceptanceError(ValueError):
    """Nothing can be proposed or confirmed as asked."""


class AcceptanceRefusedError(PermissionError):
    """The person may not; the refusal is in the audit trail."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A proposal to take faults of the trail as they are.

    Attributes:
        seq: Its entry.
        by: Who proposes.
        reason: Why.
        faults: Identities of the faults.
    """

    seq: int
    by: str
    reason: str
    faults: tuple[str, ...]


def open_faults(engine: Engine) -> tuple[Fault, ...]:
    """Return what is wrong with the trail and was not accepted."""
    return AuditLog(engine).verify().faults


def open_proposals(engine: Engine) -> list[Proposal]:
    """Return the proposals that name something that is still to be accepted, the newest first."""
    waiting = {fault.fault_id for fault in open_faults(engine)}
    entries = reversed(AuditLog(engine).entries(action=PROPOSE))
    return [each for each in map(_proposal, entries) if waiting & set(each.faults)]


def propose(engine: Engine, *, by: str, reason: str, origin: str = "") -> Proposal:
    """Propose to take everything that is wrong with the trail as it is; needs ``MANAGE`` on the laboratory.

    Raises:
        ReasonError: no reason is given.
        AcceptanceRefusedError: the policy says no.
        AcceptanceError: the trail is whole, or an entry of it was changed or is missing.
    """
    why = stated_reason(reason)
    _require(engine, by, "MANAGE")
    faults = open_faults(engine)
    if not faults:
        raise AcceptanceError("the audit trail is whole: there is nothing to accept")
    if worst := [fault.words for fault in faults if not fault.fault_id]:
        raise AcceptanceError(f"{worst[0]}; that is no mishap that can be accepted: put the database back from a backup with 'lab restore'")
    what = {"faults": [fault.fault_id for fault in faults], "words": [fault.words for fault in faults]}
    entry = AuditLog(engine).append(actor=by, action=PROPOSE, target=TRAIL, new=what, reason=why, origin=origin)
    return _proposal(entry)


def confirm(engine: Engine, proposal: int, *, by: str, reason: str, origin: str = "") -> AuditEntry:
    """Confirm a proposal; needs ``APPROVE`` on the laboratory, and is not done by who proposed.

    Args:
        engine: The database.
        proposal: Entry of the proposal.
        by: Who confirms.
        reason: Why.
        origin: Where from.

    Raises:
        ReasonError: no reason is given.
        AcceptanceRefusedError: the policy says no, or it is the person who proposed.
        ClockBehindError: the clock was set back: nothing is signed until it has caught up or was accepted.
        AcceptanceError: there is no such proposal, or what it names is accepted already.
    """
    why = stated_reason(reason)
    found = next((each for each in open_proposals(engine) if each.seq == proposal), None)
    if found is None:
        raise AcceptanceError(f"no open proposal {proposal}; 'lab audit examine' lists what is wrong and who proposed what")
    _require(engine, by, "APPROVE", proposed_by=found.by)
    if behind := step_back(engine, now=utc_now()):
        raise ClockBehindError(f"nothing was signed: {behind.message}")
    what = {"faults": list(found.faults), "proposal": found.seq, "proposed_by": found.by}
    return AuditLog(engine).append(actor=by, action=ACCEPT, target=TRAIL, new=what, reason=why, origin=origin)


def _require(engine: Engine, user: str, privilege: str, *, proposed_by: str = "") -> None:
    """Refuse, and record the refusal, unless the policy allows the step."""
    decision = PolicyStore(engine).current().decide(user, privilege, "lab", authors=(proposed_by,) if proposed_by else ())
    reasons: Sequence[str] = decision.reasons
    if decision.allowed and user != proposed_by:
        return
    AuditLog(engine).append(actor=user, action="audit.refused", target=TRAIL, new={"privilege": privilege, "rules": list(reasons)})
    why = "who proposed does not confirm" if user == proposed_by else ", ".join(reasons)
    raise AcceptanceRefusedError(f"{user} may not {'confirm' if proposed_by else 'propose'} what is accepted of the audit trail ({why})")


def _proposal(entry: AuditEntry) -> Proposal:
    said = json.loads(entry.new or "{}")
    return Proposal(seq=entry.seq, by=entry.actor, reason=entry.reason, faults=tuple(said.get("faults", ())))
