"""Warming the Spark server: the smallest laboratory goes through the stations once, in a folder of its own.

Belongs here: which stations warm what. Does not belong here: the stations.

A cold server loads some ten thousand classes and forks its first Python workers on the first file that lands; a person at the
instrument should not wait for that. Run as ``python -m lab_assets.ops.warm_up``.
"""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings, get_settings

_START = datetime(2024, 1, 1, tzinfo=UTC)
_SEED = 1


def scratch_folder(settings: Settings) -> Path:
    """Return where the laboratory that warms the server lies; what a warming that was ended leaves there can go."""
    return settings.run / "warm_up"


def warm_up(settings: Settings, *, until: threading.Event | None = None) -> list[str]:
    """Take a simulated lot through the stations with the server of a home, beside its tables.

    Args:
        settings: Whose server; its lake, inbox and ledger are not touched.
        until: When set, what is left is skipped.

    Returns:
        Names of the steps taken.
    """
    taken: list[str] = []
    with _scratch_laboratory(settings) as lake:
        for name, step in _steps(lake):
            if until is not None and until.is_set():
                break
            step()
            taken.append(name)
    return taken


@contextmanager
def _scratch_laboratory(settings: Settings) -> Iterator[Lakehouse]:
    from lab_assets.compute.placement import PlacedCompute
    from lab_assets.compute.session import SessionKeeper
    from lab_assets.state.database import open_database
    from lab_assets.state.ledger import Ledger

    folder = scratch_folder(settings)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scratch = settings.model_copy(update={"home": folder, "db_url": None, "lake_uri": None, "stable_s": 0.0})
    keeper = SessionKeeper(settings)
    keeper.open_early()
    engine = open_database(scratch)
    try:
        _simulate(scratch.inbox)
        _ = keeper.session  # this machine would read the files as long as it is being opened
        lake = Lakehouse(scratch, keeper, Ledger(engine))
        lake.compute = PlacedCompute(keeper, few=0)  # the server is what is to be warmed
        yield lake
    finally:
        keeper.close()
        engine.dispose()
        shutil.rmtree(folder, ignore_errors=True)


def _simulate(inbox: Path) -> None:
    from lab_assets.simulation.run import simulate

    simulate(inbox, seed=_SEED, n_lots=1, start=_START, months=1)


def _steps(lake: Lakehouse) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the stations in flow order, each with what it calls."""
    from lab_assets.ingest.ingestor import Ingestor
    from lab_assets.stations.all_stations import stations
    from lab_assets.stations.runner import update

    yield "bronze", Ingestor(lake).run
    for name, station in stations().items():
        yield name, partial(update, lake, station)


def main() -> int:
    """Warm the server of the home that the settings name."""
    taken = warm_up(get_settings())
    sys.stdout.write(f"warmed by {len(taken)} steps\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
