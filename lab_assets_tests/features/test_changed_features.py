"""Features are changed as ``docs/changing-things.md`` says while a model serves: it goes on scoring as the program did that it was made with.

Two features of files and two of others are changed, their former files kept; a feature worked out of two of them is left alone.
Copies of the package stand for the program before and after.
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

from lab_assets.settings import PROJECT_ROOT
from lab_assets_tests.stations.small_laboratory import write_files

LATE = 10
"""Runs that come after the change."""
EXTRA = "lab_assets/features/extra"
FEATURE = """from lab_assets.features.feature import Feature

FEATURE = Feature(name="{name}", table="{table}", meaning="made up", version={version})


def value(given):
    return {formula}
"""


@dataclass(frozen=True)
class Made:
    """A feature of one file, of one version."""

    name: str
    table: str
    version: int
    formula: str

    @property
    def text(self) -> str:
        return FEATURE.format(name=self.name, table=self.table, version=self.version, formula=self.formula)

    @property
    def former_file(self) -> str:
        return f"{EXTRA}/former/{self.name}_v{self.version}.py"


POINT = [
    Made("largest_point", "injection_progress", n, f"{n} * float(given.trace.y.max()) if given.trace.y.size else float('nan')")
    for n in (1, 2, 3)
]
SHARE = [Made("share_seen", "context", n, f"{n} * given['checkpoint_pct']") for n in (1, 2)]
REACH = Made("reach", "context", 1, "(given['largest_point'] or 0.0) + (given['lot_min_margin'] or 0.0)")
MARGIN = Made("lot_min_margin", "lot_history", 1, "min((one.margin for one in given), default=float('nan'))")
EXCURSION = Made("storage_excursion_min", "storage_exposure", 1, "0.0 if not given['storage_days'] else float(given['excursion'] or 'nan')")
MARGIN_OF_LOTS = '"lot_min_margin": min(margins, default=nan)'


def program(root: Path, *files: Made, former: tuple[Made, ...] = (), changed: bool = True) -> Path:
    """Write a copy of the package with features of files, and perhaps with those of lots and storage computed otherwise."""
    for name in ("lab_assets", "lab_assets_tests"):
        shutil.copytree(PROJECT_ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "samples"))
    for made in files:
        (root / EXTRA / f"{made.name}.py").write_text(made.text)
    for made in former:
        (root / made.former_file).write_text(made.text)
    if changed:
        replace(root / "lab_assets/features/history_of_lots.py", MARGIN_OF_LOTS, MARGIN_OF_LOTS.replace("min(margins", "2 * min(margins"))
        replace(
            root / "lab_assets/features/definitions.py",
            "dict[str, int]] = {}",
            'dict[str, int]] = {"lot_min_margin": 2, "storage_excursion_min": 2}',
        )
        replace(root / "lab_assets/features/exposure.py", 'pl.col("excursion")', '2 * pl.col("excursion")')
    return root


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} has no single place with {old}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def run(root: Path, home: Path, *late: str) -> dict[str, Any]:
    """Run a program over a home and return what it saw."""
    answer = home / f"{root.name}.json"
    command = [sys.executable, "-m", "lab_assets_tests.features.changed_program", str(home), str(answer), *late]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST_", "LAB_"))}
    done = subprocess.run(
        command, cwd=root, env=clean | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return json.loads(answer.read_text())


@dataclass(frozen=True)
class Story:
    """What each program saw.

    Attributes:
        first: The program that the model was made with, before the last files.
        same: That program, after them.
        changed: One whose features were changed and kept, after them.
        again: A further change over that laboratory.
        careless: One whose features were changed without keeping the former files, after them.
        mended: The changed one over that laboratory: the former files are put in place later.
    """

    first: dict[str, Any]
    same: dict[str, Any]
    changed: dict[str, Any]
    again: dict[str, Any]
    careless: dict[str, Any]
    mended: dict[str, Any]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("changed_features")
    home, waiting = folder / "home", folder / "late"
    write_files(home / "inbox")
    files = sorted(
        path for path in (home / "inbox").rglob("*") if path.is_file() and path.relative_to(home / "inbox").parts[0].startswith("hplc")
    )
    for path in files[-LATE:]:
        to = waiting / path.relative_to(home / "inbox")
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
    names = [path.stem for path in files[-LATE:]]
    before = program(folder / "before", POINT[0], SHARE[0], REACH, changed=False)
    kept = (POINT[0], SHARE[0], MARGIN, EXCURSION)
    changed = program(folder / "changed", POINT[1], SHARE[1], REACH, former=kept)
    again = program(folder / "again", POINT[2], SHARE[1], REACH, former=(*kept, POINT[1]))
    careless = program(folder / "careless", POINT[1], SHARE[1], REACH)
    first = run(before, home)
    homes = [shutil.copytree(home, folder / f"home_{name}") for name in ("same", "careless")]
    for each in (home, *homes):
        shutil.copytree(waiting, each / "inbox", dirs_exist_ok=True)
    return Story(
        first=first, same=run(before, homes[0], *names), careless=run(careless, homes[1], *names),
        changed=run(changed, home, *names), again=run(again, home, *names),
        mended=run(changed, homes[1], *names),
    )  # fmt: skip


def test_rows_of_the_new_set_stand_beside_those_of_the_old(story: Story) -> None:
    """Those are the same to the last bit; new ones are of every run, the late ones too."""
    old, new = story.first["set"], story.changed["set"]
    assert old != new
    assert {name: rows for name, rows in story.changed["rows"].items() if name.endswith(old)} == story.first["rows"]
    for table in ("injection_progress", "lot_history"):
        assert story.changed["rows"][f"{table} {new}"]["rows"] == story.same["rows"][f"{table} {old}"]["rows"]


def test_new_runs_are_scored_as_the_program_of_the_model_scored_them(story: Story) -> None:
    """Every risk and every input of every prediction that counts, to the last bit."""
    assert len(story.same["predictions"]) > len(story.first["predictions"]) > 0
    assert story.changed["predictions"] == story.same["predictions"]
    assert story.changed["reason"] == story.changed["alert"] == ""


def test_the_service_scores_as_the_program_of_the_model_did(story: Story) -> None:
    """Posted traces and stored runs; what is posted is, to the last bit, what batch makes of it: three runs at four checkpoints."""
    assert story.changed["posted"] == story.same["posted"]
    assert story.changed["online"] == story.same["online"] == {"differing": [], "scored": 24}


def test_the_model_is_given_the_former_values(story: Story) -> None:
    """The program of today computes twice as much of each; the model's inputs say the half."""
    for seen in (story.same, story.changed):
        for _, features in seen["posted"].values():
            assert features["share_seen"] == features["checkpoint_pct"]
            assert features["reach"] == features["largest_point"] + features.get("lot_min_margin", 0.0)
    assert any("lot_min_margin" in features for _, features in story.changed["posted"].values())


def test_predictions_of_before_and_after_are_reproduced(story: Story) -> None:
    assert story.changed["repeated"] > story.first["repeated"] > 0
    for seen in (story.first, story.same, story.changed):
        assert seen["not_reproduced"] == []


def test_a_further_change_leaves_all_as_it_is(story: Story) -> None:
    """Predictions that rested on rows of the set in between are reproduced as well."""
    assert len({story.first["set"], story.changed["set"], story.again["set"]}) == 3
    assert story.again["predictions"] == story.changed["predictions"]
    assert (story.again["online"], story.again["posted"]) == (story.changed["online"], story.changed["posted"])
    assert story.again["repeated"] > story.changed["repeated"]
    assert story.again["not_reproduced"] == []


def test_without_the_former_files_it_is_said_what_to_do(story: Story) -> None:
    """The late runs have no score; scoring, the service and an alert name the model, its feature set, the files and the other way out."""
    seen = story.careless
    assert seen["predictions"] == story.first["predictions"]
    (alert,) = seen["alert"]
    for said in (seen["reason"], seen["refusal"], alert):
        assert f"feature set {story.first['set']}, which this program (set {seen['set']}) does not compute: put " in said
        assert "or promote a model made with today's features" in said
        for former in (POINT[0], SHARE[0], MARGIN, EXCURSION):
            assert Path(former.former_file).name in said
    assert "oos_risk 1" in alert


def test_former_files_put_in_place_later_score_what_was_left_out(story: Story) -> None:
    assert story.mended["predictions"] == story.same["predictions"]
    assert (story.mended["reason"], story.mended["alert"], story.mended["refusal"]) == ("", "", "")
    assert (story.mended["rows"], story.mended["posted"]) == (story.changed["rows"], story.changed["posted"])
    assert story.mended["not_reproduced"] == []
