"""Any part of the graph can be run alone: each asset, each check, and any subset, over a small laboratory with a model in service."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from lab_assets.definitions import build_defs
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.jobs import JOBS
from lab_assets.stations.ml.training_sets import TooFewLabelsError
from lab_assets_tests.stations.ml.models import put_into_service
from lab_assets_tests.stations.small_laboratory import opened, take, write_files

DEFS = build_defs()
GRAPH = DEFS.resolve_asset_graph()
KEYS = sorted(GRAPH.materializable_asset_keys)
CHECKS = sorted(GRAPH.asset_check_keys, key=str)
LEARNED = {dg.AssetKey(["ml", "training_sets"]), dg.AssetKey(["ml", "oos_risk"])}
"""What needs more labelled runs than a small laboratory has."""
UNTRAINED = [key for key in KEYS if key not in LEARNED]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """The small laboratory; what its tests run changes nothing but records of having been run."""
    home = tmp_path_factory.mktemp("selections") / "lab"
    write_files(home / "inbox")
    with opened(home) as lake:
        put_into_service(lake)
        take(lake)
        yield lake


@pytest.fixture(scope="module")
def graph(lake: Lakehouse) -> dg.JobDefinition:
    """The whole graph over the small laboratory."""
    return build_defs(resources={"lake": lake}).resolve_implicit_global_asset_job_def()


@pytest.fixture(autouse=True)
def _home(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_HOME", str(lake.settings.home))


def run(graph: dg.JobDefinition, **selection: Any) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return graph.get_subset(**selection).execute_in_process(instance=instance, raise_on_error=False)


def materialised(result: dg.ExecuteInProcessResult) -> set[dg.AssetKey]:
    return {event.asset_key for event in result.get_asset_materialization_events() if event.asset_key is not None}


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    return [event.step_failure_data.error.to_string() for event in result.all_events if event.is_step_failure]  # type: ignore[union-attr]


@pytest.mark.parametrize("key", UNTRAINED, ids=lambda key: key.to_user_string())
def test_each_asset_is_materialised_alone_and_its_contract_checked(graph: dg.JobDefinition, key: dg.AssetKey) -> None:
    result = run(graph, asset_selection={key})
    assert failures(result) == []
    assert materialised(result) == {key}
    evaluated = {(each.asset_key, each.check_name): each.passed for each in result.get_asset_check_evaluations()}
    assert evaluated[key, "contract"] is True


@pytest.mark.parametrize("key", sorted(LEARNED), ids=lambda key: key.to_user_string())
def test_learning_from_too_few_labels_says_how_many_are_needed(graph: dg.JobDefinition, key: dg.AssetKey) -> None:
    result = run(graph, asset_selection={key})
    (failure,) = failures(result)
    assert TooFewLabelsError.__name__ in failure
    assert "at least 200 with both outcomes are needed" in failure


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.to_user_string())
def test_each_check_is_executed_alone(graph: dg.JobDefinition, check: dg.AssetCheckKey) -> None:
    result = run(graph, asset_selection=set(), asset_check_selection={check})
    assert failures(result) == []
    assert materialised(result) == set()
    (found,) = result.get_asset_check_evaluations()
    assert (found.asset_key, found.check_name) == (check.asset_key, check.name)


@pytest.mark.parametrize("seed", range(10))
def test_any_subset_is_materialised_without_the_rest(graph: dg.JobDefinition, seed: int) -> None:
    chosen = random.Random(seed)
    keys = set(chosen.sample(UNTRAINED, chosen.randint(2, 12)))
    result = run(graph, asset_selection=keys)
    assert failures(result) == []
    assert materialised(result) == keys


def test_a_selection_makes_nothing_that_was_not_chosen(lake: Lakehouse, graph: dg.JobDefinition) -> None:
    """A rebuild of one table looks at all of its groups, finds no difference, and no other table is touched."""
    before = lake.versions_as_they_are([key.path[0] + "." + key.path[1] for key in KEYS if key.path[0] in {"silver", "gold"}])
    chosen = dg.AssetKey(["gold", "lot_disposition"])
    with dg.DagsterInstance.ephemeral() as instance:
        config = {"ops": {"gold": {"config": {"rebuild": True}}}}
        result = graph.get_subset(asset_selection={chosen}).execute_in_process(instance=instance, run_config=config)
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["news"].value == "made anew (asked for): 0 of 2 group(s) differed, 0 row(s) written"
    assert lake.versions_as_they_are(list(before)) == before


def test_the_code_server_can_load_everything() -> None:
    """As it does when it starts: names of jobs, steps and assets must not meet."""
    repository = DEFS.get_repository_def()
    repository.load_all_definitions()
    assert {job.name for job in JOBS} <= set(repository.job_names)
