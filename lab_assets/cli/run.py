"""``lab run``: what runs wrote to the tables, taking it back, and what runs fail on.

Belongs here: arguments, printing, the question, the audit entries. Does not belong here: what taking back does
(``lab_assets.stations.rollback``), setting aside (``lab_assets.stations.set_aside``), starting runs (``lab ingest`` and others).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab_assets.cli._governance import ORIGIN, ByOption, JsonOption, RequiredReason, actor_of, database, print_json, print_table
from lab_assets.cli._lake import new_run_id, note_lineage, open_lake

if TYPE_CHECKING:
    from lab_assets.stations.rollback import RollbackPlan, RunWrites

app = typer.Typer(
    help="What runs did, what they wrote to the tables, and what they fail on: list, show, log, rollback, aside, retry.",
    no_args_is_help=True,
)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or its beginning where no other run has it.", show_default=False)]
_COMMITS_LISTED = 200
"""Newest commits of each table that a list looks at."""


class RunError(ValueError):
    """A run cannot be taken back now."""


@app.command("list")
def list_runs(*, limit: Annotated[int, typer.Option(min=1, help="Most runs shown.")] = 20, as_json: JsonOption = False) -> None:
    """List the runs that wrote to tables, the last one first."""
    from lab_assets.stations.rollback import runs

    with open_lake(database()) as lake:
        found = [_summary(run) for run in runs(lake, newest=_COMMITS_LISTED)[:limit]]
    if as_json:
        print_json(found)
        return
    rows = ((run["run_id"], _seconds(run["first_utc"]), _seconds(run["last_utc"]), run["commits"], len(run["tables"])) for run in found)
    print_table(("run", "first commit (UTC)", "last commit (UTC)", "commits", "tables"), rows)


@app.command()
def show(run_id: RunId, *, as_json: JsonOption = False) -> None:
    """Show which versions of which tables RUN wrote, as the commits say."""
    from lab_assets.stations.rollback import run_named

    with open_lake(database()) as lake:
        run = run_named(lake, run_id)
    commits = [
        {"table": commit.table, "version": commit.version, "at_utc": commit.at_utc, "operation": commit.operation} for commit in run.commits
    ]
    if as_json:
        print_json({**_summary(run), "commits": commits, "written_over": sorted(run.written_over)})
        return
    print_table(("table", "version", "at_utc", "operation"), (list(commit.values()) for commit in commits), title=f"run {run.run_id}")
    if run.written_over:
        typer.echo(f"others have written since to {', '.join(sorted(run.written_over))}")


@app.command("aside")
def list_aside(*, as_json: JsonOption = False) -> None:
    """List what several runs failed on and is set aside, by table and key, with the reason; everything else goes on."""
    from dataclasses import asdict

    from lab_assets.state.station_work import StationWork

    found = StationWork(database()).set_aside()
    if as_json:
        print_json([asdict(each) for each in found])
        return
    if not found:
        typer.echo("nothing is set aside")
        return
    rows = ((each.station, each.key or "(all its news)", each.since_utc[:19], each.reason) for each in found)
    print_table(("table", "set aside", "tried (UTC)", "reason"), rows)
    typer.echo("mend what is named, then 'lab run retry'")


@app.command()
def retry(
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Table, layer.name; default: all.", show_default=False)] = None,
    *,
    reason: RequiredReason,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the next run try again what is set aside, of TABLE or of all tables."""
    from dataclasses import asdict

    from lab_assets.state.audit_chain import AuditLog
    from lab_assets.state.station_work import StationWork

    engine = database()
    actor = actor_of(engine, by)
    asked = StationWork(engine).retry_set_aside(table)
    if asked:
        named = [{"table": each.station, "key": each.key} for each in asked]
        AuditLog(engine).append(actor=actor, action="run.retry", target=table or "all", new={"asked": named}, reason=reason, origin=ORIGIN)
    if as_json:
        print_json([asdict(each) for each in asked])
        return
    where = f" of {table}" if table else ""
    typer.echo(f"{len(asked)} to be tried again by the next run, or now by 'lab ingest'" if asked else f"nothing{where} is set aside")


@app.command("log")
def log_of(run_id: RunId, *, as_json: JsonOption = False) -> None:
    """Show what RUN did, event by event: from Dagster, or as it was packed when the run went from there."""
    from lab_assets.ops.dagster_home import dagster_instance, home_folder
    from lab_assets.orchestration.run_history import events_of
    from lab_assets.settings import get_settings
    from lab_assets.state.database import require_laboratory

    settings = get_settings()
    require_laboratory(settings)
    if not home_folder(settings).is_dir():
        raise RunError(f"no run was made in {settings.home} yet")
    with dagster_instance(settings) as instance:
        events = events_of(settings, instance, run_id)
    if not events:
        raise RunError(f"Dagster has no run {run_id}, and none of that id was packed; 'lab run show' lists what the commits say of it")
    if as_json:
        print_json({"run_id": run_id, "events": events})
        return
    print_table(("at_utc", "level", "step", "message"), (list(event.values()) for event in events), title=f"run {run_id}")


@app.command()
def rollback(
    run_id: RunId,
    *,
    reason: RequiredReason,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back what RUN wrote: tables made from others are set back, its predictions end; bronze and records stay.

    Predictions that others made from what it wrote end until the next scoring; those that come out the same count again. Rows of former
    feature sets that rest on it go, and nothing makes them again.

    The next run makes these tables anew from their inputs. Where others have written since to any of them, or made other tables of them, all
    are made anew at once, and what rests on them follows.
    """
    from lab_assets.governance.grants import require_manage
    from lab_assets.state.audit_chain import AuditLog
    from lab_assets.stations.rollback import rollback as take_back
    from lab_assets.stations.rollback import rollback_plan, run_named

    engine = database()
    actor = actor_of(engine, by)
    if by is not None:
        require_manage(engine, by)
    with open_lake(engine) as lake:
        plan = rollback_plan(run_named(lake, run_id))
        _require_ended(plan.run.run_id)
        if not yes:
            for line in _lines(plan):
                typer.echo(line, err=as_json)
            typer.confirm(f"Take back run {plan.run.run_id}?", abort=True, err=as_json)
        audit, own = AuditLog(engine), new_run_id("rollback")
        intended = {"set_back": plan.set_back, "made_anew": plan.made_anew, "followed": plan.followed, "run": own}
        audit.append(actor=actor, action="run.rollback_begin", target=plan.run.run_id, new=intended, reason=reason, origin=ORIGIN)
        done = take_back(lake, plan, at_utc=datetime.now(UTC), run_id=own, say=lambda line: typer.echo(line, err=True))
        note_lineage(lake, run_id=own)
    found: dict[str, Any] = {
        "run_id": plan.run.run_id,
        "set_back": {name: {"as": plan.set_back[name], "version": version} for name, version in done.set_back.items()},
        "made_anew": {name: outcome.version for name, outcome in done.made_anew.items()},
        "followed": {name: outcome.version for name, outcome in done.followed.items()},
        "former_rows_gone": done.former_gone,
        "predictions_ended": done.ended,
        "predictions_waiting": done.waiting,
        "predictions_version": done.marked_in,
        "kept": done.kept,
    }
    audit.append(actor=actor, action="run.rollback", target=plan.run.run_id, new=found, reason=reason, origin=ORIGIN)
    if as_json:
        print_json(found)
        return
    typer.echo(f"run {plan.run.run_id} is taken back")
    for name, version in done.set_back.items():
        typer.echo(f"{name}: as it was at version {plan.set_back[name]}; this is version {version}, and the next run makes it anew")
    for name, outcome in (*done.made_anew.items(), *done.followed.items()):
        typer.echo(f"{name}: {outcome.words()}")
    for name, count in done.former_gone.items():
        typer.echo(
            f"{name}: {count} row(s) of former feature sets rested on the run and are gone; no program makes them again, earlier versions hold them"
        )
    if plan.scored:
        typer.echo(f"{done.ended} prediction(s) and their decisions ended; which earlier ones count again the next run says when it scores")
    if done.waiting:
        typer.echo(
            f"{done.waiting} prediction(s) of others were made from what it wrote and are ended until the next run scores them again"
        )
    if done.kept:
        typer.echo(f"unchanged, since bronze and records stay as they are: {', '.join(done.kept)}")


def _lines(plan: RollbackPlan) -> list[str]:
    """Return what would be done, for people."""
    lines = [f"{name}: set back to version {version}, made anew by the next run" for name, version in plan.set_back.items()]
    if plan.others:
        lines.append(f"others have written since to {', '.join(plan.others)}: nothing is set back alone")
    lines += [f"{name}: made anew from its inputs now" for name in plan.made_anew]
    lines += [f"{name}: rests on these and follows now" for name in plan.followed]
    if plan.scored:
        lines.append("the predictions of the run and their decisions are marked as ended")
    if plan.rescored:
        lines.append(
            "predictions of others that were made from what it wrote are ended, with their decisions, until the next run scores them again"
        )
    if plan.kept:
        lines.append(f"unchanged, since bronze and records stay as they are: {', '.join(plan.kept)}")
    return lines


def _seconds(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _summary(run: RunWrites) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "first_utc": run.first_utc,
        "last_utc": run.last_utc,
        "commits": len(run.commits),
        "tables": {name: len(versions) for name, versions in run.tables.items()},
    }


def _require_ended(run_id: str) -> None:
    """See that a run is over: one that is under way would go on writing.

    Raises:
        RunError: it is under way.
    """
    from lab_assets.ops.dagster_home import dagster_instance
    from lab_assets.settings import get_settings

    with dagster_instance(get_settings()) as instance:
        run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        raise RunError(f"run {run_id} is under way ({run.status.value}); end it or wait for it, then take it back")
