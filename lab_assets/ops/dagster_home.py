"""Dagster's home of one laboratory: where its runs, events and schedules are kept.

Belongs here: writing the home's two files and opening the instance. Does not belong here: the definitions themselves.

The project's ``dagster.yaml`` holds for ``dagster dev`` at the project root. A home gets a copy of it whose paths lie in
``LAB_HOME``, so ``lab up``, ``lab ingest`` and ``make dev`` share one history wherever they are started.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from lab_assets.settings import PROJECT_ROOT, Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

CODE_MODULE: Final = "lab_assets.definitions"
LOCATION: Final = "lab_assets"


class DagsterHomeError(RuntimeError):
    """The project's ``dagster.yaml`` is missing or is not one."""


def home_folder(settings: Settings) -> Path:
    """Return the folder that ``DAGSTER_HOME`` names."""
    return settings.home / "dagster"


def prepare_home(settings: Settings, *, template: Path = PROJECT_ROOT / "dagster.yaml") -> Path:
    """Write the home's ``dagster.yaml`` from the project's, and return the home.

    Args:
        settings: Whose home.
        template: The project's configuration.

    Raises:
        DagsterHomeError: the template is missing or is no mapping.
    """
    home = home_folder(settings)
    home.mkdir(parents=True, exist_ok=True)
    try:
        configuration = yaml.safe_load(template.read_text())
    except FileNotFoundError as error:
        raise DagsterHomeError(f"{template} is missing; restore it from the project") from error
    if not isinstance(configuration, dict):
        raise DagsterHomeError(f"{template} holds no settings; restore it from the project")
    _write(home / "dagster.yaml", located(configuration, home))
    return home


def located(configuration: dict[str, Any], home: Path) -> dict[str, Any]:
    """Return Dagster's configuration with every folder below ``home``."""
    return {
        **configuration,
        "storage": _moved(configuration["storage"], home / "storage"),
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(home)},
        },
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(home / "compute_logs")},
        },
    }


def _moved(storage: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return where Dagster keeps its history, in ``folder`` where it is kept in files; a database server stays where it is."""
    kind, place = next(iter(storage.items()))
    if "base_dir" in place:
        return {kind: {**place, "base_dir": str(folder)}}
    if "base_dir" in place.get("config", {}):
        return {kind: {**place, "config": {**place["config"], "base_dir": str(folder)}}}
    return storage


def history_in_files(settings: Settings, *, template: Path = PROJECT_ROOT / "dagster.yaml") -> bool:
    """Return whether Dagster keeps its history below its home, and not on a database server."""
    own = home_folder(settings) / "dagster.yaml"
    configuration = yaml.safe_load((own if own.exists() else template).read_text())
    place = next(iter(configuration["storage"].values()))
    return "base_dir" in place or "base_dir" in place.get("config", {})


def write_workspace(settings: Settings, socket: Path) -> Path:
    """Write a workspace that finds the graph at a running code server, and return its path."""
    path = home_folder(settings) / "workspace.yaml"
    _write(path, {"load_from": [{"grpc_server": {"socket": str(socket), "location_name": LOCATION}}]})
    return path


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replace a file atomically where its content changes: running processes read it at any time."""
    text = "# written by 'lab'; edit dagster.yaml at the project root instead\n" + yaml.safe_dump(content, sort_keys=False)
    if path.exists() and path.read_text() == text:
        return
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[DagsterInstance]:
    """Open the laboratory's Dagster instance; its storage is made when missing."""
    from dagster import DagsterInstance

    with DagsterInstance.from_config(str(prepare_home(settings))) as instance:
        yield instance


def main() -> int:
    """Prepare the home and print it, for ``DAGSTER_HOME``."""
    from lab_assets.settings import get_settings

    sys.stdout.write(f"{prepare_home(get_settings())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
