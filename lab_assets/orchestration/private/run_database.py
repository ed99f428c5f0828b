"""What Dagster's own database says about its daemon and its runs, read without Dagster, whose import takes seconds.

Belongs here: reading heartbeats, unfinished and failed runs where Dagster keeps its history in files. Does not belong here: what follows from
them. With a database server (``storage: postgres``) there is no such file, and Dagster's pages show the same.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

SINGLE_ASSETS: Final = "__ASSET_JOB"
"""Dagster's name for the job of assets that somebody materialised by themselves."""
_WAIT_S: Final = 2.0
_UNFINISHED: Final = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
PROCESS_TAG: Final = ".dagster/lab_process"
"""Tag of a run that names its process: its number, when it was created, as numbers are used again, and the run, as a run that is tried
again is given the tags of the first. Dagster hides tags of this prefix, since the run's own events show people the number."""


@dataclass(frozen=True, kw_only=True)
class UnfinishedRun:
    """A run that has not ended, as Dagster knows it.

    Attributes:
        run_id: Its id.
        job: Its job.
        status: Dagster's word: ``QUEUED``, ``NOT_STARTED``, ``STARTING``, ``STARTED``, ``CANCELING``.
        created_utc: When it was asked for.
        changed_utc: When its status changed last.
        process: Number and birth of its process as whoever began it noted them; empty before.
    """

    run_id: str
    job: str
    status: str
    created_utc: datetime
    changed_utc: datetime
    process: str


@dataclass(frozen=True, kw_only=True)
class FailedRuns:
    """Runs of one job that failed one after the other, up to its newest.

    Attributes:
        job: The job.
        number: How many.
        newest_id: Id of the newest.
        ended_utc: When it ended.
        reason: What it failed on, in one line; empty where it did not say.
    """

    job: str
    number: int
    newest_id: str
    ended_utc: datetime
    reason: str


def run_database(dagster_home: Path) -> Path:
    """Return where Dagster keeps runs and heartbeats below its home."""
    return dagster_home / "storage" / "history" / "runs.db"


def newest_heartbeat(database: Path) -> str | None:
    """Return the newest heartbeat of the daemon's parts, as text that grows with time; ``None`` for none, or where none can be read."""
    try:
        with _reading(database) as connection:
            (newest,) = connection.execute("SELECT max(timestamp) FROM daemon_heartbeats").fetchone()
    except sqlite3.Error:
        return None
    return newest


def unfinished_runs(database: Path) -> list[UnfinishedRun]:
    """Return runs that have not ended, the oldest first; none where Dagster keeps its history elsewhere."""
    marks = ",".join("?" * len(_UNFINISHED))
    query = (
        "SELECT runs.run_id, pipeline_name, status, create_timestamp, update_timestamp, coalesce(value, '') FROM runs "  # noqa: S608 - marks alone
        f"LEFT JOIN run_tags ON run_tags.run_id = runs.run_id AND run_tags.key = ? WHERE status IN ({marks}) ORDER BY runs.id"
    )
    try:
        with _reading(database) as connection:
            rows = connection.execute(query, (PROCESS_TAG, *_UNFINISHED)).fetchall()
    except sqlite3.Error:
        return []
    return [
        UnfinishedRun(
            run_id=run_id,
            job=job,
            status=status,
            created_utc=_moment(created),
            changed_utc=_moment(changed),
            process=named_process(named, run_id),
        )
        for run_id, job, status, created, changed, named in rows
    ]


def named_process(named: str, run_id: str) -> str:
    """Return number and birth of the process that a run's tag names; empty where the tag is that of another run, or there is none."""
    process, _, of_run = named.rpartition("@")
    return process if of_run == run_id else ""


def failed_runs(database: Path) -> list[FailedRuns]:
    """Return, of each job whose newest ended run failed, how many did in a row; none where Dagster keeps its history elsewhere."""
    query = (
        "SELECT pipeline_name, count(*), max(id), run_id, update_timestamp FROM runs AS run WHERE status = 'FAILURE' AND id > coalesce("
        "(SELECT max(id) FROM runs WHERE pipeline_name = run.pipeline_name AND status IN ('SUCCESS', 'CANCELED')), 0) GROUP BY pipeline_name"
    )  # SQLite takes the columns beside max() from its row
    try:
        with _reading(database) as connection:
            rows = connection.execute(query).fetchall()
    except sqlite3.Error:
        return []
    return [
        FailedRuns(job=job, number=number, newest_id=run_id, ended_utc=_moment(ended), reason=_reason(database, run_id))
        for job, number, _, run_id, ended in rows
    ]


def _reason(database: Path, run_id: str) -> str:
    """Return the innermost error of the first step that failed, or why the run was ended."""
    query = (
        "SELECT event FROM event_logs WHERE dagster_event_type IN ('STEP_FAILURE', 'PIPELINE_FAILURE') "
        "ORDER BY dagster_event_type DESC, id LIMIT 1"
    )
    try:
        with _reading(database.parent / "runs" / f"{run_id}.db") as connection:
            found = connection.execute(query).fetchone()
        event: dict[str, Any] = json.loads(found[0])["dagster_event"] if found else {}
    except (sqlite3.Error, ValueError, KeyError):
        return ""
    error: dict[str, Any] | None = (event.get("event_specific_data") or {}).get("error")
    words = str(event.get("message") or "")
    while error:
        words, error = str(error.get("message") or words), error.get("cause")
    first, _, rest = words.strip().partition("\n")
    kind, _, said = first.partition(": ")
    if said and kind.count(".") and " " not in kind:  # the class of an error, as people need it least
        first = said
    return f"{first} {', '.join(rest.split(chr(10)))}" if first.endswith(":") else first  # as of a gate: the checks stand a line each


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=_WAIT_S)) as connection:
        yield connection


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
