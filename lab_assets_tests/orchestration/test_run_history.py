"""Old runs go from Dagster's history; what they did for a record stays, and so does what automation goes by."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import func, select

from lab_assets.ops.dagster_home import dagster_instance
from lab_assets.orchestration.run_history import events_of, packed_folder, packed_run, remove_old_runs
from lab_assets.settings import Settings


@dg.asset
def one() -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata={"rows": 3})


@dg.asset_check(asset=one)
def whole() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


def later(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, run_days=30)


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(settings) as opened:
        yield opened


def ran(instance: dg.DagsterInstance) -> str:
    return dg.materialize([one, whole], instance=instance, tags={"lab/writes": "tables"}).run_id


def shards(settings: Settings) -> set[str]:
    return {path.stem for path in (settings.home / "dagster" / "storage" / "history" / "runs").glob("*.db")} - {"index"}


def test_old_runs_go_with_all_their_files_and_the_newest_stays(settings: Settings, instance: dg.DagsterInstance) -> None:
    runs = [ran(instance) for _ in range(4)]
    logs = settings.home / "dagster" / "compute_logs" / runs[0]
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "step.out").write_text("printed")
    would = remove_old_runs(settings, instance, set(), now=later(31), dry_run=True)
    assert (would[0].items, shards(settings)) == (3, set(runs))
    done = remove_old_runs(settings, instance, set(), now=later(31))
    assert done[0].items == 3
    assert done[0].bytes > would[0].bytes / 2 > 0  # the index has a longer log for a while
    assert shards(settings) == {runs[-1]}
    assert [run.run_id for run in instance.get_runs()] == [runs[-1]]
    assert not logs.exists()
    latest = instance.get_latest_materialization_event(dg.AssetKey("one"))
    assert latest is not None
    assert latest.run_id == runs[-1]
    assert remove_old_runs(settings, instance, set(), now=later(31))[0].items == 0


def test_young_and_unfinished_runs_stay(settings: Settings, instance: dg.DagsterInstance) -> None:
    ran(instance)
    waiting = instance.create_run_for_job(dg.Definitions(assets=[one]).resolve_implicit_global_asset_job_def()).run_id
    ran(instance)
    assert remove_old_runs(settings, instance, set(), now=later(29))[0].items == 0
    assert remove_old_runs(settings, instance, set(), now=later(400))[0].items == 1
    assert instance.has_run(waiting)


def test_a_run_of_a_record_is_packed_before_it_goes(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Its entry and each of its events can be read as they were; the run beside it, which no record names, is not kept."""
    named, other, _ = ran(instance), ran(instance), ran(instance)
    events = events_of(settings, instance, named)
    remove_old_runs(settings, instance, {named}, now=later(31))
    entry, *kept = packed_run(settings, named)
    assert (entry["run"]["status"]["__enum__"], entry["run"]["tags"]["lab/writes"]) == ("PipelineRunStatus.SUCCESS", "tables")
    assert len(kept) == len(events) > 10
    assert events_of(settings, instance, named) == events
    assert events_of(settings, instance, other) == packed_run(settings, other) == []


def test_packed_runs_go_when_records_do(settings: Settings, instance: dg.DagsterInstance) -> None:
    named = ran(instance)
    ran(instance)
    remove_old_runs(settings, instance, {named}, now=later(31))
    settings.record_years = 2
    assert remove_old_runs(settings, instance, set(), now=later(31 + 700))[1].items == 0
    assert remove_old_runs(settings, instance, set(), now=later(31 + 740))[1].items == 1
    assert list(packed_folder(settings).iterdir()) == []


def test_no_rows_are_left_of_runs_that_are_gone(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Dagster itself leaves tags and executed checks behind; the newest execution of a check stays, the page shows it."""
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
    from dagster._core.storage.runs.schema import RunTagsTable

    runs = [ran(instance) for _ in range(3)]
    remove_old_runs(settings, instance, set(), now=later(31))
    with instance.run_storage.connect() as connection:  # pyright: ignore[reportAttributeAccessIssue]
        assert set(connection.execute(select(RunTagsTable.c.run_id)).scalars()) == {runs[-1]}
    with instance.event_log_storage.index_connection() as connection:  # pyright: ignore[reportAttributeAccessIssue]
        assert connection.execute(select(func.count()).select_from(AssetCheckExecutionsTable)).scalar_one() == 1
