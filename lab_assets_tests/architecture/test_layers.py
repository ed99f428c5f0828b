"""Nothing imports upwards, and nothing goes in a circle: not between rooms, not between the modules of one.

The order below is the one the code has. It differs from the flow of the data in three places, each on purpose: ``contracts`` stands
above ``features``, since the contracts of feature tables are compiled from the features' definitions; ``compute`` stands below
``state`` and ``lake``, since it knows neither tables nor the ledger; ``settings`` is the ground everything stands on.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from lab_assets_tests.architecture.imports import Import, circles, imports_of, modules_of

PACKAGE = Path(__file__).resolve().parents[2] / "lab_assets"
MODULES = modules_of(PACKAGE)
IMPORTS = imports_of(PACKAGE)

ORDER = (
    ("lab_assets",),
    ("setting_rules",),
    ("settings",),
    ("failpoints", "disk", "provenance", "process_stamp", "grpc_health", "fault_kinds"),
    ("unfinished_restore",),
    ("home_identity",),
    ("process_identity", "listening"),
    ("environment_errors",),
    ("domain",),
    ("features",),
    ("contracts",),
    ("sources",),
    ("modeling",),
    ("decisions",),
    ("compute",),
    ("state",),
    ("lake",),
    ("ingest",),
    ("governance",),
    ("registry",),
    ("stations",),
    ("upkeep",),
    ("service",),
    ("orchestration",),
    ("definitions",),
    ("simulation",),
    ("ops",),
    ("cli",),
)
"""Rooms, the lowest first; those in one line do not know each other."""

RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

SIMULATION_MAY_USE = {"contracts", "sources", "domain", "simulation"}
SIMULATION_IS_USED_BY = {"ops", "cli", "simulation"}


def room_of(module: str) -> str:
    """Return the room a module belongs to: the folder or file below the package."""
    return module.split(".")[1] if "." in module else module


def between_rooms() -> list[Import]:
    return [each for each in IMPORTS if room_of(each.source) != room_of(each.target)]


def inside_rooms() -> dict[str, dict[str, set[str]]]:
    """Return, by room, what its modules import of one another; a child process that is started by name is no import."""
    edges: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for each in IMPORTS:
        if room_of(each.source) == room_of(each.target) and not each.in_text:
            edges[room_of(each.source)][each.source].add(each.target)
    return edges


def test_every_room_has_its_place() -> None:
    assert {room_of(module) for module in MODULES} == set(RANK)


def test_nothing_imports_upwards() -> None:
    assert [str(each) for each in between_rooms() if RANK[room_of(each.target)] >= RANK[room_of(each.source)]] == []


def test_rooms_are_in_no_circle() -> None:
    edges: dict[str, set[str]] = defaultdict(set)
    for each in between_rooms():
        edges[room_of(each.source)].add(room_of(each.target))
    assert circles(edges) == []


@pytest.mark.parametrize("room", sorted(RANK))
def test_modules_of_a_room_are_in_no_circle(room: str) -> None:
    assert circles(inside_rooms()[room]) == []


def test_the_simulation_stands_apart() -> None:
    """It makes files as instruments do; nothing that reads them may know how they were made."""
    for each in between_rooms():
        if room_of(each.source) == "simulation":
            assert room_of(each.target) in SIMULATION_MAY_USE, str(each)
        if room_of(each.target) == "simulation":
            assert room_of(each.source) in SIMULATION_IS_USED_BY, str(each)


def test_modules_named_in_text_and_docstrings_exist() -> None:
    """A room that was renamed is renamed where it is spoken of, too."""
    entry_points = {"lab_assets.readers"}
    stale = [
        f"{module}:{number} names {name}"
        for module, file in MODULES.items()
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        for name in re.findall(r"\blab_assets(?:\.[a-z_][a-z0-9_]*)+", line)
        if name not in MODULES and name not in entry_points and (name.count(".") == 1 or name.rpartition(".")[0] not in MODULES)
    ]
    assert stale == []


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """A package of two rooms with every way of naming a module."""
    package = tmp_path / "made_up"
    for name, text in {
        "__init__.py": "",
        "low/__init__.py": "",
        "low/plain.py": "import made_up.high.a\n",
        "low/late.py": "def late():\n    from made_up.high import a\n    return a\n",
        "low/relative.py": "from ..high.a import VALUE\n",
        "low/beside.py": "from . import plain\n",
        "low/typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made_up.high.a import VALUE\n",
        "low/text.py": 'COMMAND = ("python", "-m", "made_up.high.a")\nNOT_ONE = "made_up.elsewhere.x"\n',
        "low/nothing.py": "import json\nfrom pathlib import Path\n",
        "high/__init__.py": "",
        "high/a.py": "VALUE = 1\n",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return package


def test_every_way_of_importing_is_seen(made_up: Path) -> None:
    found = [(each.source.rpartition(".")[2], each.target, each.types_only, each.in_text) for each in imports_of(made_up)]
    assert found == [
        ("beside", "made_up.low.plain", False, False),
        ("late", "made_up.high.a", False, False),
        ("plain", "made_up.high.a", False, False),
        ("relative", "made_up.high.a", False, False),
        ("text", "made_up.high.a", False, True),
        ("typed", "made_up.high.a", True, False),
    ]


def test_circles_are_found_whole() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set[str](), "f": {"g"}, "g": {"f"}}
    assert circles(edges) == [("a", "b", "c"), ("f", "g")]
