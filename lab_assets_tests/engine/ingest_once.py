"""Ingests once in a process that may be killed: ``python -m lab_assets_tests.engine.ingest_once``, settings from the environment."""

from __future__ import annotations

from lab_assets.engine.database import open_database
from lab_assets.engine.delta import Lakehouse
from lab_assets.engine.ingest import Ingestor
from lab_assets.engine.ledger import Ledger
from lab_assets.engine.session import SessionKeeper
from lab_assets.settings import get_settings


def main() -> None:
    settings = get_settings()
    keeper = SessionKeeper(settings)
    Ingestor(Lakehouse(settings, keeper, Ledger(open_database(settings)))).run()
    keeper.close()


if __name__ == "__main__":
    main()
