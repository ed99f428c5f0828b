"""Every kind of file of a home, deleted, cut, with one bit changed, or of an earlier time: named, never served as truth, brought back.

One damage of each kind is tried; ``LAB_TEST_DAMAGE=all`` tries all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab_assets.settings import Settings
from lab_assets_tests.damage.home import Template, answers_of, bring_back, looked_at, make_template

DAMAGES = ("deleted", "cut", "one bit", "earlier")
_OF_FOLDERS = ("deleted", "earlier")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file.

    Attributes:
        find: Its path in a home, given as a pattern; the last one by name is meant.
        named: Part of what names it: a check of doctor, or the object of a finding of the scrub.
        place: What is put back from the backup; default: the file itself. Empty: it comes back by itself, and nothing need name it.
        harmless: Damages that change no answer and need not be named.
        damages: Those there are of it.
    """

    find: str
    named: str = ""
    place: str | None = None
    harmless: tuple[str, ...] = ()
    damages: tuple[str, ...] = DAMAGES


def data(layer: str, table: str) -> Kind:
    return Kind(find=f"lake/{layer}/{table}/*.parquet", named=f"lake/{layer}/{table}")


KINDS: dict[str, Kind] = {
    "record of the home": Kind(find="home.json", named="identity"),
    "database": Kind(find="lab.db", named="database|audit"),
    "anchor of the audit trail": Kind(find="run/audit_anchor.jsonl", named="audit"),
    "key of pseudonyms": Kind(find="run/mask.key", named="keys"),
    "MLflow's database": Kind(find="mlflow/mlflow.db", named="models"),
    "trees of a model": Kind(find="mlflow/artifacts/**/bundle/model.txt", named="models"),
    "description of a model": Kind(find="mlflow/artifacts/**/bundle/bundle.json", named="models"),
    "original": Kind(find="raw/*/*", named="raw/"),
    "rows of bronze": data("bronze", "chromatograms"),
    "rows of arrivals": data("bronze", "files"),
    "rows of silver": data("silver", "lots"),
    "rows of gold": data("gold", "lot_disposition"),
    "rows of features": data("features", "storage_exposure"),
    "rows of ml": data("ml", "labels"),
    "rows of governance": data("governance", "access"),
    "last commit": Kind(find="lake/silver/lots/_delta_log/*[0-9].json", named="lake", place="lake/silver/lots"),
    "commit behind a checkpoint": Kind(find="lake/gold/lot_disposition/_delta_log/*1.json", named="lake|lake/gold", place="lake/gold/lot_disposition"),
    "first commit": Kind(find="lake/bronze/chromatograms/_delta_log/*0.json", named="lake|lake/bronze", place="lake/bronze/chromatograms"),
    "checkpoint": Kind(find="lake/silver/lots/_delta_log/*.checkpoint.parquet", named="lake", place="lake/silver/lots"),
    "pointer to the checkpoint": Kind(find="lake/ml/labels/_delta_log/_last_checkpoint", place="lake/ml/labels/_delta_log", harmless=DAMAGES),
    "a whole table": Kind(find="lake/silver/lots", named="lake", damages=_OF_FOLDERS),
    "the whole lake": Kind(find="lake", named="lake", damages=_OF_FOLDERS),
    "history of runs": Kind(find="dagster/storage/runs.db", named="runs|dagster", place="", harmless=("deleted", "earlier")),
    "copy of a model": Kind(find="run/models/*/model.txt", place="", harmless=DAMAGES),
}  # fmt: skip


def spoil(path: Path, damage: str, template: Template, home: Path) -> bool:
    """Damage a file or a folder; return whether there is such a damage of it."""
    if damage == "deleted":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return True
    earlier = template.older / path.relative_to(home)
    if path.is_dir():
        if damage != "earlier":
            return False
        shutil.rmtree(path)
        shutil.copytree(earlier, path)
        return True
    whole = path.read_bytes()
    path.chmod(0o600)
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "one bit":
        at = 2 * 4096 if path.suffix == ".db" else len(whole) // 2  # of a database: what says which kind a page is
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    else:
        before = earlier.read_bytes() if earlier.exists() else whole
        path.write_bytes(before if before != whole else _other_of_its_kind(path, whole))
    return path.read_bytes() != whole


def _other_of_its_kind(path: Path, whole: bytes) -> bytes:
    """Return the bytes of another file of the same kind; what is never written twice has no earlier state of its own."""
    others = [other for other in sorted(path.parent.parent.rglob(f"*{path.suffix}")) if other.is_file() and other.read_bytes() != whole]
    return others[0].read_bytes() if others else whole[::-1]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return make_template(tmp_path_factory.mktemp("damage"))


@pytest.fixture
def home(template: Template, tmp_path: Path) -> Settings:
    """A copy of the laboratory."""
    shutil.copytree(template.home, tmp_path / "lab")
    return Settings(home=tmp_path / "lab", stable_s=0)


def test_the_whole_home_is_whole(template: Template, home: Settings) -> None:
    assert looked_at(home) == {}
    assert answers_of(home, template.digest) == template.answers


CASES = [
    (kind, damage)
    for number, kind in enumerate(KINDS)
    for turn, damage in enumerate(KINDS[kind].damages)
    if os.environ.get("LAB_TEST_DAMAGE") == "all" or turn == number % len(KINDS[kind].damages)
]


@pytest.mark.parametrize(("name", "damage"), CASES)
def test_damage_is_named_never_served_and_mended(template: Template, home: Settings, name: str, damage: str) -> None:
    kind, answers = KINDS[name], lambda: answers_of(home, template.digest)
    if name == "copy of a model":
        answers()
    found = sorted(home.home.glob(kind.find))
    assert found, kind.find
    if not spoil(found[-1], damage, template, home.home):
        pytest.skip(f"{name} has no such damage")
    place = str(found[-1].relative_to(home.home)) if kind.place is None else kind.place

    named = looked_at(home)
    if damage not in kind.harmless:
        assert any(word in object_ for word in kind.named.split("|") for object_ in named), f"{kind.named} is not in {named}"
    assert _answer(answers) in ("refused", template.answers), "an answer of something damaged"

    if place:
        bring_back(home, template, place)
    elif name == "history of runs":
        shutil.rmtree(home.home / "dagster" / "storage")
    if place == "mlflow/mlflow.db":  # MLflow keeps its file open in a process; another one looks at what was put back
        home = Settings(home=shutil.copytree(home.home, home.home.with_name("again")), stable_s=0)
    assert looked_at(home) == {}
    assert answers_of(home, template.digest) == template.answers


def _answer(ask: Callable[[], object]) -> object:
    """Return what is answered, or that it is refused."""
    try:
        return ask()
    except Exception:  # noqa: BLE001 - any refusal is one
        return "refused"
