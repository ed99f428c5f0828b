"""Running a job of the Dagster graph now, in this process.

Belongs here: what a command and the demonstration need to run a job and report how it ended. Does not belong here: the jobs.
"""

from __future__ import annotations

import gc
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from lab_assets.environment_errors import fault_in_text
from lab_assets.fault_kinds import EnvironmentFaultError
from lab_assets.ops.dagster_home import dagster_instance
from lab_assets.ops.interrupts import output_given_back
from lab_assets.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance, Definitions, ExecuteInProcessResult


_INTERRUPTS: Final = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


@dataclass(frozen=True, kw_only=True)
class JobOutcome:
    """How a run ended.

    Attributes:
        job: Job.
        run_id: Run in Dagster, where its events are.
        success: Whether every step succeeded.
        failures: By step, the first line of what went wrong.
        errors: By step, the class of what went wrong.
        refused: By check that stopped the run (``asset: check``), what it found.
        fault: What the environment did, where a step failed for that.
        tags: Tags of the run at its end: what its steps said of themselves.
        interrupted: Whether a person ended it.
    """

    job: str
    run_id: str
    success: bool
    failures: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    refused: dict[str, list[str]] = field(default_factory=dict)
    fault: dict[str, str] | None = None
    tags: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def quiet(level: str) -> dict[str, Any]:
    """Return a run configuration that keeps Dagster's event lines off the screen unless asked for; they are in the run's log.

    Args:
        level: The laboratory's log level.
    """
    return {} if level.upper() == "DEBUG" else {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


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
    from dagster import DagsterExecutionInterruptedError

    from lab_assets.orchestration.private.run_launcher import end_lost_runs, this_process

    run_id = str(uuid.uuid4())
    with dagster_instance(settings) as instance:
        end_lost_runs(instance)
        definition = source().resolve_job_def(job)
        gc.freeze()  # what is imported stays: to look through it for garbage takes a fifth of the time of rows made in Python
        try:
            with output_given_back():
                result = definition.execute_in_process(
                    run_config=dict(run_config or {}),
                    tags={"lab/trigger": "cli", **this_process(run_id), **(tags or {})},
                    instance=instance,
                    raise_on_error=False,
                    run_id=run_id,
                )
        except (KeyboardInterrupt, DagsterExecutionInterruptedError):
            _end(instance, run_id)
            return JobOutcome(job=job, run_id=run_id, success=False, interrupted=True, tags=_tags(instance, run_id))
        return _outcome(settings, job, result, _tags(instance, run_id))


def run_until_done(run: Callable[[], JobOutcome]) -> JobOutcome:
    """Run an ingestion, and again as long as one leaves files to the next.

    Args:
        run: Runs it once.

    Returns:
        How the last one ended, with the batches of all.
    """
    from lab_assets.orchestration.assets.bronze import BATCHES_TAG, WAITING_TAG

    batches: list[str] = []
    while True:
        outcome = run()
        batches += filter(None, [outcome.tags.get(BATCHES_TAG, "")])
        if not outcome.success or WAITING_TAG not in outcome.tags:
            return replace(outcome, tags={**outcome.tags, BATCHES_TAG: ", ".join(batches)})


def _end(instance: DagsterInstance, run_id: str) -> None:
    """Mark a run as canceled that was interrupted before it could say so itself."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_canceled(run, message="It was interrupted before its first step.")


def _tags(instance: DagsterInstance, run_id: str) -> dict[str, str]:
    run = instance.get_run_by_id(run_id)
    return {} if run is None else dict(run.tags)


def _outcome(settings: Settings, job: str, result: ExecuteInProcessResult, tags: dict[str, str]) -> JobOutcome:
    failed = {event.step_key or job: _raised(event.step_failure_data.error) for event in result.all_events if event.is_step_failure}
    if not failed and not result.success:  # what is opened for a run failed, or the run was interrupted before a step
        failed |= {event.step_key or job: _raised(event.job_failure_data.error) for event in result.all_events if event.is_job_failure}
    stopping = [each for each in result.get_asset_check_evaluations() if each.blocking and not each.passed]
    refused = {f"{each.asset_key.to_user_string()}: {each.check_name}": _found(each) for each in stopping}
    errors = {step: (error.cls_name or "") if error is not None else "" for step, error in failed.items()}
    failures = {step: _first_line(error, refused) for step, error in failed.items()}
    return JobOutcome(
        job=job,
        run_id=result.run_id,
        success=result.success,
        failures=failures,
        errors=errors,
        refused=refused,
        fault=next((fault.document for error in failed.values() if (fault := _fault(error, settings)) is not None), None),
        tags=tags,
        interrupted=any(name in said for name in _INTERRUPTS for said in (*errors.values(), *failures.values())),
    )


def _raised(error: Any) -> Any:
    """Return what a step or a run itself raised: the product names there what a library below it could not."""
    while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return error


def _fault(error: Any, settings: Settings) -> EnvironmentFaultError | None:
    """Return what the environment did, where an error or what caused it shows it."""
    while error is not None:
        if (found := fault_in_text(error.message or "", settings)) is not None:
            return found
        error = error.cause or error.context
    return None


def _first_line(error: Any, refused: Mapping[str, list[str]]) -> str:
    """Return the first line of an error that says anything."""
    lines = [] if error is None else [line.strip() for line in error.message.splitlines() if line.strip()]
    if error is not None and lines and " " not in lines[0].rstrip(":") and lines[0].rstrip(":").rpartition(".")[2] == error.cls_name:
        lines = lines[1:] or [f"{error.cls_name} without a message"]  # what was said began with an empty line, or was nothing
    if not lines:
        return f"failed without a message ({(error.cls_name if error is not None else None) or 'no error was kept'})"
    if stopped := [check for check in lines[1:] if check in refused]:
        return "; ".join(f"the check {check} did not pass: {', '.join(refused[check]) or 'it says no more'}" for check in stopped)
    return lines[0].partition(": ")[2] if lines[0].startswith("lab_assets.") else lines[0]


def _found(evaluation: Any) -> list[str]:
    """Return what a check says of its failure: its list of ``failed``, or all it tells."""
    reported = {name: each.value for name, each in evaluation.metadata.items()}
    if isinstance(failed := reported.get("failed"), list):
        return [str(each) for each in failed]
    return [f"{name}: {value}" for name, value in reported.items()]
