"""Looks at an inbox of many known files, beside listing and asking the disk alone, and taking one new file among them.

Belongs here: making inbox and ledger, timing looks. Does not belong here: tests; nothing here passes or fails.
Run as ``.venv/bin/python bench/inbox.py [FILES ...]``.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median_low
from typing import Any, NamedTuple

import psutil
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, insert

from lab_assets.ingest.candidates import Patience
from lab_assets.ingest.inbox import LOOKS_TO_SEE_ALL, InboxWatch, nothing_taken
from lab_assets.ingest.receive import Receiver
from lab_assets.settings import Settings
from lab_assets.state.database import open_database, utc_text, writing
from lab_assets.state.ledger import Ledger
from lab_assets.state.ledger_tables import ARRIVALS, CURRENT_PATHS, INGEST_BATCHES
from lab_assets.state.taken_paths import taken_paths

SIZES = (2_000, 20_000, 200_000)
SOURCES = 20
FILES_A_BATCH = 10
MIB = 1 << 20
PATIENCE = Patience(stable_s=0)


def fill(inbox: Path, n_files: int) -> None:
    """Lay files down, in as many drop folders as a laboratory has instruments."""
    for source in range(SOURCES):
        (inbox / f"hplc-{source:02d}").mkdir(parents=True)
    for number in range(n_files):
        (inbox / f"hplc-{number % SOURCES:02d}" / f"sequence 7_export_{number:07d}.txt").write_text(str(number))


def record_all(settings: Settings, engine: Engine) -> None:
    """Write the ledger as if every file had been taken, ten in a batch."""
    ready = InboxWatch(settings.inbox).look(nothing_taken, PATIENCE).ready
    now = utc_text()
    paths: list[dict[str, Any]] = []
    for number, each in enumerate(ready, start=1):
        names = {name: getattr(each, name) for name in ("source", "file_name", "size", "mtime_ns", "ctime_ns")}
        paths.append({**names, "file_id": f"{number:064x}", "arrival_id": number})
    batches = [
        {"batch": number, "state": "committed", "opened_at": now, "table_versions": {}}
        for number in range(1, len(paths) // FILES_A_BATCH + 2)
    ]
    arrived = {"state": "committed", "arrived_at": now, "warnings": [], "rows_parsed": {}, "rows_rejected": {}}
    with writing(engine) as connection:
        connection.execute(insert(INGEST_BATCHES), batches)
        connection.execute(insert(CURRENT_PATHS), paths)
        connection.execute(insert(ARRIVALS), [{**path, **arrived, "batch": path["arrival_id"] // FILES_A_BATCH + 1} for path in paths])


def ask_the_disk(inbox: Path) -> None:
    """List every folder and ask for every file: what a complete look cannot do without."""
    for source in os.scandir(inbox):
        for entry in os.scandir(source.path):
            entry.stat(follow_symlinks=False)


class Time(NamedTuple):
    """How long something took, seconds: on the clock, and of this process's processor time; without other load the two agree."""

    wall: float
    processor: float

    def __str__(self) -> str:
        """Return both in milliseconds."""
        return f"{1000 * self.wall:,.0f} ({1000 * self.processor:,.0f})"


def timed(work: Callable[[], object]) -> Time:
    """Return how long something takes."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Time(time.perf_counter() - wall, time.process_time() - processor)


def take_one(settings: Settings, ledger: Ledger) -> tuple[Time, Time]:
    """Take one new file among the known; return the look that a run needs for it, and copying, recording and opening its batch."""
    receiver = Receiver(settings, ledger)
    receiver.look()
    walks: list[Time] = []
    rests: list[Time] = []
    for number in range(5):
        for half in "ab":
            (settings.inbox / "hplc-00" / f"new-{number}{half}.txt").write_text(f"new {number}{half}")
        walks.append(timed(receiver.look))
        receiver.take(1)  # looks, and leaves the second file for the next call, which need not look

        def take_second() -> None:
            receiver.take(1)
            ledger.open_batch(1000)

        rests.append(timed(take_second))
        for batch, _ in ledger.unfinished_batches():
            ledger.commit_batch(batch, [], {})
    return median_low(walks), median_low(rests)


def prepare(home: Path, n_files: int) -> None:
    """Lay files and ledger down, in a process whose memory is not measured."""
    settings = Settings(home=home, stable_s=0)
    fill(settings.inbox, n_files)
    engine = open_database(settings)
    record_all(settings, engine)
    engine.dispose()


def measure(n_files: int) -> list[str]:
    """Return one row of the table."""
    with tempfile.TemporaryDirectory() as name:
        child = get_context("spawn").Process(target=prepare, args=(Path(name), n_files))
        child.start()
        child.join()
        settings = Settings(home=Path(name), stable_s=0)
        engine = open_database(settings)
        recorded, me = partial(taken_paths, engine), psutil.Process()
        floor = min(timed(partial(ask_the_disk, settings.inbox)) for _ in range(3))
        before = me.memory_info().rss
        watch = InboxWatch(settings.inbox)
        complete = timed(lambda: watch.look(recorded, PATIENCE))
        later = sorted(timed(lambda: watch.look(recorded, PATIENCE)) for _ in range(2 * LOOKS_TO_SEE_ALL))
        memory = me.memory_info().rss - before
        (settings.inbox / "hplc-00" / "one more.txt").write_text("one more")
        new = timed(lambda: watch.look(recorded, PATIENCE))
        found = watch.look(recorded, PATIENCE)
        assert ([each.file_name for each in found.ready], found.known) == (["one more.txt"], n_files)  # noqa: S101
        (settings.inbox / "hplc-00" / "one more.txt").unlink()
        walk, rest = take_one(settings, Ledger(engine))
        engine.dispose()
    times = (floor, complete, later[len(later) // 2], later[-1], new, walk, rest)
    return [f"{n_files:,}", *map(str, times), f"{memory / MIB:.0f}"]


def main() -> None:
    """Measure each size and print one table."""
    sizes = [int(each) for each in sys.argv[1:]] or list(SIZES)
    title = f"Looks at the inbox: ms on the clock (of processor time); every known file is compared again within {LOOKS_TO_SEE_ALL} looks"
    table = Table(title=title)
    for column in (
        *("known files", "disk alone", "complete look", "later look, median", "later look, longest", "look that finds one"),
        *("later look of a run", "one file copied and recorded", "memory, MiB"),
    ):
        table.add_column(column, justify="right")
    for size in sizes:
        table.add_row(*measure(size))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
