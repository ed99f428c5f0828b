"""LIMS exports: lots, samples, worklists, results, events and specifications as delimited text.

Belongs here: which tables a LIMS brings. Does not belong here: how they are read (``contract_reader.py``).
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.bronze import LIMS_EVENTS, LIMS_LOTS, LIMS_RESULTS, LIMS_SAMPLES, LIMS_SEQUENCES, SPECIFICATIONS
from lab_assets.sources.tables.contract_reader import ContractTableReader

LIMS_CSV: Final = ContractTableReader("lims_csv", (LIMS_LOTS, LIMS_SAMPLES, LIMS_SEQUENCES, LIMS_RESULTS, LIMS_EVENTS, SPECIFICATIONS))
"""Registered by ``table_kinds.py``."""
