"""Cases 23 and 24: several processes at one table: no acknowledged commit is lost or doubled, and readers see one version."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyspark.errors import PySparkException

from lab_assets.lake import commits as arrow_commits
from lab_assets.lake.lakehouse import CommitLostError, Lakehouse
from lab_assets.settings import PROJECT_ROOT
from lab_assets_tests.faults.laboratory import environment_of, go, reply_of
from lab_assets_tests.faults.table_programs import NUMBERS, numbers

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(lakehouse: Lakehouse) -> Iterator[Start]:
    """Start programs of ``table_programs.py``; those that still run at the end are killed."""
    children: list[subprocess.Popen[str]] = []

    def started(*arguments: str) -> subprocess.Popen[str]:
        command, pipe = [sys.executable, "-m", "lab_assets_tests.faults.table_programs", *arguments], subprocess.PIPE
        env = environment_of(lakehouse.settings)
        children.append(subprocess.Popen(command, env=env, cwd=PROJECT_ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe))
        return children[-1]

    yield started
    for child in children:
        with child:
            child.kill()


def rest(child: subprocess.Popen[str]) -> list[Any]:
    """Let a child end; return what it told since it was last listened to."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdin.close()
    lines = [json.loads(line) for line in child.stdout]
    assert child.wait(timeout=60) == 0, child.stderr.read()[-2000:]
    return lines


def held(lake: Lakehouse) -> dict[str, list[int]]:
    """The numbers that the table holds, by writer."""
    frame = lake.polars(NUMBERS).group_by("writer").agg(pl.col("number").sort())
    return {str(writer): list(values) for writer, values in frame.rows()}


def test_two_processes_lose_and_double_no_commit(lakehouse: Lakehouse, start: Start) -> None:
    """Case 23: 2 writers of 20 rows or a few more, each in a commit of its own: every version given once, each row once."""
    lakehouse.open(NUMBERS)
    writers = {name: start("write", name) for name in ("a", "b")}
    go(*writers.values())
    acknowledged = {name: rest(child) for name, child in writers.items()}
    assert held(lakehouse) == {name: [number for number, _ in acks] for name, acks in acknowledged.items()}
    assert all([number for number, _ in acks] == list(range(1, len(acks) + 1)) and len(acks) >= 20 for acks in acknowledged.values())
    versions = sorted(version for acks in acknowledged.values() for _, version in acks)
    assert versions == list(range(1, len(versions) + 1))


def test_a_commit_of_another_engine_costs_none_of_ours(spark_lakehouse: Lakehouse, start: Start) -> None:
    """Case 23: Spark commits to the table without our lock, as another program may.

    Two processes append all the while; each row of theirs that was acknowledged, and each row of Spark's, is there once.
    """
    spark_lakehouse.open(NUMBERS)
    writers = {name: start("write", name) for name in ("a", "b")}
    go(*writers.values())
    acknowledged = {name: [reply_of(child)] for name, child in writers.items()}
    for number in (1, 2):
        rows = spark_lakehouse.keeper.session.createDataFrame([("spark", number)], "writer string, number long")
        rows.write.format("delta").mode("append").save(spark_lakehouse.uri(NUMBERS))
    for name, child in writers.items():
        acknowledged[name] += rest(child)
    expected = {name: [number for number, _ in acks] for name, acks in acknowledged.items()}
    assert held(spark_lakehouse) == {**expected, "spark": [1, 2]}
    by_spark = [entry["version"] for entry in spark_lakehouse.history(NUMBERS) if str(entry.get("engineInfo")).startswith("Apache-Spark")]
    versions = [version for acks in acknowledged.values() for _, version in acks]
    assert len(by_spark) == 2
    assert min(versions) < min(by_spark)


def test_a_restore_waits_for_its_turn(lakehouse: Lakehouse, start: Start) -> None:
    """Case 23: RESTORE among appends: what came before it and is not in the restored version is gone, all that came after is there."""
    lakehouse.open(NUMBERS)
    writer = start("write", "a")
    go(writer)
    acknowledged = [reply_of(writer) for _ in range(3)]
    restored = lakehouse.restore(NUMBERS, 1)
    acknowledged += rest(writer)
    assert held(lakehouse) == {"a": [number for number, version in acknowledged if version == 1 or version > restored]}
    assert restored not in {version for _, version in acknowledged}


def test_a_commit_that_another_writer_put_its_own_over_is_missed_at_once(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 23: a writer that looks first and renames then, without our lock, may put its commit over ours: we do not report ours."""
    lakehouse.append(NUMBERS, numbers(lakehouse, "a", 1))
    append = arrow_commits.append

    def overtaken(table: DeltaTable, *arguments: Any, **options: Any) -> str:
        commit = append(table, *arguments, **options)
        log = Path(lakehouse.uri(NUMBERS)) / "_delta_log"
        *_, ours = sorted(log.glob("*.json"))
        shutil.copyfile(log / f"{1:020d}.json", log / "theirs.tmp")
        (log / "theirs.tmp").replace(ours)
        return commit

    monkeypatch.setattr(arrow_commits, "append", overtaken)
    for write in (
        lambda: lakehouse.append(NUMBERS, numbers(lakehouse, "a", 2)),
        lambda: lakehouse.append_once(NUMBERS, numbers(lakehouse, "a", 3), app="a", version=3),
    ):
        with pytest.raises(CommitLostError, match=r"silver\.numbers_of_test: a commit was reported, but the log .* does not hold it"):
            write()


def test_files_of_earlier_versions_cannot_be_vacuumed(spark_lakehouse: Lakehouse) -> None:
    """Case 24: version 1 has the row that version 2 replaced; its file stays as long as maintenance may not have archived it."""
    spark_lakehouse.append(NUMBERS, numbers(spark_lakehouse, "a", 1))
    spark_lakehouse.replace(NUMBERS, numbers(spark_lakehouse, "a", 2))
    with pytest.raises(DeltaError, match="minimum retention for vacuum is configured to be greater than 168 hours"):
        spark_lakehouse.open(NUMBERS).vacuum(retention_hours=24, dry_run=False)
    with pytest.raises(PySparkException, match="DELTA_VACUUM_RETENTION_PERIOD_TOO_SHORT"):
        spark_lakehouse.keeper.session.sql(f"VACUUM delta.`{spark_lakehouse.uri(NUMBERS)}` RETAIN 0 HOURS").collect()
    assert spark_lakehouse.open(NUMBERS).vacuum(dry_run=False) == []
    assert [spark_lakehouse.polars(NUMBERS, version=version)["number"].to_list() for version in (1, 2)] == [[1], [2]]


def test_compaction_disturbs_no_reader(lakehouse: Lakehouse, start: Start) -> None:
    """Case 24: ten rows a commit, compacted after each of three while another process reads: it sees whole commits and nothing else.

    Every version has ten rows more than the append before it, and who asks what is new is given each row once.
    """
    news: list[int] = []
    since = 0

    def append(batch: int) -> None:
        lakehouse.append(NUMBERS, numbers(lakehouse, "a", *range(10 * batch, 10 * batch + 10)))

    def ask() -> None:
        nonlocal since
        until = lakehouse.version(NUMBERS)
        changes = lakehouse.changes(NUMBERS, NUMBERS.column_names, since=since, until=until)
        assert changes.removed.is_empty()
        news.extend(changes.added["number"])
        since = until

    for batch in range(1, 9):
        append(batch)
    ask()
    reader = start("read", "5")
    go(reader)
    assert lakehouse.compact(NUMBERS) == 9
    assert lakehouse.compact(NUMBERS) == 9
    for batch, version in ((9, 11), (10, 13)):
        append(batch)
        assert lakehouse.compact(NUMBERS) == version
    (seen,) = rest(reader)
    assert seen["pinned"] == [50]
    assert set(seen["latest"]) <= {80, 90, 100}
    assert [lakehouse.polars(NUMBERS, version=version).height for version in range(14)] == [*range(0, 81, 10), 80, 90, 90, 100, 100]
    assert len(lakehouse.open(NUMBERS).file_uris()) == 1
    ask()
    assert sorted(news) == list(range(10, 110))
