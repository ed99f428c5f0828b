"""Ten thousand files into a fresh laboratory: files a second to bronze, to silver and to gold, and where the time goes.

Belongs here: simulating the files once, one cold ``lab ingest`` a round, reading its times. Does not belong here: tests; nothing here
passes or fails. Run as ``.venv/bin/python bench/to_gold.py [--lots 840] [--rounds 1] [--keep HOME]``; the files are kept in
``bench/.cache`` and simulated once.

The clock runs from the start of the command, with no Spark server up; scoring after gold does not count. Processor time is that of the
command, the server and its workers; that of others says how quiet the machine was.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console
from rich.table import Table

from lab_assets.compute.spark_server import SparkFiles, stop_server
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.simulation.run import simulate

CACHE: Final = Path(__file__).parent / ".cache"
LOTS: Final = 840
"""Lots of 10,020 files."""
LAB: Final = Path(sys.executable).parent / "lab"
CONSOLE: Final = Console(width=150)
_STEPS: Final = ("bronze", "silver", "features", "gold")


@dataclass(frozen=True, kw_only=True)
class Round:
    """One cold ingestion.

    Attributes:
        files: Files in the inbox.
        ends_s: Seconds from the start of the command to the end of each step.
        stations_s: Seconds that each table took.
        processor_s: Processor time of the command and of Spark, seconds.
        others_s: Processor time of everything else meanwhile, seconds.
    """

    files: int
    ends_s: dict[str, float]
    stations_s: dict[str, float]
    processor_s: dict[str, float]
    others_s: float


def inbox(folder: Path, lots: int) -> Path:
    """Return the simulated files, made where they are not there."""
    kept = folder / f"to-gold-{lots}"
    if not kept.exists():
        draft = folder / f"to-gold-{lots}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        simulate(draft / "inbox", seed=7, n_lots=lots, start=datetime(2024, 7, 1, tzinfo=UTC), months=14)
        draft.rename(kept)
    return kept / "inbox"


def ingest(files: Path, home: Path) -> Round:
    """Take all files into a fresh laboratory, cold."""
    shutil.copytree(files, home / "inbox")
    settings = Settings(home=home, jars_dir=PROJECT_ROOT / ".jars")
    environment = {**os.environ, "LAB_HOME": str(home), "LAB_JARS_DIR": str(settings.jars_dir)}
    os.sync()
    time.sleep(settings.stable_s + 1)
    others, started = _busy_s(), time.time()
    command = subprocess.Popen([LAB, "ingest"], env=environment, stdout=sys.stderr)
    _, status, used = os.wait4(command.pid, 0)
    spent = {"lab ingest": used.ru_utime + used.ru_stime, "Spark": _server_s(settings)}
    others = _busy_s() - others - sum(spent.values())
    stop_server(settings)
    command.returncode = os.waitstatus_to_exitcode(status)
    if command.returncode:
        raise RuntimeError(f"lab ingest ended with {command.returncode}; its laboratory: {home}")
    ends, stations = _times(home, started)
    n_files = sum(path.is_file() for path in files.rglob("*"))
    return Round(files=n_files, ends_s=ends, stations_s=stations, processor_s=spent, others_s=others)


def _times(home: Path, since: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return when each step ended, and how long each table of a step took, from Dagster's log of the run."""
    with sqlite3.connect(home / "dagster/storage/history/runs.db") as connection:
        (run_id,) = connection.execute("select run_id from runs where pipeline_name = 'ingest' order by id desc limit 1").fetchone()
    kinds = ("STEP_START", "ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION", "STEP_SUCCESS")
    query = "select step_key, dagster_event_type, timestamp, asset_key from event_logs where dagster_event_type in (?, ?, ?, ?) order by id"
    with sqlite3.connect(home / f"dagster/storage/history/runs/{run_id}.db") as connection:
        events = connection.execute(query, kinds).fetchall()
    ends: dict[str, float] = {}
    stations: dict[str, float] = {}
    before = since
    for step, kind, at, asset in events:
        now = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
        if kind == "ASSET_MATERIALIZATION" and step in _STEPS:
            name = "bronze (all tables)" if step == "bronze" else ".".join(json.loads(asset))
            stations[name] = stations.get(name, 0.0) + now - before
        if kind == "STEP_SUCCESS" and step in _STEPS:
            ends[step] = now - since
        before = now
    return ends, stations


def _server_s(settings: Settings) -> float:
    """Return the processor time of the server, its supervisor and its workers so far, those that ended included."""
    state = SparkFiles(settings).read_state()
    supervisor = None if state is None else state.supervisor.process()
    if supervisor is None:
        return 0.0
    times = [process.cpu_times() for process in (supervisor, *supervisor.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def _busy_s() -> float:
    times = psutil.cpu_times()
    return times.user + times.nice + times.system


def report(done: Round) -> None:
    """Print files a second to each step, and seconds a table."""
    table = Table(title=f"{done.files:,} files, cold")
    for column in ("until", "s", "files/s"):
        table.add_column(column, justify="left" if column == "until" else "right")
    for step, end in done.ends_s.items():
        table.add_row(step, f"{end:.1f}", f"{done.files / end:.0f}")
    CONSOLE.print(table)
    spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in done.processor_s.items())
    CONSOLE.print(f"processor time: {spent}; others meanwhile {max(done.others_s, 0.0):.0f} s on {psutil.cpu_count()} cores")
    tables = Table(title="seconds a table, of at least 0.1")
    for column in ("table", "s"):
        tables.add_column(column, justify="left" if column == "table" else "right")
    for name, seconds in done.stations_s.items():
        if seconds >= 0.1:
            tables.add_row(name, f"{seconds:.1f}")
    CONSOLE.print(tables)


def main() -> None:
    """Measure as often as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lots", type=int, default=LOTS, help="size of the laboratory")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the files are kept")
    parser.add_argument("--keep", type=Path, help="where the laboratory of the last round is left, such as for compare_demo.py")
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    files = inbox(asked.cache.resolve(), asked.lots)
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory(dir=asked.cache.resolve()) as name:
            home = Path(name) / "lab"
            report(ingest(files, home))
            if asked.keep is not None:
                shutil.rmtree(asked.keep, ignore_errors=True)
                shutil.move(home, asked.keep)


if __name__ == "__main__":
    main()
