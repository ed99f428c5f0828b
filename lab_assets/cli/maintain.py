"""``lab maintain``: keeping tables quick to read, and the home from growing.

Belongs here: arguments and printing. Does not belong here: what is done (``lab_assets.lake``, ``lab_assets.upkeep``), the nightly job
(``lab_assets.orchestration``).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab_assets.cli._governance import JsonOption, database, print_json, print_table
from lab_assets.cli._interrupts import saying_what_is_kept
from lab_assets.cli._lake import note_lineage, open_lake
from lab_assets.cli.table import contract_named

if TYPE_CHECKING:
    from lab_assets.contracts.core import TableContract
    from lab_assets.lake.lakehouse import Lakehouse
    from lab_assets.upkeep.removal import Removal


def maintain(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TABLE]...", help="layer.table; default: all, and what lies beside the tables.", show_default=False),
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and how many bytes; nothing is changed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put small files together, archive what only earlier versions need, remove old runs and what ended processes left.

    No row changes, and every version stays readable: what the last one does not need is put into the table's archive.
    """
    from lab_assets.contracts.all_contracts import contracts

    chosen = [contract_named(name) for name in names] if names else list(contracts().values())
    kept = "every table is whole, what was done stays, and 'lab maintain' again does the rest"
    with saying_what_is_kept(lambda: kept), open_lake(database()) as lake:
        tables = [found for each in chosen if (found := _table(lake, each, dry_run=dry_run)) is not None]
        beside = [] if names else _beside(lake, dry_run=dry_run)
        if not dry_run:
            note_lineage(lake)
    if as_json:
        print_json([*tables, *map(asdict, beside)])
    else:
        _show(tables, beside, dry_run=dry_run)


def _table(lake: Lakehouse, contract: TableContract, *, dry_run: bool) -> dict[str, Any] | None:
    """Put one table in order; ``None`` for one that nothing was written to yet."""
    from lab_assets.lake.archiving import grace_of, put_away
    from lab_assets.lake.maintenance import maintain as maintain_table
    from lab_assets.state.clock import utc_now

    upkeep = None if dry_run else maintain_table(lake, contract)
    if upkeep is None and (not dry_run or lake.versions_as_they_are([contract.full_name])[contract.full_name] < 0):
        return None
    away = put_away(lake, contract, now=utc_now(), grace=grace_of(lake.settings, contract), dry_run=dry_run)
    done = {} if upkeep is None else asdict(upkeep)
    return {"table": contract.full_name, **done, "archived": asdict(away), "done": away.done or (upkeep is not None and upkeep.done)}


def _beside(lake: Lakehouse, *, dry_run: bool) -> list[Removal]:
    """Do what has to be done beside the tables, and keep how large the home is now."""
    from lab_assets.ops.dagster_home import dagster_instance, home_folder
    from lab_assets.orchestration.run_history import remove_old_runs, runs_of_records
    from lab_assets.state.clock import utc_now
    from lab_assets.upkeep.housekeeping import housekeep, record_removals
    from lab_assets.upkeep.storage import take_sample

    now, settings, engine = utc_now(), lake.settings, lake.ledger.engine
    removals: list[Removal] = []
    if home_folder(settings).is_dir():
        with dagster_instance(settings) as instance:
            removals += remove_old_runs(settings, instance, runs_of_records(lake), now=now, dry_run=dry_run)
    removals += housekeep(settings, engine, now=now, dry_run=dry_run)
    if not dry_run:
        record_removals(engine, removals, origin="cli")
        take_sample(settings, now=now)
    return removals


def _show(tables: list[dict[str, Any]], beside: list[Removal], *, dry_run: bool) -> None:
    from lab_assets.upkeep.storage import in_words

    done = [each for each in tables if each["done"]]
    if done:
        columns = ("table", "files before", "files now", "archived files", "log files", "orphans", "bytes")
        away = [(each, each["archived"]) for each in done]
        print_table(
            columns,
            (
                (
                    each["table"],
                    each.get("files_before", "-"),
                    each.get("files_after", "-"),
                    *(gone[name] for name in ("files", "commits", "orphans")),
                    in_words(gone["bytes"]),
                )
                for each, gone in away
            ),
        )
    if named := [each for each in beside if each.items or each.note]:
        print_table(
            ("beside the tables", "number", "bytes", "note"), ((each.what, each.items, in_words(each.bytes), each.note) for each in named)
        )
    if held := [each["table"] for each in tables if each["archived"]["is_held"]]:
        typer.echo(f"a backup, or another maintenance, is at work: replaced files of {len(held)} table(s) wait for the next maintenance")
    size = sum(each["archived"]["bytes"] - each["archived"]["archive_bytes"] for each in tables) + sum(each.bytes for each in beside)
    if dry_run:
        typer.echo(f"{in_words(size)} would be given back, before what the archives of the tables take; nothing was changed")
    else:
        typer.echo(f"{len(done)} of {len(tables)} table(s) needed something; {in_words(size)} given back")
