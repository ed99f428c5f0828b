"""One entry of the audit trail: its fields, its canonical form, its hash.

Belongs here: what makes an entry. Does not belong here: the chain of them (``audit_chain.py``).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Final

GENESIS: Final = "0" * 64
"""What the first entry names as the hash before it."""

LIMITS: Final = {"actor": 128, "action": 64, "object": 512, "reason": 2000, "origin": 256, "request_id": 64, "old": 65_536, "new": 65_536}
"""Longest text of each field, in characters; a longer one is cut and carries the digest of the whole."""

_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


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
