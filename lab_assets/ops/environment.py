"""What the product's processes get as their environment.

Belongs here: handing settings on to children. Does not belong here: reading them (``lab_assets.settings``).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from lab_assets.home_identity import place_of
from lab_assets.ops.dagster_home import home_folder
from lab_assets.process_identity import COMPONENT, MARK, mark_of
from lab_assets.settings import Settings

_FIXED: Final = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runner is four more Python processes that nothing here uses
    "GIT_PYTHON_REFRESH": "quiet",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONUNBUFFERED": "1",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}


def child_environment(settings: Settings, *, component: str) -> dict[str, str]:
    """Return the environment of a child: ours, the settings as they are here, telemetry off, the mark of the laboratory.

    Settings travel as variables because a ``.env`` file is read from the working directory, which a child need not share.

    Args:
        settings: Whose child.
        component: What it is started as.
    """
    return {
        **os.environ,
        **{name: value for name, value in stated_settings(settings).items() if name != "LAB_FAILPOINT"},
        **_FIXED,
        "LAB_HOME": str(settings.home.resolve()),
        "DAGSTER_HOME": str(home_folder(settings).resolve()),
        MARK: mark_of(place_of(settings)),
        COMPONENT: component,
    }


def stated_settings(settings: Settings) -> dict[str, str]:
    """Return every setting that is not a default, by the name of its variable."""
    values: dict[str, str] = {}
    for name in settings.model_fields_set:
        alias = Settings.model_fields[name].validation_alias
        value = getattr(settings, name)
        if value is not None:
            values[alias if isinstance(alias, str) else f"LAB_{name.upper()}"] = _as_text(value)
    return values


def _as_text(value: Any) -> str:
    if isinstance(value, Path):
        return str(value.resolve())
    return value if isinstance(value, str) else json.dumps(value)
