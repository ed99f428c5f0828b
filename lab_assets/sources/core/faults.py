"""How a reader's own fault is reported: in the same words at the command line and in ingestion.

Belongs here: whatever a reader raises or returns against its promise (``reader.py``). Does not belong here: what is wrong with a file
(each reader), how to mend it (``rules.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from traceback import FrameSummary, extract_tb
from typing import Final

from lab_assets.contracts.bronze import READER_TABLES
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.formats.types import is_of_kind
from lab_assets.sources.core.read_result import ReadResult, Row, UnreadableFileError
from lab_assets.sources.core.reader import Reader

_TABLES: Final = {table.name: table for table in READER_TABLES}
_COLUMNS: Final = {table.name: frozenset(table.column_names) for table in READER_TABLES}
_MOST_CHARS: Final = 1000
"""Longest message of an exception that is shown; some quote the whole file."""
_NONE: Final = type(None)
_USUAL: Final = {
    "string": frozenset({str, _NONE}),
    "int64": frozenset({int, _NONE}),
    "float64": frozenset({float, int, _NONE}),
    "bool": frozenset({bool, _NONE}),
}
"""Types by which all values of a column fit, without a look at each."""
_LOOKING: Final = frozenset({"sniff", "sniff_archive"})


def refusal_of(error: BaseException, reader: Reader | None) -> UnreadableFileError:
    """Return how a file is refused that a reader tripped over.

    Args:
        error: What was raised and is no ``UnreadableFileError``.
        reader: Reader of the file; ``None`` where it was not chosen yet.

    Returns:
        ``reader_error`` with the exception and the reader's own line, in one line; ``memory_limit`` where memory ran out.
    """
    if isinstance(error, MemoryError):
        return UnreadableFileError("memory_limit", "the reader asked for more memory than one file may take")
    who = f"the reader of {reader.format!r} has a fault" if reader else "a fault before a reader was chosen"
    what = " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_CHARS].encode("utf-8", "backslashreplace").decode()
    return UnreadableFileError("reader_error", f"{who}: {what}{_place(extract_tb(error.__traceback__), reader)}")


def refuse_uncontracted(result: object, reader: Reader) -> ReadResult:
    """Return what a reader returned, unless no table would hold it: a reader's fault must not become a silent loss.

    Raises:
        UnreadableFileError: ``reader_error``.
    """
    if not isinstance(result, ReadResult):
        raise UnreadableFileError("reader_error", f"the reader of {reader.format!r} returns {type(result).__name__}, not ReadResult")
    for name, rows in result.tables.items():
        if name not in _COLUMNS:
            raise UnreadableFileError("reader_error", f"the reader of {reader.format!r} fills {name!r}, which is no table")
        if unknown := {key for row in rows for key in row.keys() - _COLUMNS[name]}:
            listed = ", ".join(sorted(unknown))
            reason = f"the reader of {reader.format!r} fills columns that {name} does not have: {listed}"
            raise UnreadableFileError("reader_error", reason)
        if misfit := _misfit(_TABLES[name], rows):
            raise UnreadableFileError("reader_error", f"the reader of {reader.format!r} gives {name} {misfit}")
    return result


def _misfit(table: TableContract, rows: Sequence[Row]) -> str:
    """Return what is the first value that its column cannot hold, for people; empty where all fit."""
    for column in table.columns:
        values = [row.get(column.name) for row in rows]
        usual = _USUAL.get(column.kind, frozenset())
        for row, value in zip(rows, values, strict=True) if not {*map(type, values)} <= usual else ():
            if value is not None and not is_of_kind(value, column.kind):
                given = f"{type(value).__name__} {str(value)[:60]!r}"
                naive = " without a zone" if isinstance(value, datetime) and value.tzinfo is None else ""
                return f"{given}{naive} for {column.name}, which is {column.kind} (row {row.get('source_row')})"
    if any(row.get("source_row") is None for row in rows):
        return "a row without source_row, its number in the file from 1"
    return ""


def _place(frames: list[FrameSummary], reader: Reader | None) -> str:
    """Return file and line in the reader itself, wherever below it the exception was raised; else where it was raised."""
    if reader is None:
        own = [frame for frame in frames if frame.name in _LOOKING]
    else:
        file = getattr(sys.modules.get(type(reader).__module__), "__file__", None)
        own = [frame for frame in frames if frame.filename == file]
    if not frames:
        return ""
    raised = (own or frames)[-1]
    return f", at {raised.filename.rpartition('/')[2]}:{raised.lineno}"
