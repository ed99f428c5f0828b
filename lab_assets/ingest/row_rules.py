"""Rows against the rules of their contract, in a worker: failing rows leave, or take their file with them.

Belongs here: asking pandera, and asking it only where there is doubt. Does not belong here: the rules (``lab_assets.contracts``),
reading files (``parsing.py``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from lab_assets.contracts.bronze import PROVENANCE, READER_TABLES
from lab_assets.contracts.core import Column, TableContract

_PROVENANCE_NAMES: Final = frozenset(column.name for column in PROVENANCE) - {"source_row"}


def _own_columns(contract: TableContract) -> list[Column]:
    return [column for column in contract.columns if column.name not in _PROVENANCE_NAMES]


def refuse(staged: dict[str, Any], rule: str, reason: str, place: str) -> dict[str, Any]:
    """Turn a staged file into a refused one: nothing of it is laid down but how its columns differ."""
    staged.update(state="quarantined", rule=rule, reason=reason, place=place, tables={}, rejected=[], members=[])
    return staged


def apply_contracts(staged: list[dict[str, Any]]) -> None:
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
                        "row_text": row_text(row),
                    }
                )
                row["__rejected"] = True
            elif file["state"] == "committed":
                refuse(file, rule, f"{contract.name} row {row['source_row']}: {reason}", f"row {row['source_row']}")
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


def row_text(row: Mapping[str, Any]) -> str:
    """Return a row as JSON for people, bounded."""

    def default(value: object) -> str:
        return value.isoformat() if isinstance(value, datetime) else str(value)

    visible = {key: value for key, value in row.items() if not key.startswith("__")}
    return json.dumps(visible, default=default, ensure_ascii=False)[:4000]
