"""Contracts of the bronze layer: what each file said, in its own numbers and units, with its provenance.

Belongs here: the list of tables filled from files as they are. Does not belong here: anything converted, joined or judged.
"""

from __future__ import annotations

from typing import Final

from lab_assets.contracts.bronze_chromatography import CHROMATOGRAMS, INSTRUMENT_STATUS, PROCESSING_METHODS, VENDOR_PEAKS
from lab_assets.contracts.bronze_core import FILES, PROVENANCE, QUARANTINE, QUARANTINED_ROWS, RESCUED, SCHEMA_EVENTS
from lab_assets.contracts.bronze_lims import LIMS_EVENTS, LIMS_LOTS, LIMS_RESULTS, LIMS_SAMPLES, LIMS_SEQUENCES, SPECIFICATIONS
from lab_assets.contracts.bronze_media import DOCUMENTS, ELN_ENTRIES, IMAGES
from lab_assets.contracts.bronze_readings import CALIBRATIONS, CHAMBER_READINGS, MEASUREMENTS, SENSOR_READINGS

READER_TABLES: Final = (
    CHROMATOGRAMS,
    VENDOR_PEAKS,
    INSTRUMENT_STATUS,
    PROCESSING_METHODS,
    LIMS_LOTS,
    LIMS_SAMPLES,
    LIMS_SEQUENCES,
    LIMS_RESULTS,
    LIMS_EVENTS,
    SPECIFICATIONS,
    CHAMBER_READINGS,
    SENSOR_READINGS,
    CALIBRATIONS,
    MEASUREMENTS,
    IMAGES,
    DOCUMENTS,
    ELN_ENTRIES,
)
"""Tables a reader may fill."""

TABLES: Final = (FILES, QUARANTINE, QUARANTINED_ROWS, SCHEMA_EVENTS, *READER_TABLES)

__all__ = [
    "CALIBRATIONS",
    "CHAMBER_READINGS",
    "CHROMATOGRAMS",
    "DOCUMENTS",
    "ELN_ENTRIES",
    "FILES",
    "IMAGES",
    "INSTRUMENT_STATUS",
    "LIMS_EVENTS",
    "LIMS_LOTS",
    "LIMS_RESULTS",
    "LIMS_SAMPLES",
    "LIMS_SEQUENCES",
    "MEASUREMENTS",
    "PROCESSING_METHODS",
    "PROVENANCE",
    "QUARANTINE",
    "QUARANTINED_ROWS",
    "READER_TABLES",
    "RESCUED",
    "SCHEMA_EVENTS",
    "SENSOR_READINGS",
    "SPECIFICATIONS",
    "TABLES",
    "VENDOR_PEAKS",
]
