"""A laboratory that ingests in processes of its own, which may be killed.

Belongs here: the home, its runs, and what its tables say. Does not belong here: assertions.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab_assets.contracts.bronze import FILES, READER_TABLES
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets_tests.faults.laboratory import environment_of
from lab_assets_tests.faults.warm_process import WarmProcess
from lab_assets_tests.ingest import ingest_once
from lab_assets_tests.no_spark import NoSparkKeeper
from lab_assets_tests.sources.builders import labsolutions

KILLED = -9
PLACES = (
    "raw_copy",
    "after_copy",
    "after_ledger_row",
    "staging_written",
    "after_staging",
    "committed_chromatograms",
    "committed_files",
    "after_delta_commit",
    "after_ledger_commit",
)
"""The steps of an ingestion at which a run may be killed, in their order."""
NO_SPARK = "sc://localhost:1/"


@dataclass(frozen=True)
class Plant:
    """One home."""

    settings: Settings

    @property
    def inbox(self) -> Path:
        return self.settings.inbox

    @property
    def lake(self) -> Lakehouse:
        return Lakehouse(self.settings, NoSparkKeeper(self.settings, str(self.settings.home)), Ledger(open_database(self.settings)))

    def drop(self, name: str, data: str | bytes, source: str = "hplc") -> Path:
        path = self.inbox / source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def start(self, **environment: str) -> WarmProcess:
        """Start an ingestion in a process of its own; names of settings in capitals."""
        settings = {"LAB_SPARK_REMOTE": self.settings.spark_remote or "", "LAB_STABLE_S": "0", "LAB_FOLDER_STABLE_S": "0"}
        env = environment_of(self.settings, **settings, **{f"LAB_{name}": value for name, value in environment.items()})
        return WarmProcess(ingest_once.main, env, self.settings.home.parent / f"{self.settings.home.name}-output")

    def ingest(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Ingest to the end, or to the kill, in a process of its own."""
        child = self.start(**environment)
        out, err = child.communicate(timeout=300)
        return subprocess.CompletedProcess(ingest_once.__name__, child.returncode or 0, out, err)

    def ingest_whole(self, **environment: str) -> None:
        """Ingest to the end."""
        done = self.ingest(**environment)
        assert done.returncode == 0, done.stderr[-3000:]

    def states(self) -> dict[str, str]:
        """State by path of every arrival in ``bronze.files``, the newest arrival of a path counting."""
        rows = self.lake.polars(FILES, ["arrival_id", "source", "file_name", "state"]).sort("arrival_id").rows()
        return {f"{source}/{name}": state for _, source, name, state in rows}

    def arrivals(self) -> dict[str, dict[str, Any]]:
        """The newest row of ``bronze.files`` by path."""
        rows = self.lake.polars(FILES).sort("arrival_id").to_dicts()
        return {f"{row['source']}/{row['file_name']}": row for row in rows}

    def rows_by_file(self) -> dict[tuple[str, str], int]:
        """How many rows each bronze table holds of each digest."""
        held: dict[tuple[str, str], int] = {}
        for table in READER_TABLES:
            for digest, count in self.lake.polars(table, ["source_sha256"])["source_sha256"].value_counts().rows():
                held[table.name, digest] = count
        return held


def plant_at(home: Path, *, spark_remote: str = NO_SPARK, **settings: Any) -> Plant:
    """Found a home.

    Args:
        home: Its folder.
        spark_remote: Server of its processes; by default an address where none answers, so that none of them starts one.
        settings: Others.
    """
    found = Settings(home=home, stable_s=0, folder_stable_s=0, spark_remote=spark_remote, **settings)
    found.inbox.mkdir(parents=True)
    return Plant(found)


def run_of(sample: str) -> str:
    """A LabSolutions export of two detectors with two vendor peaks: 2 chromatograms, 2 peaks."""
    return labsolutions().replace("Sample Name\tSTD 1", f"Sample Name\t{sample}")


def copy_of(plant: Plant, name: str) -> Path:
    """Back the ledger up as SQLite does it while it is open."""
    target = plant.settings.home.parent / name
    source = sqlite3.connect(plant.settings.home / "lab.db")
    with sqlite3.connect(target) as backup:
        source.backup(backup)
    source.close()
    return target


def put_back(plant: Plant, backup: Path) -> None:
    """Put a backup in the ledger's place."""
    for path in plant.settings.home.glob("lab.db*"):
        path.unlink()
    shutil.copyfile(backup, plant.settings.home / "lab.db")


def tmpfs(path: Path, size: str) -> None:
    """Mount a small disk; the test is skipped where that is not permitted."""
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=False).returncode:
        pytest.skip("mounting a small disk needs the right to mount")


@contextmanager
def full(folder: Path, *, spare_pages: int = 0) -> Iterator[None]:
    """Take all space on the disk of a folder but for some pages of 4 KiB, and give it back in the end."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(ballast, ballast.stat().st_size - 4096 * spare_pages)
    try:
        yield
    finally:
        ballast.unlink()


def unmount(path: Path) -> None:
    """Take the small disk away."""
    subprocess.run(["umount", "-l", path], check=False)
    shutil.rmtree(path, ignore_errors=True)
