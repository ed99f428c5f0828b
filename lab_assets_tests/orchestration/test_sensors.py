"""The inbox sensor's look, with a real ledger and real files; no run is started."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from lab_assets.ingest.inbox_mark import mark_inbox
from lab_assets.orchestration import sensors
from lab_assets.orchestration.assets.bronze import WAITING_TAG
from lab_assets.orchestration.private.run_database import PROCESS_TAG
from lab_assets.orchestration.sensors import TRIGGER, UNFINISHED_WORK, inbox
from lab_assets.settings import get_settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets.state.station_work import Attention
from lab_assets.stations import set_aside


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A drop folder of a home whose files are finished after half a second."""
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "lab"))
    monkeypatch.setenv("LAB_STABLE_S", "0.5")
    get_settings.cache_clear()
    open_database(get_settings()).dispose()
    sensors._SAID.clear()
    folder = get_settings().inbox / "hplc"
    folder.mkdir(parents=True)
    yield folder
    get_settings.cache_clear()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """Dagster's history, empty."""
    with dg.DagsterInstance.ephemeral() as fresh:
        yield fresh


def look(instance: dg.DagsterInstance) -> dg.SkipReason | dg.RunRequest:
    """Let the sensor look once."""
    found = inbox(dg.build_sensor_context(instance=instance))
    assert isinstance(found, dg.SkipReason | dg.RunRequest)
    return found


@dg.op
def nothing() -> None:
    return


@dg.op
def no_space() -> None:
    raise OSError("no space left")


@dg.job(name="ingest")
def good_run() -> None:
    nothing()


@dg.job(name="ingest")
def bad_run() -> None:
    no_space()


def ended_run(instance: dg.DagsterInstance, *, fails: bool, trigger: str = "inbox") -> None:
    """Let a job named as the product's run to its end in this instance."""
    (bad_run if fails else good_run).execute_in_process(instance=instance, raise_on_error=False, tags={TRIGGER: trigger})


def wait_s(found: dg.SkipReason | dg.RunRequest) -> int:
    """Seconds until the next attempt, as the sensor says them."""
    assert isinstance(found, dg.SkipReason)
    said = re.search(r"tried again in (\d+) s", found.skip_message or "")
    assert said, found.skip_message
    return int(said[1])


def test_an_empty_inbox_asks_for_nothing(source: Path, instance: dg.DagsterInstance) -> None:
    assert source.is_dir()
    found = look(instance)
    assert isinstance(found, dg.SkipReason)
    assert found.skip_message == "0 file(s) known, 0 still growing, none newly finished"


def test_a_file_that_landed_a_moment_ago_is_taken_by_the_same_look(source: Path, instance: dg.DagsterInstance) -> None:
    (source / "a.txt").write_text("finished")
    found = look(instance)
    assert isinstance(found, dg.RunRequest)
    assert found.tags["lab/files"] == "1"


def test_a_file_that_grows_meanwhile_is_left_for_a_later_look(source: Path, instance: dg.DagsterInstance) -> None:
    path, ended = source / "a.txt", threading.Event()

    def grow() -> None:
        while not ended.is_set():
            with path.open("a") as file:
                file.write("more\n")
            time.sleep(0.05)

    path.write_text("begun\n")
    writer = threading.Thread(target=grow)
    writer.start()
    try:
        found = look(instance)
    finally:
        ended.set()
        writer.join()
    assert isinstance(found, dg.SkipReason)
    assert "1 still growing" in (found.skip_message or "")


def test_a_daemons_look_goes_on_and_takes_what_lands_meanwhile(source: Path, instance: dg.DagsterInstance) -> None:
    """The daemon's next look would come seconds later."""
    context = dg.SensorEvaluationContext(instance_ref=None, instance=instance, last_tick_completion_time=time.time())
    landing = threading.Timer(1.0, lambda: (source / "a.txt").write_text("finished"))
    landing.start()
    began = time.monotonic()
    try:
        found = inbox(context)
    finally:
        landing.join()
    assert isinstance(found, dg.RunRequest)
    assert found.tags is not None
    assert found.tags["lab/files"] == "1"
    assert 1.5 <= time.monotonic() - began < get_settings().inbox_interval_s


def test_a_daemons_look_ends_before_the_next_one_is_due(source: Path, instance: dg.DagsterInstance) -> None:
    assert source.is_dir()
    context = dg.SensorEvaluationContext(instance_ref=None, instance=instance, last_tick_completion_time=time.time())
    began = time.monotonic()
    assert isinstance(inbox(context), dg.SkipReason)
    assert time.monotonic() - began < get_settings().inbox_interval_s


def test_the_daemon_looking_every_five_seconds_finds_the_interval_over_each_time() -> None:
    assert get_settings().inbox_interval_s == 5
    assert inbox.minimum_interval_seconds == 4


def test_an_inbox_that_is_gone_is_a_failed_look_and_then_the_reason_of_skipped_ones(source: Path, instance: dg.DagsterInstance) -> None:
    """Never an inbox without files; another problem is told at once, the same one again after ten minutes."""
    shutil.rmtree(source.parent)
    gone = f"problem: the inbox {source.parent} is not there: mount it again, or make the folder"
    with pytest.raises(dg.Failure, match=re.escape(gone)):
        look(instance)
    found = look(instance)
    assert isinstance(found, dg.SkipReason)
    assert found.skip_message == gone
    source.parent.write_text("a file")
    with pytest.raises(dg.Failure, match="is not a folder"):
        look(instance)


def test_an_empty_folder_in_place_of_the_inbox_is_a_failed_look(source: Path, instance: dg.DagsterInstance) -> None:
    mark_inbox(get_settings())
    assert "none newly finished" in str(look(instance))
    shutil.rmtree(source.parent)
    source.parent.mkdir()
    with pytest.raises(dg.Failure, match="has lost its mark"):
        look(instance)


def test_a_run_that_left_files_is_followed_by_the_next_at_once(source: Path, instance: dg.DagsterInstance) -> None:
    """Nothing is looked for: the run has said how many it left; one that was left nothing ends the row."""
    assert source.is_dir()
    good_run.execute_in_process(instance=instance, tags={WAITING_TAG: "99000"})
    found = look(instance)
    assert isinstance(found, dg.RunRequest)
    assert (found.tags[TRIGGER], found.tags["lab/files"]) == ("inbox", "99000")
    ended_run(instance, fails=False)
    assert isinstance(look(instance), dg.SkipReason)


def test_a_run_killed_before_it_began_does_not_hold_up_the_next(source: Path, instance: dg.DagsterInstance) -> None:
    (source / "a.txt").write_text("finished")
    gone = subprocess.Popen(["true"])
    gone.wait()
    run = instance.create_run_for_job(good_run)
    instance.add_run_tags(run.run_id, {PROCESS_TAG: f"{gone.pid}@{time.time()}@{run.run_id}"})
    event = dg.DagsterEvent(event_type_value=dg.DagsterEventType.PIPELINE_STARTING.value, job_name="ingest")
    instance.report_dagster_event(event, run_id=run.run_id)
    assert wait_s(look(instance)) in {4, 5}
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE


def test_what_was_set_aside_asks_for_one_run_of_the_next_version_of_the_code(
    source: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert source.is_dir()
    engine = open_database(get_settings())
    ledger = Ledger(engine)
    ledger.note_set_aside("silver.peaks", {'{"injection_id": "inj_1"}': "ValueError: no number"})
    ledger.set_progress("silver.peaks", {"#tried_by": set_aside.this_code()})
    assert isinstance(look(instance), dg.SkipReason)
    monkeypatch.setattr(set_aside, "code_version", lambda: "the next version")
    found = look(instance)
    engine.dispose()
    assert isinstance(found, dg.RunRequest)
    assert found.tags[TRIGGER] == UNFINISHED_WORK


def test_work_of_a_station_asks_for_a_run_although_no_file_came(source: Path, instance: dg.DagsterInstance) -> None:
    assert source.is_dir()
    engine = open_database(get_settings())
    Ledger(engine).call_attention([Attention(station="silver.peaks", kind="everything", reason="restored")])
    engine.dispose()
    found = look(instance)
    assert isinstance(found, dg.RunRequest)
    assert (found.tags["lab/files"], found.tags[TRIGGER]) == ("0", UNFINISHED_WORK)


def test_a_failed_run_is_tried_again_although_no_file_came(
    source: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What bronze has taken would otherwise wait for the next file; the second attempt waits 5 s, and the third 10 s."""
    assert source.is_dir()
    ended_run(instance, fails=True)
    assert wait_s(look(instance)) in {4, 5}
    ended_run(instance, fails=True, trigger=UNFINISHED_WORK)
    assert wait_s(look(instance)) in {9, 10}
    later = time.time() + 11
    monkeypatch.setattr(time, "time", lambda: later)
    found = look(instance)
    assert isinstance(found, dg.RunRequest)
    assert found.tags[TRIGGER] == UNFINISHED_WORK
    ended_run(instance, fails=False, trigger=UNFINISHED_WORK)
    assert "none newly finished" in str(look(instance))


def test_files_that_every_run_fails_on_are_not_tried_in_a_loop(source: Path, instance: dg.DagsterInstance) -> None:
    """Eleven failures: ten minutes at most, so that a mended disk is found by itself; one success, and the next file is taken at once."""
    (source / "a.txt").write_text("finished")
    for _ in range(11):
        ended_run(instance, fails=True)
    assert 595 <= wait_s(look(instance)) <= 600
    ended_run(instance, fails=False)
    assert isinstance(look(instance), dg.RunRequest)


def test_work_that_successful_runs_leave_is_not_tried_in_a_loop(source: Path, instance: dg.DagsterInstance) -> None:
    """As where a station waits for something that only a person can give; a file is taken at once all the same."""
    engine = open_database(get_settings())
    Ledger(engine).call_attention([Attention(station="silver.peaks", kind="everything", reason="restored")])
    engine.dispose()
    for _ in range(3):
        ended_run(instance, fails=False, trigger=UNFINISHED_WORK)
    assert wait_s(look(instance)) in {19, 20}
    (source / "a.txt").write_text("finished")
    assert isinstance(look(instance), dg.RunRequest)
