"""The import rule: each room in a fresh interpreter, then a look at what it brought in."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

PACKAGE = Path(__file__).resolve().parents[2] / "lab_assets"
PURE = ("contracts", "sources", "domain", "features", "modeling", "decisions")
ENGINES = ("dagster", "pyspark", "mlflow", "fastapi", "delta", "deltalake", "sqlalchemy", "duckdb")
HEAVY = ("pyspark", "mlflow", "sklearn", "lightgbm", "pandera", "matplotlib", "pandas", "polars", "scipy", "duckdb")


def _modules(room: str) -> list[str]:
    files = sorted((PACKAGE / room).rglob("*.py"))
    return [".".join(("lab_assets", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__") for file in files]


def _loaded_after(imports: list[str], watched: tuple[str, ...]) -> set[str]:
    code = f"import sys, importlib\nfor name in {imports!r}: importlib.import_module(name)\nprint(*[m for m in {watched!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_import_no_engine(room: str) -> None:
    assert _loaded_after(_modules(room), ENGINES) == set()


def test_tools_know_which_rooms_are_pure() -> None:
    """Strict types, held coverage and the tests before a push are those of the same rooms."""
    root = PACKAGE.parent
    strict = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["pyright"]["strict"]
    assert sorted(strict) == sorted(f"lab_assets/{room}" for room in PURE)
    (covered,) = re.findall(r"^PURE := (.+)$", (root / "Makefile").read_text(), re.MULTILINE)
    assert sorted(covered.split()) == sorted(PURE)
    hooks = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    (before_push,) = [hook["entry"].split() for hook in hooks if hook["id"] == "pure-tests"]
    folders = [word for word in before_push if word.startswith("lab_assets_tests/")]
    assert sorted(folders) == sorted(f"lab_assets_tests/{room}" for room in PURE)
    assert [folder for folder in folders if not any((root / folder).glob("test_*.py"))] == []


def test_service_imports_neither_spark_nor_dagster() -> None:
    names = [name for name in _modules("service") if not name.endswith("__main__")]
    assert _loaded_after(names, ("pyspark", "dagster")) == set()


def test_the_graph_imports_nothing_heavy() -> None:
    """Import time is paid by every run: what is heavy is imported by the function that uses it."""
    assert _loaded_after(["lab_assets.definitions"], HEAVY) == set()


def test_the_command_line_imports_nothing_heavy() -> None:
    assert _loaded_after(["lab_assets.cli.main"], (*HEAVY, "dagster")) == set()


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_import_nothing_upwards(room: str) -> None:
    """Nothing pure imports a room that is not pure; inside functions counts as well."""
    allowed = {f"lab_assets.{name}" for name in PURE}
    for file in (PACKAGE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            for name in names:
                if name.startswith("lab_assets."):
                    assert ".".join(name.split(".")[:2]) in allowed, f"{file.name} imports {name}"


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_read_neither_clock_nor_environment(room: str) -> None:
    for file in (PACKAGE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = f"{node.value.id}.{node.attr}"
                assert name not in {"os.environ", "os.getenv", "datetime.now", "datetime.utcnow", "date.today", "time.time"}, (
                    f"{file.name}: {name}"
                )


def test_only_settings_reads_the_environment() -> None:
    """Children may be handed the environment; values are read by ``settings.py`` alone."""
    for file in PACKAGE.rglob("*.py"):
        if file.name == "settings.py" and file.parent == PACKAGE:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if called and isinstance(node.func.value, ast.Attribute | ast.Name):  # type: ignore[union-attr]
                name = ast.unparse(node.func)  # type: ignore[union-attr]
                assert name not in {"os.getenv", "os.environ.get"}, f"{file}: {name}"


OPENING = re.compile(r"\bDeltaTable\(|\bis_deltatable\(|\bread_delta\(|\bscan_delta\((?!table\))")


def test_tables_are_opened_by_the_lake_alone() -> None:
    """What opens a table by its place answers none where a table was lost; ``lab_assets.lake.opening`` asks the ledger first."""
    found = {str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py") if OPENING.search(file.read_text())}
    assert {path for path in found if not path.startswith("lake/")} == set()


def test_dagster_modules_do_not_postpone_annotations() -> None:
    """Dagster reads annotations at run time (dagster-io/dagster#26837, #28342)."""
    for file in (PACKAGE / "orchestration").rglob("*.py"):
        if file.parent.name != "private":
            assert "from __future__ import annotations" not in file.read_text(), file


def test_every_room_says_what_belongs_there() -> None:
    for file in PACKAGE.rglob("*.py"):
        docstring = ast.get_docstring(ast.parse(file.read_text()))
        assert docstring, f"{file} has no module docstring"
        if file.name == "__init__.py" and file.parent.parent == PACKAGE:
            assert "belongs here" in docstring.lower(), f"{file} does not say what belongs there"
