"""Two runs at once: what is read and then appended is written once, whoever comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any

import numpy as np
import polars as pl
import pytest

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.governance import LINEAGE
from lab_assets.contracts.ml import ALERTS, DECISIONS, EVALUATIONS, PREDICTIONS, TRAINING_SETS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.modeling import split
from lab_assets.registry import serving
from lab_assets.registry.model_records import LoggedTraining, TrainingRecord
from lab_assets.stations.all_stations import STATIONS
from lab_assets.stations.governance.lineage import update_lineage
from lab_assets.stations.ml import training_sets
from lab_assets.stations.ml.drift_checks import check_feature_set
from lab_assets.stations.ml.experiments import keep_evaluations
from lab_assets.stations.ml.predictions import Scoring, score_waiting
from lab_assets.stations.quality import mending, violations
from lab_assets.stations.restoring import rebuild
from lab_assets_tests.stations.ml.models import TRAINED, bundle, experiment, plan, put_into_service
from lab_assets_tests.stations.small_laboratory import copied, made_in, opened

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = made_in(tmp_path_factory.mktemp("two_at_once") / "lab")
    with opened(home) as lake:
        put_into_service(lake)
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return copied(made, tmp_path / "lab")


@pytest.fixture
def lake(home: Path) -> Iterator[Lakehouse]:
    with opened(home) as lake:
        yield lake


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have whoever appends wait a moment for another who is as far: both have then read what is there, and neither has written."""
    barrier, append = Barrier(2), Lakehouse.append

    def waiting(self: Lakehouse, *args: Any, **more: Any) -> int:
        with suppress(BrokenBarrierError):
            barrier.wait(timeout=1.0)
        return append(self, *args, **more)

    monkeypatch.setattr(Lakehouse, "append", waiting)


def twice(home: Path, work: Callable[[Lakehouse], object]) -> None:
    failed: list[BaseException] = []

    def alone() -> None:
        try:
            with opened(home) as lake:
                lake.settings.context_grace_s = 0
                work(lake)
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [Thread(target=alone) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def lineage(lake: Lakehouse) -> None:
    update_lineage(lake, STATIONS)


def scoring(lake: Lakehouse) -> None:
    score_waiting(lake, bundle(), Scoring(model_version="1", mode="batch", requested_by="test", predicted_at_utc=NOW))


def alert(lake: Lakehouse) -> None:
    check_feature_set(lake, bundle(), model_version="1", at_utc=NOW)


def evaluations(lake: Lakehouse) -> None:
    record = TrainingRecord(
        plan=plan(), experiment=experiment(), trained_by="scientist", trained_at_utc=TRAINED, code_commit="abc", table_versions={}
    )
    keep_evaluations(lake, record, LoggedTraining(run_id="run-9", model_id="m-9", version="9", digest="d"), at_utc=TRAINED)


def training_set(lake: Lakehouse) -> None:
    training_sets.freeze_training_set(lake, frozen_at_utc=NOW)


@pytest.mark.usefixtures("meeting")
@pytest.mark.parametrize(
    ("work", "tables"),
    [
        (lineage, (LINEAGE,)),
        (scoring, (PREDICTIONS, DECISIONS)),
        (alert, (ALERTS,)),
        (evaluations, (EVALUATIONS,)),
        (training_set, (TRAINING_SETS,)),
    ],
)
def test_two_runs_at_once_write_each_row_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Lakehouse], object], tables: tuple[TableContract, ...]
) -> None:
    monkeypatch.setattr(serving, "uncomputed_features", lambda *_: "its features are not computed")
    monkeypatch.setattr(training_sets, "MIN_INJECTIONS", 1)
    monkeypatch.setattr(split, "split_by_time_and_lot", lambda _times, lots, **_: np.full(len(lots), "train"))
    twice(home, work)
    with opened(home) as lake:
        for table in tables:
            plain = [column.name for column in table.columns if "<" not in column.kind]
            rows = lake.polars(table, plain)
            assert 0 < rows.height == rows.unique().height
            assert violations(lake, table) == {}


def test_a_lineage_with_doubled_rows_is_mended_by_a_rebuild(lake: Lakehouse) -> None:
    """As two runs left it that wrote at once: the check says what to do, and every row is there once afterwards."""
    update_lineage(lake, STATIONS)
    once = lake.polars(LINEAGE).sort(pl.all())
    lake.append(LINEAGE, once.with_columns(pl.col("recorded_at_utc") + pl.duration(minutes=1)).to_arrow())
    broken = violations(lake, LINEAGE)
    assert mending(LINEAGE.full_name, broken) == "'lab table rebuild governance.lineage' takes the doubled rows away"
    done = rebuild(lake, LINEAGE.full_name, run_id="mend-1")
    assert done.removed.height == once.height
    assert violations(lake, LINEAGE) == {}
    assert once.join(lake.polars(LINEAGE), on=once.columns, how="anti", nulls_equal=True).is_empty()
    assert rebuild(lake, LINEAGE.full_name).removed.is_empty()
