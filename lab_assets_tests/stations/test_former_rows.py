"""Rows of former feature sets, which no program makes again: a restore keeps them, a rollback takes those that rest on the run, a loss is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from lab_assets.contracts.all_contracts import contract
from lab_assets.contracts.features import INJECTION_PROGRESS, LOT_HISTORY
from lab_assets.contracts.governance import LINEAGE
from lab_assets.features.definitions import FEATURE_SET_VERSION
from lab_assets.lake.data_files import local_path
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.maintenance import maintain
from lab_assets.stations.all_stations import STATIONS, stations
from lab_assets.stations.governance.lineage import update_lineage
from lab_assets.stations.restoring import rebuild, restore
from lab_assets.stations.rollback import RolledBack, rollback, rollback_plan, run_named
from lab_assets_tests.stations.small_laboratory import copied, made_in, opened, rows_of, run_stations

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAME = LOT_HISTORY.full_name
ALL = ("features.injection_progress", "features.instrument_history", "features.lot_history", "features.storage_exposure")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small laboratory whose files went through every station."""
    return made_in(tmp_path_factory.mktemp("former_rows") / "lab")


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Iterator[Lakehouse]:
    with opened(copied(made, tmp_path / "lab")) as lake:
        yield lake


def write_former(lake: Lakehouse, name: str = NAME, of: str = "fs-a", *, run_id: str = "former-0", **inputs: int) -> int:
    """Write today's rows once more as those of a former set, as the program of then did; return how many."""
    rows = today(lake, name).with_columns(feature_set_version=pl.lit(of))
    read = {given.replace("__", "."): version for given, version in inputs.items()}
    lake.append(contract(name), rows.to_arrow(), derivation=Derivation(inputs=read or {"silver.lots": 1}, run_id=run_id))
    return rows.height


def today(lake: Lakehouse, name: str = NAME) -> pl.DataFrame:
    return rows_of(lake, contract(name)).filter(pl.col("feature_set_version") == FEATURE_SET_VERSION)


def former(lake: Lakehouse, name: str = NAME) -> pl.DataFrame:
    return rows_of(lake, contract(name)).filter(pl.col("feature_set_version") != FEATURE_SET_VERSION)


def counts(lake: Lakehouse, name: str = NAME) -> dict[str, int]:
    """Rows by feature set, of former ones."""
    return dict(former(lake, name).group_by("feature_set_version").len().iter_rows())


def sets_read(lake: Lakehouse) -> set[str]:
    update_lineage(lake, STATIONS)
    of_it = (pl.col("output") == NAME) & (pl.col("output_version") == str(lake.version(LOT_HISTORY)))
    return set(lake.polars(LINEAGE).filter(of_it & pl.col("output_column").is_null())["input"])


@pytest.mark.parametrize("name", ALL)
def test_a_restore_sets_back_todays_set_and_keeps_all_others(lake: Lakehouse, name: str) -> None:
    """Back to the empty table: what no program makes again stands as it stood, and the next run makes today's rows again."""
    assert write_former(lake, name) > 0
    maintain(lake, contract(name))
    before, kept = today(lake, name), former(lake, name)
    restore(lake, contract(name), 0)
    assert today(lake, name).is_empty()
    assert former(lake, name).equals(kept)
    run_stations(lake)
    assert today(lake, name).equals(before)
    assert former(lake, name).equals(kept)


def test_a_restore_names_the_sets_that_stayed_in_its_lineage(lake: Lakehouse) -> None:
    write_former(lake)
    restore(lake, LOT_HISTORY, 0)
    assert sets_read(lake) == {NAME, "features:fs-a"}


def test_a_restore_brings_back_former_rows_that_were_lost_since(lake: Lakehouse) -> None:
    """As an earlier version of the product lost them; those that came later stay beside them."""
    count = write_former(lake)
    held, kept = lake.version(LOT_HISTORY), former(lake)
    lake.restore(LOT_HISTORY, 0)
    run_stations(lake, rebuild=True)
    assert counts(lake) == {}
    write_former(lake, of="fs-b")
    restore(lake, LOT_HISTORY, held)
    assert counts(lake) == {"fs-a": count, "fs-b": count}
    assert former(lake).filter(pl.col("feature_set_version") == "fs-a").equals(kept)


def test_of_a_former_row_of_either_version_the_one_of_now_stays(lake: Lakehouse) -> None:
    """Its set was still made in between: 1.0 became 2.0. Another set came later, so that the version does not hold all that stands."""
    column = next(name for name in LOT_HISTORY.column_names if LOT_HISTORY.column(name).kind == "float64")
    of_a = today(lake).with_columns(pl.lit("fs-a").alias("feature_set_version"), pl.lit(1.0).alias(column))
    stated = Derivation(inputs={"silver.lots": 1}, run_id="former-0")
    lake.append(LOT_HISTORY, of_a.to_arrow(), derivation=stated)
    held = lake.version(LOT_HISTORY)
    lake.replace_where(
        LOT_HISTORY, of_a.with_columns(pl.lit(2.0).alias(column)).to_arrow(), "`feature_set_version` = 'fs-a'", derivation=stated
    )
    write_former(lake, of="fs-b")
    restore(lake, LOT_HISTORY, held)
    assert set(former(lake).filter(pl.col("feature_set_version") == "fs-a")[column]) == {2.0}


def test_former_rows_of_another_program_do_not_stay(lake: Lakehouse) -> None:
    """Ours came after the version that is gone back to, and stay; then another program added some, and took ours away."""
    count, kept = write_former(lake), former(lake)
    ours, theirs = lake.version(LOT_HISTORY), today(lake).with_columns(feature_set_version=pl.lit("fs-x"))
    for mode in ("append", "overwrite"):
        write_deltalake(lake.uri(LOT_HISTORY), theirs.to_arrow().cast(LOT_HISTORY.arrow_schema()), mode=mode)  # type: ignore[call-overload]  # a literal there
    assert counts(lake) == {"fs-x": count}
    restore(lake, LOT_HISTORY, ours - 1)
    assert former(lake).equals(kept)


def test_columns_that_another_program_changed_keep_no_former_row_from_staying(lake: Lakehouse) -> None:
    write_former(lake)
    ours, kept = lake.version(LOT_HISTORY), former(lake)
    write_deltalake(lake.uri(LOT_HISTORY), pl.DataFrame({"lot_id": [1]}).to_arrow(), mode="overwrite", schema_mode="overwrite")
    restore(lake, LOT_HISTORY, ours - 1)
    assert former(lake).equals(kept)


def test_columns_that_the_contract_has_no_more_stay_filled_in_former_rows(lake: Lakehouse) -> None:
    """The feature of a former set was taken away since: 7.0 in each of its rows, before and after."""
    wider = today(lake).with_columns(feature_set_version=pl.lit("fs-a"), retired=pl.lit(7.0))
    described = CommitProperties(custom_metadata=Derivation(inputs={"silver.lots": 1}, run_id="former-0").metadata())
    write_deltalake(lake.uri(LOT_HISTORY), wider.to_arrow(), mode="append", schema_mode="merge", commit_properties=described)
    restore(lake, LOT_HISTORY, 0)
    held = pl.DataFrame(pl.from_arrow(DeltaTable(lake.uri(LOT_HISTORY)).to_pyarrow_table()))
    assert held["retired"].to_list() == [7.0] * wider.height


def taken_back(lake: Lakehouse) -> RolledBack:
    return rollback(lake, rollback_plan(run_named(lake, "faulty-1")), at_utc=NOW, run_id="back-9")


def test_a_run_that_is_taken_back_alone_takes_its_former_rows_with_it(lake: Lakehouse) -> None:
    """Its set was today's then: its facts do not count any more, so neither does what was made of them. Others of the set stay."""
    count = write_former(lake, of="fs-a")
    write_former(lake, of="fs-b", run_id="faulty-1")
    done = taken_back(lake)
    assert done.set_back.keys() == {NAME}
    assert (done.former_gone, counts(lake)) == ({NAME: count}, {"fs-a": count})


def test_former_rows_of_a_run_go_also_where_others_have_written_since(lake: Lakehouse) -> None:
    """The table is made anew at once; rows of sets that the run did not write stay, those of later runs as well."""
    count = write_former(lake, of="fs-a")
    write_former(lake, of="fs-b", run_id="faulty-1")
    write_former(lake, of="fs-c", run_id="later-2")
    before = today(lake)
    done = taken_back(lake)
    assert done.made_anew.keys() == {NAME}
    assert (done.former_gone, counts(lake)) == ({NAME: count}, {"fs-a": count, "fs-c": count})
    assert today(lake).equals(before)
    assert taken_back(lake).former_gone == {}


def test_former_rows_that_others_made_of_what_a_run_wrote_go_with_it(lake: Lakehouse) -> None:
    """The run doubled the peaks' areas; a later run made features of that, while their set was today's."""
    name, peaks = INJECTION_PROGRESS.full_name, contract("silver.peaks")
    count = write_former(lake, name, silver__peaks=lake.version(peaks))
    wrong = lake.polars(peaks).with_columns(pl.col("area") * 2)
    lake.replace(peaks, wrong.to_arrow(), derivation=Derivation(inputs={"bronze.chromatograms": 1}, run_id="faulty-1"))
    write_former(lake, name, "fs-b", run_id="later-2", silver__peaks=lake.version(peaks))
    done = taken_back(lake)
    assert name in done.followed
    assert (done.former_gone, counts(lake, name)) == ({name: count}, {"fs-a": count})


@pytest.mark.parametrize(("name", "words"), [(NAME, "rows of former feature sets that it held do not come back"), ("silver.lots", "")])
def test_a_rebuild_of_a_lost_table_says_that_former_sets_do_not_come_back(lake: Lakehouse, name: str, words: str) -> None:
    before = today(lake) if name == NAME else rows_of(lake, contract(name))
    if name == NAME:
        write_former(lake)
    shutil.rmtree(local_path(lake.uri(contract(name))))
    said: list[str] = []
    done = rebuild(lake, name, say=said.append)
    assert done.not_made_again.startswith(words)
    assert bool(done.not_made_again) == bool(words) == any("do not come back" in line for line in said)
    assert rows_of(lake, stations()[name].target).equals(before)
    assert rebuild(lake, name).not_made_again == ""
