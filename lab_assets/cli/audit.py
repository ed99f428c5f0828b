"""``lab audit``: the chained trail of who did what.

Belongs here: arguments and printing. Does not belong here: the chain.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lab_assets.cli._governance import ORIGIN, JsonOption, ReasonOption, actor_of, database, fail, print_json, print_table, refusals

app = typer.Typer(help="The audit trail: append-only, chained by hashes, anchored outside the database.", no_args_is_help=True)


@app.command()
def show(
    actor: Annotated[str | None, typer.Option(help="Only this actor's entries.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, or this noun, such as query or model.")] = None,
    target: Annotated[str | None, typer.Option("--object", help="Only this object's entries.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Newest entries shown.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show entries, oldest first."""
    from lab_assets.state.audit_chain import AuditLog

    with refusals():
        entries = AuditLog(database()).entries(actor=actor, action=action, target=target, limit=limit)
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    print_table(
        ("seq", "at (UTC)", "actor", "action", "object", "old", "new", "reason"),
        [(e.seq, e.at_utc, e.actor, e.action, e.object, e.old, e.new, e.reason) for e in entries],
    )


@app.command()
def verify(as_json: JsonOption = False) -> None:
    """Check every hash, the chain and the anchors; exit code 1 when anything is wrong."""
    from lab_assets.state.audit_chain import AuditLog

    with refusals():
        result = AuditLog(database()).verify()
    if as_json:
        print_json(asdict(result))
        raise typer.Exit(0 if result.ok else 1)
    if not result.ok:
        fail(f"the audit trail is broken: {result.reason}")
    typer.echo(f"{result.entries} entries, chain whole, anchored up to entry {result.anchored_seq}, head {result.head_hash}")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="File to write, one JSON entry a line.")],
    by: Annotated[str | None, typer.Option("--as", metavar="USER", help="Account that exports.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the whole trail to a new file and print its SHA-256; the export is itself an entry."""
    from lab_assets.state.audit_chain import AuditLog, write_export

    with refusals():
        engine = database()
        log = AuditLog(engine)
        actor = actor_of(engine, by)
        log.append(actor=actor, action="audit.export", target=str(file), origin=ORIGIN)
        try:
            count, digest = write_export(log, file)
        except OSError as error:
            raise ValueError(f"{file} cannot be written: {error.strerror}") from error
        if as_json:
            print_json({"file": str(file), "entries": count, "sha256": digest})
        else:
            typer.echo(f"{count} entries in {file}, sha256 {digest}")


@app.command("accept-clock")
def accept_clock(
    by: Annotated[str, typer.Option("--as", metavar="USER", help="Account that accepts it; needs MANAGE.", show_default=False)],
    reason: ReasonOption,
) -> None:
    """Take a clock that was set back as it is, so that models can be approved, rejected and promoted again."""
    from lab_assets.governance import clock_guard

    with refusals():
        engine = database()
        entry = clock_guard.accept_clock(engine, by=actor_of(engine, by), reason=reason, origin=ORIGIN)
    typer.echo(f"the clock is accepted by {entry.actor} with audit entry {entry.seq}")
