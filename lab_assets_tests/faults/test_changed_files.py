"""A bit that a disk changed in a data file, and what another program did to a table: named by everyone who reads, and nothing is served."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import deltalake
import polars as pl
import pyarrow as pa
import pytest

from lab_assets.contracts.all_contracts import contract
from lab_assets.contracts.bronze import CHROMATOGRAMS
from lab_assets.contracts.core import TableContract
from lab_assets.governance.gateway import QueryFailedError, QueryGateway
from lab_assets.lake.data_files import commit_path, local_path
from lab_assets.lake.foreign_commits import ForeignWriteError
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.opening import DamagedTableError, ProtocolError
from lab_assets.ops.doctor import examine
from lab_assets.service.table_cache import TableCache, TableLostError, read_rows
from lab_assets_tests.faults.ingestion import KILLED, plant_at, run_of
from lab_assets_tests.faults.laboratory import found
from lab_assets_tests.faults.table_programs import NUMBERS, numbers

NAME = NUMBERS.full_name
LOTS = contract("silver.lots")


def flip(path: Path, *, keep_times: bool = False) -> None:
    """Change one bit in the middle of a file."""
    import os

    status, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    if keep_times:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def file_of(lake: Lakehouse, table: TableContract, version: int) -> Path:
    """The data file that a version added."""
    folder = local_path(lake.uri(table))
    added = [json.loads(line).get("add") for line in commit_path(folder, version).read_text().splitlines()]
    (path,) = [each["path"] for each in added if each]
    return folder / path


def again(lake: Lakehouse) -> Lakehouse:
    return Lakehouse(lake.settings, lake.keeper, lake.ledger)


READS: dict[str, Callable[[Lakehouse], object]] = {
    "whole": lambda lake: lake.polars(NUMBERS),
    "by key": lambda lake: lake.polars(NUMBERS, where=pl.col("number") == 2),
    "lazily": lambda lake: lake.scan(NUMBERS),
    "files for workers": lambda lake: lake.files(NUMBERS, where={"number": [2]}),
    "news": lambda lake: lake.changes(NUMBERS, ["number"], since=1),
    "what was written": lambda lake: lake.written(NUMBERS, ["number"], since=1, until=3),
    "an earlier version": lambda lake: lake.polars(NUMBERS, version=2),
}


@pytest.mark.parametrize("read", READS)
def test_a_flipped_bit_is_named_by_every_read_of_the_pipeline(lakehouse: Lakehouse, read: str) -> None:
    """Three files of one number each; a bit of the second is changed, with the file's time put back as it was."""
    for number in (1, 2, 3):
        lakehouse.append(NUMBERS, numbers(lakehouse, "a", number))
    READS[read](again(lakehouse))
    path = file_of(lakehouse, NUMBERS, 2)
    flip(path, keep_times=True)
    answer = rf"{NAME}: a data file of version 2, {path}, has other bytes than were committed\. Put the file back from the last backup"
    for lake in (again(lakehouse), lakehouse):
        with pytest.raises(DamagedTableError, match=answer):
            READS[read](lake)


def test_a_read_by_key_looks_only_at_files_that_may_hold_it(lakehouse: Lakehouse) -> None:
    """The file of 2 is changed: 1 and 3 are still answered, each from its own file."""
    for number in (1, 2, 3):
        lakehouse.append(NUMBERS, numbers(lakehouse, "a", number))
    flip(file_of(lakehouse, NUMBERS, 2))
    lake = again(lakehouse)
    assert lake.polars(NUMBERS, where=pl.col("number") == 3)["number"].to_list() == [3]
    assert lake.polars(NUMBERS, where=pl.col("number").is_in([1, 3]) & (pl.col("number") < 2))["number"].to_list() == [1]
    assert lake.polars(NUMBERS, where=pl.col("number") > 3).columns == list(NUMBERS.column_names)
    with pytest.raises(DamagedTableError):
        lake.polars(NUMBERS, where=pl.col("number") != 3)


@pytest.fixture
def lots(lakehouse: Lakehouse) -> Lakehouse:
    """Three lots in a commit each, and people."""
    for number in range(1, 4):
        row = {"lot_id": f"L{number}", "product": "P", "recorded_at_utc": datetime(2026, 3, number, tzinfo=UTC)}
        lakehouse.append(LOTS, lakehouse.local_rows(LOTS, [row]))
    found(lakehouse.settings)
    return lakehouse


def test_a_flipped_bit_is_named_by_sql_and_by_the_service(lots: Lakehouse) -> None:
    """Also by a gateway and a cache that had read the table before."""
    gateway, cache = QueryGateway(lots.settings, lots.ledger.engine), TableCache(lots.settings, ledger=lots.ledger, check_interval_s=0)
    assert gateway.run("SELECT max(lot_id) FROM silver.lots", user="qa").rows == [("L3",)]
    assert cache.get("silver.lots").frame.height == 3
    flip(file_of(lots, LOTS, 1))
    with pytest.raises(QueryFailedError, match=r"silver\.lots is damaged and is not read until it is mended"):
        gateway.run("SELECT max(lot_id) FROM silver.lots", user="qa")
    for read in (
        lambda: read_rows(lots.settings, "silver.lots", where={"lot_id": ["L1"]}),
        lambda: TableCache(lots.settings, ledger=lots.ledger).get("silver.lots"),
    ):
        with pytest.raises(TableLostError, match=r"silver\.lots: a data file of version 1, .* has other bytes than were committed"):
            read()


def upgrade(lake: Lakehouse, protocol: dict[str, object]) -> None:
    """Put a newer protocol on a table, as a program of a later time does."""
    folder = local_path(lake.uri(LOTS))
    commit = {"commitInfo": {"timestamp": 1, "operation": "UPGRADE PROTOCOL"}}
    commit_path(folder, 4).write_text(json.dumps({"protocol": protocol}) + "\n" + json.dumps(commit) + "\n")


NEWER = {
    "readers": ({"minReaderVersion": 9, "minWriterVersion": 9}, "minimum reader version 9"),
    "a feature": (
        {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["later"], "writerFeatures": ["later"]},
        "Feature 'later' is not supported",
    ),
    "deletion vectors": (
        {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]},
        "deletionVectors",
    ),
}


@pytest.mark.parametrize("name", NEWER)
def test_a_newer_protocol_is_no_damage(lots: Lakehouse, name: str) -> None:
    """Nobody is told to restore a backup, which would lose what was written since."""
    protocol, words = NEWER[name]
    upgrade(lots, protocol)
    with pytest.raises(ProtocolError, match=rf"silver\.lots: .*{words}.*Nothing is damaged.*update the product") as refused:
        again(lots).polars(LOTS)
    assert "Restore" not in str(refused.value)
    check = next(each for each in examine(lots.settings) if each.name == "lake")
    assert (check.state, words in check.found, "update the product" in check.mend) == ("failed", True, True)


def test_a_newer_protocol_for_writers_alone_stops_writing(lots: Lakehouse) -> None:
    upgrade(lots, {"minReaderVersion": 1, "minWriterVersion": 9})
    lake = again(lots)
    assert lake.polars(LOTS).height == 3
    with pytest.raises(ProtocolError, match=r"silver\.lots: the table at .* asks for writers of version 9: it cannot be written"):
        lake.append(LOTS, lake.local_rows(LOTS, [{"lot_id": "L4", "product": "P", "recorded_at_utc": datetime(2026, 3, 4, tzinfo=UTC)}]))


def test_another_programs_columns_are_named_and_taken_back(lots: Lakehouse) -> None:
    """The table is written anew with a number for a text and without a column: neither read nor written until that is taken back."""
    uri = lots.uri(LOTS)
    other = pa.table({"lot_id": pa.array([1, 2]), "product": ["P", "P"]})
    deltalake.write_deltalake(uri, other, mode="overwrite", schema_mode="overwrite")
    lake = again(lots)
    words = (
        r"silver\.lots: another program wrote version 4, which the ledger does not know: column lot_id is long, not string; "
        r".*column recorded_at_utc is missing.*'lab table restore silver\.lots 3' takes back what it wrote"
    )
    row = {"lot_id": "L4", "product": "P", "recorded_at_utc": datetime(2026, 3, 4, tzinfo=UTC)}
    for work in (lambda: lake.polars(LOTS), lambda: lake.append(LOTS, lake.local_rows(LOTS, [row]))):
        with pytest.raises(ForeignWriteError, match=words):
            work()
    check = next(each for each in examine(lots.settings) if each.name == "lake")
    assert (check.state, "column lot_id is long, not string" in check.found) == ("failed", True)
    lake.restore(LOTS, 3)
    assert sorted(again(lots).polars(LOTS)["lot_id"]) == ["L1", "L2", "L3"]


def test_another_programs_rows_are_named_at_once(lots: Lakehouse) -> None:
    """The columns fit, so the table is read: doctor tells of it before any run recorded it."""
    rows = again(lots).polars(LOTS).head(1).to_arrow().cast(LOTS.arrow_schema())
    deltalake.write_deltalake(lots.uri(LOTS), rows, mode="append")
    check = next(each for each in examine(lots.settings) if each.name == "lake")
    assert (check.state, "silver.lots: another program wrote version 4" in check.found) == ("warning", True)


def test_what_a_killed_run_laid_down_and_a_disk_changed_is_read_again(tmp_path: Path) -> None:
    """A run is killed between reading and committing; a bit of the rows that it laid down is changed: the original is read again."""
    plant = plant_at(tmp_path / "lab")
    plant.drop("a.txt", run_of("S-1"))
    assert plant.ingest(FAILPOINT="after_staging").returncode == KILLED
    (laid,) = (plant.settings.run / "staging").glob("*/chromatograms/*.parquet")
    flip(laid)
    done = plant.ingest()
    assert done.returncode == 0, done.stderr
    assert plant.states() == {"hplc/a.txt": "committed"}
    other = plant_at(tmp_path / "other")
    other.drop("a.txt", run_of("S-1"))
    other.ingest_whole()
    traces = [each.lake.polars(CHROMATOGRAMS, ["injection_name", "channel", "x", "y"]).sort("channel") for each in (plant, other)]
    assert traces[0].equals(traces[1])
