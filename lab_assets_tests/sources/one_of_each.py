"""One valid file of every format, with an agreed secret in every field that may hold one."""

from __future__ import annotations

import json
from typing import Final

import numpy as np

from lab_assets.sources.all_readers import READERS
from lab_assets_tests.sources import (
    agilent_builders,
    allotrope_builders,
    animl_builders,
    eln_builders,
    ezchrom_builders,
    gaml_builders,
    image_builders,
    pdf_builders,
    spreadsheet_builders,
    waters_builders,
)
from lab_assets_tests.sources.builders import andi, arw, chromeleon, labsolutions
from lab_assets_tests.sources.sample_folders import samples_by_format
from lab_assets_tests.sources.text_tables import LINES, LONG, LOTS, UTC_LOG

CALIBRATION: Final = (
    "certificate_id,instrument_id,parameter,deviation,tolerance,unit,outcome,performed_at_utc,valid_until_utc\n"
    "C1,HPLC-1,flow,-0.8,2,%,pass,2025-01-01,2026-01-01\nC1,HPLC-1,wavelength,1,2,nm,pass,2025-01-01,2026-01-01\n"
)


def _sheet(text: str, separator: str = ",") -> bytes:
    rows = [[cell.strip('"') for cell in line.split(separator)] for line in text.splitlines() if not line.startswith("#")]
    return spreadsheet_builders.workbook({"Sheet 1": [[_typed(cell) for cell in row] for row in rows]})


def _typed(cell: str) -> str | float | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell


_FILES: Final[dict[str, bytes]] = {
    "labsolutions_text": labsolutions().encode(),
    "andi_netcdf": andi(peaks={"peak_retention_time": [0.5], "peak_area": [1.0]}),
    "arw": arw().encode(),
    "chromeleon_text": chromeleon().encode(),
    "long_table": LONG.encode(),
    "processing_table": LINES.encode(),
    "lims_csv": LOTS.encode(),
    "chamber_csv": UTC_LOG.encode(),
    "calibration_csv": CALIBRATION.encode(),
    "tiff_image": image_builders.tiff(np.arange(200, dtype=np.uint8).reshape(10, 20)),
    "raster_image": image_builders.raster(np.arange(200, dtype=np.uint8).reshape(10, 20)),
    "pdf_document": pdf_builders.document(pdf_builders.words("one")),
    "agilent_d": agilent_builders.folder(
        {"DAD1A.ch": agilent_builders.ch179([1, 2, 3]), "DAD1B.ch": agilent_builders.ch130()}, top="run 7.D/"
    ),
    "agilent_dx": agilent_builders.dx(),
    "waters_raw": waters_builders.folder(waters_builders.with_functions(12)),
    "chromeleon_json": allotrope_builders.chromeleon_sequence(allotrope_builders.chromeleon_injection(1)).encode(),
    "empower_json": json.dumps(allotrope_builders.empower()).encode(),
    "gen5_image": allotrope_builders.gen5().encode(),
    "openlab_rslt": allotrope_builders.openlab(),
    "pharmspec": allotrope_builders.pharmspec(),
    "unicorn_zip": allotrope_builders.unicorn(),
    "visionlite": allotrope_builders.VISIONLITE["fixed"].encode(),
    "lims_xlsx": _sheet(LOTS),
    "processing_xlsx": _sheet(LINES, "\t"),
    "chamber_xlsx": _sheet("Chamber,Time,Temp (°C),RH [%]\nCH-1,2025-03-01 00:00:00,25.1,60.2\n"),
    "calibration_xlsx": _sheet(CALIBRATION),
    "animl_xml": animl_builders.run().encode(),
    "gaml_xml": gaml_builders.plain().encode(),
    "ezchrom_asc": ezchrom_builders.export().encode(),
    "eln_crate": eln_builders.crate(eln_builders.entry(name="Titration")),
}
_KNOWN: Final = samples_by_format() | _FILES
ONE_OF_EACH: Final = {reader.format: _KNOWN[reader.format] for reader in READERS}
"""Exactly the formats that are registered; a format with neither a file here nor in ``samples/`` fails every test that imports this."""
