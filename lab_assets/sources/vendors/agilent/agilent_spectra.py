"""Agilent diode array files (``.uv``): spectra over time, read as chromatograms where they have few wavelengths.

Belongs here: versions 31 and 131 with records of differences. Does not belong here: hundreds of wavelengths, which are spectra and no
set of chromatograms; OpenLab's records of doubles, whose factor to absorbance public decoders do not agree on.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.core.trace_rows import FloatArray, Trace, check_rising
from lab_assets.sources.vendors.agilent.agilent_signal import MS_PER_MIN, text_at, version_of

MAX_WAVELENGTHS: Final = 64
_RECORD: Final = struct.Struct("<HHIHHH8x")
_DIFFERENCES: Final = 67
_DOUBLES: Final = 70
_ABSOLUTE: Final = -0x8000
_NM: Final = 20
"""Wavelengths are stored in twentieths of a nanometre."""


def read_wavelengths(data: bytes, place: str, first_row: int, warnings: list[str]) -> list[Trace]:
    """Read one trace for each wavelength.

    Args:
        data: The whole file.
        place: Its name.
        first_row: ``source_row`` of the first trace.
        warnings: Appended to when the file is left out.

    Returns:
        The traces; none when the file has more than ``MAX_WAVELENGTHS`` or is of a kind that is not read.

    Raises:
        UnreadableFileError: ``truncated`` for a damaged file with few wavelengths.
    """
    version = version_of(data)
    wide = version == "131"
    start, scale_at, unit_at = (0x1000, 0xC0D, 0xC15) if wide else (0x200, 0x13E, 0x146)
    if version not in {"31", "131"} or len(data) < start + _RECORD.size:
        warnings.append(f"{place} holds spectra of an unknown kind or none, which are not read")
        return []
    tag, _, _, low, high, step = _RECORD.unpack_from(data, start)
    wavelengths = [raw / _NM for raw in range(low, high + 1, step)] if step else []
    if tag != _DIFFERENCES or not 1 <= len(wavelengths) <= MAX_WAVELENGTHS:
        kind = "OpenLab's spectra" if tag == _DOUBLES else "spectra"
        warnings.append(f"{place} holds {kind} of {len(wavelengths)} wavelengths, which are no chromatograms and are not read")
        return []
    n_spectra = int(struct.unpack_from(">I", data, 0x116)[0])
    scale = float(struct.unpack_from(">d", data, scale_at)[0])
    times, values = _spectra(data[start:], n_spectra, (low, high, step), len(wavelengths), place)
    check_rising(times)
    scaled = values * scale
    if not np.isfinite(scaled).all() or scale == 0:
        raise UnreadableFileError("not_finite", f"the scaling factor {scale} cannot be right; transfer the file again", place)
    return [
        Trace(
            name=f"{place.rpartition('.')[0]} {wavelength:g} nm",
            x=times,
            y=scaled[:, column].copy(),
            x_unit="min",
            y_unit=text_at(data, unit_at, wide=wide),
            source_row=first_row + column,
            rescued={"file": place, "format_version": version, "scaling_factor": repr(scale)},
            status=False,
        )
        for column, wavelength in enumerate(wavelengths)
    ]


def _spectra(body: bytes, n_spectra: int, grid: tuple[int, int, int], n_values: int, place: str) -> tuple[FloatArray, FloatArray]:
    """Decode records of differences, each beginning anew from 0; their stated length must be what they take."""
    if not 0 < n_spectra <= len(body) // _RECORD.size:
        reason = f"{n_spectra} spectra are stated, which the file cannot hold: the run was broken off or the file is cut"
        raise UnreadableFileError("truncated", reason, place)
    times = np.empty(n_spectra)
    values = np.empty((n_spectra, n_values))
    at = row = 0
    try:
        for row in range(n_spectra):
            tag, length, time_ms, *found = _RECORD.unpack_from(body, at)
            end = at + length
            times[row] = time_ms / MS_PER_MIN
            values[row] = _differences(body[at + _RECORD.size : end], n_values)
            if tag != _DIFFERENCES or tuple(found) != grid or end > len(body):
                raise UnreadableFileError("truncated", "a spectrum is damaged; transfer the file again", f"{place}, spectrum {row + 1}")
            at = end
    except (struct.error, ValueError) as error:
        raise UnreadableFileError("truncated", "a spectrum is cut; transfer the file again", f"{place}, spectrum {row + 1}") from error
    return times, values


def _differences(record: bytes, n_values: int) -> list[int]:
    """Decode one record.

    Raises:
        struct.error: it is too short.
        ValueError: it is too long.
    """
    values: list[int] = []
    at = value = 0
    for _ in range(n_values):
        (word,) = struct.unpack_from("<h", record, at)
        at += 2
        if word == _ABSOLUTE:
            (value,) = struct.unpack_from("<i", record, at)
            at += 4
        else:
            value += word
        values.append(value)
    if at != len(record):
        raise ValueError("bytes are left over")
    return values
