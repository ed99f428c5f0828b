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

import lab_assets.features.extra.former as former

given = json.loads(sys.argv[2])
extra.__path__.append(sys.argv[1])
former.__path__.append(sys.argv[1] + "/former")

from datetime import UTC, datetime

import polars as pl

from lab_assets.contracts.all_contracts import contract
from lab_assets.features.context import context_features
from lab_assets.features.definitions import FEATURE_NAMES, FEATURE_SET_VERSION, names_of
from lab_assets.features.history_of_instruments import INSTRUMENT_HISTORY_INPUT, instrument_history
from lab_assets.features.history_of_lots import LOT_HISTORY_INPUT, lot_history
from lab_assets.features.progress import progress_features

at = datetime(2025, 1, 1, tzinfo=UTC)
run = dict.fromkeys(INSTRUMENT_HISTORY_INPUT) | {"instrument_id": "I", "method_id": "M", "injected_at_utc": at, "known_time_utc": at}
value = dict.fromkeys(LOT_HISTORY_INPUT) | {
    "lot_id": "L", "value": 99.0, "spec_low": 95.0, "measured_at_utc": at, "known_time_utc": at, "method_id": "ASSAY-01"
}
print(json.dumps({
    "version": FEATURE_SET_VERSION,
    "extra": [name for name in FEATURE_NAMES if name in given],
    "columns": {name: table for name, table in given.items()
                if table != "context" and name in names_of(table) and name in contract(f"features.{table}").column_names},
    "points_seen": progress_features([0, 1, 2, 3, 4, 5], [0] * 6, checkpoint_pct=50, run_time_min=5.0)["points_seen"],
    "runs_of_method": instrument_history(pl.DataFrame([run | {"injection_id": "a"}, run | {"injection_id": "b"}]))["runs_of_method"].to_list(),
    "lot_values": lot_history(pl.DataFrame([value | {"result_id": "x"}, value | {"result_id": "y"}]))["lot_values"].to_list(),
    "twice_the_checkpoint": context_features({}, checkpoint_pct=25, method_id=None)["twice_the_checkpoint"],
}))
"""

FORMER = """
from lab_assets.features.definitions import columns_of

print(json.dumps({
    "declared": [name for name in columns_of("lot_history") if name in contract("features.lot_history").column_names and name[-3:-1] == "_v"],
    "points_seen_v1": progress_features([0, 1, 2, 3, 4, 5], [0] * 6, checkpoint_pct=50, run_time_min=5.0)["points_seen_v1"],
    "runs_of_method_v1": instrument_history(pl.DataFrame([run | {"injection_id": "a"}, run | {"injection_id": "b"}]))["runs_of_method_v1"].to_list(),
    "lot_values_v1": lot_history(pl.DataFrame([value | {"result_id": "x"}, value | {"result_id": "y"}]))["lot_values_v1"].to_list(),
}))
"""


def write(folder: Path, name: str, table: str, formula: str, *, version: int = 1, file: str = "") -> None:
    folder.mkdir(exist_ok=True)
    folder.joinpath(f"{file or name}.py").write_text(
        "from lab_assets.features.feature import Feature\n\n"
        f"FEATURE = Feature(name={name!r}, table={table!r}, meaning='made up', version={version})\n\n\n"
        f"def value(given):\n    return {formula}\n"
    )


def run(folder: Path, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter: what features there are is settled at the first import."""
    given = json.dumps({name: table for name, (table, _) in FILES.items()})
    return subprocess.run([sys.executable, "-c", program, str(folder), given], capture_output=True, text=True, check=False, timeout=300)


def test_a_file_is_all_a_feature_needs(tmp_path: Path) -> None:
    for name, (table, formula) in FILES.items():
        write(tmp_path, name, table, formula)
    made = run(tmp_path)
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout)
    assert found.pop("version") != FEATURE_SET_VERSION
    assert found == {
        "extra": sorted(FILES),
        "columns": {"points_seen": "injection_progress", "runs_of_method": "instrument_history", "lot_values": "lot_history"},
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


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("pressure_mean_bar", "", "pressure_mean_bar.py: another feature is called 'pressure_mean_bar', of table 'injection_progress'"),
        ("point noise", "noise", "extra.noise: its feature is called 'point noise'; file and feature have one name, in small letters"),
        ("Noise", "", "extra.Noise: its feature is called 'Noise'; file and feature have one name, in small letters"),
    ],
)
def test_a_feature_that_cannot_be_one_is_named(tmp_path: Path, name: str, file: str, message: str) -> None:
    write(tmp_path, name, "lot_history", "0", file=file)
    made = run(tmp_path)
    assert made.returncode == 1
    assert message in made.stderr


def test_what_is_no_number_is_named(tmp_path: Path) -> None:
    write(tmp_path, "points_seen", "injection_progress", "None")
    message = "value of lab_assets.features.extra.points_seen returns NoneType; it is a number, nan where nothing can be said"
    assert message in run(tmp_path).stderr


def test_bounds_need_their_reason(tmp_path: Path) -> None:
    write(tmp_path, "share", "lot_history", "0")
    text = tmp_path.joinpath("share.py").read_text()
    tmp_path.joinpath("share.py").write_text(text.replace("version=1", "minimum=0.0"))
    assert "extra.share: minimum and maximum need bound_reason" in run(tmp_path).stderr


def test_a_former_file_changes_neither_todays_features_nor_their_set(tmp_path: Path) -> None:
    """Its values go to a column of their own, after today's."""
    for name, (table, formula) in FILES.items():
        write(tmp_path, name, table, formula, version=2)
    before = json.loads(run(tmp_path).stdout)
    for name, (table, _) in FILES.items():
        write(tmp_path / "former", name, table, "0")
    write(tmp_path / "former", "lot_min_margin", "lot_history", "0", version=0)
    made = run(tmp_path, PROGRAM + FORMER)
    assert made.returncode == 0, made.stderr
    today, former = (json.loads(line) for line in made.stdout.splitlines())
    assert today == before
    assert former == {
        "declared": ["lot_min_margin_v0", "lot_values_v1"],
        "points_seen_v1": 0.0,
        "runs_of_method_v1": [0.0, 0.0],
        "lot_values_v1": [0.0],
    }


@pytest.mark.parametrize(
    ("name", "table", "version", "message"),
    [
        ("lot_min_margin", "lot_history", 1, "lot_min_margin is of version 1 today: a former computation of it has a lower one"),
        ("lot_min_margin", "context", 0, "lot_min_margin is of table 'lot_history' today: so are its former computations"),
        ("storage_days", "elsewhere", 0, "table 'elsewhere' has no extra features"),
        ("twice", "context", 1, "has two files of the same version of a feature: twice_v1"),
    ],
)
def test_a_former_file_that_cannot_be_one_is_named(tmp_path: Path, name: str, table: str, version: int, message: str) -> None:
    for file in ("a", "b") if name == "twice" else ("a",):
        write(tmp_path / "former", name, table, "0", version=version, file=file)
    made = run(tmp_path)
    assert made.returncode == 1
    assert message in made.stderr


def test_extra_features_follow_the_others() -> None:
    assert FEATURES[len(FEATURES) - len(extras()) :] == tuple(extra.feature for extra in extras())
