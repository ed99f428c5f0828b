"""Workbooks that hold the tables of LIMS, metrology, processing and stability: each visible sheet is read as a delimited file would be.

Belongs here: which sheet is which table, and the numbering of rows over several sheets. Does not belong here: cells
(``spreadsheet.py``), columns (the readers of delimited text, whose rules hold for sheets as well).

Rows of the first sheet that is read are numbered as in the workbook; those of the next one from ``ROWS_A_SHEET`` on, and so forth. Every
reason and warning names the sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row, SchemaEvent, UnreadableFileError
from lab_assets.sources.core.archives import Archive
from lab_assets.sources.core.decoding import shorten
from lab_assets.sources.core.delimited import DelimitedTable, Header, is_remark, note_directive, typed_table
from lab_assets.sources.tables.calibration_csv import CALIBRATION_CSV
from lab_assets.sources.tables.lims_csv import LIMS_CSV
from lab_assets.sources.tables.spreadsheet import Sheet, is_workbook, peek_sheets, read_sheets
from lab_assets.sources.tables.table_kinds import CHAMBER, PROCESSING, TableKind
from lab_assets.sources.tables.table_kinds import READERS as TABLE_KINDS

ROWS_A_SHEET: Final = 10_000_000
"""Step of ``source_row`` from one sheet that is read to the next; a sheet has at most 1,048,576 rows."""

_SEARCHED_ROWS: Final = 40
"""Rows of a sheet that are searched for column names; titles and remarks may stand above them."""
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")


class WorkbookReader:
    """Reader of workbooks whose main table is of one kind; sheets of the other kinds are read as well.

    Attributes:
        format: Name of the format.
        tables: Every table a sheet may fill.
    """

    def __init__(self, format_name: str, kind: TableKind, *, refuses_old: bool = False) -> None:
        self.format = format_name
        self.tables: tuple[str, ...] = tuple(dict.fromkeys(name for any_kind in TABLE_KINDS for name in any_kind.tables))
        self._kind = kind
        self._refuses_old = refuses_old

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is a workbook that cannot be read: locked, or of the binary format before 2007."""
        is_old = head.startswith(_OLE) and (_ENCRYPTED_PACKAGE in head or name.lower().endswith((".xls", ".xlsx", ".xlsm")))
        return 5 if self._refuses_old and is_old else 0

    def sniff_archive(self, name: str, archive: Archive) -> int:
        """Return how surely this is the format: the sureness of its kind for the sheet it fits best."""
        del name
        if not is_workbook(archive):
            return 0
        try:
            headers = [header for sheet in peek_sheets(archive) for header in candidate_headers(sheet)]
        except UnreadableFileError:
            return 5 if self._refuses_old else 0  # so that reading says what is wrong
        return max((self._kind.sureness(header) for header in headers), default=0)

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read every visible sheet that fits a contract.

        Raises:
            UnreadableFileError: ``encrypted``, ``unsupported``, ``unknown_format`` when no sheet fits, or a rule of one sheet, which
                refuses the workbook; a sheet that is not meant to be read can be hidden.
        """
        _refuse_old(data)
        sheets = read_sheets(data)
        results: list[ReadResult] = []
        notes: list[str] = [f"sheet {shorten(sheet.name)} is hidden and was not read" for sheet in sheets if sheet.hidden]
        for sheet in sheets:
            if sheet.hidden or not sheet.rows:
                continue
            found = find_table(sheet, TABLE_KINDS)
            if found is None:
                notes.append(f"sheet {shorten(sheet.name)} fits no table and was not read")
                continue
            if sheet.rows[-1][0] == found[1].line:
                notes.append(f"sheet {shorten(sheet.name)} has column names and no rows")
                continue
            results.append(read_sheet(sheet, *found, context, offset=len(results) * ROWS_A_SHEET))
        if not results and any(note.endswith("no rows") for note in notes):
            raise UnreadableFileError("empty", "the workbook has column names and no rows")
        if not results:
            shown = ", ".join(shorten(sheet.name) for sheet in sheets[:6])
            raise UnreadableFileError("unknown_format", f"no visible sheet of {shown} has column names that fit a table")
        return merged(self.format, results, notes)


def find_table(sheet: Sheet, kinds: Sequence[TableKind]) -> tuple[TableKind, Header] | None:
    """Return what a sheet holds: the surest kind for the first row that any kind takes for its column names.

    Args:
        sheet: A visible sheet.
        kinds: What it may hold.
    """
    for header in candidate_headers(sheet):
        surest = max(kinds, key=lambda kind: kind.sureness(header))
        if surest.sureness(header) > 0:
            return surest, header
    return None


def read_sheet(sheet: Sheet, kind: TableKind, header: Header, context: ReadContext, *, offset: int = 0) -> ReadResult:
    """Read one sheet.

    Args:
        sheet: The sheet.
        kind: What reads it.
        header: Its column names and what stands above them.
        context: What is known besides the bytes.
        offset: Added to the row numbers.

    Returns:
        Rows, rejects and warnings, each naming the sheet where people read them.

    Raises:
        UnreadableFileError: the sheet is not usable; the place names it.
    """
    label = f"sheet {shorten(sheet.name)}"
    try:
        result = kind.read_table(sheet_table(sheet, header), context)
    except UnreadableFileError as error:
        place = f"{label}, {error.place.replace('line', 'row')}" if error.place else label
        raise UnreadableFileError(error.rule, error.reason, place, error.events) from error
    warnings = [f"{label}: {warning}" for warning in result.warnings]
    titles = [number for number, cells in sheet.rows if number < header.line and not note_directive(_row_text(cells), {})]
    if titles:
        warnings.append(f"{label}: rows {titles[0]} to {titles[-1]} above the column names were not read")
    if sheet.n_formulas:
        warnings.append(f"{label}: {sheet.n_formulas} cells are formulas; the values stored with them were taken")
    if offset:
        warnings.append(f"{label}: its rows are numbered from {offset + 1}")
    tables = {name: [{**row, "source_row": offset + row["source_row"]} for row in rows] for name, rows in result.tables.items()}
    rejected = [_named(row, label, offset) for row in result.rejected]
    return replace(result, tables=tables, rejected=rejected, warnings=warnings)


def sheet_table(sheet: Sheet, header: Header) -> DelimitedTable:
    """Return the rows below a header; columns without a name count when they hold something.

    Raises:
        UnreadableFileError: ``empty``, ``duplicate_column`` or ``bad_directive``.
    """
    below = [(number, cells) for number, cells in sheet.rows if number > header.line]
    width = max([len(header.names), *(len(cells) for _, cells in below)])
    rows = [(number, [*cells, *[""] * (width - len(cells))]) for number, cells in below]
    names = (*header.names, *[""] * (width - len(header.names)))
    data = [(number, fields) for number, fields in rows if not is_remark(fields, width)]
    return typed_table(replace(header, names=names), data, [], last_line_ended=True)


def merged(format_name: str, results: Iterable[ReadResult], notes: Sequence[str]) -> ReadResult:
    """Return the results of several sheets as one."""
    tables: dict[str, list[Row]] = {}
    rejected: list[RejectedRow] = []
    warnings, events = list[str](), list[SchemaEvent]()
    for result in results:
        for name, rows in result.tables.items():
            tables.setdefault(name, []).extend(rows)
        rejected += result.rejected
        warnings += result.warnings
        events += result.events
    return ReadResult(format=format_name, tables=tables, rejected=rejected, warnings=[*warnings, *notes], events=events)


def candidate_headers(sheet: Sheet) -> Iterator[Header]:
    """Return each of the first rows as a header, with the directives above it."""
    directives: dict[str, str] = {}
    for number, cells in sheet.rows[:_SEARCHED_ROWS]:
        if not note_directive(_row_text(cells), directives):
            yield Header(directives=dict(directives), names=tuple(str(cell) for cell in cells), separator="", line=number)


def _row_text(cells: Sequence[str]) -> str:
    """Return a row as one text: a directive may have its value in the cell beside its key."""
    texts = [str(cell) for cell in cells if cell]
    if len(texts) == 2 and texts[0].startswith("#") and not texts[0].endswith((":", "=")):
        return f"{texts[0]}: {texts[1]}"
    return " ".join(texts)


def _named(row: RejectedRow, label: str, offset: int) -> RejectedRow:
    return replace(row, source_row=offset + row.source_row, reason=f"{label}, row {row.source_row}: {row.reason}")


def _refuse_old(data: bytes) -> None:
    if not data.startswith(_OLE):
        return
    if _ENCRYPTED_PACKAGE in data:
        raise UnreadableFileError("encrypted", "the workbook has a password; save it without one")
    raise UnreadableFileError("unsupported", "a workbook of the binary format before 2007; save it as .xlsx")


READERS: Final = (
    WorkbookReader("lims_xlsx", LIMS_CSV, refuses_old=True),
    WorkbookReader("processing_xlsx", PROCESSING),
    WorkbookReader("chamber_xlsx", CHAMBER),
    WorkbookReader("calibration_xlsx", CALIBRATION_CSV),
)
"""One reader a kind, so that the ledger says what a workbook mainly is."""
