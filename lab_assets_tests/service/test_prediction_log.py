"""The spool and its commits: each answered prediction once in the table, whatever happens in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from lab_assets.contracts.ml import ONLINE_LOG
from lab_assets.lake.archiving import grace_of, put_away
from lab_assets.lake.maintenance import maintain
from lab_assets.lake.writer import LakeWriter
from lab_assets.service import prediction_log
from lab_assets.service.prediction_log import LogUnavailableError, PredictionLog
from lab_assets.service.records import Prediction, Record, new_prediction_id
from lab_assets.settings import Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets_tests.service.predictions import AT, make

pytestmark = pytest.mark.usefixtures("engine")


def stored(settings: Settings) -> list[str]:
    table = DeltaTable(settings.table_uri("ml", "online_log"))
    return sorted(table.to_pyarrow_table(columns=["prediction_id"]).column(0).to_pylist())


def opened(settings: Settings) -> PredictionLog:
    log = PredictionLog(settings)
    log.open(background=False)
    return log


def wait_for(happened, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "lab")


def test_a_prediction_survives_the_way_through_spool_and_table_to_the_last_bit(settings):
    log = opened(settings)
    log.append(make(1))
    assert log.get("p-000001") == make(1)
    log.flush()
    row = DeltaTable(settings.table_uri("ml", "online_log")).to_pyarrow_table().to_pylist()[0]
    assert Record.from_row(row) == make(1)
    log.close()


def test_lines_and_a_table_of_before_decisions_were_recorded_are_taken_up(settings):
    """A spool and a table as an earlier version of the service left them: the prediction alone, in a table without the new columns."""
    import orjson
    import pyarrow as pa

    from lab_assets.contracts.ml import ONLINE_LOG

    old = [name for name in ONLINE_LOG.column_names if name in Prediction.__dataclass_fields__]
    DeltaTable.create(settings.table_uri("ml", "online_log"), schema=pa.schema([ONLINE_LOG.arrow_schema().field(name) for name in old]))
    log = opened(settings)
    path = log._current.path
    log._owner.release()
    path.write_bytes(orjson.dumps(make(1).prediction) + b"\n")
    again = opened(settings)
    again.append(make(2))
    again.close()
    rows = {row["prediction_id"]: row for row in DeltaTable(settings.table_uri("ml", "online_log")).to_pyarrow_table().to_pylist()}
    assert Record.from_row(rows["p-000001"]) == Record(prediction=make(1).prediction, outcome=None)
    assert Record.from_row(rows["p-000002"]) == make(2)


def test_an_unflushed_spool_is_committed_at_the_next_start(settings):
    log = opened(settings)
    for number in range(5):
        log.append(make(number))
    log._owner.release()  # the process is gone, nothing was closed
    again = opened(settings)
    assert stored(settings) == [f"p-{number:06d}" for number in range(5)]
    assert again.get("p-000003") == make(3)
    again.close()


def test_a_table_that_is_gone_is_not_begun_anew(settings):
    """What was committed to it is missed by name, and what is answered meanwhile waits in the spool."""
    log = opened(settings)
    log.append(make(1))
    log.flush()
    ledger = Ledger(open_database(settings))
    ledger.note_table_commit("ml.online_log", 1)
    folder = Path(settings.table_uri("ml", "online_log").removeprefix("file://"))
    aside = folder.rename(folder.with_name("aside"))
    log._table = None
    log.append(make(2))
    log.flush()
    assert log.last_error is not None
    assert "ml.online_log" in log.last_error
    assert (folder.exists(), log.pending) == (False, 1)
    aside.rename(folder)
    log.flush()
    assert (stored(settings), log.last_error) == (["p-000001", "p-000002"], None)
    log.close()
    ledger.engine.dispose()


def test_a_file_whose_commit_landed_is_not_committed_twice(settings):
    log = opened(settings)
    log.append(make(1))
    content = log._current.path.read_bytes()
    path = log._current.path
    log.flush()
    log._owner.release()
    path.write_bytes(content)  # the process died after the commit, before it could remove the file
    opened(settings).close()
    assert stored(settings) == ["p-000001"]


def test_half_a_last_line_was_never_answered_and_is_left_out(settings):
    log = opened(settings)
    log.append(make(1))
    with log._current.path.open("ab") as file:
        file.write(b'{"prediction_id": "p-0000')
    log._owner.release()
    opened(settings).close()
    assert stored(settings) == ["p-000001"]


def test_a_second_process_is_refused(settings):
    log = opened(settings)
    with pytest.raises(LogUnavailableError, match="another process"):
        opened(settings)
    log.close()


def test_nothing_is_answered_when_the_line_cannot_be_kept(settings):
    """/dev/full answers every write with 'no space left on device'."""
    log = opened(settings)
    log.append(make(1))
    real = log._fd
    log._fd = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(LogUnavailableError):
            log.append(make(2))
    finally:
        os.close(log._fd)
        log._fd = real
    assert log.get("p-000002") is None
    log.append(make(3))
    log.close()
    assert stored(settings) == ["p-000001", "p-000003"]


def test_a_failed_commit_keeps_everything_and_is_repeated(settings):
    log = opened(settings)
    log.append(make(1))
    table = Path(settings.table_uri("ml", "online_log"))
    hidden = table.with_name("hidden")
    table.rename(hidden)
    table.write_text("in the way")
    log.flush()
    assert log.last_error is not None
    assert log.pending == 1
    table.unlink()
    hidden.rename(table)
    log.flush()
    assert log.last_error is None
    assert stored(settings) == ["p-000001"]
    log.close()


@pytest.mark.parametrize("step", ["_commit", "_rotate"])
def test_a_step_that_fails_as_nobody_expected_does_not_end_the_log(settings, monkeypatch, step):
    monkeypatch.setattr(prediction_log, "COMMIT_INTERVAL_S", 0.05)
    log = PredictionLog(settings)
    log.open()
    with monkeypatch.context() as broken:
        broken.setattr(log, step, lambda *_: 1 / 0)
        log.append(make(1))
        wait_for(lambda: log.last_error == "ZeroDivisionError: division by zero")
        assert log.pending == 1
    wait_for(lambda: log.last_error is None)
    assert stored(settings) == ["p-000001"]
    log.close()


def test_too_many_waiting_are_refused_instead_of_growing(settings, monkeypatch):
    monkeypatch.setattr(prediction_log, "MAX_PENDING", 3)
    log = opened(settings)
    for number in range(3):
        log.append(make(number))
    with pytest.raises(LogUnavailableError, match="too many"):
        log.append(make(4))
    log.close()


def test_many_commits_are_compacted(settings, monkeypatch):
    """60 commits leave one compacted file of the first 50 and 10 small ones."""
    monkeypatch.setattr(prediction_log, "COMPACT_EVERY_COMMITS", 10)
    log = opened(settings)
    for number in range(20):
        log.append(make(number))
        log.flush()
    log.close()
    table = DeltaTable(settings.table_uri("ml", "online_log"))
    assert len(table.file_uris()) <= 2
    assert len(stored(settings)) == 20


def test_ids_sort_by_time():
    ids = [new_prediction_id(AT + timedelta(milliseconds=step)) for step in range(5)]
    assert ids == sorted(ids)
    assert len({new_prediction_id(AT) for _ in range(100)}) == 100


_KILLED = """
import sys
from lab_assets.settings import Settings
from pathlib import Path
from lab_assets.service.prediction_log import PredictionLog
from lab_assets_tests.service.predictions import make
log = PredictionLog(Settings(home=Path(sys.argv[1])))
log.open()
for number in range(100000):
    log.append(make(number))
    print(f"p-{number:06d}", flush=True)
"""


def test_every_answered_prediction_survives_kill_9(settings):
    """The child prints an id only after ``append`` returned; after SIGKILL each printed id is in the table, once."""
    with subprocess.Popen([sys.executable, "-c", _KILLED, str(settings.home)], stdout=subprocess.PIPE, text=True) as child:
        answered = [child.stdout.readline().strip() for _ in range(1500)]
        child.send_signal(signal.SIGKILL)
        answered += [line.strip() for line in child.stdout if len(line) == 9]
    opened(settings).close()
    kept = stored(settings)
    assert len(kept) == len(set(kept))
    assert set(answered) <= set(kept)
    assert len(kept) <= len(answered) + 1


def test_what_the_log_stores_stays_a_small_multiple_of_what_lives(settings):
    """120 commits of forty scores, put in order and archived: 4,800 rows, few files, and no more than three times their bytes.

    Put together as a whole every fifty commits, with every earlier copy kept, 2.0 MB lay beside 38.7 MB. The service goes on writing by
    the table that it holds open, and what it wrote first is still in the version of then.
    """
    log = opened(settings)
    lake = LakeWriter(settings, Ledger(open_database(settings)))
    for commit in range(120):
        for number in range(40 * commit, 40 * commit + 40):
            log.append(make(number))
        log.flush()
    maintain(lake, ONLINE_LOG)
    put_away(lake, ONLINE_LOG, now=datetime.now(UTC) + timedelta(hours=2), grace=grace_of(settings, ONLINE_LOG))
    folder = Path(settings.table_uri("ml", "online_log"))
    live = sum(Path(uri.removeprefix("file://")).stat().st_size for uri in lake.open(ONLINE_LOG).file_uris())
    held = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in held) <= 3 * live
    assert len(held) < 60
    log.append(make(4800))
    log.flush()
    log.close()
    assert len(stored(settings)) == len(set(stored(settings))) == 4801
    assert lake.polars(ONLINE_LOG, ["prediction_id"], version=10).height == 400


def test_small_files_do_not_gather_while_scores_flow(settings):
    """A commit a second for two minutes: never many more files than are gathered before the newest are put together."""
    log = opened(settings)
    most = 0
    for number in range(120):
        log.append(make(number))
        log.flush()
        most = max(most, len(DeltaTable(settings.table_uri("ml", "online_log")).file_uris()))
    log.close()
    assert most <= prediction_log.COMPACT_EVERY_COMMITS + 5
