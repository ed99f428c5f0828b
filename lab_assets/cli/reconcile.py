"""``lab reconcile``: ledger and tables held against each other.

Belongs here: arguments and printing. Does not belong here: the comparison (``lab_assets.ingest.reconciler``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lab_assets.cli._governance import ORIGIN, ByOption, JsonOption, actor_of, print_json, print_table

if TYPE_CHECKING:
    from lab_assets.settings import Settings


class ReconcileError(ValueError):
    """Ledger and tables cannot be compared now, or a decision lacks its reason."""


def reconcile(
    *,
    accept_lake: Annotated[
        bool,
        typer.Option("--accept-lake", help="The tables were put back to an earlier state: read what they lack again from the originals."),
    ] = False,
    new_database: Annotated[
        bool,
        typer.Option(
            "--new-database",
            help="lab.db is lost and no backup holds it: make an empty one and learn from the tables what arrived. Accounts, approvals and "
            "the audit trail are lost with it.",
        ),
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the ledger with the tables and mend what can be mended: what a lost or restored ledger or lake left behind."""
    from filelock import FileLock, Timeout

    from lab_assets.compute.session import SessionKeeper
    from lab_assets.governance.grants import require_manage
    from lab_assets.ingest.raw_store import RawStore
    from lab_assets.ingest.reconciler import Reconciler
    from lab_assets.lake.lakehouse import Lakehouse
    from lab_assets.settings import get_settings
    from lab_assets.state.database import open_database, open_made
    from lab_assets.state.ledger import Ledger

    settings = get_settings()
    if (accept_lake or new_database) and not reason.strip():
        raise ReconcileError(f"{'--accept-lake' if accept_lake else '--new-database'} needs --reason: it is a decision about data")
    if new_database:
        _give_up_database(settings)
    engine = open_database(settings) if new_database else open_made(settings)
    if new_database:
        from lab_assets.state.audit_chain import AuditLog

        AuditLog(engine).append(actor=actor_of(engine, by), action="database.anew", target="lab", reason=reason, origin=ORIGIN)
    actor = actor_of(engine, by)
    if by is not None:
        require_manage(engine, by)
    reconciler = Reconciler(Lakehouse(settings, SessionKeeper(settings), Ledger(engine)), RawStore(settings.raw))
    (settings.run / "locks").mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.run / "locks" / "ingest.lock", timeout=0):
            again = reconciler.accept_lake(by=actor, reason=reason) if accept_lake else 0
            lines = reconciler.settle() if not accept_lake else [f"{again} arrival(s) will be read again at the next ingestion"]
            standing = reconciler.standing()
    except Timeout as error:
        raise ReconcileError("an ingestion is under way; ask again when it has ended") from error
    if as_json:
        print_json({"done": lines, "ledger_batch": standing.ledger, "committed_batch": standing.committed, "tables": standing.tables})
        return
    for line in lines or ["ledger and tables agree"]:
        typer.echo(line)
    print_table(("table", "last batch"), (("ledger", standing.committed), *standing.tables.items()))


def _give_up_database(settings: Settings) -> None:
    """Let an empty database be made in the place of one that is lost.

    Raises:
        ReconcileError: it is not lost.
    """
    from lab_assets.home_identity import Kept, LostError, give_up
    from lab_assets.state.database import is_made, open_engine, revision_of

    try:
        if is_made(settings):
            revision_of(settings, open_engine(settings))
    except LostError:
        give_up(settings, Kept.DATABASE)
    else:
        raise ReconcileError("--new-database is for a database that is gone or empty; this one is not")
