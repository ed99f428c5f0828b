"""Looking at the drop folders: which files are finished and new.

Belongs here: listing and comparing with what the ledger knows. Does not belong here: copying, parsing, the ledger itself.

The first look of an ``InboxWatch`` is complete: every name is listed, every file is asked for on disk and in the ledger. Later looks
of the same watch ask only for what may be new: names that came or whose inode changed, files not taken yet, the files changed last,
and of all others a share in turn, so that after ``LOOKS_TO_SEE_ALL`` looks each of them was compared again with disk and ledger.
"""

from __future__ import annotations

import heapq
import os
import stat
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from lab_assets.ingest.candidates import Candidate, InboxError, Look, Patience
from lab_assets.ingest.entries import Place
from lab_assets.ingest.watched_folder import LOOKS_TO_SEE_ALL, Asked, WatchedFolder, entries_to_ask_for, is_due, unreadable_folder
from lab_assets.state.taken_paths import TakenPath

_ASKED_AT_ONCE: Final = 10_000
"""Files whose state is in memory at once on the way to the ledger."""

Clock = Callable[[Path], float]
Recorded = Callable[[str, Sequence[str]], Mapping[str, TakenPath]]
"""Answers for a source and paths below it: those that were taken, as they were then."""


Identify = Callable[[], Mapping[str, str]]
"""Raises ``InboxError`` where the folder is another inbox than it was; returns, by source, which of its mounts are gone."""


def any_inbox() -> Mapping[str, str]:
    """Take whatever folder there is."""
    return {}


def nothing_taken(_source: str, _file_names: Sequence[str]) -> Mapping[str, TakenPath]:
    """Answer as an empty ledger does."""
    return {}


def file_system_now(folder: Path) -> float:
    """Return the time that the folder's own file system stamps on changes, seconds since the epoch.

    The clock of a network share may differ from this machine's by hours; a file written this moment shows it.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".lab-clock-") as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:  # a share that this process may only read
        return time.time()


def look(inbox: Path, recorded: Recorded, patience: Patience, *, clock: Clock = file_system_now) -> Look:
    """Look at the whole inbox once; the arguments and errors are those of ``InboxWatch``."""
    return InboxWatch(inbox, clock=clock).look(recorded, patience)


@dataclass(frozen=True, kw_only=True)
class Thoroughness:
    """What later looks of one watch compare again.

    Attributes:
        always: So many known files are all compared at every look; of more, each has its turn.
        recent: So many files, those changed last, are compared at every look: a correction comes soon after the first export.
        stamp_s: Widest step of a file system's time stamps, seconds; FAT's is 2. Two changes within it may leave a folder with the
            same times.
    """

    always: int = 4_000
    recent: int = 2_000
    stamp_s: float = 2.0


_DEFAULT: Final = Thoroughness()


class InboxWatch:
    """Looks at one inbox again and again; what it has seen it need not ask for at every look.

    Its memory only spares questions. What it takes for known was once as the ledger had it, and is compared again in turn; what it
    takes for new is asked for in the ledger before it is called so.
    """

    def __init__(
        self,
        inbox: Path,
        *,
        identify: Identify = any_inbox,
        clock: Clock = file_system_now,
        thoroughness: Thoroughness = _DEFAULT,
    ) -> None:
        """Begin to watch.

        Args:
            inbox: Folder whose subfolders are the sources.
            identify: See that it is the inbox that is meant.
            clock: Gives the time of a folder's file system.
            thoroughness: What later looks compare again.
        """
        self.inbox = inbox
        self.identify = identify
        self.clock = clock
        self.thoroughness = thoroughness
        self._folders: dict[str, WatchedFolder] = {}
        self._recent: list[tuple[int, str, str]] = []
        self._turn = 0
        self._lock = Lock()

    def look(self, recorded: Recorded, patience: Patience, *, only_since: bool = False) -> Look:
        """List the inbox and pick what is finished and new.

        A file is finished when its inode did not change for ``stable_s``: the change time is set by the file system at each
        write, so copied or back-dated modification times do not matter. It is compared with the file system's own clock; a change
        time after that clock counts as finished, because waiting for it could last for ever.

        Args:
            recorded: Answers what the ledger knows of paths.
            patience: When a file counts as finished.
            only_since: Pass over what earlier looks found finished, or refused: whoever asks has it waiting.

        Raises:
            InboxError: the inbox is not there, is no folder, cannot be read, or is another one than before.
        """
        with self._lock:
            lost_mounts = self.identify()
            if not only_since:
                for folder in self._folders.values():
                    folder.handed.clear()
            news = self._compare(self._walk(self._turns()), recorded)
            found = Look(
                known=sum(len(folder.known) for folder in self._folders.values()),
                passed_over=sum(len(folder.passed_over) for folder in self._folders.values()),
            )
            self._judge(news, patience, found)
            found.problems = {**self._unreadable(), **lost_mounts}
            return found

    def _unreadable(self) -> dict[str, str]:
        """Return what cannot be looked into, by source: files may wait there, and nobody knows."""
        problems: dict[str, str] = {}
        for folder in self._folders.values():
            if folder.unreadable:
                advice = "mount it again, or grant the right to list and enter it"
                problems.setdefault(folder.place.owner, f"the folder {folder.place.folder} cannot be read ({folder.unreadable}): {advice}")
        return problems

    def readable_folders(self) -> list[tuple[str, str]]:
        """Return source and name of each folder that the last look could read, named as one that it could not."""
        with self._lock:
            return [(folder.place.owner, folder.named) for folder in self._folders.values() if not folder.unreadable]

    def _turns(self) -> frozenset[int]:
        """Return which twentieths of the known files are due."""
        known = sum(len(folder.known) for folder in self._folders.values())
        always = self.thoroughness.always
        share = LOOKS_TO_SEE_ALL if known <= always else max(1, LOOKS_TO_SEE_ALL * always // known)
        turns = frozenset((self._turn + step) % LOOKS_TO_SEE_ALL for step in range(share))
        self._turn = (self._turn + share) % LOOKS_TO_SEE_ALL
        return turns

    def _walk(self, turns: frozenset[int]) -> Iterator[Asked]:
        """Bring the memory of every folder up to date, and yield what is to be asked for; links are not followed."""
        walked: dict[str, WatchedFolder] = {}
        recent: defaultdict[str, set[str]] = defaultdict(set)
        for _, path, name in self._recent:
            recent[path].add(name)
        root = Place(folder=str(self.inbox), source=None, prefix="")
        places = [root]
        while places:
            place = places.pop()
            try:
                folder = self._listed(place, due=is_due(place.folder, turns))
                yield from entries_to_ask_for(folder, turns, recent[place.folder])
            except OSError as error:
                if place is root:
                    raise _inbox_error(self.inbox, error) from error
                if isinstance(error, FileNotFoundError | NotADirectoryError):
                    self._lost(place, walked)
                    continue
                folder = WatchedFolder(place, (0, 0), unreadable=error.strerror or type(error).__name__)
                yield unreadable_folder(folder)
            walked[place.folder] = folder
            places += [place.below(name) for name in folder.folders]
        self._folders = walked

    def _lost(self, place: Place, walked: Mapping[str, WatchedFolder]) -> None:
        """Let the next look see as new what took the place of a folder, even under the same inode."""
        above, _, name = place.folder.rpartition("/")
        folder = walked[above]
        folder.forget(name)
        folder.inodes.pop(name, None)
        folder.settled = False

    def _listed(self, place: Place, *, due: bool) -> WatchedFolder:
        """Return the memory of a folder, listed anew unless its own times say that no name came, went or changed its inode."""
        status = Path(place.folder).stat(follow_symlinks=place.source is None)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(place.folder)
        folder, identity = self._folders.get(place.folder), (status.st_dev, status.st_ino)
        if folder is None or folder.unreadable or folder.identity != identity:
            folder = WatchedFolder(place, identity)
        times, now = (status.st_mtime_ns, status.st_ctime_ns), time.monotonic()
        if folder.times != times:
            folder.times, folder.since, folder.settled = times, now, False
        if due or not folder.settled:
            folder.list_names()
            folder.settled = now - folder.since >= self.thoroughness.stamp_s
        return folder

    def _compare(self, asked: Iterable[Asked], recorded: Recorded) -> list[tuple[Asked, TakenPath | None]]:
        """Ask the ledger, some at a time; return what is not as it says, with what it says."""
        news: list[tuple[Asked, TakenPath | None]] = []
        waiting: defaultdict[str, list[Asked]] = defaultdict(list)
        for each in asked:
            group = waiting[each.folder.place.owner]
            group.append(each)
            if len(group) == _ASKED_AT_ONCE:
                self._compare_group(waiting.pop(each.folder.place.owner), recorded, news)
        for group in waiting.values():
            self._compare_group(group, recorded, news)
        return news

    def _compare_group(self, group: list[Asked], recorded: Recorded, news: list[tuple[Asked, TakenPath | None]]) -> None:
        """Compare files of one source with the ledger, and add to the news what differs."""
        taken = recorded(group[0].folder.place.owner, [each.file_name for each in group])
        learned: list[tuple[int, str, str]] = []
        for each in group:
            folder, name, file_name, entry = each
            before = taken.get(file_name)
            if before is None or before[:3] != entry.fingerprint:
                folder.known.pop(name, None)
                folder.pending.add(name)
                news.append((each, before))
            elif folder.known.get(name) != entry.fingerprint:
                folder.known[name] = entry.fingerprint
                folder.pending.discard(name)
                learned.append((entry.fingerprint[2], folder.place.folder, name))
        if learned:
            self._recent = heapq.nlargest(self.thoroughness.recent, self._recent + learned)

    def _top(self, place: Place) -> Path:
        """Return the drop folder that a folder belongs to."""
        return self.inbox.joinpath(*Path(place.folder).relative_to(self.inbox).parts[:1])

    def _judge(self, news: Iterable[tuple[Asked, TakenPath | None]], patience: Patience, found: Look) -> None:
        """Tell the finished from the growing and the refused."""
        clocks: dict[str, float] = {}
        for each, before in news:
            place = each.folder.place
            candidate = _candidate(each, before)
            if each.entry.refusal:
                each.folder.handed.add(each.name)
                found.refused.append((candidate, each.entry.refusal))
                continue
            if place.owner not in clocks:
                clocks[place.owner] = self.clock(self._top(place))
            if _is_finished(each, patience, clocks[place.owner]):
                each.folder.handed.add(each.name)
                found.ready.append(candidate)
            else:
                found.growing += 1
        found.ready.sort(key=Candidate.turn)


def _inbox_error(inbox: Path, error: OSError) -> InboxError:
    """Say what is wrong with the inbox itself, and what to do."""
    if isinstance(error, FileNotFoundError):
        return InboxError(f"the inbox {inbox} is not there: mount it again, or make the folder")
    if isinstance(error, NotADirectoryError):
        return InboxError(f"the inbox {inbox} is not a folder: put a folder in its place")
    if isinstance(error, PermissionError):
        return InboxError(f"the inbox {inbox} cannot be read: grant the right to list and enter it")
    return InboxError(f"the inbox {inbox} cannot be listed: {error.strerror or error}")


def _candidate(asked: Asked, before: TakenPath | None) -> Candidate:
    place, (size, mtime_ns, ctime_ns) = asked.folder.place, asked.entry.fingerprint
    recorded = before.file_id if before is not None and before.size == size else ""
    return Candidate(
        source=place.owner,
        file_name=asked.file_name,
        path=Path(f"{place.folder}/{asked.name}") if asked.name else Path(place.folder),
        size=size,
        mtime_ns=mtime_ns,
        ctime_ns=ctime_ns,
        folder=asked.entry.is_folder,
        recorded_sha256=recorded,
        # 0: learnt from the tables, which do not hold times
        moved=bool(recorded) and before is not None and before.mtime_ns in {0, mtime_ns},
    )


def _is_finished(asked: Asked, patience: Patience, now_s: float) -> bool:
    entry, folder = asked.entry, asked.folder
    if entry.unfinished:
        return False
    done = asked.name.lower() in folder.done
    if done or folder.place.owner in patience.done_sources:
        return done
    wait_s = max(patience.stable_s, patience.folder_stable_s) if entry.is_folder else patience.stable_s
    return not 0 <= now_s - entry.fingerprint[2] / 1e9 < wait_s
