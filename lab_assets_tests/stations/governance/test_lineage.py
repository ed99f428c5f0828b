"""Every version of every table has its lineage, whatever was killed or repeated on the way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from deltalake import write_deltalake
from sqlalchemy import delete

from lab_assets.contracts.all_contracts import contract
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.governance import LINEAGE
from lab_assets.contracts.ml import PREDICTIONS, TRAINING_SETS
from lab_assets.contracts.silver import LOTS
from lab_assets.definitions import build_defs
from lab_assets.lake.data_files import local_path
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.service.prediction_log import PredictionLog
from lab_assets.state.database import writing
from lab_assets.state.ledger_tables import STATION_PROGRESS
from lab_assets.stations.all_stations import STATIONS, station
from lab_assets.stations.governance.lineage import DECLARED, EXTERNAL, STATION, missing_lineage, update_lineage, written_by_others
from lab_assets.stations.ml.predictions import Scoring, score_waiting
from lab_assets.stations.restoring import rebuild
from lab_assets.stations.runner import update
from lab_assets_tests.service.predictions import make
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
    assert lineage_versions(lake) == [(0, "contract:governance.lineage")], "version 1 is its newest"


def lineage_versions(lake: Lakehouse) -> list[tuple[int, str]]:
    """Versions of the lineage itself that have a row, and what it says they were made from."""
    return sorted((int(row["output_version"]), row["input"]) for row in of(lake, LINEAGE.full_name))


def test_the_lineages_own_versions_have_their_rows_and_do_not_feed_themselves(lake: Lakehouse) -> None:
    """Version 1 records version 0, and version 2, which news of one lot makes, version 1; ten runs without news make none."""
    lots = station("silver.lots")
    assert update_lineage(lake, STATIONS) == 1
    assert [update_lineage(lake, STATIONS) for _ in range(10)] == [1] * 10
    assert missing_lineage(lake) == {}
    putting(lake)(lots.inputs[0].table, {"lot_id": "NEW", "product": "P", "recorded_at_utc": at(1)}, batch=2)
    assert update_lineage(lake, STATIONS, run_id="run-2") == 2
    assert lineage_versions(lake) == [(0, "contract:governance.lineage"), (1, "commits")]
    assert [update_lineage(lake, STATIONS) for _ in range(10)] == [2] * 10
    assert missing_lineage(lake) == {}
    update(lake, lots)
    assert update_lineage(lake, STATIONS) == 3
    assert lineage_versions(lake)[2:] == [(2, "commits")]
    assert [row["run_id"] for row in of(lake, LINEAGE.full_name, output_version="2")] == ["run-2"]


def test_a_compaction_of_the_lineage_is_recorded_once(lake: Lakehouse) -> None:
    """Versions 1 and 2 (two runs with news), 3 (their files put together): the next run records 2 and 3 in version 4, and no run after it."""
    update_lineage(lake, STATIONS)
    putting(lake)(station("silver.lots").inputs[0].table, {"lot_id": "NEW", "product": "P", "recorded_at_utc": at(1)}, batch=2)
    update_lineage(lake, STATIONS)
    assert lake.compact(LINEAGE) == 3
    assert missing_lineage(lake) == {"governance.lineage": [2]}
    assert [update_lineage(lake, STATIONS) for _ in range(3)] == [4, 4, 4]
    assert lineage_versions(lake)[-2:] == [(2, "commits"), (3, "governance.lineage")]
    assert missing_lineage(lake) == {}


def write_as_another(lake: Lakehouse, table: TableContract, rows: pl.DataFrame, mode: str = "append") -> int:
    """Write rows as a program does that knows nothing of us; returns the version it made."""
    write_deltalake(lake.uri(table), rows.to_arrow().cast(table.arrow_schema()), mode=mode)  # type: ignore[call-overload]  # a literal there
    return lake.version(table)


@pytest.mark.parametrize("name", ["silver.lots", "bronze.lims_lots", "gold.lot_disposition", "ml.online_log", "governance.lineage"])
def test_what_another_program_wrote_has_a_row_that_says_so_and_is_told_of(lake: Lakehouse, name: str) -> None:
    table = contract(name)
    update_lineage(lake, STATIONS)
    assert written_by_others(lake) == {}
    version = write_as_another(lake, table, lake.polars(table).head(1))
    for _ in range(2):  # the newest version of the lineage itself has its row once there is other news
        update_lineage(lake, STATIONS)
        putting(lake)(
            contract("bronze.lims_events"), {"event_id": "E", "lot_id": "L", "event": "sampled", "at_utc": at(1), "recorded_at_utc": at(1)}
        )
    update_lineage(lake, STATIONS)
    assert missing_lineage(lake) == {}
    (row,) = of(lake, name, output_version=str(version))
    assert (row["input"], row["run_id"], row["code_version"]) == (EXTERNAL, "", "")
    assert row["input_version"].startswith("WRITE by delta-rs")
    assert written_by_others(lake) == {name: [version]}


def test_a_table_that_another_program_made_is_not_taken_for_ours(lakehouse: Lakehouse) -> None:
    """Its version 0 came with rows; the next one is ours."""
    rows = [{"lot_id": "X", "product": "P", "recorded_at_utc": at(1)}]
    write_as_another(lakehouse, LOTS, pl.DataFrame(pl.from_arrow(lakehouse.local_rows(LOTS, rows))))
    update_lineage(lakehouse, STATIONS)
    assert written_by_others(lakehouse) == {"silver.lots": [0]}
    assert missing_lineage(lakehouse) == {}


def test_what_others_wrote_is_told_of_until_it_is_made_anew_or_set_back(lake: Lakehouse) -> None:
    lims_lots, lots = contract("bronze.lims_lots"), LOTS
    before = lake.version(lims_lots)
    for table in (lims_lots, lots):
        write_as_another(lake, table, lake.polars(table).head(1))
    update_lineage(lake, STATIONS)
    assert written_by_others(lake).keys() == {"bronze.lims_lots", "silver.lots"}
    update(lake, station("silver.lots"))
    update_lineage(lake, STATIONS)
    assert written_by_others(lake).keys() == {"bronze.lims_lots", "silver.lots"}, "news alone leaves the other groups as they are"
    update(lake, station("silver.lots"), rebuild=True)
    update_lineage(lake, STATIONS)
    assert written_by_others(lake).keys() == {"bronze.lims_lots"}
    lake.restore(lims_lots, before)
    update_lineage(lake, STATIONS)
    assert written_by_others(lake) == {}
    write_as_another(lake, lots, lake.polars(lots).head(1))
    update_lineage(lake, STATIONS)
    assert written_by_others(lake) == {"silver.lots": [lake.version(lots)]}


def lose_and_rebuild(lake: Lakehouse, table: TableContract) -> None:
    shutil.rmtree(local_path(lake.uri(table)))
    rebuild(lake, table.full_name)


def test_a_table_that_began_anew_has_rows_for_each_version_from_0_on(lake: Lakehouse) -> None:
    """Equal ones as well: its version 0 was made by the same contract. Repeated after a kill nothing is doubled."""
    update_lineage(lake, STATIONS)
    first = {row["output_table_id"] for row in of(lake, "silver.lots")}
    lose_and_rebuild(lake, LOTS)
    update_lineage(lake, STATIONS)
    new = [row for row in of(lake, "silver.lots") if row["output_table_id"] not in first]
    assert [(row["output_version"], row["input"]) for row in new] == [("0", "contract:silver.lots"), ("1", "bronze.lims_lots")]
    assert len({row["output_table_id"] for row in new}) == len(first) == 1
    rows = lake.row_count(LINEAGE)
    forget_progress(lake)
    update_lineage(lake, STATIONS)
    assert lake.row_count(LINEAGE) == rows


def test_rows_from_before_ids_were_recorded_are_not_written_again(lake: Lakehouse) -> None:
    update_lineage(lake, STATIONS)
    held = lake.polars(LINEAGE).with_columns(output_table_id=pl.lit(None, dtype=pl.String))
    lake.replace(LINEAGE, held.to_arrow(), derivation=Derivation(inputs={"test": 1}))
    forget_progress(lake)
    update_lineage(lake, STATIONS)
    added = lake.polars(LINEAGE).filter(pl.col("output") != LINEAGE.full_name)
    assert added.height == held.filter(pl.col("output") != LINEAGE.full_name).height


def test_what_others_wrote_in_an_earlier_life_of_a_table_is_not_named(lake: Lakehouse) -> None:
    """The other program's version was 2 and the last; the table is lost, begins anew, and has a version 2 of our own."""
    assert write_as_another(lake, LOTS, lake.polars(LOTS).head(1)) == 2
    update_lineage(lake, STATIONS)
    assert written_by_others(lake) == {"silver.lots": [2]}
    lose_and_rebuild(lake, LOTS)
    putting(lake)(contract("bronze.lims_lots"), {"lot_id": "NEW", "product": "P", "recorded_at_utc": at(1)}, batch=2)
    assert update(lake, station("silver.lots")).version == 2
    update_lineage(lake, STATIONS)
    assert written_by_others(lake) == {}


def test_the_service_states_where_its_commits_come_from(lake: Lakehouse) -> None:
    log = PredictionLog(lake.settings, name="test")
    log.open()
    try:
        log.append(make(1))
    finally:
        log.close()
    update_lineage(lake, STATIONS)
    assert [row["input"] for row in of(lake, "ml.online_log")] == ["contract:ml.online_log", "service:predictions"]
    assert written_by_others(lake) == {}


def test_the_check_of_the_graph_warns_of_what_others_wrote(lake: Lakehouse) -> None:
    def verdict() -> tuple[bool, dg.AssetCheckSeverity, Any]:
        job = build_defs(resources={"lake": lake}).resolve_implicit_global_asset_job_def()
        check = dg.AssetCheckKey(dg.AssetKey(["governance", "lineage"]), "only_ours")
        with dg.DagsterInstance.ephemeral() as instance:
            ran = job.get_subset(asset_selection=set(), asset_check_selection={check}).execute_in_process(instance=instance)
        (found,) = ran.get_asset_check_evaluations()
        return found.passed, found.severity, found.metadata["versions_of_other_programs"].value

    update_lineage(lake, STATIONS)
    assert verdict() == (True, dg.AssetCheckSeverity.WARN, {})
    version = write_as_another(lake, LOTS, lake.polars(LOTS).head(1))
    update_lineage(lake, STATIONS)
    assert verdict() == (False, dg.AssetCheckSeverity.WARN, {"silver.lots": str(version)})


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
