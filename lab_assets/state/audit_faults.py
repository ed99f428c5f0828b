"""What is wrong with an audit trail: the chain in itself, and the chain against its anchor file.

Belongs here: finding and naming it. Does not belong here: who may accept it (``lab_assets.governance.audit_acceptance``), writing.

Mishaps that leave the chain whole in itself (a database put back, a foreign or lost anchor file, a write that was cut off) can be
accepted by two people, each by an entry of the chain. They are listed ever after, and the trail verifies beside them. An entry that was
changed, or is missing in the middle, cannot be accepted: the database is put back from a backup.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from lab_assets.state.audit_anchor import AnchorFile, Anchors
from lab_assets.state.audit_entry import GENESIS, AuditEntry, canonical_json

PROPOSE: Final = "audit.propose"
ACCEPT: Final = "audit.accept"
MOST_EVIDENCE: Final = 20
"""Entries of a fault that are listed; all of them are counted and bound by its identity."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong with a trail.

    Attributes:
        fault_id: What it is known by, a digest over exactly what is wrong; empty for what cannot be accepted.
        kind: ``changed``, ``missing`` (an entry), ``database_put_back``, ``foreign_anchor``, ``anchor_missing``, ``not_anchored`` or
            ``broken_line``.
        first_seq: First entry concerned; ``None`` where it is the anchor file.
        last_seq: Last entry concerned.
        words: What it is, for people.
        evidence: What stands in the anchor file and in the chain, by number.
        accepted_by: The two people who accepted it; empty while nobody did.
        accepted_reason: Why they did.
        accepted_seq: Entry by which it was accepted.
    """

    kind: str
    words: str
    fault_id: str = ""
    first_seq: int | None = None
    last_seq: int | None = None
    evidence: tuple[dict[str, Any], ...] = ()
    accepted_by: tuple[str, ...] = ()
    accepted_reason: str = ""
    accepted_seq: int | None = None


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """What a check of the chain found.

    Attributes:
        ok: Whether the chain is whole and agrees with its anchors, but for what was accepted.
        entries: Entries read.
        first_bad_seq: Number of the first entry that is wrong or missing.
        reason: What is wrong with it, for people; empty when ``ok``.
        anchored_seq: Newest entry the anchor file vouches for; 0 without one.
        head_hash: Hash of the last entry.
        faults: Everything that is wrong and was not accepted.
        accepted: What was wrong and was accepted by two people.
    """

    ok: bool
    entries: int
    first_bad_seq: int | None = None
    reason: str = ""
    anchored_seq: int = 0
    head_hash: str = GENESIS
    faults: tuple[Fault, ...] = ()
    accepted: tuple[Fault, ...] = ()


@dataclass
class _Walk:
    """What a walk along the chain gathers."""

    entries: int = 0
    head: str = GENESIS
    is_anchored: bool = False
    at: dict[int, AuditEntry] = field(default_factory=dict[int, AuditEntry])
    unknown: list[tuple[int, str]] = field(default_factory=list["tuple[int, str]"])
    unmatched: dict[int, dict[str, str]] = field(default_factory=dict[int, "dict[str, str]"])
    proposals: dict[int, AuditEntry] = field(default_factory=dict[int, AuditEntry])
    acceptances: list[AuditEntry] = field(default_factory=list[AuditEntry])


def examine(entries: Iterable[AuditEntry], file: AnchorFile | None, *, holds_all: bool) -> VerifyResult:
    """Hold a chain against itself and its anchor file.

    Args:
        entries: All entries, by number.
        file: The anchor file; without one only the chain is looked at.
        holds_all: Whether every entry is anchored in this file: another machine may have written some otherwise.
    """
    anchors = Anchors() if file is None else file.read()
    walk = _Walk()
    broken: Fault | None = None
    for entry in entries:
        if broken is None and (broken := _chain_fault(entry, walk.entries + 1, walk.head)) is None:
            _take(walk, entry, anchors)
        walk.entries += 1
    if broken is not None:
        return VerifyResult(
            ok=False, entries=walk.entries, first_bad_seq=broken.first_seq, reason=broken.words, anchored_seq=anchors.last, faults=(broken,)
        )
    found = [] if file is None else list(_anchor_faults(walk, file, anchors, holds_all=holds_all))
    judged = [_accepted(fault, walk) for fault in found]
    faults = tuple(fault for fault in judged if not fault.accepted_by)
    first = min((fault.first_seq for fault in faults if fault.first_seq is not None and fault.kind in _OF_ENTRIES), default=None)
    return VerifyResult(
        ok=not faults,
        entries=walk.entries,
        first_bad_seq=first,
        reason="; ".join(fault.words for fault in faults),
        anchored_seq=anchors.last,
        head_hash=walk.head,
        faults=faults,
        accepted=tuple(fault for fault in judged if fault.accepted_by),
    )


_OF_ENTRIES: Final = frozenset({"database_put_back", "foreign_anchor", "not_anchored"})


def _take(walk: _Walk, entry: AuditEntry, anchors: Anchors) -> None:
    """Take one sound entry in."""
    walk.head = entry.hash
    if anchors.knows(entry.seq, entry.hash):
        walk.is_anchored = True
    else:
        walk.unknown.append((entry.seq, entry.hash))
    if others := {each: at for each, at in anchors.vouched.get(entry.seq, {}).items() if each != entry.hash}:
        walk.unmatched[entry.seq] = others
        walk.at[entry.seq] = entry
    if entry.action == PROPOSE:
        walk.proposals[entry.seq] = entry
    elif entry.action == ACCEPT:
        walk.acceptances.append(entry)


def _chain_fault(entry: AuditEntry, expected: int, previous: str) -> Fault | None:
    """Return what is wrong with one entry in itself or its place; ``None`` when it is sound."""
    kind, words = "", ""
    if entry.seq != expected:
        kind, words = "missing", f"entry {expected} is missing (found {entry.seq} in its place)"
    elif entry.computed_hash() != entry.hash:
        kind, words = "changed", f"entry {expected} was changed: its content does not match its hash"
    elif entry.prev_hash != previous:
        kind, words = "changed", f"entry {expected} does not follow the one before it"
    return Fault(kind=kind, words=words, first_seq=expected, last_seq=expected) if kind else None


def _anchor_faults(walk: _Walk, file: AnchorFile, anchors: Anchors, *, holds_all: bool) -> Iterable[Fault]:
    """Yield where chain and anchor file differ."""
    for number, digest in anchors.broken:
        words = f"line {number} of the anchor file {file.path} is not an anchor"
        yield Fault(kind="broken_line", words=words, fault_id=_identity("broken_line", [number, digest]))
    beyond = {seq: hashes for seq, hashes in anchors.vouched.items() if seq > walk.entries}
    if unmatched := {**walk.unmatched, **beyond}:
        yield _contradiction(walk, unmatched)
    if walk.unknown and (holds_all or not anchors.vouched):
        # what was written since the file was read is in it by now
        now = file.read()
        stretch = [(seq, each) for seq, each in walk.unknown if not now.knows(seq, each)]
        yield from (_not_anchored(part, file, is_lost=not walk.is_anchored and not unmatched) for part in _stretches(stretch))


def _contradiction(walk: _Walk, unmatched: dict[int, dict[str, str]]) -> Fault:
    """Return the fault of anchors that no entry of the chain has."""
    first, last = min(unmatched), max(unmatched)
    is_foreign = first == 1 and walk.entries > 0
    which = f"entry {first}" if first == last else f"entries {first} to {last}"
    if is_foreign:
        words = (
            f"from its first entry on the trail is not the one the anchor file vouches for, up to {last}: it is the file of another trail"
        )
    elif first > walk.entries:
        words = f"the trail ends at entry {walk.entries}, the anchor file knows {which}: its tail was cut or an old copy put back"
    else:
        words = f"{which} are not those the anchor file vouches for: an old copy was put back and written on, or the trail was rewritten"
        words = words.replace("are not those", "is not the one") if first == last else words
    evidence = [
        {
            "seq": seq,
            "anchored_hash": entry_hash,
            "anchored_at_utc": at_utc,
            "entry_hash": walk.at[seq].hash if seq in walk.at else None,
            "entry_at_utc": walk.at[seq].at_utc if seq in walk.at else None,
            "entry_action": walk.at[seq].action if seq in walk.at else None,
        }
        for seq in sorted(unmatched)
        for entry_hash, at_utc in sorted(unmatched[seq].items())
    ]
    identity = _identity("contradiction", [[each["seq"], each["anchored_hash"]] for each in evidence])
    kind = "foreign_anchor" if is_foreign else "database_put_back"
    return Fault(kind=kind, words=words, fault_id=identity, first_seq=first, last_seq=last, evidence=tuple(evidence[:MOST_EVIDENCE]))


def _not_anchored(stretch: Sequence[tuple[int, str]], file: AnchorFile, *, is_lost: bool) -> Fault:
    """Return the fault of entries that the anchor file does not know."""
    first, last = stretch[0][0], stretch[-1][0]
    which = f"entry {first}" if first == last else f"entries {first} to {last}"
    if is_lost:
        kind, words = "anchor_missing", f"the anchor file {file.path} is missing or empty: of {which} a cut tail could not be seen"
    elif first == 1:
        kind, words = "anchor_missing", f"the anchor file {file.path} was lost and begun anew: of {which} it holds nothing"
    else:
        kind, words = "not_anchored", f"{which} was never anchored: a write was cut off by a power cut, or an older anchor file put back"
    evidence = tuple({"seq": seq, "entry_hash": entry_hash} for seq, entry_hash in stretch[:MOST_EVIDENCE])
    identity = _identity("not_anchored", [list(each) for each in stretch])
    return Fault(kind=kind, words=words, fault_id=identity, first_seq=first, last_seq=last, evidence=evidence)


def _stretches(entries: Sequence[tuple[int, str]]) -> Iterable[list[tuple[int, str]]]:
    """Yield runs of consecutive numbers."""
    run: list[tuple[int, str]] = []
    for entry in entries:
        if run and entry[0] != run[-1][0] + 1:
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def _identity(kind: str, content: object) -> str:
    return hashlib.sha256(canonical_json([kind, content]).encode()).hexdigest()


def _accepted(fault: Fault, walk: _Walk) -> Fault:
    """Return a fault with who accepted it, where two people did."""
    for entry in walk.acceptances:
        said = json.loads(entry.new or "{}")
        proposal = walk.proposals.get(said.get("proposal", 0))
        if proposal is None or proposal.seq > entry.seq or proposal.actor == entry.actor:
            continue
        if fault.fault_id in said.get("faults", ()) and fault.fault_id in json.loads(proposal.new or "{}").get("faults", ()):
            return replace(
                fault,
                accepted_by=(proposal.actor, entry.actor),
                accepted_reason=f"{proposal.reason}; {entry.reason}",
                accepted_seq=entry.seq,
            )
    return fault
