"""Predictions that others made from what is taken back: ended at once, and counting again where the next scoring makes the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lab_assets.contracts.all_contracts import contract
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.ml import DECISIONS, PREDICTIONS
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.all_stations import STATIONS, stations
from lab_assets.stations.ml.predictions import STATION, Scored, Scoring, score_waiting
from lab_assets.stations.restoring import restore, set_back
from lab_assets.stations.rollback import RolledBack, rollback, rollback_plan, run_named
from lab_assets.stations.runner import update
from lab_assets_tests.stations.ml.models import bundle, put_into_service
from lab_assets_tests.stations.small_laboratory import copied, made_in, opened, run_stations

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PEAKS, PROGRESS = contract("silver.peaks"), contract("features.injection_progress")
INJECTIONS = contract("silver.injections")
WAITS = "made from what run faulty-1 wrote, which was taken back"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small laboratory whose files went through every station, with a model in service; nothing is scored yet."""
    home = made_in(tmp_path_factory.mktemp("taken_back") / "lab")
    with opened(home) as lake:
        put_into_service(lake)
    return home


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Iterator[Lakehouse]:
    with opened(copied(made, tmp_path / "lab")) as lake:
        lake.settings.context_grace_s = 0
        yield lake


def score(lake: Lakehouse, run_id: str) -> Scored:
    scoring = Scoring(model_version="1", mode="stream", requested_by="test", predicted_at_utc=NOW, run_id=run_id)
    return score_waiting(lake, bundle(), scoring)


def counting(lake: Lakehouse, table: TableContract = PREDICTIONS) -> set[str]:
    return set(lake.polars(table, ["prediction_id"], where=pl.col("ended_at_utc").is_null())["prediction_id"])


def reasons(lake: Lakehouse, table: TableContract, version: int | None = None) -> dict[str, str | None]:
    return dict(lake.polars(table, ["prediction_id", "ended_reason"], version=version).iter_rows())


def content(lake: Lakehouse) -> list[pl.DataFrame]:
    return [lake.polars(table).sort(table.primary_key) for table in (PREDICTIONS, DECISIONS)]


def half_the_margins(lake: Lakehouse, run_id: str) -> None:
    """Write other features of every second injection, in the name of a run."""
    rows = lake.polars(PROGRESS)
    chosen = rows["injection_id"].unique(maintain_order=True).gather_every(2)
    wrong = pl.when(pl.col("injection_id").is_in(chosen.implode())).then(pl.col("worst_margin_so_far") / 2 - 1)
    lake.replace(
        PROGRESS,
        rows.with_columns(wrong.otherwise(pl.col("worst_margin_so_far")).alias("worst_margin_so_far")).to_arrow(),
        derivation=Derivation(inputs={PEAKS.full_name: lake.version(PEAKS)}, run_id=run_id),
    )


def take_back(lake: Lakehouse, run_id: str = "faulty-1") -> RolledBack:
    return rollback(lake, rollback_plan(run_named(lake, run_id)), at_utc=NOW, run_id="back")


def test_predictions_of_another_run_end_with_the_rows_they_were_made_from(lake: Lakehouse) -> None:
    """The decisions with them; the next scoring makes the right ones count again, as they were before the faulty run."""
    assert score(lake, "earlier-0").predictions > 0
    right = counting(lake)
    half_the_margins(lake, "faulty-1")
    assert score(lake, "other-2").superseded > 0
    wrong = counting(lake)
    made_by_other = wrong - right
    assert made_by_other
    assert wrong & right
    done = take_back(lake)
    assert (done.ended, done.waiting) == (0, len(made_by_other))
    assert counting(lake) == counting(lake, DECISIONS) == wrong & right, "what rests on earlier versions alone stays"
    for table in (PREDICTIONS, DECISIONS):
        assert {name for name, reason in reasons(lake, table).items() if reason == WAITS} == made_by_other
    assert take_back(lake).waiting == 0
    run_stations(lake)
    score(lake, "next-3")
    assert counting(lake) == counting(lake, DECISIONS) == right
    assert {reasons(lake, PREDICTIONS)[name] for name in made_by_other} == {"scored again after a change of the feature values"}


def test_what_comes_out_the_same_counts_again_as_if_nothing_had_been(lake: Lakehouse) -> None:
    """The history says that it waited; decisions follow."""
    set_back(lake, PEAKS.full_name, 0, "lost")
    run_stations(lake, run_id="faulty-1")
    half_the_margins(lake, "faulty-1")
    update(lake, stations()[PROGRESS.full_name], rebuild=True, run_id="faulty-1")
    score(lake, "other-2")
    before, valid = content(lake), counting(lake)
    done = take_back(lake)
    assert (done.waiting, counting(lake), counting(lake, DECISIONS)) == (len(valid), set(), set())
    run_stations(lake)
    assert score(lake, "next-3").predictions == 0
    assert all(now.equals(then) for now, then in zip(content(lake), before, strict=True))
    assert done.marked_in is not None
    assert set(reasons(lake, PREDICTIONS, done.marked_in).values()) == {WAITS}


def test_where_others_have_written_since_predictions_wait_as_well(lake: Lakehouse) -> None:
    """All is made anew at once, and only the next scoring knows what comes out the same."""
    half_the_margins(lake, "faulty-1")
    score(lake, "other-2")
    wrong = counting(lake)
    lake.replace(PROGRESS, lake.polars(PROGRESS).slice(1).to_arrow(), derivation=Derivation(inputs={PEAKS.full_name: 1}, run_id="later-3"))
    done = take_back(lake)
    assert list(done.made_anew) == [PROGRESS.full_name]
    assert (done.waiting, counting(lake)) == (len(wrong), set())
    assert lake.ledger.to_make_anew() == {STATION: "run faulty-1 was taken back"}
    score(lake, "next-4")
    assert 0 < len(counting(lake) & wrong) < len(wrong), "those of runs whose features were never wrong"
    assert lake.ledger.to_make_anew() == {}


def test_predictions_made_before_a_run_do_not_rest_on_it(lake: Lakehouse) -> None:
    score(lake, "earlier-0")
    right = counting(lake)
    for station in STATIONS:
        update(lake, station, rebuild=True, run_id="faulty-1")
    half_the_margins(lake, "faulty-1")
    done = take_back(lake)
    assert (done.waiting, done.marked_in, counting(lake)) == (0, None, right)


@pytest.mark.parametrize("name", ["silver.peaks", "features.injection_progress"])
def test_a_restore_ends_what_was_made_from_what_the_table_loses(lake: Lakehouse, name: str) -> None:
    """As a rollback does: predictions that rest on the version that comes back stay."""
    table = contract(name)
    score(lake, "earlier-0")
    right, version = counting(lake), lake.version(table)
    lake.replace(table, lake.polars(table).to_arrow())
    assert restore(lake, table, version).ended == 0
    assert counting(lake) == right
    assert restore(lake, table, 0).ended == len(right)
    assert counting(lake) == counting(lake, DECISIONS) == set()


def test_the_run_that_scored_ends_its_own_and_what_it_superseded_waits(lake: Lakehouse) -> None:
    """Nothing counts that the next scoring might not make: it makes the earlier ones count again, and says what took the others' place."""
    score(lake, "earlier-0")
    right = counting(lake)
    half_the_margins(lake, "faulty-1")
    score(lake, "faulty-1")
    own, both = counting(lake) - right, counting(lake) & right
    assert own
    done = take_back(lake)
    assert (done.ended, done.waiting) == (len(own), 0)
    assert counting(lake) == counting(lake, DECISIONS) == both
    assert {reasons(lake, PREDICTIONS)[name] for name in own} == {"run faulty-1 was taken back"}
    run_stations(lake)
    score(lake, "next-2")
    assert counting(lake) == counting(lake, DECISIONS) == right
    assert {reasons(lake, PREDICTIONS)[name] for name in own} == {"scored again after a change of the feature values"}


def said(lake: Lakehouse) -> list[list[dict[str, Any]]]:
    """Return what is said of every prediction and decision, apart from times."""
    found = []
    for table in (PREDICTIONS, DECISIONS):
        rows = lake.polars(table, ["prediction_id", "superseded_by", "ended_reason", "ended_at_utc"])
        found.append(rows.with_columns(pl.col("ended_at_utc").is_null()).sort("prediction_id").to_dicts())
    return found


@pytest.mark.parametrize("change", ["features", "role", "none", "model"])
def test_what_is_said_in_the_end_does_not_depend_on_a_restore_in_between(made: Path, tmp_path: Path, change: str) -> None:
    """Every second run has other features then, some are no samples any more, nothing is different, or another model scores."""
    found = []
    for name in ("with", "without"):
        with opened(copied(made, tmp_path / name)) as lake:
            lake.settings.context_grace_s = 0
            score(lake, "earlier-0")
            if name == "with":
                assert restore(lake, PROGRESS, 0).ended > 0
                assert counting(lake) == set()
                run_stations(lake)
            if change == "features":
                half_the_margins(lake, "later-1")
            if change == "role":
                rows = lake.polars(INJECTIONS).with_columns(sample_role=pl.lit("blank"))
                lake.replace(INJECTIONS, rows.to_arrow())
            scoring = Scoring(model_version="1", mode="stream", requested_by="test", predicted_at_utc=NOW)
            score_waiting(lake, bundle(seed=4) if change == "model" else bundle(), scoring)
            found.append(said(lake))
    assert found[0] == found[1]
    assert any(row["ended_reason"] for row in found[0][0]) is (change in {"features", "role"})
