"""Calibration certificates as delimited text with the contract's column names.

Belongs here: this table. Does not belong here: certificates as PDF (``pdf_document.py``).
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.bronze import CALIBRATIONS
from lab_assets.sources.base import ReadContext, ReadResult
from lab_assets.sources.core.contract_table import best_match, read_contract_table
from lab_assets.sources.core.delimited import DelimitedTable, Header, peek_header, read_table

_CONTRACTS: Final = (CALIBRATIONS,)


class CalibrationCsvReader:
    """Reader of calibration certificates in tabular form."""

    format: str = "calibration_csv"
    tables: tuple[str, ...] = (CALIBRATIONS.name,)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: the share of a table's required columns."""
        del name
        header = peek_header(head)
        return 0 if header is None else self.sureness(header)

    def sureness(self, header: Header) -> int:
        """Return how surely a header is of this format, 0 to 100."""
        match = best_match(header, _CONTRACTS)
        return 0 if match is None else match.sureness

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one file into one table.

        Raises:
            UnreadableFileError: the file as a whole is not usable.
        """
        return self.read_table(read_table(data), context)

    def read_table(self, table: DelimitedTable, context: ReadContext) -> ReadResult:
        """Read the rows of one file or sheet.

        Raises:
            UnreadableFileError: the table as a whole is not usable.
        """
        return read_contract_table(table, context, format_name=self.format, contracts=_CONTRACTS)
