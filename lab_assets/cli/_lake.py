"""The tables, opened by a command that changes them.

Belongs here: opening and closing. Does not belong here: any command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import typer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from lab_assets.lake.lakehouse import Lakehouse


@contextmanager
def open_lake(engine: Engine) -> Iterator[Lakehouse]:
    """Open the tables; Spark starts when it is first needed and is let go at the end."""
    from lab_assets.compute.session import SessionKeeper
    from lab_assets.lake.lakehouse import Lakehouse
    from lab_assets.settings import get_settings
    from lab_assets.state.ledger import Ledger

    settings = get_settings()
    keeper = SessionKeeper(settings)
    try:
        yield Lakehouse(settings, keeper, Ledger(engine))
    finally:
        keeper.close()


def note_lineage(lake: Lakehouse, *, run_id: str = "") -> None:
    """Record what was just committed in ``governance.lineage``; what the command did stands, even where that does not succeed."""
    from lab_assets.stations.governance.lineage import catch_up

    catch_up(lake, run_id=run_id, say=lambda line: typer.secho(f"warning: {line}", err=True, fg="yellow"))


def new_run_id(what: str) -> str:
    """Return an id for what a command commits, by which ``lab run`` finds it."""
    return f"{what}-{uuid4().hex[:12]}"
