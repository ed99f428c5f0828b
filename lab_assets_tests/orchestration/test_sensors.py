"""The inbox sensor's look, with a real ledger and real files; no run is started."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from lab_assets.orchestration.sensors import inbox
from lab_assets.settings import get_settings
from lab_assets.state.database import open_database


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A drop folder of a home whose files are finished after half a second."""
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "lab"))
    monkeypatch.setenv("LAB_STABLE_S", "0.5")
    get_settings.cache_clear()
    open_database(get_settings()).dispose()
    folder = get_settings().inbox / "hplc"
    folder.mkdir(parents=True)
    yield folder
    get_settings.cache_clear()


def look() -> dg.SensorResult | dg.SkipReason | dg.RunRequest:
    """Let the sensor look once."""
    with dg.DagsterInstance.ephemeral() as instance:
        return inbox(dg.build_sensor_context(instance=instance))


def test_an_empty_inbox_asks_for_nothing(source: Path) -> None:
    assert source.is_dir()
    told = look()
    assert isinstance(told, dg.SkipReason)
    assert told.skip_message == "0 file(s) known, 0 still growing, none newly finished"


def test_a_file_that_landed_a_moment_ago_is_taken_by_the_same_look(source: Path) -> None:
    (source / "a.txt").write_text("finished")
    told = look()
    assert isinstance(told, dg.RunRequest)
    assert told.tags["lab/files"] == "1"


def test_a_file_that_grows_meanwhile_is_left_for_a_later_look(source: Path) -> None:
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
        told = look()
    finally:
        ended.set()
        writer.join()
    assert isinstance(told, dg.SkipReason)
    assert "1 still growing" in (told.skip_message or "")


def test_the_daemon_which_looks_every_five_seconds_finds_the_interval_over_each_time() -> None:
    assert get_settings().inbox_interval_s == 5
    assert inbox.minimum_interval_seconds == 4
