"""What changed between versions: whatever was committed in between, the same as comparing the two versions row by row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lab_assets.contracts.core import Column, TableContract
from lab_assets.lake.changes import changed_files, difference
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets_tests.no_spark import NoSparkKeeper

WEIGHTS = TableContract(
    layer="silver",
    name="weights_of_test",
    grain="one weighing",
    description="A small table.",
    owner="team:test",
    columns=(
        Column(name="sample", kind="string", meaning="sample", nullable=False),
        Column(name="weight", kind="int64", meaning="weight"),
    ),
)
SAMPLES = ("a", "b", "c")

rows = st.lists(st.tuples(st.sampled_from(SAMPLES), st.integers(0, 2) | st.none()), max_size=4)
steps = st.one_of(
    st.tuples(st.just("append"), rows),
    st.tuples(st.just("replace"), st.sampled_from(SAMPLES), st.lists(st.integers(0, 2), max_size=3)),
    st.tuples(st.just("delete"), st.sampled_from(SAMPLES), st.integers(0, 2)),
    st.tuples(st.just("compact")),
    st.tuples(st.just("compact_small")),
    st.tuples(st.just("restore"), st.integers(0, 20)),
)


def table(lake: Lakehouse, weighings: list[tuple[str, int | None]]) -> Any:
    return lake.local_rows(WEIGHTS, [{"sample": sample, "weight": weight} for sample, weight in weighings])


def perform(lake: Lakehouse, step: tuple[Any, ...]) -> None:
    match step:
        case ("append", weighings):
            lake.append(WEIGHTS, table(lake, weighings))
        case ("replace", sample, weights):
            lake.replace_where(WEIGHTS, table(lake, [(sample, weight) for weight in weights]), f"sample = '{sample}'")
        case ("delete", sample, weight):
            lake.delete(WEIGHTS, f"sample = '{sample}' AND weight = {weight}")
        case ("compact",):
            lake.compact(WEIGHTS)
        case ("compact_small",):
            lake.compact(WEIGHTS, target_bytes=1_000)
        case ("restore", version):
            last = lake.version(WEIGHTS)
            if last:
                lake.restore(WEIGHTS, version % last)
        case _:
            raise AssertionError(step)


def counted(frame: pl.DataFrame) -> Counter[tuple[Any, ...]]:
    return Counter(frame.rows())


@hypothesis_settings(max_examples=20)
@given(history=st.lists(steps, min_size=2, max_size=9))
def test_changes_are_the_difference_of_the_versions(history: list[tuple[Any, ...]]) -> None:
    """Random appends, replacements, deletions, compactions of all or of the smallest files, restores; every pair of versions, both ways round."""
    with TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), stable_s=0)
        lake = Lakehouse(settings, NoSparkKeeper(settings, "changes"), Ledger(open_database(settings)))
        for step in history:
            perform(lake, step)
        last = lake.version(WEIGHTS)
        versions = [counted(lake.polars(WEIGHTS, version=version)) for version in range(last + 1)]
        for since in range(last + 1):
            for until in range(last + 1):
                changes = lake.changes(WEIGHTS, WEIGHTS.column_names, since=since, until=until)
                assert counted(changes.added) == versions[until] - versions[since], (since, until)
                assert counted(changes.removed) == versions[since] - versions[until], (since, until)


def test_a_compaction_alone_is_not_read(lakehouse: Lakehouse) -> None:
    """Ten files become one: news names none of them, so that nobody reads a table because it was put in order."""
    for number in range(10):
        lakehouse.append(WEIGHTS, table(lakehouse, [("a", number)]))
    assert lakehouse.compact(WEIGHTS) == 11
    assert changed_files(lakehouse.uri(WEIGHTS), 10, 11) == ([], [])


def test_a_row_taken_out_of_a_compacted_file_is_news(lakehouse: Lakehouse) -> None:
    """The compacted file came and went between the versions that are compared; the row that went with it is a change."""
    lakehouse.append(WEIGHTS, table(lakehouse, [("a", 1)]))
    lakehouse.append(WEIGHTS, table(lakehouse, [("b", 2)]))
    lakehouse.compact(WEIGHTS)
    lakehouse.delete(WEIGHTS, "sample = 'b'")
    changes = lakehouse.changes(WEIGHTS, WEIGHTS.column_names, since=2)
    assert (changes.added.rows(), changes.removed.rows()) == ([], [("b", 2)])


@pytest.mark.parametrize(("before", "after", "added", "removed"), [(3, 1, 0, 2), (1, 3, 2, 0), (2, 2, 0, 0)])
def test_rows_that_repeat_count_as_often_as_they_stand(before: int, after: int, added: int, removed: int) -> None:
    rows = pl.DataFrame({"sample": ["a"] * 3, "values": [[1.0, 2.0]] * 3})
    found = difference(rows.head(after), rows.head(before))
    assert (found.added.rows(), found.removed.rows()) == ([("a", [1.0, 2.0])] * added, [("a", [1.0, 2.0])] * removed)
