"""``lab schema``: columns that files bring under other names: proposed by readers, decided by people.

Belongs here: arguments, printing, audit entries. Does not belong here: the record (``lab_assets.state.schema_proposals``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab_assets.cli._governance import ORIGIN, ByOption, JsonOption, RequiredReason, actor_of, database, print_json, print_table

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(help="Drifting columns: list proposals, accept, reject.", no_args_is_help=True)

Numbers = Annotated[list[int], typer.Argument(metavar="PROPOSAL...", help="Numbers from 'lab schema list'.", show_default=False)]
_SHOWN = (
    "proposal_id",
    "state",
    "source",
    "table_name",
    "column_name",
    "proposed_column",
    "files",
    "first_file",
    "instrument_name",
    "software",
)


@app.command("list")
def list_(
    *,
    state: Annotated[str | None, typer.Option(help="Only proposals in this state: proposed, accepted or rejected.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List columns that may be one of a contract's under another name, newest first, with who decided and why."""
    rows = [dict(row._mapping) for row in _proposals(database()).listed(state)]  # noqa: SLF001 - SQLAlchemy's public name
    if as_json:
        print_json(rows)
    elif rows:
        columns = (*_SHOWN, "decided_by", "decision_reason")
        print_table(columns, ([row[column] for column in columns] for row in rows))
    else:
        typer.echo("no column was proposed" if state is None else f"no proposal is {state}")


@app.command()
def accept(
    numbers: Numbers,
    *,
    reason: RequiredReason,
    retry: Annotated[bool, typer.Option(help="Let files of the source that lacked the column be read again.")] = True,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Use the column as the contract's in files of its source from now on, and read refused ones again."""
    engine = database()
    rows, again = _decide(engine, numbers, accept=True, retry=retry, by=by, reason=reason)
    if as_json:
        print_json({"proposals": [row.proposal_id for row in rows], "state": "accepted", "read_again": again})
        return
    for row in rows:
        typer.echo(f"{row.source}: {row.column_name} counts as {row.table_name}.{row.proposed_column}")
    typer.echo(f"{len(again)} refused file(s) will be read again at the next ingestion")


@app.command()
def reject(numbers: Numbers, *, reason: RequiredReason, by: ByOption = None, as_json: JsonOption = False) -> None:
    """Keep the column apart; files that lack the contract's column stay refused."""
    rows, _ = _decide(database(), numbers, accept=False, retry=False, by=by, reason=reason)
    if as_json:
        print_json({"proposals": [row.proposal_id for row in rows], "state": "rejected"})
    else:
        typer.echo(f"{len(rows)} proposal(s) rejected")


def _proposals(engine: Engine) -> Any:
    from lab_assets.state.schema_proposals import SchemaProposals

    return SchemaProposals(engine)


def _decide(engine: Engine, numbers: list[int], *, accept: bool, retry: bool, by: str | None, reason: str) -> tuple[list[Any], list[int]]:
    """Decide, give refused files back and write the audit entries in one transaction."""
    from lab_assets.governance.grants import require_manage
    from lab_assets.state.audit_chain import AuditLog
    from lab_assets.state.database import writing
    from lab_assets.state.quarantine import Quarantine

    actor = actor_of(engine, by)
    if by is not None:
        require_manage(engine, by)
    audit, proposals = AuditLog(engine), _proposals(engine)
    verb = "accept" if accept else "reject"
    with writing(engine) as connection:
        rows = proposals.decide(connection, numbers, accept=accept, by=actor, reason=reason)
        again = sorted({number for row in rows for number in proposals.refused_files(row)}) if retry else []
        for row in rows:
            audit.append(
                connection,
                actor=actor,
                action=f"schema.{verb}",
                target=f"{row.source}:{row.table_name}.{row.proposed_column}",
                old={"state": row.state},
                new={"column": row.column_name, "first_file": row.first_file, "read_again": again},
                reason=reason,
                origin=ORIGIN,
            )
        Quarantine(engine).retry(connection, again, by=actor, reason=f"renamed column accepted: {reason}")
    return rows, again
