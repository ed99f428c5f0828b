"""Taking files in: from a look at the inbox to bytes in the raw store and a row in the ledger.

Belongs here: copying and recording. Does not belong here: which files are finished (``inbox.py``), reading them (``ingest.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from lab_assets.failpoints import failpoint
from lab_assets.ingest.inbox import Candidate, Look, look, patience_of
from lab_assets.ingest.raw_store import NotAFileError, RawStore, StillChangingError
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger, NewArrival

_COPIES_AT_ONCE: Final = 8


class Receiver:
    """Copies finished files into the raw store and records them."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger
        self.raw = RawStore(settings.raw)

    def look(self) -> Look:
        """Look at the inbox as it is now."""
        return look(self.settings.inbox, self.ledger.taken_paths(), patience_of(self.settings))

    def take(self, limit: int, *, before_copying: Callable[[], None] = lambda: None) -> int:
        """Copy finished files, oldest first, and record them.

        Args:
            limit: Most files to copy.
            before_copying: Called once when there is something to copy.

        Returns:
            How many files wait that were not taken.
        """
        found = self.look()
        if found.ready:
            before_copying()
        # each copy waits for the disk, so several wait together
        with ThreadPoolExecutor(max_workers=_COPIES_AT_ONCE, thread_name_prefix="copy") as pool:
            copied = pool.map(self._copy, found.ready[:limit])
            arrivals = [arrival for arrival in copied if arrival is not None]
        for candidate, reason in found.refused[:limit]:
            arrivals.append(_refused(candidate, f"{candidate.file_name!r} {reason}"))
        failpoint("after_copy")
        if arrivals:
            self.ledger.record(arrivals)
        failpoint("after_ledger_row")
        return max(0, len(found.ready) - limit)

    def _copy(self, candidate: Candidate) -> NewArrival | None:
        """Copy one file; ``None`` for one that changed meanwhile, which a later look finds again."""
        try:
            stored = self.raw.put_folder(candidate.path) if candidate.folder else self.raw.put_file(candidate.path)
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
