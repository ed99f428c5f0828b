"""Ingestion of few files, without Spark: every file once, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from lab_assets.contracts.bronze import CHROMATOGRAMS, FILES, QUARANTINED_ROWS, SPECIFICATIONS, VENDOR_PEAKS
from lab_assets.ingest.ingestor import IngestBusyError, Ingestor
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.state.database import writing
from lab_assets.state.quarantine import Quarantine
from lab_assets_tests.ingest import files
from lab_assets_tests.ingest.files import chromatogram, drop
from lab_assets_tests.samples import needs_samples, samples_dir


@pytest.fixture
def inbox(lakehouse: Lakehouse) -> Path:
    lakehouse.settings.inbox.mkdir(parents=True)
    return lakehouse.settings.inbox


def ingest(lakehouse: Lakehouse) -> Any:
    return Ingestor(lakehouse).run()


def states(lakehouse: Lakehouse) -> dict[str, str]:
    """State by path of every arrival in ``bronze.files``, the newest arrival of a path counting."""
    rows = lakehouse.polars(FILES, ["arrival_id", "source", "file_name", "state"]).sort("arrival_id").rows()
    return {f"{source}/{name}": state for _, source, name, state in rows}


def test_one_look_at_many_kinds_of_trouble(lakehouse: Lakehouse, inbox: Path) -> None:
    """Good, duplicate, cut, empty, unknown and linked files and one bad row in one batch; a second run finds nothing."""
    drop(inbox, "hplc", "a.txt", chromatogram("S-1"))
    drop(inbox, "hplc", "copy of a.txt", chromatogram("S-1"))
    drop(inbox, "hplc", "cut.txt", chromatogram("S-2")[:1200])
    drop(inbox, "hplc", "empty.txt", b"")
    drop(inbox, "hplc", "noise.dat", b"\x01\x02\x03" * 50)
    drop(inbox, "hplc", "copying.txt.part", chromatogram("S-3"))
    drop(inbox, "lims", "specifications.csv", files.SPECIFICATIONS)
    (inbox / "hplc" / "link.txt").symlink_to(inbox / "hplc" / "a.txt")
    report = ingest(lakehouse)

    assert report.batches == [1]
    assert report.states == {"committed": 2, "duplicate": 1, "quarantined": 4}
    assert report.rows["chromatograms"] == 2
    assert report.rows["specifications"] == 1
    assert states(lakehouse) == {
        "hplc/a.txt": "committed",
        "hplc/copy of a.txt": "duplicate",
        "hplc/cut.txt": "quarantined",
        "hplc/empty.txt": "quarantined",
        "hplc/link.txt": "quarantined",
        "hplc/noise.dat": "quarantined",
        "lims/specifications.csv": "committed",
    }
    rules = {row.file_name: row.rule for row in Quarantine(lakehouse.ledger.engine).waiting()}
    assert (rules["empty.txt"], rules["noise.dat"], rules["link.txt"]) == ("empty", "unknown_format", "not_a_file")
    (bad,) = lakehouse.polars(QUARANTINED_ROWS).to_dicts()
    assert (bad["table_name"], bad["column_name"], bad["source_row"]) == ("specifications", "spec_high", 3)
    assert lakehouse.polars(SPECIFICATIONS)["spec_id"].to_list() == ["SPEC-1"]
    assert ingest(lakehouse).batches == []
    assert not (lakehouse.settings.run / "staging" / "1").exists()


def test_provenance_leads_from_a_row_to_the_original_bytes(lakehouse: Lakehouse, inbox: Path) -> None:
    path = drop(inbox, "hplc", "day 1/a.txt", chromatogram("S-1"))
    ingest(lakehouse)
    row = lakehouse.polars(VENDOR_PEAKS).sort("peak_no").to_dicts()[0]
    assert (row["source"], row["source_file"], row["ingest_batch"], row["area"]) == ("hplc", "day 1/a.txt", 1, 1584.0)
    assert Ingestor(lakehouse).raw.path(row["source_sha256"]).read_bytes() == path.read_bytes()
    assert row["ingested_at_utc"].tzinfo is not None


def test_a_refused_file_is_laid_beside_its_reason_and_can_be_tried_again(lakehouse: Lakehouse, inbox: Path) -> None:
    drop(inbox, "hplc", "noise.dat", b"\x01\x02\x03" * 50)
    ingest(lakehouse)
    quarantine = Quarantine(lakehouse.ledger.engine)
    (refused,) = quarantine.waiting()
    folder = lakehouse.settings.quarantine / "unknown_format"
    (note,) = folder.glob("*.reason.json")
    assert json.loads(note.read_text())["file"] == "noise.dat"
    assert (folder / note.name.removesuffix(".reason.json")).read_bytes() == b"\x01\x02\x03" * 50
    with writing(lakehouse.ledger.engine) as connection:
        assert quarantine.retry(connection, [refused.arrival_id], by="shell:qa", reason="mended") == 1
    again = ingest(lakehouse)
    assert (again.states, again.reasons) == ({"quarantined": 1}, {"unknown_format": 1})
    assert [row.retry_of for row in quarantine.waiting()] == [refused.arrival_id]


def test_other_bytes_under_the_same_name_are_a_revision_and_a_touch_is_nothing(lakehouse: Lakehouse, inbox: Path) -> None:
    path = drop(inbox, "hplc", "a.txt", chromatogram("S-1"))
    ingest(lakehouse)
    os.utime(path, (0, 0))
    assert ingest(lakehouse).batches == []
    drop(inbox, "hplc", "a.txt", chromatogram("S-1 corrected"))
    ingest(lakehouse)
    rows = lakehouse.polars(FILES, ["arrival_id", "file_id", "supersedes"]).sort("arrival_id").to_dicts()
    assert [row["supersedes"] for row in rows] == [None, rows[0]["file_id"]]
    samples = lakehouse.polars(CHROMATOGRAMS, ["sample_name", "ingest_batch"]).unique().sort("ingest_batch").rows()
    assert samples == [("S-1", 1), ("S-1 corrected", 2)]


def test_more_files_than_a_batch_holds_take_several(lakehouse: Lakehouse, inbox: Path) -> None:
    lakehouse.settings.batch_files = 2
    for number in range(3):
        drop(inbox, "hplc", f"{number}.txt", chromatogram(f"S-{number}"))
    report = ingest(lakehouse)
    assert (report.batches, report.states) == ([1, 2], {"committed": 3})
    assert sorted(lakehouse.polars(CHROMATOGRAMS, ["ingest_batch"])["ingest_batch"]) == [1, 1, 1, 1, 2, 2]


def test_a_second_run_at_the_same_time_is_refused(lakehouse: Lakehouse, inbox: Path) -> None:
    (lakehouse.settings.run / "locks").mkdir(parents=True)
    with FileLock(lakehouse.settings.run / "locks" / "ingest.lock"), pytest.raises(IngestBusyError, match="takes the waiting files"):
        ingest(lakehouse)


@pytest.mark.slow
def test_every_kind_of_file_of_the_simulated_laboratory_goes_in(lakehouse: Lakehouse, inbox: Path) -> None:
    """What the simulator writes for one lot is read without a refusal; the rows are those it wrote."""
    from lab_assets.simulation.run import simulate

    summary = simulate(inbox, seed=7, n_lots=1, start=datetime(2024, 7, 1, tzinfo=UTC), months=1)
    report = ingest(lakehouse)
    assert report.reasons == {}
    assert report.states == {"committed": summary.n_files}
    kinds = {kind for counts in summary.files.values() for kind in counts}
    assert set(lakehouse.polars(FILES, ["format"])["format"].to_list()) == kinds
    expected = {"chromatograms", "instrument_status", "lims_lots", "chamber_readings", "calibrations", "images", "documents"}
    assert expected <= set(report.rows)
    for name, count in report.rows.items():
        assert count > 0, name


@needs_samples
def test_real_files_go_in_whole(lakehouse: Lakehouse, inbox: Path) -> None:
    """The published HPLC sequence: every exported file is committed."""
    folder = samples_dir()
    assert folder is not None
    (inbox / "hplc").mkdir()
    originals = sorted((folder / "hplc_sequence").glob("*.txt"))
    for original in originals:
        shutil.copyfile(original, inbox / "hplc" / original.name)
    report = ingest(lakehouse)
    assert report.states == {"committed": len(originals)}
    names = lakehouse.polars(CHROMATOGRAMS, ["source_file"])["source_file"].unique().sort().to_list()
    assert names == [original.name for original in originals]
