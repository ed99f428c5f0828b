"""Cost of news beside the size of the history: one file and a hundred into lakes of 2,000, 20,000 and 200,000 injections.

Belongs here: dropping files, timing every station, printing. Does not belong here: making the lakes (``history.py``), tests; nothing
here passes or fails. Run as ``.venv/bin/python bench/growth.py [--sizes 2000 20000 200000] [--rounds 3]``; lakes are kept in
``bench/.cache`` and made once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import polars as pl
from history import History, lakehouse
from inbox import measure as look_at_inbox
from rich.console import Console
from rich.table import Table

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.bronze import LIMS_RESULTS
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.lake import opening
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.maintenance import maintain
from lab_assets.registry.serving import current_serving, verified_bundle
from lab_assets.simulation.run import simulate
from lab_assets.stations.all_stations import STATIONS
from lab_assets.stations.governance.lineage import missing_lineage, update_lineage
from lab_assets.stations.ml.predictions import Scoring, score_waiting
from lab_assets.stations.quality import reconciliation, violations
from lab_assets.stations.runner import update

CACHE: Final = Path(__file__).parent / ".cache"
SIZES: Final = (2_000, 20_000, 200_000)
LOTS: Final = 174
"""Lots of the laboratory that is repeated: 2,000 injections."""
TRACES: Final = 100
COMMITS: Final = 1_000
KNOWN_FILES: Final = 200_000
MIB: Final = 1 << 20
CONSOLE: Final = Console(width=150)
_STATIC: Final = ("processing_methods.csv", "specifications.csv")
_AT: Final = datetime(2026, 1, 5, tzinfo=UTC)


class News(NamedTuple):
    """Files that a laboratory gets next.

    Attributes:
        hundred: A hundred traces with their worklist, samples and lots.
        one: One trace that the same worklist names.
    """

    hundred: list[Path]
    one: list[Path]


class Spent(NamedTuple):
    """What one drop took.

    Attributes:
        seconds: Processor seconds of this process and of its children by step. Unlike those on the clock they hardly depend on what else
            the machine does.
        wall: Seconds on the clock by step.
        peak_mib: Highest resident memory meanwhile.
    """

    seconds: dict[str, float]
    wall: dict[str, float]
    peak_mib: float


def base_laboratory(folder: Path) -> Path:
    """Return the home of the laboratory that is repeated; made by ``lab demo`` where it is not there."""
    home = folder / "laboratory"
    if not home.exists():
        draft = folder / "laboratory.draft"
        shutil.rmtree(draft, ignore_errors=True)
        lab = Path(sys.executable).parent / "lab"
        subprocess.run([lab, "demo", "--lots", str(LOTS)], env={**os.environ, "LAB_HOME": str(draft)}, check=True, stdout=sys.stderr)
        subprocess.run([lab, "down"], env={**os.environ, "LAB_HOME": str(draft)}, check=False, stdout=sys.stderr)
        draft.rename(home)
    return home


def history(base: Path, folder: Path, size: int) -> Path:
    """Return a lake with about as many injections, made where it is not there."""
    home = folder / f"history-{size}"
    if not home.exists():
        draft = folder / f"history-{size}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        held = lakehouse(base).row_count(contracts()["silver.injections"])
        started = time.perf_counter()
        History(base, draft, repetitions=max(1, round(size / held)), say=lambda line: CONSOLE.print(line, style="dim")).write()
        draft.rename(home)
        CONSOLE.print(f"{size:,} injections made in {time.perf_counter() - started:.0f} s", style="dim")
    return home


def news(folder: Path) -> News:
    """Simulate what comes next."""
    inbox = folder / "news"
    if not inbox.exists():
        simulate(inbox, seed=99, n_lots=30, start=_AT, months=2)
    files = sorted(path for path in inbox.rglob("*") if path.is_file())
    lims = [path for path in files if path.parts[-2] == "lims" and path.name not in _STATIC]
    traces = sorted((path for path in files if "hplc" in path.relative_to(inbox).parts[0]), key=lambda path: path.stem)
    chosen = traces[: TRACES + 1]
    return News(hundred=[*lims, *chosen[:-1]], one=chosen[-1:])


def copied(home: Path, target: Path) -> Path:
    """Copy a laboratory; files of tables never change and are linked."""
    shutil.copytree(home, target, copy_function=os.link, ignore=shutil.ignore_patterns("lab.db*"))
    for path in home.glob("lab.db*"):
        shutil.copy2(path, target / path.name)
    return target


def drop(lake: Lakehouse, root: Path, files: Sequence[Path]) -> Spent:
    """Drop files and take them through ingestion, every station, scoring, lineage and the checks."""
    for path in files:
        target = lake.settings.inbox / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    opening._digest.cache_clear()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as in a process of its own
    Path("/proc/self/clear_refs").write_text("5")
    steps: dict[str, Callable[[], object]] = {
        "ingest": Ingestor(lake).run,
        **{station.name: partial(update, lake, station) for station in STATIONS},
        "ml.predictions": partial(_score, lake),
        "governance.lineage": lambda: update_lineage(lake, STATIONS),
        "contract checks": lambda: [violations(lake, table) for table in contracts().values()],
        "reconciliation": lambda: reconciliation(lake),
        "lineage check": lambda: missing_lineage(lake),
    }
    seconds: dict[str, float] = {}
    wall: dict[str, float] = {}
    for name, work in steps.items():
        started, began = _processor_s(), time.perf_counter()
        work()
        seconds[name], wall[name] = _processor_s() - started, time.perf_counter() - began
    return Spent(seconds, wall, _peak_mib())


def _processor_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _score(lake: Lakehouse) -> None:
    serving = current_serving(lake.ledger.engine)
    if serving is None:
        raise RuntimeError("no model serves in the laboratory that is repeated")
    bundle = verified_bundle(lake.settings, lake.ledger.engine)
    scoring = Scoring(model_version=serving.version, mode="stream", requested_by="bench", predicted_at_utc=datetime.now(UTC))
    score_waiting(lake, bundle, scoring)


def measure(small: Path, home: Path, root: Path, files: News) -> tuple[Spent, Spent]:
    """Drop one file into a copy of the small lake, so that libraries are loaded; then a hundred, and one more, into a copy of another.

    Returns:
        What the hundred took, and the one.
    """
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        for name, source in (("warm", small), ("measured", home)):
            lake = lakehouse(copied(source, Path(folder) / name))
            many, single = drop(lake, root, files.hundred), drop(lake, root, files.one)
            lake.keeper.close()
            lake.ledger.engine.dispose()
    return many, single


def grown(folder: Path, sizes: Sequence[int], rounds: int) -> None:
    """Measure every size in turn, a few rounds, each in a process of its own; print the least of each: what else runs only adds."""
    base = base_laboratory(folder)
    homes = {size: history(base, folder, size) for size in sizes}
    files = news(folder)
    found: dict[int, list[tuple[Spent, Spent]]] = {size: [] for size in sizes}
    for number in range(rounds):
        for size in sizes if number % 2 == 0 else reversed(sizes):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found[size].append(pool.submit(measure, homes[sizes[0]], homes[size], folder / "news", files).result())
    for which, title in ((1, "one file"), (0, f"{TRACES} traces and their LIMS exports")):
        _print(title, {size: [each[which] for each in spent] for size, spent in found.items()})


def _print(title: str, found: dict[int, list[Spent]]) -> None:
    sizes = list(found)
    table = Table(title=f"{title}: ms of processor time (on the clock) by step, least of the rounds")
    for column in ("step", *(f"{size:,} injections" for size in sizes), "last / first"):
        table.add_column(column, justify="left" if column == "step" else "right")

    def row(name: str, of: Callable[[Spent], tuple[float, float]]) -> None:
        mine = [(min(of(each)[0] for each in found[size]), min(of(each)[1] for each in found[size])) for size in sizes]
        cells = [f"{1000 * spent:,.0f} ({1000 * wall:,.0f})" for spent, wall in mine]
        grown_by = [last / max(first, 1e-3) for first, last in zip(mine[0], mine[-1], strict=True)]
        table.add_row(name, *cells, f"{grown_by[0]:.2f} ({grown_by[1]:.2f})")

    for name in found[sizes[0]][0].seconds:
        row(name, lambda spent, name=name: (spent.seconds[name], spent.wall[name]))
    table.add_section()
    row("whole", lambda spent: (sum(spent.seconds.values()), sum(spent.wall.values())))
    table.add_row("peak memory, MiB", *(f"{median(each.peak_mib for each in found[size]):,.0f}" for size in sizes), "")
    CONSOLE.print(table)


def commits(folder: Path) -> None:
    """Read one column after one commit, after a thousand, and after these were put together."""
    row = {"result_id": "R", "sample_name": "S", "method_id": "M", "analyte": "A", "value": 1.0, "unit": "%", "source": "lims"}
    fixed = {**row, "source_file": "r.csv", "source_sha256": "0" * 64, "source_row": 1, "ingested_at_utc": _AT, "ingest_batch": 1}

    def read_ms(lake: Lakehouse) -> float:
        def once() -> float:
            fresh = lakehouse(lake.settings.home)  # as in a process of its own
            opening._digest.cache_clear()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            started = time.process_time()
            fresh.polars(LIMS_RESULTS, ["value"])
            spent = time.process_time() - started
            fresh.ledger.engine.dispose()
            return 1000 * spent

        return median(once() for _ in range(15))

    with tempfile.TemporaryDirectory(dir=folder) as name:
        single, many = lakehouse(Path(name) / "one"), lakehouse(Path(name) / "many")
        few = many.local_rows(LIMS_RESULTS, [{**fixed, "result_id": f"R-{number}"} for number in range(10)])
        single.append(LIMS_RESULTS, pl.concat([pl.DataFrame(pl.from_arrow(few))] * COMMITS).to_arrow())
        started = time.perf_counter()
        for _ in range(COMMITS):
            many.append(LIMS_RESULTS, few)
        commit_ms = 1000 * (time.perf_counter() - started) / COMMITS
        first, before = read_ms(single), read_ms(many)
        maintain(many, LIMS_RESULTS)
        after = read_ms(many)
    CONSOLE.print(
        f"one column of {10 * COMMITS:,} rows: {first:.1f} ms from one commit; {before:.1f} ms from {COMMITS:,} commits ({commit_ms:.1f} ms each), "
        f"{after:.1f} ms after maintenance, {after / first:.2f} times as long; processor time"
    )


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="injections of history")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the lakes are kept")
    parser.add_argument("--only", choices=("history", "commits", "inbox"), help="one of the three measurements")
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    if asked.only in {None, "history"}:
        grown(asked.cache.resolve(), sorted(asked.sizes), asked.rounds)
    if asked.only in {None, "commits"}:
        commits(asked.cache.resolve())
    if asked.only in {None, "inbox"}:
        known, disk, complete, later, longest, *_ = look_at_inbox(KNOWN_FILES)
        CONSOLE.print(
            f"look at {known} known files: complete {complete} ms (disk alone {disk}), later {later}, longest {longest}; in brackets processor time"
        )


if __name__ == "__main__":
    main()
