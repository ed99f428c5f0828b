"""Calibration certificates as delimited text with the contract's column names.

Belongs here: this format. Does not belong here: how it is read (``contract_reader.py``), certificates as PDF (``media/pdf_document.py``).
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.bronze import CALIBRATIONS
from lab_assets.sources.tables.contract_reader import ContractTableReader

CALIBRATION_CSV: Final = ContractTableReader("calibration_csv", (CALIBRATIONS,))
"""Registered by ``table_kinds.py``."""
