"""Contracts of the bronze layer that do not depend on what a file holds: arrivals, quarantine, drifting schemas.

Belongs here: provenance carried by every bronze row, and the tables of ingestion itself. Does not belong here: contents of files.
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.core import Column, TableContract

PROVENANCE: Final = (
    Column(name="source", kind="string", meaning="drop folder the file arrived in", nullable=False),
    Column(name="source_file", kind="string", meaning="path of the file below its drop folder", nullable=False),
    Column(name="source_sha256", kind="string", meaning="SHA-256 of the file's bytes", nullable=False),
    Column(name="source_row", kind="int64", meaning="row or block in the file, from 1", nullable=False, minimum=1),
    Column(name="ingested_at_utc", kind="timestamp_utc", meaning="when the file was ingested", nullable=False),
    Column(name="ingest_batch", kind="int64", meaning="ledger batch that committed the row", nullable=False, minimum=1),
    Column(
        name="path_revision",
        kind="int64",
        meaning="ledger number of the arrival by which the path came to hold these bytes: the later one of two revisions counts",
        minimum=1,
    ),
    Column(
        name="revises_path",
        kind="string",
        meaning="path whose rows these replace, with its drop folder, where what the file's own path held before counts there; else empty",
    ),
    Column(
        name="revises_revision", kind="int64", meaning="path_revision of the rows behind which these stand there; else empty", minimum=1
    ),
)
"""Carried by every bronze row; readers do not fill them, the engine does."""

RESCUED: Final = Column(
    name="rescued",
    kind="map<string,string>",
    meaning="fields of the file that the contract does not name, as text; anything may be in them, so every mask applies",
    tags=("personal_name", "customer", "patient", "formulation"),
)

FILES = TableContract(
    layer="bronze",
    name="files",
    grain="one arrival of one file",
    description="Every file that ever arrived and what became of it.",
    owner="team:data-engineering",
    version=2,
    primary_key=("arrival_id",),
    columns=(
        Column(name="arrival_id", kind="int64", meaning="ledger number of the arrival", nullable=False, minimum=1),
        Column(name="file_id", kind="string", meaning="SHA-256 of the bytes; empty when the file vanished", nullable=False),
        Column(name="source", kind="string", meaning="drop folder the file arrived in", nullable=False),
        Column(name="file_name", kind="string", meaning="path below the drop folder", nullable=False),
        Column(name="format", kind="string", meaning="format recognised from the content"),
        Column(
            name="state",
            kind="string",
            meaning="what became of the arrival",
            nullable=False,
            allowed=("committed", "quarantined", "duplicate", "vanished"),
        ),
        Column(name="rule", kind="string", meaning="rule that sent the file to quarantine"),
        Column(name="reason", kind="string", meaning="why the file is not committed: the rule, then words for people"),
        Column(name="place", kind="string", meaning="where in the file the rule was broken"),
        Column(name="bytes", kind="int64", meaning="size of the file", unit="B", minimum=0),
        Column(name="modified_at_utc", kind="timestamp_utc", meaning="modification time stated by the file system"),
        Column(name="arrived_at_utc", kind="timestamp_utc", meaning="when the arrival was recorded", nullable=False),
        Column(name="supersedes", kind="string", meaning="file_id this arrival replaces (same path, other bytes)"),
        Column(name="duplicate_of", kind="string", meaning="path that counts for the same bytes"),
        Column(name="path_revision", kind="int64", meaning="arrival by which the path came to hold these bytes", minimum=1),
        Column(name="revises_path", kind="string", meaning="path whose rows this file's rows replace, where it is not the file's own"),
        Column(name="revises_revision", kind="int64", meaning="revision of that path behind which they stand", minimum=1),
        Column(name="member_of", kind="string", meaning="file_id of the archive this file was taken from"),
        Column(name="warnings", kind="array<string>", meaning="what the reader noticed and let pass"),
        Column(name="rows_parsed", kind="map<string,int64>", meaning="rows the reader produced, by bronze table"),
        Column(name="rows_rejected", kind="map<string,int64>", meaning="rows that broke a contract, by bronze table"),
        Column(name="ingest_batch", kind="int64", meaning="ledger batch that recorded it", nullable=False, minimum=1),
    ),
)

QUARANTINED_ROWS = TableContract(
    layer="bronze",
    name="quarantined_rows",
    grain="one rejected row of a file whose other rows went on",
    description="Rows that broke a contract, with rule, place and reason.",
    owner="team:data-engineering",
    columns=(
        Column(name="table_name", kind="string", meaning="bronze table the row was meant for", nullable=False),
        Column(name="rule", kind="string", meaning="rule that was broken", nullable=False),
        Column(name="column_name", kind="string", meaning="column that broke the rule"),
        Column(name="reason", kind="string", meaning="why, for people", nullable=False),
        Column(
            name="row_text",
            kind="string",
            meaning="the row as read, as JSON",
            tags=("personal_name", "customer", "patient", "formulation"),
        ),
        *PROVENANCE,
    ),
)

QUARANTINE = TableContract(
    layer="bronze",
    name="quarantine",
    grain="one step of one refused file",
    description="Refused files from refusal to release: what was wrong, where, how to mend it, who retried or discarded it and why.",
    owner="team:data-engineering",
    primary_key=("event_id",),
    columns=(
        Column(name="event_id", kind="int64", meaning="number of the step, rising", nullable=False, minimum=1),
        Column(name="arrival_id", kind="int64", meaning="ledger number of the arrival", nullable=False, minimum=1),
        Column(
            name="event",
            kind="string",
            meaning="the step: refused by a rule, given back to ingestion, or closed for good",
            nullable=False,
            allowed=("quarantined", "retried", "discarded"),
        ),
        Column(name="rule", kind="string", meaning="rule that refused the file"),
        Column(name="reason", kind="string", meaning="what was wrong; of a retry or discard: why it was done"),
        Column(name="place", kind="string", meaning="where in the file"),
        Column(name="mend", kind="string", meaning="how to mend it"),
        Column(name="file_id", kind="string", meaning="SHA-256 of the kept bytes; empty when none could be taken", nullable=False),
        Column(name="source", kind="string", meaning="drop folder", nullable=False),
        Column(name="file_name", kind="string", meaning="path below the drop folder", nullable=False),
        Column(name="at_utc", kind="timestamp_utc", meaning="when the step was taken", nullable=False),
        Column(name="by", kind="string", meaning="who took it", nullable=False, tags=("personal_name",)),
    ),
)

SCHEMA_EVENTS = TableContract(
    layer="bronze",
    name="schema_events",
    grain="one difference between a file's columns and its contract",
    description="Drifting exports: new, renamed and missing columns and changed units, with the instrument and software that wrote them.",
    owner="team:data-engineering",
    columns=(
        Column(
            name="kind",
            kind="string",
            meaning="what differs",
            nullable=False,
            allowed=("unknown_column", "renamed_column", "missing_column", "unit_changed"),
        ),
        Column(name="table_name", kind="string", meaning="bronze table concerned", nullable=False),
        Column(name="column_name", kind="string", meaning="column as the file writes it, or the one that is missing", nullable=False),
        Column(name="proposed_column", kind="string", meaning="contract column it may be or was accepted as"),
        Column(name="instrument_name", kind="string", meaning="instrument that wrote the file, as stated"),
        Column(name="software", kind="string", meaning="software and version that wrote the file, as stated"),
        *PROVENANCE,
    ),
)
