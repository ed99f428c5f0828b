"""The watch over the model: a check of the same rows is the same check, and one that drifted raises one alert."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import polars as pl
import pytest

from lab_assets.contracts.ml import ALERTS, DRIFT, PREDICTIONS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.maintenance import maintain
from lab_assets.stations.ml.drift_checks import DriftReport, check_recent, raise_drift_alert
from lab_assets.stations.ml.drift_history import newest_checks
from lab_assets_tests.stations.ml.drifted import ROWS, put_predictions, put_reference
from lab_assets_tests.stations.ml.models import bundle
from lab_assets_tests.stations.rows import at
from lab_assets_tests.stations.small_laboratory import opened


@pytest.fixture
def lake(lakehouse: Lakehouse) -> Lakehouse:
    """A model with its reference, and predictions that have drifted away from it."""
    put_reference(lakehouse, bundle())
    put_predictions(lakehouse, bundle())
    return lakehouse


def check(lake: Lakehouse, day: int, *, model_version: str = "1") -> DriftReport:
    return check_recent(lake, bundle(), model_version=model_version, checked_at_utc=at(day))


def test_a_check_of_the_same_rows_is_the_same_check(lake: Lakehouse) -> None:
    """Checked again a day later, nothing is written, and drift that was seen once does not persist."""
    first = check(lake, 10)
    assert (first.is_new, first.drifted, first.persistent, first.rows) == (True, ("prediction:risk", "worst_margin_so_far"), False, ROWS)
    version = lake.version(DRIFT)
    again = check(lake, 11)
    assert (again.is_new, again.check_id, again.drifted, again.persistent) == (False, first.check_id, first.drifted, False)
    assert (again.subjects, again.rows) == (first.subjects, first.rows)
    assert lake.version(DRIFT) == version
    assert [each.check_id for each in newest_checks(lake.settings)] == [first.check_id]


def test_arranging_files_anew_makes_no_other_check(lake: Lakehouse) -> None:
    for number in range(8):
        put_predictions(lake, bundle(), first=ROWS + number, count=1)
    check(lake, 10)
    maintain(lake, PREDICTIONS)
    assert not check(lake, 11).is_new


def test_new_rows_ended_rows_or_another_model_are_another_check(lake: Lakehouse) -> None:
    first = check(lake, 10)
    put_predictions(lake, bundle(), first=ROWS, count=1)
    more = check(lake, 11)
    assert (more.is_new, more.persistent, more.rows) == (True, True, ROWS + 1)
    ended = lake.polars(PREDICTIONS, where=pl.col("prediction_id") == "p0").with_columns(ended_at_utc=pl.lit(at(12)))
    lake.replace_where(PREDICTIONS, ended.to_arrow(), "`prediction_id` = 'p0'")
    fewer, other = check(lake, 12), check(lake, 13, model_version="2")
    assert (fewer.is_new, fewer.rows, other.is_new) == (True, ROWS, True)
    assert len({first.check_id, more.check_id, fewer.check_id, other.check_id}) == 4
    assert not check(lake, 14).is_new


def test_a_check_that_drifted_raises_one_alert(lake: Lakehouse) -> None:
    """Also where the process ended between check and alert, and however often the alerts are looked at; the check is not made again."""
    assert raise_drift_alert(lake, model_version="1", at_utc=at(9)) is None
    found, version = check(lake, 10), lake.version(DRIFT)
    assert raise_drift_alert(lake, model_version="1", at_utc=at(10)) == f"alert-{found.check_id}"
    assert raise_drift_alert(lake, model_version="1", at_utc=at(11)) is None
    (alert,) = lake.polars(ALERTS).to_dicts()
    assert (alert["kind"], alert["subject"], alert["raised_at_utc"]) == ("prediction_drift", "prediction:risk, worst_margin_so_far", at(10))
    assert f"2 of 3 subjects drifted between 2025-03-05 and 2025-03-05 ({ROWS} rows)" in alert["message"]
    assert lake.version(DRIFT) == version


def test_a_check_without_drift_raises_no_alert(lakehouse: Lakehouse) -> None:
    put_reference(lakehouse, bundle())
    put_predictions(lakehouse, bundle(), shift=0.0)
    assert check(lakehouse, 10).drifted == ()
    assert raise_drift_alert(lakehouse, model_version="1", at_utc=at(10)) is None
    assert lakehouse.row_count(ALERTS) == 0


def _check_in_child(home: Path, day: int) -> None:
    with opened(home) as lake:
        check(lake, day)
        raise_drift_alert(lake, model_version="1", at_utc=at(day))


def test_two_processes_that_check_at_once_make_one_check(lake: Lakehouse) -> None:
    """A schedule and a person may ask at the same time."""
    spawn = multiprocessing.get_context("spawn")
    children = [spawn.Process(target=_check_in_child, args=(lake.settings.home, day)) for day in (10, 11)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    with opened(lake.settings.home) as again:
        assert (again.row_count(DRIFT), again.row_count(ALERTS)) == (3, 1)
