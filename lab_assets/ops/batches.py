"""What ingestion did, read from the ledger.

Belongs here: reading finished batches and waiting files. Does not belong here: ingesting (``lab_assets.ingest.ingestor``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Engine, func, select

from lab_assets.ingest.candidates import Look, patience_of
from lab_assets.ingest.inbox_mark import watch_of
from lab_assets.settings import Settings
from lab_assets.state.ledger import Ledger
from lab_assets.state.ledger_tables import ARRIVALS, INGEST_BATCHES
from lab_assets.state.taken_paths import taken_paths


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """What some batches brought.

    Attributes:
        batches: Their numbers, oldest first.
        states: Arrivals by state.
        formats: Committed arrivals by format.
        reasons: Quarantined arrivals by rule.
        rows: Rows kept, by bronze table.
        table_versions: Last version written, by table.
    """

    batches: list[int]
    states: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    table_versions: dict[str, int] = field(default_factory=dict)


def last_batch(engine: Engine) -> dict[str, Any] | None:
    """Return number, state and times of the newest batch; ``None`` before the first."""
    columns = INGEST_BATCHES.c
    query = select(columns.batch, columns.state, columns.opened_at, columns.committed_at).order_by(columns.batch.desc()).limit(1)
    with engine.connect() as connection:
        row = connection.execute(query).mappings().first()
        if row is None:
            return None
        counted = select(ARRIVALS.c.state, func.count()).where(ARRIVALS.c.batch == row["batch"]).group_by(ARRIVALS.c.state)
        # SQLAlchemy's names are texts of a kind of its own, which no JSON writer takes
        return {**{str(name): value for name, value in row.items()}, "states": {row[0]: row[1] for row in connection.execute(counted)}}


def open_batches(engine: Engine) -> list[int]:
    """Return batches that are not committed yet, oldest first."""
    return [batch for batch, _ in Ledger(engine).unfinished_batches()]


def files_of_open_batches(engine: Engine) -> dict[int, int]:
    """Return how many files each batch holds that is not committed yet, oldest first."""
    columns = INGEST_BATCHES.c
    query = (
        select(columns.batch, func.count(ARRIVALS.c.batch))
        .select_from(INGEST_BATCHES.outerjoin(ARRIVALS, ARRIVALS.c.batch == columns.batch))
        .where(columns.batch.in_(open_batches(engine)))
        .group_by(columns.batch)
        .order_by(columns.batch)
    )
    with engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def report_of(engine: Engine, numbers: Collection[int]) -> BatchReport:
    """Return what some batches brought; those that are not committed yet do not count.

    Args:
        engine: The ledger's database.
        numbers: Their numbers.
    """
    batch = INGEST_BATCHES.c
    wanted = select(batch.batch, batch.table_versions).where(batch.state == "committed", batch.batch.in_(list(numbers)))
    with engine.connect() as connection:
        found = list(connection.execute(wanted.order_by(batch.batch)))
        numbers = [row.batch for row in found]
        arrivals = list(connection.execute(select(ARRIVALS).where(ARRIVALS.c.batch.in_(numbers))))
    rows: Counter[str] = Counter()
    for arrival in arrivals:
        if arrival.state == "committed":
            rows.update({name: count - (arrival.rows_rejected or {}).get(name, 0) for name, count in (arrival.rows_parsed or {}).items()})
    versions: dict[str, int] = {}
    for row in found:
        versions.update(row.table_versions)
    return BatchReport(
        batches=list(numbers),
        states=dict(Counter(arrival.state for arrival in arrivals)),
        formats=dict(Counter(arrival.format for arrival in arrivals if arrival.state == "committed")),
        reasons=dict(Counter(arrival.rule or "unknown" for arrival in arrivals if arrival.state == "quarantined")),
        rows=dict(rows),
        table_versions=versions,
    )


def look_now(settings: Settings, engine: Engine) -> Look:
    """Look at the whole inbox; folders are listed, nothing is opened.

    Raises:
        InboxError: the inbox is not there, is no folder, cannot be read, or is another one than before.
    """
    return watch_of(settings).look(partial(taken_paths, engine), patience_of(settings))


def counts_of(found: Look) -> dict[str, int]:
    """Return how many files a look found ready, still growing, refused, or passed over for their names."""
    return {"ready": len(found.ready), "growing": found.growing, "refused": len(found.refused), "passed_over": found.passed_over}


def waiting_files(settings: Settings, engine: Engine) -> dict[str, int]:
    """Return how many files in the inbox are ready, still growing, or refused.

    Raises:
        InboxError: see ``look_now``.
    """
    return counts_of(look_now(settings, engine))
