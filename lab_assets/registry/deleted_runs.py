"""Runs that people deleted in MLflow: removed for good after a while, by MLflow's own command.

Belongs here: which of them may go. Does not belong here: when (``lab_assets.upkeep``). What a registered version rests on never goes,
even where someone deleted its run, its model or its experiment: then nothing is removed, and it is named.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab_assets.settings import Settings

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, kw_only=True)
class DeletedRuns:
    """Runs that may be removed for good.

    Attributes:
        run_ids: Runs that were deleted long enough ago.
        needed: Deleted runs and experiments that a registered version rests on.
    """

    run_ids: tuple[str, ...]
    needed: tuple[str, ...]


def deleted_runs(settings: Settings, *, now: datetime) -> DeletedRuns | None:
    """Return which deleted runs may go; ``None`` where MLflow is a server, which does it itself, or was never used."""
    path = Path(settings.mlflow_uri.removeprefix("sqlite:///"))
    if not settings.mlflow_uri.startswith("sqlite:///") or not path.is_file():
        return None
    from mlflow.entities import ViewType
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=settings.mlflow_uri, registry_uri=settings.mlflow_uri)
    registered = {str(version.run_id) for version in client.search_model_versions(max_results=10_000)}
    experiments = client.search_experiments(view_type=ViewType.ALL)
    gone = [each for each in experiments if each.lifecycle_stage == "deleted"]
    limit_ms = (now - timedelta(days=settings.mlflow_deleted_days)).timestamp() * 1000
    deleted = _deleted(client, [each.experiment_id for each in experiments])
    needed = [f"run {run.info.run_id}" for run in deleted if run.info.run_id in registered]
    for run_id in sorted(registered):
        experiment = client.get_run(run_id).info.experiment_id
        needed += [f"experiment {each.name}" for each in gone if each.experiment_id == experiment]
    old = (run.info.run_id for run in deleted if run.info.run_id not in registered and _ended_ms(run) < limit_ms)
    return DeletedRuns(run_ids=tuple(sorted(old)), needed=tuple(dict.fromkeys(needed)))


def _deleted(client: MlflowClient, experiment_ids: list[str]) -> list[Run]:
    from mlflow.entities import ViewType

    found: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(experiment_ids, run_view_type=ViewType.DELETED_ONLY, max_results=1000, page_token=token)
        found += page
        if not (token := page.token):
            return found


def _ended_ms(run: Run) -> float:
    return float(run.info.end_time or run.info.start_time or 0)


def remove_deleted(settings: Settings, runs: DeletedRuns) -> None:
    """Remove deleted runs with their artefacts, by ``mlflow gc``.

    Raises:
        RuntimeError: MLflow did not; its own words are in the message.
    """
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", settings.mlflow_uri]
    command += ["--older-than", f"{settings.mlflow_deleted_days}d0h0m0s", "--run-ids", ",".join(runs.run_ids)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": settings.mlflow_uri}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode:
        raise RuntimeError(f"mlflow gc: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f'exit code {done.returncode}'}")
