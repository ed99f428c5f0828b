"""What is said later of predictions and their decisions: one commit each, however many, and nothing half said for good."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from lab_assets.contracts.core import TableContract
from lab_assets.contracts.ml import DECISIONS, PREDICTIONS
from lab_assets.lake.data_files import commit_path, local_path
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.stations.ml.prediction_records import COUNTS, mark

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARKS = Derivation(run_id="marks")
FILLED: dict[str, Any] = {"string": "x", "float64": 0.5, "int64": 1, "timestamp_utc": NOW, "array<string>": ["look again"]}


def rows(table: TableContract, key: str, names: Sequence[str], prefix: str = "") -> pl.DataFrame:
    """Return predictions, or decisions on them, with anything in the columns that must not be empty."""
    filled = {column.name: FILLED[column.kind] for column in table.columns if not column.nullable and column.kind in FILLED}
    own = {"prediction_id": pl.Series(names), key: pl.Series([f"{prefix}{name}" for name in names])}
    schema = dict(pl.DataFrame(pl.from_arrow(table.arrow_schema().empty_table())).schema)
    frame = pl.DataFrame(own).with_columns(pl.lit(value).alias(name) for name, value in filled.items() if name not in own)
    return frame.with_columns(pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in frame.columns)


def put(lake: Lakehouse, *names: str) -> None:
    for table, key, prefix in ((PREDICTIONS, "prediction_id", ""), (DECISIONS, "decision_id", "d-")):
        lake.append(table, rows(table, key, names, prefix).select(table.column_names).to_arrow())


def ended(*names: str, by: str | None = None) -> list[dict[str, Any]]:
    return [{"prediction_id": name, "superseded_by": by, "ended_at_utc": NOW, "ended_reason": "scored again"} for name in names]


def said(lake: Lakehouse, table: TableContract) -> dict[str, tuple[Any, ...]]:
    return {row[0]: row[1:] for row in lake.polars(table, ["prediction_id", *COUNTS]).sort("prediction_id").iter_rows()}


def test_very_many_are_marked_in_one_commit_whose_record_does_not_name_them(lakehouse: Lakehouse) -> None:
    """30,000 predictions: a condition that names them all would be a megabyte in the log of either table."""
    names = [f"pred_{number:020d}" for number in range(30_000)]
    put(lakehouse, *names)
    before = lakehouse.versions([PREDICTIONS, DECISIONS])
    mark(lakehouse, ended(*names[1:], by=names[0]), MARKS)
    assert lakehouse.versions([PREDICTIONS, DECISIONS]) == {name: version + 1 for name, version in before.items()}
    for table, successor in ((PREDICTIONS, names[0]), (DECISIONS, f"d-{names[0]}")):
        found = lakehouse.polars(table)
        assert found.height == 30_000
        marked = found.filter(pl.col("ended_at_utc") == NOW, pl.col("ended_reason") == "scored again")
        assert set(marked["superseded_by"]) == {successor}
        assert sorted(marked["prediction_id"]) == names[1:]
        assert commit_path(local_path(lakehouse.uri(table)), lakehouse.version(table)).stat().st_size < 20_000


def test_only_what_is_said_of_a_row_changes_and_other_files_stay(lakehouse: Lakehouse) -> None:
    put(lakehouse, "p1", "p2")
    put(lakehouse, "p3")
    before, files = lakehouse.polars(PREDICTIONS).sort("prediction_id"), set(lakehouse.open(PREDICTIONS).file_uris())
    mark(lakehouse, ended("p1", "nobody"), MARKS)
    after = lakehouse.polars(PREDICTIONS).sort("prediction_id")
    assert after.drop(COUNTS).equals(before.drop(COUNTS))
    assert {row["prediction_id"] for row in after.to_dicts() if row["ended_at_utc"] is not None} == {"p1"}
    assert len(files & set(lakehouse.open(PREDICTIONS).file_uris())) == 1
    assert lakehouse.changes(PREDICTIONS, ["prediction_id", "ended_reason"], since=2).added["prediction_id"].to_list() == ["p1"]
    entry = lakehouse.history(PREDICTIONS, 1)[0]
    assert Derivation.of_commit(entry) == MARKS


def test_what_is_said_already_is_not_written_again(lakehouse: Lakehouse) -> None:
    put(lakehouse, "p1", "p2")
    mark(lakehouse, ended("p1", by="p2"), MARKS)
    versions = lakehouse.versions([PREDICTIONS, DECISIONS])
    mark(lakehouse, [*ended("p1", by="p2"), {"prediction_id": "p2", **COUNTS}], MARKS)
    assert lakehouse.versions([PREDICTIONS, DECISIONS]) == versions


@pytest.mark.parametrize("is_again", [False, True], ids=["ended", "counting again"])
def test_a_process_that_dies_between_the_tables_leaves_predictions_to_be_marked(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, *, is_again: bool
) -> None:
    """Who looks at predictions finds what is left to be said; decisions marked behind them would stay unmarked for good."""
    put(lakehouse, "p1")
    if is_again:
        mark(lakehouse, ended("p1"), MARKS)
    before = said(lakehouse, PREDICTIONS)
    ends = [{"prediction_id": "p1", **COUNTS}] if is_again else ended("p1")
    written, update = list[str](), Lakehouse.update

    def dying(self: Lakehouse, contract: TableContract, *args: Any, **more: Any) -> int:
        if written:
            raise OSError("killed")
        written.append(contract.full_name)
        return update(self, contract, *args, **more)

    with monkeypatch.context() as broken:
        broken.setattr(Lakehouse, "update", dying)
        with pytest.raises(OSError, match="killed"):
            mark(lakehouse, ends, MARKS)
    assert said(lakehouse, PREDICTIONS) == before
    mark(lakehouse, ends, MARKS)
    assert said(lakehouse, PREDICTIONS) == said(lakehouse, DECISIONS) != before
