"""Running a job of the Dagster graph now, in this process.

Belongs here: what a command and the demonstration need to run a job and report how it ended. Does not belong here: the jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab_assets.ops.dagster_home import dagster_instance
from lab_assets.settings import Settings

if TYPE_CHECKING:
    from dagster import Definitions


@dataclass(frozen=True, kw_only=True)
class JobOutcome:
    """How a run ended.

    Attributes:
        job: Job.
        run_id: Run in Dagster, where its events are.
        success: Whether every step succeeded.
        failures: By step, the first line of what went wrong.
    """

    job: str
    run_id: str
    success: bool
    failures: dict[str, str] = field(default_factory=dict)


def definitions() -> Definitions:
    """Return the product's graph, as the code location has it."""
    from lab_assets.definitions import build_defs

    return build_defs()


def run_job(
    settings: Settings,
    job: str,
    *,
    run_config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    source: Callable[[], Definitions] = definitions,
) -> JobOutcome:
    """Run a job in this process against the laboratory's own Dagster instance, so that events and lineage are kept.

    Args:
        settings: Whose instance.
        job: Name of the job.
        run_config: Its configuration.
        tags: Tags of the run.
        source: The graph.
    """
    with dagster_instance(settings) as instance:
        definition = source().resolve_job_def(job)
        result = definition.execute_in_process(
            run_config=dict(run_config or {}), tags={"lab/trigger": "cli", **(tags or {})}, instance=instance, raise_on_error=False
        )
        failures = {event.step_key or job: _first_line(event) for event in result.all_events if event.is_step_failure}
        return JobOutcome(job=job, run_id=result.run_id, success=result.success, failures=failures)


def _first_line(event: Any) -> str:
    """Return what the step itself raised: the product names there what a library below it could not."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    if error is None or not error.message.strip():
        return "failed without a message"
    first = error.message.strip().splitlines()[0]
    return first.partition(": ")[2] if first.startswith("lab_assets.") else first
