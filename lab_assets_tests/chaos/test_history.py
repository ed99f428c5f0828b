"""Three minutes of mishaps over the real processes: nothing is lost, doubled or different, and every answer is on record."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lab_assets.settings import PROJECT_ROOT
from lab_assets_tests.chaos.people import ASKED
from lab_assets_tests.chaos.world import files_of


@pytest.mark.e2e
@pytest.mark.spark
@pytest.mark.timeout(1500)
def test_after_a_history_of_mishaps_everything_is_as_in_quiet(tmp_path):
    command = [sys.executable, "-m", "lab_assets_tests.chaos", "--minutes", "3", "--seed", "1", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    assert done.stdout.rstrip().endswith("held")


def test_what_people_have_scored_is_of_no_lot_that_files_name(tmp_path):
    assert not [file.path for file in files_of(tmp_path, 1) if ASKED.encode() in file.data]
