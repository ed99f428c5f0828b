"""Looking at the drop folders: which files are finished and new.

Belongs here: listing and comparing with what the ledger knows. Does not belong here: copying, parsing, the ledger itself.
"""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab_assets.settings import Settings
from lab_assets.sources.core.archives import is_item_folder

_UNFINISHED_SUFFIXES: Final = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".filepart", ".swp", ".lock", "~")
_UNFINISHED_PREFIXES: Final = (".", "~$")
_OF_THE_SYSTEM: Final = frozenset({"thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"})
_DONE: Final = ".done"
_FILE_SUFFIXES: Final = frozenset(
    {
        *(".arw", ".asc", ".animl", ".cdf", ".csv", ".dx", ".eln", ".gaml", ".jpeg", ".jpg", ".json", ".pdf", ".png", ".tif", ".tiff"),
        *(".tsv", ".txt", ".xls", ".xlsm", ".xlsx", ".xml", ".zip"),
    }
)
"""A folder with such a name is a mistake of a transfer, and nobody would look for files in it."""
UNSORTED: Final = "inbox"
"""Source of files that lie in the inbox itself and not in a drop folder."""

Taken = Mapping[tuple[str, str], tuple[int, int, int]]
Clock = Callable[[Path], float]


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
    """

    source: str
    file_name: str
    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int
    folder: bool = False


@dataclass(kw_only=True)
class Look:
    """What one look at the inbox found.

    Attributes:
        ready: Finished and new, oldest change first.
        growing: How many are new but changed too recently, or wait for their ``.done``.
        known: How many are as the ledger knows them.
        passed_over: How many have the name of a transfer under way; one that keeps it is never taken.
        refused: Paths that are no regular files, with the reason.
    """

    ready: list[Candidate] = field(default_factory=list)
    growing: int = 0
    known: int = 0
    passed_over: int = 0
    refused: list[tuple[Candidate, str]] = field(default_factory=list)


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


def file_system_now(folder: Path) -> float:
    """Return the time that the folder's own file system stamps on changes, seconds since the epoch.

    The clock of a network share may differ from this machine's by hours; a file written this moment shows it.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".lab-clock-") as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:  # a share that this process may only read
        return time.time()


def look(inbox: Path, taken: Taken, patience: Patience, *, clock: Clock = file_system_now) -> Look:
    """List the inbox and pick what is finished and new.

    A file is finished when its inode did not change for ``stable_s``: the change time is set by the file system at each
    write, so copied or back-dated modification times do not matter. It is compared with the file system's own clock; a change
    time after that clock counts as finished, because waiting for it could last for ever.

    Args:
        inbox: Folder whose subfolders are the sources.
        taken: By (source, file_name): size, mtime_ns and ctime_ns when it was last taken.
        patience: When a file counts as finished.
        clock: Tells the time of a folder's file system.
    """
    found = Look()
    clocks: dict[str, float] = {}
    for entry in _walk(_Place(folder=str(inbox), source=None, prefix=""), found):
        candidate = entry.candidate
        if taken.get((candidate.source, candidate.file_name)) == (candidate.size, candidate.mtime_ns, candidate.ctime_ns):
            found.known += 1
            continue
        if entry.refusal:
            found.refused.append((candidate, entry.refusal))
            continue
        if candidate.source not in clocks:
            clocks[candidate.source] = clock(inbox if candidate.source == UNSORTED else inbox / candidate.source)
        if _is_finished(entry, patience, clocks[candidate.source]):
            found.ready.append(candidate)
        else:
            found.growing += 1
    found.ready.sort(key=lambda candidate: (candidate.ctime_ns, candidate.source, candidate.file_name))
    return found


@dataclass(frozen=True, kw_only=True)
class _Entry:
    candidate: Candidate
    refusal: str = ""
    done: bool = False
    unfinished: bool = False


def _is_finished(entry: _Entry, patience: Patience, now_s: float) -> bool:
    if entry.unfinished:
        return False
    if entry.done or entry.candidate.source in patience.done_sources:
        return entry.done
    wait_s = max(patience.stable_s, patience.folder_stable_s) if entry.candidate.folder else patience.stable_s
    return not 0 <= now_s - entry.candidate.ctime_ns / 1e9 < wait_s


def _is_passed_over(name: str) -> bool:
    """Tell whether a name is one of a transfer under way, of an editor or of the operating system."""
    lower = name.lower()
    return name.startswith(_UNFINISHED_PREFIXES) or lower.endswith(_UNFINISHED_SUFFIXES) or lower in _OF_THE_SYSTEM


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A folder being listed: its source (none for the inbox itself), and its own path below it with ``/`` at the end."""

    folder: str
    source: str | None
    prefix: str

    def named(self, name: str) -> tuple[str, str]:
        """Return source and path of an entry; bytes that are no UTF-8 are written as escapes."""
        return self.source or UNSORTED, self.prefix + _plain(name)

    def below(self, entry: os.DirEntry[str]) -> _Place:
        """Return a folder in this one."""
        if self.source is None:
            return _Place(folder=entry.path, source=_plain(entry.name), prefix="")
        return _Place(folder=entry.path, source=self.source, prefix=f"{self.prefix}{_plain(entry.name)}/")


def _plain(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", errors="backslashreplace")
    return name


def _walk(place: _Place, found: Look) -> Iterator[_Entry]:
    """Yield what lies in a folder and below; links are not followed."""
    try:
        entries = list(os.scandir(place.folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError:
        path = Path(place.folder)
        named = (place.source or UNSORTED, place.prefix.rstrip("/") or path.name)
        yield _Entry(
            candidate=_candidate(named, place.folder, path.lstat(), folder=True), refusal="is a folder without the right to read it"
        )
        return
    done = {entry.name[: -len(_DONE)].lower() for entry in entries if entry.name.lower().endswith(_DONE)}
    for entry in entries:
        if _is_passed_over(entry.name):
            found.passed_over += entry.name.lower() not in _OF_THE_SYSTEM
            continue
        if entry.name.lower().endswith(_DONE):
            continue
        try:
            yield from _entry(place, entry, found, done=entry.name.lower() in done)
        except FileNotFoundError:
            continue


def _entry(place: _Place, entry: os.DirEntry[str], found: Look, *, done: bool) -> Iterator[_Entry]:
    status = entry.stat(follow_symlinks=False)
    named = place.named(entry.name)
    if not stat.S_ISDIR(status.st_mode):
        yield _Entry(candidate=_candidate(named, entry.path, status), refusal=_refusal(status.st_mode), done=done)
    elif place.source is not None and is_item_folder(entry.name):
        yield _item(named, entry.path, status, done=done)
    elif place.source is not None and os.path.splitext(entry.name)[1].lower() in _FILE_SUFFIXES:  # noqa: PTH122 - a Path for each entry costs
        yield _Entry(candidate=_candidate(named, entry.path, status, folder=True), refusal="is a folder with the name of a file")
    else:
        yield from _walk(place.below(entry), found)


def _refusal(mode: int) -> str:
    if stat.S_ISREG(mode):
        return ""
    return "is a symbolic link" if stat.S_ISLNK(mode) else "is not a regular file"


def _item(named: tuple[str, str], path: str, status: os.stat_result, *, done: bool) -> _Entry:
    """Describe a folder that is one item by all that lies in it."""
    size, mtime_ns, ctime_ns, unfinished = 0, status.st_mtime_ns, status.st_ctime_ns, False
    pending = [path]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                inner = entry.stat(follow_symlinks=False)
                mtime_ns, ctime_ns = max(mtime_ns, inner.st_mtime_ns), max(ctime_ns, inner.st_ctime_ns)
                if stat.S_ISDIR(inner.st_mode):
                    pending.append(entry.path)
                elif stat.S_ISREG(inner.st_mode):
                    size += inner.st_size
                    unfinished = unfinished or entry.name.lower().endswith(_UNFINISHED_SUFFIXES)
    source, file_name = named
    candidate = Candidate(source=source, file_name=file_name, path=Path(path), size=size, mtime_ns=mtime_ns, ctime_ns=ctime_ns, folder=True)
    return _Entry(candidate=candidate, done=done, unfinished=unfinished)


def _candidate(named: tuple[str, str], path: str, status: os.stat_result, *, folder: bool = False) -> Candidate:
    source, file_name = named
    return Candidate(
        source=source,
        file_name=file_name,
        path=Path(path),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        folder=folder,
    )
