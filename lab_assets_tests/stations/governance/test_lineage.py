"""Every version of every table has its lineage, whatever was killed or repeated on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import delete

from lab_assets.contracts.governance import LINEAGE
from lab_assets.contracts.ml import PREDICTIONS, TRAINING_SETS
from lab_assets.contracts.silver import LOTS
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.state.database import writing
from lab_assets.state.ledger_tables import STATION_PROGRESS
from lab_assets.stations.governance.lineage import DECLARED, STATION, missing_lineage, update_lineage
from lab_assets.stations.ml.predictions import Scoring, score_waiting
from lab_assets.stations.registry import STATIONS, station
from lab_assets.stations.runner import update
from lab_assets_tests.stations.ml.models import put_into_service
from lab_assets_tests.stations.rows import at, putting
from lab_assets_tests.stations.small_laboratory import copied, opened, take, write_files


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small laboratory with every table, a model in service and its predictions; no lineage was written yet."""
    home = tmp_path_factory.mktemp("lineage") / "lab"
    write_files(home / "inbox")
    with opened(home) as lake:
        lake.settings.context_grace_s = 0
        bundle = put_into_service(lake)
        take(lake)
        made = score_waiting(
            lake, bundle, Scoring(model_version="1", mode="batch", requested_by="test", predicted_at_utc=at(30), run_id="run-s")
        )
        assert made.predictions > 0
    return home


@pytest.fixture
def lake(home: Path, tmp_path: Path) -> Iterator[Lakehouse]:
    with opened(copied(home, tmp_path / "lab")) as lake:
        yield lake


def of(lake: Lakehouse, output: str, **more: Any) -> list[dict[str, Any]]:
    rows = lake.polars(LINEAGE).filter((pl.col("output") == output) & pl.col("output_column").is_null())
    for name, value in more.items():
        rows = rows.filter(pl.col(name) == value)
    return rows.sort("output_version", "input").to_dicts()


def forget_progress(lake: Lakehouse) -> None:
    """Leave what a run leaves that is killed after its rows are written and before it notes how far it came."""
    with writing(lake.ledger.engine) as connection:
        connection.execute(delete(STATION_PROGRESS).where(STATION_PROGRESS.c.station == STATION))


def test_every_version_of_every_table_has_its_row_after_a_run(lake: Lakehouse) -> None:
    before = missing_lineage(lake)
    assert {"silver.peaks", "gold.exceptions", "ml.predictions", "bronze.files"} <= before.keys()
    update_lineage(lake, STATIONS, run_id="run-l")
    assert missing_lineage(lake) == {}
    version = lake.version(LINEAGE)
    assert update_lineage(lake, STATIONS) == version, "without a commit nothing is added"


def test_each_commit_of_a_station_names_the_versions_that_it_read(lake: Lakehouse) -> None:
    lots = station("silver.lots")
    version = lake.version(LOTS)
    putting(lake)(lots.inputs[0].table, {"lot_id": "NEW", "product": "P", "recorded_at_utc": at(1)}, batch=2)
    update(lake, lots, run_id="run-7")
    update_lineage(lake, STATIONS)
    (row,) = of(lake, "silver.lots", output_version=str(version + 1))
    assert (row["input"], row["input_version"], row["run_id"]) == ("bronze.lims_lots", str(lake.version(lots.inputs[0].table)), "run-7")
    assert missing_lineage(lake) == {}


def test_a_killed_write_is_repeated_and_doubles_nothing(lake: Lakehouse) -> None:
    update_lineage(lake, STATIONS)
    rows = lake.row_count(LINEAGE)
    forget_progress(lake)
    update_lineage(lake, STATIONS)
    assert lake.row_count(LINEAGE) == rows
    assert missing_lineage(lake) == {}


def test_many_runs_in_between_are_caught_up_with(lake: Lakehouse) -> None:
    """Nothing is handed from the run that commits to the one that writes lineage: it reads the commits themselves."""
    lots = station("silver.lots")
    update_lineage(lake, STATIONS)
    for number in range(3):
        putting(lake)(lots.inputs[0].table, {"lot_id": f"N{number}", "product": "P", "recorded_at_utc": at(1)}, batch=number + 2)
        update(lake, lots, run_id=f"run-{number}")
    assert len(missing_lineage(lake)["silver.lots"]) == 3
    update_lineage(lake, STATIONS)
    assert missing_lineage(lake) == {}
    assert [row["run_id"] for row in of(lake, "silver.lots")][-3:] == ["run-0", "run-1", "run-2"]


def test_predictions_and_their_model_lead_back_to_the_tables(lake: Lakehouse) -> None:
    update_lineage(lake, STATIONS)
    made = of(lake, PREDICTIONS.full_name, run_id="run-s")
    assert {"features.injection_progress", "features.lot_history", "silver.injections", "model:oos_risk"} <= {row["input"] for row in made}
    assert {row["input_version"] for row in made if row["input"] == "model:oos_risk"} == {"1"}
    assert {(row["output_version"], row["input"]) for row in of(lake, "model:oos_risk")} == {("1", "training_set:ts-small")}


def test_a_frozen_training_set_leads_on_to_its_tables(lake: Lakehouse) -> None:
    versions = {"ml.labels": 1, "features.lot_history": 2}
    row = {
        "training_set_id": "ts-small", "injection_id": "i", "lot_id": "L", "method_id": "M", "checkpoint_pct": 50, "as_of_utc": at(1),
        "part": "train", "is_oos": False, "features": {"checkpoint_pct": 50.0}, "feature_set_version": "fs", "table_versions": versions,
        "frozen_at_utc": at(2),
    }  # fmt: skip
    lake.append(TRAINING_SETS, lake.local_rows(TRAINING_SETS, [row]), derivation=Derivation(inputs=versions, run_id="run-t"))
    update_lineage(lake, STATIONS)
    assert {(row["input"], row["input_version"]) for row in of(lake, "ml.training_sets", run_id="run-t")} == {
        ("ml.labels", "1"),
        ("features.lot_history", "2"),
    }
    inputs = {row["input"]: row["input_version"] for row in of(lake, "model:oos_risk")}
    assert inputs == {"training_set:ts-small": "frozen", "ml.labels": "1", "features.lot_history": "2"}


def test_which_columns_feed_which_is_written_once_a_declaration(lake: Lakehouse) -> None:
    update_lineage(lake, STATIONS)
    columns = pl.col("output_column").is_not_null()
    first = lake.polars(LINEAGE).filter(columns)
    assert set(first["input_version"]) == {DECLARED}
    assert set(first["output"]) == {each.name for each in STATIONS}
    pairs = {
        (row["output_column"], f"{row['input']}.{row['input_column']}")
        for row in first.filter(pl.col("output") == "gold.suitability").to_dicts()
    }
    feeds = station("gold.suitability").feeds
    assert pairs == {(column, source) for column, sources in feeds.items() for source in sources}
    update_lineage(lake, STATIONS)
    assert lake.polars(LINEAGE).filter(columns).height == first.height
    lots = station("silver.lots")
    changed = replace(lots, feeds={**lots.feeds, "site": ("bronze.lims_lots.site", "bronze.lims_lots.lot_id")})
    update_lineage(lake, [changed])
    added = lake.polars(LINEAGE).filter(columns & (pl.col("output_column") == "site") & (pl.col("input_column") == "lot_id"))
    assert added.height == 1
