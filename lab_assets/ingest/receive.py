"""Taking files in: from a look at the inbox to bytes in the raw store and a row in the ledger.

Belongs here: copying and recording. Does not belong here: which files are finished (``inbox.py``), reading them (``ingestor.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Final, Self

from lab_assets.failpoints import failpoint
from lab_assets.ingest.candidates import Candidate, Look, patience_of
from lab_assets.ingest.inbox import InboxWatch
from lab_assets.ingest.raw_store import NotAFileError, RawStore, StillChangingError
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger, NewArrival
from lab_assets.state.taken_paths import taken_paths

_COPIES_AT_ONCE: Final = 8


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What one call of ``Receiver.take`` did.

    Attributes:
        recorded: Paths written into the ledger: new, changed, refused, or known with other times.
        waiting: Files found finished that were not tried yet.
        moved: Those of them that only look moved, as all do in a copied home: compared last, and nearly never read.
    """

    recorded: int
    waiting: int
    moved: int = 0

    @property
    def may_go_on(self) -> bool:
        """Whether another call may find something: not so when nothing waits and nothing of the last ones could be recorded."""
        return bool(self.recorded or self.waiting)


class Receiver:
    """Copies finished files into the raw store and records them.

    The first look is complete, later ones of the same receiver ask only for what may be new. Who lets it copy ahead uses it as a context:
    at its end nothing is being copied any more.
    """

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger
        self.raw = RawStore(settings.raw)
        self._watch = InboxWatch(settings.inbox)
        self._ready: deque[Candidate] = deque()
        self._refused: deque[tuple[Candidate, str]] = deque()
        self._moved = 0
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

    def look(self) -> Look:
        """Look at the inbox as it is now.

        Raises:
            InboxError: the inbox is not there, is no folder, or cannot be read.
        """
        return self._watch.look(partial(taken_paths, self.ledger.engine), patience_of(self.settings))

    def take(self, limit: int, *, before_copying: Callable[[int], None] = lambda _count: None) -> Intake:
        """Copy finished files and record them: surely new ones first, files that only look moved last.

        The inbox is looked at when nothing is left of the last look.

        Args:
            limit: Most files to copy.
            before_copying: Called with the number of files that are surely new, when one of them is copied now.

        Raises:
            InboxError: the inbox is not there, is no folder, or cannot be read.
        """
        if not self._ready and not self._refused:
            found = self.look()
            self._ready.extend(found.ready)
            self._refused.extend(found.refused)
            self._moved = sum(candidate.moved for candidate in found.ready)
        ready = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
        refused = [self._refused.popleft() for _ in range(min(limit, len(self._refused)))]
        if any(not candidate.recorded_sha256 for candidate in ready):
            before_copying(sum(not candidate.recorded_sha256 for candidate in (*ready, *self._ready)))
        copies = [self._ahead.pop(candidate, None) or self._pool.submit(self._copy, candidate) for candidate in ready]
        arrivals = [arrival for copy in copies if (arrival := copy.result()) is not None]
        arrivals += [_refused(candidate, f"{candidate.file_name!r} {reason}") for candidate, reason in refused]
        failpoint("after_copy")
        if arrivals:
            self.ledger.record(arrivals)
        failpoint("after_ledger_row")
        return Intake(recorded=len(arrivals), waiting=len(self._ready) + len(self._refused), moved=min(self._moved, len(self._ready)))

    def copy_ahead(self, limit: int) -> None:
        """Begin to copy the files that the next ``take`` records; it records the same as if it copied them itself.

        Args:
            limit: Most files to copy.
        """
        for candidate in islice(self._ready, limit):
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
    return _arrival(candidate, state="quarantined", rule="not_a_file", reason=reason)
