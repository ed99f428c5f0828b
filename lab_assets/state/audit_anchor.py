"""The anchor file of the audit trail: which heads the chain has had, kept outside of the database.

Belongs here: writing and reading its lines. Does not belong here: what follows from them (``audit_faults.py``).

Each entry has two lines: before its commit what is intended, after it that it stands. An entry whose writer was killed in between has
the first alone, and is known by it; one that was rolled back has the first alone as well, and no entry.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from lab_assets.state.audit_entry import AuditEntry, canonical_json

_INTENT: Final = "intent"
_TAIL_BYTES: Final = 4096


@dataclass
class Anchors:
    """What an anchor file holds.

    Attributes:
        vouched: Hashes that stood at each number, each with the time of its entry, ISO 8601 text in UTC.
        intended: Hashes that were to stand at each number.
        broken: Lines that are no anchor: number of the line and SHA-256 of its bytes.
    """

    vouched: dict[int, dict[str, str]] = field(default_factory=dict[int, "dict[str, str]"])
    intended: dict[int, set[str]] = field(default_factory=dict[int, "set[str]"])
    broken: list[tuple[int, str]] = field(default_factory=list["tuple[int, str]"])

    def knows(self, seq: int, entry_hash: str) -> bool:
        """Return whether an entry was written by whoever keeps this file."""
        return entry_hash in self.vouched.get(seq, ()) or entry_hash in self.intended.get(seq, ())

    @property
    def last(self) -> int:
        """Highest number that is vouched for; 0 without one."""
        return max(self.vouched, default=0)


@dataclass(frozen=True)
class AnchorFile:
    """One anchor file; it need not be there yet."""

    path: Path

    def mend(self) -> None:
        """Make the file where it is missing, and cut a last line that a power cut left without its end.

        Raises:
            OSError: it cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            _drop_torn_line(file)

    def write(self, entry: AuditEntry, *, intent: bool = False) -> None:
        """Add a line for an entry.

        Args:
            entry: The entry.
            intent: It is not committed yet.

        Raises:
            OSError: the line cannot be written.
        """
        content: dict[str, Any] = {"at_utc": entry.at_utc, "hash": entry.hash, "seq": entry.seq} | ({_INTENT: True} if intent else {})
        with self.path.open("ab") as file:
            file.write((canonical_json(content) + "\n").encode())

    def read(self) -> Anchors:
        """Return what the file holds; nothing where there is none. A last line without its end counts as not written."""
        anchors = Anchors()
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return anchors
        for number, line in enumerate(lines[:-1], start=1):
            try:
                item = json.loads(line)
                seq, entry_hash, at_utc = int(item["seq"]), str(item["hash"]), str(item.get("at_utc", ""))
            except (ValueError, KeyError, TypeError, AttributeError):
                anchors.broken.append((number, hashlib.sha256(line).hexdigest()))
                continue
            if item.get(_INTENT):
                anchors.intended.setdefault(seq, set()).add(entry_hash)
            else:
                anchors.vouched.setdefault(seq, {})[entry_hash] = at_utc
        return anchors


def _drop_torn_line(file: BinaryIO) -> None:
    end = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, end - _TAIL_BYTES))
    tail = file.read()
    if tail and not tail.endswith(b"\n"):
        file.truncate(start + tail.rfind(b"\n") + 1)
