"""Tables of loggers that a description makes known: lines or sheet rows with a time, and one column for each quantity.

Belongs here: reading by a description. Does not belong here: what a description may say (``logger_description.py``), the layout of any one
logger.

Readings go to ``sensor_readings``, one row for each quantity, or to ``chamber_readings``, one row for each line. A unit that the header
states must be the described one; columns that the description does not name are kept in ``rescued`` and reported as drift.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row, SchemaEvent, UnreadableFileError
from lab_assets.sources.core.archives import Archive, is_archive
from lab_assets.sources.core.cells import CellError, number_of, usable
from lab_assets.sources.core.column_drift import (
    apply_renames,
    event,
    missing_reason,
    proposal_events,
    refuse_duplicates,
    refuse_unknown,
    unknown_events,
)
from lab_assets.sources.core.contract_table import refuse_cut_row, refuse_cut_value, visible
from lab_assets.sources.core.decoding import decode, is_secret, shorten
from lab_assets.sources.core.delimited import DelimitedTable, Header, normalise, split_unit, table_below
from lab_assets.sources.core.loggers import LoggerDescription
from lab_assets.sources.core.moments import MomentError
from lab_assets.sources.core.quantities import NumberError
from lab_assets.sources.core.readings import join_day_and_clock, moment_after, same_unit
from lab_assets.sources.tables.logger_match import (
    header_sureness,
    position_of,
    sheet_header,
    sheets_sureness,
    surest,
    text_header,
    text_sureness,
    wanted_columns,
)
from lab_assets.sources.tables.spreadsheet import is_workbook, peek_sheets, read_sheets
from lab_assets.sources.tables.table_xlsx import ROWS_A_SHEET, merged, read_sheet

_UNIT: Final = re.compile(r"[^:;,\d][^:;,]{0,14}")
"""What stands in brackets behind a name and may be a unit; serial numbers and remarks stand there too."""
_LABEL_SIGNS: Final = " \t:=;,"
_NEXT_FIELD: Final = re.compile(r'[^\S\t]*+[:=]?+[^\S\t]*+"?+[^\S\t]*+(?P<border>[;,\t])[^\S\t]*+(?P<value>.*)')
"""Behind a label that fills its field: a field separator, and the id in the field after it."""
_SAME_FIELD: Final = re.compile(r"(?:[^\S\t]*+[:=]|[^\S\t]{2,}+)\s*+(?P<value>.*)")
"""Behind a label in one field with the id: a colon, an equals sign or two blanks."""
_CHAMBER_VALUES: Final = ("temperature_c", "humidity_pct", "set_temperature_c", "set_humidity_pct")


class LoggerTableReader:
    """Reader of the loggers that are described.

    Attributes:
        format: ``logger_table``; the result of a file has the name of its description, ``logger:<name>``.
    """

    format: str = "logger_table"
    tables: tuple[str, ...] = ("sensor_readings", "chamber_readings")

    def __init__(self, descriptions: Sequence[LoggerDescription] = ()) -> None:
        self.descriptions = tuple(descriptions)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely a file is of one of the described loggers."""
        return max((text_sureness(name, head, description) for description in self.descriptions), default=0)

    def sniff_archive(self, name: str, archive: Archive) -> int:
        """Return how surely a workbook is of one of the described loggers."""
        if not self.descriptions or not is_workbook(archive):
            return 0
        try:
            sheets = peek_sheets(archive)
        except UnreadableFileError:
            return 0
        return max((sheets_sureness(name, sheets, description) for description in self.descriptions), default=0)

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one file by the description it fits best, of the reader's own or of the context's.

        Raises:
            UnreadableFileError: ``unknown_format`` when no description fits, ``missing_column``, ``unit_changed``,
                ``missing_section`` when the line that names the logger is missing, or a rule of the text or workbook.
        """
        descriptions = tuple(dict.fromkeys((*context.loggers, *self.descriptions)))
        if is_archive(data):
            return _read_workbook(data, context, descriptions)
        ranked = [(text_sureness(context.file_name, data[: 1 << 16], description), description) for description in descriptions]
        description = surest(ranked)
        text = decode(_recoded(data, description))
        header = text_header(text.lines, description)
        if header is None:
            raise UnreadableFileError("missing_column", f"no line of column names was found where {description.name!r} expects it")
        logger = _stated_logger(text.lines[: header.line - 1], description)
        table = table_below(text, header)
        return _TableOfLogger(description, logger).read_table(table, context)


@dataclass(frozen=True)
class _TableOfLogger:
    """One description, ready to read a table; ``logger`` is empty where a column names it."""

    description: LoggerDescription
    logger: str
    tables: tuple[str, ...] = ()

    def sureness(self, header: Header) -> int:
        return header_sureness(header, self.description)

    def read_table(self, table: DelimitedTable, context: ReadContext) -> ReadResult:
        description = self.description
        columns = _fit(table.header, description, context)
        order = description.order or table.order or context.date_order
        table = replace(table, decimal=description.decimal, order=order, zone=description.zone or table.zone)
        lines = _Lines(self, table, columns, context.zone)
        for line, fields in table.ragged:
            reason = f"{len(fields)} fields under {len(table.header.names)} column names"
            lines.reject(line, fields, "field_count", reason)
        for line, fields in table.rows:
            try:
                lines.take(line, fields)
            except (CellError, NumberError, MomentError) as error:
                refuse_cut_row(line, table)
                lines.reject(line, fields, error.rule, str(error))
        refuse_cut_value(table)
        return ReadResult(
            format=description.format,
            tables={description.table: lines.rows},
            rejected=lines.rejected,
            warnings=columns.warnings,
            events=columns.events,
        )


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """Positions of a description's columns in a file, by their described name; others by their own."""

    at: dict[str, int]
    others: tuple[tuple[int, str], ...]
    events: list[SchemaEvent]
    warnings: list[str]


@dataclass
class _Lines:
    """Lines of one file becoming rows."""

    source: _TableOfLogger
    table: DelimitedTable
    columns: _Fitted
    assumed_zone: str
    rows: list[Row] = field(default_factory=list[Row])
    rejected: list[RejectedRow] = field(default_factory=list[RejectedRow])
    _previous: dict[str, datetime] = field(default_factory=dict[str, datetime])

    def take(self, line: int, fields: Sequence[str]) -> None:
        """Read one line: a row for each quantity, or one for a chamber; a quantity that cannot be read leaves the others."""
        description, at = self.source.description, self.columns.at
        logger = usable(fields[at[description.logger_column]]) if description.logger_column else self.source.logger
        if not logger:
            raise NumberError("missing_value", "the logger's name is empty")
        text = join_day_and_clock([usable(fields[at[name]]) for name in description.time_columns])
        spelled = _spelled_out(text, description.time_format) if description.time_format else text
        zone = self.table.zone or self.assumed_zone
        moment = moment_after(spelled, self._previous.get(logger), zone=zone, order=self.table.order)
        self._previous[logger] = moment.utc
        shared: Row = {
            "read_at_text": text,
            "read_at_utc": moment.utc,
            "zone_known": moment.zone_known or self.table.zone is not None,
            "rescued": {name: str(fields[index]) for index, name in self.columns.others if fields[index]},
            "source_row": line,
        }
        values = {column.quantity: value for column in description.columns if (value := self._value(line, fields, column.name)) is not None}
        if description.table == "chamber_readings":
            if values:
                self.rows.append({"chamber_id": logger, **{name: values.get(name) for name in _CHAMBER_VALUES}, **shared})
            return
        units = {column.quantity: column.unit for column in description.columns}
        for quantity, value in values.items():
            self.rows.append({"logger_id": logger, "quantity": quantity, "value": value, "unit": units[quantity], **shared})

    def reject(self, line: int, fields: Sequence[str], rule: str, reason: str, column: str | None = None) -> None:
        """Leave a line, or one reading of it, out."""
        raw = visible(dict(zip(self.table.header.names, fields, strict=False)))
        table = self.source.description.table
        self.rejected.append(RejectedRow(table=table, source_row=line, rule=rule, reason=reason, column=column, row=raw))

    def _value(self, line: int, fields: Sequence[str], name: str) -> float | None:
        text = fields[self.columns.at[name]]
        if not text or text in self.source.description.missing:
            return None
        try:
            return number_of(text, self.table.decimal)
        except (CellError, NumberError) as error:
            refuse_cut_row(line, self.table)
            self.reject(line, fields, error.rule, f"{name}: {error}", name)
            return None


def _spelled_out(text: str, time_format: str) -> str:
    """Return a time of a logger's own format as ISO text."""
    try:
        return datetime.strptime(text, time_format).isoformat(sep=" ")  # noqa: DTZ007 - a zone is assumed later, where none is stated
    except (ValueError, OverflowError) as error:
        raise MomentError("bad_date", f"{text[:40]!r} is not a time of the format {time_format!r}") from error


def _fit(header: Header, description: LoggerDescription, context: ReadContext) -> _Fitted:
    """Find a description's columns in a file.

    Raises:
        UnreadableFileError: ``missing_column``, ``unit_changed``, ``duplicate_column`` or, when strict, ``unknown_column``.
    """
    header = replace(header, directives={**_origin(description), **header.directives})
    table = description.table
    wanted = wanted_columns(description)
    written = tuple(normalise(name) for name in header.names)
    renames = context.renames.get(table, {})
    names = apply_renames(written, [normalise(name) for name in wanted], renames)
    refuse_duplicates(header, names)
    at = {name: index for name in wanted if (index := position_of(name, header.names, names)) is not None}
    taken = set(at.values())
    others = tuple((index, name) for index, name in enumerate(header.names) if index not in taken and not is_secret(name))
    unknown = [written[index] for index, _ in others]
    missing = [name for name in wanted if name not in at]
    events = unknown_events(table, unknown, header)
    events += [event("renamed_column", table, old, header, new) for old, new in zip(written, names, strict=True) if old != new]
    events += (proposals := proposal_events(table, unknown, [normalise(name) for name in missing], header))
    if missing:
        events += [event("missing_column", table, normalise(name), header) for name in missing]
        reason = missing_reason(f"the logger {description.name!r}", missing, unknown, proposals)
        raise UnreadableFileError("missing_column", reason, f"line {header.line}", events)
    _check_units(header, description, at)
    refuse_unknown(unknown, header, context, events)
    warnings = [f"columns kept in rescued: {', '.join(name for _, name in others[:20])}"] if others else []
    return _Fitted(at=at, others=others, events=events, warnings=warnings)


def _origin(description: LoggerDescription) -> dict[str, str]:
    stated = {"software": description.software, "instrument": description.instrument}
    return {key: value for key, value in stated.items() if value}


def _check_units(header: Header, description: LoggerDescription, at: dict[str, int]) -> None:
    for column in description.columns:
        written = header.names[at[column.name]]
        stated = split_unit(written)[1]
        if stated and _UNIT.fullmatch(stated) and not same_unit(stated, column.unit):
            changed = event("unit_changed", description.table, normalise(written), header, normalise(column.name))
            reason = f"column {written!r} where {column.unit} is described for {description.name!r}; nothing is converted"
            raise UnreadableFileError("unit_changed", reason, f"line {header.line}", [changed])


def _read_workbook(data: bytes, context: ReadContext, descriptions: Sequence[LoggerDescription]) -> ReadResult:
    """Read every visible sheet that is of the surest description."""
    sheets = read_sheets(data)
    description = surest([(sheets_sureness(context.file_name, sheets, described), described) for described in descriptions])
    results: list[ReadResult] = []
    notes: list[str] = []
    for sheet in sheets:
        header = sheet_header(sheet, description)
        if sheet.hidden or header is None or header_sureness(header, description) == 0:
            why = "is hidden" if sheet.hidden else f"is no table of {description.name!r}"
            notes.append(f"sheet {shorten(sheet.name)} {why} and was not read")
            continue
        above = ["\t".join(str(cell) for cell in cells if cell) for number, cells in sheet.rows if number < header.line]
        kind = _TableOfLogger(description, _stated_logger(above, description))
        results.append(read_sheet(sheet, kind, header, context, offset=len(results) * ROWS_A_SHEET))
    if not results:
        raise UnreadableFileError("missing_column", f"no visible sheet has the columns that {description.name!r} describes")
    return merged(description.format, results, notes)


def _stated_logger(above: Sequence[str], description: LoggerDescription) -> str:
    """Return the name of the logger: constant, or from the line above the column names that states it."""
    if not description.logger_line:
        return description.logger_id
    label = description.logger_line.rstrip(_LABEL_SIGNS) or description.logger_line
    lead = r"\s*+" if label.startswith("#") else r"[\s#]*+"
    pattern = re.compile(rf'{lead}(?P<quote>"?+){lead}{re.escape(label)}(?P<rest>.*)', re.IGNORECASE)
    for line in above:
        match = pattern.match(line)
        if match and (logger := _behind_label(match["rest"], quoted=bool(match["quote"]), blank=description.logger_line.endswith(" "))):
            return logger
    raise UnreadableFileError("missing_section", f"no line {description.logger_line!r} above the column names says which logger this is")


def _behind_label(rest: str, *, quoted: bool, blank: bool) -> str:
    """Return the id behind a label, empty where the label goes on with another word.

    Args:
        rest: What stands behind the label.
        quoted: Whether a quote is open before the label, so that label and id are one quoted field.
        blank: Whether one blank is enough between them, since the described label ends with it.
    """
    if field := _NEXT_FIELD.match(rest):
        value, ends = field["value"], field["border"]
        quoted = False
    elif field := _SAME_FIELD.match(rest):
        value, ends = field["value"], "\t"
    elif blank and rest.startswith(" "):
        value, ends = rest, "\t"
    else:
        return ""
    if quoted or value.startswith('"'):
        return value.removeprefix('"').partition('"')[0].strip()
    return value.partition(ends)[0].strip(" \t;,")


def _recoded(data: bytes, description: LoggerDescription) -> bytes:
    """Return the file as UTF-8 where its description names another encoding."""
    if description.encoding is None:
        return data
    try:
        return data.decode(description.encoding).encode("utf-8")
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        raise UnreadableFileError(
            "encoding", f"not valid {description.encoding}, which {description.name!r} describes", f"byte {at}"
        ) from error
