"""The graph against the contracts: every table an asset and a check, every asset described to people."""

from __future__ import annotations

import dagster as dg
import pytest

from lab_assets.contracts.all_contracts import contracts
from lab_assets.definitions import build_defs
from lab_assets.stations.all_stations import STATIONS
from lab_assets.stations.station import Station

DEFS = build_defs()
GRAPH = DEFS.resolve_asset_graph()
BRONZE = dg.AssetKey(["bronze", "chromatograms"])
MODEL = dg.AssetKey(["ml", "oos_risk"])


@pytest.mark.parametrize("name", list(contracts()))
def test_every_contract_has_an_asset_with_its_columns(name: str) -> None:
    node = GRAPH.get(dg.AssetKey(name.split(".")))
    schema = node.metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == list(contracts()[name].column_names)


@pytest.mark.parametrize("name", [name for name in contracts() if name != "ml.online_log"])
def test_every_contract_has_a_blocking_check(name: str) -> None:
    key = dg.AssetCheckKey(dg.AssetKey(name.split(".")), "contract")
    assert GRAPH.get_check_spec(key).blocking


@pytest.mark.parametrize("key", sorted(GRAPH.get_all_asset_keys()), ids=lambda key: key.to_user_string())
def test_every_asset_is_described_to_people(key: dg.AssetKey) -> None:
    node = GRAPH.get(key)
    assert node.description
    assert node.owners
    assert node.group_name == key.path[0]
    assert node.kinds
    assert key == MODEL or "dagster/column_schema" in node.metadata


def test_the_jobs_the_design_names_exist() -> None:
    names = {job.name for job in DEFS.jobs or []}
    assert {"ingest", "refresh_gold", "train", "score_batch", "check_drift", "retrain"} <= names


def test_sensors_and_schedules_run_by_default() -> None:
    sensors = {sensor.name: sensor.default_status for sensor in DEFS.sensors or []}
    assert sensors["inbox"] == dg.DefaultSensorStatus.RUNNING
    assert all(schedule.default_status == dg.DefaultScheduleStatus.RUNNING for schedule in DEFS.schedules or [])


def test_a_blocked_check_stops_what_depends_on_it() -> None:
    """Silver waits for bronze's checks: they are upstream of it in the ingest job."""
    job = DEFS.resolve_job_def("ingest")
    steps = {node.name for node in job.graph.nodes}
    assert {"bronze", "silver", "features", "gold", "scoring"} <= steps
    checked = {
        key.asset_key for key in job.asset_layer.asset_graph.get_check_keys_for_assets({BRONZE}) if GRAPH.get_check_spec(key).blocking
    }
    assert checked == {BRONZE}
    assert BRONZE in GRAPH.get(dg.AssetKey(["silver", "injections"])).parent_keys


@pytest.mark.parametrize("station", STATIONS, ids=lambda station: station.name)
def test_every_station_is_an_asset_whose_deps_are_its_inputs(station: Station) -> None:
    node = GRAPH.get(dg.AssetKey(station.name.split(".")))
    assert {".".join(key.path) for key in node.parent_keys} == {each.name for each in station.inputs} - {station.name}
    lineage = node.metadata["dagster/column_lineage"].deps_by_column
    shown = {name: {f"{'.'.join(dep.asset_key.path)}.{dep.column_name}" for dep in deps} for name, deps in lineage.items()}
    assert shown == {name: set(sources) for name, sources in station.feeds.items()}


@pytest.mark.parametrize(
    ("made", "read"),
    [
        ("gold.lot_disposition", "silver.process_events"),
        ("gold.exceptions", "silver.process_events"),
        ("gold.exceptions", "bronze.calibrations"),
        ("silver.results", "bronze.processing_methods"),
        ("silver.results", "bronze.lims_lots"),
        ("features.instrument_history", "bronze.processing_methods"),
    ],
)
def test_what_decides_is_a_dependency(made: str, read: str) -> None:
    """Closed investigations decide lots, windows decide values: lineage and the order of work must show it."""
    assert dg.AssetKey(read.split(".")) in GRAPH.get(dg.AssetKey(made.split("."))).parent_keys


def test_any_subset_of_a_step_can_be_chosen() -> None:
    assert [assets.op.name for assets in DEFS.assets or [] if isinstance(assets, dg.AssetsDefinition) and not assets.can_subset] == []
