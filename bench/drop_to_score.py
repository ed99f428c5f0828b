"""How long after a file lands it is scored and its gold tables are up to date, in a laboratory that ``lab up`` started.

Belongs here: dropping single files at random moments, watching the tables, printing where the time goes. Does not belong here: tests;
nothing here passes or fails. Run as ``.venv/bin/python bench/drop_to_score.py [--base HOME] [--files 10]``; the laboratory is a copy.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import polars as pl
from growth import CACHE, base_laboratory, news
from rich.console import Console
from rich.table import Table

from lab_assets.ingest.inbox_mark import mark_inbox
from lab_assets.settings import Settings

LAB: Final = Path(sys.executable).parent / "lab"
LONGEST_S: Final = 180.0
PAUSE_S: Final = (4.0, 12.0)
_LOOK_S: Final = 0.2
CONSOLE: Final = Console(width=150)


@dataclass(kw_only=True)
class Dropped:
    """One file and what became of it.

    Attributes:
        name: Name of its injection.
        at: When it was finished, seconds since the epoch.
        scored_s: From then until its prediction stood in ``ml.predictions``.
        gold_s: From then until the run that took it had ended, its gold tables with it.
        steps: Seconds from the drop to the start and end of each step of that run.
    """

    name: str
    at: float
    scored_s: float = float("nan")
    gold_s: float = float("nan")
    steps: dict[str, tuple[float, float]] = field(default_factory=dict[str, "tuple[float, float]"])


@contextmanager
def running(home: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Start the laboratory's processes, and end them."""
    subprocess.run([LAB, "up"], env=environment, check=True, stdout=sys.stderr)
    try:
        yield
    finally:
        subprocess.run([LAB, "down"], env=environment, check=True, stdout=sys.stderr)
        CONSOLE.print(f"ended: {home}", style="dim")


def wait_for(path: Path, where: pl.Expr, since: float) -> float:
    """Return the seconds from a moment until a table holds a row; without the row in time, not a number."""
    while time.time() - since < LONGEST_S:
        try:
            if pl.scan_delta(str(path)).filter(where).select(pl.len()).collect().item():
                return time.time() - since
        except pl.exceptions.PolarsError:
            pass  # the table is not there yet
        time.sleep(_LOOK_S)
    return float("nan")


def identity(home: Path, name: str) -> str:
    """Return the identity of an injection."""
    found = pl.scan_delta(str(home / "lake/silver/injections")).filter(pl.col("injection_name") == name).select("injection_id").collect()
    return found.item()


def newest_run(home: Path) -> tuple[str, str]:
    """Return the newest run of the ingestion and its state."""
    path = home / "dagster/storage/history/runs.db"
    if not path.exists():
        return "", ""
    with sqlite3.connect(path) as connection:
        query = "select run_id, status from runs where pipeline_name = 'ingest' order by id desc limit 1"
        found = connection.execute(query).fetchone()
    return found or ("", "")


def steps_of(home: Path, run_id: str, since: float) -> dict[str, tuple[float, float]]:
    """Return start and end of each step of a run, seconds from a moment, with the time it waited before."""
    with sqlite3.connect(home / f"dagster/storage/history/runs/{run_id}.db") as connection:
        query = "select step_key, dagster_event_type, timestamp from event_logs where dagster_event_type in (?, ?, ?, ?) order by id"
        rows = connection.execute(query, ("PIPELINE_ENQUEUED", "PIPELINE_START", "STEP_START", "STEP_SUCCESS")).fetchall()
    found: dict[str, list[float]] = {}
    for step, kind, at in rows:
        name = step or ("(the run began)" if kind == "PIPELINE_START" else "(the sensor asked for it)")
        found.setdefault(name, []).append(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() - since)
    return {name: (times[0], times[-1]) for name, times in found.items()}


def drop(home: Path, root: Path, path: Path) -> Dropped:
    """Drop one file, and watch until the run that took it has ended."""
    before, _ = newest_run(home)
    target = home / "inbox" / path.relative_to(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    done = Dropped(name=path.stem, at=time.time())
    seen_s = wait_for(home / "lake/silver/injections", pl.col("injection_name") == done.name, done.at)
    if isnan(seen_s):
        return done
    done.scored_s = wait_for(home / "lake/ml/predictions", pl.col("injection_id") == identity(home, done.name), done.at)
    while time.time() - done.at < LONGEST_S:
        run_id, state = newest_run(home)
        if run_id != before and state in {"SUCCESS", "FAILURE"}:
            done.steps = steps_of(home, run_id, done.at)
            gold = [end for name, (_, end) in done.steps.items() if name.startswith("gold")]
            done.gold_s = max(gold, default=time.time() - done.at)
            break
        time.sleep(_LOOK_S)
    return done


def report(found: Sequence[Dropped]) -> None:
    """Print percentiles and the medians of the steps."""
    table = Table(title=f"seconds after each of {len(found)} single files landed")
    for column in ("until", "p50", "p95", "longest"):
        table.add_column(column, justify="left" if column == "until" else "right")
    for name, times in (("scored", [each.scored_s for each in found]), ("gold", [each.gold_s for each in found])):
        table.add_row(name, f"{median(times):.1f}", f"{quantiles(times, n=20, method='inclusive')[-1]:.1f}", f"{max(times):.1f}")
    CONSOLE.print(table)
    steps = Table(title="where the time goes: seconds after the file landed, medians")
    for column in ("step", "began", "ended", "took"):
        steps.add_column(column, justify="left" if column == "step" else "right")
    names = {name: None for each in found for name in each.steps}
    rows = [(name, [each.steps[name] for each in found if name in each.steps]) for name in names]
    for name, times in sorted(rows, key=lambda row: median(start for start, _ in row[1])):
        began, ended = median(start for start, _ in times), median(end for _, end in times)
        steps.add_row(name, f"{began:.1f}", f"{ended:.1f}", f"{median(end - start for start, end in times):.1f}")
    CONSOLE.print(steps)


def _is_of_standard(path: Path, lims: Sequence[Path]) -> bool:
    """Return whether a worklist names the injection of a file as anything but a sample: such a run is never scored."""
    plans = pl.concat([pl.read_csv(each, infer_schema=False) for each in lims if each.name.startswith("sequences")])
    return plans.filter((pl.col("injection_name") == path.stem) & (pl.col("sample_role") == "sample")).is_empty()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="home of a demonstration; default: the one that bench/growth.py makes")
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--cache", type=Path, default=CACHE)
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    base = asked.base or base_laboratory(asked.cache.resolve())
    files = news(asked.cache.resolve())
    root = asked.cache.resolve() / "news"
    lims = [path for path in files.hundred if path.relative_to(root).parts[0] == "lims"]
    traces = [path for path in files.hundred if path not in lims and path.parent.name != "pressure" and not _is_of_standard(path, lims)]
    traces = traces[:: max(1, len(traces) // (asked.files + 1))]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "lab"
        shutil.copytree(base, home, ignore=shutil.ignore_patterns("inbox", "spark", "dagster"))
        (home / "inbox").mkdir()
        mark_inbox(Settings(home=home), anew=True)
        environment = {**os.environ, "LAB_HOME": str(home), "LAB_CONTEXT_GRACE_S": "0"}
        for path in lims:
            target = home / "inbox" / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        with running(home, environment):
            while newest_run(home)[1] not in {"SUCCESS", "FAILURE"}:
                time.sleep(_LOOK_S)  # the LIMS exports
            first = drop(home, root, traces[0])
            CONSOLE.print(f"the first file, not counted: scored after {first.scored_s:.1f} s", style="dim")
            found: list[Dropped] = []
            moments = random.Random(11)
            for path in traces[1 : asked.files + 1]:
                time.sleep(moments.uniform(*PAUSE_S))
                found.append(drop(home, root, path))
                CONSOLE.print(f"{path.name}: scored {found[-1].scored_s:.1f} s, gold {found[-1].gold_s:.1f} s", style="dim")
            report(found)


if __name__ == "__main__":
    main()
