"""Which finished files come next when more wait than one batch takes.

Belongs here: shares of sources, old against new. Does not belong here: finding files (``inbox.py``), copying them (``receive.py``).

Sources have equal shares, so that a delivery of a hundred thousand files in one of them holds up the others by one batch at most. Of
each share a part goes to the files that changed last: what an instrument has just written need not wait for an archive that was dropped
into the same folder before it. The rest goes to those that wait longest, so none waits for ever.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from lab_assets.ingest.candidates import Candidate

LIVE_PART: Final = 0.2
"""Part of a source's share that goes to the files that changed last."""


def shares(waiting: Mapping[str, int], limit: int, taken: Mapping[str, int] | None = None) -> dict[str, int]:
    """Divide a batch between sources: equal shares, and what one does not use goes to the others.

    Args:
        waiting: Files that wait, by source.
        limit: Files of the batch.
        taken: Files that earlier batches took: whoever had fewest comes first where not all can have the same.
    """
    had = taken or {}
    given = dict.fromkeys(waiting, 0)
    left = limit
    while left and (open_to := [source for source, count in waiting.items() if given[source] < count]):
        each = left // len(open_to)
        for source in sorted(open_to, key=lambda name: (had.get(name, 0) + given[name], name)):
            more = min(max(each, 1), waiting[source] - given[source], left)
            given[source] += more
            left -= more
    return given


class FairQueue:
    """Finished files that wait: surely new ones before those that may be known, and these before those that only look moved."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[bool, bool], dict[str, list[Candidate]]] = {}
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(len(files) for sources in self._waiting.values() for files in sources.values())

    def count(self, *, moved: bool) -> int:
        """Return how many of those that wait only look moved, or do not."""
        return sum(len(files) for (is_moved, _), sources in self._waiting.items() if is_moved == moved for files in sources.values())

    def new(self) -> int:
        """Return how many are surely new."""
        return sum(len(files) for files in self._waiting.get((False, False), {}).values())

    def add(self, candidates: Iterable[Candidate]) -> None:
        """Let files wait; they come sorted by ``Candidate.turn``, as a look returns them."""
        for candidate in candidates:
            files = self._waiting.setdefault(candidate.turn()[:2], {}).setdefault(candidate.source, [])
            if files and candidate.turn() < files[-1].turn():
                insort(files, candidate, key=Candidate.turn)
            else:
                files.append(candidate)

    def next(self, limit: int) -> list[Candidate]:
        """Return those that would be taken now, and leave them."""
        return [
            files[at] for files, oldest, newest in self._chosen(limit) for at in (*range(oldest), *range(len(files) - newest, len(files)))
        ]

    def take(self, limit: int) -> list[Candidate]:
        """Return a batch, those that changed first before the others, and let it wait no longer."""
        found: list[Candidate] = []
        for files, oldest, newest in self._chosen(limit):
            end = len(files) - newest
            found += files[:oldest] + files[end:]
            self._taken[files[0].source] += oldest + newest
            files[:] = files[oldest:end]
        return sorted(found, key=Candidate.turn)

    def _chosen(self, limit: int) -> Iterator[tuple[list[Candidate], int, int]]:
        """Yield the files of each source that has a share, and how many of the oldest and of the newest are in it."""
        for kind in sorted(self._waiting):
            sources = {source: files for source, files in self._waiting[kind].items() if files}
            for source, share in shares({source: len(files) for source, files in sources.items()}, limit, self._taken).items():
                limit -= share
                newest = int(share * LIVE_PART)
                if share:
                    yield sources[source], share - newest, newest
