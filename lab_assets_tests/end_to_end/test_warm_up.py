"""Warming leaves nothing behind but a warm server."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.ops.warm_up import warm_up
from lab_assets.stations.all_stations import stations


def test_a_simulated_lot_goes_through_the_stations_beside_the_lake(spark_lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that move the lake or the database elsewhere do not move the scratch laboratory there."""
    settings = spark_lakehouse.settings
    elsewhere = settings.home / "elsewhere"
    monkeypatch.setenv("LAB_LAKE_URI", str(elsewhere))
    taken = warm_up(settings)
    assert taken == ["bronze", *stations()]
    assert not Path(settings.lake).exists()
    assert not elsewhere.exists()
    assert not (settings.run / "warm_up").exists()
    assert spark_lakehouse.ledger.counts() == {}


def test_it_ends_when_asked(spark_lakehouse: Lakehouse) -> None:
    enough = threading.Event()
    enough.set()
    assert warm_up(spark_lakehouse.settings, until=enough) == []
