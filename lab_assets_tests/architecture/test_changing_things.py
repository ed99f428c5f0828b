"""``docs/changing-things.md`` is true: its five changes are made in a copy of the checkout, as it says, and their tests pass there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab_assets.settings import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "changing-things.md").read_text(encoding="utf-8")
INSTRUMENT = (PROJECT_ROOT / "docs" / "add-an-instrument.md").read_text(encoding="utf-8")
SECTIONS = {text.partition("\n")[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
NEW_FILE = re.compile(r"`([\w./-]+\.\w+)`:\n\n```\w+\n(.*?)```", re.DOTALL)
EDIT = re.compile(r"^(?![^\n]*\.py`:$)[^\n]+:\n\n```python\n(.*?)```", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"\b(?:lab_assets|lab_assets_tests|docs)/[\w./-]*\w")
COPIED = ("lab_assets", "lab_assets_tests", "docs")

METHODS, GOLD, ACCESS = "lab_assets/governance/mask_methods.py", "lab_assets/contracts/gold.py", "lab_assets_tests/service/test_access.py"
HELD_BY = {
    "An instrument": (["sources/test_samples.py"], "aquapoint_kf"),
    "A feature": (["features/test_highest_point_pct.py"], "highest_point_pct"),
    "A gold table": (
        [
            "stations/gold/test_results_by_lot.py",
            "stations/test_declarations.py",
            "stations/test_dependence.py",
            "stations/test_all_stations.py",
            "architecture/test_graph.py",
        ],
        "results_by_lot or test_all_stations",
    ),
    "A route": (["service/test_access.py"], "L-unknown or a_lot_comes_masked or every_route_declares or names_every_guarded_route"),
    "A mask method": (["governance/test_mask_methods.py"], "initial"),
}
"""What holds each change: files of tests, and words in the names of those that concern it."""
TOGETHER = (("A gold table",), ("An instrument", "A feature", "A route", "A mask method"))
"""Changes whose tests run in one process; the first simulate a laboratory, so the others run beside them."""


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout in which the changes are made."""

    root: Path

    def add(self, path: str, text: str) -> None:
        """Write a new file, in a folder that is there, except for a new maker's."""
        file = self.root / path
        assert file.parent.is_dir() or "vendors/" in path, f"{path} of the page lies in no folder"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def edit(self, path: str, block: str, after: str) -> bool:
        """Write a block after the one place that a pattern finds, unless who tries the page out in the checkout itself has written it."""
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        if block in text:
            return False
        places = [found.end() for found in re.finditer(after, text, re.MULTILINE)]
        assert len(places) == 1, f"{path} has {len(places)} places for what the page adds"
        file.write_text(text[: places[0]] + block + text[places[0] :], encoding="utf-8")
        return True

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command with the copy's package, whatever this process measures or imports."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST_", "LAB_"))}
        paths = {"PYTHONPATH": str(self.root), "PATH": f"{self.root / 'bin'}{os.pathsep}{clean['PATH']}"}
        return subprocess.run(command, cwd=self.root, env=clean | paths, capture_output=True, text=True, check=False, timeout=300)


def make_new_files(checkout: Checkout) -> None:
    for section in SECTIONS.values():
        for path, text in NEW_FILE.findall(section):
            checkout.add(path, text)


def edit_files(checkout: Checkout) -> None:
    (contract,) = EDIT.findall(SECTIONS["A gold table"])
    if checkout.edit(GOLD, f"{contract}\n", r"^(?=TABLES: Final = )"):
        checkout.edit(GOLD, "RESULTS_BY_LOT, ", r"^TABLES: Final = \(")
    line, masked = EDIT.findall(SECTIONS["A route"])
    checkout.edit(ACCESS, line, r"^MATRIX = \[\n")
    checkout.edit(ACCESS, f"\n\n{masked}", r"\Z")
    (method,) = EDIT.findall(SECTIONS["A mask method"])
    checkout.edit(METHODS, method, r"^(?=\}\n\"\"\"Every method)")


def add_the_instrument(checkout: Checkout) -> None:
    """Write the reader and follow the page's own commands for its sample."""
    files = dict(NEW_FILE.findall(INSTRUMENT))
    checkout.add("lab_assets/sources/vendors/aquapoint/aquapoint_kf.py", files["lab_assets/sources/vendors/aquapoint/aquapoint_kf.py"])
    (checkout.root / "KF_2025-03-04.txt").write_text(files["KF_2025-03-04.txt"])
    shutil.rmtree(checkout.root / "lab_assets_tests" / "sources" / "samples" / "aquapoint_kf", ignore_errors=True)
    (cut,) = re.findall(r"^\$ (head .+)$", INSTRUMENT, re.MULTILINE)
    (sample,) = re.findall(r"### 4\. .*?```sh\n(.*?)```", INSTRUMENT, re.DOTALL)
    done = checkout.run("bash", "-c", f"set -eu\n{cut}\n{sample}")
    assert (done.returncode, done.stderr) == (1, ""), done.stdout + done.stderr  # one of the samples is refused, as it says


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The copy with all five changes."""
    copy = Checkout(tmp_path_factory.mktemp("changed"))
    for name in COPIED:
        shutil.copytree(PROJECT_ROOT / name, copy.root / name)
    shutil.copy(PROJECT_ROOT / "pyproject.toml", copy.root)
    lab = copy.root / "bin" / "lab"
    lab.parent.mkdir()
    lab.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c 'from lab_assets.cli.main import app; app()' \"$@\"\n")
    lab.chmod(0o755)
    make_new_files(copy)
    edit_files(copy)
    add_the_instrument(copy)
    return copy


@pytest.fixture(scope="module")
def outcomes(checkout: Checkout) -> list[tuple[str, str]]:
    """What became of each test in the copy, with its name."""

    def run(changes: tuple[str, ...]) -> list[tuple[str, str]]:
        files = [f"lab_assets_tests/{file}" for change in changes for file in HELD_BY[change][0]]
        words = " or ".join(f"({HELD_BY[change][1]})" for change in changes)
        ran = checkout.run(sys.executable, "-m", "pytest", "-q", "-rA", "--tb=short", "-p", "no:cacheprovider", "-k", words, *files)
        found = re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL) (lab_assets_tests/.+)$", ran.stdout, re.MULTILINE)
        assert found, ran.stdout + ran.stderr
        return found

    with ThreadPoolExecutor(max_workers=len(TOGETHER)) as pool:
        return [each for found in pool.map(run, TOGETHER) for each in found]


@pytest.mark.parametrize("change", list(HELD_BY))
def test_the_tests_of_a_change_pass(outcomes: list[tuple[str, str]], change: str) -> None:
    for file in HELD_BY[change][0]:
        mine = [(outcome, name) for outcome, name in outcomes if name.startswith(f"lab_assets_tests/{file}::")]
        assert mine, f"no test of {file}"
        failed = [name for outcome, name in mine if outcome != "PASSED"]
        assert not failed, "\n".join(failed)


def test_the_page_is_written_as_the_code_is(checkout: Checkout) -> None:
    """What it adds passes the linter and is formatted."""
    new = [path for section in SECTIONS.values() for path, _ in NEW_FILE.findall(section)]
    for command in (["check"], ["format", "--check"]):
        done = checkout.run(sys.executable, "-m", "ruff", *command, "--no-cache", *new, METHODS, GOLD, ACCESS)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_block_of_the_page_was_tried() -> None:
    for name, section in SECTIONS.items():
        assert section.count("\n```") == 2 * (len(NEW_FILE.findall(section)) + len(EDIT.findall(section))), name


def test_every_file_the_page_names_exists(checkout: Checkout) -> None:
    named = set(NAMED.findall(PAGE)) | {f"docs/{page}" for page in re.findall(r"\]\(([\w-]+\.md)\)", PAGE)}
    assert len(named) > 20
    assert [name for name in sorted(named) if not (checkout.root / name).exists()] == []


def test_each_change_touches_the_files_its_line_says() -> None:
    lines = dict(re.findall(r"^\| \[(.+?)\]\(#.+?\) \| (.+) \|$", PAGE, re.MULTILINE))
    assert lines == {
        "an instrument": "a reader, a sample",
        "a feature": "a feature, a test",
        "a gold table": "a contract, a station, a test",
        "a route": "a router, a test",
        "a mask method": "a table of methods; its test covers it, further ones are yours",
    }
    new = {name: len(NEW_FILE.findall(section)) for name, section in SECTIONS.items()}
    assert new == {"An instrument": 0, "A feature": 2, "A gold table": 2, "A route": 1, "A mask method": 0}
