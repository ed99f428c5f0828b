"""The embedded Spark server: started on need, restarted when killed, ended when idle, nothing left behind."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from lab_assets.compute.jars import class_archive, present_jars
from lab_assets.compute.session import SessionKeeper
from lab_assets.compute.spark_server import (
    SparkFiles,
    lease,
    live_leases,
    process_alive,
    remote_url,
    running_server,
    stop_server,
)
from lab_assets.compute.spark_supervisor import java_command
from lab_assets.lake.lakehouse import Lakehouse, in_parallel
from lab_assets.orchestration.assets.reports import resilient
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A server of the test's own that may be broken; small and impatient."""
    monkeypatch.setenv("LAB_SPARK_IDLE_S", "5")
    monkeypatch.setenv("LAB_SPARK_MEMORY", "512m")
    settings = Settings(home=tmp_path / "lab", jars_dir=PROJECT_ROOT / ".jars")
    yield settings
    stop_server(settings)


def until(condition: Callable[[], bool], *, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


def mentioning(home: Path) -> list[int]:
    """Processes whose command line names the home."""
    everyone = psutil.process_iter(["cmdline"])
    return [each.pid for each in everyone if each.pid != os.getpid() and str(home) in " ".join(each.info["cmdline"] or [])]


@pytest.mark.spark
def test_a_killed_server_is_back_with_a_new_session_and_an_idle_one_ends(own: Settings) -> None:
    """One life of a server: start, kill -9 under a station's threads, restart, the work repeated, the last user leaves, nothing is left."""
    keeper = SessionKeeper(own)
    lake = Lakehouse(own, keeper, Ledger(open_database(own)))
    assert keeper.session.range(3).count() == 3
    first = running_server(own)
    assert first is not None
    assert first.starts == 1
    assert stat.S_IMODE(SparkFiles(own).token.stat().st_mode) == 0o600

    def counts() -> list[int]:
        """Two threads share a session; one drops it as lost, which the other notices in its own way."""
        frames = [keeper.session.range(3), keeper.session.range(4)]
        if process_alive(first.java_pid):
            os.kill(first.java_pid, signal.SIGKILL)
        return in_parallel([frame.count for frame in frames])

    assert resilient(dg.build_asset_context(), lake, counts) == [3, 4]
    second = running_server(own)
    assert second is not None
    assert (second.starts, second.supervisor_pid) == (2, first.supervisor_pid)

    keeper.close()
    assert until(lambda: not process_alive(second.supervisor_pid), timeout_s=40)
    assert not process_alive(second.java_pid)
    assert mentioning(own.home) == []
    assert SparkFiles(own).read_state() is None


@pytest.mark.spark
def test_java_ends_when_its_supervisor_is_killed(own: Settings) -> None:
    with lease(own):
        remote_url(own)
        state = running_server(own)
        assert state is not None
        os.kill(state.supervisor_pid, signal.SIGKILL)
        assert until(lambda: not process_alive(state.java_pid), timeout_s=30)
        assert running_server(own) is None
    assert mentioning(own.home) == []


def test_another_server_is_used_when_one_is_named(tmp_path: Path) -> None:
    """Nothing is started or written for a remote server."""
    settings = Settings(home=tmp_path / "lab", spark_remote="sc://cluster:15002/;token=t")
    assert remote_url(settings) == "sc://cluster:15002/;token=t"
    assert not (tmp_path / "lab").exists()


def test_leases_of_the_dead_do_not_count(settings: Settings) -> None:
    """A process number above the system's largest can belong to nobody."""
    files = SparkFiles(settings)
    files.prepare()
    (files.clients / "99999999-1").write_text("99999999")
    with lease(settings), lease(settings):
        assert live_leases(files) == 2
    assert (live_leases(files), list(files.clients.iterdir())) == (0, [])


def test_stopping_what_does_not_run_is_no_error(settings: Settings) -> None:
    assert stop_server(settings) is False


def test_a_half_written_state_is_no_state(settings: Settings) -> None:
    files = SparkFiles(settings)
    files.prepare()
    files.state.write_text('{"supervisor_pid": 1, "ja')
    assert files.read_state() is None
    assert running_server(settings) is None


def test_stopping_spares_a_process_that_only_got_the_number(settings: Settings) -> None:
    """The state names this test's own process, which is no Spark server: it lives on."""
    files = SparkFiles(settings)
    files.prepare()
    child = psutil.Popen(["sleep", "30"])
    try:
        files.state.write_text(f'{{"supervisor_pid": {child.pid}, "java_pid": {child.pid}, "port": 1, "starts": 1}}')
        assert stop_server(settings) is False
        assert child.is_running()
    finally:
        child.kill()
        child.wait()


def test_classes_come_from_an_archive_where_one_was_made(own: Settings, tmp_path: Path) -> None:
    settings = _with_own_jars(own, tmp_path)
    assert not [option for option in java_command(settings, 1) if "Archive" in option]
    class_archive(settings).touch()
    assert f"-XX:SharedArchiveFile={class_archive(settings)}" in java_command(settings, 1)
    made = java_command(settings, 1, archive_to=tmp_path / "draft")
    assert [option for option in made if "Archive" in option] == [f"-XX:ArchiveClassesAtExit={tmp_path / 'draft'}"]


@pytest.mark.spark
def test_an_archive_that_java_cannot_use_costs_time_alone(own: Settings, tmp_path: Path) -> None:
    settings = _with_own_jars(own, tmp_path)
    class_archive(settings).write_bytes(bytes(4096))
    keeper = SessionKeeper(settings)
    assert keeper.session.sql("SELECT 1 AS one").collect()[0]["one"] == 1
    keeper.close()


def _with_own_jars(settings: Settings, folder: Path) -> Settings:
    """The same laboratory with links to its JARs in a folder of the test's own."""
    jars = folder / "jars"
    jars.mkdir()
    for jar in present_jars(settings):
        (jars / jar.name).symlink_to(jar)
    return settings.model_copy(update={"jars_dir": jars})
