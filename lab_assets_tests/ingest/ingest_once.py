"""Ingests once in a process that may be killed: ``python -m lab_assets_tests.ingest.ingest_once``, settings from the environment."""

from __future__ import annotations

from lab_assets.compute.session import SessionKeeper
from lab_assets.compute.worker import worker_of_this_process
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import get_settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger


def main() -> None:
    worker_of_this_process().start()  # before the first thread, as a run of Dagster's does
    settings = get_settings()
    keeper = SessionKeeper(settings)
    Ingestor(Lakehouse(settings, keeper, Ledger(open_database(settings)))).run()
    keeper.close()


if __name__ == "__main__":
    main()
