"""A home in which nothing was ever made, as one that is mistyped or whose disk is not mounted: looking at it makes no laboratory."""

from __future__ import annotations

import json

import pytest

from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database
from lab_assets_tests.cli.commands import Lab

LOOKING = (
    ("query", "SELECT 1", "--as", "admin"),
    ("audit", "show"),
    ("audit", "verify"),
    ("audit", "examine"),
    ("scrub",),
    ("reconcile",),
    ("catalog", "list"),
    ("catalog", "search", "lot"),
    ("catalog", "show", "silver.lots"),
    ("catalog", "lineage", "silver.lots"),
    ("table", "history", "silver.lots"),
    ("table", "as-of", "silver.lots", "0"),
    ("quarantine", "list"),
    ("schema", "list"),
    ("user", "list"),
    ("grant",),
    ("mask",),
    ("run", "list"),
    ("run", "log", "1234"),
    ("run", "aside"),
    ("model", "list"),
    ("drift",),
    ("explain", "P-1"),
    ("reproduce", "P-1"),
    ("score", "--injection", "I-1"),
    ("maintain",),
)


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_looking_at_a_home_without_a_laboratory_makes_none(lab: Lab, settings: Settings, command: tuple[str, ...]) -> None:
    answer = lab(*command)
    assert (answer.exit_code, answer.stdout) == (2, "")
    (line,) = answer.stderr.splitlines()
    assert line.startswith(f"error: no laboratory: {settings.home}; 'lab demo', 'lab up' or 'lab ingest' makes one")
    assert not settings.home.exists()


def test_a_folder_that_holds_something_else_is_no_laboratory_either(lab: Lab, settings: Settings) -> None:
    """As the folder below a disk that is not mounted, with files that somebody dropped meanwhile."""
    (settings.inbox / "hplc").mkdir(parents=True)
    (settings.inbox / "hplc" / "a.txt").touch()
    answer = lab("user", "list", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["kind"]) == (2, "no_laboratory")
    assert [each.name for each in settings.home.iterdir()] == ["inbox"]


def test_a_laboratory_is_looked_at_once_it_was_made(lab: Lab, settings: Settings) -> None:
    AuditLog(open_database(settings)).append(actor="system:test", action="lab.made", target="lab")
    assert lab("audit", "verify").exit_code == 0
