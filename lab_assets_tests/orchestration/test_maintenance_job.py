"""The job that puts tables in order, as its nightly schedule starts it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from lab_assets.contracts.bronze import LIMS_LOTS, LIMS_SAMPLES
from lab_assets.definitions import build_defs
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.settings import Settings, get_settings
from lab_assets_tests.stations.rows import at, putting


def run(lake: Lakehouse, tables: list[str] | None = None) -> dg.ExecuteInProcessResult:
    config = {"ops": {"maintain_tables": {"config": {"tables": tables}}}} if tables else {}
    job = build_defs(resources={"lake": lake}).resolve_job_def("maintain")
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)


def filled(lake: Lakehouse) -> None:
    put = putting(lake)
    for number in range(8):
        put(LIMS_LOTS, {"lot_id": f"L{number}", "product": "P", "site": "S", "recorded_at_utc": at(2)})
        put(LIMS_SAMPLES, {"sample_name": f"S{number}", "lot_id": "L1", "sample_type": "release", "recorded_at_utc": at(2)})


def test_every_table_is_put_in_order(lakehouse: Lakehouse) -> None:
    filled(lakehouse)
    assert run(lakehouse).success
    assert [len(lakehouse.open(table).file_uris()) for table in (LIMS_LOTS, LIMS_SAMPLES)] == [1, 1]


def test_a_damaged_table_fails_the_job_and_keeps_no_other_from_it(lakehouse: Lakehouse) -> None:
    filled(lakehouse)
    log = Path(lakehouse.uri(LIMS_LOTS)) / "_delta_log" / f"{8:020d}.json"
    log.chmod(0o600)
    log.write_bytes(b"")
    result = run(lakehouse, [LIMS_LOTS.full_name, LIMS_SAMPLES.full_name])
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.error is not None
    assert "bronze.lims_lots: version 8 is damaged" in failure.error.message
    assert len(lakehouse.open(LIMS_SAMPLES).file_uris()) == 1


def test_the_log_of_scores_is_put_in_order_once_it_is_long(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 20 commits nothing is done; with a thousand the job is asked for, for that table alone."""
    monkeypatch.setenv("LAB_HOME", str(settings.home))
    get_settings.cache_clear()
    log = settings.home / "lake" / "ml" / "online_log" / "_delta_log"
    log.mkdir(parents=True)
    schedule = build_defs().resolve_schedule_def("hourly_score_log")

    def asked() -> dg.ScheduleExecutionData:
        with dg.DagsterInstance.ephemeral() as instance:
            return schedule.evaluate_tick(
                dg.build_schedule_context(instance, scheduled_execution_time=datetime(2026, 3, 1, 1, 50, tzinfo=UTC))
            )

    for number in range(20):
        (log / f"{number:020d}.json").touch()
    assert asked().run_requests == []
    for number in range(20, 1000):
        (log / f"{number:020d}.json").touch()
    (request,) = asked().run_requests or []
    assert (request.run_key, request.run_config["ops"]["maintain_tables"]["config"]) == (
        "score_log:2026-03-01T01",
        {"tables": ["ml.online_log"]},
    )
    get_settings.cache_clear()


def test_the_schedule_asks_for_one_run_a_night() -> None:
    schedule = build_defs().resolve_schedule_def("nightly_maintenance")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance, scheduled_execution_time=datetime(2026, 3, 1, 1, 30, tzinfo=UTC))
        requests = schedule.evaluate_tick(context).run_requests
    assert requests is not None
    assert [request.run_key for request in requests] == ["maintenance:2026-03-01"]
