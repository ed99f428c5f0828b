"""Three minutes of mishaps over the real processes: nothing is lost, doubled or different, and every answer is on record."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.service.prediction_log import PredictionLog
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets_tests.chaos.people import ASKED, Answers
from lab_assets_tests.chaos.verdict import unrecorded
from lab_assets_tests.chaos.world import files_of
from lab_assets_tests.no_spark import NoSparkKeeper
from lab_assets_tests.service.predictions import make


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


def test_an_answer_that_is_lost_doubled_or_other_is_seen(tmp_path):
    """Of four answers one is on record, one with another risk, one twice and one not at all."""
    settings = Settings(home=tmp_path / "lab")
    engine = open_database(settings)
    log = PredictionLog(settings)
    log.open(background=False)
    for record in (make(1), make(2), make(3), make(3)):
        log.append(record)
    log.close()
    known = {record.prediction.prediction_id: record.prediction.risk for record in (make(1), make(2), make(3), make(4))}
    one, two, three, four = known
    lake = Lakehouse(settings, NoSparkKeeper(settings, "the verdict"), Ledger(engine))
    assert set(unrecorded(lake, Answers(risks={**known, two: 0.123}))) == {two, three, four}
    assert unrecorded(lake, Answers(risks={one: known[one]})) == [three, three]
