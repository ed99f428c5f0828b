"""A feature of one file: found, declared, computed and part of the version, without a line elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab_assets.features.definitions import FEATURE_SET_VERSION, FEATURES
from lab_assets.features.extra import extras

FILES = {
    "points_seen": ("injection_progress", "len(given.trace.x_min)"),
    "runs_of_method": ("instrument_history", "len(given.of_method)"),
    "lot_values": ("lot_history", "len(given)"),
    "twice_the_checkpoint": ("context", "2 * given['checkpoint_pct']"),
}
"""Feature by table and what it computes; numbers that a person can count."""

PROGRAM = """
import json
import sys

import lab_assets.features.extra as extra

extra.__path__.append(sys.argv[1])

from datetime import UTC, datetime

import polars as pl

from lab_assets.contracts.registry import contract
from lab_assets.features.context import context_features
from lab_assets.features.definitions import FEATURE_NAMES, FEATURE_SET_VERSION, names_of
from lab_assets.features.history import INSTRUMENT_HISTORY_INPUT, LOT_HISTORY_INPUT, instrument_history, lot_history
from lab_assets.features.progress import progress_features

at = datetime(2025, 1, 1, tzinfo=UTC)
run = dict.fromkeys(INSTRUMENT_HISTORY_INPUT) | {"instrument_id": "I", "method_id": "M", "injected_at_utc": at, "known_time_utc": at}
value = dict.fromkeys(LOT_HISTORY_INPUT) | {
    "lot_id": "L", "value": 99.0, "spec_low": 95.0, "measured_at_utc": at, "known_time_utc": at, "method_id": "ASSAY-01"
}
print(json.dumps({
    "version": FEATURE_SET_VERSION,
    "last": FEATURE_NAMES[-4:],
    "columns": [table for table in ("injection_progress", "instrument_history", "lot_history")
                if names_of(table)[-1] in contract(f"features.{table}").column_names],
    "points_seen": progress_features([0, 1, 2, 3, 4, 5], [0] * 6, checkpoint_pct=50, run_time_min=5.0)["points_seen"],
    "runs_of_method": instrument_history(pl.DataFrame([run | {"injection_id": "a"}, run | {"injection_id": "b"}]))["runs_of_method"].to_list(),
    "lot_values": lot_history(pl.DataFrame([value | {"analyte": "x"}, value | {"analyte": "y"}]))["lot_values"].to_list(),
    "twice_the_checkpoint": context_features({}, checkpoint_pct=25, method_id=None)["twice_the_checkpoint"],
}))
"""


def write(folder: Path, name: str, table: str, formula: str) -> None:
    folder.joinpath(f"{name}.py").write_text(
        "from lab_assets.features.feature import Feature\n\n"
        f"FEATURE = Feature(name={name!r}, table={table!r}, meaning='made up')\n\n\n"
        f"def value(given):\n    return {formula}\n"
    )


def run(folder: Path, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter: what features there are is settled at the first import."""
    return subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False, timeout=300)


def test_a_file_is_all_a_feature_needs(tmp_path: Path) -> None:
    for name, (table, formula) in FILES.items():
        write(tmp_path, name, table, formula)
    made = run(tmp_path)
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout)
    assert found.pop("version") != FEATURE_SET_VERSION
    assert found == {
        "last": sorted(FILES),
        "columns": ["injection_progress", "instrument_history", "lot_history"],
        "points_seen": 3.0,
        "runs_of_method": [1.0, 2.0],
        "lot_values": [2.0],
        "twice_the_checkpoint": 50.0,
    }


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("storage_exposure", "table 'storage_exposure' has no extra features; choose one of injection_progress"),
        ("", "needs the constant FEATURE"),
    ],
)
def test_a_file_that_is_no_feature_is_named(tmp_path: Path, table: str, message: str) -> None:
    write(tmp_path, "wrong", table, "0")
    if not table:
        tmp_path.joinpath("wrong.py").write_text("VALUE = 1\n")
    made = run(tmp_path)
    assert made.returncode == 1
    assert message in made.stderr
    assert "lab_assets.features.extra.wrong" in made.stderr


def test_extra_features_follow_the_others() -> None:
    assert FEATURES[len(FEATURES) - len(extras()) :] == tuple(extra.feature for extra in extras())
