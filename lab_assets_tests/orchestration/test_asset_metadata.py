"""What the pages of assets say of a materialisation: what was made first, that there was no news, and what a table holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lab_assets.contracts.all_contracts import contract, contracts
from lab_assets.contracts.ml import PREDICTIONS
from lab_assets.definitions import build_defs
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets.plots import PLOTS
from lab_assets.stations.ml.drift_history import newest_checks
from lab_assets.stations.restoring import set_back
from lab_assets_tests.stations.ml.drifted import ROWS, put_predictions, put_reference
from lab_assets_tests.stations.ml.models import bundle, put_into_service
from lab_assets_tests.stations.small_laboratory import copied, opened, take, write_files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small laboratory with a model in service, every run of which is scored."""
    home = tmp_path_factory.mktemp("metadata") / "lab"
    write_files(home / "inbox")
    with opened(home) as lake:
        put_into_service(lake)
        take(lake)
    return home


@pytest.fixture
def lake(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lakehouse]:
    home = copied(made, tmp_path / "lab")
    monkeypatch.setenv("LAB_HOME", str(home))
    with opened(home) as lake:
        lake.settings.context_grace_s = 0
        yield lake


def materialise(lake: Lakehouse, *names: str) -> dict[str, dict[str, Any]]:
    """Materialise some assets alone and return their metadata, as the pages show them."""
    keys = [dg.AssetKey(name.split(".")) for name in names]
    job = build_defs(resources={"lake": lake}).resolve_implicit_global_asset_job_def().get_subset(asset_selection=set(keys))
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance)
    found = {event.asset_key: event.materialization.metadata for event in done.get_asset_materialization_events()}
    return {key.to_user_string().replace("/", "."): {name: each.value for name, each in found[key].items()} for key in keys}


def test_an_asset_alone_says_which_restored_input_it_made_first(lake: Lakehouse) -> None:
    before = lake.row_count(contract("gold.lot_disposition"))
    set_back(lake, "silver.lots", 0, "restored to version 0")
    found = materialise(lake, "gold.lot_disposition")["gold.lot_disposition"]
    assert found["news"].startswith("silver.lots was made anew first: restored to version 0")
    assert found["dagster/row_count"] == before > 0


def test_predictions_alone_say_which_restored_input_they_made_first(lake: Lakehouse) -> None:
    assert materialise(lake, "ml.predictions")["ml.predictions"]["scored"] > 0
    set_back(lake, "features.injection_progress", 0, "restored to version 0")
    found = materialise(lake, "ml.predictions")["ml.predictions"]
    assert found["news"].startswith("features.injection_progress was made anew first: restored to version 0; no news")
    assert found["ended"] == 0
    assert lake.polars(PREDICTIONS, ["prediction_id"], where=pl.col("ended_at_utc").is_not_null()).is_empty()


@pytest.fixture
def drifted(lake: Lakehouse) -> Lakehouse:
    """The model in service has a reference, and its predictions have drifted away from it."""
    put_reference(lake, bundle())
    put_predictions(lake, bundle())
    return lake


def test_drift_checked_twice_is_no_news_and_raises_one_alert(drifted: Lakehouse) -> None:
    """Drift, then the alerts, then both again, without a new row: one check, one alert, no persistence, and pages that say so."""
    first = materialise(drifted, "ml.drift")["ml.drift"]
    assert (first["dagster/row_count"], first["persistent"]) == (3, False)
    assert first["news"] == f"{ROWS} recent prediction(s) compared, 2 of 3 subject(s) drifted"
    alerts = materialise(drifted, "ml.alerts")["ml.alerts"]
    assert (alerts["dagster/row_count"], alerts["news"]) == (1, "raised: the newest check found drift")
    again = materialise(drifted, "ml.drift", "ml.alerts")
    assert again["ml.drift"]["news"] == f"no news: the same rows were compared before, in check {first['check_id']}"
    assert again["ml.alerts"]["news"] == "no news: nothing to raise that was not raised before"
    assert {name: found["dagster/row_count"] for name, found in again.items()} == {"ml.drift": 3, "ml.alerts": 1}
    assert not any(found["changed"] for found in again.values())
    assert [each.check_id for each in newest_checks(drifted.settings)] == [first["check_id"]]


def test_alerts_alone_write_no_check(drifted: Lakehouse) -> None:
    assert materialise(drifted, "ml.alerts")["ml.alerts"]["dagster/row_count"] == 0
    assert drifted.row_count(contract("ml.drift")) == 0


def test_assets_without_news_say_so_and_show_rows_and_plots(lake: Lakehouse) -> None:
    """Every asset but those that learn, twice: the page has the latest materialisation alone, so that must show all."""
    names = [name for name in contracts() if name not in {"ml.training_sets", "ml.online_log"}]
    materialise(lake, *names)
    found = materialise(lake, *names)
    assert {name for name, shown in found.items() if "preview" not in shown} == set()
    assert {name for name in PLOTS if "plot" not in found[name]} == set()
    unchanged = {name: shown["news"] for name, shown in found.items() if not shown["changed"]}
    assert {name: words for name, words in unchanged.items() if "no news" not in words} == {}
    assert {"bronze.files", "ml.predictions", "ml.decisions", "ml.explanations", "ml.drift", "governance.access"} <= set(unchanged)
    assert {name for name in found if found[name]["dagster/row_count"] != lake.row_count(contract(name))} == set()
    assert "no news" in unchanged["ml.predictions"]


def test_assets_with_news_say_what_was_written(lake: Lakehouse) -> None:
    found = materialise(lake, "ml.predictions", "ml.decisions")
    scored = found["ml.predictions"]["scored"]
    assert (found["ml.predictions"]["news"], scored > 0) == (f"{scored} scored", True)
    assert found["ml.decisions"]["news"].startswith("rows were written: version ")


def test_scoring_without_a_model_is_no_news(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_HOME", str(lakehouse.settings.home))
    assert materialise(lakehouse, "ml.predictions")["ml.predictions"]["news"] == "no news: no model is in service that could score"
