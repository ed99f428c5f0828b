"""Thermo Chromeleon 7 text export: header fields in blocks, then a table of time, step and value.

Belongs here: this format, in the number and date habits of English and German machines. A file that has fewer points than it
states but ends with a whole line was shortened on purpose by its exporter (a time range) and is read with a warning; one whose
last line is cut as well is refused. Does not belong here: unit conversion.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.decoding import decode, is_secret, peek_lines, stem
from lab_assets.sources.moments import infer_order
from lab_assets.sources.traces import InjectionHeader, Trace, injection_time, parse_points, trace_rows

_DATA_TITLES: Final = ("chromatogram data:", "chromatogrammdaten:", "chromatogramm-daten:")
_BLOCK_TITLES: Final = ("injection information:", "chromatogram data information:", "injektionsinformationen:", "injektionsinformation:")
_UNIT: Final = re.compile(r"\(([^()]*)\)\s*$")
_GERMAN: Final = {
    "kanal": "channel",
    "injektion": "injection",
    "injektionsdatum": "injection date",
    "injektionszeit": "injection time",
    "verarbeitungsmethode": "processing method",
    "auswertemethode": "processing method",
    "instrumentenmethode": "instrument method",
    "gerätemethode": "instrument method",
    "datenpunkte": "data points",
    "detektor": "detector",
    "bediener": "operator",
    "signaleinheit": "signal unit",
    "erzeugendes datensystem": "generating data system",
    "dateipfad": "file path",
    "probenname": "sample name",
    "gerät": "instrument",
}
_TAKEN: Final = frozenset(
    {"file path", "channel", "injection", "injection date", "injection time", "operator", "signal unit", "generating data system"}
)


class ChromeleonTextReader:
    """Reader of Chromeleon 7 text exports."""

    format: str = "chromeleon_text"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status")

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: its block titles or a chrom:// path."""
        del name
        lines = [line.strip().casefold() for line in peek_lines(head)[:80]]
        blocks = sum(line in _BLOCK_TITLES or line in _DATA_TITLES for line in lines)
        path = any("chrom://" in line for line in lines[:3])
        return 100 if blocks >= 2 or (blocks and path) else 80 if blocks or path else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one export: one channel of one injection.

        Raises:
            UnreadableFileError: ``empty``, ``encoding``, ``truncated``, ``missing_column`` or a rule of the trace.
        """
        text = decode(data)
        lines = list(text.lines)
        while lines and not lines[-1].strip():
            lines.pop()
        at = next((index for index, line in enumerate(lines) if line.strip().casefold() in _DATA_TITLES), None)
        if at is None or len(lines) <= at + 2:
            rule = "truncated" if at is None or not text.last_line_ended else "empty"
            raise UnreadableFileError(rule, "the file has no chromatogram data; export it again")
        fields = _fields(lines[:at])
        warnings: list[str] = []
        trace = _trace(lines, at, fields, last_line_ended=text.last_line_ended)
        _compare_count(fields.get("data points"), len(trace.x), warnings, last_line_ended=text.last_line_ended)
        header = _header(fields, context, warnings)
        return ReadResult(format=self.format, tables=trace_rows([trace], header), warnings=warnings)


def _fields(lines: Sequence[str]) -> dict[str, str]:
    """Return the header fields by English name in lower case; the first of two wins."""
    fields: dict[str, str] = {}
    for line in lines:
        key, found, value = line.partition("\t")
        if found and not is_secret(key):
            name = key.strip().lower()  # casefold would turn the micro sign into a Greek letter
            fields.setdefault(_GERMAN.get(name, name), value.strip())
    return fields


def _trace(lines: Sequence[str], at: int, fields: dict[str, str], *, last_line_ended: bool) -> Trace:
    names = [name.strip() for name in lines[at + 1].split("\t")]
    lower = [name.casefold() for name in names]
    at_x = next((index for index, name in enumerate(lower) if name.startswith(("time", "zeit"))), None)
    at_y = next((index for index, name in enumerate(lower) if name.startswith(("value", "wert", "signal"))), None)
    if at_x is None or at_y is None:
        raise UnreadableFileError("missing_column", f"a time and a value column are needed, found {names}", f"line {at + 2}")
    points = lines[at + 2 :]
    first = points[0].split("\t")
    decimal = "," if any("," in first[index] for index in (at_x, at_y) if index < len(first)) else "."
    x, y = parse_points(points, range(at + 3, len(lines) + 1), columns=(at_x, at_y), decimal=decimal, last_line_ended=last_line_ended)
    x_unit, y_unit = _UNIT.search(names[at_x]), _UNIT.search(names[at_y])
    return Trace(
        name=fields.get("channel") or fields.get("detector") or "channel",
        x=x,
        y=y,
        x_unit=x_unit[1] if x_unit else "",
        y_unit=fields.get("signal unit") or (y_unit[1] if y_unit else ""),
        source_row=at + 3,
    )


def _compare_count(stated: str | None, found: int, warnings: list[str], *, last_line_ended: bool) -> None:
    if not stated or not stated.isdecimal() or int(stated) == found:
        return
    if found < int(stated) and not last_line_ended:
        raise UnreadableFileError("truncated", f"{stated} points are stated, {found} are there, and the last line is not ended")
    warnings.append(f"{stated} points are stated, {found} are there")


def _header(fields: dict[str, str], context: ReadContext, warnings: list[str]) -> InjectionHeader:
    at_text = " ".join(part for part in (fields.get("injection date"), fields.get("injection time")) if part) or None
    order, proven = infer_order([at_text or ""])
    if order is not None and not proven:
        warnings.append(f"{at_text!r}: month first is assumed from the 12 h clock")
    at_utc, zone_known = injection_time(at_text, context.zone, warnings, order=order)
    injection = fields.get("injection") or stem(context.file_name)
    return InjectionHeader(
        injection_name=injection,
        sample_name=fields.get("sample name") or fields.get("injection") or None,
        injected_at_text=at_text,
        injected_at_utc=at_utc,
        zone_known=zone_known,
        instrument_name=fields.get("instrument") or _instrument(fields.get("file path", "")),
        software=fields.get("generating data system") or None,
        method_name=fields.get("instrument method") or fields.get("processing method") or None,
        operator=fields.get("operator") or None,
        rescued={key: value for key, value in fields.items() if value and key not in _TAKEN},
    )


def _instrument(path: str) -> str | None:
    """Return the folder below ``Instrument Data`` in a Chromeleon path, which is the instrument's name."""
    match = re.search(r"/Instrument Data/([^/]+)/", path)
    return match[1] if match else None
