"""``lab ingest``: take the waiting files now.

Belongs here: the command, its summary and exit code. Does not belong here: ingestion (``lab_assets.ingest.ingestor``), the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab_assets.cli._exit_codes import ENVIRONMENT, INTERRUPTED

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from lab_assets.ops.batches import BatchReport
    from lab_assets.ops.jobs import JobOutcome
    from lab_assets.settings import Settings


def ingest(
    *,
    accept_inbox: Annotated[
        bool, typer.Option("--accept-inbox", help="Mark the inbox as it is now as this laboratory's: it was moved or replaced on purpose.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Take all finished files of the inbox now, through the same job that the sensor starts.

    Ends with 1 where a run failed, with 2 where the inbox or a drop folder cannot be looked at, with 130 after Ctrl-C.
    """
    from dataclasses import asdict

    from lab_assets.ingest.candidates import InboxError
    from lab_assets.ingest.inbox_mark import mark_inbox
    from lab_assets.ops.batches import files_of_open_batches, last_batch, look_now, report_of
    from lab_assets.ops.interrupts import interrupts_for_this_process
    from lab_assets.ops.jobs import JobOutcome, quiet, run_job, run_until_done
    from lab_assets.ops.progress import progress_lines
    from lab_assets.orchestration.assets.bronze import BATCHES_TAG
    from lab_assets.settings import get_settings
    from lab_assets.state.database import open_database
    from lab_assets.state.upgrade import upgrade

    settings = get_settings()
    upgrade(settings, say=lambda line: typer.echo(line, err=True))
    engine = open_database(settings)
    if accept_inbox:
        mark_inbox(settings, anew=True)
    try:
        problems = list(look_now(settings, engine).problems.values())
    except InboxError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        raise typer.Exit(ENVIRONMENT) from None
    last = last_batch(engine)

    def waiting() -> int:
        try:
            found = look_now(settings, engine)
        except InboxError:  # the run itself says so, and fails
            return 0
        return len(found.ready) + len(found.refused)

    lines = progress_lines(engine, last["batch"] if last else 0, waiting=waiting, say=lambda line: typer.echo(line, err=True))
    try:
        with interrupts_for_this_process(), lines:
            outcome = run_until_done(lambda: run_job(settings, "ingest", run_config=quiet(settings.log_level)))
    except KeyboardInterrupt:  # between two runs, or before the first
        outcome = JobOutcome(job="ingest", run_id="", success=False, interrupted=True)
    report = report_of(engine, [int(number) for number in outcome.tags.get(BATCHES_TAG, "").split(", ") if number])
    kept, left = _kept(settings, engine, report) if outcome.interrupted else "", files_of_open_batches(engine)
    if as_json:
        import orjson

        document = {**asdict(outcome), **asdict(report), "unfinished": left, "problems": problems, "kept": kept}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(outcome, report, left, problems=problems, kept=kept)
    raise typer.Exit(_exit_code(outcome, problems))


def _exit_code(outcome: JobOutcome, problems: list[str]) -> int:
    if outcome.interrupted:
        return INTERRUPTED
    if not outcome.success:
        return ENVIRONMENT if outcome.fault else 1
    return ENVIRONMENT if problems else 0


def _kept(settings: Settings, engine: Engine, report: BatchReport) -> str:
    """Say what an interrupted ingestion leaves, and who finishes it."""
    from lab_assets.ops.processes import read_state
    from lab_assets.state.ledger import Ledger
    from lab_assets.stations.all_stations import stations

    ledger = Ledger(engine)
    begun = sum(len(ledger.batch_arrivals(batch)) for batch, _ in ledger.unfinished_batches())
    recorded = begun + ledger.waiting_arrivals()
    state = read_state(settings)
    ups = state is not None and any(each.process() for each in state.processes)
    who = "the sensor of 'lab up' goes on by itself" if ups else "the next 'lab ingest' or 'lab up' finishes it"
    said = [f"{sum(report.states.values())} file(s) are committed"]
    if recorded:
        said.append(f"{recorded} more are recorded, their originals kept")
    if ledger.work_waits((*stations(), "ml.predictions")):
        said.append("tables that rest on them are not all up to date")
    return f"{'; '.join(said)}; nothing is lost, and {who}"


def _print(outcome: JobOutcome, report: BatchReport, left: dict[int, int], *, problems: list[str], kept: str) -> None:
    from lab_assets.orchestration.assets.bronze import BUSY_TAG

    for problem in problems:
        typer.secho(f"problem: {problem}", err=True, fg="red")
    if outcome.interrupted:
        typer.echo(f"interrupted: {kept}", err=True)
        return
    for step, reason in outcome.failures.items():
        typer.secho(f"error: {step}: {reason}", err=True, fg="red")
    for batch, files in left.items():
        typer.echo(f"batch {batch} with {files} file(s) is recorded and not finished: the next run, or 'lab ingest', finishes it", err=True)
    if not report.batches:
        idle = outcome.tags.get(BUSY_TAG, "no file was waiting")
        typer.echo(idle if outcome.success else "no further batch was finished" if left else "nothing was taken")
        return
    typer.echo(f"{_counted(report.states)} in {len(report.batches)} batch(es); run {outcome.run_id}")
    for label, counts in (("formats", report.formats), ("quarantined for", report.reasons), ("rows", report.rows)):
        if counts:
            typer.echo(f"{label}: {_counted(counts)}")
    if report.reasons:
        typer.echo("'lab quarantine list' says why each file was refused")


def _counted(counts: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
