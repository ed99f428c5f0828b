"""Calibration certificates as delimited text with the contract's column names.

Belongs here: this table. Does not belong here: certificates as PDF (``pdf_document.py``).
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.bronze import CALIBRATIONS
from lab_assets.sources.base import ReadContext, ReadResult
from lab_assets.sources.contract_table import best_match, read_contract_table
from lab_assets.sources.delimited import peek_header

_CONTRACTS: Final = (CALIBRATIONS,)


class CalibrationCsvReader:
    """Reader of calibration certificates in tabular form."""

    format: str = "calibration_csv"
    tables: tuple[str, ...] = (CALIBRATIONS.name,)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: the share of the required columns."""
        del name
        match = best_match(peek_header(head), _CONTRACTS)
        return 0 if match is None else int(40 + 50 * match.share)

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one file, a row for each parameter of each certificate.

        Raises:
            UnreadableFileError: the file as a whole is not usable.
        """
        return read_contract_table(data, context, format_name=self.format, contracts=_CONTRACTS)
