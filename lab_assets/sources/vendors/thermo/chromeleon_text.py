"""Thermo Chromeleon text export (versions 6 and 7): header fields in blocks, then a table of time, step and value.

Belongs here: this format, in the number and date habits of English and German machines: decimal marks, thousands separators that
cannot be mistaken for them, ``n.a.`` for no value. Several data blocks, each below its own header, are several channels. A file
that has fewer points than it states but ends with a whole line was shortened on purpose by its exporter (a time range) and is read
with a warning; one whose last line is cut as well is refused. Does not belong here: unit conversion; PDA exports with a column per
wavelength, which are refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from lab_assets.sources.base import ReadContext, ReadResult, Row, UnreadableFileError
from lab_assets.sources.core.decoding import base_name, decode, is_secret, peek_lines, stem
from lab_assets.sources.core.trace_rows import InjectionHeader, Trace, injection_time, parse_points, trace_rows
from lab_assets.sources.core.xml_text import without_folders

_DATA_TITLES: Final = ("chromatogram data:", "chromatogrammdaten:", "chromatogramm-daten:")
_DATA_TITLE_6: Final = "raw data:"
"""Title of the data in version 6; the words are so common that the names of the columns must follow."""
_BLOCK_TITLES: Final = (
    *("injection information:", "chromatogram data information:", "injektionsinformationen:", "injektionsinformation:"),
    *("raw data header information:", "signal parameter information:"),
)
_TITLE: Final = re.compile(r"[^\t]+:")
_NO_VALUE: Final = frozenset({"n.a.", "n.a", "n/a", "na"})
_GROUPED: Final = {
    ",": re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+"),
    ".": re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]+"),
}
"""By decimal mark: a number with thousands separators that nothing else can mean, since both marks are in it."""
_GROUPED_COUNT: Final = re.compile(r"[0-9]{1,3}(?:[.,' \u00a0\u202f][0-9]{3})+")
_SEARCHED_POINTS: Final = 50
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
_VERSION_6: Final = {
    "filepath": "file path",
    "sample": "injection",
    "date": "injection date",
    "time": "injection time",
    "pgm file": "instrument method",
    "qnt method": "processing method",
    "signal dimension": "signal unit",
    "signal unit": "signal quantity",
}
"""Fields of version 6 by the names of version 7; its ``Signal Unit`` is a quantity such as ``Absorbance``."""
_TAKEN: Final = frozenset(
    {"file path", "channel", "injection", "injection date", "injection time", "operator", "signal unit", "generating data system"}
)


class ChromeleonTextReader:
    """Reader of Chromeleon text exports."""

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
        """Read one export: usually one channel of one injection.

        Raises:
            UnreadableFileError: ``empty``, ``encoding``, ``truncated``, ``missing_column``, ``unsupported`` or a rule of the trace.
        """
        text = decode(data)
        lines = list(text.lines)
        while lines and not lines[-1].strip():
            lines.pop()
        blocks = _blocks(lines)
        if not blocks or any(block.end <= block.at + 2 for block in blocks):
            rule = "truncated" if not blocks or not text.last_line_ended else "empty"
            raise UnreadableFileError(rule, "the file, or one of its blocks, has no chromatogram data; export it again")
        warnings: list[str] = []
        if rest := [line.strip() for line in lines[blocks[-1].end :] if _TITLE.fullmatch(line.strip())]:
            warnings.append(f"not read: {', '.join(rest)}")
        common = _fields(lines[: blocks[0].at])
        tables: dict[str, list[Row]] = {}
        channels: Counter[tuple[str, str]] = Counter()
        for block in blocks:
            fields = {**common, **_fields(lines[block.start : block.at])}
            ended = text.last_line_ended or block.end < len(lines)
            trace, n_points = _trace(lines, block, fields, warnings, last_line_ended=ended)
            _compare_count(fields.get("data points"), n_points, warnings, last_line_ended=ended)
            header = _header(fields, context, warnings)
            channels[header.injection_name, trace.name] += 1
            if (number := channels[header.injection_name, trace.name]) > 1:
                trace = replace(trace, name=f"{trace.name} #{number}")
            for table, rows in trace_rows([trace], header).items():
                tables.setdefault(table, []).extend(rows)
        return ReadResult(format=self.format, tables=tables, warnings=list(dict.fromkeys(warnings)))


@dataclass(frozen=True, kw_only=True)
class _Block:
    """One block of data: where its header begins, where its title is, and where its points end (positions from 0)."""

    start: int
    at: int
    end: int


def _blocks(lines: Sequence[str]) -> list[_Block]:
    """Find the data blocks; behind one, an empty line and another title may follow."""
    blocks: list[_Block] = []
    for at, line in enumerate(lines):
        if _is_data_title(lines, at, line):
            start = blocks[-1].end if blocks else 0
            blocks.append(_Block(start=start, at=at, end=_end_of_points(lines, at + 2)))
    return blocks


def _is_data_title(lines: Sequence[str], at: int, line: str) -> bool:
    title = line.strip().casefold()
    if title == _DATA_TITLE_6:
        return at + 1 < len(lines) and lines[at + 1].casefold().startswith("time")
    return title in _DATA_TITLES


def _end_of_points(lines: Sequence[str], first: int) -> int:
    for index in range(first, len(lines)):
        if lines[index].strip():
            continue
        following = next((line.strip() for line in lines[index:] if line.strip()), "")
        if _TITLE.fullmatch(following) or following.startswith(("File Path\t", "Filepath\t", "Dateipfad\t", "Channel\t", "Kanal\t")):
            return index
    return len(lines)


def _fields(lines: Sequence[str]) -> dict[str, str]:
    """Return the header fields by English name in lower case; the first of two wins."""
    fields: dict[str, str] = {}
    for line in lines:
        key, found, value = line.partition("\t")
        if found and not is_secret(key):
            name = key.strip().lower()  # casefold would turn the micro sign into a Greek letter
            fields.setdefault(_GERMAN.get(name, name), value.strip())
    if any(line.strip().casefold() == "raw data header information:" for line in lines):
        return _as_version_7(fields)
    return fields


def _as_version_7(fields: dict[str, str]) -> dict[str, str]:
    """Return the fields of version 6 by the names of version 7."""
    renamed = {_VERSION_6.get(name, name): value for name, value in fields.items()}
    system, high, low = (renamed.get(name, "") for name in ("data system", "version high", "version low"))
    version = f"{high.lstrip('0')}.{low}" if high and low else ""
    return {
        **renamed,
        "generating data system": f"{system} {version}".strip(),
        "sequence": base_name(renamed.get("sequence", "")),  # a path without a root, which may name persons
    }


def _trace(lines: Sequence[str], block: _Block, fields: dict[str, str], warnings: list[str], *, last_line_ended: bool) -> tuple[Trace, int]:
    """Return the trace of a block, and how many lines of points it has with those without a value."""
    names, columns = _columns(lines[block.at + 1], f"line {block.at + 2}")
    points, numbers = lines[block.at + 2 : block.end], range(block.at + 3, block.end + 1)
    n_points = len(points)
    points, numbers = _with_values(points, numbers, columns[1], warnings)
    decimal = _decimal(points, columns)
    plain = [_ungrouped(line, columns, decimal) for line in points]
    if plain != list(points):
        warnings.append("thousands separators are left out of the numbers")
    x, y = parse_points(plain, numbers, columns=columns, decimal=decimal, last_line_ended=last_line_ended)
    x_unit, y_unit = (_UNIT.search(names[column]) for column in columns)
    trace = Trace(
        name=fields.get("channel") or fields.get("detector") or "channel",
        x=x,
        y=y,
        x_unit=x_unit[1] if x_unit else "",
        y_unit=fields.get("signal unit") or (y_unit[1] if y_unit else ""),
        source_row=numbers[0],
    )
    return trace, n_points


def _columns(line: str, place: str) -> tuple[list[str], tuple[int, int]]:
    """Return the names of the columns, and the positions of time and value."""
    names = [name.strip() for name in line.split("\t")]
    lower = [name.casefold() for name in names]
    times = [index for index, name in enumerate(lower) if name.startswith(("time", "zeit"))]
    values = [index for index, name in enumerate(lower) if name.startswith(("value", "wert", "signal"))]
    if times and len(values) != 1 and (len(values) > 1 or sum(name[:1].isdigit() for name in names) > 1):
        raise UnreadableFileError("unsupported", "a column per wavelength or signal; export single channels", place)
    if not times or not values:
        raise UnreadableFileError("missing_column", f"a time and a value column are needed, found {names}", place)
    return names, (times[0], values[0])


def _cell(line: str, column: int) -> str:
    cells = line.split("\t", column + 1)
    return cells[column].strip() if column < len(cells) else ""


def _with_values(points: Sequence[str], numbers: range, at_y: int, warnings: list[str]) -> tuple[Sequence[str], range]:
    """Leave out points without a value at both ends of a trace; within it, one refuses the file where the numbers are read."""
    first, last = 0, len(points)
    while first < last and _cell(points[first], at_y).casefold() in _NO_VALUE:
        first += 1
    while last > first and _cell(points[last - 1], at_y).casefold() in _NO_VALUE:
        last -= 1
    if first == last:
        raise UnreadableFileError("empty", "no point of the trace has a value; export it again", f"line {numbers[0]}")
    if first or last < len(points):
        warnings.append(f"{first + len(points) - last} points without a value (n.a.) at the ends of the trace are left out")
    return points[first:last], numbers[first:last]


def _decimal(points: Sequence[str], columns: tuple[int, int]) -> str:
    """Return the decimal mark: a comma in a time, or in a value without a point behind it."""
    for line in points[:_SEARCHED_POINTS]:
        x, y = (_cell(line, column) for column in columns)
        if "," in x or "." in x:
            return "," if x.rfind(",") > x.rfind(".") else "."
        if "," in y or "." in y:
            return "," if y.rfind(",") > y.rfind(".") else "."
    return "."


def _ungrouped(line: str, columns: tuple[int, int], decimal: str) -> str:
    """Return a line without thousands separators in its numbers."""
    mark = "." if decimal == "," else ","
    if mark not in line:
        return line
    cells = line.split("\t")
    for column in columns:
        if column < len(cells) and _GROUPED[decimal].fullmatch(cells[column].strip()):
            cells[column] = cells[column].replace(mark, "")
    return "\t".join(cells)


def _compare_count(stated: str | None, found: int, warnings: list[str], *, last_line_ended: bool) -> None:
    if stated and _GROUPED_COUNT.fullmatch(stated):
        stated = re.sub(r"[^0-9]", "", stated)
    if not stated or not stated.isascii() or not stated.isdigit() or len(stated) > 12 or int(stated) == found:
        return
    if found < int(stated) and not last_line_ended:
        raise UnreadableFileError("truncated", f"{stated} points are stated, {found} are there, and the last line is not ended")
    warnings.append(f"{stated} points are stated, {found} are there")


def _header(fields: dict[str, str], context: ReadContext, warnings: list[str]) -> InjectionHeader:
    at_text = " ".join(part for part in (fields.get("injection date"), fields.get("injection time")) if part) or None
    at_utc, zone_known = injection_time(at_text, context, warnings)
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
        rescued={key: without_folders(value) for key, value in fields.items() if value and key not in _TAKEN},
    )


def _instrument(path: str) -> str | None:
    """Return the folder below ``Instrument Data`` in a Chromeleon path, which is the instrument's name."""
    match = re.search(r"/Instrument Data/([^/]+)/", path)
    return match[1] if match else None


READERS: Final = (ChromeleonTextReader(),)
