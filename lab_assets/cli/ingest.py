"""``lab ingest``: take the waiting files now.

Belongs here: the command, its summary and exit code. Does not belong here: ingestion (``lab_assets.ingest.ingestor``), the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lab_assets.ops.batches import BatchReport
    from lab_assets.ops.jobs import JobOutcome


def ingest(*, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Take all finished files of the inbox now, through the same job that the sensor starts."""
    from dataclasses import asdict

    from lab_assets.ingest.inbox import InboxError
    from lab_assets.ops.batches import files_of_open_batches, last_batch, open_batches, report_since, waiting_files
    from lab_assets.ops.jobs import quiet, run_job
    from lab_assets.ops.progress import progress_lines
    from lab_assets.settings import get_settings
    from lab_assets.state.database import open_database
    from lab_assets.state.upgrade import upgrade

    settings = get_settings()
    upgrade(settings, say=lambda line: typer.echo(line, err=True))
    engine = open_database(settings)
    last, unfinished = last_batch(engine), open_batches(engine)
    before = last["batch"] if last else 0

    def waiting() -> int:
        try:
            found = waiting_files(settings, engine)
        except InboxError:  # the run itself says so, and fails
            return 0
        return found["ready"] + found["refused"]

    with progress_lines(engine, before, waiting=waiting, say=lambda line: typer.echo(line, err=True)):
        outcome = run_job(settings, "ingest", run_config=quiet(settings.log_level))
    report = report_since(engine, before, also=unfinished)
    left = files_of_open_batches(engine)
    if as_json:
        import orjson

        document = {**asdict(outcome), "interrupted": outcome.interrupted, **asdict(report), "unfinished": left}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(outcome, report, left)
    raise typer.Exit(0 if outcome.success else 2 if outcome.fault else 1)


def _print(outcome: JobOutcome, report: BatchReport, left: dict[int, int]) -> None:
    if outcome.interrupted:
        typer.secho("interrupted: what was committed stays", err=True, fg="yellow")
    for step, reason in {} if outcome.interrupted else outcome.failures.items():
        typer.secho(f"error: {step}: {reason}", err=True, fg="red")
    for batch, files in left.items():
        typer.echo(f"batch {batch} with {files} file(s) is recorded and not finished: the next run, or 'lab ingest', finishes it", err=True)
    if not report.batches:
        typer.echo("no file was waiting" if outcome.success else "no further batch was finished" if left else "nothing was taken")
        return
    typer.echo(f"{_counted(report.states)} in {len(report.batches)} batch(es); run {outcome.run_id}")
    for label, counts in (("formats", report.formats), ("quarantined for", report.reasons), ("rows", report.rows)):
        if counts:
            typer.echo(f"{label}: {_counted(counts)}")
    if report.reasons:
        typer.echo("'lab quarantine list' says why each file was refused")


def _counted(counts: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
