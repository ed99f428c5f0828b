"""Runs that people deleted in MLflow go for good after a while; what a registered model rests on never does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from lab_assets.registry.deleted_runs import deleted_runs
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.upkeep.housekeeping import housekeep


def mlflow_part(settings: Settings, *, now: datetime, dry_run: bool = False) -> tuple[int, str]:
    found = housekeep(settings, open_database(settings), now=now, dry_run=dry_run)
    (part,) = [each for each in found if each.what == "runs deleted in MLflow"]
    return part.items, part.note


def test_deleted_runs_go_after_a_while_and_registered_ones_never(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, mlflow_deleted_days=0)
    now = datetime.now(UTC) + timedelta(minutes=1)
    assert deleted_runs(settings, now=now) is None  # MLflow was never used
    settings.mlflow_artifacts.mkdir(parents=True)
    client = MlflowClient(tracking_uri=settings.mlflow_uri, registry_uri=settings.mlflow_uri)
    experiment = client.create_experiment("oos_risk", artifact_location=settings.mlflow_artifacts.as_uri())
    alive, deleted, registered = (client.create_run(experiment).info.run_id for _ in range(3))
    for run_id in (alive, deleted, registered):
        client.log_text(run_id, "content", "note.txt")
        client.set_terminated(run_id)
    client.create_registered_model("oos_risk")
    client.create_model_version("oos_risk", f"runs:/{registered}/note.txt", run_id=registered)
    client.delete_run(deleted)
    settings.mlflow_deleted_days = 30
    assert mlflow_part(settings, now=now, dry_run=True) == (0, "")  # deleted a moment ago
    settings.mlflow_deleted_days = 0
    assert mlflow_part(settings, now=now, dry_run=True) == (1, "")
    assert client.get_run(deleted).info.lifecycle_stage == "deleted"
    assert mlflow_part(settings, now=now) == (1, "")
    with pytest.raises(MlflowException, match="not found"):
        client.get_run(deleted)
    assert {path.parent.parent.name for path in settings.mlflow_artifacts.rglob("note.txt")} == {alive, registered}
    client.delete_run(registered)
    removed, note = mlflow_part(settings, now=now)
    assert removed == 0
    assert note.startswith(f"nothing was removed: a registered model rests on run {registered}, deleted in MLflow")
    assert client.get_run(registered).info.lifecycle_stage == "deleted"
