"""Few files are read without Spark, many by its workers, with the same outcome."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab_assets.compute.placement import PlacedCompute
from lab_assets.compute.session import SessionKeeper
from lab_assets.contracts.bronze import TABLES
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets_tests.ingest.files import SPECIFICATIONS, chromatogram, drop
from lab_assets_tests.no_spark import NoSparkKeeper
from lab_assets_tests.sources.mutations import mutated
from lab_assets_tests.sources.one_of_each import ONE_OF_EACH

TIMES = {"ingested_at_utc", "arrived_at_utc", "modified_at_utc", "at_utc"}
"""Columns that say when something was ingested or changed; one table of readings has its moments under the last name as well."""


def fresh_interpreter(program: str, **environment: str) -> list[str]:
    """Lines that a program prints in an interpreter of its own."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.splitlines()


def test_ingestion_is_imported_without_spark() -> None:
    program = "import sys, lab_assets.ingest.ingestor; print(sorted({'pyspark', 'pandas', 'pandera'} & set(sys.modules)))"
    assert fresh_interpreter(program) == ["[]"]


def test_a_laboratory_without_a_server_takes_a_file_without_starting_one(tmp_path: Path) -> None:
    """No import of pyspark, no session, nothing of a server on disk."""
    drop(tmp_path / "inbox", "hplc", "a.txt", chromatogram("S-1"))
    program = (
        "import sys; from lab_assets_tests.ingest.ingest_once import main; main(); print('pyspark' in sys.modules);"
        "from lab_assets.settings import get_settings; from lab_assets.state.database import open_database;"
        "from lab_assets.state.ledger import Ledger; print(Ledger(open_database(get_settings())).counts())"
    )
    assert fresh_interpreter(program, LAB_HOME=str(tmp_path), LAB_STABLE_S="0") == ["False", "{'committed': 1}"]
    assert not (tmp_path / "run" / "spark").exists()


def mixed_files() -> dict[str, bytes]:
    """Sixty files: one of each format, as many damaged ones, and two whose rows break rules."""
    good = {f"{name}.dat": data for name, data in ONE_OF_EACH.items()}
    bad = {f"damaged {name}.dat": mutated(data, 11) for name, data in list(ONE_OF_EACH.items())[: 58 - len(good)]}
    return {**good, **bad, "specifications.csv": SPECIFICATIONS.encode(), "cut.txt": chromatogram("S-1")[:1200].encode()}


def content(lake: Lakehouse) -> dict[str, list[str]]:
    """Every row of every bronze table but for times of ingestion, as sorted text."""
    return {
        table.name: sorted(
            json.dumps({name: value for name, value in row.items() if name not in TIMES}, default=repr, sort_keys=True)
            for row in lake.polars(table).to_dicts()
        )
        for table in TABLES
    }


def quarantine(lake: Lakehouse) -> dict[str, bytes]:
    """Copies of refused files with their reasons, by path."""
    folder = lake.settings.quarantine
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def ingested(home: Path, keeper: SessionKeeper, compute: PlacedCompute) -> tuple[Lakehouse, Any]:
    """A laboratory with the mixed files ingested."""
    settings = Settings(home=home, stable_s=0)
    for name, data in mixed_files().items():
        path = drop(settings.inbox, "all", name, data)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    lake = Lakehouse(settings, keeper, Ledger(open_database(settings)))
    lake.compute = compute
    return lake, Ingestor(lake).run()


@pytest.mark.spark
def test_the_same_files_come_out_the_same_on_this_machine_and_on_sparks_workers(tmp_path: Path, keeper: SessionKeeper) -> None:
    nobody = NoSparkKeeper(Settings(home=tmp_path / "local"), "the laboratory without Spark")
    ours, our_report = ingested(tmp_path / "local", nobody, PlacedCompute(nobody))
    _ = keeper.session  # while it is being opened this machine reads
    theirs, their_report = ingested(tmp_path / "spark", keeper, PlacedCompute(keeper, few=0))
    assert our_report.states["quarantined"] >= 10
    assert our_report.states["committed"] >= 30
    assert (our_report.states, our_report.reasons, our_report.rows) == (their_report.states, their_report.reasons, their_report.rows)
    assert content(ours) == content(theirs)
    assert quarantine(ours) == quarantine(theirs)
