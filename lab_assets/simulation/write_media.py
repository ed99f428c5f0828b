"""Files that are not tables: calibration certificates as PDF, microscope images as TIFF.

Belongs here: their layout and, for the images, the texture of a tablet's surface. Does not belong here: which there are.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from lab_assets.simulation.lots import Lot
from lab_assets.simulation.write_tables import Record, iso

IMAGE_PX = 256
PIXEL_UM = 3.2


def write_certificate(records: Sequence[Record]) -> bytes:
    """Return one calibration certificate on one A4 page, the same bytes for the same records.

    Args:
        records: The certificate's parameters, at least one, as ``bronze.calibrations`` names them.
    """
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    first = records[0]
    canvas = Canvas(buffer, pagesize=A4, invariant=1)
    canvas.setTitle(f"Calibration certificate {first['certificate_id']}")
    canvas.setAuthor(str(first["performed_by"]))
    canvas.setFont("Helvetica-Bold", 16)
    canvas.drawString(60, 780, "Calibration certificate")
    canvas.setFont("Helvetica", 10)
    lines = [
        f"Certificate: {first['certificate_id']}",
        f"Instrument: {first['instrument_id']}",
        f"Performed: {iso(first['performed_at_utc'])} by {first['performed_by']}",
        f"Valid until: {iso(first['valid_until_utc'])}",
        "",
        *(_line(one) for one in records),
    ]
    for number, line in enumerate(lines):
        canvas.drawString(60, 745 - 18 * number, line)
    canvas.save()
    return buffer.getvalue()


def _line(record: Record) -> str:
    unit = record["unit"]
    return f"{record['parameter']}: deviation {record['deviation']:g} {unit}, tolerance {record['tolerance']:g} {unit}, {record['outcome']}"


def tablet_surface(lot: Lot, rng: np.random.Generator) -> np.ndarray:
    """Return a grey image of a tablet's surface, shape (256, 256), uint16.

    Granules as smoothed noise, coarser for harder tablets, with dark pores that soft tablets have more of.
    """
    from scipy.ndimage import gaussian_filter

    grain = 1.5 + 0.03 * lot.hardness_n
    texture = gaussian_filter(rng.normal(size=(IMAGE_PX, IMAGE_PX)), grain, mode="wrap")
    texture /= texture.std()
    pores = gaussian_filter((rng.random((IMAGE_PX, IMAGE_PX)) < 0.05 / lot.hardness_n).astype(float), 2.0) * 40
    rows, columns = np.mgrid[:IMAGE_PX, :IMAGE_PX]
    light = 1 - 0.25 * (((rows - 128) ** 2 + (columns - 128) ** 2) / 128**2 / 2)
    grey = 30000 * light * (1 + 0.08 * texture - 0.5 * pores)
    return np.clip(grey + rng.normal(0, 150, grey.shape), 0, 65535).astype(np.uint16)


def write_image(lot: Lot, rng: np.random.Generator) -> bytes:
    """Return a microscope image of one tablet of a lot as TIFF with pixel size and lot number."""
    import tifffile

    buffer = io.BytesIO()
    options: dict[str, Any] = {
        "description": f"lot {lot.lot_id}; tablet surface; objective 4x",
        "resolution": (10000 / PIXEL_UM, 10000 / PIXEL_UM),
        "resolutionunit": "CENTIMETER",
        "software": "LabScope 3.1",
        "metadata": None,
        "photometric": "minisblack",
        "compression": "zlib",
    }
    tifffile.imwrite(buffer, tablet_surface(lot, rng), **options)
    return buffer.getvalue()
