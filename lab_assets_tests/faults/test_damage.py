"""Cases 4, 29, 30, 31 and 32: what a disk does to files at rest is told by name, and never read as fewer rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab_assets.cli.drift import last_check
from lab_assets.contracts.all_contracts import contract
from lab_assets.contracts.bronze import CHROMATOGRAMS, FILES, QUARANTINED_ROWS
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.governance import LINEAGE
from lab_assets.contracts.ml import DRIFT
from lab_assets.governance.gateway import QueryFailedError, QueryGateway
from lab_assets.governance.relations import lineage_of, table_state
from lab_assets.lake.data_files import commit_path, local_path
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.lake.opening import DamagedTableError
from lab_assets.lake.versions import rejected_rows
from lab_assets.ops.demo_summary import drift_counts, row_counts
from lab_assets.service.table_cache import TableCache, TableUnavailableError, load_snapshot, read_rows
from lab_assets.settings import Settings
from lab_assets.stations.ml.drift_history import newest_checks
from lab_assets_tests.faults.ingestion import Plant, plant_at, run_of
from lab_assets_tests.faults.laboratory import Laboratory, found
from lab_assets_tests.faults.table_programs import NUMBERS, numbers

NAME = NUMBERS.full_name
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[: len(data) // 2],
    "cut at the end of a line": lambda data: data.splitlines(keepends=True)[0],
    "one letter": lambda data: data.replace(b'"numRecords', b'"numRecorfs'),
}
"""Readers alone take the first, third and fourth for a commit of fewer rows, or of an unknown number."""


def spoil(path: Path, how: Callable[[bytes], bytes]) -> None:
    """Write other bytes in a file's place, also where it is read-only."""
    data = path.read_bytes()
    assert how(data) != data
    path.chmod(0o600)
    path.write_bytes(how(data))


def flip_a_bit(data: bytes) -> bytes:
    """Return bytes with one bit in the middle changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def filled(lake: Lakehouse, commits: int) -> Path:
    """Append the numbers 1 to ``commits``, one a commit, and return the table's folder."""
    for number in range(1, commits + 1):
        lake.append(NUMBERS, numbers(lake, "a", number))
    return local_path(lake.uri(NUMBERS))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("version", [2, 3])
def test_a_damaged_commit_is_named_and_nothing_is_read_or_written(lakehouse: Lakehouse, how: str, version: int) -> None:
    """Case 29: three commits, the last or the one before it damaged: every reader and every writer is refused with its name."""
    folder = filled(lakehouse, 3)
    spoil(commit_path(folder, version), DAMAGE[how])
    before = contents(folder)
    answer = rf"{NAME}: version {version} is damaged, .*{version:020d}\.json (is empty|has other bytes than were committed)\. Restore"
    for work in (
        lambda: lakehouse.polars(NUMBERS),
        lambda: lakehouse.append(NUMBERS, numbers(lakehouse, "a", 4)),
        lambda: lakehouse.append_once(NUMBERS, numbers(lakehouse, "a", 4), app="a", version=4),
        lambda: lakehouse.replace(NUMBERS, numbers(lakehouse, "a", 4)),
        lambda: lakehouse.compact(NUMBERS),
        lambda: lakehouse.restore(NUMBERS, 1),
    ):
        with pytest.raises(DamagedTableError, match=answer):
            work()
    assert contents(folder) == before


def test_a_missing_commit_in_the_middle_stops_reading_and_writing(lakehouse: Lakehouse) -> None:
    """Case 32: version 2 of 3 is gone."""
    folder = filled(lakehouse, 3)
    commit_path(folder, 2).unlink()
    before = contents(folder)
    for work in (
        lambda: lakehouse.polars(NUMBERS),
        lambda: lakehouse.append(NUMBERS, numbers(lakehouse, "a", 4)),
        lambda: lakehouse.restore(NUMBERS, 1),
    ):
        with pytest.raises(DamagedTableError, match=rf"{NAME}: the log at .* lacks version 2, though later ones are there"):
            work()
    assert contents(folder) == before


def test_a_table_that_is_gone_is_not_made_anew(lakehouse: Lakehouse, tmp_path: Path) -> None:
    """Nothing is put where a backup will be restored."""
    filled(lakehouse, 1).rename(tmp_path / "moved")
    with pytest.raises(DamagedTableError, match=rf"{NAME}: no table lies at .*, but version 1 was committed"):
        lakehouse.append(NUMBERS, numbers(lakehouse, "a", 2))
    assert not local_path(lakehouse.uri(NUMBERS)).exists()


def test_a_damaged_checkpoint_is_named_and_can_be_done_without(lakehouse: Lakehouse) -> None:
    """Case 30: cut, emptied, or with one bit changed, which readers alone do not notice; moved away as told, all 52 rows are there."""
    log = filled(lakehouse, 52) / "_delta_log"
    (checkpoint,) = log.glob("*.checkpoint.parquet")
    whole = checkpoint.read_bytes()
    for how in (flip_a_bit, lambda _: b"", lambda data: data[:200]):
        checkpoint.write_bytes(how(whole))
        for work in (lambda: lakehouse.polars(NUMBERS), lambda: lakehouse.append(NUMBERS, numbers(lakehouse, "a", 53))):
            with pytest.raises(
                DamagedTableError, match=rf"{NAME}: version 49 is damaged, .*{checkpoint.name} .*move it and _last_checkpoint"
            ):
                work()
    checkpoint.unlink()
    # a process that has the version open goes on reading it; the next one opens the table
    again = Lakehouse(lakehouse.settings, lakehouse.keeper, lakehouse.ledger)
    with pytest.raises(DamagedTableError, match=rf"{NAME}: the log at .* cannot be read .*_last_checkpoint"):
        again.polars(NUMBERS)
    (log / "_last_checkpoint").unlink()
    assert sorted(again.polars(NUMBERS)["number"]) == list(range(1, 53))


def test_damage_before_the_checkpoint_is_told_where_it_counts(lakehouse: Lakehouse) -> None:
    """Case 30: commit 30 of 52 is emptied; the checkpoint at 49 knows its row, so the last version is whole, and version 40 is not."""
    folder = filled(lakehouse, 52)
    commit_path(folder, 30).write_bytes(b"")
    assert lakehouse.polars(NUMBERS).height == 52
    assert lakehouse.polars(NUMBERS, version=29).height == 29
    for work in (
        lambda: lakehouse.polars(NUMBERS, version=40),
        lambda: lakehouse.restore(NUMBERS, 40),
    ):
        with pytest.raises(DamagedTableError, match=rf"{NAME}: version 30 is damaged, .*{30:020d}\.json is empty"):
            work()


def test_a_lost_data_file_is_no_short_answer(lakehouse: Lakehouse) -> None:
    """Case 31: one of two files is deleted: no reader answers with the other one's row."""
    folder = filled(lakehouse, 2)
    next(folder.glob("*.parquet")).unlink()
    with pytest.raises(DamagedTableError, match=rf"{NAME}: the data file .* is missing\. Put the file back from the last backup"):
        lakehouse.polars(NUMBERS)


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """A home with one file of two chromatograms and two peaks, ingested."""
    plant = plant_at(tmp_path / "lab")
    plant.drop("a.txt", run_of("S-1"))
    plant.ingest_whole()
    return plant


def test_ingestion_and_commands_refuse_a_damaged_table(plant: Plant) -> None:
    """Case 29: the last commit of the traces is emptied: nothing of a new file reaches any table, and it comes in once mended."""
    folder = local_path(plant.lake.uri(CHROMATOGRAMS))
    last = commit_path(folder, plant.lake.version(CHROMATOGRAMS))
    whole = last.read_bytes()
    last.write_bytes(b"")
    lake = local_path(plant.lake.uri(FILES)).parent
    before = contents(lake)
    plant.drop("b.txt", run_of("S-2"))
    refused = plant.ingest()
    answer = (
        f"bronze.chromatograms: version 1 is damaged, {last} is empty. Restore the table's folder from the last backup ('lab restore')."
    )
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == f"lab_assets.lake.opening.DamagedTableError: {answer}"
    assert contents(lake) == before
    laboratory = Laboratory(plant.settings, plant.lake.ledger.engine)
    for command in (("history", CHROMATOGRAMS.full_name), ("as-of", CHROMATOGRAMS.full_name, "1")):
        shown = laboratory.lab("table", *command)
        assert (shown.returncode, shown.stderr) == (1, f"error: {answer}\n")
    last.write_bytes(whole)
    plant.ingest_whole()
    assert plant.states() == {"hplc/a.txt": "committed", "hplc/b.txt": "committed"}
    assert plant.lake.row_count(CHROMATOGRAMS) == 4


def test_a_query_of_a_damaged_or_lost_table_is_refused_in_one_line(plant: Plant) -> None:
    """At the machine with what is wrong and the way back; who asks the service is sent to the administrator."""
    laboratory, sql = found(plant.settings), "SELECT count(*) FROM bronze.chromatograms"
    folder = local_path(plant.lake.uri(CHROMATOGRAMS))
    last = commit_path(folder, plant.lake.version(CHROMATOGRAMS))
    whole, mend = last.read_bytes(), "Restore the table's folder from the last backup ('lab restore')."
    last.write_bytes(b"")
    asked = laboratory.lab("query", sql, "--as", "admin")
    said = f"bronze.chromatograms: version 1 is damaged, {last} is empty. {mend}\n"
    assert (asked.returncode, asked.stdout, asked.stderr) == (1, "", said)
    last.write_bytes(whole)
    shutil.rmtree(folder)
    asked = laboratory.lab("query", sql, "--as", "admin")
    said = f"bronze.chromatograms: no table lies at {plant.lake.uri(CHROMATOGRAMS)}, but version 1 was committed. {mend}\n"
    assert (asked.returncode, asked.stdout, asked.stderr) == (1, "", said)


def test_the_scrubber_names_what_changed_and_what_is_gone(plant: Plant) -> None:
    """Cases 4 and 31: a bit of a data file, a deleted data file, a cut commit, a changed and a missing original: each by name."""
    plant.drop("b.txt", run_of("S-2"))
    plant.ingest_whole()
    laboratory, home = Laboratory(plant.settings, plant.lake.ledger.engine), plant.settings.home
    clean = laboratory.lab("scrub", "--json")
    assert (clean.returncode, json.loads(clean.stdout)["findings"]) == (0, [])

    lake = plant.settings.home / "lake" / "bronze"
    changed, cut = next((lake / "chromatograms").glob("*.parquet")), commit_path(lake / "files", 2)
    gone = next((lake / "vendor_peaks").glob("*.parquet"))
    originals = {name: plant.settings.raw / row["file_id"][:2] / row["file_id"] for name, row in plant.arrivals().items()}
    spoil(changed, flip_a_bit)
    spoil(cut, lambda data: data[:-9])
    spoil(originals["hplc/a.txt"], flip_a_bit)
    gone.unlink()
    originals["hplc/b.txt"].unlink()

    alarm = laboratory.lab("scrub", "--json")
    assert alarm.returncode == 1
    findings = {each["object"]: (each["problem"], each["told_as"]) for each in json.loads(alarm.stdout)["findings"]}
    versions = {path: findings[str(path.relative_to(home))][1].rpartition(" ")[2] for path in (changed, gone)}
    assert set(versions.values()) <= {"1", "2"}
    assert findings == {
        str(changed.relative_to(home)): ("changed", f"bronze.chromatograms version {versions[changed]}"),
        str(gone.relative_to(home)): ("missing", f"bronze.vendor_peaks version {versions[gone]}"),
        str(cut.relative_to(home)): ("changed", "bronze.files version 2"),
        str(originals["hplc/a.txt"].relative_to(home)): ("changed", "hplc/a.txt"),
        str(originals["hplc/b.txt"].relative_to(home)): ("missing", "hplc/b.txt"),
        "bronze.files": ("changed", f"bronze.files: version 2 is damaged, {cut} has other bytes than were committed"),
    }
    answer = laboratory.lab("scrub")
    assert answer.returncode == 1
    assert "restore what is named from the last backup ('lab restore', see docs/recovery.md); nothing was changed" in answer.stderr


@pytest.fixture
def lots(lakehouse: Lakehouse) -> TableContract:
    """Three lots, each in a commit of its own, and people who may ask for them."""
    table = contract("silver.lots")
    for number in range(1, 4):
        lakehouse.append(
            table,
            lakehouse.local_rows(
                table, [{"lot_id": f"L{number}", "product": "P", "recorded_at_utc": datetime(2026, 3, number, tzinfo=UTC)}]
            ),
        )
    found(lakehouse.settings)
    return table


def test_people_and_the_service_are_not_given_fewer_rows(lakehouse: Lakehouse, lots: TableContract) -> None:
    """Case 29: the last of three commits is emptied: neither a governed query nor the service answers with two rows."""
    gateway = QueryGateway(lakehouse.settings, lakehouse.ledger.engine)
    assert gateway.run("SELECT count(*) FROM silver.lots", user="qa").rows == [(3,)]
    commit_path(local_path(lakehouse.uri(lots)), 3).write_bytes(b"")
    with pytest.raises(QueryFailedError, match=r"silver\.lots is damaged and is not read until it is mended"):
        gateway.run("SELECT count(*) FROM silver.lots", user="qa")
    with pytest.raises(TableUnavailableError, match=r"silver\.lots cannot be read: silver\.lots: version 3 is damaged"):
        load_snapshot(lakehouse.settings, "silver.lots")


@pytest.mark.parametrize(
    ("lost", "words"), [((3,), "answers version 2"), ((1, 2, 3), "answers version 0"), ((0, 1, 2, 3), "no table lies")]
)
def test_people_and_the_service_are_not_given_fewer_rows_of_a_log_that_ends_early(
    lakehouse: Lakehouse, lots: TableContract, lost: tuple[int, ...], words: str
) -> None:
    """Case 32: the last of the commits are gone, or all: the rest of the log is whole, and only the ledger knows that there were three."""
    gateway = QueryGateway(lakehouse.settings, lakehouse.ledger.engine)
    for version in lost:
        commit_path(local_path(lakehouse.uri(lots)), version).unlink()
    with pytest.raises(QueryFailedError, match=r"silver\.lots is damaged and is not read until it is mended"):
        gateway.run("SELECT count(*) FROM silver.lots", user="qa")
    with pytest.raises(TableUnavailableError, match=rf"silver\.lots cannot be read: silver\.lots: .*{words}"):
        TableCache(lakehouse.settings, ledger=lakehouse.ledger).get("silver.lots")
    with pytest.raises(TableUnavailableError, match=rf"silver\.lots cannot be read: silver\.lots: .*{words}"):
        read_rows(lakehouse.settings, "silver.lots")
    with pytest.raises(TableUnavailableError, match=r"silver\.lots at version 3 cannot be read: silver\.lots: "):
        read_rows(lakehouse.settings, "silver.lots", version=3)
    with pytest.raises(DamagedTableError, match=rf"silver\.lots: .*{words}"):
        table_state(lakehouse.settings, lots)


CHECKED = {"check_id": "c", "checked_at_utc": datetime(2026, 3, 1, tzinfo=UTC), "model_version": "1", "subject": "risk", "drifted": True}
REFUSED = {"rule": "r", "ingest_batch": 1, "source_file": "a.csv", "source_row": 2}
LOOKS: dict[str, tuple[TableContract, dict[str, object], Callable[[Settings], object]]] = {
    "what asks for retraining": (DRIFT, CHECKED, newest_checks),
    "lab drift": (DRIFT, CHECKED, last_check),
    "the demonstration's drift": (DRIFT, CHECKED, drift_counts),
    "the demonstration's numbers of rows": (contract("silver.lots"), {"lot_id": "L1"}, row_counts),
    "lineage": (LINEAGE, {"target": "silver.lots"}, lineage_of),
    "lab quarantine": (QUARANTINED_ROWS, REFUSED, rejected_rows),
}
"""Small reads beside the pipeline: of which table, a row of it, and the read."""


@pytest.mark.parametrize("name", LOOKS)
def test_a_table_that_is_gone_is_lost_to_everyone_who_looks(lakehouse: Lakehouse, name: str) -> None:
    """Case 32: one row, and the folder is gone: that is no table to which nothing was written."""
    table, row, look = LOOKS[name]
    before = look(lakehouse.settings)
    assert not local_path(lakehouse.uri(table)).exists(), "looking makes no table"
    lakehouse.append(table, lakehouse.local_rows(table, [row]))
    assert look(lakehouse.settings) != before
    shutil.rmtree(local_path(lakehouse.uri(table)))
    with pytest.raises(DamagedTableError, match=rf"{table.full_name}: no table lies at .*, but version 1 was committed"):
        look(lakehouse.settings)
