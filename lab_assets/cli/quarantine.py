"""``lab quarantine``: files that were refused: why, and what becomes of them.

Belongs here: arguments, printing, audit entries. Does not belong here: the transitions (``lab_assets.state.quarantine``).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab_assets.cli._governance import ORIGIN, ByOption, JsonOption, RequiredReason, actor_of, database, print_json, print_table

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(help="Refused files and rows: list, show, retry, discard.", no_args_is_help=True)

Numbers = Annotated[list[int] | None, typer.Argument(metavar="ARRIVAL...", help="Numbers from 'lab quarantine list'.", show_default=False)]
RuleOption = Annotated[str | None, typer.Option("--rule", help="Only files refused by this rule.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every refused file, or with --rule every one of that rule.")]


class QuarantineError(ValueError):
    """An arrival that is not in quarantine, or cannot be read again."""


@app.command("list")
def list_(*, rule: RuleOption = None, as_json: JsonOption = False) -> None:
    """List refused files, newest first, with rule and reason, after how many there are of each rule."""
    quarantine = _quarantine(database())
    rows = [_fields(row) for row in quarantine.waiting() if rule in {None, row.rule}]
    if as_json:
        print_json(rows)
        return
    columns = ("arrival_id", "source", "file_name", "rule", "reason", "place", "arrived_at_utc")
    if rows:
        print_table(("rule", "files"), quarantine.counts().items())
        print_table(columns, ([row[column] for column in columns] for row in rows))
        typer.echo("'lab quarantine show ARRIVAL' says how to mend one")
    else:
        typer.echo("no file is in quarantine" if rule is None else f"no file is in quarantine for {rule}")


@app.command()
def show(
    number: Annotated[int, typer.Argument(metavar="ARRIVAL", help="Number from 'lab quarantine list'.")], *, as_json: JsonOption = False
) -> None:
    """Show one refused file: reason, place, how to mend it, the kept bytes, and what was done with it so far."""
    from lab_assets.ingest.raw_store import RawStore
    from lab_assets.settings import get_settings
    from lab_assets.sources.core.rules import mend

    engine = database()
    (row,) = _chosen(engine, [number], rule=None, every=False)
    fields = _fields(row)
    fields["mend"] = mend(row.rule)
    fields["raw"] = str(RawStore(get_settings().raw).path(row.file_id)) if row.file_id else None
    fields["next"] = _advice(row)
    fields["steps"] = [
        {"event": step.event, "by": step.by, "at_utc": step.at_utc, "reason": step.reason} for step in _quarantine(engine).history(number)
    ]
    if as_json:
        print_json(fields)
        return
    steps = fields.pop("steps")
    print_table(("field", "value"), fields.items())
    print_table(("step", "by", "at", "reason"), (step.values() for step in steps))


@app.command()
def rows(
    *,
    table: Annotated[str | None, typer.Option("--table", help="Only rows meant for this table, such as bronze.measurements.")] = None,
    rule: Annotated[str | None, typer.Option("--rule", help="Only rows that broke this rule.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows shown.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List single rows that were refused while the other rows of their file went on, newest first.

    They stay on record. To bring one in, correct the file and drop it under the same path: the new file replaces the old.
    """
    from lab_assets.lake.versions import rejected_rows
    from lab_assets.settings import get_settings

    found = rejected_rows(get_settings(), table=table, rule=rule)
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo("no single row was refused" if table is None and rule is None else "no such row was refused")
        return
    counts = Counter((row["table_name"], row["rule"]) for row in found)
    print_table(("table", "rule", "rows"), ((*key, count) for key, count in counts.most_common()))
    columns = ("source", "source_file", "source_row", "table_name", "column_name", "rule", "reason", "replaced")
    print_table(columns, ([row[column] for column in columns] for row in found[:limit]))
    if len(found) > limit:
        typer.echo(f"{limit} of {len(found)} row(s) shown; --limit shows more")
    typer.echo("'lab query --as USER' on bronze.quarantined_rows shows the values to those who may see them")


@app.command()
def retry(
    numbers: Numbers = None,
    *,
    every: AllOption = False,
    rule: RuleOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let refused files be read again at the next ingestion, after a reader, a contract or a description was mended."""
    engine = database()
    rows = _chosen(engine, numbers or [], rule=rule, every=every)
    never_copied = [row.arrival_id for row in rows if not row.file_id]
    if never_copied and not every:
        listed = ", ".join(map(str, never_copied))
        raise QuarantineError(f"{listed}: no bytes were taken, so there is nothing to read again; put the file into the inbox anew")
    rows = [row for row in rows if row.file_id]
    _do(engine, "retry", rows, by=by, reason=reason)
    _answer(rows, "will be read again at the next ingestion", as_json=as_json)


@app.command()
def discard(
    numbers: Numbers = None,
    *,
    every: AllOption = False,
    rule: RuleOption = None,
    reason: RequiredReason,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close refused files for good; their bytes and reasons stay on record."""
    engine = database()
    rows = _chosen(engine, numbers or [], rule=rule, every=every)
    _do(engine, "discard", rows, by=by, reason=reason)
    _answer(rows, "discarded", as_json=as_json)


def _quarantine(engine: Engine) -> Any:
    from lab_assets.state.quarantine import Quarantine

    return Quarantine(engine)


def _chosen(engine: Engine, numbers: list[int], *, rule: str | None, every: bool) -> list[Any]:
    """Return the refused arrivals that were named, or all of them, or all of a rule.

    Raises:
        QuarantineError: one that was named is not in quarantine, or none was named.
    """
    waiting = _quarantine(engine).waiting()
    if every:
        return [row for row in waiting if rule in {None, row.rule}]
    if not numbers:
        raise QuarantineError("name the arrivals, or --all, or --all --rule RULE; 'lab quarantine list' shows what is there")
    known = {row.arrival_id: row for row in waiting}
    if missing := [number for number in numbers if number not in known]:
        raise QuarantineError(f"not in quarantine: {', '.join(map(str, missing))}; 'lab quarantine list' shows what is")
    return [known[number] for number in dict.fromkeys(numbers)]


def _do(engine: Engine, what: str, rows: list[Any], *, by: str | None, reason: str) -> None:
    """Take the step and write one audit entry a file in one transaction: what cannot be recorded does not happen."""
    from lab_assets.governance.grants import require_manage
    from lab_assets.state.audit_chain import AuditLog
    from lab_assets.state.database import writing

    actor = actor_of(engine, by)
    if by is not None:
        require_manage(engine, by)
    audit, quarantine = AuditLog(engine), _quarantine(engine)
    with writing(engine) as connection:
        for row in rows:
            audit.append(
                connection,
                actor=actor,
                action=f"quarantine.{what}",
                target=f"arrival:{row.arrival_id}",
                old={"rule": row.rule, "file": f"{row.source}/{row.file_name}", "file_id": row.file_id},
                reason=reason,
                origin=ORIGIN,
            )
        step = quarantine.retry if what == "retry" else quarantine.discard
        step(connection, [row.arrival_id for row in rows], by=actor, reason=reason)


def _fields(row: Any) -> dict[str, Any]:
    names = ("arrival_id", "source", "file_name", "rule", "reason", "place", "format", "size", "file_id", "supersedes", "member_of")
    return {**{name: getattr(row, name) for name in names}, "arrived_at_utc": row.arrived_at}


def _advice(row: Any) -> str:
    if not row.file_id:
        return "no bytes were taken: put a regular, readable file into the inbox"
    return "drop a corrected file, or 'lab quarantine retry' after mending the reader, or 'lab quarantine discard --reason'"


def _answer(rows: list[Any], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"arrivals": [row.arrival_id for row in rows], "state": what})
    else:
        typer.echo(f"{len(rows)} file(s) {what}")
