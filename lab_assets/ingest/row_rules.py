"""Rows against the rules of their contract, in a worker: failing rows leave, or take their file with them.

Belongs here: asking pandera, and asking it only where there is doubt. Does not belong here: the rules (``lab_assets.contracts``),
reading files (``parsing.py``).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any, Final

from lab_assets.contracts.bronze import PROVENANCE, READER_TABLES
from lab_assets.contracts.core import Column, TableContract
from lab_assets.contracts.formats.quick_check import surely_kept
from lab_assets.contracts.formats.rules import MISSING_VALUE, ORDER
from lab_assets.contracts.formats.types import pandas_dtype
from lab_assets.ingest.staged import StagedFile

_PROVENANCE_NAMES: Final = frozenset(column.name for column in PROVENANCE) - {"source_row"}
_NUMBERS: Final = frozenset({"float64", "int64"})
_MOST_CHARS: Final = 2000


def _own_columns(contract: TableContract) -> list[Column]:
    return [column for column in contract.columns if column.name not in _PROVENANCE_NAMES]


def apply_contracts(files: list[StagedFile]) -> None:
    """Validate all rows of some files table by table; failing rows leave, or take their file with them.

    A file with rows that cannot even be asked is refused alone: the others of its batch go on.
    """
    try:
        _apply(files)
    except Exception as error:
        if isinstance(error, MemoryError):
            raise  # of the whole batch: the child is ended, and the batch parted
        if len(files) > 1:
            for file in files:
                apply_contracts([file])
        elif files:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            files[0].refuse("reader_error", f"the rules of its tables cannot be asked of its rows: {what}"[:_MOST_CHARS], "")


def _apply(files: list[StagedFile]) -> None:
    for contract in READER_TABLES:
        owners = [(file, at) for file in files for at in range(len(file.tables.get(contract.name, ())))]
        if not owners:
            continue
        rows = [file.tables[contract.name][at] for file, at in owners]
        drop_nan(contract, rows)
        failures = contract_failures(contract, rows)
        failed: dict[int, dict[int, tuple[str, str | None, str]]] = {}
        for position, broken in failures.items():
            file, at = owners[position]
            failed.setdefault(file.arrival_id, {})[at] = broken
        for file in files:
            if file.arrival_id in failed:
                _leave_out(contract, file, failed[file.arrival_id])


def _leave_out(contract: TableContract, file: StagedFile, failed: Mapping[int, tuple[str, str | None, str]]) -> None:
    """Take failing rows out of a file, or refuse the file where its table's contract wants it whole."""
    rows = file.tables[contract.name]
    if contract.rejects == "row":
        for at, (rule, column, reason) in failed.items():
            file.reject(contract.name, rows[at], rule, column, reason, source_row=rows[at]["source_row"])
        file.tables[contract.name] = [row for at, row in enumerate(rows) if at not in failed]
    else:
        at, (rule, _, reason) = next(iter(failed.items()))
        number = rows[at]["source_row"]
        file.refuse(rule, f"{contract.name} row {number}: {reason}", f"row {number}")


def drop_nan(contract: TableContract, rows: list[dict[str, Any]]) -> None:
    """Put no value in the place of NaN: the rules take it for none, so the tables hold none.

    NaN stays in columns whose contract wants it (``finite=False``) and inside of arrays.
    """
    for column in _own_columns(contract):
        if column.kind not in _NUMBERS or not column.finite:
            continue
        values = [row.get(column.name) for row in rows]
        if any(map(operator.ne, values, values)):  # nan is not equal to itself
            for row, value in zip(rows, values, strict=True):
                if value != value:  # noqa: PLR0124
                    row[column.name] = None


def contract_failures(contract: TableContract, rows: list[dict[str, Any]]) -> dict[int, tuple[str, str | None, str]]:
    """Return the first broken rule of each failing row: position -> (rule, column, reason).

    Args:
        contract: Table the rows are meant for.
        rows: Rows without provenance except ``source_row``.
    """
    return {**_crossed(contract, rows), **_failures_of_columns(contract, rows)}


def _crossed(contract: TableContract, rows: list[dict[str, Any]]) -> dict[int, tuple[str, str | None, str]]:
    """Return the rows whose columns are not in the order that the contract wants."""
    return {
        at: (ORDER, high, f"{low} is {row[low]:g}, above {high}, which is {row[high]:g}")
        for low, high in contract.ordered
        for at, row in enumerate(rows)
        if row.get(low) is not None and row.get(high) is not None and row[low] > row[high]
    }


def _failures_of_columns(contract: TableContract, rows: list[dict[str, Any]]) -> dict[int, tuple[str, str | None, str]]:
    columns = _own_columns(contract)
    if all(surely_kept(column, [row.get(column.name) for row in rows]) for column in columns):
        return {}  # as nearly always; pandera is asked only where there is doubt
    import pandas as pd
    import pandera.errors

    names = [column.name for column in columns]
    frame = pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=pandas_dtype(contract.column(name).kind)) for name in names}
    )
    schema = _schema(contract, tuple(names))
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        return _by_position(error.failure_cases, contract)
    return {}


_SCHEMAS: dict[str, Any] = {}


def _schema(contract: TableContract, names: tuple[str, ...]) -> Any:
    """Return the contract's pandera schema without the columns the engine fills; compiled once in each worker."""
    if contract.name not in _SCHEMAS:
        schema = contract.to_pandera()
        _SCHEMAS[contract.name] = schema.remove_columns([name for name in schema.columns if name not in names])
    return _SCHEMAS[contract.name]


def _by_position(cases: Any, contract: TableContract) -> dict[int, tuple[str, str | None, str]]:
    failures: dict[int, tuple[str, str | None, str]] = {}
    for case in cases.itertuples():
        if case.index is None or (isinstance(case.index, float) and math.isnan(case.index)):
            raise ValueError(f"{contract.full_name}: the reader's rows do not have the contract's shape: {case.check} {case.failure_case}")
        rule = MISSING_VALUE if case.check == "not_nullable" else str(case.check)
        unit = contract.column(case.column).unit if case.column in contract.column_names else None
        value = "no value" if case.check == "not_nullable" else f"{case.failure_case}{f' {unit}' if unit else ''}"
        failures.setdefault(int(case.index), (rule, str(case.column), f"{case.column} is {value}, against the rule {rule}"))
    return failures
