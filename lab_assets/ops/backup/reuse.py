"""Which contents that the folder holds already a new backup may name without storing them again, and what became of damaged ones.

Belongs here: being sure of stored contents at a bearable cost. Does not belong here: storing (``making.py``), hashing all of it
(``verifying.py``).

Each backup hashes again those of its contents whose digest begins with one digit of sixteen, the next digit the next time: so sixteen
backups have read everything that they share once, and each costs a sixteenth of ``lab backup verify``. Contents that were found damaged
before, and those that no readable list names, are hashed in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lab_assets.ops.backup.folder import BackupFolder, Snapshot
from lab_assets.ops.backup.verifying import problem_of

_DIGITS: Final = "0123456789abcdef"


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What became of contents that were found damaged.

    Attributes:
        mended: How many were stored anew.
        left: What is still damaged, by place in a backup that needs it.
    """

    mended: int
    left: dict[str, str]


class Reuse:
    """What one backup may take over from the earlier ones."""

    def __init__(self, folder: BackupFolder, former: Snapshot | None) -> None:
        self.digit = _next_digit(former.hashed_again if former is not None else "")
        self.hashed_bytes = 0
        self._folder = folder
        self._trusted = {entry.sha256 for entry in former.files} if former is not None else set[str]()
        self._damaged = folder.damaged_contents()
        self._hashed: dict[str, bool] = {}

    def is_sound(self, sha256: str, size: int) -> bool:
        """Return whether the folder holds contents as they were stored, hashing them where that is due."""
        if not self._folder.holds(sha256, size):
            if sha256 in self._trusted:
                self._damaged.add(sha256)
            return False
        if sha256 in self._trusted and sha256 not in self._damaged and not sha256.startswith(self.digit):
            return True
        if sha256 not in self._hashed:
            self.hashed_bytes += size
            self._hashed[sha256] = not problem_of(self._folder, sha256)
            if not self._hashed[sha256]:
                self._damaged.add(sha256)
        return self._hashed[sha256]

    def settle(self) -> Settled:
        """Look at what was found damaged now that everything is stored, and note what of it still is."""
        problems = {sha256: problem_of(self._folder, sha256) for sha256 in self._damaged}
        still = {sha256: problem for sha256, problem in problems.items() if problem}
        left: dict[str, str] = {}
        needed: set[str] = set()
        for snapshot in self._folder.whole() if still else ():
            for entry in snapshot.files:
                if entry.sha256 in still:
                    left[entry.path] = f"{still[entry.sha256]} in backup {snapshot.name}"
                    needed.add(entry.sha256)
        self._folder.note_damaged(needed, sound=set(problems) - needed)
        return Settled(mended=sum(not problem for problem in problems.values()), left=left)


def _next_digit(last: str) -> str:
    return _DIGITS[(_DIGITS.index(last) + 1) % len(_DIGITS)] if last and last in _DIGITS else _DIGITS[0]
