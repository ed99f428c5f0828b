"""Reading files in guarded children: bytes to staged rows of every bronze table, and what became of each file.

Belongs here: what runs in a child, be it of a process beside this one or of a Spark worker. Does not belong here: formats
(``lab_assets.sources``), batches (``ingestor.py``).
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
from lab_assets.ingest.row_rules import apply_contracts
from lab_assets.ingest.sandbox import Limits, guarded
from lab_assets.ingest.staged import StagedFile, outcome_schema
from lab_assets.sources.base import MEMBER_MARK, ReadContext, ReadResult, Row, UnreadableFileError

if TYPE_CHECKING:
    import pyarrow as pa

    from lab_assets.sources.core.loggers import LoggerDescription

_STAGED_TABLES: Final = (*READER_TABLES, QUARANTINED_ROWS, SCHEMA_EVENTS)
_MAX_FILE_BYTES: Final = 512 * 1024 * 1024
_MAX_DEPTH: Final = 2
"""Archives inside of archives beyond this are not looked into."""


def task_schema() -> pa.Schema:
    """Return the schema of files to read: each with what its source agreed on."""
    import pyarrow as pa

    text = pa.string()
    fields = [pa.field(name, pa.int64()) for name in ("arrival_id", "path_revision", "revises_revision")]
    fields += [pa.field(name, text) for name in ("file_id", "source", "file_name", "revises_path", "raw_path", "zone", "date_order")]
    return pa.schema([*fields, pa.field("strict", pa.bool_()), pa.field("renames", pa.map_(text, pa.map_(text, text)))])


def import_readers() -> None:
    """Import what children that read files need, readers of other packages included, so that each need not."""
    import pandas  # noqa: F401, ICN001 # pyright: ignore[reportUnusedImport] - pyarrow imports it with the first array it makes
    import pyarrow.parquet  # noqa: F401 # pyright: ignore[reportUnusedImport]

    from lab_assets.sources.all_readers import installed

    installed()


@dataclass(frozen=True, kw_only=True)
class Staging:
    """Where the rows of one ingestion batch are laid, one folder a bronze table; sent to whoever reads the files.

    The folders are on this machine; on a cluster they lie on storage that workers and the run share.

    Attributes:
        folder: Folder of the batch.
        raw: Root of the raw store, for files found inside of archives.
        batch: Number of the batch.
        at_utc: Time of ingestion written to every row: when the batch was opened, so that reading it again gives the same rows.
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

        Part files are named after the files they hold, so a task that is repeated writes the same parts again.
        """
        import pyarrow as pa

        schema = outcome_schema()
        for batch in batches:
            tasks = batch.to_pylist()
            part = hashlib.sha256(",".join(str(task["arrival_id"]) for task in tasks).encode()).hexdigest()[:20]
            outcomes, blamed = guarded(tasks, partial(self._stage, part), self.limits)
            outcomes += [StagedFile.of(tasks[at]).refuse(blame.rule, blame.reason, "").outcome() for at, blame in blamed.items()]
            yield pa.RecordBatch.from_pylist(outcomes, schema=schema)

    def _stage(self, part: str, tasks: Sequence[Mapping[str, Any]], begin: Callable[[int], None]) -> list[dict[str, Any]]:
        """Read files and lay their rows down; runs in a child of the worker, and again with fewer files when that one died."""
        for contract in _STAGED_TABLES:
            self._path(contract, part).unlink(missing_ok=True)
        files: list[StagedFile] = []
        for position, task in enumerate(tasks):
            begin(position)
            files.append(parse_one(task, loggers=self.loggers, keep=self._keep))
        apply_contracts(files)
        good = [file for file in files if file.rule is None]
        tables = {contract: self._table(contract, files) for contract in _STAGED_TABLES}
        if any(file.rule is not None for file in good):  # refused by a table: its rows leave the others too
            tables = {contract: self._table(contract, files) for contract in _STAGED_TABLES}
        for contract, table in tables.items():
            if table is not None:
                self._lay(contract, table, part)
        return [file.outcome() for file in files]

    def _keep(self, data: bytes) -> str:
        """Put a file found inside of an archive into the raw store."""
        from lab_assets.ingest.raw_store import RawStore

        return RawStore(Path(self.raw)).put_bytes(data)

    def _table(self, contract: TableContract, files: list[StagedFile]) -> pa.Table | None:
        """Return the rows of one table; a file whose rows do not fit its columns is refused and leaves."""
        import pyarrow as pa

        schema = contract.arrow_schema()
        try:
            rows = [row for file in files for row in self._rows(contract, file)]
            return pa.Table.from_pylist(rows, schema=schema) if rows else None
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            for file in files:
                if misfit := _misfit(schema, self._rows(contract, file)):
                    file.refuse("reader_error", f"rows of {contract.name} do not fit its columns: {misfit}"[:2000], "")
            rows = [row for file in files for row in self._rows(contract, file)]
            return pa.Table.from_pylist(rows, schema=schema) if rows else None

    def _rows(self, contract: TableContract, file: StagedFile) -> list[Row]:
        provenance = self._provenance(file)
        aside = {QUARANTINED_ROWS.name: file.rejected, SCHEMA_EVENTS.name: file.events}  # tables of ingestion itself
        rows = aside[contract.name] if contract.name in aside else file.tables.get(contract.name, ())
        return [{**row, **provenance} for row in rows]

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

    def _provenance(self, file: StagedFile) -> Row:
        return {
            "source": file.source,
            "source_file": file.file_name,
            "source_sha256": file.file_id,
            "ingested_at_utc": self.at_utc,
            "ingest_batch": self.batch,
            "path_revision": file.path_revision,
            "revises_path": file.revises_path,
            "revises_revision": file.revises_revision,
        }


def _misfit(schema: pa.Schema, rows: Sequence[Row]) -> str:
    """Return the first value that its column cannot hold, and why; empty where all fit."""
    import pyarrow as pa

    def fault(name: str, given: Sequence[Row]) -> Exception | None:
        try:
            pa.array([row.get(name) for row in given], type=schema.field(name).type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            return error
        return None

    for name in schema.names:
        if fault(name, rows):
            row = next(row for row in rows if fault(name, [row]))
            return f"{name}, row {row.get('source_row')}: {fault(name, [row])}"
    return ""


def parse_one(
    task: Mapping[str, Any], *, loggers: tuple[LoggerDescription, ...] = (), keep: Callable[[bytes], str] | None = None
) -> StagedFile:
    """Read one file; one that cannot be read is refused with rule and reason.

    Args:
        task: A row of ``task_schema``.
        loggers: Descriptions of the laboratory's own loggers.
        keep: Puts a file found inside of this one into the raw store and returns its digest.
    """
    from lab_assets.sources.all_readers import Refused, read_or_refuse

    staged = StagedFile.of(task)

    def use(result: ReadResult) -> ReadResult:
        _refuse_nested(task["file_name"], result)
        _refuse_barren(result)
        staged.members = [{"name": member.name, "sha256": keep(member.data), "size": len(member.data)} for member in result.members if keep]
        return result

    result = read_or_refuse(partial(_bytes_of, Path(task["raw_path"])), _context(task, loggers), use)
    if isinstance(result, Refused):
        staged.note(result.error.events)
        return staged.refuse(result.error.rule, result.error.reason, result.error.place)
    staged.take(result)
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
