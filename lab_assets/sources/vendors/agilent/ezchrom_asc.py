"""EZChrom and OpenLab EZChrom ASCII export (``.asc``): header lines with one value a channel, then the values of all channels.

Belongs here: this format. The values of the first channel come first, one a line, then those of the second, and so on; times
are not written but follow from each channel's sampling rate. Does not belong here: application of the multiplier of y, which
stays beside the numbers (``Y Axis Title`` may be ``25 µV``: the multiplied signal is in steps of 25 µV).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.decoding import DecodedText, decode, is_secret, looks_cut, peek_lines, shorten, stem
from lab_assets.sources.core.quantities import NumberError, parse_number, time_unit
from lab_assets.sources.core.trace_rows import FloatArray, InjectionHeader, Trace, check_rising, injection_time, trace_rows
from lab_assets.sources.core.xml_text import without_folders

_HEADER_LINE: Final = re.compile(r"(?P<key>[A-Za-z][A-Za-z0-9 /#._()-]*):(?P<rest>.*)")
_PER_CHANNEL: Final = frozenset(
    {"Sampling Rate", "Total Data Points", "X Axis Title", "Y Axis Title", "X Axis Multiplier", "Y Axis Multiplier"}
)
_TAKEN: Final = frozenset({*_PER_CHANNEL, "Sample ID", "Data File", "Method", "Acquisition Date and Time", "Version", "Maxchannels"})
_SECONDS_BY_UNIT: Final = {"s": 1.0, "min": 60.0}
_MULTIPLIER_TOLERANCE: Final = 0.01
"""The multiplier of x is written with few digits (``0.016667`` for 1/60); beyond this share it says something else than the unit."""


@dataclass(frozen=True, kw_only=True)
class _Header:
    """The header lines, and how the file writes fields and numbers."""

    fields: dict[str, list[str]]
    lines: dict[str, int]
    decimal: str
    end: int

    def text(self, key: str) -> str | None:
        """Return the text of a line with a single value."""
        values = self.fields.get(key, [])
        return " ".join(value for value in values if value) or None

    def title(self, key: str, channel: int) -> str:
        """Return the text of one channel, empty when the line has none for it."""
        values = self.fields.get(key, [])
        return values[channel] if channel < len(values) else ""

    def numbers(self, key: str, unit: str | None = None) -> list[float]:
        """Return one number a channel, without the unit that ends the line.

        Raises:
            UnreadableFileError: ``missing_section``, ``unsupported`` for another unit, ``not_a_number`` or ``not_finite``.
        """
        values = self.fields.get(key)
        if values is None:
            raise UnreadableFileError("missing_section", f"the header has no line {key!r}; export the file again")
        place = f"line {self.lines[key]}"
        if unit is not None:
            if values[-1].casefold().rstrip(".") != unit:
                raise UnreadableFileError("unsupported", f"{key!r} is expected in {unit}, found {shorten(values[-1])}", place)
            values = values[:-1]
        try:
            return [parse_number(value, self.decimal) for value in values]
        except NumberError as error:
            raise UnreadableFileError(error.rule, f"{key}: {error}", place) from error


class EzchromAscReader:
    """Reader of EZChrom ASCII exports."""

    format: str = "ezchrom_asc"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status")

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: header lines no other export has."""
        del name
        lines = peek_lines(head)[:40]
        if not any(line.startswith("Sampling Rate") for line in lines):
            return 0
        keys = {match["key"] for line in lines if (match := _HEADER_LINE.match(line))}
        if {"Maxchannels", "Sampling Rate"} <= keys:
            return 100
        return 95 if {"Sampling Rate", "Total Data Points", "Y Axis Multiplier"} <= keys else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one export: every channel of one injection.

        Raises:
            UnreadableFileError: ``empty``, ``encoding``, ``truncated``, ``missing_section``, ``unsupported``, ``too_large``,
                ``not_a_number`` or ``not_finite``.
        """
        text = decode(data)
        header = _split(text.lines)
        warnings: list[str] = []
        traces = _traces(text, header, warnings)
        if not text.last_line_ended:
            warnings.append("the last line has no line end")
        if not traces:
            raise UnreadableFileError("empty", "no channel of the file has points; export it again")
        return ReadResult(format=self.format, tables=trace_rows(traces, _injection(header, context, warnings)), warnings=warnings)


def _split(lines: Sequence[str]) -> _Header:
    """Read the header lines, which end where the first number stands alone."""
    fields: dict[str, list[str]] = {}
    numbers: dict[str, int] = {}
    end = 0
    for index, line in enumerate(lines[:200]):
        match = _HEADER_LINE.match(line)
        if match is None:
            if line.strip():
                break
            continue
        end = index + 1
        key, rest = match["key"].strip(), match["rest"]
        if is_secret(key) or key in fields:
            continue
        fields[key] = _line_values(key, rest)
        numbers[key] = index + 1
    rates = fields.get("Sampling Rate", [])
    decimal = "," if any("," in rate for rate in (*rates, *fields.get("Y Axis Multiplier", []))) else "."
    return _Header(fields=fields, lines=numbers, decimal=decimal, end=end)


def _line_values(key: str, rest: str) -> list[str]:
    """Return the values behind a key; only lines with one value a channel are cut at commas and semicolons."""
    separator = rest[:1] if rest.startswith((",", ";")) and key in _PER_CHANNEL else "\t"
    cells = rest.removeprefix(separator).split(separator) if rest.startswith(separator) else [rest.lstrip(" ,;")]
    values = [cell.strip().strip('"') for cell in cells]
    while len(values) > 1 and not values[-1]:
        values.pop()
    return values


def _traces(text: DecodedText, header: _Header, warnings: list[str]) -> list[Trace]:
    """Cut the values into channels."""
    counts = [_count(value) for value in header.numbers("Total Data Points", "pts")]
    rates_hz, factors = header.numbers("Sampling Rate", "hz"), header.numbers("Y Axis Multiplier")
    for key, values in (("Sampling Rate", rates_hz), ("Y Axis Multiplier", factors)):
        if len(values) != len(counts):
            reason = f"{key!r} has {len(values)} values for {len(counts)} channels; export the file again with tabs"
            raise UnreadableFileError("truncated", reason, f"line {header.lines[key]}")
    y = _values(text, header, sum(counts))
    traces: list[Trace] = []
    start = 0
    for channel, count in enumerate(counts):
        if count:
            unit = header.title("X Axis Title", channel)
            trace = Trace(
                name=f"Channel {channel + 1}",
                x=_times(count, rates_hz[channel], unit, channel),
                y=y[start : start + count].copy(),
                x_unit=unit,
                y_unit=header.title("Y Axis Title", channel),
                y_factor=factors[channel],
                source_row=header.end + start + 1,
                rescued={"Sampling Rate (Hz)": header.fields["Sampling Rate"][channel]},
            )
            traces.append(trace)
        start += count
    _compare_multipliers(header, warnings)
    return traces


def _count(value: float) -> int:
    if value < 0 or value != math.floor(value):
        raise UnreadableFileError("not_a_number", f"'Total Data Points' is {value:g}; a whole number is needed")
    return int(value)


def _values(text: DecodedText, header: _Header, stated: int) -> FloatArray:
    """Read the values of all channels, one a line, and compare their count with the stated one."""
    lines = text.lines[header.end :]
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) != stated:
        reason = f"{stated} points are stated, {len(lines)} values are there; transfer the file again"
        raise UnreadableFileError("truncated", reason, f"line {header.end + len(lines)}")
    last = [line.strip().replace(header.decimal, ".") for line in lines[-21:]]
    if not text.last_line_ended and len(last) > 1 and looks_cut(last[:-1], last[-1]):
        reason = f"the last number, {shorten(lines[-1])}, has lost digits; transfer the file again"
        raise UnreadableFileError("truncated", reason, f"line {header.end + len(lines)}")
    plain = "\n".join(lines)
    if plain.isascii() and "_" not in plain and "." not in plain.replace(header.decimal, ""):
        try:
            values = np.fromiter(map(float, plain.replace(header.decimal, ".").split("\n")), dtype=np.float64, count=len(lines))
        except ValueError:
            pass  # the slow way names the line
        else:
            if np.isfinite(values).all():
                return values
    values = np.empty(len(lines))
    for index, line in enumerate(lines):
        try:
            values[index] = parse_number(line, header.decimal)
        except NumberError as error:
            raise UnreadableFileError(error.rule, str(error), f"line {header.end + index + 1}") from error
    return values


def _times(count: int, rate_hz: float, unit: str, channel: int) -> FloatArray:
    """Return the times of a channel in its stated unit: point ``i`` is taken ``i / rate`` seconds after the start."""
    known = time_unit(unit)
    if known is None:
        raise UnreadableFileError("unsupported", f"'X Axis Title' is {shorten(unit)}; minutes or seconds are expected")
    if rate_hz <= 0:
        raise UnreadableFileError("not_a_number", f"the sampling rate of channel {channel + 1} is {rate_hz:g} Hz; times are unknown")
    x = np.arange(count, dtype=np.float64) / (rate_hz * _SECONDS_BY_UNIT[known])
    if not np.isfinite(x).all():
        raise UnreadableFileError("not_finite", f"the sampling rate of channel {channel + 1}, {rate_hz:g} Hz, gives no finite times")
    check_rising(x)
    return x


def _compare_multipliers(header: _Header, warnings: list[str]) -> None:
    """Warn where the multiplier of x contradicts the unit of x."""
    multipliers = header.numbers("X Axis Multiplier") if "X Axis Multiplier" in header.fields else []
    for channel, multiplier in enumerate(multipliers):
        unit = header.title("X Axis Title", channel)
        known = time_unit(unit)
        if known is not None and abs(multiplier * _SECONDS_BY_UNIT[known] - 1) > _MULTIPLIER_TOLERANCE:
            warnings.append(f"X Axis Multiplier {multiplier:g} does not turn seconds into {unit}; times are from the sampling rate")


def _injection(header: _Header, context: ReadContext, warnings: list[str]) -> InjectionHeader:
    at_text = header.text("Acquisition Date and Time")
    at_utc, zone_known = injection_time(at_text, context, warnings)
    version = header.text("Version")
    return InjectionHeader(
        injection_name=stem(header.text("Data File") or "") or stem(context.file_name),
        sample_name=header.text("Sample ID"),
        injected_at_text=at_text,
        injected_at_utc=at_utc,
        zone_known=zone_known,
        instrument_name=header.text("Instrument"),
        software=f"EZChrom (ASCII export version {version})" if version else "EZChrom",
        method_name=stem(header.text("Method") or "") or None,
        rescued={key: without_folders(header.text(key) or "") for key in header.fields if key not in _TAKEN and header.text(key)},
    )


READERS: Final = (EzchromAscReader(),)
