"""``lab maintain``: keeping tables quick to read.

Belongs here: arguments and printing. Does not belong here: what is done (``lab_assets.lake.maintenance``), the nightly job
(``lab_assets.orchestration``).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lab_assets.cli._governance import JsonOption, database, print_json, print_table
from lab_assets.cli._lake import note_lineage, open_lake
from lab_assets.cli.table import contract_named


def maintain(
    names: Annotated[list[str] | None, typer.Argument(metavar="[TABLE]...", help="layer.table; default: all.", show_default=False)] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Put small files together, write checkpoints, bring properties of old tables up to date; no row changes.

    Earlier versions stay readable: no file is taken away.
    """
    from lab_assets.contracts.all_contracts import contracts
    from lab_assets.lake.maintenance import maintain as maintain_table

    chosen = [contract_named(name) for name in names] if names else list(contracts().values())
    with open_lake(database()) as lake:
        found = [upkeep for each in chosen if (upkeep := maintain_table(lake, each)) is not None]
        note_lineage(lake)
    if as_json:
        print_json([asdict(upkeep) for upkeep in found])
        return
    done = [upkeep for upkeep in found if upkeep.done]
    if done:
        columns = ("table", "version", "files_before", "files_after", "properties", "checkpoint")
        rows = ((each.table, each.version, each.files_before, each.files_after, len(each.properties), each.checkpoint) for each in done)
        print_table(columns, rows)
    typer.echo(f"{len(done)} of {len(found)} table(s) needed something")
