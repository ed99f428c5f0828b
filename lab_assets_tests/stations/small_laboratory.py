"""A small simulated laboratory for the stations, without Spark.

Belongs here: its files, opening it, taking files through the stations. Does not belong here: what is asserted of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from lab_assets.compute.placement import PlacedCompute
from lab_assets.contracts.core import TableContract
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings
from lab_assets.simulation.run import simulate
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets.stations.all_stations import STATIONS
from lab_assets.stations.runner import StationOutcome, update
from lab_assets_tests.no_spark import NoSparkKeeper

STORED = "S25-9001,NEB25-0001,stability,40C/75%,CH-40,1,2025-01-03T00:00:00Z,2025-01-20T00:00:00Z,,G. Weiss,,2025-01-20T09:00:00Z\n"
"""A sample that lay in a chamber: so short a simulation draws none."""
WATER = [
    f"R-WATER-{day},S25-0001,WATER-01,WATER,{4.9 if day == 24 else 3.1 + day % 2 / 10},%,{day},G. Weiss,"
    f"2025-01-{day:02}T11:00:00Z,2025-01-{day:02}T13:00:00Z\n"
    for day in range(3, 25)
]
"""Twenty-two determinations, the last far outside of the others: a point that a chart's rule finds."""


def write_files(inbox: Path, *, lots: int = 2, months: int = 1, seed: int = 11) -> Path:
    """Write the files of a laboratory of a few lots: two detector formats, LIMS exports, chambers, certificates, images."""
    simulate(inbox, seed=seed, n_lots=lots, start=datetime(2025, 1, 1, tzinfo=UTC), months=months)
    with (inbox / "lims" / "samples_2025-01.csv").open("a") as samples:
        samples.write(STORED)
    with (inbox / "lims" / "results_2025-01.csv").open("a") as results:
        results.writelines(WATER)
    return inbox


@contextmanager
def opened(home: Path) -> Iterator[Lakehouse]:
    """Open the laboratory in a folder; it computes in this process, however much there is to do."""
    settings = Settings(home=home, stable_s=0)
    engine = open_database(settings)
    keeper = NoSparkKeeper(settings, "the small laboratory")
    lake = Lakehouse(settings, keeper, Ledger(engine))
    lake.compute = PlacedCompute(keeper, few=1_000_000)
    try:
        yield lake
    finally:
        engine.dispose()


def copied(home: Path, to: Path) -> Path:
    """Copy a laboratory; paths below it are its own."""
    shutil.copytree(home, to)
    return to


def run_stations(lake: Lakehouse, *, rebuild: bool = False, run_id: str = "") -> dict[str, StationOutcome]:
    """Take what is new through every station."""
    return {station.name: update(lake, station, rebuild=rebuild, run_id=run_id) for station in STATIONS}


def take(lake: Lakehouse) -> dict[str, StationOutcome]:
    """Ingest what waits and take it through every station."""
    Ingestor(lake).run()
    return run_stations(lake)


def made_in(home: Path) -> Path:
    """Make the small laboratory in a home, its files taken through every station, and return the home."""
    write_files(home / "inbox")
    with opened(home) as lake:
        take(lake)
    return home


def rows_of(lake: Lakehouse, contract: TableContract) -> pl.DataFrame:
    """Return all rows of a table, ordered by its key."""
    return lake.polars(contract).sort(contract.primary_key)
