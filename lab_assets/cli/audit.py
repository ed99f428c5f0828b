"""``lab audit``: the chained trail of who did what.

Belongs here: arguments and printing. Does not belong here: the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab_assets.cli._governance import (
    ORIGIN,
    JsonOption,
    ReasonOption,
    RequiredReason,
    actor_of,
    database,
    fail,
    print_json,
    print_table,
    refusals,
)

if TYPE_CHECKING:
    from lab_assets.governance.audit_acceptance import Proposal
    from lab_assets.state.audit_faults import Fault

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
    """Check every hash, the chain and the anchors; exit code 1 when anything is wrong that two people have not accepted."""
    from lab_assets.state.audit_chain import AuditLog

    with refusals():
        result = AuditLog(database()).verify()
    if as_json:
        print_json(asdict(result))
        raise typer.Exit(0 if result.ok else 1)
    for each in result.accepted:
        typer.echo(f"accepted with entry {each.accepted_seq} by {' and '.join(each.accepted_by)}: {each.words}")
    if not result.ok:
        fail(f"the audit trail is broken: {result.reason}\n'lab audit examine' shows what differs and what can be done")
    typer.echo(f"{result.entries} entries, chain whole, anchored up to entry {result.anchored_seq}, head {result.head_hash}")


@app.command()
def examine(as_json: JsonOption = False) -> None:
    """Show what is wrong with the trail: what the anchor file and the chain say of the same entries, and who proposed to accept it."""
    from lab_assets.governance.audit_acceptance import open_proposals
    from lab_assets.state.audit_chain import AuditLog

    with refusals():
        engine = database()
        result, proposals = AuditLog(engine).verify(), open_proposals(engine)
    if as_json:
        print_json({**asdict(result), "proposals": [asdict(each) for each in proposals]})
        raise typer.Exit(0 if result.ok else 1)
    for fault in (*result.faults, *result.accepted):
        typer.secho(f"{fault.kind}: {fault.words}", bold=True)
        if fault.accepted_by:
            typer.echo(f"accepted with entry {fault.accepted_seq} by {' and '.join(fault.accepted_by)}: {fault.accepted_reason}")
        if fault.evidence:
            columns = list(fault.evidence[0])
            print_table(columns, [[_short(row[name]) for name in columns] for row in fault.evidence])
    for each in proposals:
        typer.echo(f"proposed with entry {each.seq} by {each.by}: {each.reason}; 'lab audit accept {each.seq} --as USER' confirms it")
    if result.ok:
        typer.echo("nothing is wrong that was not accepted")
        return
    typer.echo(_ways_out(result.faults, proposals))
    raise typer.Exit(1)


def _ways_out(faults: Sequence[Fault], proposals: Sequence[Proposal]) -> str:
    restore = "put the newer database, or the anchor file that belongs to it, back ('lab restore')"
    if not all(fault.fault_id for fault in faults):
        return f"what can be done: {restore}; an entry that was changed or is missing cannot be accepted"
    whole = next((each for each in proposals if {fault.fault_id for fault in faults} <= set(each.faults)), None)
    if whole is not None:
        return (
            f"what can be done: {restore}; or QA confirms what {whole.by} proposed ('lab audit accept {whole.seq} --as USER --reason WHY'), "
            "to take it as it is"
        )
    return f"what can be done: {restore}; or an administrator proposes to take it as it is ('lab audit accept --as USER --reason WHY') and QA confirms"


def _short(value: object) -> object:
    return f"{value[:16]}..." if isinstance(value, str) and len(value) == 64 else value


@app.command()
def accept(
    by: Annotated[str, typer.Option("--as", metavar="USER", help="Account that proposes or confirms.", show_default=False)],
    reason: RequiredReason,
    proposal: Annotated[int | None, typer.Argument(help="Entry of the proposal to confirm; without it one is made.")] = None,
) -> None:
    """Take what is wrong with the trail as it is: an administrator proposes, QA confirms; it stays listed ever after."""
    from lab_assets.governance.audit_acceptance import confirm, propose
    from lab_assets.governance.clock_guard import ClockBehindError

    with refusals():
        engine = database()
        actor = actor_of(engine, by)
        try:
            if proposal is None:
                made = propose(engine, by=actor, reason=reason, origin=ORIGIN)
                typer.echo(f"{len(made.faults)} fault(s) proposed for acceptance with entry {made.seq}; another person confirms them:")
                typer.echo(f"lab audit accept {made.seq} --as USER --reason WHY")
                return
            entry = confirm(engine, proposal, by=actor, reason=reason, origin=ORIGIN)
        except ClockBehindError as error:
            fail(str(error))
    typer.echo(f"accepted with entry {entry.seq}; 'lab audit verify' goes on listing it")


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
