"""Dagster's private API as the product uses it: a new version of Dagster shows here what it changed, before a laboratory does.

After an update that passes, its version is added to ``TRIED_WITH``.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._cli.api import execute_run_command
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._grpc.types import ExecuteRunArgs

from lab_assets.ops.dagster_home import located
from lab_assets.orchestration.private.event_storage import OpenSqliteEventLogStorage
from lab_assets.orchestration.private.run_launcher import LocalRunLauncher

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
