"""A small simulated laboratory: twelve lots in three months."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from lab_assets.simulation.run import SimulationSummary, simulate

START = datetime(2025, 1, 1, tzinfo=UTC)


def small(out_dir: Path, *scenarios: str) -> SimulationSummary:
    """Simulate twelve lots in three months."""
    return simulate(out_dir, seed=11, n_lots=12, start=START, months=3, scenarios=scenarios)
