"""Rows as Dagster stores them: the events of a run as they are, and what stays behind when a run is deleted.

Belongs here: reading and deleting rows that Dagster has no call for. Does not belong here: which runs go (``run_history.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster import serialize_value
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from sqlalchemy import delete, func, select

from lab_assets.orchestration.private.event_storage import OpenSqliteEventLogStorage

if TYPE_CHECKING:
    from dagster import DagsterInstance


def stored_events(instance: DagsterInstance, run_id: str) -> list[str]:
    """Return the events of a run as JSON, in order; those of the embedded storage as they lie there, which is twenty times as quick."""
    events = instance.event_log_storage
    if not isinstance(events, OpenSqliteEventLogStorage):
        return [serialize_value(event) for event in instance.all_logs(run_id)]
    columns = SqlEventLogStorageTable.c
    with events.run_connection(run_id) as connection:
        return list(connection.execute(select(columns.event).where(columns.run_id == run_id).order_by(columns.id)).scalars())


def remove_leftover_rows(instance: DagsterInstance) -> None:
    """Delete tags, and all but the newest execution of each check, of runs that are gone; only in the embedded storage."""
    runs, events = instance.run_storage, instance.event_log_storage
    if not isinstance(runs, SqliteRunStorage) or not isinstance(events, OpenSqliteEventLogStorage):
        return
    with runs.connect() as connection:
        known = set(connection.execute(select(RunsTable.c.run_id)).scalars())
        connection.execute(delete(RunTagsTable).where(RunTagsTable.c.run_id.not_in(select(RunsTable.c.run_id))))
    checks = AssetCheckExecutionsTable.c
    newest = select(func.max(checks.id)).group_by(checks.asset_key, checks.check_name)
    with events.index_connection() as connection:
        gone = set(connection.execute(select(checks.run_id).distinct()).scalars()) - known
        for run_id in sorted(filter(None, gone)):
            connection.execute(delete(AssetCheckExecutionsTable).where(checks.run_id == run_id, checks.id.not_in(newest)))
