"""Photographs and screen pictures as PNG or JPEG: one row a file.

Belongs here: headers, EXIF and resolutions of the two formats. Does not belong here: what is measured on pixels
(``image_features.py``); the pixels stay in the raw store.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab_assets.sources.base import ReadContext, ReadResult, Row, UnreadableFileError
from lab_assets.sources.core.decoding import base_name, is_secret
from lab_assets.sources.media.image_features import MAX_PIXELS, Pixels, measure
from lab_assets.sources.media.image_metadata import bare_description, is_screen_resolution, pixel_um

if TYPE_CHECKING:
    from PIL import Image

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG: Final = b"\xff\xd8\xff"
_EXIF_IFD: Final = 0x8769
_ORIGINAL, _OFFSET_ORIGINAL, _CHANGED, _OFFSET = 0x9003, 0x9011, 0x0132, 0x9010
_MAKE, _MODEL, _DESCRIPTION, _SOFTWARE, _ARTIST = 0x010F, 0x0110, 0x010E, 0x0131, 0x013B
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_UNITS: Final = {2: "inch", 3: "cm"}
"""Names of EXIF's resolution units."""
_JFIF_UNITS: Final = {1: "inch", 2: "cm"}
_DAMAGE: Final = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    SyntaxError,
    EOFError,
    OSError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow raises on damaged files."""


class RasterImageReader:
    """Reader of PNG and JPEG images."""

    format: str = "raster_image"
    tables: tuple[str, ...] = ("images",)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is one of the formats: their magic bytes."""
        del name
        return 100 if head.startswith((_PNG, _JPEG)) else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one image; of an animation the first picture.

        Raises:
            UnreadableFileError: ``truncated`` for a cut or damaged file, ``too_large`` for more samples than are decoded.
        """
        from PIL import Image

        _refuse_cut(data)
        noticed: list[str] = []
        try:
            with warnings.catch_warnings():
                # Pillow warns of large images; how large one may be is decided here.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
                    row = _row(picture, data, base_name(context.file_name), noticed)
        except UnreadableFileError:
            raise
        except Image.DecompressionBombError as error:
            raise UnreadableFileError("too_large", "the picture has more pixels than are decoded; save a part of it") from error
        except _DAMAGE as error:
            if "MAX_TEXT" in str(error):
                raise UnreadableFileError("too_large", "the texts of the picture unpack to more than is read") from error
            reason = f"the picture is cut or damaged ({type(error).__name__}); transfer it again"
            raise UnreadableFileError("truncated", reason) from error
        return ReadResult(format=self.format, tables={"images": [row]}, warnings=noticed)


def _row(picture: Image.Image, data: bytes, name: str, noticed: list[str]) -> Row:
    """Describe a picture; its size is judged before it is decoded."""
    n_samples = picture.width * picture.height * len(picture.getbands())
    if n_samples > MAX_PIXELS:
        raise UnreadableFileError("too_large", f"{n_samples} samples are more than {MAX_PIXELS}")
    if getattr(picture, "n_frames", 1) > 1:
        noticed.append("the file has several pictures; the first was read")
    picture.load()
    pixels, n_channels = _pixels(picture)
    features = measure(pixels)
    exif, exposure = _exif(picture, noticed)
    text = {str(key): str(value) for key, value in getattr(picture, "text", {}).items()}
    size_x, size_y = _pixel_size_um(picture, exif)
    if is_screen_resolution(size_x):
        noticed.append("the stated resolution is that of a screen, 72 or 96 dpi; the pixel size is hardly one of a microscope")
    rescued = {
        key: value[:1000] for key, value in text.items() if not is_secret(key) and key not in {"Software", "Description", "Creation Time"}
    }
    if size_x and size_y and abs(size_y - size_x) > 1e-3 * size_x:
        rescued["pixel_size_y_um"] = f"{size_y:.6g}"
    if _stated(exif.get(_ARTIST)):
        rescued["Artist"] = str(_stated(exif.get(_ARTIST)))
    depth = data[24] if data.startswith(_PNG) else 8
    if depth == 16 and pixels.dtype == np.uint8:
        rescued["bits_per_sample"] = "16"
        noticed.append("the picture has 16 bits a sample and colours; the upper 8 bits were measured")
    return {
        "image_name": name,
        "page": 1,
        "width_px": picture.width,
        "height_px": picture.height,
        "channels": n_channels,
        "dtype": str(pixels.dtype),
        "pixel_size_um": size_x,
        "acquired_at_text": _acquired(exif, exposure) or _stated(text.get("Creation Time")),
        "instrument_name": " ".join(filter(None, (_stated(exif.get(key)) for key in (_MAKE, _MODEL)))) or None,
        "description": bare_description(_stated(exif.get(_DESCRIPTION)) or text.get("Description") or ""),
        "software": _stated(exif.get(_SOFTWARE)) or _stated(text.get("Software")),
        "channel_names": None,
        "rescued": rescued,
        "source_row": 1,
        **features.columns(),
    }


def _pixels(picture: Image.Image) -> tuple[Pixels, int]:
    """Return the samples without transparency, and how many a pixel has with it; indices of a palette as their colours."""
    if picture.mode in {"P", "PA"}:
        has_alpha = picture.mode == "PA" or "transparency" in picture.info
        picture = picture.convert("RGBA" if has_alpha else "RGB")
    pixels = np.asarray(picture)
    bands = picture.getbands()
    if "A" in bands and pixels.ndim == 3:
        pixels = pixels[..., : len(bands) - 1]
    return (pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels), len(bands)


def _pixel_size_um(picture: Image.Image, exif: Mapping[int, Any]) -> tuple[float | None, float | None]:
    """Return width and height of a pixel where the file states a unit of length; ratios without one are none."""
    if picture.format == "PNG":
        # Pillow has "dpi" only for resolutions in pixels per metre, "aspect" for those without a unit.
        dpi_x, dpi_y = picture.info.get("dpi", (0.0, 0.0))
        return pixel_um(float(dpi_x), "inch"), pixel_um(float(dpi_y), "inch")
    unit = _JFIF_UNITS.get(picture.info.get("jfif_unit", 0))
    if unit is not None:
        per_x, per_y = picture.info.get("jfif_density", (0, 0))
        return pixel_um(float(per_x), unit), pixel_um(float(per_y), unit)
    # Pillow's own "dpi" falls back to 72 where EXIF states none.
    unit = _UNITS.get(exif.get(_RESOLUTION_UNIT, 0), "")
    return pixel_um(_number(exif.get(_X_RESOLUTION)), unit), pixel_um(_number(exif.get(_Y_RESOLUTION)), unit)


def _exif(picture: Image.Image, noticed: list[str]) -> tuple[Mapping[int, Any], Mapping[int, Any]]:
    """Return the EXIF tags of the picture and of its exposure; damaged ones are named in a warning, and no reason to refuse the pixels."""
    try:
        exif = picture.getexif()
        return dict(exif), dict(exif.get_ifd(_EXIF_IFD))
    except _DAMAGE as error:
        noticed.append(f"the EXIF block is damaged ({type(error).__name__}); time and camera are left out")
        return {}, {}


def _acquired(exif: Mapping[int, Any], exposure: Mapping[int, Any]) -> str | None:
    """Return the time of the exposure with its offset, or else that of the last change, as stated."""
    pairs = ((exposure.get(_ORIGINAL), exposure.get(_OFFSET_ORIGINAL)), (exif.get(_CHANGED), exposure.get(_OFFSET)))
    found = (stated + (_stated(offset) or "") for time, offset in pairs if (stated := _stated(time)))
    return next(found, None)


def _stated(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    return str(value).replace("\x00", "").strip()[:10_000] or None if value is not None else None


def _number(value: object) -> float:
    """Return an EXIF rational as a number; 0 when it is none."""
    try:
        return float(str(value)) if not isinstance(value, int | float) else float(value)
    except ValueError:
        return 0.0


def _refuse_cut(data: bytes) -> None:
    """Refuse a file without the mark at its end; decoders accept one that lost only its last bytes."""
    complete = _PNG_END in data[-(1 << 20) :] if data.startswith(_PNG) else _jpeg_ends(data)
    if not complete:
        raise UnreadableFileError("truncated", "the end of the picture is missing; transfer it again", f"byte {len(data)}")


def _jpeg_ends(data: bytes) -> bool:
    """Tell whether a JPEG has its end mark after the picture begins; previews within its headers have marks of their own."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # filling
            at += 1
            continue
        if data[at + 1] == 0xDA:
            return data.find(b"\xff\xd9", at) > 0
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


READERS: Final = (RasterImageReader(),)
