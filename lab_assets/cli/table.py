"""``lab table``: versions of Delta tables: history, difference, state at a time, restore.

Belongs here: arguments, printing, the audit entries of a restore. Does not belong here: reading versions
(``lab_assets.lake.versions``), writing (``lab_assets.lake.lakehouse``).

Tagged columns are hidden here from everyone; ``lab query --as`` shows them to those who may see them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab_assets.cli._governance import ORIGIN, ByOption, JsonOption, actor_of, database, print_json, print_table

if TYPE_CHECKING:
    from lab_assets.contracts.core import TableContract

app = typer.Typer(help="Versions of tables: history, diff, restore, as-of.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="TABLE", help="layer.table, such as silver.peaks.", show_default=False)]
Limit = Annotated[int, typer.Option(min=1, help="Most rows shown.")]


@app.command()
def history(name: Name, *, limit: Limit = 20, as_json: JsonOption = False) -> None:
    """Show the commits of TABLE, newest first."""
    from lab_assets.lake.versions import table_history
    from lab_assets.settings import get_settings

    commits = table_history(get_settings(), _contract(name), limit=limit)
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
    from lab_assets.settings import get_settings

    found = table_difference(get_settings(), _contract(name), old, new)
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
    from lab_assets.settings import get_settings

    version, count, rows = table_at(get_settings(), _contract(name), _moment(when), limit=limit)
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
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.", show_default=False)],
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an earlier version of TABLE the latest one, as a new commit; nothing is lost."""
    from lab_assets.compute.session import SessionKeeper
    from lab_assets.governance.grants import require_manage
    from lab_assets.lake.lakehouse import Lakehouse
    from lab_assets.lake.versions import TableViewError, open_table
    from lab_assets.settings import get_settings
    from lab_assets.state.audit import AuditLog
    from lab_assets.state.ledger import Ledger

    settings, contract, engine = get_settings(), _contract(name), database()
    actor = actor_of(engine, by)
    if by is not None:
        require_manage(engine, by)
    before = open_table(settings, contract).version()
    if version >= before:
        raise TableViewError(f"{name} is at version {before}; name an earlier one")
    audit = AuditLog(engine)
    # the commit happens outside of the database: the intention is on record before it, the result after it
    audit.append(
        actor=actor, action="table.restore_begin", target=name, old={"version": before}, new={"as": version}, reason=reason, origin=ORIGIN
    )
    keeper = SessionKeeper(settings)
    try:
        after = Lakehouse(settings, keeper, Ledger(engine)).restore(contract, version)
    finally:
        keeper.close()
    audit.append(
        actor=actor,
        action="table.restore",
        target=name,
        old={"version": before},
        new={"version": after, "as": version},
        reason=reason,
        origin=ORIGIN,
    )
    if as_json:
        print_json({"table": name, "restored": version, "version": after, "previous": before})
    else:
        typer.echo(f"{name} is as it was at version {version}; this is version {after}, and {before} stays readable")


def _contract(name: str) -> TableContract:
    from lab_assets.contracts.registry import contract
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
