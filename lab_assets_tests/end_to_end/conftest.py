"""One small laboratory taken through the whole loop by the real command, shared by the tests of this folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab_assets.compute.spark_server import stop_server
from lab_assets.settings import PROJECT_ROOT, Settings

LAB = str(Path(sys.executable).parent / "lab")
LOTS = 150


@dataclass(frozen=True, kw_only=True)
class Laboratory:
    """A home, the report of its demonstration, and the command on it."""

    settings: Settings
    report: dict[str, Any]
    environment: dict[str, str]

    def lab(self, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run ``lab`` on this home, as a person would."""
        return subprocess.run(
            [LAB, *arguments], capture_output=True, text=True, check=False, env=self.environment, cwd=PROJECT_ROOT, timeout=timeout_s
        )

    def json(self, *arguments: str) -> Any:
        """Run a read command and return its JSON."""
        done = self.lab(*arguments, "--json")
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """Run the demonstration once for the whole session."""
    home = tmp_path_factory.mktemp("demo") / "lab"
    environment = {**os.environ, "LAB_HOME": str(home), "LAB_STABLE_S": "0.5", "LAB_SPARK_IDLE_S": "120"}
    done = subprocess.run(
        [LAB, "demo", "--lots", str(LOTS), "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=PROJECT_ROOT,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    settings = Settings(home=home)
    yield Laboratory(settings=settings, report=json.loads(done.stdout), environment=environment)
    stop_server(settings)
