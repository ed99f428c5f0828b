"""Each module of ``sources`` has one rank: no circle of imports, and no folder that imports one above it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import lab_assets.sources

ROOT = Path(lab_assets.sources.__file__).parent
PACKAGE = "lab_assets.sources"
BELOW: Mapping[str, set[str]] = {
    "core": {"core"},
    "base": {"core"},
    "tables": {"core", "base", "tables"},
    "standards": {"core", "base", "standards"},
    "media": {"core", "base", "media"},
    "vendors": {"core", "base", "tables", "standards", "vendors"},
    "all_readers": {"core", "base", "tables"},
}
"""What each folder, or module beside them, may import."""


def modules_of(root: Path, package: str) -> dict[str, Path]:
    """Return the file of each module below a folder, by name."""
    names = {path: ".".join((package, *path.relative_to(root).with_suffix("").parts)) for path in sorted(root.rglob("*.py"))}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def imports_of(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return what each module imports of the others; inside of functions, and for type checking only, counts as well."""
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        found[module] = names & modules.keys() - {module}
    return found


def circle_in(imports: Mapping[str, set[str]]) -> list[str]:
    """Return the modules of one circle, empty where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def folder_of(module: str) -> str:
    return module.removeprefix(f"{PACKAGE}.").split(".")[0]


def test_no_module_imports_itself_through_others() -> None:
    imports = imports_of(modules_of(ROOT, PACKAGE))
    assert sum(map(len, imports.values())) > 100
    assert circle_in(imports) == []


@pytest.mark.parametrize("folder", BELOW)
def test_no_folder_imports_one_above_it(folder: str) -> None:
    imports = imports_of(modules_of(ROOT, PACKAGE))
    above = {
        (module, other)
        for module, others in imports.items()
        for other in others
        if folder_of(module) == folder and folder_of(other) not in BELOW[folder]
    }
    assert above == set()


def test_every_folder_has_a_rank() -> None:
    assert {folder_of(module) for module in modules_of(ROOT, PACKAGE) if module != PACKAGE} == set(BELOW)


@pytest.mark.parametrize(
    "code",
    [
        "from made_up.a import x",
        "import made_up.a",
        "def f():\n    from made_up import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made_up.a import x",
    ],
)
def test_a_circle_is_found(tmp_path: Path, code: str) -> None:
    (tmp_path / "a.py").write_text("from made_up.b import y\n")
    (tmp_path / "b.py").write_text(code)
    assert set(circle_in(imports_of(modules_of(tmp_path, "made_up")))) == {"made_up.a", "made_up.b"}
