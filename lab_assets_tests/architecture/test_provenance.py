"""Asking which code runs leaves the checkout as it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab_assets import provenance


def test_asking_for_the_version_of_the_code_does_not_write_to_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with another time and the same bytes makes git look again, and would make it write its index under a lock."""
    file = tmp_path / "lab_assets" / "a.py"
    file.parent.mkdir()
    file.write_text("A = 1\n")
    who = {f"GIT_{role}_{what}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True, env=os.environ | who)
    index = (tmp_path / ".git" / "index").read_bytes()
    os.utime(file, (1_000_000_000, 1_000_000_000))
    monkeypatch.setattr(provenance, "PROJECT_ROOT", tmp_path)
    version = provenance.code_version.__wrapped__()
    assert len(version) == 40
    assert (tmp_path / ".git" / "index").read_bytes() == index
    file.write_text("A = 2\n")
    assert provenance.code_version.__wrapped__() == f"{version}+changes"
