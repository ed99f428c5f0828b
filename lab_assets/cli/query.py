"""``lab query``: SQL as a person, masked and audited.

Belongs here: arguments and printing. Does not belong here: the gateway.
"""

from __future__ import annotations

from typing import Annotated

import typer

from lab_assets.cli._governance import ORIGIN, JsonOption, database, print_json, print_table, refusals


def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over tables named layer.table.")],
    user: Annotated[str, typer.Option("--as", metavar="USER", help="Account whose rights and masks hold.")],
    as_json: JsonOption = False,
) -> None:
    """Run SQL as an account: its grants decide, tagged columns are masked, the audit trail keeps it.

    Whoever has a shell on the installation's machine may name any enabled account: an administrator's means, which the audit
    trail shows by its origin.
    """
    from lab_assets.governance.gateway import QueryGateway
    from lab_assets.settings import get_settings

    with refusals():
        result = QueryGateway(get_settings(), database()).run(sql, user=user, origin=ORIGIN)
        if as_json:
            print_json(
                {
                    "columns": result.columns,
                    "types": result.types,
                    "rows": result.rows,
                    "row_count": len(result.rows),
                    "masked_columns": result.masked_columns,
                    "tables": result.tables,
                    "table_versions": result.table_versions,
                    "truncated": result.truncated,
                }
            )
            return
        print_table(result.columns, result.rows)
        more = ", cut here" if result.truncated else ""
        typer.echo(f"{len(result.rows)} row(s){more}")
        if result.masked_columns:
            typer.echo(f"masked for {user}: {', '.join(f'{name} ({tag})' for name, tag in sorted(result.masked_columns.items()))}")
