"""The audit trail: an append-only chain of who did what to which object, when and why.

Belongs here: writing an entry, verifying the chain, reading it. Does not belong here: what is worth an entry (the callers),
log files for operators.

Each entry holds the SHA-256 of its own canonical JSON, which includes the hash of the entry before. An entry and the action it
tells are committed together: where the entry cannot be written, the action does not happen, and no setting turns that off.
After the commit the new head is written to an anchor file outside the database (``run/audit_anchor.jsonl``; copy it to another
machine or print it): a cut tail or an old copy put back contradicts the anchor.

The order of the entries is that of their numbers, whatever the clock does. An entry that would be older than the one before it
is preceded by the alarm ``clock.stepped_back``, so a clock that is set back cannot pass unseen (see ``clock_guard.py``).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from lab_assets.state.clock import as_text, is_set_back, utc_now
from lab_assets.state.database import ANCHOR_OPTION, after_commit, writing
from lab_assets.state.governance_tables import AUDIT

GENESIS: Final = "0" * 64
"""What the first entry names as the hash before it."""

LIMITS: Final = {"actor": 128, "action": 64, "object": 512, "reason": 2000, "origin": 256, "request_id": 64, "old": 65_536, "new": 65_536}
"""Longest text of each field, in characters; a longer one is cut and carries the digest of the whole."""

CLOCK: Final = "clock"
"""Object of the entries about the server's clock."""
STEPPED_BACK: Final = "clock.stepped_back"

_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
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


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One entry of the chain.

    Attributes:
        seq: Number in the chain, from 1 without a gap.
        at_utc: Server time as ISO 8601 text in UTC.
        actor: Who: user name, ``service:<name>`` or ``shell:<login>``.
        action: What was done, as ``noun.verb``.
        object: Id of the object it was done to.
        old: Value before, as canonical JSON.
        new: Value after, as canonical JSON.
        reason: Why, in the actor's words.
        origin: Where from, such as ``cli`` or an address.
        request_id: Id of the request, empty outside the service.
        prev_hash: Hash of the entry before.
        hash: SHA-256 of this entry's canonical JSON without ``hash``.
    """

    seq: int
    at_utc: str
    actor: str
    action: str
    object: str
    old: str | None
    new: str | None
    reason: str
    origin: str
    request_id: str
    prev_hash: str
    hash: str

    def computed_hash(self) -> str:
        """Return the hash the entry should carry."""
        content = asdict(self)
        del content["hash"]
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """What a check of the chain found.

    Attributes:
        ok: Whether the chain is whole and agrees with its anchors.
        entries: Entries read.
        first_bad_seq: Number of the first entry that is wrong or missing.
        reason: What is wrong with it, for people; empty when ``ok``.
        anchored_seq: Newest entry the anchor file vouches for; 0 without one.
        head_hash: Hash of the last entry.
    """

    ok: bool
    entries: int
    first_bad_seq: int | None = None
    reason: str = ""
    anchored_seq: int = 0
    head_hash: str = GENESIS


def canonical_json(value: Any) -> str:
    """Return JSON text that is the same for the same value: sorted keys, no blanks, ASCII, no NaN.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=str)


def clean(text: str, limit: int) -> str:
    r"""Return text that cannot forge lines or colours: control and direction characters as ``\uXXXX``, bounded length."""
    safe = _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text[: limit + 1])
    if len(text) <= limit and len(safe) <= limit:
        return safe
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    note = f"...[{len(text)} characters, sha256 {digest[:16]}]"
    return safe[: max(0, limit - len(note))] + note if limit > len(note) else safe[:limit]


class AuditLog:
    """The audit trail of one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        anchor = engine.get_execution_options().get(ANCHOR_OPTION)
        self.anchor = Path(anchor) if anchor else None

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
        self._open_anchor()
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
        after_commit(connection, lambda: self._write_anchor(entry))
        return entry

    def _open_anchor(self) -> None:
        """Refuse to go on where the anchor cannot be written."""
        if self.anchor is None:
            return
        try:
            self.anchor.parent.mkdir(parents=True, exist_ok=True)
            with self.anchor.open("ab+") as file:
                _drop_torn_line(file)
        except OSError as error:
            raise AuditError(f"the audit anchor {self.anchor} cannot be written ({error}); nothing was done") from error

    def _write_anchor(self, entry: AuditEntry) -> None:
        if self.anchor is None:
            return
        line = canonical_json({"at_utc": entry.at_utc, "hash": entry.hash, "seq": entry.seq}) + "\n"
        try:
            with self.anchor.open("ab") as file:
                file.write(line.encode())
        except OSError:
            _LOG.exception("audit entry %d is committed but not anchored; the next entry's anchor covers it", entry.seq)

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
        """Check every entry, the chain and the anchors; the first wrong number is named."""
        anchors, broken = self._anchors()
        entries, previous = 0, GENESIS
        with self._engine.connect().execution_options(yield_per=1000) as connection:
            for row in connection.execute(select(AUDIT).order_by(AUDIT.c.seq)).mappings():
                fault = _fault(AuditEntry(**row), entries + 1, previous, anchors)
                if fault:
                    count = connection.execute(select(func.count()).select_from(AUDIT)).scalar_one()
                    return VerifyResult(
                        ok=False, entries=count, first_bad_seq=entries + 1, reason=fault, anchored_seq=max(anchors, default=0)
                    )
                entries, previous = entries + 1, row["hash"]
        anchored, reason, first_bad = max(anchors, default=0), broken, None
        if anchored > entries:
            first_bad = entries + 1
            reason = f"the anchor file vouches for entry {anchored}, the trail ends at {entries}: its tail was cut or an old copy put back"
        elif entries and not anchors and self.anchor is not None:
            reason = reason or f"the anchor file {self.anchor} is missing or empty: a cut tail could not be seen"
        return VerifyResult(
            ok=not reason, entries=entries, first_bad_seq=first_bad, reason=reason, anchored_seq=anchored, head_hash=previous
        )

    def _anchors(self) -> tuple[dict[int, set[str]], str]:
        """Return the anchored hashes by number, and what is wrong with the file."""
        anchors: dict[int, set[str]] = {}
        if self.anchor is None or not self.anchor.exists():
            return anchors, ""
        lines = self.anchor.read_bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):
            try:
                item = json.loads(line)
                anchors.setdefault(int(item["seq"]), set()).add(str(item["hash"]))
            except (ValueError, KeyError, TypeError):
                return anchors, f"line {number} of the anchor file {self.anchor} is not an anchor"
        return anchors, ""


def _stepped_back(seq: int, at_utc: str, now: datetime) -> dict[str, Any]:
    """Return the content of the alarm that the clock is behind an entry already written."""
    old, new = canonical_json({"at_utc": at_utc, "seq": seq}), canonical_json({"at_utc": as_text(now)})
    alarm = {"actor": "system:clock", "action": STEPPED_BACK, "object": CLOCK, "old": old, "new": new}
    return {**alarm, "reason": "", "origin": "", "request_id": ""}


def _drop_torn_line(file: BinaryIO) -> None:
    """Cut a last line that a power cut left without its end."""
    end = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, end - 4096))
    tail = file.read()
    if tail and not tail.endswith(b"\n"):
        file.truncate(start + tail.rfind(b"\n") + 1)


def _fault(entry: AuditEntry, expected: int, previous: str, anchors: dict[int, set[str]]) -> str:
    """Return what is wrong with one entry; empty when it is sound."""
    if entry.seq != expected:
        return f"entry {expected} is missing (found {entry.seq} in its place)"
    if entry.computed_hash() != entry.hash:
        return f"entry {expected} was changed: its content does not match its hash"
    if entry.prev_hash != previous:
        return f"entry {expected} does not follow the one before it"
    if anchors.get(expected, {entry.hash}) != {entry.hash}:
        return f"entry {expected} is not the one the anchor file vouches for: the trail was rewritten from here or earlier"
    return ""


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
