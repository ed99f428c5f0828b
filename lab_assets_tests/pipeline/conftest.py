"""One Spark Connect server for the tests of this folder, and a lake of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab_assets.contracts.core import TableContract
from lab_assets.engine.database import open_database
from lab_assets.engine.delta import Lakehouse
from lab_assets.engine.ledger import Ledger
from lab_assets.engine.session import SessionKeeper
from lab_assets.engine.spark_server import stop_server
from lab_assets.settings import Settings

Put = Callable[..., int]


@pytest.fixture(scope="session")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionKeeper]:
    settings = Settings(home=tmp_path_factory.mktemp("spark"))
    keeper = SessionKeeper(settings)
    try:
        yield keeper
    finally:
        keeper.close()
        stop_server(settings)


@pytest.fixture
def lakehouse(keeper: SessionKeeper, tmp_path: Path) -> Lakehouse:
    settings = Settings(home=tmp_path)
    return Lakehouse(settings, keeper, Ledger(open_database(settings)))


@pytest.fixture
def put(lakehouse: Lakehouse) -> Put:
    """Append hand-made rows to a table; provenance is filled in where the rows name none."""

    def append(contract: TableContract, *rows: dict[str, Any], batch: int = 1) -> int:
        provenance = {"source": "lims", "source_file": "f.csv", "source_sha256": f"sha{batch}", "ingest_batch": batch}
        provenance["ingested_at_utc"] = datetime(2025, 6, 1, tzinfo=UTC)
        told = [{**provenance, "source_row": number, **row} for number, row in enumerate(rows, start=1)]
        return lakehouse.append(contract, lakehouse.local_rows(contract, told))

    return append
