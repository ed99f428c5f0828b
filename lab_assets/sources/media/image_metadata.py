# pyright: reportMissingTypeStubs=false, reportMissingModuleSource=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# (defusedxml has no types)
"""What images say of themselves: lengths and resolutions, OME-XML, descriptions without credentials.

Belongs here: metadata that several image formats share. Does not belong here: file formats, pixels.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lab_assets.sources.core.decoding import is_secret

MAX_DESCRIPTION_CHARS: Final = 10_000
MAX_OME_CHARS: Final = 32 << 20
MAX_OME_PLANES: Final = 100_000
SCREEN_DPI: Final = (72.0, 96.0)
"""Resolutions that programs write without having measured any."""

_UM_PER_UNIT: Final[Mapping[str, float]] = {
    "pm": 1e-6,
    "å": 1e-4,
    "ångström": 1e-4,
    "angstrom": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "mm": 1e3,
    "millimeter": 1e3,
    **dict.fromkeys(("um", "μm", "micron", "microns", "micrometer", "micrometers"), 1.0),
    "cm": 1e4,
    "centimeter": 1e4,
    "dm": 1e5,
    "m": 1e6,
    "meter": 1e6,
    "in": 25400.0,
    "inch": 25400.0,
    "inches": 25400.0,
}
_ESCAPE: Final = re.compile(r"\\u([0-9a-f]{4})", re.IGNORECASE)
_FIELD: Final = re.compile(r"\s*([^=:]{1,60})[=:]")


@dataclass(frozen=True, kw_only=True)
class OmeImage:
    """One image of an OME-XML description.

    Attributes:
        channel_names: Names of its channels; a channel without one has its fluorophore or number.
        pixel_x_um: Width of a pixel, micrometres.
        pixel_y_um: Height of a pixel, micrometres.
        bits: Significant bits of a sample.
        acquired_at_text: Time of acquisition.
        description: Description by people.
        instrument_name: Maker and model of the microscope or its detector.
        software: Program that wrote the description.
        n_channels: Planes along the channel axis.
        order: Dimensions of the planes, fastest first, such as ``CZT``.
        sizes: Planes along each.
    """

    channel_names: tuple[str, ...]
    pixel_x_um: float | None
    pixel_y_um: float | None
    bits: int | None
    acquired_at_text: str | None
    description: str | None
    instrument_name: str | None
    software: str | None
    n_channels: int
    order: str
    sizes: Mapping[str, int]

    def channel(self, plane: int) -> int:
        """Return the channel of a plane, both counted from 0."""
        for axis in self.order:
            if axis == "C":
                return plane % self.n_channels
            plane //= self.sizes[axis]
        return 0


def length_um(value: object, unit: str) -> float | None:
    r"""Return a length in micrometres; ``None`` for a unit that is no length, or a value that is not above 0.

    Args:
        value: A number or its text.
        unit: Such as ``µm``, ``micron``, ``inch`` or ImageJ's ``\u00B5m``.
    """
    spelled = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), unit)
    factor = _UM_PER_UNIT.get(unicodedata.normalize("NFKC", spelled).strip().casefold())
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number * factor if factor and math.isfinite(number) and number > 0 else None


def pixel_um(pixels_per_unit: float, unit: str) -> float | None:
    """Return the edge of a pixel in micrometres from a resolution, such as 300 per ``inch``."""
    return length_um(1.0 / pixels_per_unit, unit) if math.isfinite(pixels_per_unit) and pixels_per_unit > 0 else None


def is_screen_resolution(size_um: float | None) -> bool:
    """Tell whether a pixel size is one that programs write without having measured any."""
    return size_um is not None and any(abs(25400.0 / size_um - dpi) < 0.1 for dpi in SCREEN_DPI)


def bare_description(text: str) -> str | None:
    """Return a description without fields whose name promises a credential, bounded."""
    lines = ("|".join(part for part in line.split("|") if not _names_secret(part)) for line in text.replace("\x00", "").splitlines())
    return "\n".join(line for line in lines if line.strip()).strip()[:MAX_DESCRIPTION_CHARS] or None


def _names_secret(part: str) -> bool:
    match = _FIELD.match(part)
    return match is not None and is_secret(match[1])


def read_ome(text: str) -> dict[int, tuple[OmeImage, int]]:
    """Read an OME-XML description.

    Args:
        text: The XML; entities and document types are refused.

    Returns:
        For each page of the file, from 0, the image it belongs to and its plane in that image; pages of other files left out.

    Raises:
        ValueError: it is not well-formed, or defines entities.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml.ElementTree import fromstring

    if len(text) > MAX_OME_CHARS:
        raise ValueError(f"{len(text)} characters are more than {MAX_OME_CHARS}")
    try:
        root: Any = fromstring(text.encode())
    except ParseError as error:
        raise ValueError(str(error)) from error
    except (LookupError, UnicodeError) as error:
        raise ValueError(f"encoding: {error}") from error
    pages: dict[int, tuple[OmeImage, int]] = {}
    next_page = 0
    for node in _children(root, "Image"):
        pixels = next(_children(node, "Pixels"), None)
        if pixels is None:
            continue
        image = _image(root, node, pixels)
        n_planes = min(math.prod(image.sizes.values()), MAX_OME_PLANES)
        spans = list(_spans(root, pixels, image, n_planes))
        for page, plane, count in spans or [(next_page, 0, n_planes)]:
            for step in range(min(count, MAX_OME_PLANES - len(pages))):
                pages.setdefault(page + step, (image, plane + step))
        next_page += n_planes
    return pages


def _image(root: Any, node: Any, pixels: Any) -> OmeImage:
    """Read one image's own description."""
    channels = list(_children(pixels, "Channel"))
    names = [one.get("Name") or one.get("Fluor") or str(number) for number, one in enumerate(channels, start=1)]
    n_channels = len(channels) or _count(pixels.get("SizeC"))
    stated = any(one.get("Name") or one.get("Fluor") for one in channels)
    order = [axis for axis in str(pixels.get("DimensionOrder") or "XYCZT").upper() if axis in "CZT"]
    instrument = next(_children(root, "Instrument"), None)
    devices = [*_children(instrument, "Microscope"), *_children(instrument, "Detector")] if instrument is not None else []
    makers = (" ".join(filter(None, (one.get("Manufacturer"), one.get("Model")))) for one in devices)
    description = _text(node, "Description")
    return OmeImage(
        channel_names=tuple(names) if stated else (),
        pixel_x_um=length_um(pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit") or "µm"),
        pixel_y_um=length_um(pixels.get("PhysicalSizeY"), pixels.get("PhysicalSizeYUnit") or "µm"),
        bits=_count(pixels.get("SignificantBits"), 0) or None,
        acquired_at_text=_text(node, "AcquisitionDate"),
        description=bare_description(description) if description else None,
        instrument_name=next(filter(None, makers), None),
        software=root.get("Creator"),
        n_channels=n_channels,
        order="".join(order) if sorted(order) == ["C", "T", "Z"] else "CZT",
        sizes={"C": n_channels, "Z": _count(pixels.get("SizeZ")), "T": _count(pixels.get("SizeT"))},
    )


def _spans(root: Any, pixels: Any, image: OmeImage, n_planes: int) -> Iterator[tuple[int, int, int]]:
    """Yield first page, first plane and number of planes of each stretch of pages in this file."""
    own = root.get("UUID")
    for data in _children(pixels, "TiffData"):
        uuid = _text(data, "UUID")
        if uuid and own and uuid != own:
            continue
        plane, stride = 0, 1
        for axis in image.order:
            plane += _count(data.get(f"First{axis}"), 0) * stride
            stride *= image.sizes[axis]
        count = _count(data.get("PlaneCount"), 1 if data.get("IFD") is not None else n_planes)
        yield _count(data.get("IFD"), 0), plane, min(count, n_planes)


def _children(node: Any, name: str) -> Iterator[Any]:
    """Yield the children of a name in whichever version of the schema."""
    return (child for child in node if isinstance(child.tag, str) and child.tag.rpartition("}")[2] == name)


def _text(node: Any, name: str) -> str | None:
    found = next(_children(node, name), None)
    return (found.text or "").strip() or None if found is not None else None


def _count(text: str | None, default: int = 1) -> int:
    """Return a count; the default where none is stated."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else default
