"""Groups put in the place of those that stand: named where they are few, by writing the table where they are many; the outcome is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations import writing
from lab_assets.stations.all_stations import stations
from lab_assets.stations.station import Station
from lab_assets.stations.writing import MOST_NAMED, replace_groups
from lab_assets_tests.stations.small_laboratory import opened, rows_of

TRENDS = stations()["gold.method_trends"]
CONDITIONS = stations()["silver.storage_conditions"]
RESULTS = stations()["silver.results"]
PROGRESS = stations()["features.injection_progress"]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lakehouse]:
    with opened(tmp_path / "lab") as lake:
        yield lake


def rows_for(station: Station, **columns: Sequence[object]) -> pl.DataFrame:
    """Return rows of a station's table with some columns; the others are empty, as far as the engine minds."""
    schema = dict(pl.DataFrame(pl.from_arrow(station.target.arrow_schema().empty_table())).schema)
    count = len(next(iter(columns.values())))
    filled = {name: columns.get(name, [_anything(kind)] * count) for name, kind in schema.items()}
    return pl.DataFrame(filled, schema=schema)


def _anything(kind: pl.DataType) -> object:
    samples: dict[type, object] = {pl.String: "x", pl.Int64: 1, pl.Float64: 0.5, pl.Boolean: True, pl.List: [], pl.Date: date(2025, 1, 1)}
    return samples.get(type(kind))


def test_thirty_thousand_groups_at_once(lake: Lakehouse) -> None:
    """A condition with so many names ended the process. 40,000 points stand; 30,000 get another value, one goes, the others stay."""
    names = [f"res_{number:06d}" for number in range(40_000)]
    standing = rows_for(TRENDS, result_id=names, value=[1.0] * len(names))
    lake.append(TRENDS.target, standing.to_arrow())
    groups = standing[:30_000].select("result_id")
    replace_groups(lake, TRENDS, standing[1:30_000].with_columns(value=pl.lit(2.0)), groups, Derivation(inputs={}))
    held = rows_of(lake, TRENDS.target)
    assert held["result_id"].to_list() == names[1:]
    assert held["value"].to_list() == [2.0] * 29_999 + [1.0] * 10_000
    assert lake.version(TRENDS.target) == 2, "one commit makes the table, one appends, one replaces"


def few(station: Station) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return rows that stand, keys of the groups to replace, and what they have from then on."""
    days = [date(2025, 1, 1) + timedelta(days=n % 3) for n in range(6)]
    standing = {
        TRENDS.name: rows_for(TRENDS, result_id=[f"r'{n}" for n in range(6)]),
        CONDITIONS.name: rows_for(CONDITIONS, chamber_id=[f"c{n // 3}" for n in range(6)], day=days),
        RESULTS.name: rows_for(RESULTS, injection_id=["i0", "i0", "i1", None, None, None], result_id=["a", "b", "c", "d", "e", "i0"]),
        PROGRESS.name: rows_for(
            PROGRESS,
            injection_id=[f"i{n // 2}" for n in range(6)],
            injection_name=[f"n{n // 2}" for n in range(6)],
            feature_set_version=[(PROGRESS.within or ("", ""))[1] if n % 2 else "fs0-former" for n in range(6)],
        ),
    }[station.name]
    groups = station.group.of(standing)[1:3]
    theirs = writing.rows_of(station, standing, groups)
    own = theirs if station.within is None else theirs.filter(pl.col(station.within[0]) == station.within[1])
    return standing, groups, own[1:]


@pytest.mark.parametrize("most", [MOST_NAMED, 0], ids=["few", "many"])
def test_former_rows_keep_columns_that_the_contract_has_no_more(lake: Lakehouse, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows of a former set have 7.0 in the column of a feature that was taken away since; today's rows have none."""
    standing, groups, rows = few(PROGRESS)
    lake.version(PROGRESS.target)
    wider = standing.with_columns(retired=pl.when(pl.col("feature_set_version") == "fs0-former").then(7.0))
    write_deltalake(lake.uri(PROGRESS.target), wider.to_arrow(), mode="append", schema_mode="merge")
    monkeypatch.setattr(writing, "MOST_NAMED", most)
    replace_groups(lake, PROGRESS, rows, groups, Derivation(inputs={}))
    held = pl.DataFrame(pl.from_arrow(DeltaTable(lake.uri(PROGRESS.target)).to_pyarrow_table()))
    assert held.filter(pl.col("feature_set_version") == "fs0-former")["retired"].to_list() == [7.0, 7.0, 7.0]
    assert held.height < standing.height


@pytest.mark.parametrize("station", [TRENDS, CONDITIONS, RESULTS, PROGRESS], ids=lambda station: station.name)
def test_few_and_many_groups_end_in_the_same_rows(station: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with quotes in names, two columns, a key that is either of two, and rows of a former feature set that stay."""
    standing, groups, rows = few(station)
    held: list[list[str]] = []
    for most in (MOST_NAMED, 0):
        monkeypatch.setattr(writing, "MOST_NAMED", most)
        with opened(tmp_path / str(most)) as lake:
            lake.append(station.target, standing.to_arrow())
            replace_groups(lake, station, rows, groups, Derivation(inputs={}))
            held.append(sorted(map(repr, lake.polars(station.target).rows())))
    named, written = held
    assert named == written
    assert 0 < len(named) < standing.height
