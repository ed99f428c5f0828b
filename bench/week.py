"""A week in short: what 10,000 small runs and 500,000 scores leave on the disk, and what maintenance leaves of it.

Belongs here: writing the records through the storages that keep them, maintaining after each day, printing. Does not belong here: tests;
nothing here passes or fails. Run as ``.venv/bin/python bench/week.py [--days 7] [--runs 10000] [--scores 500000]``.

Each day a seventh of the runs (Dagster's rows and events, ledger, ticks) and of the scores (through the log of predictions, a commit for
each hundred, folded in at the end) is written. Then the nightly maintenance is done as if two days had passed, with runs kept for a day.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorType, TickData, TickStatus
from dagster._core.utils import make_new_run_id
from dagster_shared.record import copy
from history import lakehouse
from rich.console import Console
from rich.table import Table

from lab_assets.contracts.all_contracts import contracts
from lab_assets.lake.archive_folder import FOLDER
from lab_assets.lake.archiving import grace_of, put_away
from lab_assets.lake.data_files import local_path
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.maintenance import maintain
from lab_assets.ops.dagster_home import dagster_instance
from lab_assets.orchestration.run_history import remove_old_runs, runs_of_records
from lab_assets.service.prediction_log import PredictionLog
from lab_assets.service.records import Record, new_prediction_id
from lab_assets.settings import Settings
from lab_assets.state.ledger import NewArrival, Outcome
from lab_assets.stations.ml.online import fold_online_log
from lab_assets.upkeep.housekeeping import housekeep
from lab_assets.upkeep.removal import size_of
from lab_assets_tests.service.predictions import make

CONSOLE: Final = Console(width=200)
SCORES_A_COMMIT: Final = 100
ASSETS: Final = 12
"""Tables that a small run writes."""


class Day(NamedTuple):
    """What lay on the disk before and after a maintenance."""

    before: dict[str, int]
    after: dict[str, int]
    files: int
    handles: int
    seconds: float


def sizes(settings: Settings) -> dict[str, int]:
    """Return bytes by part of the home."""
    database = sum(path.stat().st_size for path in settings.home.glob("lab.db*"))
    return {
        "lake": size_of(Path(settings.lake)),
        "dagster": size_of(settings.home / "dagster"),
        "database": database,
        "run": size_of(settings.run),
    }


def files(folder: Path) -> int:
    """Return the number of files below a folder."""
    return sum(len(names) for _, _, names in os.walk(folder))


def record(number: int, draw: random.Random) -> Record:
    """Return a score with thirty feature values, as the service answers it."""
    now = datetime.now(UTC)
    made = make(number)
    features = {f"feature_{place:02d}": draw.random() for place in range(30)}
    prediction = replace(
        made.prediction,
        prediction_id=new_prediction_id(now),
        injection_id=f"i-{number}",
        features=features,
        predicted_at_utc=now,
        risk=draw.random(),
    )
    return Record(prediction=prediction, outcome=made.outcome)


def score(log: PredictionLog, count: int, draw: random.Random) -> None:
    """Answer some scores and commit them."""
    for number in range(count):
        log.append(record(number, draw))
        if number % SCORES_A_COMMIT == SCORES_A_COMMIT - 1:
            log.flush()
    log.flush()


def graph() -> dg.Definitions:
    """Return some assets as a run makes them."""

    def asset(name: str) -> dg.AssetsDefinition:
        @dg.asset(name=name)
        def made() -> dg.MaterializeResult:  # pyright: ignore[reportMissingTypeArgument]
            return dg.MaterializeResult(metadata={"dagster/row_count": 3, "table": name})

        return made

    return dg.Definitions(assets=[asset(f"table_{number}") for number in range(ASSETS)], jobs=[dg.define_asset_job("small", selection="*")])


def template(instance: dg.DagsterInstance) -> tuple[dg.DagsterRun, list[dg.EventLogEntry]]:
    """Take one run for what its rows and events are; the others are copies of it."""
    run_id = graph().resolve_job_def("small").execute_in_process(instance=instance).run_id
    (run,) = instance.get_runs(dg.RunsFilter(run_ids=[run_id]))
    return run, list(instance.all_logs(run_id))


def run_small(instance: dg.DagsterInstance, one: tuple[dg.DagsterRun, list[dg.EventLogEntry]], count: int) -> None:
    """Write the rows and events of some runs through Dagster's storages."""
    run, events = one
    shards = Path(instance.root_directory) / "storage" / "history" / "runs"
    empty = shards / "empty.template"
    if not empty.exists():
        instance.event_log_storage.store_event_batch([event._replace(run_id="first") for event in events[:1]])
        instance.event_log_storage.dispose()
        shutil.copyfile(shards / "first.db", empty)
        instance.event_log_storage.delete_events("first")
    for _ in range(count):
        run_id = make_new_run_id()
        shutil.copyfile(empty, shards / f"{run_id}.db")  # Dagster's migrations of each database are not what is measured
        instance.run_storage.add_run(copy(run, run_id=run_id))
        instance.event_log_storage.store_event_batch([event._replace(run_id=run_id) for event in events])


def tick(instance: dg.DagsterInstance, count: int) -> None:
    """Write ticks of a sensor that asked for a run."""
    now = time.time()
    for number in range(count):
        data = TickData(
            "origin", "inbox_sensor", InstigatorType.SENSOR, TickStatus.SUCCESS, now + number, run_ids=["r"], selector_id="selector"
        )
        instance.create_tick(data)


def ingest(lake: Lakehouse, count: int, day: int) -> None:
    """Write the ledger's rows of some small runs: an arrival and a batch each."""
    for first in range(0, count, 50):
        names = [f"day-{day}/{number}.csv" for number in range(first, min(first + 50, count))]
        new = [
            NewArrival(source="lims", file_name=name, size=1, mtime_ns=1, ctime_ns=1, file_id=f"{day:02d}{name:>062}"[-64:])
            for name in names
        ]
        lake.ledger.record(new)
        batch = lake.ledger.open_batch(50) or 0
        outcomes = [Outcome(arrival_id=row.arrival_id, state="committed", format="csv") for row in lake.ledger.batch_arrivals(batch)]
        lake.ledger.commit_batch(batch, outcomes, {"bronze.files": batch})


def keep_up(lake: Lakehouse, instance: dg.DagsterInstance) -> None:
    """Do what the nightly job does, as if two days had passed."""
    now = datetime.now(UTC) + timedelta(days=2)
    for table in contracts().values():
        if maintain(lake, table) is not None:
            put_away(lake, table, now=now, grace=grace_of(lake.settings, table))
    remove_old_runs(lake.settings, instance, runs_of_records(lake), now=now)
    housekeep(lake.settings, lake.ledger.engine, now=now)


def week(settings: Settings, lake: Lakehouse, *, days: int, runs: int, scores: int) -> list[Day]:
    """Write and maintain day by day."""
    draw, found = random.Random(1), list[Day]()
    log = PredictionLog(settings)
    log.open(background=False)
    with dagster_instance(settings) as instance, closing(log):
        one = template(instance)
        for day in range(days):
            started = time.perf_counter()
            score(log, scores // days, draw)
            fold_online_log(lake)
            run_small(instance, one, runs // days)
            tick(instance, runs // days)
            ingest(lake, runs // days, day)
            before, written = sizes(settings), time.perf_counter()
            keep_up(lake, instance)
            done = time.perf_counter()
            found.append(Day(before, sizes(settings), files(settings.home), len(list(Path("/proc/self/fd").iterdir())), done - written))
            CONSOLE.print(f"day {day + 1}: written in {written - started:.0f} s, maintained in {done - written:.0f} s")
    return found


def mib(size: int) -> str:
    """Return bytes as MiB."""
    return f"{size / 2**20:,.1f}"


def print_days(found: list[Day]) -> None:
    """Print what each day left."""
    table = Table(title="MiB before and after the maintenance of each day")
    parts = list(found[0].after)
    for column in ("day", *parts, "whole after", "files", "open handles", "maintenance, s"):
        table.add_column(column, justify="right")
    for number, day in enumerate(found, 1):
        cells = [f"{mib(day.before[part])} > {mib(day.after[part])}" for part in parts]
        table.add_row(str(number), *cells, mib(sum(day.after.values())), f"{day.files:,}", str(day.handles), f"{day.seconds:.0f}")
    CONSOLE.print(table)


def print_tables(lake: Lakehouse) -> None:
    """Print what each table has on the disk beside what is live."""
    table = Table(title="live and stored, MiB")
    for column in ("table", "rows", "versions", "live", "stored", "of it archive", "of it log", "stored / live"):
        table.add_column(column, justify="left" if column == "table" else "right")
    for contract in contracts().values():
        if lake.versions_as_they_are([contract.full_name])[contract.full_name] < 0:
            continue
        folder, opened = local_path(lake.uri(contract)), lake.open(contract)
        live = sum(Path(str(uri).removeprefix("file://")).stat().st_size for uri in opened.file_uris())
        stored, log = size_of(folder), size_of(folder / "_delta_log")
        ratio = f"{stored / live:.2f}" if live else "-"
        cells = (
            f"{lake.row_count(contract):,}",
            f"{opened.version():,}",
            mib(live),
            mib(stored),
            mib(size_of(folder / FOLDER)),
            mib(log),
            ratio,
        )
        table.add_row(contract.full_name, *cells)
    CONSOLE.print(table)


def main() -> None:
    """Take a week in short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--scores", type=int, default=500_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lab-week-") as folder:
        settings = Settings(home=Path(folder) / "home", run_days=1, scratch_hours=1)
        settings.home.mkdir()
        lake = lakehouse(settings.home)
        lake.settings = settings
        found = week(settings, lake, days=asked.days, runs=asked.runs, scores=asked.scores)
        print_days(found)
        print_tables(lake)


if __name__ == "__main__":
    main()
