"""Looking at the drop folders: which files are finished and new.

Belongs here: listing and comparing with what the ledger knows. Does not belong here: copying, parsing, the ledger itself.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_UNFINISHED_SUFFIXES: Final = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp", "~")
_UNFINISHED_PREFIXES: Final = (".", "~$")
UNSORTED: Final = "inbox"
"""Source of files that lie in the inbox itself and not in a drop folder."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One path in the inbox that is finished and not yet taken in this form."""

    source: str
    file_name: str
    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(kw_only=True)
class Look:
    """What one look at the inbox found.

    Attributes:
        ready: Finished and new, oldest change first.
        growing: How many are new but changed too recently.
        known: How many are as the ledger knows them.
        refused: Paths that are no regular files, with the reason.
    """

    ready: list[Candidate] = field(default_factory=list)
    growing: int = 0
    known: int = 0
    refused: list[tuple[Candidate, str]] = field(default_factory=list)


def look(inbox: Path, taken: Mapping[tuple[str, str], tuple[int, int, int]], *, stable_s: float, now_s: float | None = None) -> Look:
    """List the inbox and pick what is finished and new.

    A file is finished when its inode did not change for ``stable_s``: the change time is set by the file system at each
    write, so copied or back-dated modification times do not matter. A change time in the future (clock skew of a share)
    counts as finished, because waiting for it could last for ever.

    Args:
        inbox: Folder whose subfolders are the sources.
        taken: By (source, file_name): size, mtime_ns and ctime_ns when it was last taken.
        stable_s: How long a finished file is unchanged, seconds.
        now_s: Time of the look, seconds since the epoch; default: the clock.
    """
    now = time.time() if now_s is None else now_s
    found = Look()
    for candidate, mode in _walk(inbox):
        if taken.get((candidate.source, candidate.file_name)) == (candidate.size, candidate.mtime_ns, candidate.ctime_ns):
            found.known += 1
        elif not stat.S_ISREG(mode):
            found.refused.append((candidate, "is a symbolic link" if stat.S_ISLNK(mode) else "is not a regular file"))
        elif 0 <= now - candidate.ctime_ns / 1e9 < stable_s:
            found.growing += 1
        else:
            found.ready.append(candidate)
    found.ready.sort(key=lambda candidate: (candidate.ctime_ns, candidate.source, candidate.file_name))
    return found


def _walk(inbox: Path) -> Iterator[tuple[Candidate, int]]:
    if not inbox.is_dir():
        return
    folders = [inbox]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            if entry.name.startswith(_UNFINISHED_PREFIXES) or entry.name.lower().endswith(_UNFINISHED_SUFFIXES):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                    continue
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield _candidate(inbox, Path(entry.path), status), status.st_mode


def _candidate(inbox: Path, path: Path, status: os.stat_result) -> Candidate:
    parts = path.relative_to(inbox).parts
    source, inner = (parts[0], parts[1:]) if len(parts) > 1 else (UNSORTED, parts)
    return Candidate(
        source=source,
        file_name=os.fsencode("/".join(inner)).decode("utf-8", errors="backslashreplace"),
        path=path,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )
