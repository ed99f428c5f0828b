"""Reading files inside Spark's Python workers: bytes to staged rows of every bronze table, and what became of each file.

Belongs here: what runs in a worker. Does not belong here: formats (``lab_assets.sources``), batches (``ingest.py``).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab_assets.contracts.bronze import PROVENANCE, QUARANTINED_ROWS, READER_TABLES
from lab_assets.contracts.core import Column, TableContract
from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError

if TYPE_CHECKING:
    import pyarrow as pa

INPUT_DDL: Final = "arrival_id BIGINT, file_id STRING, source STRING, file_name STRING, raw_path STRING, zone STRING"

OUTCOME_DDL: Final = (
    "arrival_id BIGINT, state STRING, format STRING, rule STRING, reason STRING, place STRING, warnings ARRAY<STRING>, "
    "rows_parsed MAP<STRING,BIGINT>, rows_rejected MAP<STRING,BIGINT>"
)
_STAGED_TABLES: Final = (*READER_TABLES, QUARANTINED_ROWS)
_PROVENANCE_NAMES: Final = frozenset(column.name for column in PROVENANCE) - {"source_row"}
_MAX_FILE_BYTES: Final = 512 * 1024 * 1024


def _own_columns(contract: TableContract) -> list[Column]:
    return [column for column in contract.columns if column.name not in _PROVENANCE_NAMES]


def outcome_schema() -> pa.Schema:
    """Return the schema of what became of each file, for Arrow."""
    import pyarrow as pa

    text, counts = pa.string(), pa.map_(pa.string(), pa.int64())
    fields = [pa.field("arrival_id", pa.int64())]
    fields += [pa.field(name, text) for name in ("state", "format", "rule", "reason", "place")]
    return pa.schema([*fields, pa.field("warnings", pa.list_(text)), pa.field("rows_parsed", counts), pa.field("rows_rejected", counts)])


@dataclass(frozen=True, kw_only=True)
class Staging:
    """Where the workers lay the rows of one ingestion batch, one folder a bronze table; sent to the workers.

    The folder is on this machine; on a cluster it lies on storage that workers and server share.

    Attributes:
        folder: Folder of the batch.
        batch: Number of the batch.
        at_utc: Time of ingestion written to every row.
    """

    folder: str
    batch: int
    at_utc: datetime

    def parse_files(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Read the files of each batch, lay their rows down and return what became of each file.

        Part files are named after the files they hold, so a task that Spark repeats writes the same parts again.
        """
        import pyarrow as pa

        schema = outcome_schema()
        for batch in batches:
            files = [parse_one(task) for task in batch.to_pylist()]
            _apply_contracts(files)
            for contract in _STAGED_TABLES:
                self._lay(contract, files)
            yield pa.RecordBatch.from_pylist([_outcome(file) for file in files], schema=schema)

    def _lay(self, contract: TableContract, files: list[dict[str, Any]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        key = "rejected" if contract is QUARANTINED_ROWS else contract.name
        rows: list[dict[str, Any]] = []
        for file in files:
            provenance = self._provenance(file)
            rows += [{**row, **provenance} for row in (file["rejected"] if key == "rejected" else file["tables"].get(key, ()))]
        if not rows:
            return
        name = hashlib.sha256(",".join(str(file["arrival_id"]) for file in files).encode()).hexdigest()[:20]
        target = Path(self.folder) / contract.name / f"{name}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{name}-{uuid.uuid4().hex}")
        # a part is read once and deleted: looking for repetitions and extremes is half of the work of writing, and for nothing
        table = pa.Table.from_pylist(rows, schema=contract.arrow_schema())
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


def parse_one(task: Mapping[str, Any]) -> dict[str, Any]:
    """Read one file into a staged row; a file that cannot be read becomes ``quarantined`` with rule and reason."""
    from lab_assets.sources.registry import read_file

    staged: dict[str, Any] = {
        **{name: task[name] for name in ("arrival_id", "file_id", "source", "file_name")},
        "state": "committed",
        "format": None,
        "rule": None,
        "reason": None,
        "place": None,
        "warnings": [],
        "tables": {},
        "rejected": [],
    }
    path = Path(task["raw_path"])
    try:
        _bounded(path.stat().st_size)
        context = ReadContext(file_name=task["file_name"], source=task["source"], zone=task["zone"])
        result: ReadResult = read_file(path.read_bytes(), context)
    except UnreadableFileError as error:
        return _quarantined(staged, error.rule, error.reason, error.place)
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        # a reader that trips over a file must cost this file alone, never the batch
        return _quarantined(staged, "reader_error", f"the reader failed: {type(error).__name__}: {error}"[:2000], "")
    staged["format"] = result.format
    staged["warnings"] = list(result.warnings)
    staged["tables"] = {name: list(rows) for name, rows in result.tables.items() if rows}
    staged["rejected"] = [
        {
            "table_name": rejected.table,
            "source_row": rejected.source_row,
            "rule": rejected.rule,
            "column_name": rejected.column,
            "reason": rejected.reason,
            "row_text": _row_text(rejected.row),
        }
        for rejected in result.rejected
    ]
    return staged


def _bounded(size: int) -> None:
    if size > _MAX_FILE_BYTES:
        raise UnreadableFileError("too_large", f"the file has {size} bytes, more than {_MAX_FILE_BYTES}")


def _quarantined(staged: dict[str, Any], rule: str, reason: str, place: str) -> dict[str, Any]:
    staged.update(state="quarantined", rule=rule, reason=reason, place=place, tables={}, rejected=[])
    return staged


def _apply_contracts(staged: list[dict[str, Any]]) -> None:
    """Validate all rows of the batch table by table; failing rows leave, or take their file with them."""
    for contract in READER_TABLES:
        owners = [(file, row) for file in staged for row in file["tables"].get(contract.name, ())]
        if not owners:
            continue
        failures = contract_failures(contract, [row for _, row in owners])
        for position, (rule, column, reason) in failures.items():
            file, row = owners[position]
            if contract.rejects == "row":
                file["rejected"].append(
                    {
                        "table_name": contract.name,
                        "source_row": row["source_row"],
                        "rule": rule,
                        "column_name": column,
                        "reason": reason,
                        "row_text": _row_text(row),
                    }
                )
                row["__rejected"] = True
            elif file["state"] == "committed":
                _quarantined(file, rule, f"{contract.name} row {row['source_row']}: {reason}", f"row {row['source_row']}")
    for file in staged:
        file["tables"] = {name: [row for row in rows if not row.pop("__rejected", False)] for name, rows in file["tables"].items()}


def contract_failures(contract: TableContract, rows: list[dict[str, Any]]) -> dict[int, tuple[str, str | None, str]]:
    """Return the first broken rule of each failing row: position -> (rule, column, reason).

    Args:
        contract: Table the rows are meant for.
        rows: Rows without provenance except ``source_row``.
    """
    columns = _own_columns(contract)
    if all(_surely_kept(column, [row.get(column.name) for row in rows]) for column in columns):
        return {}  # as nearly always; pandera is asked only where there is something to tell
    import pandas as pd
    import pandera.errors

    names = [column.name for column in columns]
    frame = pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=_dtype(contract.column(name).kind)) for name in names})
    schema = _schema(contract, tuple(names))
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        return _by_position(error.failure_cases, contract)
    return {}


def _surely_kept(column: Column, values: list[Any]) -> bool:
    """Tell whether values keep a column's rules beyond doubt; whatever is unusual, such as a number as text, is doubt."""
    if column.kind.startswith(("array", "map")):
        return column.nullable or not any(value is None or isinstance(value, float) for value in values)
    present = [value for value in values if value is not None and value == value]  # noqa: PLR0124 - nan is not equal to itself
    if not column.nullable and len(present) < len(values):
        return False
    kinds = set(map(type, present))
    if column.kind == "float64" or column.minimum is not None or column.maximum is not None:
        return kinds <= {int, float} and not column.allowed and column.pattern is None and _in_range(column, present)
    if column.allowed or column.pattern is not None:
        return kinds <= {str} and _in_vocabulary(column, set(present))
    return True


def _in_range(column: Column, numbers: list[Any]) -> bool:
    finite = column.kind != "float64" or not column.finite or all(map(math.isfinite, numbers))
    low = -math.inf if column.minimum is None else column.minimum
    high = math.inf if column.maximum is None else column.maximum
    return finite and (not numbers or (low <= min(numbers) and max(numbers) <= high))


def _in_vocabulary(column: Column, words: set[str]) -> bool:
    if column.allowed and not words <= set(column.allowed):
        return False
    return column.pattern is None or all(re.fullmatch(column.pattern, word) for word in words)


_SCHEMAS: dict[str, Any] = {}


def _schema(contract: TableContract, names: tuple[str, ...]) -> Any:
    """Return the contract's pandera schema without the columns the engine fills; compiled once in each worker."""
    if contract.name not in _SCHEMAS:
        schema = contract.to_pandera()
        _SCHEMAS[contract.name] = schema.remove_columns([name for name in schema.columns if name not in names])
    return _SCHEMAS[contract.name]


def _dtype(kind: str) -> str:
    return "float64" if kind == "float64" else "object"


def _by_position(cases: Any, contract: TableContract) -> dict[int, tuple[str, str | None, str]]:
    failures: dict[int, tuple[str, str | None, str]] = {}
    for case in cases.itertuples():
        if case.index is None or (isinstance(case.index, float) and math.isnan(case.index)):
            raise ValueError(f"{contract.full_name}: the reader's rows do not have the contract's shape: {case.check} {case.failure_case}")
        rule = "missing_value" if case.check == "not_nullable" else str(case.check)
        unit = contract.column(case.column).unit if case.column in contract.column_names else None
        value = "no value" if case.check == "not_nullable" else f"{case.failure_case}{f' {unit}' if unit else ''}"
        failures.setdefault(int(case.index), (rule, str(case.column), f"{case.column} is {value}, against the rule {rule}"))
    return failures


def _outcome(file: Mapping[str, Any]) -> dict[str, Any]:
    """Return what became of a file, with its counts."""
    lost: dict[str, int] = {}
    for row in file["rejected"]:
        lost[row["table_name"]] = lost.get(row["table_name"], 0) + 1
    kept = {name: len(rows) for name, rows in file["tables"].items() if rows}
    parsed = {name: kept.get(name, 0) + lost.get(name, 0) for name in {*kept, *lost}}
    told = {name: file[name] for name in ("arrival_id", "state", "format", "rule", "reason", "place", "warnings")}
    return {**told, "rows_parsed": list(parsed.items()), "rows_rejected": list(lost.items())}


def _row_text(row: Mapping[str, Any]) -> str:
    def default(value: object) -> str:
        return value.isoformat() if isinstance(value, datetime) else str(value)

    visible = {key: value for key, value in row.items() if not key.startswith("__")}
    return json.dumps(visible, default=default, ensure_ascii=False)[:4000]
