"""The audit trail: an append-only chain of who did what to which object, when and why.

Belongs here: writing an entry, reading the chain. Does not belong here: what is worth an entry (the callers), what is wrong with a
chain (``audit_faults.py``), the anchor file (``audit_anchor.py``), log files for operators.

Each entry holds the SHA-256 of its own canonical JSON, which includes the hash of the entry before. An entry and the action it
tells are committed together: where the entry cannot be written, the action does not happen, and no setting turns that off.
Before and after the commit the new head is written to an anchor file outside the database (``run/audit_anchor.jsonl``; copy it to
another machine or print it): a cut tail or an old copy put back contradicts the anchor.

The order of the entries is that of their numbers, whatever the clock does. An entry that would be older than the one before it
is preceded by the alarm ``clock.stepped_back``, so a clock that is set back cannot pass unseen (see ``clock_guard.py``).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import SQLAlchemyError

from lab_assets.state.audit_anchor import AnchorFile
from lab_assets.state.audit_entry import GENESIS, LIMITS, AuditEntry, canonical_json, clean
from lab_assets.state.audit_faults import VerifyResult, examine
from lab_assets.state.clock import as_text, is_set_back, utc_now
from lab_assets.state.database import ANCHOR_OPTION, after_commit, writing
from lab_assets.state.governance_tables import AUDIT

CLOCK: Final = "clock"
"""Object of the entries about the server's clock."""
STEPPED_BACK: Final = "clock.stepped_back"

_POSTGRES_LOCK: Final = 7_260_115
_LOG: Final = logging.getLogger(__name__)


class ReasonError(ValueError):
    """A reason is required, and none was given."""


def stated_reason(reason: str) -> str:
    """Return a reason that is required, without blanks around it.

    Raises:
        ReasonError: it is empty.
    """
    if not reason.strip():
        raise ReasonError("say why: a reason is required")
    return reason.strip()


class AuditError(RuntimeError):
    """An entry could not be written; the action was not done."""


class AuditLog:
    """The audit trail of one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        anchor = engine.get_execution_options().get(ANCHOR_OPTION)
        self.anchor = Path(anchor) if anchor else None
        self._anchors = AnchorFile(self.anchor) if self.anchor else None

    def append(
        self,
        connection: Connection | None = None,
        *,
        actor: str,
        action: str,
        target: str,
        old: Any = None,
        new: Any = None,
        reason: str = "",
        origin: str = "",
        request_id: str = "",
    ) -> AuditEntry:
        """Add one entry, in the caller's ``writing`` transaction or in one of its own.

        Args:
            connection: The caller's transaction; the entry is committed or rolled back with it.
            actor: Who.
            action: What, as ``noun.verb``.
            target: Id of the object.
            old: Value before; anything JSON can hold.
            new: Value after.
            reason: Why.
            origin: Where from.
            request_id: Id of the request.

        Raises:
            AuditError: the entry cannot be written.
        """
        fields = {"actor": actor, "action": action, "object": target, "reason": reason, "origin": origin, "request_id": request_id}
        content: dict[str, Any] = {name: clean(value, LIMITS[name]) for name, value in fields.items()}
        content["old"] = None if old is None else clean(canonical_json(old), LIMITS["old"])
        content["new"] = None if new is None else clean(canonical_json(new), LIMITS["new"])
        if connection is not None:
            return self._append(connection, content)
        try:
            with writing(self._engine) as own:
                return self._append(own, content)
        except SQLAlchemyError as error:  # the commit itself, as on a full disk
            raise AuditError(f"the audit entry for {content['action']} cannot be kept; nothing was done") from error

    def _append(self, connection: Connection, content: dict[str, Any]) -> AuditEntry:
        self._try_anchor()
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
        newest = select(AUDIT.c.seq, AUDIT.c.hash, AUDIT.c.at_utc).order_by(AUDIT.c.seq.desc()).limit(1)
        head = connection.execute(newest).first()
        seq, prev_hash, now = (head.seq + 1, head.hash, utc_now()) if head else (1, GENESIS, utc_now())
        if head and is_set_back(head.at_utc, now=now):
            alarm = self._insert(connection, seq, prev_hash, now, _stepped_back(head.seq, head.at_utc, now))
            seq, prev_hash = alarm.seq + 1, alarm.hash
        return self._insert(connection, seq, prev_hash, now, content)

    def _insert(self, connection: Connection, seq: int, prev_hash: str, now: datetime, content: dict[str, Any]) -> AuditEntry:
        bare = AuditEntry(seq=seq, at_utc=as_text(now), prev_hash=prev_hash, hash="", **content)
        entry = AuditEntry(**{**asdict(bare), "hash": bare.computed_hash()})
        try:
            connection.execute(AUDIT.insert().values(**asdict(entry)))
        except SQLAlchemyError as error:
            raise AuditError(f"audit entry {seq} cannot be written; nothing was done") from error
        if self._anchors is not None:
            self._intend(self._anchors, entry)
            after_commit(connection, lambda: self._vouch(entry))
        return entry

    def _try_anchor(self) -> None:
        """Refuse to go on where the anchor cannot be written."""
        try:
            if self._anchors is not None:
                self._anchors.mend()
        except OSError as error:
            raise AuditError(f"the audit anchor {self.anchor} cannot be written ({error}); nothing was done") from error

    def _intend(self, anchors: AnchorFile, entry: AuditEntry) -> None:
        """Write down before the commit which entry it will bring: one that is cut off between commit and anchor is known by it."""
        try:
            anchors.write(entry, intent=True)
        except OSError as error:
            raise AuditError(f"the audit anchor {self.anchor} cannot be written ({error}); nothing was done") from error

    def _vouch(self, entry: AuditEntry) -> None:
        try:
            if self._anchors is not None:
                self._anchors.write(entry)
        except OSError:
            _LOG.exception("audit entry %d is committed but not anchored; what was intended before its commit stands for it", entry.seq)

    def entries(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> list[AuditEntry]:
        """Return entries, oldest first; with a limit, the newest that many.

        Args:
            actor: Only this actor's.
            action: Only this action, or those that begin with it and a dot.
            target: Only this object's.
            after: Only entries with a higher number.
            limit: Most entries.
        """
        query = select(AUDIT).order_by(AUDIT.c.seq.desc()).limit(limit)
        if actor is not None:
            query = query.where(AUDIT.c.actor == actor)
        if action is not None:
            query = query.where((AUDIT.c.action == action) | AUDIT.c.action.startswith(f"{action}.", autoescape=True))
        if target is not None:
            query = query.where(AUDIT.c.object == target)
        if after is not None:
            query = query.where(AUDIT.c.seq > after)
        with self._engine.connect() as connection:
            return [AuditEntry(**row) for row in connection.execute(query).mappings()][::-1]

    def head(self) -> tuple[int, str]:
        """Return number and hash of the last entry; ``(0, GENESIS)`` for an empty trail."""
        with self._engine.connect() as connection:
            row = connection.execute(select(AUDIT.c.seq, AUDIT.c.hash).order_by(AUDIT.c.seq.desc()).limit(1)).first()
        return (row.seq, row.hash) if row else (0, GENESIS)

    def verify(self) -> VerifyResult:
        """Check every entry, the chain and the anchors; everything that is wrong is named, the first wrong number first."""
        with self._engine.connect().execution_options(yield_per=1000) as connection:
            rows = connection.execute(select(AUDIT).order_by(AUDIT.c.seq)).mappings()
            # several machines on one database have an anchor each: none of them holds every entry
            alone = connection.dialect.name == "sqlite"
            return examine((AuditEntry(**row) for row in rows), self._anchors, holds_all=alone)


def _stepped_back(seq: int, at_utc: str, now: datetime) -> dict[str, Any]:
    """Return the content of the alarm that the clock is behind an entry already written."""
    old, new = canonical_json({"at_utc": at_utc, "seq": seq}), canonical_json({"at_utc": as_text(now)})
    alarm = {"actor": "system:clock", "action": STEPPED_BACK, "object": CLOCK, "old": old, "new": new}
    return {**alarm, "reason": "", "origin": "", "request_id": ""}


def write_export(log: AuditLog, file: Path) -> tuple[int, str]:
    """Write the whole trail to a new file, one canonical JSON entry a line.

    Returns:
        How many entries, and the SHA-256 of the file.

    Raises:
        OSError: the file exists or cannot be written.
    """
    lines = [(canonical_json(asdict(entry)) + "\n").encode() for entry in log.entries()]
    with file.open("xb") as out:
        out.writelines(lines)
    return len(lines), hashlib.sha256(b"".join(lines)).hexdigest()


@contextmanager
def audited(
    engine: Engine,
    *,
    actor: str,
    action: str,
    target: str,
    reason: str = "",
    old: Any = None,
    new: Any = None,
    origin: str = "",
    request_id: str = "",
) -> Iterator[Connection]:
    """Run an action and its audit entry as one transaction: both are committed, or neither.

    The entry is written first, so an action that changes anything outside the database does it knowing that the entry can be.

    Raises:
        AuditError: the entry cannot be written; the body does not run.
    """
    with writing(engine) as connection:
        AuditLog(engine).append(
            connection, actor=actor, action=action, target=target, old=old, new=new, reason=reason, origin=origin, request_id=request_id
        )
        yield connection
