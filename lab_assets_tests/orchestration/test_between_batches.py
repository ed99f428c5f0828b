"""The job ``ingest`` while more waits than a batch takes: each batch is taken on to its scores, and the rest is left after the run's turn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import dagster as dg
import pytest

from lab_assets.contracts.bronze import FILES
from lab_assets.contracts.features import INJECTION_PROGRESS
from lab_assets.contracts.silver import INJECTIONS
from lab_assets.definitions import build_defs
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.orchestration.assets import between_batches
from lab_assets.orchestration.assets.between_batches import Onward
from lab_assets.orchestration.assets.bronze import BATCHES_TAG, WAITING_TAG
from lab_assets_tests.ingest.files import chromatogram, drop
from lab_assets_tests.stations.small_laboratory import opened

JUNK = 60


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lakehouse]:
    """A laboratory in whose inbox an archive of sixty files lies that no reader knows; a batch takes twenty."""
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "lab"))
    with opened(tmp_path / "lab") as lake:
        lake.settings.batch_files = 20
        for number in range(JUNK):
            drop(lake.settings.inbox, "archive", f"{number}.bin", os.urandom(20))
        yield lake


def ingest(lake: Lakehouse, instance: dg.DagsterInstance) -> dict[str, str]:
    """Run the job once, as the sensor asks for it, and return the run's tags."""
    job = build_defs(resources={"lake": lake}).resolve_job_def("ingest")
    run = job.execute_in_process(instance=instance)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return dict(found.tags)


def test_a_trace_dropped_meanwhile_is_made_into_features_with_the_next_batch(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropped after the first of four batches: it is in the tables after the second, while junk still waits, however dear that is."""
    monkeypatch.setattr(between_batches, "_SHARE", 0.0)
    seen: list[tuple[int, int, int]] = []
    take_on = Onward.__call__

    def watched(onward: Onward, live: bool) -> None:
        take_on(onward, live)
        seen.append((lake.row_count(FILES), lake.row_count(INJECTIONS), lake.row_count(INJECTION_PROGRESS)))
        if len(seen) == 1:
            drop(lake.settings.inbox, "hplc", "run.txt", chromatogram("S-1"))

    monkeypatch.setattr(Onward, "__call__", watched)
    with dg.DagsterInstance.ephemeral() as instance:
        tags = ingest(lake, instance)
    (_, _, none), (files, injections, features), *_ = seen
    assert (none, files, injections) == (0, 40, 1)
    assert features > 0
    assert tags[BATCHES_TAG] == "1, 2, 3, 4"
    assert WAITING_TAG not in tags
    assert lake.row_count(FILES) == JUNK + 1


def test_a_run_leaves_what_it_has_no_time_for_and_says_how_much(lake: Lakehouse) -> None:
    lake.settings.ingest_turn_s = 0
    with dg.DagsterInstance.ephemeral() as instance:
        left = [ingest(lake, instance).get(WAITING_TAG) for _ in range(3)]
    assert left == ["40", "20", None]
    assert lake.row_count(FILES) == JUNK


def test_a_delivery_alone_is_taken_on_once_a_tenth_of_the_time_pays_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken to cost 10 s, it is done after 100 s, and after two of 4 s each once more after 120 s; live files go on at once."""
    now, done_at = [0.0], list[float]()

    def in_four_seconds(_: Onward) -> str:
        done_at.append(now[0])
        now[0] += 4.0
        return ""

    monkeypatch.setattr(between_batches.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Onward, "_go_on", in_four_seconds)
    onward = Onward(dg.build_asset_context(), cast("Lakehouse", None))
    for moment in (50.0, 99.0, 100.0, 105.0, 109.0):
        now[0] = moment
        onward(live=moment == 105.0)
    assert done_at == [100.0, 105.0]
    now[0] = 120.0
    onward(live=False)
    assert done_at[2:] == [120.0]


def test_a_failure_on_the_way_is_left_to_the_steps_of_the_run(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files are taken, nothing is taken on a second time, and the run goes on to its own steps."""
    asked: list[str] = []

    def failing(*_: object) -> None:
        asked.append("once")
        raise ValueError("as asked")

    monkeypatch.setattr(between_batches, "brought_up_to_date", failing)
    monkeypatch.setattr(between_batches, "_FIRST_S", 0.0)
    with dg.DagsterInstance.ephemeral() as instance:
        ingest(lake, instance)
    assert asked == ["once"]
    assert lake.row_count(FILES) == JUNK
