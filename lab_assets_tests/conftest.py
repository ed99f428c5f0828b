"""What all tests share: a laboratory of their own, and one warm Spark server.

Belongs here: fixtures and the hypothesis profile. Does not belong here: builders of one room's data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from lab_assets.engine.database import open_database
from lab_assets.engine.delta import Lakehouse
from lab_assets.engine.ledger import Ledger
from lab_assets.engine.session import SessionKeeper
from lab_assets.engine.spark_server import lease, remote_url, stop_server
from lab_assets.settings import PROJECT_ROOT, Settings

hypothesis_settings.register_profile("ci", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("ci")


_SHARED_FOLDERS = ("end_to_end", "service", "simulation")
"""Folders whose files share one laboratory: with several workers, one of them takes the whole folder."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what shares fixtures in one worker, and begin with what takes longest, so that no worker waits for another at the end.

    First of all hooks: the plugin that hands out the tests reads the marks in its own.
    """
    weight: dict[str, int] = {}
    for item in items:
        group = _group(item)
        item.add_marker(pytest.mark.xdist_group(group))
        weight[group] = max(weight.get(group, 0), 2 if item.get_closest_marker("e2e") else 1 if item.get_closest_marker("spark") else 0)
    items.sort(key=lambda item: -weight[_group(item)])


def _group(item: pytest.Item) -> str:
    folder, _, file = item.nodeid.split("::")[0].partition("lab_assets_tests/")[2].partition("/")
    return folder if folder in _SHARED_FOLDERS else f"{folder}/{file}"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A laboratory in a folder of its own; files are finished at once."""
    return Settings(home=tmp_path / "lab", stable_s=0)


@pytest.fixture(scope="session")
def spark_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The home of the one Spark server of the whole test session; ended with it."""
    shared = Settings(home=tmp_path_factory.mktemp("spark-home"), jars_dir=PROJECT_ROOT / ".jars")
    with lease(shared):
        yield shared
    stop_server(shared)


@pytest.fixture(scope="session")
def spark_url(spark_home: Settings) -> str:
    """Address of the warm server, started on first use."""
    return remote_url(spark_home)


@pytest.fixture(scope="session")
def keeper(spark_url: str, spark_home: Settings) -> Iterator[SessionKeeper]:
    """One session for all tests that do not break it."""
    kept = SessionKeeper(Settings(home=spark_home.home, spark_remote=spark_url))
    yield kept
    kept.close()


@pytest.fixture
def lakehouse(settings: Settings, keeper: SessionKeeper, spark_url: str) -> Lakehouse:
    """Empty tables and an empty ledger of the test's own, behind the shared server."""
    settings.spark_remote = spark_url
    return Lakehouse(settings, keeper, Ledger(open_database(settings)))
