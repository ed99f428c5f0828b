"""What news made step by step is what a rebuild makes: files in random order and batches, some late, corrected or repeated."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from lab_assets.contracts.features import INJECTION_PROGRESS, LOT_HISTORY
from lab_assets.contracts.silver import PEAKS, RESULTS
from lab_assets.ingest.ingestor import Ingestor
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.state.station_work import EVERYTHING
from lab_assets.stations.all_stations import STATIONS, stations
from lab_assets.stations.runner import difference, mark_anew, update
from lab_assets.stations.station import Station
from lab_assets_tests.stations.small_laboratory import opened, rows_of, run_stations, take, write_files

BATCHES = 4


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("files") / "inbox")


def corrected(files: Path, to: Path) -> list[Path]:
    """Write files that correct what others said: a weight, windows of a method, a result; and one that repeats another."""
    (to / "lims").mkdir(parents=True)
    for name, old, new in (("sequences", "20.", "21."), ("results", ",3.1,", ",3.3,")):
        rows = _recorded_again(files / "lims" / f"{name}_2025-01.csv", old, new)
        (to / "lims" / f"{name}_2025-02.csv").write_text(rows)
    text = (files / "lims" / "processing_methods.csv").read_text()
    (to / "lims" / "processing_methods.csv").write_text(text.replace("ASSAY-01,API,,detected,3.8,4.75", "ASSAY-01,API,,detected,3.7,4.8"))
    shutil.copy(files / "lims" / "lots_2025-01.csv", to / "lims" / "lots again.csv")
    return [path.relative_to(to) for path in sorted(to.rglob("*.csv"))]


def _recorded_again(path: Path, old: str, new: str) -> str:
    """Return every third row of an export with another value and a later record."""
    header, *rows = path.read_text().splitlines()
    changed = [row.replace(old, new, 1).rsplit(",", 1)[0] + ",2025-02-03T08:00:00Z" for row in rows[::3]]
    return "\n".join([header, *changed]) + "\n"


@pytest.mark.parametrize("seed", range(3))
def test_every_station_rebuilt_gives_the_rows_it_had_step_by_step(files: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    first = [path.relative_to(files) for path in sorted(files.rglob("*")) if path.is_file()]
    later = corrected(files, tmp_path / "corrected")
    chance.shuffle(first)
    batches = [[(files, name) for name in first[number::BATCHES]] for number in range(BATCHES)]
    for name in later:
        batches[chance.randint(1, BATCHES - 1)].append((tmp_path / "corrected", name))
    with opened(tmp_path / "lab") as lake:
        for batch in batches:
            for folder, name in batch:
                target = lake.settings.inbox / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, target)
            take(lake)
        assert lake.polars(RESULTS)["result_version"].max() > 1, "a corrected value adds a version"
        assert lake.polars(PEAKS)["processing_id"].n_unique() > 1, "revised windows add peaks"
        before = {station.name: rows_of(lake, station.target) for station in STATIONS}
        outcomes = run_stations(lake, rebuild=True)
        assert {name: outcome.changed for name, outcome in outcomes.items() if outcome.changed} == {}
        for station in STATIONS:
            assert rows_of(lake, station.target).equals(before[station.name], null_equal=True)


@pytest.fixture(scope="module")
def lake(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    home = tmp_path_factory.mktemp("rebuilt") / "lab"
    shutil.copytree(files, home / "inbox")
    with opened(home) as lake:
        Ingestor(lake).run()
        run_stations(lake)
        yield lake


@pytest.mark.parametrize("station", STATIONS, ids=lambda station: station.name)
def test_rows_lost_or_changed_behind_a_stations_back_come_back_when_asked(lake: Lakehouse, station: Station) -> None:
    """As after a restore: half of the rows gone. Without being asked a station sees no news and leaves them; asked, it makes them anew."""
    whole = rows_of(lake, station.target)
    assert whole.height > 0
    key = station.target.primary_key[0]
    some = whole[key].unique().sort()[: max(1, whole[key].n_unique() // 2)]
    lost = whole.filter(pl.col(key).is_in(some.implode()))
    listed = ", ".join(f"'{value}'" for value in some.to_list())
    lake.replace_where(station.target, lost.clear().to_arrow(), f"`{key}` IN ({listed})")
    assert lake.row_count(station.target) == whole.height - lost.height
    assert update(lake, station).anew == ""
    mark_anew(lake, [station.name], "set back")
    assert lake.ledger.attention(station.name) == [(EVERYTHING, "")]
    outcome = update(lake, station)
    assert (outcome.anew != "", outcome.changed > 0) == (True, True)
    assert rows_of(lake, station.target).equals(whole, null_equal=True)
    assert lake.ledger.attention(station.name) == []


@pytest.mark.parametrize("station", STATIONS, ids=lambda station: station.name)
def test_rows_that_another_program_wrote_a_second_time_are_taken_away(lake: Lakehouse, station: Station) -> None:
    """As after an append that was repeated, by plain ``deltalake``: every third row stands twice. The rebuild leaves each once."""
    whole = rows_of(lake, station.target)
    twice = whole.gather_every(3)
    write_deltalake(lake.uri(station.target), twice.to_arrow().cast(station.target.arrow_schema()), mode="append")
    assert lake.row_count(station.target) == whole.height + twice.height
    outcome = update(lake, station, rebuild=True)
    assert outcome.changed == station.group.of(twice).height
    assert rows_of(lake, station.target).equals(whole, null_equal=True)
    assert update(lake, station, rebuild=True).changed == 0


Numbered = list[tuple[str, int, str | None]]


def differing(made: Numbered, standing: Numbered, *, keyed: bool = True) -> tuple[list[str], bool]:
    """The groups that differ, of rows of group, number and note; and whether any of them has rows."""
    names = {"sequence_id": pl.String, "number": pl.Int64, "note": pl.String}
    station = stations()["gold.suitability"]
    without_key = replace(station, target=replace(station.target, primary_key=()))
    frames = [pl.DataFrame(rows, schema=names, orient="row") for rows in (made, standing)]
    changed, replaced = difference(station if keyed else without_key, *frames)
    return changed["sequence_id"].to_list(), replaced


def test_rows_are_compared_with_their_number() -> None:
    """Of A one row stands twice; of B one row is missing and another twice, so that the numbers of rows agree; C is right; D is new."""
    made = [("A", 1, None), ("A", 2, "x"), ("B", 1, "x"), ("B", 2, None), ("C", 1, None)]
    assert differing(made, made) == ([], False)
    assert differing(made, [*made, ("A", 1, None)]) == (["A"], True)
    assert differing(made, [made[0], made[1], made[2], made[2], made[4]]) == (["B"], True)
    assert differing([*made, ("D", 1, None)], [made[0], *made]) == (["A", "D"], True)
    assert differing([*made, ("D", 1, None)], made) == (["D"], False)


def test_a_table_without_a_key_may_have_a_row_several_times() -> None:
    """A was made twice and stands once, B the other way round: as many rows on either side, the same rows, and both differ."""
    made = [("A", 1, None), ("A", 1, None), ("B", 1, None)]
    assert differing(made, made, keyed=False) == ([], False)
    assert differing(made, [("A", 1, None), ("B", 1, None), ("B", 1, None)], keyed=False) == (["A", "B"], True)


def test_the_small_laboratory_fills_every_table(lake: Lakehouse) -> None:
    assert [station.name for station in STATIONS if lake.row_count(station.target) == 0] == []
    assert lake.polars(INJECTION_PROGRESS)["checkpoint_pct"].n_unique() == 4
    assert lake.polars(LOT_HISTORY)["lot_id"].n_unique() == 2
