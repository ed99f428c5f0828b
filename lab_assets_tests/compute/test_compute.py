"""The same function over the same rows, in this process and in Spark's workers: the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from lab_assets.compute.local import LocalCompute
from lab_assets.compute.parts import cut_files, cut_rows, to_ipc
from lab_assets.compute.placement import FEW, LITTLE_BYTES, PlacedCompute
from lab_assets.compute.protocol import Compute, FileRows, WorkError
from lab_assets.compute.session import SessionKeeper
from lab_assets.compute.spark import SparkCompute
from lab_assets.settings import Settings

TABLE = pa.schema(
    [
        ("name", pa.string()),
        ("batch", pa.int64()),
        ("at_utc", pa.timestamp("us", "UTC")),
        ("x", pa.list_(pa.float64())),
        ("rescued", pa.map_(pa.string(), pa.string())),
        ("added_later", pa.string()),
    ]
)
SEEN = pa.schema(
    [
        ("call", pa.string()),
        ("row_in_call", pa.int64()),
        ("name", pa.string()),
        ("kind", pa.string()),
        ("at_utc", pa.timestamp("us", "UTC")),
        ("points", pa.list_(pa.float64())),
        ("rescued", pa.map_(pa.string(), pa.string())),
        ("added_later", pa.string()),
    ]
)
COLUMNS = {"name": "name", "at_utc": "at_utc", "x": "points", "rescued": "rescued", "added_later": "added_later"}


def as_seen(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Return each row with its number in the call, and the names of all rows of the call."""
    rows = pa.Table.from_batches(list(batches)).to_pylist()
    call = ",".join(str(row["name"]) for row in rows)
    yield pa.RecordBatch.from_pylist([{"call": call, "row_in_call": at, **row} for at, row in enumerate(rows)], schema=SEEN)


def doubled(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Return each number twice as large; odd ones are left out."""
    for batch in batches:
        numbers = batch["n"].to_numpy()
        yield pa.record_batch({"n": pa.array(numbers[numbers % 2 == 0] * 2)})


def rows_of(start: int, count: int, *, old: bool = False) -> pa.Table:
    """Rows number ``start`` to ``start + count``; every fifth name comes again, the second row's name is null."""
    at = range(start, start + count)
    rows = pa.table(
        {
            "name": pa.array([None if n == 1 else f"inj {n % 5}" for n in at], pa.string()),
            "batch": pa.array([n // 10 for n in at], pa.int64()),
            "at_utc": pa.array([1_700_000_000_000_000 + n for n in at], pa.timestamp("us", "UTC")),
            "x": pa.array([np.arange(n % 7) / 3 for n in at], pa.list_(pa.float64())),
            "rescued": pa.array([[("k", str(n))] for n in at], pa.map_(pa.string(), pa.string())),
            "added_later": pa.array([f"v{n}" for n in at], pa.string()),
        },
        schema=TABLE,
    )
    return rows.drop_columns(["added_later"]) if old else rows


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Three files of 10, 10 and 700 rows: the first older than a column, the last with several row groups."""
    for number, rows in enumerate((rows_of(0, 10, old=True), rows_of(10, 10), rows_of(20, 700))):
        pq.write_table(rows, tmp_path / f"part {number}.parquet", row_group_size=300)
    return [str(tmp_path / f"part {number}.parquet") for number in range(3)]


def entry(files: list[str], **where: list[object]) -> FileRows:
    return FileRows(files=files, schema=TABLE, columns=COLUMNS, where=where, constants={"kind": "first"})


@pytest.fixture
def local() -> Compute:
    return LocalCompute()


def test_rows_of_a_table_are_cut_into_tasks_and_come_back_in_order(local: Compute) -> None:
    rows = pa.table({"n": np.arange(11)})
    assert [part.n_rows for part in cut_rows(rows, 3)] == [3, 4, 4]
    made = local.map_rows(doubled, rows, pa.schema([("n", pa.int64())]), tasks=3)
    assert made["n"].to_pylist() == [0, 4, 8, 12, 16, 20]


def test_no_rows_call_nothing_and_give_an_empty_table(local: Compute, files: list[str]) -> None:
    empty = pa.table({"n": pa.array([], pa.int64())})
    assert local.map_rows(doubled, empty, empty.schema).num_rows == 0
    assert local.map_files(as_seen, [entry(files, name=["nobody"])], SEEN, group_by="name").schema == SEEN


def test_wanted_rows_are_read_from_files_in_their_order(local: Compute, files: list[str]) -> None:
    """Rows of batches 0 and 2 named inj 3, rows 3 and 8, 23 and 28: the first two lie in a file older than a column."""
    made = local.map_files(as_seen, [entry(files, name=["inj 3"], batch=[0, 2])], SEEN).to_pylist()
    assert [row["rescued"] for row in made] == [[("k", str(n))] for n in (3, 8, 23, 28)]
    assert [row["added_later"] for row in made] == [None, None, "v23", "v28"]
    assert [len(row["points"]) for row in made] == [3, 1, 2, 0]
    assert {row["kind"] for row in made} == {"first"}


def test_files_that_a_delete_wrote_anew_are_read_like_others(local: Compute, tmp_path: Path) -> None:
    """Delta writes what it kept with strings of another Arrow type; without row 25, those of batch 2 are read with the table's types."""
    write_deltalake(tmp_path / "table", rows_of(0, 100))
    table = DeltaTable(tmp_path / "table")
    table.delete("added_later = 'v25'")
    made = local.map_files(as_seen, [entry(table.file_uris(), batch=[2])], SEEN, group_by="name")
    assert sorted(made["added_later"].to_pylist()) == [f"v{n}" for n in range(20, 30) if n != 25]


def test_a_null_is_wanted_where_it_is_asked_for(local: Compute, files: list[str]) -> None:
    assert local.map_files(as_seen, [entry(files, name=[None])], SEEN)["rescued"].to_pylist() == [[("k", "1")]]
    assert None not in local.map_files(as_seen, [entry(files, name=["inj 1"])], SEEN)["name"].to_pylist()


def test_rows_of_a_group_meet_in_one_call_whatever_file_they_lie_in(local: Compute, files: list[str]) -> None:
    """720 rows of six names, one of them null; the rows of a second entry come behind the first's."""
    both = [entry(files), FileRows(files=files[:1], schema=TABLE, columns=COLUMNS, constants={"kind": "second"})]
    made = local.map_files(as_seen, both, SEEN, tasks=4, group_by="name")
    calls = list(dict.fromkeys(made["call"].to_pylist()))
    assert [set(call.split(",")) for call in calls] == [{"inj 0"}, {"None"}, {"inj 2"}, {"inj 3"}, {"inj 4"}, {"inj 1"}]
    last = made.filter(pa.array([name == "inj 1" for name in made["name"].to_pylist()]))
    assert last["kind"].to_pylist() == ["first"] * 143 + ["second"]
    assert last["at_utc"].to_pylist()[:143] == sorted(last["at_utc"].to_pylist()[:143])


def test_tasks_change_no_group(local: Compute, files: list[str]) -> None:
    once, often = (local.map_files(as_seen, [entry(files)], SEEN, tasks=tasks, group_by="name") for tasks in (1, 6))
    assert once.equals(often)


def test_another_schema_than_was_asked_for_is_refused(local: Compute) -> None:
    with pytest.raises(TypeError, match="n: int64"):
        local.map_rows(doubled, pa.table({"n": np.arange(3)}), pa.schema([("n", pa.string())]))


def test_a_file_that_is_gone_is_named(local: Compute, files: list[str]) -> None:
    Path(files[1]).unlink()
    with pytest.raises(FileNotFoundError, match=r"part 1\.parquet"):
        local.map_files(as_seen, [entry(files)], SEEN)


def test_a_file_that_shrank_after_the_work_was_cut_is_no_smaller_answer(files: list[str]) -> None:
    from lab_assets.compute.parts import run_part

    (part,) = cut_files([entry(files)], 1, None)
    pq.write_table(rows_of(20, 100), files[2])
    with pytest.raises(ValueError, match="fewer than when the work was cut"):
        list(run_part(as_seen, part.payload, SEEN))


def test_small_work_never_asks_for_a_session(settings: Settings, files: list[str]) -> None:
    class NoServer(SessionKeeper):
        @property
        def session(self) -> object:  # pyright: ignore[reportIncompatibleMethodOverride]
            raise AssertionError("Spark was asked")

    placed = PlacedCompute(NoServer(settings))
    assert placed.map_files(as_seen, [entry(files, batch=[0])], SEEN).num_rows == 10
    assert (placed.choose(FEW), placed.choose(1, LITTLE_BYTES)) == (placed.local, placed.local)
    assert (placed.choose(FEW + 1), placed.choose(1, LITTLE_BYTES + 1)) == (placed.spark, placed.spark)
    with pytest.raises(AssertionError, match="Spark was asked"):
        placed.map_files(as_seen, [entry(files)], SEEN)


def test_this_machine_begins_while_spark_is_starting(settings: Settings) -> None:
    """Much work waits for a server that is being started only where it is large."""
    started = Event()

    class SlowServer(SessionKeeper):
        @property
        def session(self) -> object:  # pyright: ignore[reportIncompatibleMethodOverride]
            return started.wait(60)

    keeper = SlowServer(settings)
    placed = PlacedCompute(keeper)
    assert placed.choose_at_once(FEW + 1, 1) is placed.spark
    keeper.open_early()
    assert placed.choose_at_once(FEW + 1, LITTLE_BYTES) is placed.local
    assert (placed.choose_at_once(FEW + 1, LITTLE_BYTES + 1), placed.choose(FEW + 1)) == (placed.spark, placed.spark)
    started.set()
    assert keeper._early is not None
    keeper._early.join(60)
    assert placed.choose_at_once(FEW + 1, 1) is placed.spark


@pytest.mark.spark
def test_spark_gives_the_same_bytes_as_this_process(local: Compute, keeper: SessionKeeper, files: list[str]) -> None:
    """Rows, files, and groups across files, in one task and in five."""
    spark = SparkCompute(keeper)
    numbers, kept = pa.table({"n": np.arange(2_000_000)}), pa.schema([("n", pa.int64())])  # 16 MB: more than one cell
    both = [entry(files, batch=[*range(60)]), FileRows(files=files[:1], schema=TABLE, columns=COLUMNS, constants={"kind": "second"})]
    for tasks in (1, 5):
        for ours, theirs in (
            (compute.map_rows(doubled, numbers, kept, tasks=tasks) for compute in (local, spark)),
            (compute.map_files(as_seen, both, SEEN, tasks=tasks) for compute in (local, spark)),
            (compute.map_files(as_seen, both, SEEN, tasks=tasks, group_by="name") for compute in (local, spark)),
        ):
            assert ours.num_rows > 0
            assert to_ipc(ours.combine_chunks()) == to_ipc(theirs.combine_chunks())


@pytest.mark.spark
def test_a_fault_of_the_function_is_no_lost_server(keeper: SessionKeeper) -> None:
    with pytest.raises(WorkError, match="where this was asked for"):
        SparkCompute(keeper).map_rows(doubled, pa.table({"n": np.arange(3)}), pa.schema([("n", pa.string())]))
