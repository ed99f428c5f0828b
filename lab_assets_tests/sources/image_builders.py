"""Images made of pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy.typing as npt

Plane = npt.NDArray[Any]


def tiff(pixels: Plane, **options: Any) -> bytes:
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **{"metadata": None, **options})
    return buffer.getvalue()


def raster(pixels: Plane, kind: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(buffer, kind, **options)
    return buffer.getvalue()
