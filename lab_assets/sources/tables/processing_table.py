"""Processing methods as delimited text: integration windows and response lines.

Belongs here: tables with the contract's column names, and the list of response lines chromatographers keep (Compound, Detector,
Slope, Intercept, Peak_start, Peak_end), whose windows are in minutes and whose amounts are slope x area + intercept.
Does not belong here: integration or calibration themselves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lab_assets.contracts.bronze import PROCESSING_METHODS
from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row
from lab_assets.sources.core.column_drift import FittedColumns, fit_columns
from lab_assets.sources.core.contract_table import (
    FieldError,
    contract_row,
    field_rules,
    refuse_cut_row,
    visible,
)
from lab_assets.sources.core.delimited import DelimitedTable, Header, normalise
from lab_assets.sources.tables.contract_reader import ContractTableReader

_LINE_COLUMNS: Final = {
    "compound": "analyte",
    "detector": "channel",
    "slope": "slope",
    "intercept": "intercept",
    "peak_start": "window_start",
    "peak_end": "window_end",
}
_REQUIRED_LINE: Final = frozenset(_LINE_COLUMNS) - {"detector"}
_LINE_CONSTANTS: Final = {"integration": "fixed_window", "calibration": "line", "window_unit": "min"}


class ProcessingTableReader(ContractTableReader):
    """Reader of processing methods in tabular form, a row for each analyte and channel."""

    def __init__(self) -> None:
        super().__init__("processing_table", (PROCESSING_METHODS,))

    def sureness(self, header: Header) -> int:
        """Return how surely a header is of this format: a table of response lines, or the share of the contract's required columns."""
        return 95 if _is_line_table(header) else super().sureness(header)

    def read_table(self, table: DelimitedTable, context: ReadContext) -> ReadResult:
        """Read the rows of one file or sheet.

        Raises:
            UnreadableFileError: the table as a whole is not usable.
        """
        result = _read_lines(table, context, self.format) if _is_line_table(table.header) else super().read_table(table, context)
        rows, unusable = _keep_usable(result.tables[PROCESSING_METHODS.name])
        return replace(result, tables={PROCESSING_METHODS.name: rows}, rejected=result.rejected + unusable)


def _is_line_table(header: Header) -> bool:
    return {normalise(name) for name in header.names} >= _REQUIRED_LINE


def _read_lines(table: DelimitedTable, context: ReadContext, format_name: str) -> ReadResult:
    """Read a table of response lines."""
    rows: list[Row] = []
    rejected: list[RejectedRow] = []
    name = PROCESSING_METHODS.name
    fitted = _fit_lines(table.header, context)
    rules = field_rules(table, fitted.names, PROCESSING_METHODS, context)
    for line, fields in table.ragged:
        reason = f"{len(fields)} fields under {len(table.header.names)} column names"
        rejected.append(RejectedRow(table=name, source_row=line, rule="field_count", reason=reason, row={"fields": " | ".join(fields)}))
    for line, fields in table.rows:
        stated = dict(zip(fitted.names, fields, strict=True))
        try:
            row = contract_row(stated | _LINE_CONSTANTS, rules)
            _need_line(row)
        except FieldError as error:
            refuse_cut_row(line, table)
            rejected.append(
                RejectedRow(table=name, source_row=line, rule=error.rule, reason=str(error), column=error.column, row=visible(stated))
            )
        else:
            rows.append({**row, "source_row": line})
    warnings, events = [*fitted.warnings, *rules.warnings], list(fitted.events)
    return ReadResult(format=format_name, tables={name: rows}, rejected=rejected, warnings=warnings, events=events)


def _fit_lines(header: Header, context: ReadContext) -> FittedColumns:
    """Fit the columns of response lines, whose own names count as the contract's and whose constants are not missing."""
    own = tuple(_LINE_COLUMNS.get(normalise(name), name) for name in header.names)
    constants = tuple(name for name in _LINE_CONSTANTS if name not in {normalise(column) for column in own})
    fitted = fit_columns(replace(header, names=own + constants), PROCESSING_METHODS, context)
    return replace(fitted, names=fitted.names[: len(own)])


def _need_line(row: Row) -> None:
    for column in ("slope", "intercept"):
        if row[column] is None:
            raise FieldError("missing_value", column, f"{column} is empty")


def _keep_usable(rows: list[Row]) -> tuple[list[Row], list[RejectedRow]]:
    """Reject windows that end before they start, and lines without a slope."""
    kept: list[Row] = []
    rejected: list[RejectedRow] = []
    for row in rows:
        if row["window_start"] >= row["window_end"]:
            rule, column = "window_order", "window_end"
            reason = f"the window of {row['analyte']!r} ends at {row['window_end']:g}, before its start {row['window_start']:g}"
        elif row["calibration"] == "line" and row["slope"] is None:
            rule, column, reason = "missing_value", "slope", f"the line of {row['analyte']!r} has no slope"
        else:
            kept.append(row)
            continue
        rejected.append(
            RejectedRow(table=PROCESSING_METHODS.name, source_row=row["source_row"], rule=rule, reason=reason, column=column, row=row)
        )
    return kept, rejected
