"""A small governed laboratory, and processes that work on it.

Belongs here: people, submissions, starting and ending processes. Does not belong here: what the processes do (``children.py``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from lab_assets.governance.approvals import Approval, Approvals
from lab_assets.governance.users import ROLE_NAMES, create_user
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.database import open_database, writing

MODEL = "oos_risk"
KILLED = -9
PASSWORD = "correct-horse-9"


@dataclass(frozen=True)
class Laboratory:
    """One home with its database, one account for each role and a second one for QA."""

    settings: Settings
    engine: Engine

    @property
    def ledger(self) -> Approvals:
        return Approvals(self.engine)

    def submit(self, version: str, digest: str = "ab" * 32) -> Approval:
        return self.ledger.submit(
            MODEL, version, digest=digest, metrics={"log_loss": 0.2}, data_versions={"ml.labels": 7},
            trained_by="scientist", submitted_by="scientist", reason="retrained",
        )  # fmt: skip

    def child(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a program of ``children.py``."""
        command = [sys.executable, "-m", "lab_assets_tests.faults.children", name, *arguments]
        env, pipe = environment_of(self.settings, **environment), subprocess.PIPE
        return subprocess.Popen(command, env=env, cwd=PROJECT_ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe)

    def lab(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the real command to its end."""
        env = environment_of(self.settings, **environment)
        return subprocess.run(lab_command(*arguments), env=env, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=120)


def found(settings: Settings) -> Laboratory:
    """Make the database and the people of a home."""
    engine = open_database(settings)
    with writing(engine) as connection:
        for name, role in (*((role, role) for role in ROLE_NAMES), ("qa2", "qa")):
            create_user(connection, name=name, password=PASSWORD, roles=(role,), actor="system:test")
    return Laboratory(settings, engine)


def environment_of(settings: Settings, **more: str) -> dict[str, str]:
    """Return the environment of a process of this home; nothing of the caller's own laboratory reaches it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LAB_", "MLFLOW_"))}
    return {**inherited, "LAB_HOME": str(settings.home), "COLUMNS": "200", **more}


def lab_command(*arguments: str) -> list[str]:
    """Return the command line of ``lab``."""
    return [sys.executable, "-c", "from lab_assets.cli.main import app; app()", *arguments]


def reply_of(child: subprocess.Popen[str]) -> Any:
    """Return the next thing a child prints."""
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, f"the child ended: {child.stderr.read()[-2000:] if child.stderr else ''}"
    return json.loads(line)


def go(*children: subprocess.Popen[str]) -> None:
    """Let children that are ready go on, all at once."""
    for child in children:
        assert reply_of(child) == "ready"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()


def end(child: subprocess.Popen[str]) -> int:
    """Wait for a child's end and return its exit code; its pipes are closed."""
    child.communicate(timeout=120)
    return child.returncode


def in_namespace(mount: str, *command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a mount namespace of its own, after a shell line that mounts; what it mounts ends with it.

    Skips the test where the system does not permit such namespaces.
    """
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this system permits no mount namespace (unshare -rm)")
    shell = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *command]
    return subprocess.run(shell, env=env, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=180)


def folder(path: Path) -> Path:
    """Make a folder and return it."""
    path.mkdir(parents=True, exist_ok=True)
    return path
