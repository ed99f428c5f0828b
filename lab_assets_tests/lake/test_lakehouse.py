"""Delta tables through Spark Connect: each write once, every version readable, damage noticed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lab_assets.contracts.core import Column, TableContract
from lab_assets.lake.lakehouse import Lakehouse, in_parallel
from lab_assets.lake.opening import DamagedTableError
from lab_assets.lake.reader import PROPERTIES

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


def test_a_merge_updates_by_key_and_inserts_the_rest(lakehouse: Lakehouse) -> None:
    append(lakehouse, [peak("i1", 1, 1.0), peak("i1", 2, 2.0)])
    lakehouse.merge(PEAKS, lakehouse.local_rows(PEAKS, [peak("i1", 2, 20.0), peak("i2", 1, 3.0)]))
    assert content(lakehouse) == [("i1", 1, 1.0), ("i1", 2, 20.0), ("i2", 1, 3.0)]


def test_a_merge_within_an_injection_takes_its_old_peaks_away(lakehouse: Lakehouse) -> None:
    """Injection i1 is integrated again and has one peak now; i2 is not spoken of and stays."""
    append(lakehouse, [peak("i1", 1, 1.0), peak("i1", 2, 2.0), peak("i'2", 1, 3.0)])
    lakehouse.merge(PEAKS, lakehouse.local_rows(PEAKS, [peak("i1", 1, 1.5)]), within=("injection", ["i1"]))
    assert content(lakehouse) == [("i'2", 1, 3.0), ("i1", 1, 1.5)]
    lakehouse.merge(PEAKS, lakehouse.local_rows(PEAKS, [peak("i'2", 2, 4.0)]), within=("injection", ["i'2"]))
    assert content(lakehouse) == [("i'2", 2, 4.0), ("i1", 1, 1.5)]


def test_an_older_row_does_not_overwrite_a_newer_one(lakehouse: Lakehouse) -> None:
    append(lakehouse, [peak("i1", 1, 1.0)])
    lakehouse.merge(PEAKS, lakehouse.local_rows(PEAKS, [peak("i1", 1, 9.0, at=NOON - timedelta(hours=1))]), newer="at_utc")
    assert content(lakehouse) == [("i1", 1, 1.0)]
    lakehouse.merge(PEAKS, lakehouse.local_rows(PEAKS, [peak("i1", 1, 9.0, at=NOON + timedelta(hours=1))]), newer="at_utc")
    assert content(lakehouse) == [("i1", 1, 9.0)]


def test_spark_reads_what_was_merged(spark_lakehouse: Lakehouse) -> None:
    append(spark_lakehouse, [peak("i1", 1, 1.0)])
    spark_lakehouse.merge(PEAKS, spark_lakehouse.local_rows(PEAKS, [peak("i1", 1, 1.5), peak("i2", 1, 2.5)]))
    rows = {row["injection"]: row for row in spark_lakehouse.read(PEAKS).collect()}
    assert {name: (row["area"], row["trace"], row["notes"]) for name, row in rows.items()} == {
        "i1": (1.5, [0.5, 1.5], {"by": "test"}),
        "i2": (2.5, [0.5, 2.5], {"by": "test"}),
    }


def test_earlier_versions_stay_readable_and_can_be_restored(spark_lakehouse: Lakehouse) -> None:
    """Version 1 has one row, version 2 replaces it, version 3 is version 1 again."""
    append(spark_lakehouse, [peak("i1", 1, 1.0)])
    assert spark_lakehouse.replace(PEAKS, spark_lakehouse.local_rows(PEAKS, [peak("i2", 1, 2.0)])) == 2
    assert (content(spark_lakehouse), content(spark_lakehouse, version=1)) == ([("i2", 1, 2.0)], [("i1", 1, 1.0)])
    assert spark_lakehouse.read(PEAKS, version=1).collect()[0]["injection"] == "i1"
    assert spark_lakehouse.restore(PEAKS, 1) == 3
    assert content(spark_lakehouse) == [("i1", 1, 1.0)]
    assert content(spark_lakehouse, version=2) == [("i2", 1, 2.0)]
    assert spark_lakehouse.history(PEAKS, 1)[0]["operation"] == "RESTORE"


def test_a_table_is_read_as_it_was_at_a_time(spark_lakehouse: Lakehouse) -> None:
    append(spark_lakehouse, [peak("i1", 1, 1.0)])
    between = datetime.now(UTC)
    append(spark_lakehouse, [peak("i2", 1, 2.0)])
    assert [row["injection"] for row in spark_lakehouse.read(PEAKS, as_of=between).collect()] == ["i1"]
    with pytest.raises(ValueError, match="not for both"):
        spark_lakehouse.read(PEAKS, version=1, as_of=between)


def test_a_difference_names_rows_on_either_side(spark_lakehouse: Lakehouse) -> None:
    first = append(spark_lakehouse, [peak("i1", 1, 1.0), peak("i2", 1, 2.0)])
    second = spark_lakehouse.merge(PEAKS, spark_lakehouse.local_rows(PEAKS, [peak("i2", 1, 2.5), peak("i3", 1, 3.0)]))
    found = spark_lakehouse.diff(PEAKS, first, second)
    assert sorted((row["injection"], row["area"]) for row in found["added"]) == [("i2", 2.5), ("i3", 3.0)]
    assert [(row["injection"], row["area"]) for row in found["removed"]] == [("i2", 2.0)]


def test_a_stream_takes_each_row_once_across_runs(spark_lakehouse: Lakehouse) -> None:
    copy = TableContract(
        layer="silver", name="copy_of_test", grain="as its source", description="A copy.", owner="team:test", columns=PEAKS.columns
    )
    append(spark_lakehouse, [peak("i1", 1, 1.0)])
    for _ in range(2):
        spark_lakehouse.stream(spark_lakehouse.read_stream(PEAKS), copy, name="copy")
    append(spark_lakehouse, [peak("i2", 1, 2.0)])
    spark_lakehouse.stream(spark_lakehouse.read_stream(PEAKS), copy, name="copy")
    assert sorted(spark_lakehouse.polars(copy, ["injection"])["injection"].to_list()) == ["i1", "i2"]


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
        lakehouse.read(PEAKS)
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
        lakehouse.read(PEAKS).count()


def test_a_table_with_a_lost_folder_is_not_taken_for_a_new_one(lakehouse: Lakehouse, tmp_path: Path) -> None:
    append(lakehouse, [peak("i1", 1, 1.0)])
    Path(lakehouse.uri(PEAKS)).rename(tmp_path / "moved")
    with pytest.raises(DamagedTableError):
        lakehouse.version(PEAKS)


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
