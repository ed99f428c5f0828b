"""Maintenance: fewer files and shorter logs, the same rows, every earlier version, and no news."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from lab_assets.contracts.core import Column, TableContract
from lab_assets.lake.changes import changed_files
from lab_assets.lake.data_files import log_segment
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.layout import layout_of
from lab_assets.lake.maintenance import maintain, tiers
from lab_assets.lake.opening import DamagedTableError
from lab_assets.lake.reader import PROPERTIES
from lab_assets.lake.versions import table_history

READINGS = TableContract(
    layer="silver",
    name="readings_of_test",
    grain="one reading",
    description="A small table.",
    owner="team:test",
    primary_key=("number",),
    columns=(
        Column(name="number", kind="int64", meaning="ordinal", nullable=False),
        Column(name="note", kind="string", meaning="note"),
    ),
)


def readings(lake: Lakehouse, *numbers: int) -> Any:
    return lake.local_rows(READINGS, [{"number": number, "note": f"reading {number}"} for number in numbers])


def filled(lake: Lakehouse, commits: int) -> Path:
    """One reading a commit."""
    for number in range(1, commits + 1):
        lake.append(READINGS, readings(lake, number))
    return Path(lake.uri(READINGS))


def files(lake: Lakehouse) -> int:
    return len(lake.open(READINGS).file_uris())


def test_a_table_that_does_not_exist_is_left_alone(lakehouse: Lakehouse) -> None:
    assert maintain(lakehouse, READINGS) is None
    assert not Path(lakehouse.uri(READINGS)).exists()


def test_small_files_become_one_and_every_version_reads_as_before(lakehouse: Lakehouse) -> None:
    """Twelve commits: one file afterwards, a checkpoint, and versions 0 to 12 have 0 to 12 rows."""
    folder = filled(lakehouse, 12)
    upkeep = maintain(lakehouse, READINGS)
    assert upkeep is not None
    assert (upkeep.files_before, upkeep.files_after, upkeep.version, upkeep.checkpoint) == (12, 1, 13, True)
    assert [lakehouse.polars(READINGS, version=version).height for version in range(14)] == [*range(13), 12]
    assert (log_segment(folder).checkpoint, len(list(folder.glob("*.parquet")))) == (13, 13)
    again = maintain(lakehouse, READINGS)
    assert again is not None
    assert (again.done, again.version) == (False, 13)


def test_a_few_files_are_left_as_they_are(lakehouse: Lakehouse) -> None:
    """Putting every new file together at once would write the same rows again each night."""
    filled(lakehouse, 7)
    upkeep = maintain(lakehouse, READINGS)
    assert upkeep is not None
    assert (upkeep.done, files(lakehouse)) == (False, 7)


def test_maintenance_is_no_news(lakehouse: Lakehouse) -> None:
    filled(lakehouse, 20)
    maintain(lakehouse, READINGS)
    assert changed_files(lakehouse.uri(READINGS), 20, lakehouse.version(READINGS)) == ([], [])
    assert lakehouse.changes(READINGS, READINGS.column_names, since=20).is_empty()


def test_an_old_table_gets_the_properties_of_its_layout(lakehouse: Lakehouse) -> None:
    """A table that another version of the program made, without any: its retention is that of records afterwards."""
    rows = pa.table({"number": pa.array([1], pa.int64()), "note": ["reading 1"]})
    write_deltalake(lakehouse.uri(READINGS), rows, name=READINGS.full_name)
    upkeep = maintain(lakehouse, READINGS)
    wanted = PROPERTIES | layout_of(READINGS).properties()
    assert upkeep is not None
    assert upkeep.properties == tuple(sorted(wanted))
    assert DeltaTable(lakehouse.uri(READINGS)).metadata().configuration.items() >= wanted.items()
    again = maintain(lakehouse, READINGS)
    assert again is not None
    assert not again.done


def test_a_damaged_table_is_not_put_in_order(lakehouse: Lakehouse) -> None:
    folder = filled(lakehouse, 12)
    log = folder / "_delta_log" / f"{5:020d}.json"
    log.chmod(0o600)
    log.write_bytes(b"")
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(DamagedTableError, match="version 5 is damaged"):
        maintain(lakehouse, READINGS)
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_a_checkpoint_of_maintenance_is_held_against_its_digest(lakehouse: Lakehouse) -> None:
    """It is noted like those that writers make: one changed bit is named."""
    folder = filled(lakehouse, 12)
    maintain(lakehouse, READINGS)
    (checkpoint,) = (folder / "_delta_log").glob("*.checkpoint.parquet")
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 1
    checkpoint.chmod(0o600)
    checkpoint.write_bytes(data)
    with pytest.raises(DamagedTableError, match="has other bytes than were committed"):
        lakehouse.open(READINGS)


def test_rows_are_written_again_once_a_tier(lakehouse: Lakehouse) -> None:
    """64 commits put in order after every eighth: each row is written again about three times, however long it goes on.

    Put together as a whole each time, 8 + 16 + ... + 64 = 288 commits' rows would be written again for the 64 that came in.
    """
    uri = lakehouse.uri(READINGS)
    lakehouse.open(READINGS)
    for number in range(64):
        noise = [hashlib.sha256(f"{number} {row}".encode()).hexdigest() for row in range(1000)]
        rows = pa.table({"number": pa.array(range(1000 * number, 1000 * number + 1000), pa.int64()), "note": noise})
        write_deltalake(uri, rows, mode="append")
        if number % 8 == 7:
            maintain(lakehouse, READINGS)
    assert lakehouse.row_count(READINGS) == 64_000
    again = sum(each["rows_written"] for each in table_history(lakehouse.settings, READINGS) if each["operation"] == "OPTIMIZE")
    assert again <= 3.5 * 64_000


def test_files_and_log_stay_few_however_many_commits(lakehouse: Lakehouse) -> None:
    """300 commits, put in order once: one file is read, and opening reads neither commits nor names of files put together."""
    lakehouse.open(READINGS)
    for number in range(300):
        rows = pa.table({"number": pa.array([number], pa.int64()), "note": [f"reading {number}"]})
        write_deltalake(lakehouse.uri(READINGS), rows, mode="append")
    maintain(lakehouse, READINGS)
    segment = log_segment(Path(lakehouse.uri(READINGS)))
    assert files(lakehouse) == 1
    assert segment.version == segment.checkpoint > 300
    assert sorted(lakehouse.polars(READINGS, ["number"])["number"]) == list(range(300))


def test_tiers_grow_sixteenfold_up_to_the_size_of_the_layout() -> None:
    mib = 1024 * 1024
    assert tiers(64 * mib) == [mib // 4, 4 * mib, 64 * mib]
    assert tiers(32 * mib) == [2 * mib, 32 * mib]
