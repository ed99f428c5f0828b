"""The laboratory's tables and services as Dagster resources.

Belongs here: opening and closing per run. Does not belong here: what is done with them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from lab_assets.compute.session import SessionKeeper
from lab_assets.environment_errors import naming_environment_faults
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings, get_settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger


@contextmanager
def open_lakehouse(settings: Settings) -> Iterator[Lakehouse]:
    """Open database and tables; Spark starts when it is first needed and is let go at the end."""
    with naming_environment_faults(settings):
        engine = open_database(settings)
    keeper = SessionKeeper(settings)
    try:
        yield Lakehouse(settings, keeper, Ledger(engine))
    finally:
        keeper.close()
        engine.dispose()


class LakehouseResource(dg.ConfigurableResource[Lakehouse]):
    """The tables of one laboratory; assets receive the plain ``Lakehouse``. Its place comes from the settings."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Lakehouse]:
        """Yield the tables for one run; whichever assets it chose, what it wrote has its lineage at the end."""
        from lab_assets.stations.governance.lineage import catch_up

        with open_lakehouse(get_settings()) as lakehouse:
            try:
                yield lakehouse
            finally:
                log = context.log
                catch_up(lakehouse, run_id=context.run_id or "", say=log.warning if log is not None else lambda _line: None)
