"""The same files, in any order and any batching, end in the same content of every table; and nothing known earlier changes by later facts.

``LAB_ORDERS=50 LAB_CORRECTIONS=200`` (``make orders``) tries as many; a run of the suite tries a few. ``LAB_ORDERS_SEED`` moves the seeds.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from lab_assets.contracts.all_contracts import contracts
from lab_assets_tests.orders.laboratory import (
    Correction,
    File,
    Home,
    batches,
    contents,
    copies,
    corrected_in_place,
    corrections,
    differences,
    model,
    simulated,
)

SEED = int(os.environ.get("LAB_ORDERS_SEED", "5"))
ORDERS = int(os.environ.get("LAB_ORDERS", "4"))
CORRECTIONS = int(os.environ.get("LAB_CORRECTIONS", "24"))
LOTS = 6


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[File]:
    return list(simulated(tmp_path_factory.mktemp("simulated") / "files", SEED, LOTS))


@pytest.fixture(scope="module")
def at_once(files: list[File], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the tables hold when everything arrives together."""
    home = Home(tmp_path_factory.mktemp("at_once") / "lab", model())
    home.take(_everything(files))
    held = contents(home.lake)
    assert held["ml.predictions"], "nothing was scored: the comparison would say nothing"
    assert {"pass", "fail"} <= {state for state in ("pass", "fail") if any(f"'{state}'" in row for row in held["silver.results"])}
    return held


def _everything(files: list[File]) -> list[File]:
    return [*files, *(correction.file for correction in corrections(files, SEED, 20))]


@pytest.mark.parametrize("order", range(ORDERS))
def test_any_order_and_batching_ends_in_the_same_content(
    order: int, files: list[File], at_once: dict[str, list[str]], tmp_path: Path
) -> None:
    """Late standards, pressures, worklists, samples, lots, results, certificates and corrections; with and without a wait for context."""
    rng = random.Random(SEED * 1000 + order)
    home = Home(tmp_path / "lab", model(), grace_s=900.0 if order % 2 else 0.0)
    for batch in batches(_everything(files), rng, rng.randint(2, 8)):
        home.take(batch)
    assert differences(at_once, contents(home.lake)) == {}


def test_a_rebuild_is_the_incremental_history(files: list[File], tmp_path: Path) -> None:
    """Every table made anew from its inputs equals what file after file made of it."""
    rng = random.Random(SEED)
    home = Home(tmp_path / "lab", model())
    for batch in batches(_everything(files), rng, 4):
        home.take(batch)
    incremental = contents(home.lake)
    home.stations(rebuild=True)
    assert differences(incremental, contents(home.lake)) == {}


def test_copies_that_come_later_change_nothing(files: list[File], at_once: dict[str, list[str]], tmp_path: Path) -> None:
    """Traces, worklists, results, certificates and corrections again under other names: every table but the log of arrivals is as before."""
    home = Home(tmp_path / "lab", model())
    home.take(_everything(files))
    home.take(copies(_everything(files), SEED, 30))
    assert set(differences(at_once, contents(home.lake))) == {"bronze.files"}


def test_corrections_count_whatever_the_copies_of_what_they_correct_are_called(files: list[File], tmp_path: Path) -> None:
    """Exports are corrected in place, with the times they stated; elsewhere, copies of them were read before, which counted then."""
    corrected = corrected_in_place(files, SEED, 3)
    former = [file for file in files if file.path in {each.path for each in corrected}]
    held: list[dict[str, list[str]]] = []
    for name, early in (("alone", []), ("copied", copies(former, SEED, len(former)))):
        home = Home(tmp_path / name, model())
        for batch in (early, files, corrected):
            home.take(batch)
        held.append({table: rows for table, rows in contents(home.lake).items() if not table.startswith("bronze.")})
    assert differences(*held) == {}


def test_hostile_orders(files: list[File], at_once: dict[str, list[str]], tmp_path: Path) -> None:
    """Corrections before what they correct, results before lots, samples and limits, traces last and one sequence backwards."""

    def rank(file: File) -> tuple[int, str]:
        kinds = (
            "correction",
            "results",
            "certificates",
            "calibrations",
            "hplc",
            "sequences",
            "samples",
            "lots",
            "specifications",
            "processing",
        )
        return next((place for place, kind in enumerate(kinds) if kind in file.path), len(kinds)), file.path

    ordered = sorted(_everything(files), key=rank)
    thirds = [ordered[: len(ordered) // 3], ordered[len(ordered) // 3 : 2 * len(ordered) // 3][::-1], ordered[2 * len(ordered) // 3 :]]
    home = Home(tmp_path / "lab", model())
    for batch in thirds:
        home.take(batch)
    assert differences(at_once, contents(home.lake)) == {}


Known = dict[str, dict[str, object]]


def _known(home: Home) -> Known:
    """Return the rows of every table that says when something was known, each with that time."""
    held: Known = {}
    for name, table in contracts().items():
        if name.startswith("features.") or name in {"ml.labels", "silver.results"}:
            columns = [column for column in table.column_names if column not in {"is_current", "superseded_by", "withdrawn_at_utc"}]
            place = columns.index("known_time_utc")
            held[name] = {repr(row): row[place] for row in home.lake.polars(table).select(columns).iter_rows()}
    return held


def test_late_corrections_change_no_row_known_earlier(files: list[File], tmp_path: Path) -> None:
    """Each correction adds rows with its own known time; not one row known before it goes, and none claims to have been known before."""
    home = Home(tmp_path / "lab")
    home.take(files)
    before = _known(home)
    added = 0
    for correction in corrections(files, SEED + 1, CORRECTIONS):
        home.take([correction.file])
        after = _known(home)
        for name in before:
            gone = [row for row in before[name] if row not in after[name]]
            assert gone == [], f"{correction.file.path} changed {name}"
            new = {row: known for row, known in after[name].items() if row not in before[name]}
            assert all(_is_from(correction, known) for known in new.values()), f"{correction.file.path}: {name} claims to have known it"
            added += len(new)
        before = after
    assert added > CORRECTIONS / 2, "hardly any correction reached a table"


def _is_from(correction: Correction, known: object) -> bool:
    return known is not None and known >= correction.recorded_at  # type: ignore[operator]
