"""Ingestion of many files with some bad ones among them: rate by tenth, memory, and reading alone in the same run.

Belongs here: making the files, running the real ingestion, counting. Does not belong here: tests; nothing here passes or fails.
Run as ``.venv/bin/python bench/ingestion.py [FILES]``; ``make bench`` runs it with its default.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Self

import psutil
from rich.console import Console
from rich.table import Table

from lab_assets.compute.session import SessionKeeper
from lab_assets.compute.spark_server import lease, stop_server
from lab_assets.contracts.bronze import CHROMATOGRAMS, FILES
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.simulation.run import simulate
from lab_assets.sources.all_readers import read_file
from lab_assets.sources.base import ReadContext
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger

N_FILES = 10_000
POISONED_EVERY = 100
ALONE = 500
MIB = 1 << 20
CONSOLE = Console()


def templates(folder: Path) -> list[bytes]:
    """Return the LabSolutions exports of one simulated lot."""
    simulate(folder, seed=7, n_lots=1, start=datetime(2024, 7, 1, tzinfo=UTC), months=1)
    texts = [path.read_bytes() for path in sorted(folder.rglob("*.txt"))]
    return [text for text in texts if text.startswith(b"[Header]")]


def poisons(good: bytes) -> list[tuple[str, Callable[[int], bytes]]]:
    """Return what is wrong with a bad file, by the rule that must refuse it."""
    half = len(good) // 2
    return [
        ("truncated", lambda number: good[: half + number]),
        ("encoding", lambda number: good[:half] + b"\x00" + f"{number}".encode() + good[half:]),
        ("unknown_format", lambda number: os.urandom(200) + number.to_bytes(4)),
        ("empty", lambda number: b"\n" * (number + 1)),
    ]


def fill(inbox: Path, n_files: int, made: list[bytes]) -> dict[str, int]:
    """Drop files; one in every hundred is bad. Return how many must be refused, by rule."""
    folder = inbox / "hplc"
    folder.mkdir(parents=True)
    bad = poisons(made[0])
    wanted: dict[str, int] = {}
    for number in range(n_files):
        if number % POISONED_EVERY == POISONED_EVERY // 2:
            rule, make = bad[(number // POISONED_EVERY) % len(bad)]
            wanted[rule] = wanted.get(rule, 0) + 1
            data = make(number)
        else:
            data = made[number % len(made)].replace(b"Sample ID\t", f"Sample ID\tB{number}-".encode(), 1)
        (folder / f"{number:06d}.txt").write_bytes(data)
    return wanted


def alone_s(inbox: Path, n_files: int) -> float:
    """Return the seconds that reading takes on one core, without anything else, for a share of the files; scaled to all of them."""
    paths = sorted(inbox.rglob("*.txt"))[:: max(1, n_files // ALONE)]
    contents = [path.read_bytes() for path in paths]
    started = time.perf_counter()
    for content in contents:
        try:
            read_file(content, ReadContext(file_name="x.txt"))
        except ValueError:
            continue
    return (time.perf_counter() - started) * n_files / len(paths)


class Memory:
    """Samples the resident memory of this process and of Spark's Python workers while something runs."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, int, int]] = []
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(1.0):
            workers = [process for process in psutil.process_iter(["cmdline"]) if _is_worker(process)]
            self.samples.append((time.monotonic(), me.memory_info().rss, max((_rss(process) for process in workers), default=0)))

    def highest_mib(self, since: float, until: float) -> tuple[float, float]:
        """Return the highest of this process and of any worker between two times, MiB."""
        seen = [(mine, worker) for at, mine, worker in self.samples if since <= at <= until] or [(0, 0)]
        return max(mine for mine, _ in seen) / MIB, max(worker for _, worker in seen) / MIB


def _is_worker(process: psutil.Process) -> bool:
    return "lab_assets.compute.spark_python" in (process.info["cmdline"] or [])


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def batches(lake: Lakehouse, progress: list[float]) -> Iterator[str]:
    """Run the ingestion; note when each batch was done."""

    def say(line: str) -> None:
        if " of " in line and "file(s)" in line:
            progress.append(time.monotonic())
        CONSOLE.print(line, style="dim")

    report = Ingestor(lake, say=say).run()
    yield f"{report.states} {report.reasons}"


def main() -> None:
    """Make the files, ingest them and print one table."""
    n_files = int(sys.argv[1]) if len(sys.argv) > 1 else N_FILES
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "lab"
        made = templates(Path(name) / "made")
        wanted = fill(home / "inbox", n_files, made)
        total = sum(path.stat().st_size for path in (home / "inbox").rglob("*.txt"))
        CONSOLE.print(f"{n_files} files, {total / MIB:.0f} MiB, {sum(wanted.values())} of them bad")
        floor_s = alone_s(home / "inbox", n_files)
        settings = Settings(home=home, stable_s=0, batch_files=max(1, n_files // 10), jars_dir=PROJECT_ROOT / ".jars")
        keeper = SessionKeeper(settings)
        lake = Lakehouse(settings, keeper, Ledger(open_database(settings)))
        marks: list[float] = []
        with lease(settings), Memory() as memory:
            keeper.session.sql("SELECT 1").collect()
            marks.append(time.monotonic())
            outcome = list(batches(lake, marks))
        keeper.close()
        stop_server(settings)
        report(lake, n_files, wanted, floor_s=floor_s, marks=marks, memory=memory)
        CONSOLE.print(outcome[0])


def report(lake: Lakehouse, n_files: int, wanted: dict[str, int], *, floor_s: float, marks: list[float], memory: Memory) -> None:
    """Print the rates by tenth, and whether every row is where it should be."""
    rates = [n_files / 10 / (end - start) for start, end in pairwise(marks)]
    table = Table("tenth", "files/s", "run process, MiB", "largest worker, MiB", title="Ingestion by tenth")
    for number, rate in enumerate(rates, start=1):
        mine, worker = memory.highest_mib(marks[number - 1], marks[number])
        table.add_row(str(number), f"{rate:.1f}", f"{mine:.0f}", f"{worker:.0f}")
    CONSOLE.print(table)
    spent_s = marks[-1] - marks[0]
    files = lake.polars(FILES, ["state", "rule", "file_id"])
    refused = dict(files.filter(files["state"] == "quarantined")["rule"].value_counts().rows())
    held = lake.polars(CHROMATOGRAMS, ["source_sha256"])["source_sha256"].n_unique()
    CONSOLE.print(
        f"all: {n_files / spent_s:.1f} files/s; reading alone on one core: {n_files / floor_s:.1f} files/s ({spent_s / floor_s:.2f}x its time)"
    )
    CONSOLE.print(f"last tenth against the first: {rates[-1] / rates[0]:.2f}; best of the middle: {max(rates):.1f} files/s")
    CONSOLE.print(f"good files in bronze: {held} of {n_files - sum(wanted.values())}; refused: {refused}, wanted: {wanted}")
    digest = hashlib.sha256("".join(sorted(files["file_id"])).encode()).hexdigest()[:12]
    CONSOLE.print(f"digest of all files: {digest}", style="dim")


if __name__ == "__main__":
    main()
