"""The embedded Spark server: started on need, restarted when killed, ended when idle, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from lab_assets.compute.jars import class_archive, present_jars
from lab_assets.compute.session import SessionKeeper
from lab_assets.compute.spark_server import (
    ServerState,
    SparkFiles,
    lease,
    live_leases,
    remote_url,
    running_server,
    stop_server,
)
from lab_assets.compute.spark_supervisor import Supervisor, java_command
from lab_assets.home_identity import place_of
from lab_assets.lake.lakehouse import Lakehouse, in_parallel
from lab_assets.orchestration.assets.reports import resilient
from lab_assets.process_stamp import Stamp, stamp_of
from lab_assets.provenance import program_digest
from lab_assets.settings import PROJECT_ROOT, Settings
from lab_assets.state.database import open_database
from lab_assets.state.ledger import Ledger
from lab_assets_tests.supervision.parts import lives


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
        if lives(first.java_pid):
            os.kill(first.java_pid, signal.SIGKILL)
        return in_parallel([frame.count for frame in frames])

    assert resilient(dg.build_asset_context(), lake, counts) == [3, 4]
    second = running_server(own)
    assert second is not None
    assert (second.starts, second.supervisor.pid) == (2, first.supervisor.pid)

    keeper.close()
    assert until(lambda: not lives(second.supervisor.pid), timeout_s=40)
    assert not lives(second.java_pid)
    assert mentioning(own.home) == []
    assert SparkFiles(own).read_state() is None


@pytest.mark.spark
def test_java_ends_when_its_supervisor_is_killed(own: Settings) -> None:
    with lease(own):
        remote_url(own)
        state = running_server(own)
        assert state is not None
        os.kill(state.supervisor.pid, signal.SIGKILL)
        assert until(lambda: not lives(state.java_pid), timeout_s=30)
        assert running_server(own) is None
    assert mentioning(own.home) == []


def test_another_server_is_used_when_one_is_named(tmp_path: Path) -> None:
    """Nothing is started or written for a remote server."""
    settings = Settings(home=tmp_path / "lab", spark_remote="sc://cluster:15002/;token=t")
    assert remote_url(settings) == "sc://cluster:15002/;token=t"
    assert not (tmp_path / "lab").exists()


def test_leases_of_the_dead_and_of_other_places_do_not_count(settings: Settings) -> None:
    """Those of a number that belongs to nobody, to a later process, or to a living one of the original of a copied home."""
    files = SparkFiles(settings)
    files.prepare()
    place = place_of(settings)
    dead = {"place": asdict(place), "holder": {"pid": 99999999, "born": 1.0}}
    (files.clients / "99999999-1").write_text(json.dumps(dead))
    reused = {"place": asdict(place), "holder": {"pid": os.getpid(), "born": 1.0}}
    (files.clients / f"{os.getpid()}-1").write_text(json.dumps(reused))
    elsewhere = {"place": asdict(replace(place, path="/elsewhere")), "holder": asdict(stamp_of(os.getpid()))}
    (files.clients / f"{os.getpid()}-2").write_text(json.dumps(elsewhere))
    with lease(settings), lease(settings):
        assert live_leases(files, place) == 2
    assert (live_leases(files, place), list(files.clients.iterdir())) == (0, [])


def test_a_damaged_lease_counts_as_long_as_its_holder_lives(settings: Settings) -> None:
    files = SparkFiles(settings)
    files.prepare()
    with lease(settings):
        next(files.clients.iterdir()).write_text('{"place"')
        (files.clients / "99999999-1").write_text('{"place"')
        assert live_leases(files, place_of(settings)) == 1


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"place": {'])
def test_the_supervisor_writes_its_files_again_when_they_are_damaged(settings: Settings, damage: bytes) -> None:
    files = SparkFiles(settings)
    files.prepare()
    supervisor = Supervisor(settings)
    supervisor.beat()
    before = files.state.read_bytes(), files.token.read_bytes()
    for path in (files.state, files.token):
        path.write_bytes(damage)
    supervisor.beat()
    assert (files.state.read_bytes(), files.token.read_bytes()) == before


def test_stopping_what_does_not_run_is_no_error(settings: Settings) -> None:
    assert stop_server(settings) is False


def test_a_half_written_state_is_no_state(settings: Settings) -> None:
    files = SparkFiles(settings)
    files.prepare()
    files.state.write_text('{"supervisor_pid": 1, "ja')
    assert files.read_state() is None
    assert running_server(settings) is None


def state_of(settings: Settings, process: Stamp, **fields: Any) -> ServerState:
    return ServerState(
        **{"place": place_of(settings), "program": program_digest(), "supervisor": process, "java": process, "port": 1, "starts": 1}
        | {"ready": True}
        | fields
    )


def test_stopping_spares_a_process_that_only_got_the_number(settings: Settings) -> None:
    """What a power cut leaves: the state names a number that a later process has."""
    files = SparkFiles(settings)
    files.prepare()
    child = psutil.Popen(["sleep", "30"])
    try:
        files.write_state(state_of(settings, Stamp(pid=child.pid, born=1.0)))
        assert running_server(settings) is None
        assert stop_server(settings) is False
        assert child.is_running()
    finally:
        child.kill()
        child.wait()


def test_a_copied_home_neither_uses_nor_ends_the_originals_server(settings: Settings, tmp_path: Path) -> None:
    files = SparkFiles(settings)
    files.prepare()
    with socket.socket() as server, psutil.Popen(["sleep", "30"]) as child:
        server.bind(("127.0.0.1", 0))
        server.listen()
        files.write_state(state_of(settings, stamp_of(child.pid), port=server.getsockname()[1]))
        assert running_server(settings) is not None
        copy = Settings(home=Path(shutil.copytree(settings.home, tmp_path / "copy")))
        assert (running_server(copy), stop_server(copy)) == (None, False)
        assert child.is_running()
        assert stop_server(settings) is True
        assert not lives(child.pid)


@pytest.mark.spark
def test_a_server_of_earlier_code_or_that_hangs_is_replaced(own: Settings) -> None:
    """An update, a stopped Java, a stopped supervisor whose number the state still names: the next user gets a server that works."""
    with lease(own):
        remote_url(own)
        first = running_server(own)
        assert first is not None
        SparkFiles(own).write_state(replace(first, program="of last week"))
        assert "token=" in remote_url(own)
        second = running_server(own)
        assert second is not None
        assert second.supervisor != first.supervisor
        assert not lives(first.java_pid)
        os.truncate(SparkFiles(own).state, 40)
        assert until(lambda: running_server(own) == second, timeout_s=10), "its state, damaged by a power cut, is not said again"
        record = (own.home / "home.json").read_bytes()
        os.truncate(own.home / "home.json", 10)
        time.sleep(2)
        assert lives(second.supervisor.pid), "the server ends with the home's own record"
        (own.home / "home.json").write_bytes(record)
        os.kill(second.java_pid, signal.SIGSTOP)
        assert until(lambda: (third := running_server(own)) is not None and third.starts == 2, timeout_s=60)
        assert not lives(second.java_pid)


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
