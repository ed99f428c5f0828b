"""Microscope images as TIFF, ImageJ TIFF or OME-TIFF: one row a page.

Belongs here: metadata, statistics of the samples, a thumbnail. Does not belong here: image analysis; the pixels stay in the raw store.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from lab_assets.sources.base import ReadContext, ReadResult, Row, UnreadableFileError
from lab_assets.sources.decoding import base_name

if TYPE_CHECKING:
    import tifffile

_MAGICS: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_UM_PER_UNIT: Final = {2: 25400.0, 3: 10000.0, 4: 1000.0, 5: 1.0}
"""Micrometres in the TIFF resolution units inch, centimetre, millimetre and micrometre."""
_UM_NAMES: Final = {"um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "\\u00b5m": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}
_OME_SIZE: Final = re.compile(r'PhysicalSizeX="([0-9.eE+-]+)"')
_OME_UNIT: Final = re.compile(r'PhysicalSizeXUnit="([^"]+)"')
MAX_PIXELS: Final = 1 << 28
"""Largest page that is decoded, samples."""
MAX_PAGES: Final = 4096
THUMBNAIL_PX: Final = 128


class TiffImageReader:
    """Reader of TIFF images."""

    format: str = "tiff_image"
    tables: tuple[str, ...] = ("images",)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: TIFF's magic bytes."""
        del name
        return 100 if head.startswith(_MAGICS) else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one image file, a row for each page.

        Raises:
            UnreadableFileError: ``truncated`` for a damaged file, ``empty`` without pages, ``too_large``.
        """
        import tifffile

        name = base_name(context.file_name)
        try:
            with tifffile.TiffFile(io.BytesIO(data)) as image:
                rows = _rows(image, name)
        except UnreadableFileError:
            raise
        except (
            tifffile.TiffFileError,
            ValueError,
            TypeError,
            IndexError,
            KeyError,
            EOFError,
            RuntimeError,
            struct.error,
            OSError,
        ) as error:
            reason = f"the TIFF file is cut or damaged ({type(error).__name__}); transfer it again"
            raise UnreadableFileError("truncated", reason) from error
        return ReadResult(format=self.format, tables={"images": rows})


def _rows(image: tifffile.TiffFile, name: str) -> list[Row]:
    n_pages = len(image.pages)
    if n_pages == 0:
        raise UnreadableFileError("empty", "the image has no pages")
    if n_pages > MAX_PAGES:
        raise UnreadableFileError("too_large", f"{n_pages} pages are more than {MAX_PAGES}")
    size_um = _series_pixel_size_um(image)
    return [_row(_page(image, index), name, index + 1, size_um) for index in range(n_pages)]


def _page(image: tifffile.TiffFile, index: int) -> Any:
    """Return one page with its tags; tifffile hands out frames without tags for later pages of regular stacks."""
    image.pages.useframes = False
    page = image.pages.get(index)
    return page.aspage()


def _row(page: Any, name: str, number: int, series_um: float | None) -> Row:
    """Describe one page."""
    n_samples = int(page.imagewidth) * int(page.imagelength) * int(page.samplesperpixel)
    if n_samples > MAX_PIXELS:
        raise UnreadableFileError("too_large", f"{n_samples} samples are more than {MAX_PIXELS}", f"page {number}")
    pixels = np.asarray(page.asarray())
    tags: Mapping[str, Any] = {tag.name: tag.value for tag in page.tags.values()}
    description = str(tags.get("ImageDescription") or "").strip()
    values = pixels.astype(np.float64)
    return {
        "image_name": name,
        "page": number,
        "width_px": int(page.imagewidth),
        "height_px": int(page.imagelength),
        "channels": int(page.samplesperpixel),
        "dtype": str(pixels.dtype),
        "pixel_size_um": series_um or _resolution_um(tags),
        "acquired_at_text": str(tags["DateTime"]).strip() if tags.get("DateTime") else None,
        "instrument_name": " ".join(str(tags[key]).strip() for key in ("Make", "Model") if tags.get(key)) or None,
        "description": description[:10_000] or None,
        "intensity_mean": float(values.mean()),
        "intensity_sd": float(values.std()),
        "thumbnail_png": _thumbnail(pixels),
        "rescued": {key: str(tags[key])[:1000] for key in ("Software", "PageName") if tags.get(key)},
        "source_row": number,
    }


def _series_pixel_size_um(image: tifffile.TiffFile) -> float | None:
    """Return the pixel size that ImageJ or OME metadata state, in micrometres."""
    ome = image.ome_metadata
    if ome and (size := _OME_SIZE.search(ome)):
        unit = _OME_UNIT.search(ome)
        factor = _UM_NAMES.get(unit[1] if unit else "um")
        return float(size[1]) * factor if factor else None
    imagej = image.imagej_metadata
    if imagej and (factor := _UM_NAMES.get(str(imagej.get("unit", "")).strip())):
        resolution = image.pages.first.tags.get("XResolution")
        pixels_per_unit = _ratio(resolution.value) if resolution is not None else 0.0
        return factor / pixels_per_unit if pixels_per_unit > 0 else None
    return None


def _resolution_um(tags: Mapping[str, Any]) -> float | None:
    """Return the pixel size of the resolution tags, in micrometres; ``None`` when their unit is not a length."""
    unit_um = _UM_PER_UNIT.get(int(tags.get("ResolutionUnit") or 0))
    pixels_per_unit = _ratio(tags.get("XResolution"))
    return unit_um / pixels_per_unit if unit_um and pixels_per_unit > 0 else None


def _ratio(value: object) -> float:
    """Return a TIFF rational as a number; 0 when it is none."""
    if isinstance(value, tuple):
        parts = cast("tuple[Any, ...]", value)
        return float(parts[0]) / float(parts[1]) if len(parts) == 2 and parts[1] else 0.0
    return float(value) if isinstance(value, (int, float)) else 0.0


def _thumbnail(pixels: np.ndarray[Any, np.dtype[Any]]) -> bytes | None:
    """Return a grey or RGB PNG of at most ``THUMBNAIL_PX``, samples stretched to 8 bits; ``None`` for other shapes."""
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[-1] >= 3:
        plane = pixels[..., :3]
    elif pixels.ndim == 2:
        plane = pixels
    else:
        return None
    step = max(1, max(plane.shape[:2]) // (4 * THUMBNAIL_PX))
    small = plane[::step, ::step].astype(np.float64)
    low, high = float(small.min()), float(small.max())
    scaled = np.zeros(small.shape) if high <= low else (small - low) * (255.0 / (high - low))
    picture = Image.fromarray(scaled.round().astype(np.uint8))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
