"""``lab reconcile``: ledger and tables held against each other.

Belongs here: arguments and printing. Does not belong here: the comparison (``lab_assets.ingest.reconciler``).
"""

from __future__ import annotations

from typing import Annotated

import typer

from lab_assets.cli._governance import ByOption, JsonOption, actor_of, print_json, print_table


class ReconcileError(ValueError):
    """Ledger and tables cannot be compared now, or a decision lacks its reason."""


def reconcile(
    *,
    accept_lake: Annotated[
        bool,
        typer.Option("--accept-lake", help="The tables were put back to an earlier state: read what they lack again from the originals."),
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
    from lab_assets.state.database import open_database
    from lab_assets.state.ledger import Ledger

    settings = get_settings()
    engine = open_database(settings)
    if accept_lake and not reason.strip():
        raise ReconcileError("--accept-lake needs --reason: it is a decision about data")
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
