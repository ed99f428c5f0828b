"""Reading files inside Spark's Python workers: bytes to staged rows of every bronze table, and what became of each file.

Belongs here: what runs in a worker. Does not belong here: formats (``lab_assets.sources``), batches (``ingest.py``).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import QUARANTINED_ROWS, READER_TABLES, SCHEMA_EVENTS
from lab_assets.contracts.core import TableContract
from lab_assets.ingest.row_rules import apply_contracts, refuse, row_text
from lab_assets.ingest.sandbox import Limits, guarded
from lab_assets.sources.base import MEMBER_MARK, ReadContext, Reader, ReadResult, SchemaEvent, UnreadableFileError

if TYPE_CHECKING:
    import pyarrow as pa

    from lab_assets.sources.tables.logger_description import LoggerDescription

INPUT_DDL: Final = (
    "arrival_id BIGINT, file_id STRING, source STRING, file_name STRING, raw_path STRING, zone STRING, date_order STRING, strict BOOLEAN, "
    "renames MAP<STRING,MAP<STRING,STRING>>"
)

OUTCOME_DDL: Final = (
    "arrival_id BIGINT, state STRING, format STRING, rule STRING, reason STRING, place STRING, warnings ARRAY<STRING>, "
    "rows_parsed MAP<STRING,BIGINT>, rows_rejected MAP<STRING,BIGINT>, "
    "members ARRAY<STRUCT<name:STRING,sha256:STRING,size:BIGINT>>, "
    "proposals ARRAY<STRUCT<table_name:STRING,column_name:STRING,proposed_column:STRING,instrument_name:STRING,software:STRING>>"
)
_STAGED_TABLES: Final = (*READER_TABLES, QUARANTINED_ROWS, SCHEMA_EVENTS)
_KEPT_ASIDE: Final = {QUARANTINED_ROWS.name: "rejected", SCHEMA_EVENTS.name: "events"}
"""Tables of ingestion itself, and where a staged file keeps their rows."""
_MAX_FILE_BYTES: Final = 512 * 1024 * 1024
_MAX_DEPTH: Final = 2
"""Archives inside of archives beyond this are not looked into."""


def outcome_schema() -> pa.Schema:
    """Return the schema of what became of each file, for Arrow."""
    import pyarrow as pa

    text, counts = pa.string(), pa.map_(pa.string(), pa.int64())
    fields = [pa.field("arrival_id", pa.int64())]
    fields += [pa.field(name, text) for name in ("state", "format", "rule", "reason", "place")]
    fields += [pa.field("warnings", pa.list_(text)), pa.field("rows_parsed", counts), pa.field("rows_rejected", counts)]
    member = pa.struct([("name", text), ("sha256", text), ("size", pa.int64())])
    proposal = pa.struct([(name, text) for name in _PROPOSAL])
    return pa.schema([*fields, pa.field("members", pa.list_(member)), pa.field("proposals", pa.list_(proposal))])


_PROPOSAL: Final = ("table_name", "column_name", "proposed_column", "instrument_name", "software")


@dataclass(frozen=True, kw_only=True)
class Staging:
    """Where the workers lay the rows of one ingestion batch, one folder a bronze table; sent to the workers.

    The folders are on this machine; on a cluster they lie on storage that workers and server share.

    Attributes:
        folder: Folder of the batch.
        raw: Root of the raw store, for files found inside of archives.
        batch: Number of the batch.
        at_utc: Time of ingestion written to every row.
        limits: What one file may take.
        loggers: Descriptions of the laboratory's own loggers.
    """

    folder: str
    raw: str
    batch: int
    at_utc: datetime
    limits: Limits
    loggers: tuple[LoggerDescription, ...] = ()

    def parse_files(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Read the files of each batch, lay their rows down and return what became of each file.

        Part files are named after the files they hold, so a task that Spark repeats writes the same parts again.
        """
        import pyarrow as pa

        schema = outcome_schema()
        for batch in batches:
            tasks = batch.to_pylist()
            part = hashlib.sha256(",".join(str(task["arrival_id"]) for task in tasks).encode()).hexdigest()[:20]
            outcomes, blamed = guarded(tasks, partial(self._stage, part), self.limits)
            outcomes += [outcome_of(refuse(_staged(tasks[at]), blame.rule, blame.reason, "")) for at, blame in blamed.items()]
            yield pa.RecordBatch.from_pylist(outcomes, schema=schema)

    def _stage(self, part: str, tasks: Sequence[Mapping[str, Any]], begin: Callable[[int], None]) -> list[dict[str, Any]]:
        """Read files and lay their rows down; runs in a child of the worker, and again with fewer files when that one died."""
        for contract in _STAGED_TABLES:
            self._path(contract, part).unlink(missing_ok=True)
        files: list[dict[str, Any]] = []
        for position, task in enumerate(tasks):
            begin(position)
            files.append(parse_one(task, loggers=self.loggers, keep=self._keep))
        apply_contracts(files)
        tables = {contract: self._table(contract, files) for contract in _STAGED_TABLES}
        for contract, table in tables.items():
            if table is not None:
                self._lay(contract, table, part)
        return [outcome_of(file) for file in files]

    def _keep(self, data: bytes) -> str:
        """Put a file found inside of an archive into the raw store."""
        from lab_assets.ingest.raw_store import RawStore

        return RawStore(Path(self.raw)).put_bytes(data)

    def _table(self, contract: TableContract, files: list[dict[str, Any]]) -> pa.Table | None:
        """Return the rows of one table; a file whose rows do not fit its columns is refused and leaves."""
        import pyarrow as pa

        schema = contract.arrow_schema()
        try:
            rows = [row for file in files for row in self._rows(contract, file)]
            return pa.Table.from_pylist(rows, schema=schema) if rows else None
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            for file in files:
                try:
                    pa.Table.from_pylist(self._rows(contract, file), schema=schema)
                except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                    refuse(file, "reader_error", f"rows of {contract.name} do not fit its columns: {error}"[:2000], "")
            rows = [row for file in files for row in self._rows(contract, file)]
            return pa.Table.from_pylist(rows, schema=schema) if rows else None

    def _rows(self, contract: TableContract, file: Mapping[str, Any]) -> list[dict[str, Any]]:
        provenance = self._provenance(file)
        aside = _KEPT_ASIDE.get(contract.name)
        return [{**row, **provenance} for row in (file[aside] if aside else file["tables"].get(contract.name, ()))]

    def _path(self, contract: TableContract, part: str) -> Path:
        return Path(self.folder) / contract.name / f"{part}.parquet"

    def _lay(self, contract: TableContract, table: pa.Table, part: str) -> None:
        import pyarrow.parquet as pq

        target = self._path(contract, part)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{part}-{uuid.uuid4().hex}")
        # a part is read once and deleted: looking for repetitions and extremes is half of the work of writing, and for nothing
        pq.write_table(table, draft, use_dictionary=False, write_statistics=False)
        draft.replace(target)

    def _provenance(self, file: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "source": file["source"],
            "source_file": file["file_name"],
            "source_sha256": file["file_id"],
            "ingested_at_utc": self.at_utc,
            "ingest_batch": self.batch,
        }


def _staged(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file about which nothing is known yet."""
    return {
        **{name: task[name] for name in ("arrival_id", "file_id", "source", "file_name")},
        "state": "committed",
        **dict.fromkeys(("format", "rule", "reason", "place")),
        "warnings": [],
        "tables": {},
        "rejected": [],
        "events": [],
        "members": [],
    }


def parse_one(
    task: Mapping[str, Any], *, loggers: tuple[LoggerDescription, ...] = (), keep: Callable[[bytes], str] | None = None
) -> dict[str, Any]:
    """Read one file into a staged row; a file that cannot be read becomes ``quarantined`` with rule and reason.

    Args:
        task: Columns of ``INPUT_DDL``.
        loggers: Descriptions of the laboratory's own loggers.
        keep: Puts a file found inside of this one into the raw store and returns its digest.
    """
    from lab_assets.sources.core.faults import refusal_of
    from lab_assets.sources.registry import read_by, recognise

    staged = _staged(task)
    reader: Reader | None = None
    try:
        data, context = _bytes_of(Path(task["raw_path"])), _context(task, loggers)
        reader = recognise(context.file_name, data, context.loggers)
        result = read_by(reader, data, context)
        _refuse_nested(task["file_name"], result)
        _refuse_barren(result)
        staged["members"] = [
            {"name": member.name, "sha256": keep(member.data), "size": len(member.data)} for member in result.members if keep
        ]
    except UnreadableFileError as error:
        staged["events"] = [_event(event) for event in error.events]
        return refuse(staged, error.rule, error.reason, error.place)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a reader that trips over a file must cost this file alone; Rust's panics are no Exception
        fault = refusal_of(error, reader)
        return refuse(staged, fault.rule, fault.reason, fault.place)
    staged["format"] = result.format
    staged["warnings"] = list(result.warnings)
    staged["tables"] = {name: list(rows) for name, rows in result.tables.items() if rows}
    staged["events"] = [_event(event) for event in result.events]
    staged["rejected"] = [
        {
            "table_name": rejected.table,
            "source_row": rejected.source_row,
            "rule": rejected.rule,
            "column_name": rejected.column,
            "reason": rejected.reason,
            "row_text": row_text(rejected.row),
        }
        for rejected in result.rejected
    ]
    return staged


def _context(task: Mapping[str, Any], loggers: tuple[LoggerDescription, ...]) -> ReadContext:
    renames = {table: dict(pairs) for table, pairs in dict(task.get("renames") or {}).items()}
    named = {name: task[name] for name in ("file_name", "source", "zone")}
    return ReadContext(**named, date_order=task.get("date_order"), renames=renames, strict=bool(task.get("strict")), loggers=loggers)


def _bytes_of(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise UnreadableFileError("too_large", f"the file has {size} bytes, more than {_MAX_FILE_BYTES}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableFileError("original_missing", "the kept original is not in the raw store") from error


def _refuse_nested(name: str, result: ReadResult) -> None:
    if result.members and name.count(MEMBER_MARK) >= _MAX_DEPTH:
        raise UnreadableFileError("nested_archive", f"archives lie in archives more than {_MAX_DEPTH} deep")


def _refuse_barren(result: ReadResult) -> None:
    """Refuse a file of which nothing is left: its rows were all rejected, or it had none."""
    if any(result.tables.values()) or result.members:
        return
    if not result.rejected:
        raise UnreadableFileError("empty", "the file has no rows")


def _event(event: SchemaEvent) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "table_name": event.table,
        "column_name": event.column,
        "proposed_column": event.proposed,
        "instrument_name": event.instrument,
        "software": event.software,
        "source_row": 1,
    }


def outcome_of(file: Mapping[str, Any]) -> dict[str, Any]:
    """Return what became of a file, with its counts."""
    lost: dict[str, int] = {}
    for row in file["rejected"]:
        lost[row["table_name"]] = lost.get(row["table_name"], 0) + 1
    kept = {name: len(rows) for name, rows in file["tables"].items() if rows}
    parsed = {name: kept.get(name, 0) + lost.get(name, 0) for name in {*kept, *lost}}
    told = {name: file[name] for name in ("arrival_id", "state", "format", "rule", "reason", "place", "warnings")}
    proposals = [{name: event[name] for name in _PROPOSAL} for event in file["events"] if event["kind"] == "renamed_column"]
    counted = {"rows_parsed": list(parsed.items()), "rows_rejected": list(lost.items())}
    return {**told, **counted, "members": file["members"], "proposals": proposals}
