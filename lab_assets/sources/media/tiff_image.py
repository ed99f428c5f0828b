"""Microscope images as TIFF, ImageJ TIFF or OME-TIFF: one row a page.

Belongs here: pages, tags and the metadata of ImageJ, OME and Aperio in them. Does not belong here: what is measured on pixels
(``image_features.py``), OME-XML itself (``image_metadata.py``); the pixels stay in the raw store.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from lab_assets.sources.base import ReadContext, ReadResult, Row, UnreadableFileError
from lab_assets.sources.core.decoding import base_name
from lab_assets.sources.media.image_features import FEATURE_PIXELS_PER_FILE, MAX_FILE_SAMPLES, MAX_PIXELS, Pixels, measure
from lab_assets.sources.media.image_metadata import OmeImage, bare_description, is_screen_resolution, length_um, pixel_um, read_ome

if TYPE_CHECKING:
    import tifffile

MAX_PAGES: Final = 4096

_MAGICS: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_UNITS: Final = {2: "inch", 3: "cm", 4: "mm", 5: "um"}
"""Names of TIFF's resolution units."""
_ALPHA: Final = (1, 2)
"""Extra samples that are transparency."""
_APERIO_MPP: Final = re.compile(r"\bMPP\s*=\s*([0-9.]+)")
_DAMAGE: Final = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    AttributeError,
    EOFError,
    OSError,
    struct.error,
    zlib.error,
)
"""What tifffile and Pillow raise on damaged files, besides their own errors."""


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
            UnreadableFileError: ``truncated`` for a damaged file, ``empty`` without pages, ``too_large``, ``unsupported`` for a
                compression that cannot be decoded.
        """
        import tifffile

        try:
            with tifffile.TiffFile(io.BytesIO(data)) as image:
                stack = _Stack(image=image, data=data, name=base_name(context.file_name))
                return ReadResult(format=self.format, tables={"images": stack.rows()}, warnings=stack.warnings)
        except UnreadableFileError:
            raise
        except (*_DAMAGE, tifffile.TiffFileError) as error:
            reason = f"the TIFF file is cut or damaged ({type(error).__name__}); transfer it again"
            raise UnreadableFileError("truncated", reason) from error


@dataclass(kw_only=True)
class _Stack:
    """One file while it is read."""

    image: tifffile.TiffFile
    data: bytes
    name: str
    warnings: list[str] = field(default_factory=list[str])

    def rows(self) -> list[Row]:
        """Return a row for each page."""
        n_pages = len(self.image.pages)
        if n_pages == 0:
            raise UnreadableFileError("empty", "the image has no pages")
        if n_pages > MAX_PAGES:
            raise UnreadableFileError("too_large", f"{n_pages} pages are more than {MAX_PAGES}")
        # tifffile hands out frames without tags for later pages of regular stacks.
        self.image.pages.useframes = False
        ome = self._ome()
        rows: list[Row] = []
        n_samples = n_measured = 0
        for index in range(n_pages):
            page: Any = self.image.pages.get(index).aspage()
            n_samples += _refuse_large(page, index + 1)
            if n_samples > MAX_FILE_SAMPLES:
                raise UnreadableFileError("too_large", f"the pages have more than {MAX_FILE_SAMPLES} samples together", f"page {index + 1}")
            n_measured += int(page.imagewidth) * int(page.imagelength)
            rows.append(self._row(page, index, ome, with_shapes=n_measured <= FEATURE_PIXELS_PER_FILE))
        if n_measured > FEATURE_PIXELS_PER_FILE:
            self.warnings.append("the file is too large to measure sharpness and particles on all of its pages; the last have none")
        if any(is_screen_resolution(row["pixel_size_um"]) for row in rows):
            self.warnings.append("the stated resolution is that of a screen, 72 or 96 dpi; the pixel size is hardly one of a microscope")
        return rows

    def _ome(self) -> dict[int, tuple[OmeImage, int]]:
        text = self.image.ome_metadata
        if not text:
            return {}
        try:
            return read_ome(text)
        except ValueError as error:
            self.warnings.append(f"the OME-XML description cannot be read ({type(error).__name__}); scale and channels are left out")
            return {}

    def _row(self, page: Any, index: int, ome: Mapping[int, tuple[OmeImage, int]], *, with_shapes: bool) -> Row:
        """Describe one page."""
        tags: dict[str, Any] = {tag.name: tag.value for tag in page.tags.values()}
        described, plane = ome.get(index, (None, 0))
        bits = (described.bits if described else None) or _bits(page)
        pixels = self._pixels(page, index)
        features = measure(_channels_last(pixels, page), bits=bits, with_shapes=with_shapes)
        size_x, size_y = self._pixel_size_um(tags, described)
        imagej: Mapping[str, Any] = self.image.imagej_metadata or {}
        rescued = {key: str(tags[key])[:1000] for key in ("PageName", "DocumentName", "Artist", "HostComputer") if tags.get(key)}
        extra = {
            "channel": _at(described.channel_names, described.channel(plane)) if described else None,
            "label": _at(tuple(imagej.get("Labels") or ()), index),
            "pixel_size_y_um": f"{size_y:.6g}" if size_x and size_y and abs(size_y - size_x) > 1e-3 * size_x else None,
            "not_finite_samples": str(features.n_not_finite) if features.n_not_finite else None,
        }
        return {
            "image_name": self.name,
            "page": index + 1,
            "width_px": int(page.imagewidth),
            "height_px": int(page.imagelength),
            "channels": int(page.samplesperpixel),
            "dtype": str(pixels.dtype),
            "pixel_size_um": size_x,
            "acquired_at_text": (described.acquired_at_text if described else None) or _acquired(tags),
            "instrument_name": (described.instrument_name if described else None)
            or " ".join(str(tags[key]).strip() for key in ("Make", "Model") if tags.get(key))
            or None,
            # OME-XML names persons and their addresses: only what people described is taken from it.
            "description": described.description if described else None if self.image.is_ome else _description(tags),
            "software": (described.software if described else None) or _software(tags, imagej),
            "channel_names": self._channel_names(described, imagej),
            "rescued": rescued | {key: value for key, value in extra.items() if value},
            "source_row": index + 1,
            **features.columns(),
        }

    def _pixels(self, page: Any, index: int) -> Pixels:
        """Decode one page; Pillow's libtiff knows compressions (LZW, JPEG, CCITT) that tifffile leaves to another package."""
        try:
            return np.asarray(page.asarray())
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
        from PIL import Image

        unsupported = UnreadableFileError(
            "unsupported", f"compression {page.compression!s} cannot be decoded; save the image uncompressed", f"page {index + 1}"
        )
        try:
            with Image.open(io.BytesIO(self.data), formats=("TIFF",)) as picture:
                picture.seek(index)
                pixels = np.asarray(picture)
        except Image.UnidentifiedImageError as error:
            raise unsupported from error
        if pixels.ndim not in (2, 3):
            raise unsupported
        return pixels

    def _pixel_size_um(self, tags: Mapping[str, Any], described: OmeImage | None) -> tuple[float | None, float | None]:
        """Return width and height of a pixel as OME, ImageJ, Aperio or the resolution tags state them."""
        if described is not None and described.pixel_x_um:
            return described.pixel_x_um, described.pixel_y_um
        description = str(tags.get("ImageDescription") or "")
        if description.startswith("Aperio") and (stated := _APERIO_MPP.search(description)):
            size = length_um(stated[1], "um")
            return size, size
        imagej = self.image.imagej_metadata
        unit = str(imagej.get("unit") or "") if imagej else _UNITS.get(_whole(tags.get("ResolutionUnit")), "")
        return pixel_um(_ratio(tags.get("XResolution")), unit), pixel_um(_ratio(tags.get("YResolution")), unit)

    def _channel_names(self, described: OmeImage | None, imagej: Mapping[str, Any]) -> list[str] | None:
        """Return the names of the channels; ImageJ's labels are such where there is one for each channel."""
        if described is not None:
            return list(described.channel_names) or None
        labels = [str(label) for label in imagej.get("Labels") or ()]
        return labels if labels and len(labels) == imagej.get("channels") else None


def _refuse_large(page: Any, number: int) -> int:
    """Return how many samples a page has; refuse one that is too large before it is decoded."""
    n_samples = int(page.imagewidth) * int(page.imagelength) * int(page.samplesperpixel) * max(1, int(page.imagedepth))
    if n_samples > MAX_PIXELS:
        raise UnreadableFileError("too_large", f"{n_samples} samples are more than {MAX_PIXELS}", f"page {number}")
    if n_samples <= 0:
        raise UnreadableFileError("truncated", "the page has no pixels; transfer it again", f"page {number}")
    return n_samples


def _channels_last(pixels: Pixels, page: Any) -> Pixels:
    """Return samples as (height, width) or (height, width, channels), transparency left out; of a volume the first plane."""
    if pixels.ndim == len(page.axes):
        for axis in [axis for axis in page.axes if axis not in "SYX"]:
            pixels = pixels.take(0, axis=page.axes.index(axis)) if pixels.ndim == len(page.axes) else pixels
        if page.axes.startswith("S"):
            pixels = np.moveaxis(pixels, 0, -1)
    pixels = pixels if pixels.ndim <= 3 else pixels.reshape(-1, *pixels.shape[-3:])[0]
    n_alpha = sum(_whole(kind) in _ALPHA for kind in page.extrasamples or ())
    if pixels.ndim == 3 and 0 < n_alpha < pixels.shape[-1]:
        pixels = pixels[..., : pixels.shape[-1] - n_alpha]
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels


def _bits(page: Any) -> int | None:
    """Return the bits of a sample when all of a page's have as many."""
    stated = page.bitspersample
    return int(stated) if isinstance(stated, int) else None


def _acquired(tags: Mapping[str, Any]) -> str | None:
    """Return the time of the exposure, or else that of the file, as stated."""
    exif = tags.get("ExifTag")
    stated: object = cast("dict[str, Any]", exif).get("DateTimeOriginal") if isinstance(exif, dict) else None
    return str(stated or tags.get("DateTime") or "").strip("\x00 ") or None


def _description(tags: Mapping[str, Any]) -> str | None:
    return bare_description(str(tags.get("ImageDescription") or ""))


def _software(tags: Mapping[str, Any], imagej: Mapping[str, Any]) -> str | None:
    if stated := str(tags.get("Software") or "").strip("\x00 "):
        return stated
    return f"ImageJ {imagej['ImageJ']}" if imagej.get("ImageJ") else None


def _at(values: tuple[Any, ...], index: int) -> str | None:
    return str(values[index]) if index < len(values) else None


def _whole(value: object) -> int:
    """Return a tag's number as an integer; 0 when it is none."""
    return int(value) if isinstance(value, int) else 0


def _ratio(value: object) -> float:
    """Return a TIFF rational as a number; 0 when it is none."""
    if isinstance(value, tuple):
        parts = cast("tuple[Any, ...]", value)
        return float(parts[0]) / float(parts[1]) if len(parts) == 2 and parts[1] else 0.0
    return float(value) if isinstance(value, int | float) else 0.0


READERS: Final = (TiffImageReader(),)
