"""``lab quarantine``: files that were refused: why, and what becomes of them.

Belongs here: arguments, printing, audit entries. Does not belong here: the ledger's transitions (``lab_assets.engine.ledger``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab_assets.cli._governance import ORIGIN, ByOption, JsonOption, actor_of, database, print_json, print_table

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(help="Refused files: list, show, retry, discard.", no_args_is_help=True)

Numbers = Annotated[list[int], typer.Argument(metavar="ARRIVAL...", help="Numbers from 'lab quarantine list'.", show_default=False)]


class QuarantineError(ValueError):
    """An arrival that is not in quarantine, or cannot be read again."""


@app.command("list")
def list_(*, rule: Annotated[str | None, typer.Option(help="Only this rule.")] = None, as_json: JsonOption = False) -> None:
    """List refused files, newest first, with rule and reason."""
    rows = [_told(row) for row in _quarantined(database()) if rule in {None, row.rule}]
    if as_json:
        print_json(rows)
        return
    columns = ("arrival_id", "source", "file_name", "rule", "reason", "place", "arrived_at_utc")
    if rows:
        print_table(columns, ([row[column] for column in columns] for row in rows))
    else:
        typer.echo("no file is in quarantine")


@app.command()
def show(
    number: Annotated[int, typer.Argument(metavar="ARRIVAL", help="Number from 'lab quarantine list'.")], *, as_json: JsonOption = False
) -> None:
    """Show one refused file: reason, place, the kept bytes and what to do."""
    from lab_assets.engine.raw_store import RawStore
    from lab_assets.settings import get_settings

    (row,) = _chosen(database(), [number])
    told = _told(row)
    told["raw"] = str(RawStore(get_settings().raw).path(row.file_id)) if row.file_id else None
    told["next"] = _advice(row)
    if as_json:
        print_json(told)
    else:
        print_table(("field", "value"), told.items())


@app.command()
def retry(
    numbers: Numbers,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let refused files be read again at the next ingestion, after a reader or a contract was mended."""
    engine = database()
    rows = _chosen(engine, numbers)
    if never_copied := [row.arrival_id for row in rows if not row.file_id]:
        listed = ", ".join(map(str, never_copied))
        raise QuarantineError(f"{listed}: no bytes were taken, so there is nothing to read again; put the file into the inbox anew")
    _record(engine, by, "quarantine.retry", rows, reason)
    _ledger(engine).retry([row.arrival_id for row in rows])
    _answer(rows, "will be read again at the next ingestion", as_json=as_json)


@app.command()
def discard(
    numbers: Numbers,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.", show_default=False)],
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close refused files for good; their bytes and reasons stay on record."""
    engine = database()
    rows = _chosen(engine, numbers)
    _record(engine, by, "quarantine.discard", rows, reason)
    _ledger(engine).discard([row.arrival_id for row in rows], reason)
    _answer(rows, "discarded", as_json=as_json)


def _ledger(engine: Engine) -> Any:
    from lab_assets.engine.ledger import Ledger

    return Ledger(engine)


def _quarantined(engine: Engine) -> list[Any]:
    return _ledger(engine).quarantined()


def _chosen(engine: Engine, numbers: list[int]) -> list[Any]:
    known = {row.arrival_id: row for row in _quarantined(engine)}
    if missing := [number for number in numbers if number not in known]:
        raise QuarantineError(f"not in quarantine: {', '.join(map(str, missing))}; 'lab quarantine list' shows what is")
    return [known[number] for number in dict.fromkeys(numbers)]


def _record(engine: Engine, by: str | None, action: str, rows: list[Any], reason: str) -> None:
    """Write one audit entry for each file, before anything is done: what cannot be recorded does not happen."""
    from lab_assets.engine.database import writing
    from lab_assets.governance.audit import AuditLog
    from lab_assets.governance.grants import require_manage

    actor = actor_of(engine, by)
    if by is not None:
        require_manage(engine, by)
    audit = AuditLog(engine)
    with writing(engine) as connection:
        for row in rows:
            audit.append(
                connection,
                actor=actor,
                action=action,
                target=f"arrival:{row.arrival_id}",
                old={"rule": row.rule, "file": f"{row.source}/{row.file_name}", "file_id": row.file_id},
                reason=reason,
                origin=ORIGIN,
            )


def _told(row: Any) -> dict[str, Any]:
    names = ("arrival_id", "source", "file_name", "rule", "reason", "place", "format", "size", "file_id", "supersedes")
    return {**{name: getattr(row, name) for name in names}, "arrived_at_utc": row.arrived_at}


def _advice(row: Any) -> str:
    if not row.file_id:
        return "no bytes were taken: put a regular, readable file into the inbox"
    return "export the file again and drop it, or 'lab quarantine retry' after mending the reader, or 'lab quarantine discard --reason'"


def _answer(rows: list[Any], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"arrivals": [row.arrival_id for row in rows], "state": what})
    else:
        typer.echo(f"{len(rows)} file(s) {what}")
