"""How far an ingestion is, read from the ledger while it runs.

Belongs here: looking at the ledger and saying a line. Does not belong here: ingesting (``lab_assets.ingest.ingestor``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from sqlalchemy import Engine, func, select

from lab_assets.state.ledger_tables import ARRIVALS, INGEST_BATCHES


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far it is.

    Attributes:
        done: Arrivals of committed batches since the start.
        total: Files that waited at the start, or more when more came.
        files_per_s: Rate since the start.
    """

    done: int
    total: int
    files_per_s: float

    def line(self) -> str:
        """Return a line for people: done, total, rate, time left."""
        if not self.done:
            return f"0 of {self.total} file(s)"
        left_s = (self.total - self.done) / self.files_per_s
        rest = f", about {left_s:.0f} s left" if self.done < self.total else ""
        return f"{self.done} of {self.total} file(s), {self.files_per_s:.1f} files/s{rest}"


def progress_since(engine: Engine, batch: int, *, waiting: int, seconds: float) -> Progress:
    """Return how far an ingestion is.

    Args:
        engine: The ledger's database.
        batch: Last batch before it began.
        waiting: Files that waited when it began.
        seconds: Time since then.
    """
    committed = select(INGEST_BATCHES.c.batch).where(INGEST_BATCHES.c.batch > batch, INGEST_BATCHES.c.state == "committed")
    query = select(func.count()).select_from(ARRIVALS).where(ARRIVALS.c.batch.in_(committed))
    with engine.connect() as connection:
        done = int(connection.execute(query).scalar_one())
    return Progress(done=done, total=max(waiting, done), files_per_s=done / max(seconds, 1e-9))


def taken_since(engine: Engine, batch: int) -> int:
    """Return how many arrivals are in batches after this one, or in none yet."""
    query = select(func.count()).select_from(ARRIVALS).where((ARRIVALS.c.batch > batch) | ARRIVALS.c.batch.is_(None))
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


@contextmanager
def progress_lines(
    engine: Engine, batch: int, *, waiting: Callable[[], int], say: Callable[[str], None], every_s: float = 5.0
) -> Iterator[None]:
    """Say how far an ingestion is while the body runs, whenever that changed.

    Args:
        engine: The ledger's database.
        batch: Last batch before it began.
        waiting: Counts the files that wait; asked once, when the body has run for ``every_s``: a short one need not pay for a look.
        say: Called with each line.
        every_s: Time between two looks at the ledger.
    """
    ended = Event()
    started = time.monotonic()

    def watch() -> None:
        said, total = -1, None
        while not ended.wait(every_s):
            if total is None:
                total = waiting() + taken_since(engine, batch)
            now = progress_since(engine, batch, waiting=total, seconds=time.monotonic() - started)
            if now.done != said and now.total:  # the tables that follow take their time as well, and bring no file
                say(now.line() if now.done < now.total else f"{now.line()}; the tables made from them follow")
                said = now.done

    watcher = Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
