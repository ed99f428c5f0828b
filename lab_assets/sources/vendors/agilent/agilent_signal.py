"""Agilent signal files: one channel over time, as ChemStation and OpenLab write it (``.ch``, and ``.CH``/``.IT`` inside of ``.dx``).

Belongs here: versions 8, 30, 81, 130, 179 and 181, and every sign that points are missing. Does not belong here: decoding of a body
(``agilent_bodies.py``), folders and containers (``agilent_d.py``, ``agilent_dx.py``), spectra (``agilent_spectra.py``).

A file begins with its version as a length-prefixed string. Texts and numbers stand at fixed offsets of the header, whose length
is at 0x108 in blocks of 512 bytes. Few headers count the points: where the body has no end mark either, a cut file only shows by a
sampling interval that no detector has, while its times, spread between the first and the last, would all be wrong.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.core.trace_rows import FloatArray, check_rising
from lab_assets.sources.vendors.agilent.agilent_bodies import BODIES

MS_PER_MIN: Final = 60_000.0
MAX_SIGNAL_BYTES: Final = 64 << 20
"""A day at 100 Hz, eight bytes a point, stays below."""

_BLOCK: Final = 512
_TRACEABLE_POINTS: Final = 100
"""From so many points on, the sampling interval shows whether some are missing."""

_SHORTEST_INTERVAL_MS: Final = 1.0
"""The fastest detectors, for gas chromatography, give 1000 points a second."""

_ROUND_FROM_MS: Final = 20.0
_ROUND_POINTS: Final = 0.05
"""Times are stated to the millisecond or better: over a whole run that is less than this share of one point."""

_INTERVALS_MS: Final = tuple(
    {3.125 * 2**k for k in range(12)}  # 160 Hz and its halves: diode array, multi wavelength and GC detectors
    | {13.5 * 2**k for k in range(-2, 8)}  # 74 Hz and its halves: fluorescence, refractive index
    | {1000 / 55 * 2**k for k in range(8)}  # 55 Hz and its halves: older variable wavelength detectors
    | {1000 / rate for rate in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 25, 30, 50, 60, 75, 100, 120, 144.93, 150, 200, 240, 250, 300, 500, 1000)}
)
"""Sampling intervals of Agilent's detectors."""


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where a version of the format keeps what."""

    body: Literal["records", "second_differences", "doubles"]
    times: Literal[">ii", ">ff"]
    wide: bool
    header_bytes: int


_LAYOUTS: Final = {
    "8": _Layout(body="records", times=">ii", wide=False, header_bytes=0x400),
    "30": _Layout(body="records", times=">ii", wide=False, header_bytes=0x400),
    "81": _Layout(body="second_differences", times=">ff", wide=False, header_bytes=0x400),
    "130": _Layout(body="records", times=">ii", wide=True, header_bytes=0x1800),
    "179": _Layout(body="doubles", times=">ff", wide=True, header_bytes=0x1800),
    "181": _Layout(body="second_differences", times=">ff", wide=True, header_bytes=0x1800),
}
_NARROW_TEXTS: Final = {
    "file_type": 0x04,
    "sample": 0x18,
    "operator": 0x94,
    "date": 0xB2,
    "detector": 0xD0,
    "method": 0xE4,
    "software": 0x142,
    "version": 0x163,
    "revision": 0x195,
    "unit": 0x244,
    "signal": 0x254,
}
_WIDE_TEXTS: Final = {
    "file_type": 0x15B,
    "sample": 0x35A,
    "operator": 0x758,
    "date": 0x957,
    "detector": 0x9BC,
    "method": 0xA0E,
    "software": 0xC11,
    "version": 0xE11,
    "revision": 0xEDA,
    "vial": 0xFD7,
    "unit": 0x104C,
    "signal": 0x1075,
}
_OLD_ONLY: Final = {"81": frozenset({"software", "version", "revision", "signal"}), "8": frozenset({"software", "version", "revision"})}
"""Texts that a version does not have; other things stand there."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One channel.

    Attributes:
        version: Version of the format, such as ``179``.
        x: Times, minutes, shape ``(n_points,)``.
        y: Values in ``texts["unit"]``, shape ``(n_points,)``.
        scale: Factor from the stored numbers to ``y``, already applied.
        texts: Texts of the header that say something: ``sample``, ``operator``, ``date``, ``method``, ``unit``, ``signal`` ...
    """

    version: str
    x: FloatArray
    y: FloatArray
    scale: float
    texts: Mapping[str, str] = field(default_factory=dict[str, str])


def version_of(data: bytes) -> str:
    """Return the version a file begins with, empty when it does not begin like a file of Agilent's."""
    length = data[0] if data else 0
    digits = data[1 : 1 + length]
    return digits.decode("ascii") if 1 <= length <= 3 and len(digits) == length and digits.isdigit() else ""


def read_signal(data: bytes, place: str, n_points: int | None = None) -> Signal:
    """Read a detector's signal, sampled at a constant interval.

    Args:
        data: The whole file.
        place: Its name, for messages.
        n_points: How many points it has, where something states that.

    Returns:
        The channel, without points when the run wrote none.

    Raises:
        UnreadableFileError: ``unsupported`` for another version, ``truncated`` for missing points, ``not_finite``, ``too_large``.
    """
    version, layout = _layout(data, place)
    texts = _texts(data, version, layout)
    scale, offset = _scaling(data, layout, place)
    body = data[_header_bytes(data, layout) :]
    stored, complete = BODIES[layout.body](body, place)
    if version == "181" and stored.size and not any(body[-2:]):
        stored = stored[:-1]  # a zero word ends the body; it is not a sample
    first, last = struct.unpack_from(layout.times, data, 0x11A)
    x = _times(stored.size, float(first), float(last), place, inclusive=version != "81")
    if n_points is not None:
        _refuse_count(stored.size, n_points, place)
    elif not complete and (stored.size == 0 or stored.size != struct.unpack_from(">I", data, 0x116)[0]):  # GC files count there
        _refuse_missing(stored.size, float(first), float(last), place)
    return Signal(version=version, x=x, y=_values(stored, scale, offset, place), scale=scale, texts=texts)


def read_curve(data: bytes, place: str, n_points: int | None = None) -> Signal:
    """Read an instrument's curve of OpenLab CDS (``.IT``): the header of version 179, then pairs of time and value.

    Args:
        data: The whole part.
        place: Its name, for messages.
        n_points: How many points it has, where something states that.

    Raises:
        UnreadableFileError: as ``read_signal``, or ``descending_x``.
    """
    version, layout = _layout(data, place)
    if layout.body != "doubles":
        raise UnreadableFileError("unsupported", f"a curve of version {version} is not known, only 179", place)
    body = data[_header_bytes(data, layout) :]
    if len(body) % 16:
        raise UnreadableFileError("truncated", "the last point is cut; transfer the file again", place)
    pairs = np.frombuffer(body, "<f8").reshape(-1, 2)
    if n_points is not None:
        _refuse_count(len(pairs), n_points, place)
    scale, offset = _scaling(data, layout, place)
    x = _values(pairs[:, 0] / MS_PER_MIN, 1.0, 0.0, place)
    check_rising(x)
    y = _values(pairs[:, 1], scale, offset, place)
    return Signal(version=version, x=x, y=y, scale=scale, texts=_texts(data, version, layout))


def text_at(data: bytes, offset: int, *, wide: bool) -> str:
    """Return a length-prefixed text of a header; control characters, which some writers leave in, become blanks."""
    length = data[offset] if offset < len(data) else 0
    raw = data[offset + 1 : offset + 1 + length * (2 if wide else 1)]
    text = raw.decode("utf-16-le", errors="replace") if wide else raw.decode("cp1252", errors="replace")
    text = text.split("\x00", 1)[0]
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _layout(data: bytes, place: str) -> tuple[str, _Layout]:
    version = version_of(data)
    layout = _LAYOUTS.get(version)
    if layout is None:
        found = f"version {version}" if version else f"the bytes {data[:4].hex(' ')}"
        raise UnreadableFileError("unsupported", f"{found} at the beginning is no signal file known here; export it as AIA/CDF", place)
    if len(data) < layout.header_bytes:
        raise UnreadableFileError("truncated", "the file is cut within its header; transfer it again", place)
    if len(data) > MAX_SIGNAL_BYTES:
        raise UnreadableFileError("too_large", f"a signal of {len(data)} bytes is no chromatogram", place)
    return version, layout


def _header_bytes(data: bytes, layout: _Layout) -> int:
    """Return the header's length as stated, or the version's usual one where the statement cannot be right."""
    blocks = int(struct.unpack_from(">I", data, 0x108)[0])
    stated = (blocks - 1) * _BLOCK
    return stated if layout.header_bytes <= stated <= len(data) else layout.header_bytes


def _texts(data: bytes, version: str, layout: _Layout) -> dict[str, str]:
    offsets = _WIDE_TEXTS if layout.wide else _NARROW_TEXTS
    absent = _OLD_ONLY.get(version, frozenset[str]())
    found = {name: text_at(data, offset, wide=layout.wide) for name, offset in offsets.items() if name not in absent}
    return {name: text for name, text in found.items() if text}


def _scaling(data: bytes, layout: _Layout, place: str) -> tuple[float, float]:
    """Return factor and offset from stored numbers to values."""
    offset, scale = struct.unpack_from(">dd", data, 0x1274 if layout.wide else 0x27C)
    if not math.isfinite(scale) or scale == 0 or not math.isfinite(offset):
        raise UnreadableFileError("not_finite", f"the scaling factor {scale} cannot be right; transfer the file again", place)
    return float(scale), float(offset)


def _times(n_points: int, first_ms: float, last_ms: float, place: str, *, inclusive: bool) -> FloatArray:
    """Spread the points between the first and the last time; version 81 states the end of the last interval instead."""
    if n_points == 0:
        return np.empty(0)
    if not (math.isfinite(first_ms) and math.isfinite(last_ms)) or (n_points > 1 and last_ms <= first_ms):
        raise UnreadableFileError("not_finite", f"the times {first_ms} to {last_ms} ms cannot be right; transfer the file again", place)
    return np.linspace(first_ms, last_ms, n_points, endpoint=inclusive) / MS_PER_MIN


def _values(stored: FloatArray, scale: float, offset: float, place: str) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):
        values = stored.astype(np.float64) * scale
        values = values + offset if offset else values
    if not np.isfinite(values).all():
        point = int(np.argmin(np.isfinite(values))) + 1
        raise UnreadableFileError("not_finite", "a value is not finite; transfer the file again", f"{place}, point {point}")
    return values


def _refuse_count(n_points: int, n_stated: int, place: str) -> None:
    if n_points != n_stated:
        raise UnreadableFileError("truncated", f"{n_points} points are there, {n_stated} are stated; transfer the file again", place)


def _refuse_missing(n_points: int, first_ms: float, last_ms: float, place: str) -> None:
    """Refuse a body without an end mark whose points, spread over the stated time, lie at no interval of a detector."""
    if n_points == 0 and last_ms > first_ms:
        raise UnreadableFileError("truncated", "the signal has no points; transfer the file again", place)
    if n_points < _TRACEABLE_POINTS:
        return
    span_ms, tolerance = last_ms - first_ms, max(2.0, n_points / 1000)
    interval = span_ms / (n_points - 1)
    known = any(abs(span_ms / each + 1 - n_points) <= tolerance for each in _INTERVALS_MS)
    # a detector that is not listed still samples at a round interval, or at a round rate where that is below 20 ms
    round_ms = float(round(interval)) if interval >= _ROUND_FROM_MS else 1000 / max(round(1000 / interval), 1)
    is_round = interval >= _SHORTEST_INTERVAL_MS and abs(span_ms / round_ms + 1 - n_points) <= _ROUND_POINTS
    if not known and not is_round:
        reason = f"{n_points} points in the stated time are {interval:.6g} ms apart, which no detector samples: points are missing or the times are wrong"
        raise UnreadableFileError("truncated", f"{reason}; transfer the file again", place)


def software_of(texts: Mapping[str, str]) -> str | None:
    """Return data system and version as the header states them."""
    return " ".join(texts[name] for name in ("software", "version", "revision") if name in texts) or None
