"""What processes that ended, or were killed, left in a home.

Belongs here: telling what nobody will come back for. Does not belong here: tables, records, answers in the spool: a spool holds answers
that are not in a table yet, whoever wrote them, and the service that opens it commits them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from sqlalchemy import select

from lab_assets.compute.spark_server import SparkFiles
from lab_assets.settings import Settings
from lab_assets.state.ledger_tables import INGEST_BATCHES
from lab_assets.upkeep.removal import Removal, newest_change_s, removed

if TYPE_CHECKING:
    from sqlalchemy import Engine


def spark_scratch(settings: Settings, *, now: datetime, dry_run: bool = False) -> Removal:
    """Remove the scratch folders of Spark servers that are gone; those of the server that runs stay, however old."""
    limit_s = _limit_s(settings, now)
    if (started_s := _server_started_s(settings)) is not None:
        limit_s = min(limit_s, started_s)
    scratch = SparkFiles(settings).folder / "scratch"
    gone = [path for path in _inside(scratch) if newest_change_s(path) < limit_s]
    return removed("scratch folders of ended Spark servers", gone, dry_run=dry_run)


def staged_batches(settings: Settings, engine: Engine, *, now: datetime, dry_run: bool = False) -> Removal:
    """Remove staged rows of batches that are committed; those of a batch that is not are what the next run commits."""
    with engine.connect() as connection:
        unfinished = {
            str(batch)
            for batch in connection.execute(select(INGEST_BATCHES.c.batch).where(INGEST_BATCHES.c.state != "committed")).scalars()
        }
    limit_s = _limit_s(settings, now)
    gone = [path for path in _inside(settings.run / "staging") if path.name not in unfinished and newest_change_s(path) < limit_s]
    return removed("staged rows of committed batches", gone, dry_run=dry_run)


def drafts(settings: Settings, *, now: datetime, dry_run: bool = False) -> Removal:
    """Remove half-written files that were to replace others, and what an ended warm-up left."""
    limit_s = _limit_s(settings, now)
    named = (path for folder in (settings.home, settings.run, settings.home / "dagster") for path in folder.glob("*.draft"))
    found = [*named, *settings.home.glob(".lab-*"), *_inside(settings.run / "warm_up")]
    return removed("drafts of ended processes", [path for path in found if newest_change_s(path) < limit_s], dry_run=dry_run)


def quarantine_copies(settings: Settings, *, now: datetime, dry_run: bool = False) -> Removal:
    """Remove copies of refused files that are older than the policy says; without one, none. Their bytes stay in ``raw``."""
    if settings.quarantine_days is None:
        return Removal(what="copies of refused files", items=0, bytes=0)
    limit_s = (now - timedelta(days=settings.quarantine_days)).timestamp()
    gone = [path for path in _inside(settings.quarantine) if newest_change_s(path) < limit_s]
    return removed("copies of refused files", gone, dry_run=dry_run)


def _limit_s(settings: Settings, now: datetime) -> float:
    return (now - timedelta(hours=settings.scratch_hours)).timestamp()


def _server_started_s(settings: Settings) -> float | None:
    """Return when the Spark server that runs was started; ``None`` where none runs."""
    state = SparkFiles(settings).read_state()
    java = state.java.process() if state is not None and state.java is not None else None
    try:
        return None if java is None else java.create_time()
    except psutil.NoSuchProcess:
        return None


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
