"""What a look at the inbox finds, and when a file counts as finished.

Belongs here: the terms of a look. Does not belong here: looking (``inbox.py``), copying (``receive.py``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from lab_assets.ingest.entries import Fingerprint
from lab_assets.settings import Settings


class InboxError(OSError):
    """The inbox itself cannot be looked at, so nothing can be said of its files."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One path in the inbox that is finished and not yet taken in this form.

    Attributes:
        source: Drop folder.
        file_name: Path below it.
        path: Where it lies.
        size: Bytes; of a folder, of all its files together.
        mtime_ns: Modification time; of a folder, the latest in it.
        ctime_ns: Change time; of a folder, the latest in it.
        folder: Whether it is a folder that is one item.
        recorded_sha256: Digest the ledger has for a path of this size; empty for a new path or another size.
        moved: Whether size and modification time are as recorded too: nearly always a file that was only moved or copied.
    """

    source: str
    file_name: str
    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int
    folder: bool = False
    recorded_sha256: str = ""
    moved: bool = False

    @property
    def fingerprint(self) -> Fingerprint:
        """Size, modification time and change time."""
        return self.size, self.mtime_ns, self.ctime_ns

    def turn(self) -> tuple[bool, bool, int, str, str]:
        """Return what candidates are sorted by: surely new before perhaps new before moved, then the oldest change first."""
        return self.moved, bool(self.recorded_sha256), self.ctime_ns, self.source, self.file_name


@dataclass(kw_only=True)
class Look:
    """What one look at the inbox found.

    Attributes:
        ready: Finished and new, in the order in which they are taken.
        growing: How many are new but changed too recently, or wait for their ``.done``.
        known: How many are as the ledger knows them.
        passed_over: How many have the name of a transfer under way; one that keeps it is never taken.
        refused: Paths that are no regular files, with the reason.
        problems: By source, why nothing can be said of its files, or of some of them, and what to do.
    """

    ready: list[Candidate] = field(default_factory=list)
    growing: int = 0
    known: int = 0
    passed_over: int = 0
    refused: list[tuple[Candidate, str]] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """When a file counts as finished.

    Attributes:
        stable_s: How long a finished file is unchanged, seconds.
        folder_stable_s: The same for a folder that is one item: instruments pause while they write one.
        done_sources: Sources whose files are finished only when ``NAME.done`` lies beside them, and then at once.
    """

    stable_s: float
    folder_stable_s: float = 0.0
    done_sources: Collection[str] = ()


def patience_of(settings: Settings) -> Patience:
    """Return the patience that the settings ask for."""
    return Patience(stable_s=settings.stable_s, folder_stable_s=settings.folder_stable_s, done_sources=settings.done_sources)
