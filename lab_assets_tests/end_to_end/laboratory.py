"""A laboratory with its demonstration, and the real command on it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
