"""A small simulated laboratory, made once for all tests of this room."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab_assets.simulation.run import SimulationSummary, simulate
from lab_assets.simulation.scenarios import SCENARIOS

START = datetime(2025, 1, 1, tzinfo=UTC)


def small(out_dir: Path, *scenarios: str) -> SimulationSummary:
    """Simulate twelve lots in three months."""
    return simulate(out_dir, seed=11, n_lots=12, start=START, months=3, scenarios=scenarios)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    """The small laboratory without scenarios."""
    return small(tmp_path_factory.mktemp("plain") / "inbox")


@pytest.fixture(scope="session")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    """The small laboratory with every scenario from 20 February."""
    return small(tmp_path_factory.mktemp("disturbed") / "inbox", *(f"{name}@2025-02-20" for name in SCENARIOS))
