"""The tests' own order: what tests share lies in helper modules, names stay short, and the list of faults names tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_assets_tests.architecture.imports import imports_of, modules_of

TESTS = Path(__file__).resolve().parents[1]
FAULTS = TESTS.parent / "docs" / "faults.md"
LONGEST_NAME = 79
_IN_PROGRAMS = re.compile(r"^\s*(?:from|import)\s+([\w.]+)", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")


def of_pytest(module: str) -> bool:
    """Return whether pytest alone loads a module: it holds tests, or the fixtures of a folder."""
    name = module.rpartition(".")[2]
    return name == "conftest" or name.startswith("test_")


def imports_of_tests(package: Path) -> list[str]:
    """Return which modules of a package import tests or fixtures' modules, as code does and as programs in text do."""
    named = [(each.source, each.target) for each in imports_of(package)]
    for module, file in modules_of(package).items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named += [(module, target) for target in _IN_PROGRAMS.findall(node.value) if target.startswith(f"{package.name}.")]
    return sorted({f"{source} imports {target}" for source, target in named if of_pytest(target)})


def names_of_tests(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield each test function below a folder, with its file."""
    for file in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield file, node.name


def named_in_tables(document: str, tests: Path) -> tuple[list[str], list[str]]:
    """Return what a document's tables name in their last column, and what of it exists nowhere.

    A name is ``file.py`` or ``file.py::test_start_...``, in the folder ``faults`` unless it says another; ``..._middle_...`` and
    ``test_start_...`` alone belong to the file named before them in the same cell. Paths with the project's folders count as well.

    Args:
        document: Text of the document.
        tests: Folder of the tests.
    """
    known = [(file.relative_to(tests).as_posix(), name) for file, name in names_of_tests(tests)]
    named: list[str] = []
    missing: list[str] = []
    for line in document.splitlines():
        cell = line.rstrip(" |").rpartition(" | ")[2] if line.startswith("| ") else ""
        file = ""
        for code in _CODE.findall(cell):
            path, _, test = code.partition("::") if ".py" in code else (file, "", code)
            file = path
            place = next((at for at in (tests / "faults" / path, tests / path, tests.parent / path) if path and at.is_file()), None)
            pattern = re.compile(".*".join(re.escape(part) for part in test.split("...")))
            found = place is not None and (
                not test or any((tests / where) == place and pattern.fullmatch(name) is not None for where, name in known)
            )
            named.append(code)
            missing += [] if found else [code]
    return named, missing


def test_no_test_imports_another() -> None:
    """A test that is imported runs its module twice, and cannot be changed without looking at the others."""
    assert imports_of_tests(TESTS) == []


def test_names_of_tests_fit_a_line() -> None:
    assert [f"{file.relative_to(TESTS)}: {name}" for file, name in names_of_tests(TESTS) if len(name) > LONGEST_NAME] == []


def test_the_list_of_faults_names_tests_that_exist() -> None:
    named, missing = named_in_tables(FAULTS.read_text(), TESTS)
    assert missing == []
    assert len(named) > 40


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """Tests that import one another in every way."""
    package = tmp_path / "made_up"
    for name, text in {
        "__init__.py": "",
        "faults/__init__.py": "",
        "faults/conftest.py": "",
        "faults/helper.py": "def of_helpers(): ...\n",
        "faults/test_a.py": "from made_up.faults.helper import of_helpers\ndef test_one_and_two(): ...\n",
        "faults/test_name.py": "from made_up.faults.test_a import test_one_and_two\n",
        "faults/test_module.py": "def late():\n    from made_up.faults import test_a\n",
        "faults/test_fixtures.py": "from .conftest import anything\n",
        "faults/test_program.py": 'PROGRAM = """\nimport sys\nfrom made_up.faults.test_a import late\n"""\n',
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return package


def test_every_way_of_importing_a_test_is_seen(made_up: Path) -> None:
    assert imports_of_tests(made_up) == [
        "made_up.faults.test_fixtures imports made_up.faults.conftest",
        "made_up.faults.test_module imports made_up.faults.test_a",
        "made_up.faults.test_name imports made_up.faults.test_a",
        "made_up.faults.test_program imports made_up.faults.test_a",
    ]


@pytest.mark.parametrize(
    ("cell", "missing"),
    [
        ("`test_a.py`", []),
        ("`test_a.py::test_one_...`, `..._two`", []),
        ("`faults/test_a.py::test_one_and_two`", []),
        ("`test_gone.py`", ["test_gone.py"]),
        ("`test_a.py::test_two_...`", ["test_a.py::test_two_..."]),
        ("`test_a.py::test_one_...`, `test_name.py`, `test_one_...`", ["test_one_..."]),
        ("`test_one_...`", ["test_one_..."]),
    ],
)
def test_tests_that_are_gone_are_found(made_up: Path, cell: str, missing: list[str]) -> None:
    assert named_in_tables(f"| 1 | fault | seen | {cell} |\n", made_up)[1] == missing
