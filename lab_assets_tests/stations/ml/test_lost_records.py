"""Decisions and explanations that a restore took away are there again after the next scoring, where their predictions count."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.features import INJECTION_PROGRESS
from lab_assets.contracts.ml import DECISIONS, EXPLANATIONS, PREDICTIONS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.registry.serving import cache_bundle
from lab_assets.stations.ml.lost_records import DECIDED_AGAIN
from lab_assets.stations.ml.predictions import STATION, Scored, Scoring, score_waiting
from lab_assets.stations.restoring import restore
from lab_assets_tests.stations.ml.models import bundle, put_into_service
from lab_assets_tests.stations.small_laboratory import copied, made_in, opened

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small laboratory with a model in service, scored once."""
    home = made_in(tmp_path_factory.mktemp("lost") / "lab")
    with opened(home) as lake:
        lake.settings.context_grace_s = 0
        put_into_service(lake)
        assert score(lake).predictions > 0
    return home


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Iterator[Lakehouse]:
    with opened(copied(made, tmp_path / "lab")) as lake:
        lake.settings.context_grace_s = 0
        yield lake


def score(lake: Lakehouse, *, seed: int = 3) -> Scored:
    return score_waiting(lake, bundle(seed=seed), Scoring(model_version="1", mode="stream", requested_by="test", predicted_at_utc=NOW))


def held(lake: Lakehouse, table: TableContract) -> pl.DataFrame:
    rows = lake.polars(table).sort("prediction_id", "rank" if table is EXPLANATIONS else "decision_id")
    if table is DECISIONS:
        rows = rows.with_columns(pl.col("reasons").list.filter(pl.element() != DECIDED_AGAIN))
    return rows


@pytest.mark.parametrize("table", [DECISIONS, EXPLANATIONS])
def test_what_a_restore_took_away_is_there_again_after_the_next_scoring(lake: Lakehouse, table: TableContract) -> None:
    before = held(lake, table)
    restore(lake, table, 0, force=True)
    assert lake.row_count(table) == 0
    done = score(lake)
    assert (done.predictions, done.decided_again) == (0, before.height if table is DECISIONS else 0)
    assert held(lake, table).equals(before)
    assert lake.ledger.attention(STATION) == []
    again = lake.polars(DECISIONS, ["reasons"])["reasons"].to_list()
    assert all((DECIDED_AGAIN in reasons) is (table is DECISIONS) for reasons in again)


def test_a_former_models_predictions_are_decided_again_and_marks_follow(lake: Lakehouse) -> None:
    """Those that count still; the decisions of others that had ended come back ended, and what ended without one gets none."""
    first = lake.version(DECISIONS)
    cache_bundle(lake.settings, bundle(seed=4))
    rows, other = lake.polars(INJECTION_PROGRESS), lake.polars(PREDICTIONS, ["injection_id"])["injection_id"][0]
    changed = pl.when(pl.col("injection_id") == other).then(-1.0).otherwise(pl.col("worst_margin_so_far"))
    lake.replace(INJECTION_PROGRESS, rows.with_columns(worst_margin_so_far=changed).to_arrow())
    assert score(lake).superseded > 0
    score(lake, seed=4)
    before = held(lake, DECISIONS)
    for version in (first, 0):
        restore(lake, DECISIONS, version, force=True)
        score(lake, seed=4)
        counts = lake.polars(PREDICTIONS, ["prediction_id"], where=pl.col("ended_at_utc").is_null())
        found = held(lake, DECISIONS)
        assert set(counts["prediction_id"]) == set(found.filter(pl.col("ended_at_utc").is_null())["prediction_id"])
        assert found.join(before, on=found.columns, how="anti", nulls_equal=True).is_empty()
    without = lake.ledger.progress(STATION)
    assert score(lake, seed=4).decided_again == 0
    assert lake.ledger.progress(STATION) == without
