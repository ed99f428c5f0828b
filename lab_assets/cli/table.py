"""``lab table``: versions of Delta tables: history, difference, state at a time, restore; making a table anew.

Belongs here: arguments, printing, the audit entries. Does not belong here: reading versions (``lab_assets.lake.versions``), what a
restore or rebuild does (``lab_assets.stations.restoring``).

Tagged columns are hidden here from everyone; ``lab query --as`` shows them to those who may see them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab_assets.cli._governance import ORIGIN, ByOption, JsonOption, RequiredReason, actor_of, database, print_json, print_table
from lab_assets.cli._lake import new_run_id, note_lineage, open_lake

if TYPE_CHECKING:
    from lab_assets.contracts.core import TableContract
    from lab_assets.settings import Settings

app = typer.Typer(help="Versions of tables: history, diff, restore, as-of, rebuild.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="TABLE", help="layer.table, such as silver.peaks.", show_default=False)]
Limit = Annotated[int, typer.Option(min=1, help="Most rows shown.")]


@app.command()
def history(name: Name, *, limit: Limit = 20, as_json: JsonOption = False) -> None:
    """Show the commits of TABLE, newest first."""
    from lab_assets.lake.versions import table_history

    commits = table_history(*_made(name), limit=limit)
    if as_json:
        print_json({"table": name, "commits": commits})
    else:
        columns = ("version", "at_utc", "operation", "rows_written", "files_added", "engine")
        print_table(columns, ([commit[column] for column in columns] for commit in commits), title=name)


@app.command()
def diff(
    name: Name,
    old: Annotated[int, typer.Argument(min=0, help="Earlier version.")],
    new: Annotated[int, typer.Argument(min=0, help="Later version.")],
    *,
    limit: Limit = 20,
    as_json: JsonOption = False,
) -> None:
    """Show the rows that only version NEW has and those that only version OLD has."""
    from lab_assets.lake.versions import table_difference

    found = table_difference(*_made(name), old, new)
    if as_json:
        print_json({"table": name, "old": old, "new": new, **found})
        return
    typer.echo(f"{name}, version {old} to {new}: {len(found['added'])} row(s) added, {len(found['removed'])} removed")
    for change, rows in found.items():
        _print_rows(rows[:limit], title=change)


@app.command("as-of")
def as_of(
    name: Name,
    when: Annotated[str, typer.Argument(help="A version, or a time such as 2026-03-01T12:00 (UTC unless a zone is given).")],
    *,
    limit: Limit = 20,
    as_json: JsonOption = False,
) -> None:
    """Show TABLE as it was at a version or a time."""
    from lab_assets.lake.versions import table_at

    version, count, rows = table_at(*_made(name), _moment(when), limit=limit)
    if as_json:
        print_json({"table": name, "version": version, "row_count": count, "rows": rows})
        return
    typer.echo(f"{name} at version {version}: {count} row(s)")
    _print_rows(rows, title=name)


@app.command()
def restore(
    name: Name,
    version: Annotated[int, typer.Argument(min=0, help="Version to go back to.")],
    *,
    reason: RequiredReason,
    force: Annotated[
        bool, typer.Option("--force", help="Set back bronze or a record as well; without it the command only says what follows.")
    ] = False,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an earlier version of TABLE the latest one, as a new commit; later versions stay readable.

    What is made from other tables is made anew by the next run, so that nothing is missing afterwards. Rows of former feature sets stay.
    """
    from lab_assets.contracts.governance import LINEAGE
    from lab_assets.governance.grants import require_manage
    from lab_assets.lake.versions import TableViewError, written_table
    from lab_assets.settings import get_settings
    from lab_assets.state.audit_chain import AuditLog
    from lab_assets.stations.restoring import RestoringError, consequences, require_may_be_set_back
    from lab_assets.stations.restoring import restore as restore_table

    contract, engine = contract_named(name), database()
    actor = actor_of(engine, by)
    if by is not None:
        require_manage(engine, by)
    before = written_table(get_settings(), contract).version()
    if version >= before:
        raise TableViewError(f"{name} is at version {before}; name an earlier one")
    require_may_be_set_back(name)
    if words := consequences(name, before):
        if not force:
            raise RestoringError(f"{words}. --force sets it back all the same")
        typer.secho(f"warning: {words}", err=True, fg="yellow")
    audit = AuditLog(engine)
    # the commit happens outside of the database: the intention is on record before it, the result after it
    audit.append(
        actor=actor, action="table.restore_begin", target=name, old={"version": before}, new={"as": version}, reason=reason, origin=ORIGIN
    )
    with open_lake(engine) as lake:
        done = restore_table(lake, contract, version, force=force)
        if contract is not LINEAGE:  # that one was meant to be as it was
            note_lineage(lake)
    audit.append(
        actor=actor,
        action="table.restore",
        target=name,
        old={"version": before},
        new={"version": done.version, "as": version, "predictions_ended": done.ended, "predictions_version": done.marked_in},
        reason=reason,
        origin=ORIGIN,
    )
    if as_json:
        found = {"table": name, "restored": version, "version": done.version, "previous": before}
        print_json(
            {
                **found,
                "made_anew": done.anew,
                "rests_on_it": done.rests_on_it,
                "predictions_ended": done.ended,
                "predictions_version": done.marked_in,
            }
        )
        return
    typer.echo(f"{name} is as it was at version {version}; this is version {done.version}, and {before} stays readable")
    if done.anew:
        typer.echo(f"the next run makes it anew from its inputs; 'lab table rebuild {name}' does so now")
    if done.rests_on_it:
        typer.echo(f"these tables rest on it and follow at the next run: {', '.join(done.rests_on_it)}")
    if done.ended:
        typer.echo(
            f"{done.ended} prediction(s) were made from what it lost and are ended, with their decisions, until the next run scores them again"
        )


@app.command()
def rebuild(
    name: Annotated[str | None, typer.Argument(metavar="TABLE", help="layer.table, such as silver.peaks.", show_default=False)] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every table that is made from others, in flow order.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    limit: Limit = 20,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make TABLE anew from its inputs, and show what differed; only groups of rows that differ are written.

    Bronze and records (predictions, decisions, training sets) are not made from other tables: the command says what to do instead.
    From governance.lineage it takes rows away that two runs wrote at once, and adds what the commits say and it lacks.
    A table that is gone or whose log is damaged begins anew, without its earlier versions; what is left of it is laid aside. Rows of former
    feature sets that it held do not come back.
    """
    from lab_assets.governance.grants import require_manage
    from lab_assets.lake.versions import TableViewError, shown
    from lab_assets.state.audit_chain import AuditLog
    from lab_assets.stations.all_stations import stations
    from lab_assets.stations.restoring import rebuild as rebuild_table
    from lab_assets.stations.restoring import require_made

    if (name is None) is not everything:
        raise TableViewError("name one table, or give --all")
    names = list(stations()) if name is None else [contract_named(name).full_name]
    for each in names:
        require_made(each)
    engine = database()
    actor = actor_of(engine, by)
    if by is not None:
        require_manage(engine, by)
    audit, run_id, found = AuditLog(engine), new_run_id("rebuild"), list[dict[str, Any]]()
    with open_lake(engine) as lake:
        for each in names:
            done = rebuild_table(lake, each, run_id=run_id, say=lambda line: typer.echo(line, err=True))
            counts = {"groups": done.outcome.groups, "groups_differed": done.outcome.changed}
            counts |= {"rows_added": done.added.height, "rows_removed": done.removed.height}
            aside = None if done.aside is None else str(done.aside)
            lost = {"lost": done.lost, "aside": aside, "not_made_again": done.not_made_again} if done.lost else {}
            new = {"version": done.outcome.version, "run": run_id, **counts, **lost}
            audit.append(
                actor=actor, action="table.rebuild", target=each, old={"version": done.before}, new=new, reason=reason, origin=ORIGIN
            )
            found.append({"table": each, "previous": done.before, "version": done.outcome.version, "run_id": run_id, **counts, **lost})
            if not as_json:
                if done.not_made_again:
                    typer.secho(f"{each}: {done.not_made_again}", err=True, fg="yellow")
                if done.aside is not None:
                    typer.echo(f"{each}: what was left of it lies in {done.aside}")
                differed = f"{done.outcome.changed} of {done.outcome.groups} group(s) differed; " if each in stations() else ""
                typer.echo(
                    f"{each}: {differed}{done.added.height} row(s) added, {done.removed.height} removed; version {done.outcome.version}"
                )
                for change, rows in (("added", done.added), ("removed", done.removed)):
                    _print_rows([shown(contract_named(each), row) for row in rows.head(limit).to_dicts()], title=f"{each}: {change}")
        note_lineage(lake, run_id=run_id)
    if as_json:
        print_json(found)


def _made(name: str) -> tuple[Settings, TableContract]:
    """Return a table that was named, and whose: of a laboratory that was made."""
    from lab_assets.settings import get_settings
    from lab_assets.state.database import require_laboratory

    contract = contract_named(name)
    require_laboratory(get_settings())
    return get_settings(), contract


def contract_named(name: str) -> TableContract:
    """Return the contract of a table that was named.

    Raises:
        TableViewError: there is none.
    """
    from lab_assets.contracts.all_contracts import contract
    from lab_assets.lake.versions import TableViewError

    try:
        return contract(name)
    except KeyError as error:
        raise TableViewError(str(error.args[0])) from error


def _moment(text: str) -> int | datetime:
    from lab_assets.lake.versions import TableViewError

    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise TableViewError(f"{text!r} is neither a version nor a time such as 2026-03-01T12:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _print_rows(rows: list[dict[str, Any]], *, title: str) -> None:
    if rows:
        print_table(list(rows[0]), (list(row.values()) for row in rows), title=title)
