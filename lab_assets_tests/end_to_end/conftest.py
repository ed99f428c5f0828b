"""One small laboratory taken through the whole loop by the real command, shared by the tests of this folder."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from lab_assets.compute.spark_server import stop_server
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets_tests.end_to_end.laboratory import LAB, LOTS, Laboratory


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
