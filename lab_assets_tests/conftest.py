"""What all tests share: a laboratory of their own without Spark, and for those who ask one warm Spark server for each pytest-xdist worker.

Belongs here: fixtures and the hypothesis profile. Does not belong here: builders of one room's data.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import Engine
from xdist.scheduler import LoadScopeScheduling

from lab_assets.compute import spark_server
from lab_assets.compute.session import SessionKeeper
from lab_assets.compute.spark_server import lease, remote_url, stop_server
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets_tests.no_spark import NoSparkKeeper, SparkNotAskedForError

hypothesis_settings.register_profile("ci", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("ci")


_SHARED_FOLDERS = ("end_to_end", "service", "simulation")
"""Folders whose files share one laboratory: with several workers, one of them takes the whole folder."""

_FIRST = ("e2e", "forks", "spark")
"""Marks of what takes longest, the longest first."""


def pytest_configure() -> None:
    """Let Ctrl-C be what it is at a terminal: a suite in the background has it ignored, and so would every command that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the Spark server; begin with what takes longest, so that with several workers none waits for another at the end."""
    for item in items:
        if "spark_url" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.spark)
    rank: dict[str, int] = {}
    for item in items:
        own = next((at for at, name in enumerate(_FIRST) if item.get_closest_marker(name)), len(_FIRST))
        group = _group(item.nodeid)
        rank[group] = min(rank.get(group, own), own)
    items.sort(key=lambda item: rank[_group(item.nodeid)])


class ByLaboratory(LoadScopeScheduling):
    """Hands out whole files, and folders whose files share a laboratory."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByLaboratory:
    """Hand tests to workers so that what shares fixtures stays in one."""
    return ByLaboratory(config, log)


def _group(nodeid: str) -> str:
    folder, _, file = nodeid.split("::", maxsplit=1)[0].partition("lab_assets_tests/")[2].partition("/")
    return folder if folder in _SHARED_FOLDERS else f"{folder}/{file}"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A laboratory in a folder of its own; files are finished at once."""
    return Settings(home=tmp_path / "lab", stable_s=0)


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, made once and copied for each test."""
    home = tmp_path_factory.mktemp("template")
    engine = open_database(Settings(home=home))
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return home / "lab.db"


@pytest.fixture
def engine(settings: Settings, migrated_database: Path) -> Iterator[Engine]:
    """A migrated database of the test's own laboratory."""
    settings.home.mkdir(parents=True)
    shutil.copy(migrated_database, settings.home / "lab.db")
    engine = open_database(settings)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def spark_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The home of this worker's one Spark server, or of the only one where the tests run in one process; ended with the worker."""
    shared = Settings(home=tmp_path_factory.mktemp("spark-home"), jars_dir=PROJECT_ROOT / ".jars")
    with lease(shared):
        yield shared
    stop_server(shared)


@pytest.fixture(scope="session")
def spark_url(spark_home: Settings) -> str:
    """Address of this worker's warm server, started on first use."""
    return remote_url(spark_home)


@pytest.fixture(scope="session")
def keeper(spark_url: str, spark_home: Settings) -> Iterator[SessionKeeper]:
    """One session for all of this worker's tests that do not break it."""
    kept = SessionKeeper(Settings(home=spark_home.home, spark_remote=spark_url))
    yield kept
    kept.close()


@pytest.fixture(autouse=True)
def _no_server_unasked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test start a Java server unless it is marked as one that does."""
    if any(request.node.get_closest_marker(name) for name in ("spark", "e2e")):
        return

    def refuse(*_: object) -> NoReturn:
        raise SparkNotAskedForError(f"{request.node.nodeid} starts a Spark server; use the fixture spark_lakehouse or the mark 'spark'")

    monkeypatch.setattr(spark_server, "_start", refuse)


@pytest.fixture
def no_spark(settings: Settings, request: pytest.FixtureRequest) -> SessionKeeper:
    """A keeper that opens no session."""
    return NoSparkKeeper(settings, request.node.nodeid)


@pytest.fixture
def lakehouse(settings: Settings, no_spark: SessionKeeper) -> Lakehouse:
    """Empty tables and an empty ledger of the test's own, without Spark."""
    return Lakehouse(settings, no_spark, Ledger(open_database(settings)))


@pytest.fixture
def spark_lakehouse(settings: Settings, keeper: SessionKeeper, spark_url: str) -> Lakehouse:
    """Empty tables and an empty ledger of the test's own, behind its worker's server."""
    settings.spark_remote = spark_url
    return Lakehouse(settings, keeper, Ledger(open_database(settings)))
