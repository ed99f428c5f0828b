"""Cases 1 to 17 of bad input: everything is dropped at once, one real run takes it, and each case looks at what became of its file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

import pytest

from lab_assets.contracts.bronze import CHAMBER_READINGS, CHROMATOGRAMS, LIMS_LOTS, QUARANTINE, QUARANTINED_ROWS, SCHEMA_EVENTS
from lab_assets.ingest.candidates import Patience
from lab_assets.ingest.inbox import InboxWatch, look, nothing_taken
from lab_assets.ingest.raw_store import RawStore
from lab_assets.ingest.receive import Receiver
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.quarantine import Quarantine
from lab_assets.stations.restoring import restore
from lab_assets_tests.faults.ingestion import Plant, plant_at, run_of

LOTS = "lot_id,product,site,batch_size_kg,recorded_at_utc\n"
CHAMBER = "time_utc,chamber,temperature_c,humidity_pct\n2025-01-01T00:00:00Z,CH-1,25.0,60.0\n2025-01-01T01:00:00Z,CH-1,25.1,60.5\n"
LONG_NAME = "a" * 251 + ".txt"


def bomb() -> bytes:
    """An archive of 100 MiB of zeros in 100 kB."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ro-crate-metadata.json", b"\0" * (100 << 20))
    return packed.getvalue()


def nested() -> bytes:
    """Five archives, each in the next."""
    data = b"inner"
    for level in range(5):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(f"level{level}.zip", data)
        data = packed.getvalue()
    return data


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """A laboratory after two runs: the first files, then all kinds of trouble."""
    plant = plant_at(tmp_path_factory.mktemp("dropped") / "lab")
    plant.drop("revised.txt", run_of("S-3 first"))
    plant.drop("touched.txt", run_of("S-4"))
    plant.ingest_whole()

    plant.drop("revised.txt", run_of("S-3 corrected"))
    os.utime(plant.inbox / "hplc" / "touched.txt", (0, 0))
    plant.drop("good.txt", run_of("S-2"))
    plant.drop("copy.txt", run_of("S-2"))
    plant.drop("empty.txt", b"")
    plant.drop("lots_header_only.csv", LOTS, "lims")
    plant.drop("cut.txt", run_of("S-6")[:1200])
    plant.drop("cut.csv", CHAMBER.replace("CH-1", "CH-CUT")[:-2], "chambers")
    plant.drop("year_1970.txt", run_of("S-7a"))
    plant.drop("year_2099.txt", run_of("S-7b"))
    os.utime(plant.inbox / "hplc" / "year_1970.txt", (0, 0))
    os.utime(plant.inbox / "hplc" / "year_2099.txt", (4_070_908_800, 4_070_908_800))
    plant.drop("bom_crlf.csv", b"\xef\xbb\xbf" + CHAMBER.replace("CH-1", "CH-BOM").replace("\n", "\r\n").encode(), "chambers")
    plant.drop("nul.csv", CHAMBER.encode() + b"2025-01-01T02:00:00Z,CH-1,\x00,60\n", "chambers")
    plant.drop("bad_encoding.csv", CHAMBER.encode() + b"2025-01-01T02:00:00Z,CH-\xff\xfe\x9d,25,60\n", "chambers")
    for number, name in enumerate((LONG_NAME, "new\nline.txt", "star*.txt", "ⅰnvoice.txt", "..txt", "-rf.txt")):
        plant.drop(name, run_of(f"S-9 {number}"))
    (plant.inbox / "hplc" / "link.txt").symlink_to("/etc/hostname")
    os.mkfifo(plant.inbox / "hplc" / "pipe.txt")
    (plant.inbox / "hplc" / "x.csv").mkdir()
    plant.drop("bomb.eln", bomb(), "eln")
    plant.drop("nested.zip", nested(), "eln")
    plant.drop("other_order.csv", "recorded_at_utc,batch_size_kg,product,lot_id\n2025-01-02T00:00:00Z,12.5,ALPHA-10,L-14\n", "lims")
    plant.drop("new_column.csv", LOTS.replace("site", "shift,site") + "L-15,ALPHA-10,night,Basel,10,2025-01-02T00:00:00Z\n", "lims")
    plant.drop("missing_column.csv", "lot_id,charge_size,recorded_at_utc,site\nL-16,3,2025-01-02T00:00:00Z,Basel\n", "lims")
    plant.drop("unit_changed.csv", LOTS.replace("_kg", "_g") + "L-17,ALPHA-10,Basel,10,2025-01-02T00:00:00Z\n", "lims")
    rows = ("L-18,ALPHA-10,Basel,ten,", "L-19,ALPHA-10,Basel,NaN,", 'L-20,ALPHA-10,Basel,"1,5",', "L-21,ALPHA-10,Basel,11,")
    dated = "".join(f"{row}2025-01-02T00:00:00Z\n" for row in rows) + "L-22,ALPHA-10,Basel,12,03/04/2025\n"
    plant.drop("bad_rows.csv", LOTS + dated, "lims")
    plant.ingest_whole()
    return plant


def rule_of(plant: Plant, path: str) -> tuple[str, str | None]:
    row = plant.arrivals()[path]
    return row["state"], row["rule"]


def samples(plant: Plant, path: str) -> list[str]:
    """Sample names of the chromatograms that a path's newest arrival brought."""
    digest = plant.arrivals()[path]["file_id"]
    rows = plant.lake.polars(CHROMATOGRAMS, ["source_sha256", "sample_name"]).rows()
    return [sample for found, sample in rows if found == digest]


def test_case_1_a_growing_file_is_not_touched_and_comes_in_whole_once(plant: Plant) -> None:
    """A process appends for a second; every look meanwhile calls it growing; after it is still for half a second it is ready."""
    half = "for i in 1 2 3 4 5; do echo line $i >> growing.csv; sleep 0.2; done"
    writer = subprocess.Popen(["sh", "-c", half], cwd=plant.inbox / "chambers")
    patience = Patience(stable_s=0.5)
    watch = InboxWatch(plant.inbox)
    seen: list[int] = []
    while writer.poll() is None:
        found = watch.look(nothing_taken, patience)
        seen.append(sum(candidate.file_name == "growing.csv" for candidate in found.ready))
        time.sleep(0.05)
    assert sum(seen) == 0
    time.sleep(0.7)
    names = [candidate.file_name for candidate in watch.look(nothing_taken, patience).ready]
    assert names.count("growing.csv") == 1
    (plant.inbox / "chambers" / "growing.csv").unlink()


def test_case_2_the_same_bytes_under_another_name_bring_no_rows(plant: Plant) -> None:
    states = {path: plant.arrivals()[f"hplc/{path}"] for path in ("good.txt", "copy.txt")}
    assert sorted(row["state"] for row in states.values()) == ["committed", "duplicate"]
    (copy,) = (row for row in states.values() if row["state"] == "duplicate")
    assert copy["duplicate_of"] in {"hplc/good.txt", "hplc/copy.txt"}
    assert samples(plant, "hplc/good.txt") == ["S-2", "S-2"]


def test_case_3_other_bytes_under_the_same_name_are_a_revision_on_record(plant: Plant) -> None:
    row = plant.arrivals()["hplc/revised.txt"]
    assert samples(plant, "hplc/revised.txt") == ["S-3 corrected", "S-3 corrected"]
    first = hashlib.sha256(run_of("S-3 first").encode()).hexdigest()
    assert row["supersedes"] == first
    for digest in (first, row["file_id"]):
        assert (plant.settings.raw / digest[:2] / digest).exists()
    entries = AuditLog(plant.lake.ledger.engine).entries(action="file.revise")
    assert [json.loads(entry.new or "{}")["file"] for entry in entries] == ["hplc/revised.txt"]
    assert json.loads(entries[0].old or "{}")["file_id"] == first


def test_case_4_the_raw_copy_outlives_a_change_in_place(plant: Plant) -> None:
    """The first bytes of the revised file are in the raw store as they arrived, and nobody may write them."""
    first = hashlib.sha256(run_of("S-3 first").encode()).hexdigest()
    kept = plant.settings.raw / first[:2] / first
    assert kept.read_bytes() == run_of("S-3 first").encode()
    assert kept.stat().st_mode & 0o777 == 0o400
    assert plant.settings.raw.stat().st_mode & 0o077 == 0


def test_case_5_empty_and_header_only_files_are_refused_and_others_go_on(plant: Plant) -> None:
    assert rule_of(plant, "hplc/empty.txt") == ("quarantined", "empty")
    assert plant.arrivals()["hplc/empty.txt"]["reason"].startswith("empty: ")
    assert rule_of(plant, "lims/lots_header_only.csv") == ("quarantined", "empty")
    assert rule_of(plant, "hplc/good.txt")[0] in {"committed", "duplicate"}


def test_case_6_a_file_whose_last_line_is_cut_brings_no_row(plant: Plant) -> None:
    """A run cut in the middle, and a log whose last value 60.5 became 60. without a line end."""
    assert rule_of(plant, "hplc/cut.txt") == ("quarantined", "truncated")
    assert samples(plant, "hplc/cut.txt") == []
    assert rule_of(plant, "chambers/cut.csv") == ("quarantined", "truncated")
    assert "CH-CUT" not in plant.lake.polars(CHAMBER_READINGS, ["chamber_id"])["chamber_id"].to_list()


@pytest.mark.parametrize("name", ["year_1970.txt", "year_2099.txt", "touched.txt"])
def test_case_7_modification_times_do_not_matter(plant: Plant, name: str) -> None:
    """1970 and 2099 come in, files after them too, and a touched one is nothing new."""
    assert rule_of(plant, f"hplc/{name}") == ("committed", None)
    assert len(samples(plant, f"hplc/{name}")) == 2


def test_case_8_marks_and_line_ends_are_read_and_bad_bytes_refused_with_their_place(plant: Plant) -> None:
    readings = plant.lake.polars(CHAMBER_READINGS, ["chamber_id", "temperature_c"]).rows()
    assert sorted(temperature for chamber, temperature in readings if chamber == "CH-BOM") == [25.0, 25.1]
    for name, offset in (("nul.csv", len(CHAMBER) + 26), ("bad_encoding.csv", len(CHAMBER) + 24)):
        row = plant.arrivals()[f"chambers/{name}"]
        assert (row["state"], row["rule"], row["place"]) == ("quarantined", "encoding", f"byte {offset}")


def test_case_9_hostile_names_are_only_names(plant: Plant) -> None:
    """Six names: 255 bytes, a line end, a star, a look-alike, dots, a dash. All are kept by digest; nothing lies elsewhere."""
    for number, name in enumerate((LONG_NAME, "new\nline.txt", "star*.txt", "ⅰnvoice.txt", "..txt", "-rf.txt")):
        if name.startswith("."):
            assert f"hplc/{name}" not in plant.arrivals()  # a hidden name is a transfer under way; it is counted, not lost
            continue
        assert rule_of(plant, f"hplc/{name}") == ("committed", None)
        assert samples(plant, f"hplc/{name}") == [f"S-9 {number}"] * 2
    assert look(plant.inbox, nothing_taken, Patience(stable_s=0)).passed_over == 1
    outside = [path for path in plant.settings.home.rglob("*") if path.is_file() and "line.txt" in path.name]
    assert outside == [plant.inbox / "hplc" / "new\nline.txt"]


def test_case_10_what_is_no_file_is_refused_with_the_reason(plant: Plant) -> None:
    reasons = {name: plant.arrivals()[f"hplc/{name}"]["reason"] for name in ("link.txt", "pipe.txt", "x.csv")}
    assert "symbolic link" in reasons["link.txt"]
    assert "not a regular file" in reasons["pipe.txt"]
    assert "folder with the name of a file" in reasons["x.csv"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_case_10_a_file_without_the_right_to_read_is_refused() -> None:
    """Root may read everything, so a child becomes nobody before the real copy step."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "secret.txt").write_text("x")
        (folder / "secret.txt").chmod(0)
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            try:
                RawStore(folder / "raw").put_file(folder / "secret.txt")
            except PermissionError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_case_10_no_right_to_read_is_a_reason(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the copy step makes of that error."""
    secret = plant.drop("secret.txt", "x")
    receiver = Receiver(plant.settings, plant.lake.ledger)
    (found,) = (candidate for candidate in receiver.look().ready if candidate.file_name == "secret.txt")

    def no_right(_path: Path, **_seen: object) -> None:
        raise PermissionError

    monkeypatch.setattr(receiver.raw, "put_file", no_right)
    answer = receiver._copy(found)
    secret.unlink()
    assert answer is not None
    assert (answer.state, answer.rule) == ("quarantined", "unreadable")


def test_case_11_many_files_and_a_few_bad_ones(tmp_path: Path) -> None:
    """300 runs of which 3 are bad, in bounded batches of 100: 297 in, 3 refused for their reasons, two traces of each good one."""
    plant = plant_at(tmp_path / "lab")
    bad = {50: b"", 150: run_of("S-150")[:900].encode(), 250: b"\x01\x02\x03" * 50}
    for number in range(300):
        plant.drop(f"{number:03d}.txt", bad.get(number, run_of(f"S-{number}").encode()))
    plant.ingest_whole(BATCH_FILES="100")
    arrivals = plant.arrivals()
    refused = {path: row["rule"] for path, row in arrivals.items() if row["state"] != "committed"}
    assert refused == {"hplc/050.txt": "empty", "hplc/150.txt": "truncated", "hplc/250.txt": "unknown_format"}
    assert sorted({row["ingest_batch"] for row in arrivals.values()}) == [1, 2, 3]
    assert plant.lake.row_count(CHROMATOGRAMS) == 2 * 297


def test_case_12_a_file_that_vanishes_is_on_record(plant: Plant) -> None:
    """Seen by the look, gone at the copy: recorded as vanished, and the next run goes on."""
    ghost = plant.drop("ghost.txt", "x")
    receiver = Receiver(plant.settings, plant.lake.ledger)
    (found,) = (candidate for candidate in receiver.look().ready if candidate.file_name == "ghost.txt")
    ghost.unlink()
    answer = receiver._copy(found)
    assert answer is not None
    assert (answer.state, answer.file_id) == ("vanished", "")
    plant.lake.ledger.record([answer])
    plant.ingest_whole()
    assert rule_of(plant, "hplc/ghost.txt") == ("vanished", None)


def test_case_13_bombs_and_nests_are_stopped(plant: Plant) -> None:
    assert rule_of(plant, "eln/bomb.eln") == ("quarantined", "zip_bomb")
    state, rule = rule_of(plant, "eln/nested.zip")
    assert (state, rule in {"unknown_format", "nested_archive"}) == ("quarantined", True)


def lots(plant: Plant) -> dict[str, dict[str, object]]:
    return {row["lot_id"]: row for row in plant.lake.polars(LIMS_LOTS).to_dicts()}


def test_case_14_columns_in_another_order_are_taken_by_name(plant: Plant) -> None:
    lot = lots(plant)["L-14"]
    assert (lot["product"], lot["batch_size_kg"], str(lot["recorded_at_utc"])[:10]) == ("ALPHA-10", 12.5, "2025-01-02")


def test_case_15_a_new_column_is_rescued_and_told(plant: Plant) -> None:
    lot = lots(plant)["L-15"]
    rescued = lot["rescued"]
    pairs = {entry["key"]: entry["value"] for entry in rescued} if isinstance(rescued, list) else rescued
    assert pairs == {"shift": "night"}
    events = plant.lake.polars(SCHEMA_EVENTS, ["kind", "column_name", "source_file"]).rows()
    assert ("unknown_column", "shift", "new_column.csv") in events


def test_case_16_a_missing_column_or_another_unit_refuses_the_file(plant: Plant) -> None:
    assert rule_of(plant, "lims/missing_column.csv") == ("quarantined", "missing_column")
    assert rule_of(plant, "lims/unit_changed.csv") == ("quarantined", "unit_changed")
    assert not {"L-16", "L-17"} & lots(plant).keys()
    kinds = {(row[0], row[1]) for row in plant.lake.polars(SCHEMA_EVENTS, ["kind", "source_file"]).rows()}
    assert {("missing_column", "missing_column.csv"), ("unit_changed", "unit_changed.csv")} <= kinds


def test_case_17_bad_values_leave_with_line_and_rule_and_good_rows_go_on(plant: Plant) -> None:
    """Five rows in lines 2 to 6: words, NaN, a decimal comma and an ambiguous date leave; the fourth stays."""
    rejected = plant.lake.polars(QUARANTINED_ROWS).to_dicts()
    local = {row["source_row"]: (row["rule"], row["column_name"]) for row in rejected if row["source_file"] == "bad_rows.csv"}
    assert local[2] == ("not_a_number", "batch_size_kg")
    assert local[3] == ("not_finite", "batch_size_kg")
    assert local[4] == ("not_a_number", "batch_size_kg")
    assert local[6] == ("ambiguous_date", "recorded_at_utc")
    assert sorted(local) == [2, 3, 4, 6]
    assert "L-21" in lots(plant)
    assert rule_of(plant, "lims/bad_rows.csv") == ("committed", None)


def test_every_refusal_is_a_step_in_the_quarantine_table_with_how_to_mend_it(plant: Plant) -> None:
    steps = plant.lake.polars(QUARANTINE).to_dicts()
    waiting = {row.arrival_id for row in Quarantine(plant.lake.ledger.engine).waiting()}
    assert {step["arrival_id"] for step in steps} >= waiting
    assert all(step["mend"] and step["reason"] for step in steps if step["event"] == "quarantined")
    assert len({step["event_id"] for step in steps}) == len(steps)


def test_a_quarantine_table_that_was_set_back_is_filled_again_each_step_once(plant: Plant) -> None:
    """Back to the empty table: the next run, which finds nothing new in the inbox, copies what is missing."""
    before = sorted(plant.lake.polars(QUARANTINE)["event_id"].to_list())
    restore(plant.lake, QUARANTINE, 0, force=True)
    assert plant.lake.row_count(QUARANTINE) == 0
    plant.ingest_whole()
    assert sorted(plant.lake.polars(QUARANTINE)["event_id"].to_list()) == before
