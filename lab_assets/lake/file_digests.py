"""Data files held against the digests taken when they were committed, before any of their rows is believed.

Belongs here: comparing, and remembering within this process what was compared. Does not belong here: the log (``opening.py``), all files of
a laboratory by and by (``lab_assets.ingest.scrub``).

One bit that a disk changed makes another number of a number, and every reader believes it. So each process hashes a file that it is about to
read once, and again when its size, times or inode are not those it had: about 1 ms a megabyte (ADR 22).
Files that the ledger does not know, such as another program's, have no digest to be held against.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import Final

from sqlalchemy import select

from lab_assets.lake.data_files import digest_of, local_path
from lab_assets.lake.opening import DamagedTableError, is_remote
from lab_assets.state.ledger import Ledger
from lab_assets.state.ledger_tables import DATA_FILES

_MOST_REMEMBERED: Final = 200_000
_ASKED_AT_ONCE: Final = 500
_MEND: Final = "Put the file back from the last backup ('lab restore')"

_MADE_ANEW: Final = ("silver.", "gold.", "features.")
"""Layers whose tables follow from others."""

FileState = tuple[str, int, int, int, int]
"""Path, size, time of change of content and of status, inode: what another file in its place, or other bytes in it, does not have."""

_WHOLE: Final[OrderedDict[FileState, None]] = OrderedDict()
_LOCK: Final = Lock()


def require_whole_files(name: str, uri: str, ledger: Ledger | None, files: Iterable[str]) -> None:
    """See that data files hold what they held when they were committed.

    Args:
        name: ``layer.table``.
        uri: Where the table lies; object stores are left to their own checksums.
        ledger: What was committed; without one only missing files are found.
        files: Their paths.

    Raises:
        DamagedTableError: one is missing, cannot be read or has other bytes; table, version and file are named.
    """
    if is_remote(uri):
        return
    states = [_state(name, path) for path in files]
    unseen = [state for state in states if state not in _WHOLE]
    if not unseen or ledger is None:
        return
    folder = str(local_path(uri)).rstrip("/") + "/"
    noted = _noted(ledger, name, [state[0].removeprefix(folder) for state in unseen])
    for state in unseen:
        expected = noted.get(state[0].removeprefix(folder))
        if expected is not None and _digest(name, state[0]) != expected[1]:
            problem = f"{name}: a data file of version {expected[0]}, {state[0]}, has other bytes than were committed"
            raise DamagedTableError(problem, _mend(name))
        _remember(state)


def _state(name: str, path: str) -> FileState:
    try:
        status = os.stat(path)  # noqa: PTH116 - asked for each file of each read
    except FileNotFoundError as error:
        raise DamagedTableError(f"{name}: the data file {path} is missing", _mend(name)) from error
    return path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _digest(name: str, path: str) -> str:
    try:
        return digest_of(Path(path))[0]
    except OSError as error:
        raise DamagedTableError(f"{name}: the data file {path} cannot be read ({error.strerror})", _mend(name)) from error


def _noted(ledger: Ledger, name: str, paths: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return version and digest of some files by path, where they were noted."""
    columns = DATA_FILES.c
    noted: dict[str, tuple[int, str]] = {}
    with ledger.engine.connect() as connection:
        for start in range(0, len(paths), _ASKED_AT_ONCE):
            chunk = paths[start : start + _ASKED_AT_ONCE]
            query = select(columns.path, columns.version, columns.sha256).where(columns.table_name == name, columns.path.in_(chunk))
            noted |= {row.path: (row.version, row.sha256) for row in connection.execute(query)}
    return noted


def _remember(state: FileState) -> None:
    with _LOCK:
        _WHOLE[state] = None
        while len(_WHOLE) > _MOST_REMEMBERED:
            _WHOLE.popitem(last=False)


def _mend(name: str) -> str:
    made = f", or make the table anew ('lab table rebuild {name}')" if name.startswith(_MADE_ANEW) else ""
    return f"{_MEND}{made}."
