"""Which inbox is this laboratory's: a mark in the folder, and the shares that are mounted in it.

Belongs here: the mark, and telling an inbox whose mount is gone from an empty one. Does not belong here: looking at files (``inbox.py``).

A mount that is gone leaves an empty folder in its place, and an empty folder has nothing to say. So the first run leaves a mark in the
inbox, and the home remembers that it did (``home_identity``). A drop folder that is a mount of its own is noted in the mark; shares of
instruments are often read-only, so nothing is written into them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from lab_assets.home_identity import Kept, LostError, has_made, note_made, place_of
from lab_assets.ingest.candidates import InboxError
from lab_assets.ingest.inbox import InboxWatch
from lab_assets.settings import Settings

_ACCEPT: Final = "if another folder took its place on purpose, 'lab ingest --accept-inbox'"
_HOME, _MOUNTS, _FOLDER = "home_id", "mounts", "folder"


def watch_of(settings: Settings) -> InboxWatch:
    """Return a watch over the inbox of a laboratory that sees that it is this one."""
    return InboxWatch(settings.inbox, identify=partial(lost_mounts, settings))


def make_inbox(settings: Settings) -> None:
    """Make the inbox where none was made before, and mark it; one that is gone is left to be mounted again.

    Raises:
        OSError: the folder cannot be made.
    """
    if not _was_marked(settings):
        settings.inbox.mkdir(parents=True, exist_ok=True)
        mark_inbox(settings)


def mark_inbox(settings: Settings, *, anew: bool = False) -> None:
    """Mark the inbox as this laboratory's, and note the shares mounted in it; a folder that cannot be written stays unmarked.

    Args:
        settings: Whose inbox.
        anew: Whatever was marked before does not count any more: a person says that this is the inbox.
    """
    if not settings.inbox.is_dir():
        return
    if not anew and _was_marked(settings):
        lost_mounts(settings)
    known = {} if anew else _read(settings) or {}
    mounts = sorted({*known.get(_MOUNTS, ()), *_mounted(settings.inbox)})
    content = {_HOME: place_of(settings).home_id, _MOUNTS: mounts, _FOLDER: settings.inbox.stat().st_ino}
    if content == known:
        return
    path = _path(settings)
    draft = path.with_suffix(".draft")
    try:
        draft.write_text(json.dumps(content))
        draft.replace(path)
    except OSError:  # a share that may only be read: then only its folder itself can be seen to be there
        return
    note_made(settings, Kept.INBOX_MARK)


def was_copied(settings: Settings) -> bool:
    """Return whether the inbox was copied, with all that lies in it, since it was last marked: the mark came along, the folder is another."""
    mark = _read(settings) if settings.inbox.is_dir() else None
    return mark is not None and _FOLDER in mark and mark[_FOLDER] != settings.inbox.stat().st_ino


def lost_mounts(settings: Settings) -> Mapping[str, str]:
    """See that the inbox is the one that was marked, and return what is wrong with shares mounted in it, by source.

    Raises:
        InboxError: the folder is not the inbox that was marked.
    """
    inbox = settings.inbox
    if not inbox.is_dir() or not _was_marked(settings):
        return {}
    mark = _read(settings)
    if mark is None:
        raise InboxError(f"the inbox {inbox} has lost its mark {_path(settings).name}: mount again what was mounted there; {_ACCEPT}")
    if mark.get(_HOME) != place_of(settings).home_id:
        raise InboxError(f"the inbox {inbox} is that of another laboratory: mount the right folder; {_ACCEPT}")
    gone = set(mark.get(_MOUNTS, ())) - _mounted(inbox)
    return {name: f"the mount of the folder {inbox / name} is gone: mount it again; {_ACCEPT}" for name in sorted(gone)}


def _was_marked(settings: Settings) -> bool:
    try:
        return has_made(settings, Kept.INBOX_MARK)
    except LostError as error:
        raise InboxError(str(error)) from error


def _path(settings: Settings) -> Path:
    return settings.home / Kept.INBOX_MARK.value


def _read(settings: Settings) -> dict[str, Any] | None:
    """Return what the mark says; ``None`` where there is none that can be read."""
    try:
        found = json.loads(_path(settings).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _mounted(inbox: Path) -> set[str]:
    """Return the drop folders that lie on another file system than the inbox."""
    own = inbox.stat().st_dev
    with os.scandir(inbox) as entries:
        return {each.name for each in entries if each.is_dir(follow_symlinks=False) and each.stat(follow_symlinks=False).st_dev != own}
