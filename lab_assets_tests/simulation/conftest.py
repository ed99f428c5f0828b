"""A small simulated laboratory, made once for all tests of this room."""

from __future__ import annotations

import pytest

from lab_assets.simulation.run import SimulationSummary
from lab_assets.simulation.scenarios import SCENARIOS
from lab_assets_tests.simulation.small_laboratory import small


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    """The small laboratory without scenarios."""
    return small(tmp_path_factory.mktemp("plain") / "inbox")


@pytest.fixture(scope="session")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    """The small laboratory with every scenario from 20 February."""
    return small(tmp_path_factory.mktemp("disturbed") / "inbox", *(f"{name}@2025-02-20" for name in SCENARIOS))
