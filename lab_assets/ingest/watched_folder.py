"""One folder of the inbox as a watch remembers it, and what of it is asked for on disk and in the ledger.

Belongs here: names of one folder between two looks. Does not belong here: walking the inbox, the ledger's answer (``inbox.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from lab_assets.ingest.entries import Entry, Fingerprint, Place, entry_of, marked_by, role_of

LOOKS_TO_SEE_ALL: Final = 20
"""Looks after which every known file was compared again, however many there are."""


@dataclass(slots=True)
class WatchedFolder:
    """What was seen of one folder; sets and mappings hold names in it.

    Attributes:
        place: Which folder.
        identity: Its device and inode.
        times: Its modification and change time before the last listing, nanoseconds.
        since: When a look first found these times, monotonic seconds.
        settled: Whether it was listed after any change that these times could hide.
        unreadable: Why its names could not be read; empty where they could.
        inodes: Every name at the last listing, with its inode: a file that another was renamed over shows a new one.
        known: Files as the ledger has them.
        pending: What is not known as it is: asked for at every look.
        handed: Those of them that a look has handed over; a look for what came since passes them over.
        folders: Folders that are looked into.
        passed_over: Names of transfers under way.
        done: Lower-case names of files that a ``NAME.done`` calls finished.
    """

    place: Place
    identity: tuple[int, int]
    times: tuple[int, int] = (0, 0)
    since: float = 0.0
    settled: bool = False
    unreadable: str = ""
    inodes: dict[str, int] = field(default_factory=dict)
    known: dict[str, Fingerprint] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    handed: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    passed_over: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)

    @property
    def named(self) -> str:
        """Its path below its source; of a drop folder, its name."""
        return self.place.prefix.rstrip("/") or Path(self.place.folder).name

    def list_names(self) -> None:
        """List the folder, and sort names that are new or lead to another inode; others stay what they were."""
        with os.scandir(self.place.folder) as entries:
            now = {entry.name: entry.inode() for entry in entries}
        before, self.inodes = self.inodes, now
        if not before:
            self._sort(now)
            return
        gone, came = before.keys() - now.keys(), [name for name, inode in now.items() if before.get(name) != inode]
        for name in (*gone, *came):
            self.forget(name)
        self.done -= {marked_by(name) for name in gone if role_of(name) == "done_mark"}
        self._sort(came)

    def forget(self, name: str) -> None:
        """Take a name for one never seen."""
        self.known.pop(name, None)
        for names in (self.pending, self.handed, self.folders, self.passed_over):
            names.discard(name)

    def _sort(self, names: Iterable[str]) -> None:
        for name in names:
            role = role_of(name)
            if role == "item":
                self.pending.add(name)
            elif role == "under_way":
                self.passed_over.add(name)
            elif role == "done_mark":
                self.done.add(marked_by(name))


class Asked(NamedTuple):
    """Something on disk that the ledger is asked for; ``name`` is empty for the folder itself."""

    folder: WatchedFolder
    name: str
    file_name: str
    entry: Entry


def is_due(name: str, turns: frozenset[int]) -> bool:
    """Tell whether it is a name's turn; each name has one turn of ``LOOKS_TO_SEE_ALL``."""
    return hash(name) % LOOKS_TO_SEE_ALL in turns


def entries_to_ask_for(folder: WatchedFolder, turns: frozenset[int], recent: set[str]) -> Iterator[Asked]:
    """Yield what is pending, and what is known but changed or has its turn.

    Raises:
        PermissionError: the folder's names can be read but not what they are.
    """
    place, known = folder.place, folder.known
    due = [name for name in known if hash(name) % LOOKS_TO_SEE_ALL in turns or name in recent]
    for name in [*(folder.pending - folder.handed), *due]:
        try:
            entry = entry_of(place, name, os.lstat(f"{place.folder}/{name}"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        if entry is None:
            folder.forget(name)
            folder.folders.add(name)
        elif known.get(name) != entry.fingerprint or is_due(name, turns):
            yield Asked(folder, name, place.named(name), entry)


def unreadable_folder(folder: WatchedFolder) -> Asked:
    """Return a folder whose names cannot be read as something to be refused."""
    try:
        status = os.lstat(folder.place.folder)
        fingerprint = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    except OSError:  # as of a share whose server is gone
        fingerprint = (0, 0, 0)
    entry = Entry(fingerprint, is_folder=True, refusal=f"is a folder that cannot be read ({folder.unreadable})")
    return Asked(folder, "", folder.named, entry)
