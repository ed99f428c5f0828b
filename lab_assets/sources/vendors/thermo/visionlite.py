"""Thermo VISIONlite exports (``.csv``): readings at fixed wavelengths, quantification and spectra.

Belongs here: this format. Does not belong here: kinetic runs (``min,A``), which are refused.

The file is read here and not by ``allotropy``, whose parser calls every absorbance mAU, drops a result of zero, takes ``A260/A280`` for
the reading at 260 nm, and passes over columns whose heading it does not expect. Quantities and the numbers of measurements are those
of its documents: each reading of a sample is a measurement of its own, and what was worked out belongs to the sample's first.
Exports without a header have no time of measurement.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lab_assets.sources.base import ReadContext, ReadResult, Row, UnreadableFileError
from lab_assets.sources.core.decoding import DecodedText, base_name, decode, is_secret, looks_cut, peek_lines, shorten
from lab_assets.sources.core.quantities import NumberError, parse_number
from lab_assets.sources.core.trace_rows import injection_time

_SAMPLE_HEADINGS: Final = ("sample name", "well position")
_MAX_LINES: Final = 100_000
"""Most samples of a table and most points of a spectrum."""
_MAX_CELLS: Final = 200
_READING: Final = re.compile(r"(?:(?P<nm>\d+(?:\.\d+)?) nm|A(?P<a>\d{3,4})|Ordinate|Absorbance)(?:\s*\[(?P<unit>[^\]]*)\])?")
_BESIDE: Final = re.compile(r"Result|Error|Factor|Ratio|Comments?|Dilution factor|Concentration.*|A\d{3,4}\s*/\s*A\d{3,4}")
"""Headings of columns beside the readings."""
_BRACKET: Final = re.compile(r"(?P<name>.*?)\s*\[(?P<unit>[^\]]*)\]")
_ORDINATES: Final = {"": "absorbance", "A": "absorbance", "%T": "transmittance"}
"""Quantity by unit of a reading."""
_MASS: Final = re.compile(r"(?:[fpnuµμmk]?g)/.+")
_WITH_COMMA: Final = re.compile(r"[+-]?\d+,\d+")
_WITH_POINT: Final = re.compile(r"[+-]?\d+\.\d+")
_DESCRIBING: Final = frozenset({"dilution factor", "error", "comment", "comments", "cell", "position", "date", "time"})
"""Columns that describe a sample; their numbers are not its results."""
_HEADER_CELLS: Final = ("file name", "sample name", "analyst", "time", "instrument", "instrument serial number", "instrument version")
_KEPT: Final = ("file name", "instrument serial number", "instrument version")


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column of a table of samples.

    Attributes:
        quantity: What it holds; ``None`` for text about the sample.
        unit: As the heading states it.
        position: Wavelength, where the heading states one.
        reading: Whether it is what the instrument read, and not worked out of that.
    """

    quantity: str | None
    unit: str = ""
    position: str | None = None
    reading: bool = False


@dataclass(frozen=True, kw_only=True)
class _Lines:
    """The lines of a file that are not empty, as cells.

    Attributes:
        cells: Cells by line, blanks around them left out.
        numbers: Their numbers in the file, from 1.
        decimal: Decimal mark.
        ended: Whether the last line has a line end.
    """

    cells: Sequence[Sequence[str]]
    numbers: Sequence[int]
    decimal: str
    ended: bool


class VisionliteReader:
    """Reader of VISIONlite exports."""

    format: str = "visionlite"
    tables: tuple[str, ...] = ("measurements",)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: a heading of readings beside the sample, or a spectrum below its header."""
        del name
        lines = [line for line in peek_lines(head)[:3] if line.strip()]
        if len(lines) < 2:
            return 0
        cells = _cells(lines[0], _separator(lines[0]))
        if cells[0].casefold() in _SAMPLE_HEADINGS:
            readings = [match for cell in cells[1:] if (match := _READING.fullmatch(cell)) and (match["unit"] or "") in _ORDINATES]
            if any(match["unit"] for match in readings):
                return 90
            # other instruments write bare headings too; an Empower export may begin with the name of the sample, and is sure of it
            return 82 if readings and all(_READING.fullmatch(cell) or _BESIDE.fullmatch(cell) for cell in cells[1:] if cell) else 0
        if len(cells) < 4:
            return 0
        heading = _cells(lines[1], _separator(lines[1]))
        known = len(heading) == 2 and heading[1] in _ORDINATES
        return 90 if known and heading[0] == "nm" else 60 if known and heading[0] == "min" else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one export.

        Raises:
            UnreadableFileError: ``empty``, ``encoding``, ``unsupported`` for kinetic runs, ``truncated``, ``too_large``,
                ``duplicate_column``, ``not_a_number`` or ``not_finite`` for points of a spectrum.
        """
        lines = _lines(decode(data))
        warnings: list[str] = []
        rows = _table(lines, warnings) if lines.cells[0][0].casefold() in _SAMPLE_HEADINGS else _spectrum(lines, context, warnings)
        if not rows:
            raise UnreadableFileError("empty", "the file holds no reading; export it with its readings")
        for at, row in enumerate(rows, start=1):
            row["source_row"] = at
        return ReadResult(format=self.format, tables={"measurements": rows}, warnings=warnings)


def _separator(line: str) -> str:
    return next((mark for mark in "\t;" if mark in line), ",")


def _cells(line: str, separator: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [""])
    except csv.Error as error:
        raise UnreadableFileError("long_line", f"a line is no line of a table ({error})") from error
    return [cell.strip() for cell in cells] or [""]


def _lines(text: DecodedText) -> _Lines:
    numbers = [at for at, line in enumerate(text.lines, start=1) if line.strip()]
    if len(numbers) > _MAX_LINES:
        raise UnreadableFileError("too_large", f"the export has {len(numbers)} lines, more than {_MAX_LINES}; export fewer into one file")
    lines = [text.lines[at - 1] for at in numbers]
    separator = _separator(lines[0])
    cells = [_cells(line, separator) for line in lines]
    if max(map(len, cells)) > _MAX_CELLS:
        raise UnreadableFileError("too_large", f"a line has more than {_MAX_CELLS} cells")
    # a machine of a country that writes decimal commas writes no point in any number
    commas, points = (any(mark.fullmatch(cell) for line in cells for cell in line) for mark in (_WITH_COMMA, _WITH_POINT))
    decimal = "," if separator != "," and commas and not points else "."
    return _Lines(cells=cells, numbers=numbers, decimal=decimal, ended=text.last_line_ended)


def _body(lines: _Lines, heading: int, n_cells: int) -> Iterator[tuple[int, Sequence[str]]]:
    """Return the lines below a heading with their numbers in the file.

    Raises:
        UnreadableFileError: ``truncated`` for a line of other cells than the heading, and for a last value that lost digits.
    """
    below = lines.cells[heading + 1 :]
    for number, cells in zip(lines.numbers[heading + 1 :], below, strict=True):
        if len(cells) < n_cells or any(cells[n_cells:]):
            reason = f"{len(cells)} cells under {n_cells} headings; export or transfer the file again"
            raise UnreadableFileError("truncated", reason, f"line {number}")
        yield number, cells
    last = [cells[n_cells - 1] for cells in below]
    if not lines.ended and len(last) > 1 and looks_cut(last[:-1], last[-1]):
        raise UnreadableFileError("truncated", f"the last value, {last[-1]!r}, has lost digits; transfer the file again", "last line")


def _table(lines: _Lines, warnings: list[str]) -> list[Row]:
    """Return the values of a table of samples, line by line."""
    headings = list(lines.cells[0])
    while not headings[-1]:
        headings.pop()
    body = list(_body(lines, 0, len(headings)))
    columns = [_column(heading, [cells[at] for _, cells in body], lines.decimal) for at, heading in enumerate(headings)]
    _refuse_twice(columns[1:], headings[1:])
    common = _common(None)
    rows: list[Row] = []
    number = left_out = 0
    for _, cells in body:
        named = list(zip(headings, columns, cells, strict=False))[1:]
        about = {heading: cell for heading, column, cell in named if column.quantity is None and cell and not is_secret(heading)}
        shared = {**common, "sample_name": cells[0] or None, "rescued": about}
        first = number + 1
        for _, column, cell in named:
            if column.quantity is None:
                continue
            number += column.reading
            if not cell:
                left_out += 1
                continue
            value = _number(cell, lines.decimal)
            own = {"quantity": column.quantity, "unit": column.unit, "position": column.position}
            own |= {"value": value, "value_text": None if value is not None else cell}
            rows.append({**shared, **own, "measurement_no": number if column.reading else first})
        number = max(number, first)
    if left_out:
        warnings.append(f"{left_out} results without a value are left out")
    return rows


def _column(heading: str, cells: Sequence[str], decimal: str) -> _Column:
    """Return what a column holds, by its heading; one of an unknown heading holds results where all its cells are numbers."""
    match = _READING.fullmatch(heading)
    if match is not None and (quantity := _ORDINATES.get(match["unit"] or "")) is not None:
        wavelength = match["nm"] or match["a"]
        position = f"{wavelength} nm" if wavelength else None
        return _Column(quantity=quantity, unit=match["unit"] or "", position=position, reading=True)
    bracket = _BRACKET.fullmatch(heading)
    name, unit = (bracket["name"], bracket["unit"]) if bracket else (heading, "")
    stated = [cell for cell in cells if cell]
    if name.casefold() == "concentration":
        return _Column(quantity="mass concentration" if _MASS.fullmatch(unit) else "concentration", unit=unit)
    numeric = bool(stated) and all(_number(cell, decimal) is not None for cell in stated)
    return _Column(quantity=name if name and numeric and name.casefold() not in _DESCRIBING else None, unit=unit)


def _refuse_twice(columns: Sequence[_Column], headings: Sequence[str]) -> None:
    seen: dict[object, str] = {}
    for column, heading in zip(columns, headings, strict=True):
        key = heading if column.quantity is None else (column.quantity, column.position)
        if heading and key in seen:
            both = f"{shorten(seen[key])} and {shorten(heading)}"
            raise UnreadableFileError("duplicate_column", f"two columns hold the same: {both}; export one of them", "line 1")
        seen[key] = heading


def _spectrum(lines: _Lines, context: ReadContext, warnings: list[str]) -> list[Row]:
    """Return the points of a spectrum, below a line about the sample and the heading of the points."""
    stated: dict[str, str] = dict(zip(_HEADER_CELLS, lines.cells[0], strict=False))
    heading = lines.cells[1] if len(lines.cells) > 1 else [""]
    quantity = _ORDINATES.get(heading[1]) if len(heading) == 2 and heading[0] == "nm" else None
    if quantity is None:
        what = "a kinetic run over time" if heading[0] == "min" else f"neither a table of samples nor a spectrum ({shorten(heading[0])})"
        raise UnreadableFileError("unsupported", f"the export is {what}; readings at wavelengths and spectra are read", "line 2")
    common = _common(stated)
    at_text = stated.get("time") or None
    at_utc, zone_known = injection_time(at_text, context, warnings)
    common |= {"measured_at_text": at_text, "measured_at_utc": at_utc, "zone_known": zone_known, "measurement_no": 1}
    rows: list[Row] = []
    for number, (x, y, *_) in _body(lines, 1, 2):
        try:
            wavelength, value = parse_number(x, lines.decimal), parse_number(y, lines.decimal)
        except NumberError as error:
            raise UnreadableFileError(error.rule, str(error), f"line {number}") from error
        position = f"{wavelength:.15g} nm"
        rows.append({**common, "quantity": quantity, "value": value, "value_text": None, "unit": heading[1], "position": position})
    return rows


def _common(stated: Mapping[str, str] | None) -> Row:
    """Return what all values of a file share; ``None`` for a file that has no header."""
    stated = stated or {}
    kept = {key: base_name(stated[key]) for key in _KEPT if stated.get(key)}
    return {
        "technique": "spectrophotometry",
        "sample_name": stated.get("sample name") or None,
        "operator": stated.get("analyst") or None,
        "measured_at_text": None,
        "measured_at_utc": None,
        "zone_known": False,
        "instrument_name": stated.get("instrument") or None,
        "software": "VISIONlite",
        "method_name": None,
        "rescued": {"experiment type": "Scan", **kept} if stated else {},
    }


def _number(text: str, decimal: str) -> float | None:
    try:
        return parse_number(text, decimal)
    except NumberError:
        return None


READERS: Final = (VisionliteReader(),)
