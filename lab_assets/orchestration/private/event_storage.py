"""Dagster's history in SQLite, over connections that stay open.

Belongs here: how Dagster's own storage opens its files. Does not belong here: what is kept in them (Dagster's). Imported by Dagster
alone, by its name in ``dagster.yaml``.

Dagster opens and closes its database for every event, which makes SQLite fold its log into the database each time: 10 ms an event
and 19 ms one of an asset on a laptop's disk. A run over all stations writes a few hundred events, several seconds of its time. Over
a connection that stays open the same events take 2 and 7 ms; without waiting for the disk at each of them, and with those that a new
run plans written together, half of that. After a power cut the last seconds of the event log may be missing, never more, and the log
is whole: what a run did is in the tables and the ledger, and which runs there are in a database of its own, both written through.
Written for one machine; with PostgreSQL (``storage: postgres`` in ``dagster.yaml``) Dagster keeps a pool itself.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Final

from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, SqliteStorageConfig, _event_logs_directory
from sqlalchemy import create_engine
from sqlalchemy.event import listen

from lab_assets.orchestration.private.home_storage import below_home

if TYPE_CHECKING:
    from dagster import EventLogEntry
    from dagster._serdes import ConfigurableClassData
    from sqlalchemy import Connection, Engine

os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
"""Lets Dagster hand over the events that a new run plans together, where it would write each by itself."""

_OPEN_SHARDS: Final = 8
"""Databases kept open at once: the index and those of the runs used last. Dagster keeps one a run."""


class OpenSqliteEventLogStorage(SqliteEventLogStorage):
    """Dagster's event log, one SQLite database a run and an index, with the last used ones kept open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._open: OrderedDict[str, Engine] = OrderedDict()
        self._together: dict[str, Connection] | None = None
        super().__init__(base_dir, inst_data)
        self._db_lock = RLock()  # held over a batch, of which each event asks for it again

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Write events in one transaction a database: all of them, or none."""
        with self._db_lock, ExitStack() as transactions:
            shards = dict.fromkeys((*(event.run_id for event in events), INDEX_SHARD_NAME))
            together = {shard: transactions.enter_context(self._connect(shard)) for shard in shards}
            self._together = together
            try:
                for event in events:
                    self.store_event(event)
            finally:
                self._together = None

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            if self._together is not None and shard in self._together:
                yield self._together[shard]
                return
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def _engine(self, shard: str) -> Engine:
        """Return the database of a shard, and close those used longest ago. The caller holds the lock."""
        engine = self._open.pop(shard, None)
        if engine is None:
            engine = create_engine(self.conn_string_for_shard(shard), connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
            listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = NORMAL"))
        self._open[shard] = engine
        while len(self._open) > _OPEN_SHARDS:
            self._open.popitem(last=False)[1].dispose()
        return engine

    def _close(self) -> None:
        with self._db_lock:
            while self._open:
                self._open.popitem()[1].dispose()

    def delete_events(self, run_id: str) -> None:
        """Delete the events of a run: its own database with them, which Dagster would leave empty and as large as it was."""
        with self._db_lock:
            with self.index_connection() as connection:
                self.delete_events_for_run(connection, run_id)
            if (engine := self._open.pop(run_id, None)) is not None:
                engine.dispose()
            self._initialized_dbs.discard(run_id)
            for ending in ("", "-wal", "-shm"):
                Path(f"{self.path_for_shard(run_id)}{ending}").unlink(missing_ok=True)
        if self.supports_global_concurrency_limits:
            self.free_concurrency_slots_for_run(run_id)

    def wipe(self) -> None:
        """Delete all events; the files of runs are removed, so none may stay open."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Stop watching, and close what is open."""
        super().dispose()
        self._close()


class OpenSqliteStorage(DagsterSqliteStorage):
    """Dagster's own storage in SQLite, in the same files, with the event log above."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = OpenSqliteEventLogStorage(_event_logs_directory(base_dir))

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: SqliteStorageConfig) -> OpenSqliteStorage:
        """Open the storage that ``dagster.yaml`` names, in a folder below the laboratory's home."""
        return cls.from_local(base_dir=below_home(config_value["base_dir"]), inst_data=inst_data)
