"""A station takes no table for the truth that was set back: what it rests on is made anew first, and the outcome says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from lab_assets.contracts.all_contracts import contract
from lab_assets.contracts.bronze import LIMS_LOTS
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.ml import DECISIONS, PREDICTIONS
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.modeling.bundle import ModelBundle
from lab_assets.stations.all_stations import stations, upstream
from lab_assets.stations.ml.predictions import Scored, Scoring, score_waiting
from lab_assets.stations.ml.training_sets import TooFewLabelsError, freeze_training_set
from lab_assets.stations.restoring import restore, set_back
from lab_assets.stations.runner import has_news, mark_anew, update
from lab_assets_tests.stations.ml.models import put_into_service
from lab_assets_tests.stations.small_laboratory import copied, made_in, opened, rows_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small laboratory whose files went through every station."""
    return made_in(tmp_path_factory.mktemp("restored_inputs") / "lab")


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Iterator[Lakehouse]:
    with opened(copied(made, tmp_path / "lab")) as lake:
        lake.settings.context_grace_s = 0
        yield lake


@pytest.mark.parametrize(
    ("restored", "alone"),
    [
        ("silver.lots", "gold.lot_disposition"),
        ("silver.results", "gold.exceptions"),
        ("silver.injections", "gold.lot_disposition"),
        ("silver.peaks", "gold.exceptions"),
        ("silver.peaks", "features.lot_history"),
    ],
)
def test_a_station_run_alone_makes_restored_inputs_first(lake: Lakehouse, restored: str, alone: str) -> None:
    """Directly above it or further up: the table stays as it was, and the outcome names what was made and why."""
    before, standing = rows_of(lake, contract(alone)), rows_of(lake, contract(restored))
    assert before.height > 0
    restore(lake, contract(restored), 0)
    outcome = update(lake, stations()[alone])
    assert outcome.made_first == {restored: "restored to version 0"}
    assert f"{restored} was made anew first: restored to version 0" in outcome.words()
    assert rows_of(lake, contract(alone)).equals(before)
    assert rows_of(lake, contract(restored)).equals(standing)
    assert lake.ledger.attention(restored) == []


def test_a_station_without_restored_inputs_stays_alone(lake: Lakehouse) -> None:
    """Ordinary news of an input is left to that input's own run, and so is a mark of a table that it does not rest on."""
    lots = lake.version(contract("silver.lots"))
    lake.append(LIMS_LOTS, lake.polars(LIMS_LOTS).head(1).with_columns(lot_id=pl.lit("L-NEW")).to_arrow())
    mark_anew(lake, ["gold.exceptions"], "restored to version 0")
    outcome = update(lake, stations()["gold.lot_disposition"])
    assert (outcome.made_first, outcome.words()) == ({}, "no news")
    assert lake.version(contract("silver.lots")) == lots
    assert has_news(lake, stations()["silver.lots"])
    assert has_news(lake, stations()["gold.exceptions"])


def test_several_restored_inputs_are_made_in_flow_order(lake: Lakehouse) -> None:
    names = ["silver.injections", "silver.peaks", "silver.results"]
    before = rows_of(lake, contract("gold.exceptions"))
    for name in reversed(names):
        restore(lake, contract(name), 0)
    outcome = update(lake, stations()["gold.exceptions"])
    assert list(outcome.made_first) == [name for name in stations() if name in names]
    assert rows_of(lake, contract("gold.exceptions")).equals(before)


def test_an_input_set_back_meanwhile_is_not_read(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process sets the lots back after the station has looked for marks, and before it reads versions."""
    before, done = rows_of(lake, contract("gold.lot_disposition")), list[int]()
    version = Lakehouse.version

    def meanwhile(self: Lakehouse, table: TableContract) -> int:
        if table.full_name == "silver.lots" and not done:
            done.append(1)
            set_back(self, "silver.lots", 0, "restored by another")
        return version(self, table)

    monkeypatch.setattr(Lakehouse, "version", meanwhile)
    assert update(lake, stations()["gold.lot_disposition"]).made_first == {"silver.lots": "restored by another"}
    assert rows_of(lake, contract("gold.lot_disposition")).equals(before)


def test_an_input_that_cannot_be_made_is_named_with_its_remedy(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The station is not made either: nothing of it is lost, and the mark stays."""
    before = rows_of(lake, contract("gold.lot_disposition"))
    restore(lake, contract("silver.lots"), 0)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("the disk does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(Lakehouse, "append", refuse)
        broken.setattr(Lakehouse, "replace_where", refuse)
        with pytest.raises(OSError, match="the disk does not answer") as caught:
            update(lake, stations()["gold.lot_disposition"])
    (note,) = caught.value.__notes__
    assert "silver.lots waits to be made anew (restored to version 0)" in note
    assert "'lab table rebuild silver.lots'" in note
    assert rows_of(lake, contract("gold.lot_disposition")).equals(before)
    assert has_news(lake, stations()["silver.lots"])


def score(lake: Lakehouse, bundle: ModelBundle) -> Scored:
    scoring = Scoring(model_version="1", mode="stream", requested_by="test", predicted_at_utc=NOW, run_id="r")
    return score_waiting(lake, bundle, scoring)


def counting(lake: Lakehouse) -> list[str]:
    return sorted(lake.polars(PREDICTIONS, ["prediction_id"], where=pl.col("ended_at_utc").is_null())["prediction_id"])


@pytest.mark.parametrize("restored", ["silver.injections", "features.injection_progress", "silver.peaks", "silver.lots"])
def test_scoring_makes_restored_inputs_first(lake: Lakehouse, restored: str) -> None:
    """No prediction ends for a reason that is none."""
    bundle = put_into_service(lake)
    assert score(lake, bundle).predictions > 0
    before = counting(lake)
    set_back(lake, restored, 0, "restored to version 0")
    found = score(lake, bundle)
    is_rested_on = restored in upstream({"features.injection_progress", "features.lot_history", "silver.injections"})
    assert found.made_first == ({restored: "restored to version 0"} if is_rested_on else {})
    assert (counting(lake), found.ended) == (before, 0)


def test_a_training_set_is_not_frozen_of_restored_labels(lake: Lakehouse) -> None:
    before = lake.row_count(contract("ml.labels"))
    restore(lake, contract("ml.labels"), 0)
    with pytest.raises(TooFewLabelsError):
        freeze_training_set(lake, frozen_at_utc=NOW)
    assert lake.row_count(contract("ml.labels")) == before > 0


def test_upstream_is_in_flow_order_and_holds_what_is_named() -> None:
    found = upstream({"gold.lot_disposition", "bronze.lims_lots"})
    assert found == [name for name in stations() if name in found]
    assert {"silver.lots", "silver.results", "silver.peaks", "gold.lot_disposition"} <= set(found)
    assert "gold.exceptions" not in found


def ends(lake: Lakehouse, table: TableContract) -> set[str | None]:
    return set(lake.polars(table, ["ended_reason"])["ended_reason"])


@pytest.mark.parametrize("name", ["features.injection_progress", "silver.peaks", "bronze.chromatograms"])
def test_predictions_end_at_once_with_what_they_rest_on(lake: Lakehouse, name: str) -> None:
    """The decisions with them; those that the next scoring makes again count again, and all the others stay as they are."""
    bundle = put_into_service(lake)
    scored = score(lake, bundle).predictions
    before, reason = counting(lake), f"{name} was restored to version 0"
    version = lake.version(contract(name))
    assert restore(lake, contract(name), 0, force=True).ended == scored > 0
    assert (counting(lake), ends(lake, PREDICTIONS), ends(lake, DECISIONS)) == ([], {reason}, {reason})
    assert lake.ledger.to_make_anew()[PREDICTIONS.full_name] == reason
    if name.startswith("bronze."):
        restore(lake, contract(name), version, force=True)
    assert score(lake, bundle).predictions == 0
    assert (counting(lake), ends(lake, PREDICTIONS), ends(lake, DECISIONS)) == (before, {None}, {None})
    assert lake.ledger.to_make_anew() == {}


def test_predictions_that_rest_on_something_else_stay(lake: Lakehouse) -> None:
    bundle = put_into_service(lake)
    score(lake, bundle)
    before = counting(lake)
    assert restore(lake, contract("silver.lots"), 0).ended == 0
    assert counting(lake) == before
