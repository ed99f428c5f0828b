"""Tables of the ingestion ledger: what arrived, in which batch, and what became of it.

Belongs here: table definitions. Does not belong here: the transitions between states (``ledger.py``).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from lab_assets.state.metadata import METADATA

# SQLite counts up only an INTEGER PRIMARY KEY, and gives numbers of deleted rows again unless sqlite_autoincrement is set
_ID = BigInteger().with_variant(Integer, "sqlite")

INGEST_BATCHES: Final = Table(
    "ingest_batches",
    METADATA,
    Column("batch", _ID, primary_key=True, autoincrement=True),
    Column("state", String(16), nullable=False),
    Column("opened_at", String(32), nullable=False),
    Column("committed_at", String(32)),
    Column("table_versions", JSON, nullable=False, default=dict),
    CheckConstraint("state in ('open', 'staged', 'committed')", name="state"),
    sqlite_autoincrement=True,
)

ARRIVALS: Final = Table(
    "arrivals",
    METADATA,
    Column("arrival_id", _ID, primary_key=True, autoincrement=True),
    Column("source", String(255), nullable=False),
    Column("file_name", Text, nullable=False),
    Column("size", BigInteger),
    Column("mtime_ns", BigInteger),
    Column("ctime_ns", BigInteger),
    Column("file_id", String(64), nullable=False, default=""),
    Column("state", String(16), nullable=False),
    Column("format", String(64)),
    Column("rule", String(64)),
    Column("reason", Text),
    Column("place", Text),
    Column("supersedes", String(64)),
    Column("duplicate_of", Text),
    Column("member_of", String(64)),
    Column("warnings", JSON, nullable=False, default=list),
    Column("rows_parsed", JSON, nullable=False, default=dict),
    Column("rows_rejected", JSON, nullable=False, default=dict),
    Column("batch", _ID, ForeignKey("ingest_batches.batch")),
    Column("arrived_at", String(32), nullable=False),
    Column("retry_of", _ID, ForeignKey("arrivals.arrival_id")),
    Column("path_revision", BigInteger),
    Column("revises_path", Text),
    Column("revises_revision", BigInteger),
    CheckConstraint("state in ('received', 'committed', 'quarantined', 'duplicate', 'vanished', 'discarded')", name="state"),
    Index("ix_arrivals_path", "source", "file_name"),
    Index("ix_arrivals_file", "file_id"),
    Index("ix_arrivals_batch", "batch"),
    Index("ix_arrivals_state", "state"),
    sqlite_autoincrement=True,
)
"""One row an arrival. ``received`` is the only state that is not final."""

CURRENT_PATHS: Final = Table(
    "current_paths",
    METADATA,
    Column("source", String(255), primary_key=True),
    Column("file_name", String(1024), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),
    Column("file_id", String(64), nullable=False),
    Column("arrival_id", _ID, nullable=False),
)
"""What each path in the inbox held when it was last taken; a look at the folder compares against it."""

TABLE_COMMITS: Final = Table(
    "table_commits",
    METADATA,
    Column("table_name", String(128), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("row_count", BigInteger),
    Column("committed_at", String(32), nullable=False),
    UniqueConstraint("table_name"),
)
"""Last version of each Delta table that we wrote: what a damaged log is held against."""

STATION_PROGRESS: Final = Table(
    "station_progress",
    METADATA,
    Column("station", String(128), primary_key=True),
    Column("input_table", String(128), primary_key=True),
    Column("version", BigInteger, nullable=False),
)
"""Up to which version of each input a station of the graph has worked; repeating work is harmless, missing it is not."""

STATION_QUEUE: Final = Table(
    "station_queue",
    METADATA,
    Column("station", String(128), primary_key=True),
    Column("item", String(255), primary_key=True),
)
"""Unused since stations find their news by the difference of versions; kept for the rows of older laboratories."""

STATION_ATTENTION: Final = Table(
    "station_attention",
    METADATA,
    Column("station", String(128), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("at_utc", String(32), nullable=False),
)
"""What a station must look at again beside its news: everything after a restore, keys after an interrupted write."""

LINEAGE_OUTBOX: Final = Table(
    "lineage_outbox",
    METADATA,
    Column("entry", _ID, primary_key=True, autoincrement=True),
    Column("derivation", JSON, nullable=False),
    sqlite_autoincrement=True,
)
"""Unused since commits carry their own derivation; kept for the rows of older laboratories."""

QUARANTINE_EVENTS: Final = Table(
    "quarantine_events",
    METADATA,
    Column("event_id", _ID, primary_key=True, autoincrement=True),
    Column("arrival_id", _ID, ForeignKey("arrivals.arrival_id"), nullable=False),
    Column("event", String(16), nullable=False),
    Column("rule", String(64)),
    Column("reason", Text),
    Column("place", Text),
    Column("mend", Text),
    Column("at_utc", String(32), nullable=False),
    Column("by", String(128), nullable=False),
    CheckConstraint("event in ('quarantined', 'retried', 'discarded')", name="event"),
    Index("ix_quarantine_events_arrival", "arrival_id"),
    sqlite_autoincrement=True,
)
"""Each step of a refused file, written with the step itself and copied to ``bronze.quarantine`` by the next ingestion."""

SCHEMA_PROPOSALS: Final = Table(
    "schema_proposals",
    METADATA,
    Column("proposal_id", _ID, primary_key=True, autoincrement=True),
    Column("source", String(255), nullable=False),
    Column("table_name", String(64), nullable=False),
    Column("column_name", String(255), nullable=False),
    Column("proposed_column", String(64), nullable=False),
    Column("instrument_name", Text),
    Column("software", Text),
    Column("first_file", Text, nullable=False),
    Column("first_seen_at", String(32), nullable=False),
    Column("files", BigInteger, nullable=False, default=1),
    Column("state", String(16), nullable=False),
    Column("decided_by", String(128)),
    Column("decided_at", String(32)),
    Column("decision_reason", Text),
    UniqueConstraint("source", "table_name", "column_name", "proposed_column"),
    CheckConstraint("state in ('proposed', 'accepted', 'rejected')", name="state"),
    sqlite_autoincrement=True,
)
"""Renamed columns: seen in files, decided by a person; an accepted one is used for the source's files from then on."""

DATA_FILES: Final = Table(
    "data_files",
    METADATA,
    Column("table_name", String(128), primary_key=True),
    Column("path", String(512), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
)
"""Digest of each file of each Delta table as it was committed: what the scrubber compares with."""
