"""One entry of a drop folder: its name, its state on disk, whether it can be an item at all.

Belongs here: what a name and a ``stat`` say. Does not belong here: what the ledger knows of it, when it is finished (``inbox.py``).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from lab_assets.sources.core.archives import is_item_folder

UNSORTED: Final = "inbox"
"""Source of files that lie in the inbox itself and not in a drop folder."""

_UNFINISHED_SUFFIXES: Final = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".filepart", ".swp", ".lock", "~")
_UNFINISHED_PREFIXES: Final = (".", "~$")
_OF_THE_SYSTEM: Final = frozenset({".lab-inbox", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"})
_DONE: Final = ".done"
_FILE_SUFFIXES: Final = frozenset(
    {
        *(".arw", ".asc", ".animl", ".cdf", ".csv", ".dx", ".eln", ".gaml", ".jpeg", ".jpg", ".json", ".pdf", ".png", ".tif", ".tiff"),
        *(".tsv", ".txt", ".xls", ".xlsm", ".xlsx", ".xml", ".zip"),
    }
)
"""A folder with such a name is a mistake of a transfer, and nobody would look for files in it."""

Role = Literal["item", "under_way", "done_mark", "of_the_system"]
"""What a name says: a file or folder, a transfer or editor at work, a mark that another file is finished, the operating system's."""

Fingerprint = tuple[int, int, int]
"""Size in bytes, modification time and change time in nanoseconds; of a folder that is one item, over all that lies in it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of the inbox.

    Attributes:
        folder: Path on disk.
        source: Drop folder it belongs to; ``None`` for the inbox itself.
        prefix: Its path below the source, with ``/`` at the end; empty for the source's own folder.
    """

    folder: str
    source: str | None
    prefix: str

    @property
    def owner(self) -> str:
        """Source of the files in it."""
        return self.source or UNSORTED

    def named(self, name: str) -> str:
        """Return the path of an entry below its source; bytes that are no UTF-8 are written as escapes."""
        return self.prefix + plain(name)

    def below(self, name: str) -> Place:
        """Return a folder in this one."""
        if self.source is None:
            return Place(folder=f"{self.folder}/{name}", source=plain(name), prefix="")
        return Place(folder=f"{self.folder}/{name}", source=self.source, prefix=f"{self.prefix}{plain(name)}/")


class Entry(NamedTuple):
    """What lies under one name.

    Attributes:
        fingerprint: Its state on disk.
        is_folder: Whether it is a folder that is one item, or is refused as one.
        refusal: Why it can be no item; empty for what can.
        unfinished: Whether a folder that is one item holds a file under the name of a transfer under way.
    """

    fingerprint: Fingerprint
    is_folder: bool = False
    refusal: str = ""
    unfinished: bool = False


def plain(name: str) -> str:
    """Return a file name as text that can be written and kept."""
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", errors="backslashreplace")
    return name


def role_of(name: str) -> Role:
    """Return what a name alone says of what lies under it."""
    lower = name.lower()
    if lower in _OF_THE_SYSTEM:
        return "of_the_system"
    if lower.endswith(_UNFINISHED_SUFFIXES) or name.startswith(_UNFINISHED_PREFIXES):
        return "under_way"
    if lower.endswith(_DONE):
        return "done_mark"
    return "item"


def marked_by(name: str) -> str:
    """Return the lower-case name of the file that a ``NAME.done`` calls finished."""
    return name.lower().removesuffix(_DONE)


def entry_of(place: Place, name: str, status: os.stat_result) -> Entry | None:
    """Describe what lies under a name; ``None`` for a folder that is looked into.

    Args:
        place: Folder it lies in.
        name: Its name.
        status: What ``lstat`` says of it.

    Raises:
        OSError: it vanished.
    """
    fingerprint = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if stat.S_ISREG(status.st_mode):
        return Entry(fingerprint)
    if not stat.S_ISDIR(status.st_mode):
        refusal = "is a symbolic link" if stat.S_ISLNK(status.st_mode) else "is not a regular file"
        return Entry(fingerprint, refusal=refusal)
    if place.source is None:
        taken = plain(name) == UNSORTED
        return Entry(fingerprint, is_folder=True, refusal="is a drop folder of the inbox's own name: call it otherwise") if taken else None
    return _folder_entry(f"{place.folder}/{name}", name, status, fingerprint)


def _folder_entry(path: str, name: str, status: os.stat_result, fingerprint: Fingerprint) -> Entry | None:
    """Describe a folder in a drop folder; ``None`` for one that is looked into."""
    if is_item_folder(name):
        try:
            return _item(path, status)
        except PermissionError:
            return Entry(fingerprint, is_folder=True, refusal="is a folder that cannot be read as a whole (Permission denied)")
    if Path(name).suffix.lower() in _FILE_SUFFIXES:
        return Entry(fingerprint, is_folder=True, refusal="is a folder with the name of a file")
    return None


def _item(path: str, status: os.stat_result) -> Entry:
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
    return Entry((size, mtime_ns, ctime_ns), is_folder=True, unfinished=unfinished)
