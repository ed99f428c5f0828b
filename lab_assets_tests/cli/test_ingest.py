"""``lab ingest`` and its neighbours at an inbox that is not there: never "no file was waiting"."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab_assets.ops.doctor import examine
from lab_assets.ops.status import lab_status
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.database import open_database
from lab_assets_tests.faults.laboratory import environment_of, lab_command


@pytest.fixture
def emptied(settings: Settings) -> Settings:
    """A laboratory whose inbox is gone."""
    open_database(settings).dispose()
    assert not settings.inbox.exists()
    return settings


def test_lab_ingest_fails_and_says_what_to_do(emptied: Settings) -> None:
    done = subprocess.run(
        lab_command("ingest"), env=environment_of(emptied), cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2
    assert f"the inbox {emptied.inbox} is not there: mount it again, or make the folder" in " ".join(done.stderr.split())
    assert "no file was waiting" not in done.stdout


def test_lab_status_names_it_among_the_problems(emptied: Settings) -> None:
    found = lab_status(emptied)
    assert found.inbox is None
    assert any("is not there: mount it again" in problem for problem in found.problems)


def test_lab_doctor_says_it_where_there_is_a_laboratory_and_not_before(emptied: Settings, tmp_path: Path) -> None:
    checks = {check.name: check for check in examine(emptied)}
    assert (checks["inbox"].state, checks["inbox"].mend) == ("failed", "mount it again, or make the folder")
    assert {check.name: check.state for check in examine(Settings(home=tmp_path / "none"))}["inbox"] == "ok"
