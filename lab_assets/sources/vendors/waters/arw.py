"""Waters Empower raw data export (``.arw``): quoted field names and values, then ``time<TAB>value`` lines.

Belongs here: this format, with labels in one line above their values or in pairs one below the other, tab, comma or semicolon,
and any line ends (Empower writes CR alone); an export method may leave the header out. Does not belong here: PDA exports with a
column per wavelength, which are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.decoding import decode, is_secret, peek_lines, stem
from lab_assets.sources.core.trace_rows import InjectionHeader, Trace, injection_time, parse_points, trace_rows

_KNOWN: Final = frozenset({"samplename", "channel", "dateacquired", "vial", "injection", "samplesetname", "systemname", "acqmethodset"})
_NUMBER_LINE: Final = re.compile(r'"?[+-]?[0-9.,]+(?:[eE][+-]?[0-9]+)?"?(?:\t|;|,|\s).*')
_COLUMNS: Final = 2
_TAKEN: Final = frozenset(
    {"samplename", "channel", "dateacquired", "acquiredby", "operator", "systemname", "instrument", "injectionname", "datafile", "units"}
)


class ArwReader:
    """Reader of Empower ASCII raw data."""

    format: str = "arw"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status")

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: known Empower field names before the first line of numbers."""
        lines = peek_lines(head)[:60]
        if any(line.startswith("[") for line in lines[:1]):  # exports in sections have some of the same fields
            return 0
        at = _first_point(lines)
        fields = _legend(lines[: at if at is not None else len(lines)])
        known = len(_KNOWN & fields.keys())
        # tables of any laboratory have a column of sample names: alone, and without Empower's extension, it says nothing
        if known and (name.casefold().endswith(".arw") or (known > 1 and "samplename" in fields)):
            return min(96, 70 + 10 * known)
        return 30 if name.casefold().endswith(".arw") else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one export: one channel of one injection.

        Raises:
            UnreadableFileError: ``empty``, ``encoding``, ``unsupported``, ``truncated`` or a rule of the trace.
        """
        text = decode(data)
        lines = list(text.lines)
        while lines and not lines[-1].strip():
            lines.pop()
        at = _first_point(lines)
        if at is None:
            raise UnreadableFileError("empty", "the file has a header and no points; export the raw data")
        separator = "\t" if "\t" in lines[at] else ";" if ";" in lines[at] else ","
        wide = sum(bool(cell.strip()) for cell in lines[at].split(separator)) > _COLUMNS
        if wide or any(_key(_cells(line)[0]) == "wavelength" for line in lines[:at]):
            reason = "a PDA export (a column per wavelength) or several channels in one file; export single channels"
            raise UnreadableFileError("unsupported", reason, f"line {at + 1}")
        fields = _legend(lines[:at])
        warnings = [] if fields else ["the file has no header; sample, channel, time and unit are not known"]
        decimal = "," if separator != "," and "," in "".join(lines[at : at + 50]) else "."
        x, y = parse_points(
            lines[at:], range(at + 1, len(lines) + 1), separator=separator, decimal=decimal, last_line_ended=text.last_line_ended
        )
        if not text.last_line_ended:
            warnings.append("the last line has no line end")
        channel = fields.get("channel") or fields.get("channeldescription") or "channel"
        header = _header(fields, channel, context, warnings)
        trace = Trace(name=channel, x=x, y=y, x_unit="min", y_unit=fields.get("units", ""), source_row=at + 1)
        return ReadResult(format=self.format, tables=trace_rows([trace], header), warnings=warnings)


def _first_point(lines: Sequence[str]) -> int | None:
    """Return where the points begin; a line of values below a line of labels may begin with a number too."""
    legend = len(lines) > 1 and len(_cells(lines[0])) == len(_cells(lines[1])) >= 3
    start = 2 if legend and _key(_cells(lines[0])[0]).isalpha() else 0
    return next((index for index in range(start, len(lines)) if lines[index][:1] != '"' and _NUMBER_LINE.fullmatch(lines[index])), None)


def _key(label: str) -> str:
    """Make labels comparable: ``Date Acquired`` and ``DateAcquired`` are one field."""
    return re.sub(r"[^a-z0-9]", "", label.casefold())


def _cells(line: str) -> list[str]:
    separator = "\t" if "\t" in line else ";" if '";' in line or ";" in line else ","
    return [cell.strip().strip("\"'").strip() for cell in line.split(separator)]


def _legend(lines: Sequence[str]) -> dict[str, str]:
    """Return the fields before the points by comparable label; credentials are left out."""
    rows = [_cells(line) for line in lines if line.strip()]
    pairs: list[tuple[str, str]] = []
    labels = _without_empty_end(rows[0]) if rows else []
    values = _without_empty_end(rows[1]) if len(rows) > 1 else []
    in_pairs = len(labels) == _COLUMNS and _key(rows[1][0] if len(rows) > 1 else "") in _KNOWN
    if len(rows) > 1 and len(values) <= len(labels) and not in_pairs and (len(labels) > _COLUMNS or len(values) == len(labels)):
        # a channel without a value at the end of the line leaves it shorter than that of the labels
        pairs = list(zip(labels, [*values, *[""] * (len(labels) - len(values))], strict=True))
    else:
        pairs = [(row[0], row[1]) for row in rows if len(row) == _COLUMNS]
    return {_key(label): value for label, value in pairs if not is_secret(label)}


def _without_empty_end(cells: list[str]) -> list[str]:
    """Return the cells without those behind trailing separators."""
    while cells and not cells[-1]:
        cells = cells[:-1]
    return cells


def _header(fields: dict[str, str], channel: str, context: ReadContext, warnings: list[str]) -> InjectionHeader:
    at_text = fields.get("dateacquired") or None
    dates = [value for key, value in fields.items() if key.endswith(("date", "acquired"))]
    at_utc, zone_known = injection_time(at_text, context, warnings, dates=dates)
    software = fields.get("acqswversion")
    return InjectionHeader(
        injection_name=_injection_name(fields, channel, context),
        sample_name=fields.get("samplename") or None,
        injected_at_text=at_text,
        injected_at_utc=at_utc,
        zone_known=zone_known,
        instrument_name=fields.get("systemname") or fields.get("instrument") or fields.get("instrumentname") or None,
        software=f"Empower {software}" if software else "Empower",
        method_name=fields.get("acqmethodset") or fields.get("instrumentmethodname") or None,
        operator=fields.get("acquiredby") or fields.get("operator") or None,
        rescued={key: value for key, value in fields.items() if value and key not in _TAKEN},
    )


def _injection_name(fields: dict[str, str], channel: str, context: ReadContext) -> str:
    """Return the stated name, else the file's name without a trailing channel, which Empower appends to exports."""
    stated = fields.get("injectionname") or fields.get("datafile")
    if stated:
        return stem(stated)
    name = stem(context.file_name)
    wanted = _key(channel)
    for at in range(len(name) - 1, 0, -1):
        if name[at] in "_-. " and _key(name[at:]) == wanted:
            return name[:at].rstrip("_-. ")
    return name


READERS: Final = (ArwReader(),)
