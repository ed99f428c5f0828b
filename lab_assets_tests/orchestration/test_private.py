"""Dagster's private API as the product uses it: a new version of Dagster shows here what it changed, before a laboratory does.

After an update that passes, its version is added to ``TRIED_WITH``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._cli.api import execute_run_command
from dagster._core.events import AssetMaterializationPlannedData
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._grpc.types import ExecuteRunArgs
from sqlalchemy import Connection

from lab_assets.ops.dagster_home import located
from lab_assets.orchestration.private.event_storage import OpenSqliteEventLogStorage
from lab_assets.orchestration.private.run_launcher import LocalRunLauncher
from lab_assets.settings import get_settings

TRIED_WITH = ("1.13.27",)
PROJECT = Path(__file__).resolve().parents[2]


def test_this_version_was_tried() -> None:
    assert dg.__version__ in TRIED_WITH, f"Dagster {dg.__version__}: see what else fails in this file, then add it to TRIED_WITH"


def test_what_is_replaced_is_still_called_so() -> None:
    for name in ("_connect", "_initdb", "wipe", "dispose", "conn_string_for_shard"):
        assert callable(getattr(SqliteEventLogStorage, name))
    assert list(inspect.signature(SqliteEventLogStorage._connect).parameters) == ["self", "shard"]
    assert list(inspect.signature(SqliteEventLogStorage._initdb).parameters) == ["self", "engine", "for_index_shard"]
    assert list(inspect.signature(DagsterSqliteStorage.from_local).parameters) == ["base_dir", "inst_data"]
    for name in ("launch_run", "terminate", "check_run_worker_health"):
        assert callable(getattr(dg.DefaultRunLauncher, name))
    assert {"job_origin", "run_id", "instance_ref"} <= set(inspect.signature(ExecuteRunArgs.__new__).parameters)
    assert {"dagster_run", "job_code_origin"} <= set(dir(LaunchRunContext))
    assert {"status", "msg"} <= set(inspect.signature(CheckRunHealthResult.__new__).parameters)
    assert {"RUNNING", "NOT_FOUND"} <= set(WorkerStatus.__members__)
    assert execute_run_command.params[0].name == "input_json"


def test_the_projects_own_configuration_keeps_its_history_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``dagster dev`` reads it, for a laboratory that is not in the checkout: nothing is written where the process was started."""
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "lab"))
    get_settings.cache_clear()
    monkeypatch.chdir(PROJECT)
    before = held(PROJECT / "data")

    @dg.asset
    def one() -> None:
        return

    try:
        with dg.DagsterInstance.from_config(str(PROJECT)) as instance:
            run = dg.materialize([one], instance=instance)
            kept = Path(instance.storage_directory())
    finally:
        get_settings.cache_clear()
    assert kept == tmp_path / "lab" / "dagster" / "storage"
    assert (kept / "history" / "runs" / f"{run.run_id}.db").exists()
    assert list((tmp_path / "lab" / "dagster" / "compute_logs").rglob("*.complete"))
    assert held(PROJECT / "data") == before


def held(folder: Path) -> list[str]:
    """Everything below a folder, by name."""
    return sorted(map(str, folder.rglob("*")))


def test_the_projects_configuration_opens_an_instance_with_our_parts(tmp_path: Path) -> None:
    """``dagster.yaml`` as it is, below another folder: events go through the open storage and are found again by another instance."""
    configuration = located(yaml.safe_load((PROJECT / "dagster.yaml").read_text()), tmp_path)
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(configuration))

    @dg.asset
    def one() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"rows": 3})

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.event_log_storage, OpenSqliteEventLogStorage)
        assert isinstance(instance.run_launcher, LocalRunLauncher)
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        made = dg.materialize([one], instance=instance)
        assert made.success
    with dg.DagsterInstance.from_config(str(tmp_path)) as again:
        event = again.get_latest_materialization_event(dg.AssetKey("one"))
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["rows"].value == 3
        assert again.get_run_by_id(made.run_id) is not None
        again.event_log_storage.wipe()
        assert again.get_latest_materialization_event(dg.AssetKey("one")) is None


def planned_events(run_id: str, names: Sequence[str]) -> list[dg.EventLogEntry]:
    """The events that a run of some assets begins with."""
    planned = [
        dg.DagsterEvent.build_asset_materialization_planned_event("ingest", "step", AssetMaterializationPlannedData(dg.AssetKey(name)))
        for name in names
    ]
    return [
        dg.EventLogEntry(
            error_info=None,
            level=10,
            user_message="",
            run_id=run_id,
            timestamp=1.0,
            step_key="step",
            job_name="ingest",
            dagster_event=event,
        )
        for event in planned
    ]


def test_events_written_together_are_found_like_those_written_one_by_one(tmp_path: Path) -> None:
    storage = OpenSqliteEventLogStorage(str(tmp_path))
    storage.store_event_batch(planned_events("run-1", ["a", "b"]))
    for event in planned_events("run-2", ["a", "b"]):
        storage.store_event(event)
    assert [len(storage.get_logs_for_run(run)) for run in ("run-1", "run-2")] == [2, 2]
    planned = storage.get_event_records(dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED), limit=10)
    assert sorted((record.run_id, record.asset_key) for record in planned if record.asset_key) == [
        (run, dg.AssetKey(name)) for run in ("run-1", "run-2") for name in ("a", "b")
    ]
    storage.dispose()


def test_of_events_written_together_all_stay_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster writes them one by one when a batch fails: what a failed one left would be there twice."""
    storage = OpenSqliteEventLogStorage(str(tmp_path))
    first, second = planned_events("run-1", ["a", "b"])
    store_asset_event = storage._store_asset_event

    def full_disk(connection: Connection, event: dg.EventLogEntry, event_id: int) -> None:
        if event is second:
            raise OSError("no space left")
        store_asset_event(connection, event, event_id)

    monkeypatch.setattr(storage, "_store_asset_event", full_disk)
    with pytest.raises(OSError, match="no space left"):
        storage.store_event_batch([first, second])
    assert storage.get_logs_for_run("run-1") == []
    assert list(storage.get_event_records(dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED), limit=10)) == []
    storage.store_event(first)
    assert len(storage.get_logs_for_run("run-1")) == 1
    storage.dispose()


def test_a_new_runs_planned_events_come_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What Dagster hands over with a batch's number is written as one; this version of Dagster does so for planned events."""
    together: list[int] = []
    store_event_batch = OpenSqliteEventLogStorage.store_event_batch

    def counted(self: OpenSqliteEventLogStorage, events: Sequence[dg.EventLogEntry]) -> None:
        together.append(len(events))
        store_event_batch(self, events)

    monkeypatch.setattr(OpenSqliteEventLogStorage, "store_event_batch", counted)
    configuration = located(yaml.safe_load((PROJECT / "dagster.yaml").read_text()), tmp_path)
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(configuration))

    @dg.multi_asset(specs=[dg.AssetSpec(name) for name in ("a", "b", "c")])
    def three() -> Iterator[dg.MaterializeResult[Any]]:
        for name in ("a", "b", "c"):
            yield dg.MaterializeResult(asset_key=name)

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert dg.materialize([three], instance=instance).success
    assert 3 in together
