"""Online predictions reach the tables of all predictions, decisions and explanations, each once, whatever happens in between."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lab_assets.contracts.ml import DECISIONS, EXPLANATIONS, ONLINE_LOG, PREDICTIONS
from lab_assets.features.definitions import FEATURE_SET_VERSION
from lab_assets.features.vector import from_map
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.registry.serving import cache_bundle
from lab_assets.service.prediction_log import PredictionLog
from lab_assets.service.records import Outcome, Prediction, Record, to_arrow
from lab_assets.stations.ml.online import fold_online_log
from lab_assets.stations.restoring import restore
from lab_assets_tests.service import laboratory

AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LATER = AT + timedelta(days=1)
DRIVER = {"rank": 1, "feature": "pressure_ripple_pct", "value": None, "contribution": 0.1 + 0.2, "words": "ripple is missing"}


@pytest.fixture(scope="module")
def bundle():
    return laboratory.train(1)


def prediction(number: int, *, margin: float = 1.0, digest: str = "d" * 64) -> Prediction:
    return Prediction(
        prediction_id=f"p-{number:06d}", injection_id=f"i-{number}", lot_id="LOT-1", checkpoint_pct=50, risk=0.25, risk_low=0.1,
        risk_high=0.4, raw_score=-1.1, model_name="oos_risk", model_version="1", model_digest=digest, feature_set_version=FEATURE_SET_VERSION,
        features={"worst_margin_so_far": margin, "checkpoint_pct": 50.0}, table_versions={"features.lot_history": 3},
        predicted_at_utc=AT + timedelta(seconds=number), as_of_utc=None, mode="online", requested_by="analyst",
    )  # fmt: skip


def decided(number: int) -> Record:
    """Every second one needed checks, and so has a driver."""
    checks = number % 2 == 1
    outcome = Outcome(
        verdict="likely_fail" if checks else "likely_pass", path="mandatory_checks" if checks else "fast_track",
        checks=("look at the pump",) if checks else (), reasons=("because", f"of {number}"), policy_version="rules-of-then",
        drivers=(DRIVER,) if checks else None,
    )  # fmt: skip
    return Record(prediction=prediction(number), outcome=outcome)


def answer(lake: Lakehouse, *numbers: int) -> None:
    """Have the service's own log keep and commit predictions."""
    log = PredictionLog(lake.settings)
    log.open(background=False)
    for number in numbers:
        log.append(decided(number))
    log.close()


def counts(lake: Lakehouse) -> tuple[Counter, Counter, Counter]:
    return tuple(Counter(lake.polars(table, ["prediction_id"])["prediction_id"]) for table in (PREDICTIONS, DECISIONS, EXPLANATIONS))


def each_once(*numbers: int) -> tuple[dict, dict, dict]:
    ids = {f"p-{number:06d}": 1 for number in numbers}
    return ids, ids, {f"p-{number:06d}": 1 for number in numbers if number % 2}


def test_what_was_answered_is_what_the_tables_hold(lakehouse):
    answer(lakehouse, 1, 2)
    fold_online_log(lakehouse)
    rows = lakehouse.polars(PREDICTIONS).sort("prediction_id").to_dicts()
    assert [Prediction.from_row(row) for row in rows] == [prediction(1), prediction(2)]
    first, second = lakehouse.polars(DECISIONS).sort("decision_id").to_dicts()
    assert first == {
        "decision_id": "d-p-000001", "prediction_id": "p-000001", "injection_id": "i-1", "lot_id": "LOT-1", "path": "mandatory_checks",
        "checks": ["look at the pump"], "reasons": ["because", "of 1"], "policy_version": "rules-of-then",
        "decided_at_utc": AT + timedelta(seconds=1), "verdict": "likely_fail",
        "superseded_by": None, "ended_at_utc": None, "ended_reason": None,
    }  # fmt: skip
    assert (second["path"], second["checks"], second["verdict"]) == ("fast_track", [], "likely_pass")
    assert lakehouse.polars(EXPLANATIONS).to_dicts() == [{"prediction_id": "p-000001", **DRIVER}]


def test_each_fold_takes_what_is_new_and_a_repeat_takes_nothing(lakehouse):
    answer(lakehouse, 1, 2)
    version = fold_online_log(lakehouse)
    assert fold_online_log(lakehouse) == version
    answer(lakehouse, 3)
    answer(lakehouse, 4, 5)
    assert fold_online_log(lakehouse) == version + 1
    assert counts(lakehouse) == each_once(1, 2, 3, 4, 5)


def test_compaction_of_the_log_brings_nothing_twice(lakehouse):
    answer(lakehouse, 1)
    fold_online_log(lakehouse)
    answer(lakehouse, 2)
    lakehouse.compact(ONLINE_LOG)
    answer(lakehouse, 3)
    fold_online_log(lakehouse)
    assert counts(lakehouse) == each_once(1, 2, 3)


def test_a_laboratory_that_lost_its_memory_of_the_fold_adds_nothing_twice(lakehouse):
    """The number of the last version folded is forgotten, as after the tables were copied to another machine."""
    answer(lakehouse, 1, 2)
    fold_online_log(lakehouse)
    lakehouse.ledger.set_progress("fold:online_log", {ONLINE_LOG.full_name: 0})
    answer(lakehouse, 3)
    fold_online_log(lakehouse)
    assert counts(lakehouse) == each_once(1, 2, 3)


def test_rows_lost_by_a_restore_come_back_when_the_whole_log_is_looked_at_again(lakehouse):
    answer(lakehouse, 1)
    version = fold_online_log(lakehouse)
    answer(lakehouse, 2)
    fold_online_log(lakehouse)
    lakehouse.restore(PREDICTIONS, version)
    assert counts(lakehouse)[0] == {"p-000001": 1}
    fold_online_log(lakehouse, again=True)
    assert counts(lakehouse) == each_once(1, 2)


@pytest.mark.parametrize("table", [PREDICTIONS, DECISIONS, EXPLANATIONS])
def test_the_next_fold_brings_back_what_a_restore_took_away(lakehouse, table):
    answer(lakehouse, 1)
    fold_online_log(lakehouse)
    version = lakehouse.version(table)
    answer(lakehouse, 2, 3)
    fold_online_log(lakehouse)
    restore(lakehouse, table, version, force=True)
    assert counts(lakehouse) != each_once(1, 2, 3)
    fold_online_log(lakehouse)
    assert counts(lakehouse) == each_once(1, 2, 3)
    version = lakehouse.version(table)
    fold_online_log(lakehouse)
    assert lakehouse.version(table) == version


_FOLD = """
import sys
from pathlib import Path
from lab_assets.compute.session import SessionKeeper
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings
from lab_assets.stations.ml.online import fold_online_log
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
settings = Settings(home=Path(sys.argv[1]))
fold_online_log(Lakehouse(settings, SessionKeeper(settings), Ledger(open_database(settings))))
"""


@pytest.mark.parametrize("place", ["explanations", "decisions", "predictions", "progress"])
def test_a_fold_killed_between_two_commits_leaves_each_row_once(lakehouse, place):
    """Killed before the commit of ``place``; more is answered before the next fold, which starts from another version of the log."""
    answer(lakehouse, 1, 2)
    environment = {**os.environ, "LAB_FAILPOINT": f"fold_{place}"}
    done = subprocess.run([sys.executable, "-c", _FOLD, str(lakehouse.settings.home)], env=environment, check=False)
    assert done.returncode == -9
    answer(lakehouse, 3)
    fold_online_log(lakehouse)
    fold_online_log(lakehouse)
    assert counts(lakehouse) == each_once(1, 2, 3)


def old_log(lake: Lakehouse, *predictions: Prediction) -> None:
    """A log as it was before decisions were recorded: the columns of a prediction alone."""
    from deltalake import write_deltalake

    names = [name for name in ONLINE_LOG.column_names if name in Prediction.__dataclass_fields__]
    rows = to_arrow(Record(prediction=one, outcome=None) for one in predictions).select(names)
    write_deltalake(lake.uri(ONLINE_LOG), rows.slice(0, 0), mode="append")  # version 0 is the empty table
    write_deltalake(lake.uri(ONLINE_LOG), rows, mode="append")


def test_predictions_of_before_decisions_were_recorded_are_decided_once(lakehouse, bundle):
    """One is likely to fail by its model; that of a model that is gone goes to standard review. Their predictions may be in the table already."""
    cache_bundle(lakehouse.settings, bundle)
    bad, gone = prediction(1, margin=-3.0, digest=bundle.digest), prediction(2)
    bad = replace(bad, risk=0.9, risk_high=0.95)
    old_log(lakehouse, bad, gone)
    lakehouse.append(
        PREDICTIONS, lakehouse.local_rows(PREDICTIONS, [{name: getattr(bad, name) for name in Prediction.__dataclass_fields__}])
    )
    fold_online_log(lakehouse, now=LATER)
    first, second = lakehouse.polars(DECISIONS).sort("decision_id").to_dicts()
    expected = bundle.score_row(from_map(bad.features)).verdict
    assert (first["verdict"], first["decided_at_utc"], first["policy_version"]) == (expected, LATER, "review-2")
    assert first["reasons"][-1] == "decided afterwards: no decision was recorded when the risk was given"
    assert (second["verdict"], second["path"]) == ("cannot_tell_yet", "standard")
    answer(lakehouse, 3)
    fold_online_log(lakehouse, now=LATER + timedelta(days=1))
    predictions, decisions, _ = counts(lakehouse)
    assert predictions == decisions == {"p-000001": 1, "p-000002": 1, "p-000003": 1}
    assert lakehouse.polars(DECISIONS).sort("decision_id")["decided_at_utc"].to_list()[:2] == [LATER, LATER]
