"""What ended processes left goes, what somebody comes back for stays."""

from __future__ import annotations

import gzip
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab_assets.compute.spark_server import ServerState, SparkFiles
from lab_assets.home_identity import place_of
from lab_assets.process_stamp import stamp_of
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger, NewArrival
from lab_assets.upkeep import leftovers
from lab_assets.upkeep.databases import give_back
from lab_assets.upkeep.housekeeping import housekeep, record_removals
from lab_assets.upkeep.logs import turn_over, turn_over_large

WRITER = """
import sys, time
with open(sys.argv[1], "ab", buffering=0) as log:
    for number in range(3000):
        log.write(f"line {number:06d} of a process that keeps its log open\\n".encode())
        if number % 100 == 0:
            time.sleep(0.01)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path)
    settings.run.mkdir()
    return settings


def old(path: Path, *, hours: float = 48, size: int = 10) -> Path:
    """Make a file that changed so long ago, in a folder that did."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    moment = time.time() - hours * 3600
    for each in (path, path.parent):
        os.utime(each, (moment, moment))
    return path


def now() -> datetime:
    return datetime.now(UTC)


def test_scratch_of_a_dead_server_goes_and_of_a_living_one_stays(settings: Settings) -> None:
    """The living server was started after the first folder was last used, and its own folder is untouched since."""
    files = SparkFiles(settings)
    files.prepare()
    gone = old(files.folder / "scratch" / "blockmgr-a" / "x", size=1000)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as java:
        stamp = stamp_of(java.pid)
        state = ServerState(place=place_of(settings), program="p", supervisor=stamp, java=stamp, port=1, starts=1, ready=True)
        files.write_state(state)
        kept = files.folder / "scratch" / "blockmgr-b" / "x"
        kept.parent.mkdir()
        kept.write_bytes(bytes(5))
        would = leftovers.spark_scratch(settings, now=now() + timedelta(days=9), dry_run=True)
        assert (would.items, would.bytes, gone.exists()) == (1, 1000, True)
        assert leftovers.spark_scratch(settings, now=now() + timedelta(days=9)).items == 1
        assert (gone.exists(), kept.exists()) == (False, True)
        java.communicate(b"\n")
    assert leftovers.spark_scratch(settings, now=now() + timedelta(days=9)).items == 1
    assert not kept.exists()


def test_staged_rows_of_a_batch_that_is_not_committed_stay(settings: Settings) -> None:
    engine = open_database(settings)
    ledger = Ledger(engine)
    ledger.record([NewArrival(source="lims", file_name="a.csv", size=1, mtime_ns=1, ctime_ns=1, file_id="a" * 64)])
    batch = ledger.open_batch(10)
    staged = [old(settings.run / "staging" / name / "rows.parquet") for name in (str(batch), "9999")]
    assert leftovers.staged_batches(settings, engine, now=now()).items == 1
    assert [path.exists() for path in staged] == [True, False]


def test_young_drafts_and_the_spool_stay(settings: Settings) -> None:
    gone = old(settings.run / "up.draft")
    young = old(settings.run / "young.draft", hours=1)
    spool = old(settings.run / "spool" / "service" / "000000000001.jsonl")
    os.utime(young)
    assert leftovers.drafts(settings, now=now()).items == 1
    assert [path.exists() for path in (gone, young, spool)] == [False, True, True]


def test_copies_of_refused_files_go_by_policy_only(settings: Settings) -> None:
    copy = old(settings.quarantine / "lims" / "x.csv", hours=24 * 4000)
    os.utime(settings.quarantine / "lims", (0, 0))
    assert leftovers.quarantine_copies(settings, now=now()).items == 0
    settings.quarantine_days = 365
    assert (leftovers.quarantine_copies(settings, now=now()).items, copy.exists()) == (1, False)


def test_a_log_is_turned_over_while_it_is_written(settings: Settings) -> None:
    """A process writes 3,000 lines, the log is turned over four times meanwhile: what is left is whole lines in order, and no hole."""
    path = settings.run / "logs" / "service.log"
    path.parent.mkdir()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) as writer:
        for _ in range(4):
            time.sleep(0.1)
            if path.exists():
                turn_over(path, copies=9)
        writer.wait(timeout=60)
    copies = sorted(path.parent.glob("service.log.*.gz"), key=lambda each: -int(each.name.split(".")[2]))
    lines = b"".join([*(gzip.decompress(each.read_bytes()) for each in copies), path.read_bytes()]).splitlines()
    assert copies
    assert b"\0" not in path.read_bytes()
    numbers = [int(line.split()[1]) for line in lines if line.startswith(b"line ") and line.endswith(b"open")]
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= 2900  # a line written in the moment before it was emptied may be missing


def test_only_large_logs_are_turned_over_and_few_copies_kept(settings: Settings) -> None:
    settings.log_mib, settings.log_copies = 0.001, 2
    path = settings.run / "logs" / "service.log"
    path.parent.mkdir()
    small = path.with_name("small.log")
    small.write_bytes(b"x")
    for number in range(5):
        path.write_bytes(str(number).encode() * 2000)
        assert turn_over_large(settings, dry_run=True).bytes == 2000
        assert turn_over_large(settings).items == 1
    assert sorted(each.name for each in path.parent.iterdir()) == ["service.log", "service.log.1.gz", "service.log.2.gz", "small.log"]
    assert gzip.decompress(path.with_name("service.log.1.gz").read_bytes()) == b"4" * 2000


def test_the_space_of_deleted_rows_is_given_back_beside_a_user(settings: Settings) -> None:
    """20 MiB written and deleted while another connection has the database open: it is small again, and that connection reads on."""
    engine = open_database(settings)
    path = settings.home / "lab.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("create table filler (content blob)")
        other.executemany("insert into filler values (?)", [(bytes(1024 * 1024),)] * 20)
        other.execute("delete from filler")
        other.commit()
        assert give_back(settings, dry_run=True).bytes >= 19 * 2**20
        assert give_back(settings).bytes >= 19 * 2**20
        assert path.stat().st_size < 2 * 2**20
        assert other.execute("select count(*) from filler").fetchone() == (0,)
        assert other.execute("pragma integrity_check").fetchone() == ("ok",)
    assert give_back(settings).items == 0
    engine.dispose()


def test_what_was_removed_is_in_the_audit_trail(settings: Settings) -> None:
    engine = open_database(settings)
    old(settings.run / "up.draft")
    removals = housekeep(settings, engine, now=now())
    record_removals(engine, removals)
    record_removals(engine, housekeep(settings, engine, now=now()))
    (entry,) = [each for each in AuditLog(engine).entries() if each.action == "maintenance.removed"]
    assert entry.new is not None
    assert "drafts of ended processes" in entry.new
