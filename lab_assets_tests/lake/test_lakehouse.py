"""Delta tables: each write once, every version readable, damage noticed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lab_assets.contracts.core import Column, TableContract
from lab_assets.contracts.ml import PREDICTIONS
from lab_assets.lake.lakehouse import Lakehouse, in_parallel
from lab_assets.lake.opening import DamagedTableError
from lab_assets.lake.reader import PROPERTIES
from lab_assets.lake.versions import TableViewError, table_at, table_history
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger

PEAKS = TableContract(
    layer="silver",
    name="peaks_of_test",
    grain="one peak of one injection",
    description="A small table.",
    owner="team:test",
    primary_key=("injection", "peak_no"),
    columns=(
        Column(name="injection", kind="string", meaning="injection", nullable=False),
        Column(name="peak_no", kind="int64", meaning="ordinal"),
        Column(name="area", kind="float64", meaning="area"),
        Column(name="at_utc", kind="timestamp_utc", meaning="time of integration"),
        Column(name="trace", kind="array<float64>", meaning="signal"),
        Column(name="notes", kind="map<string,string>", meaning="notes"),
    ),
)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def peak(injection: str, peak_no: int, area: float, *, at: datetime = NOON) -> dict[str, Any]:
    return {"injection": injection, "peak_no": peak_no, "area": area, "at_utc": at, "trace": [0.5, area], "notes": [("by", "test")]}


def content(lakehouse: Lakehouse, *, version: int | None = None) -> list[tuple[str, int, float]]:
    frame = lakehouse.polars(PEAKS, ["injection", "peak_no", "area"], version=version)
    return sorted(frame.rows())


def append(lakehouse: Lakehouse, rows: Sequence[dict[str, Any]]) -> int:
    return lakehouse.append(PEAKS, lakehouse.local_rows(PEAKS, rows))


def test_a_new_table_is_empty_and_has_the_contract_and_our_properties(lakehouse: Lakehouse) -> None:
    table = lakehouse.open(PEAKS)
    assert (lakehouse.version(PEAKS), lakehouse.row_count(PEAKS), lakehouse.polars(PEAKS).height) == (0, 0, 0)
    assert PROPERTIES.items() <= table.metadata().configuration.items()
    assert [field.name for field in table.schema().fields] == list(PEAKS.column_names)


def test_values_of_every_kind_come_back_as_they_went_in(lakehouse: Lakehouse) -> None:
    append(lakehouse, [peak("i1", 1, 12.25)])
    (row,) = lakehouse.polars(PEAKS).to_dicts()
    assert (row["injection"], row["peak_no"], row["area"], row["at_utc"], row["trace"]) == ("i1", 1, 12.25, NOON, [0.5, 12.25])
    assert lakehouse.row_count(PEAKS) == 1


def test_an_append_with_a_number_counts_once(lakehouse: Lakehouse) -> None:
    """Batch 1 twice and batch 2 once: two rows, two commits after the creation."""
    rows = [lakehouse.local_rows(PEAKS, [peak("i1", 1, 1.0)]), lakehouse.local_rows(PEAKS, [peak("i2", 1, 2.0)])]
    assert lakehouse.append_once(PEAKS, rows[0], app="ingest:t", version=1) == 1
    assert lakehouse.append_once(PEAKS, rows[0], app="ingest:t", version=1) == 1
    assert lakehouse.append_once(PEAKS, rows[1], app="ingest:t", version=2) == 2
    assert lakehouse.append_once(PEAKS, rows[0], app="ingest:t", version=1) == 2
    assert content(lakehouse) == [("i1", 1, 1.0), ("i2", 1, 2.0)]


def test_writers_of_different_names_do_not_shadow_each_other(lakehouse: Lakehouse) -> None:
    lakehouse.append_once(PEAKS, lakehouse.local_rows(PEAKS, [peak("i1", 1, 1.0)]), app="ingest:t", version=5)
    lakehouse.append_once(PEAKS, lakehouse.local_rows(PEAKS, [peak("i2", 1, 2.0)]), app="other", version=1)
    assert len(content(lakehouse)) == 2


def test_rows_of_a_condition_are_replaced_and_the_rest_stands(lakehouse: Lakehouse) -> None:
    """Injection i1 is integrated again and has one peak now; i'2 is not spoken of and stays; then i1 has none left."""
    append(lakehouse, [peak("i1", 1, 1.0), peak("i1", 2, 2.0), peak("i'2", 1, 3.0)])
    assert lakehouse.replace_where(PEAKS, lakehouse.local_rows(PEAKS, [peak("i1", 1, 1.5)]), "injection = 'i1'") == 2
    assert content(lakehouse) == [("i'2", 1, 3.0), ("i1", 1, 1.5)]
    assert lakehouse.replace_where(PEAKS, lakehouse.local_rows(PEAKS, []), "injection = 'i1'") == 3
    assert content(lakehouse) == [("i'2", 1, 3.0)]


def test_taking_away_what_is_not_there_is_no_lost_commit(lakehouse: Lakehouse) -> None:
    """Delta makes no commit for it, so none is looked for."""
    append(lakehouse, [peak("i1", 1, 1.0)])
    assert lakehouse.replace_where(PEAKS, lakehouse.local_rows(PEAKS, []), "injection = 'i9'") == 1
    assert lakehouse.delete(PEAKS, "injection = 'i9'") == 1
    assert lakehouse.delete(PEAKS, "injection = 'i1'") == 2
    assert (content(lakehouse), content(lakehouse, version=1)) == ([], [("i1", 1, 1.0)])


def test_spark_reads_what_was_replaced(spark_lakehouse: Lakehouse) -> None:
    append(spark_lakehouse, [peak("i1", 1, 1.0), peak("i2", 1, 2.5)])
    spark_lakehouse.replace_where(PEAKS, spark_lakehouse.local_rows(PEAKS, [peak("i1", 1, 1.5)]), "injection = 'i1'")
    table = spark_lakehouse.keeper.session.read.format("delta").load(spark_lakehouse.uri(PEAKS))
    rows = {row["injection"]: row for row in table.collect()}
    assert {name: (row["area"], row["trace"], row["notes"]) for name, row in rows.items()} == {
        "i1": (1.5, [0.5, 1.5], {"by": "test"}),
        "i2": (2.5, [0.5, 2.5], {"by": "test"}),
    }


def test_earlier_versions_stay_readable_and_can_be_restored(lakehouse: Lakehouse) -> None:
    """Version 1 has one row, version 2 replaces it, version 3 is version 1 again."""
    append(lakehouse, [peak("i1", 1, 1.0)])
    assert lakehouse.replace(PEAKS, lakehouse.local_rows(PEAKS, [peak("i2", 1, 2.0)])) == 2
    assert (content(lakehouse), content(lakehouse, version=1)) == ([("i2", 1, 2.0)], [("i1", 1, 1.0)])
    assert lakehouse.restore(PEAKS, 1) == 3
    assert content(lakehouse) == [("i1", 1, 1.0)]
    assert content(lakehouse, version=2) == [("i2", 1, 2.0)]
    assert lakehouse.history(PEAKS, 1)[0]["operation"] == "RESTORE"


def test_the_version_of_a_time_follows_from_the_commits_and_not_from_the_files(lakehouse: Lakehouse, tmp_path: Path) -> None:
    """A copied lake has files of the time of copying; what it answers for a time is what the original answers."""
    append(lakehouse, [peak("i1", 1, 1.0)])
    time.sleep(0.01)
    between = datetime.now(UTC)
    time.sleep(0.01)
    append(lakehouse, [peak("i2", 1, 2.0)])
    for path in Path(lakehouse.uri(PEAKS)).rglob("*"):
        os.utime(path)
    assert lakehouse.version_at(PEAKS, between) == 1
    assert table_at(lakehouse.settings, PEAKS, between, limit=9)[:2] == (1, 1)
    with pytest.raises(TableViewError, match=r"silver\.peaks_of_test did not exist at 2001-01-01"):
        table_at(lakehouse.settings, PEAKS, datetime(2001, 1, 1, tzinfo=UTC), limit=9)


def test_history_counts_the_rows_of_every_operation(lakehouse: Lakehouse) -> None:
    """Three appends, one row replaced, one of two deleted, put together, restored."""
    for number in (1, 2):
        append(lakehouse, [peak(f"i{number}", 1, 1.0), peak(f"i{number}", 2, 2.0)])
    lakehouse.replace_where(PEAKS, lakehouse.local_rows(PEAKS, [peak("i1", 1, 9.0)]), "injection = 'i1' AND peak_no = 1")
    lakehouse.delete(PEAKS, "injection = 'i2' AND peak_no = 2")
    lakehouse.compact(PEAKS)
    lakehouse.restore(PEAKS, 2)
    counted = {
        each["version"]: (each["operation"], each["rows_written"], each["files_added"]) for each in table_history(lakehouse.settings, PEAKS)
    }
    assert counted == {
        0: ("CREATE TABLE", 0, 0),
        1: ("WRITE", 2, 1),
        2: ("WRITE", 2, 1),
        3: ("WRITE", 1, 1),
        4: ("DELETE", 1, 1),
        5: ("OPTIMIZE", 3, 1),
        6: ("RESTORE", 4, 2),
    }


def test_independent_tables_are_written_side_by_side(lakehouse: Lakehouse) -> None:
    rows = [lakehouse.local_rows(PEAKS, [peak(f"i{number}", 1, float(number))]) for number in range(4)]
    in_parallel([lambda row=row: lakehouse.append(PEAKS, row) for row in rows])
    assert [row[0] for row in content(lakehouse)] == ["i0", "i1", "i2", "i3"]


def log_file(lakehouse: Lakehouse, version: int) -> Path:
    return Path(lakehouse.uri(PEAKS)) / "_delta_log" / f"{version:020d}.json"


def test_an_emptied_last_commit_is_noticed(lakehouse: Lakehouse) -> None:
    """Readers alone answer with fewer rows and no error."""
    append(lakehouse, [peak("i1", 1, 1.0)])
    append(lakehouse, [peak("i2", 1, 2.0)])
    log_file(lakehouse, 2).write_bytes(b"")
    with pytest.raises(DamagedTableError, match=r"silver\.peaks_of_test: version 2 is damaged, .*0002\.json is empty"):
        lakehouse.polars(PEAKS)
    with pytest.raises(DamagedTableError):
        append(lakehouse, [peak("i3", 1, 3.0)])


def test_a_lost_last_commit_is_noticed(lakehouse: Lakehouse) -> None:
    append(lakehouse, [peak("i1", 1, 1.0)])
    log_file(lakehouse, 1).unlink()
    with pytest.raises(DamagedTableError, match=r"(?i)restore the table"):
        lakehouse.open(PEAKS)


def test_a_cut_last_commit_is_an_error(lakehouse: Lakehouse) -> None:
    append(lakehouse, [peak("i1", 1, 1.0)])
    append(lakehouse, [peak("i2", 1, 2.0)])
    text = log_file(lakehouse, 2).read_bytes()
    log_file(lakehouse, 2).write_bytes(text[: len(text) // 2])
    with pytest.raises(Exception, match=r"(?i)json|parse|version|silver"):
        lakehouse.polars(PEAKS)


def test_a_table_with_a_lost_folder_is_not_taken_for_a_new_one(lakehouse: Lakehouse, tmp_path: Path) -> None:
    append(lakehouse, [peak("i1", 1, 1.0)])
    Path(lakehouse.uri(PEAKS)).rename(tmp_path / "moved")
    with pytest.raises(DamagedTableError):
        lakehouse.version(PEAKS)


def test_a_commit_of_another_process_is_seen_by_the_next_question(lakehouse: Lakehouse, settings: Settings) -> None:
    """A log that was found whole a moment ago is asked only for what came: what another process adds is that."""
    append(lakehouse, [peak("i1", 1, 1.0)])
    assert (lakehouse.version(PEAKS), lakehouse.row_count(PEAKS)) == (1, 1)
    other = Lakehouse(settings, lakehouse.keeper, Ledger(open_database(settings)))
    append(other, [peak("i2", 1, 2.0)])
    assert (lakehouse.version(PEAKS), lakehouse.row_count(PEAKS)) == (2, 2)
    assert content(lakehouse) == [("i1", 1, 1.0), ("i2", 1, 2.0)]


def test_damage_to_an_earlier_commit_is_found_by_the_next_opening(lakehouse: Lakehouse, settings: Settings) -> None:
    append(lakehouse, [peak("i1", 1, 1.0)])
    append(lakehouse, [peak("i2", 1, 2.0)])
    assert lakehouse.version(PEAKS) == 2
    log_file(lakehouse, 1).write_text(log_file(lakehouse, 1).read_text().replace("i1", "i9"))
    assert lakehouse.version(PEAKS) == 2
    with pytest.raises(DamagedTableError, match="version 1 is damaged"):
        Lakehouse(settings, lakehouse.keeper, Ledger(open_database(settings))).version(PEAKS)
    with pytest.raises(DamagedTableError, match="version 1 is damaged"):
        append(lakehouse, [peak("i3", 1, 3.0)])


def test_the_newest_rows_are_those_of_the_file_that_was_written_last(lakehouse: Lakehouse) -> None:
    assert lakehouse.newest_rows(PEAKS, ["injection", "area"], 2).rows() == []
    append(lakehouse, [peak("i1", 1, 1.0)])
    append(lakehouse, [peak("i2", number, float(number)) for number in (1, 2, 3)])
    assert lakehouse.newest_rows(PEAKS, ["injection", "area"], 2).rows() == [("i2", 1.0), ("i2", 2.0)]


def test_statistics_and_names_are_in_the_log(lakehouse: Lakehouse) -> None:
    """The catalogue reads name and grain from the table itself."""
    append(lakehouse, [peak("i1", 1, 1.0)])
    actions = [json.loads(line) for line in log_file(lakehouse, 0).read_text().splitlines()]
    (metadata,) = [action["metaData"] for action in actions if "metaData" in action]
    assert (metadata["name"], metadata["description"]) == (PEAKS.full_name, PEAKS.grain)


def test_an_append_of_no_rows_is_no_loss(lakehouse: Lakehouse) -> None:
    """A station may find nothing new for a table; Delta then writes no commit, and the version stays."""
    assert append(lakehouse, []) == 0
    assert append(lakehouse, [peak("i1", 1, 1.0)]) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_a_column_that_its_contract_has_no_more_is_empty_in_new_rows(lakehouse: Lakehouse, streamed: bool) -> None:
    """Such as that of a feature taken away: rows written before keep its values, and all writes go on."""
    append(lakehouse, [peak("i1", 1, 1.0), peak("i2", 1, 2.0)])
    later = replace(PEAKS, columns=tuple(column for column in PEAKS.columns if column.name != "area"))
    rows = lakehouse.local_rows(later, [peak("i3", 1, 3.0)])
    if streamed:
        lakehouse.append_once(later, rows.to_reader(), app="ingest:t", version=1)
    else:
        lakehouse.append(later, rows)
    lakehouse.replace_where(later, lakehouse.local_rows(later, [peak("i2", 7, 0.0)]), "`injection` = 'i2'")
    assert content(lakehouse) == [("i1", 1, 1.0), ("i2", 7, None), ("i3", 1, None)]


@pytest.mark.parametrize("count", [1, 100, 101, 300])
def test_columns_are_written_by_key_however_many_rows_there_are(lakehouse: Lakehouse, count: int) -> None:
    """A few are named in a condition, many are joined: the same comes of both, in one commit, and rows that are not there make none."""
    at = datetime(2025, 1, 1, 1, 2, 3, 456, tzinfo=UTC)
    same = {"risk": 0.5, "model_name": "m", "model_version": "1", "model_digest": "d", "feature_set_version": "f", "mode": "batch",
            "requested_by": "x", "predicted_at_utc": at, "features": {"a": 1.0}, "table_versions": {"t": 1}}  # fmt: skip
    lakehouse.append(PREDICTIONS, lakehouse.local_rows(PREDICTIONS, [{**same, "prediction_id": f"p'{n}"} for n in range(400)]))
    kinds = [("it's late\n", at, None), (None, None, "p-other"), ("", at, "p-other")]
    columns = ("ended_reason", "ended_at_utc", "superseded_by")
    said = {f"p'{n}": kinds[n % 3] for n in range(count)}
    rows = pl.DataFrame(
        [(name, *values) for name, values in said.items()],
        schema={
            "prediction_id": pl.String(),
            "ended_reason": pl.String(),
            "ended_at_utc": pl.Datetime("us", "UTC"),
            "superseded_by": pl.String(),
        },
        orient="row",
    )
    before = lakehouse.version(PREDICTIONS)
    assert lakehouse.update(PREDICTIONS, "prediction_id", rows.to_arrow()) == before + 1
    held = lakehouse.polars(PREDICTIONS, ["prediction_id", *columns]).rows()
    assert sorted(held, key=str) == sorted(((f"p'{n}", *said.get(f"p'{n}", (None, None, None))) for n in range(400)), key=str)
    assert lakehouse.update(PREDICTIONS, "prediction_id", rows.with_columns(prediction_id=pl.lit("none")).head(1).to_arrow()) == before + 1
