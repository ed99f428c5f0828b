"""Taking files in: from a look at the inbox to bytes in the raw store and a row in the ledger.

Belongs here: copying and recording. Does not belong here: which files are finished (``inbox.py``), which come first (``fairness.py``),
reading them (``ingestor.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self

from lab_assets.failpoints import failpoint
from lab_assets.ingest.candidates import Candidate, Look, patience_of
from lab_assets.ingest.fairness import FairQueue
from lab_assets.ingest.inbox_mark import mark_inbox, was_copied, watch_of
from lab_assets.ingest.raw_store import NotAFileError, RawStore, StillChangingError
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger, NewArrival
from lab_assets.state.quarantine import Quarantine
from lab_assets.state.taken_paths import note_new_times, taken_paths

_COPIES_AT_ONCE: Final = 8
_REFUSED_PART: Final = 4
"""A batch takes at most one part in so many of what is no file at all, while files wait."""


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What one call of ``Receiver.take`` did.

    Attributes:
        recorded: Paths written into the ledger: new, changed, refused, or known with other times.
        waiting: Files found finished that were not tried yet.
        moved: Those of them that only look moved, as all do in a copied home: compared last, and nearly never read.
        live: Whether any of those recorded came while files of an earlier look waited.
        problems: Drop folders that cannot be looked into, each with what to do.
    """

    recorded: int
    waiting: int
    moved: int = 0
    live: bool = False
    problems: tuple[str, ...] = ()

    @property
    def may_go_on(self) -> bool:
        """Whether another call may find something: not so when nothing waits and nothing of the last ones could be recorded."""
        return bool(self.recorded or self.waiting)


class Receiver:
    """Copies finished files into the raw store and records them.

    The first look is complete, later ones of the same receiver ask only for what may be new; as long as files wait from a look, for what
    came since. Who lets it copy ahead uses it as a context: at its end nothing is being copied any more.
    """

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger
        self.raw = RawStore(settings.raw)
        self._watch = watch_of(settings)
        self._ready = FairQueue()
        self._refused: deque[tuple[Candidate, str]] = deque()
        self._live: set[Candidate] = set()
        # each copy waits for the disk, so several wait together
        self._pool = ThreadPoolExecutor(max_workers=_COPIES_AT_ONCE, thread_name_prefix="copy")
        self._ahead: dict[Candidate, Future[NewArrival | None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        for copy in self._ahead.values():
            copy.cancel()
        wait(self._ahead.values())
        self._ahead.clear()

    def look(self, *, only_since: bool = False) -> Look:
        """Look at the inbox as it is now, or for what came since the last look.

        Raises:
            InboxError: the inbox is not there, is no folder, cannot be read, or is another one than before.
        """
        return self._watch.look(partial(taken_paths, self.ledger.engine), patience_of(self.settings), only_since=only_since)

    def begin(self) -> int:
        """Settle what follows from where the inbox is now, before files are taken.

        In a copied laboratory every file has another change time. Those whose size and modification time are as recorded are taken for
        what they were, without a reading; what was written since the copy has another modification time. Folders that were refused because
        they could not be read, and can be now, are refused no longer.

        Returns:
            Files whose new times were noted.

        Raises:
            InboxError: see ``take``.
        """
        found = self.look()
        noted = 0
        if was_copied(self.settings):
            noted = note_new_times(
                self.ledger.engine, [(each.source, each.file_name, *each.fingerprint) for each in found.ready if each.moved]
            )
        Quarantine(self.ledger.engine).release_folders(set(self._watch.readable_folders()))
        mark_inbox(self.settings)
        return noted

    def take(self, limit: int, *, before_copying: Callable[[int], None] = lambda _count: None) -> Intake:
        """Copy finished files and record them: surely new ones first, files that only look moved last, sources in equal shares.

        What came since the last look takes part; when nothing is left of it, the inbox is looked at anew.

        Args:
            limit: Most files to record.
            before_copying: Called with the number of files that are surely new, when one of them is copied now.

        Raises:
            InboxError: the inbox is not there, is no folder, cannot be read, or is another one than before.
        """
        others_wait = bool(self._ready or self._refused)
        found = self.look(only_since=others_wait)
        if others_wait:
            self._live.update(found.ready)
        self._ready.add(found.ready)
        self._refused.extend(found.refused)
        new = self._ready.new()
        ready = self._ready.take(max(limit - len(self._refused), limit - limit // _REFUSED_PART, 1))
        refused = [self._refused.popleft() for _ in range(min(limit - len(ready), len(self._refused)))]
        if any(not candidate.recorded_sha256 for candidate in ready):
            before_copying(new)
        copies = [self._ahead.pop(candidate, None) or self._pool.submit(self._copy, candidate) for candidate in ready]
        arrivals = [arrival for copy in copies if (arrival := copy.result()) is not None]
        arrivals += [_refused(candidate, f"{candidate.file_name!r} {reason}") for candidate, reason in refused]
        failpoint("after_copy")
        if arrivals:
            self.ledger.record(arrivals)
        failpoint("after_ledger_row")
        return Intake(
            recorded=len(arrivals),
            waiting=len(self._ready) + len(self._refused),
            moved=self._ready.count(moved=True),
            live=not self._live.isdisjoint(ready),
            problems=tuple(found.problems.values()),
        )

    def copy_ahead(self, limit: int) -> None:
        """Begin to copy the files that the next ``take`` records; it records the same as if it copied them itself.

        Args:
            limit: Most files to copy.
        """
        for candidate in self._ready.next(limit):
            if candidate not in self._ahead:
                self._ahead[candidate] = self._pool.submit(self._copy, candidate)

    def _copy(self, candidate: Candidate) -> NewArrival | None:
        """Copy one file; ``None`` for one that changed meanwhile, which a later look finds again."""
        try:
            if candidate.folder:
                stored = self.raw.put_folder(candidate.path, recorded_sha256=candidate.recorded_sha256)
            else:
                stored = self.raw.put_file(candidate.path, seen=candidate.fingerprint, recorded_sha256=candidate.recorded_sha256)
        except StillChangingError:
            return None
        except FileNotFoundError:
            return _arrival(candidate, state="vanished", reason="the file vanished between listing and opening")
        except NotAFileError as error:
            return _refused(candidate, str(error))
        except PermissionError:
            reason = "no right to read the file; grant it and touch the file"
            return _arrival(candidate, state="quarantined", rule="unreadable", reason=reason)
        times = candidate if candidate.folder else stored
        return NewArrival(
            source=candidate.source,
            file_name=candidate.file_name,
            size=stored.size,
            mtime_ns=times.mtime_ns,
            ctime_ns=times.ctime_ns,
            file_id=stored.sha256,
        )


def _arrival(candidate: Candidate, *, state: str, reason: str, rule: str | None = None) -> NewArrival:
    names = ("source", "file_name", "size", "mtime_ns", "ctime_ns")
    return NewArrival(**{name: getattr(candidate, name) for name in names}, file_id="", state=state, rule=rule, reason=reason)


def _refused(candidate: Candidate, reason: str) -> NewArrival:
    rule = "unreadable" if candidate.folder and "cannot be read" in reason else "not_a_file"
    return _arrival(candidate, state="quarantined", rule=rule, reason=reason)
