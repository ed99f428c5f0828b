"""Copies of audit trail, access and scrubs as tables.

Belongs here: moving rows from the relational state into Delta. Does not belong here: the rules (``lab_assets.governance``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lab_assets.contracts.governance import ACCESS, AUDIT, INTEGRITY
from lab_assets.contracts.registry import contracts
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.provenance import code_version

if TYPE_CHECKING:
    from lab_assets.ingest.scrub import ScrubReport


def update_audit(lake: Lakehouse, *, run_id: str = "") -> int:
    """Append the audit entries that the table does not have yet.

    Returns:
        Version of ``governance.audit`` afterwards.
    """
    from dataclasses import asdict

    from lab_assets.state.audit import AuditLog

    last = int(lake.open(AUDIT).transaction_version("audit_trail") or 0)
    new = AuditLog(lake.ledger.engine).entries(after=last)
    if not new:
        return lake.version(AUDIT)
    rows = [{**asdict(entry), "at_utc": datetime.fromisoformat(entry.at_utc)} for entry in new]
    return lake.append_once(
        AUDIT, lake.local_rows(AUDIT, rows), app="audit_trail", version=new[-1].seq, derivation=_from("audit_trail", new[-1].seq, run_id)
    )


def update_access(lake: Lakehouse, *, run_id: str = "") -> int:
    """Add an access review when people, grants or tags changed since the last one, or when that one was of another form.

    Returns:
        Version of ``governance.access`` afterwards.
    """
    from lab_assets.governance.grants import access_rows
    from lab_assets.governance.policy import PolicyEngine

    with lake.ledger.engine.connect() as connection:
        policy = PolicyEngine.load(connection, contracts())
    station = ACCESS.full_name
    reviewed = {"policy": int(policy.version), "form": ACCESS.version}
    if lake.ledger.progress(station) == reviewed:
        return lake.version(ACCESS)
    rows = lake.local_rows(ACCESS, access_rows(policy, datetime.now(UTC)))
    written = lake.append(ACCESS, rows, derivation=_from("policy", policy.version, run_id))
    lake.ledger.set_progress(station, reviewed)
    return written


def update_integrity(lake: Lakehouse, *, run_id: str = "", say: Callable[[str], None] = lambda _line: None) -> ScrubReport:
    """Scrub, and append what was found.

    Returns:
        What the scrub found.
    """
    from dataclasses import asdict

    from lab_assets.ingest.scrub import scrub

    at = datetime.now(UTC)
    report = scrub(lake.settings, lake.ledger, say=say)
    if report.findings:
        rows = [{**asdict(finding), "scrubbed_at_utc": at} for finding in report.findings]
        lake.append(INTEGRITY, lake.local_rows(INTEGRITY, rows), derivation=_from("scrub", at.isoformat(), run_id))
    return report


def _from(what: str, version: int | str, run_id: str) -> Derivation:
    return Derivation(inputs={f"state:{what}": version}, run_id=run_id, code_version=code_version())


@dataclass(frozen=True, kw_only=True)
class SeenScrub:
    """The newest scrub, as the audit trail reports it.

    Attributes:
        files: Files hashed.
        findings: Files missing or changed.
        at: When, empty before the first one.
    """

    files: int = 0
    findings: int = 0
    at: str = ""


def newest_scrub(lake: Lakehouse) -> SeenScrub:
    """Return what the newest scrub found."""
    import json

    from lab_assets.state.audit import AuditLog

    entries = AuditLog(lake.ledger.engine).entries(action="integrity", limit=1)
    if not entries:
        return SeenScrub()
    found = json.loads(entries[-1].new or "{}")
    return SeenScrub(files=found["files"], findings=len(found["findings"]), at=entries[-1].at_utc)
