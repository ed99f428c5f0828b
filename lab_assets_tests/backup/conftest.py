"""A small laboratory with one backup of it, made once; each test changes copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab_assets_tests.backup.homes import back_up, other, plant_with_files
from lab_assets_tests.faults.ingestion import Plant


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plant, Path]:
    """A laboratory and a folder with one backup of it; tests copy what they change."""
    plant = plant_with_files(tmp_path_factory.mktemp("made") / "lab")
    folder = plant.settings.home.parent / "backups"
    back_up(plant, folder)
    return plant, folder


@pytest.fixture
def plant(made: tuple[Plant, Path], tmp_path: Path) -> Plant:
    """A laboratory of the test's own."""
    shutil.copytree(made[0].settings.home, tmp_path / "lab")
    return other(made[0], tmp_path / "lab")


@pytest.fixture
def folder(made: tuple[Plant, Path], tmp_path: Path) -> Path:
    """A folder with one backup, of the test's own."""
    shutil.copytree(made[1], tmp_path / "backups")
    return tmp_path / "backups"
