"""Agilent (BioTek) Gen5 image exports (``.txt``): features of the wells of one plate, through ``allotropy``.

Belongs here: this format. Does not belong here: the images themselves, which Gen5 exports as TIFF files beside it, or Gen5's
absorbance and fluorescence reads.

The converter reads one plate a file. It counts the columns of a table instead of reading their numbers, keeps the last of two
sections of one name, passes over a table per feature that differs from the first, and takes what is no number (``OVRFLW``, the
``*11*`` of a masked well) for NaN. The tables are therefore read here, and it is shown one plain table of them. It reads the date
month first; the file's own text is read here. Features have no unit in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.decoding import base_name, decode, is_secret, peek_lines, shorten, stem
from lab_assets.sources.core.quantities import NumberError, parse_number
from lab_assets.sources.standards.allotrope_measurements import Prepared, read_measurements

_HEADINGS: Final = ("Experiment File Path:", "Protocol File Path:", "Reader Type:", "Procedure Details")
_MAX_LINES: Final = 5_000
"""Most lines of one plate: 32 rows of a 1536-well plate with 100 features each are 3,200."""
_MAX_CELLS: Final = 500
_MAX_LINE_CHARS: Final = 10_000
_ROW_NAME: Final = re.compile(r"[A-Z]{1,2}")
_LAYOUT: Final = "Layout"
_WITH_COMMA: Final = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_WITH_POINT: Final = re.compile(r"[+-]?\d+\.\d+(?:[eE][+-]?\d+)?")


@dataclass(kw_only=True)
class _Plate:
    """What the sections below the procedure say.

    Attributes:
        features: Cells by row of the plate and feature.
        layout: Cells by row of the plate and field, such as ``Well ID``.
        rescued: Sections of one value, such as the temperature of the read.
        unread: Headings of the other sections.
    """

    features: dict[tuple[str, str], list[str]] = field(default_factory=dict[tuple[str, str], list[str]])
    layout: dict[tuple[str, str], list[str]] = field(default_factory=dict[tuple[str, str], list[str]])
    rescued: dict[str, str] = field(default_factory=dict[str, str])
    unread: list[str] = field(default_factory=list[str])


class Gen5ImageReader:
    """Reader of Gen5 image exports."""

    format: str = "gen5_image"
    tables: tuple[str, ...] = ("measurements",)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: Gen5's headings, and a read of images."""
        del name
        lines = peek_lines(head)
        if not any(line.startswith("Software Version") for line in islice(filter(str.strip, lines), 5)):
            return 0
        known = sum(any(line.startswith(heading) for line in lines) for heading in _HEADINGS)
        image = any(re.match(r"Read\tImage |\t*Image (?:Single|Montage|Z-Stack)", line) for line in lines)
        return 95 if known >= 2 and image else 50 if known >= 2 else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one plate.

        Raises:
            UnreadableFileError: ``empty``, ``encoding``, ``unsupported`` for reads other than images, runs over time, several plates
                and plates whose columns are not counted from 1, ``truncated``, ``duplicate_key``, ``not_a_number`` for two decimal
                marks, ``too_large``, ``long_line``.
        """
        return read_measurements(data, context, file_format=self.format, vendor="AGILENT_GEN5_IMAGE", prepare=_prepare)


def _prepare(data: bytes, context: ReadContext) -> Prepared:
    lines = decode(data).lines
    if len(lines) > _MAX_LINES:
        raise UnreadableFileError("too_large", f"the export has {len(lines)} lines, more than {_MAX_LINES}; export one plate a file")
    if any(line.count("\t") > _MAX_CELLS for line in lines):
        raise UnreadableFileError("too_large", f"a line has more than {_MAX_CELLS} cells, which no plate has")
    if any(len(line) > _MAX_LINE_CHARS for line in lines):
        raise UnreadableFileError("long_line", f"a line has more than {_MAX_LINE_CHARS} characters, which Gen5 never writes")
    stated = dict(_pairs(lines))
    when = " ".join(text for key in ("Date", "Time") if (text := stated.get(key)))
    kept = {key: base_name(stated[key]) for key in ("Experiment File Path:", "Reader Serial Number:", "Plate Number") if stated.get(key)}
    end = _end_of_procedure(lines)
    plate = _plate(lines, end)
    about: dict[str, dict[str, str]] = {}
    for well, name, cell in _wells(plate.layout):
        if cell and not is_secret(name):
            about.setdefault(well, {})[name] = cell
    unread = ", ".join(map(shorten, plate.unread))
    return Prepared(
        data=("\n".join([*lines[:end], "", *_results(plate)]) + "\n").encode(),
        name=f"{stem(context.file_name)}.txt",
        measured_at_text=when or None,
        texts={(well, feature): cell for well, feature, cell in _wells(plate.features) if not _is_number(cell)},
        samples={well: name for well, own in about.items() if (name := own.get("Name") or own.get("Well ID"))},
        instrument_name=stated.get("Reader Type:"),
        software=f"Gen5 {stated.get('Software Version', '')}".strip(),
        rescued={**plate.rescued, **{key.rstrip(":"): text for key, text in kept.items()}},
        rescued_at=about,
        warnings=[f"sections that are not read: {unread}"] if unread else [],
    )


def _pairs(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Return the fields above the procedure."""
    for line in lines:
        if line.startswith("Procedure Details"):
            return
        key, found, text = line.partition("\t")
        if found and text.strip():
            yield key.strip(), text.strip()


def _end_of_procedure(lines: Sequence[str]) -> int:
    """Return where the procedure ends, which is one paragraph below its heading.

    Raises:
        UnreadableFileError: ``unsupported`` for several plates and for runs over time.
    """
    if sum(line.startswith("Software Version") for line in lines) > 1:
        raise UnreadableFileError("unsupported", "the export holds several plates; export one plate a file")
    at = next((at for at, line in enumerate(lines) if line.startswith("Procedure Details")), len(lines)) + 1
    while at < len(lines) and not lines[at].strip():
        at += 1
    start = at
    while at < len(lines) and lines[at].strip():
        at += 1
    if any("Kinetic" in line for line in lines[start:at]):
        reason = "the plate was read again and again over time (kinetic); only plates imaged once are read"
        raise UnreadableFileError("unsupported", reason, "Procedure Details")
    return at


def _plate(lines: Sequence[str], start: int) -> _Plate:
    """Read the sections below the procedure.

    Raises:
        UnreadableFileError: ``unsupported``, ``truncated``, ``duplicate_key`` or ``not_a_number``.
    """
    plate = _Plate()
    heading = ""
    for paragraph in _paragraphs(lines, start):
        at = next((at for at, (_, cells) in enumerate(paragraph) if _counts_columns(cells)), None)
        if at is not None:
            heading = paragraph[at - 1][1][0] if at else heading
            _add(plate.layout if heading == _LAYOUT else plate.features, paragraph[at:])
            heading = ""
            continue
        first = paragraph[0][1]
        _leave(plate, heading)
        if heading and len(first) > 1:
            heading = ""  # the lines of the section whose heading stands alone above them
        elif len(paragraph) == 1 and len(first) == 2 and first[0] and not is_secret(first[0]):
            plate.rescued[first[0].rstrip(":")] = first[1]
        else:
            heading = next(cell for cell in first if cell)
    _leave(plate, heading)
    _check(plate)
    return plate


def _leave(plate: _Plate, heading: str) -> None:
    """Note a section that is not read; the headings of tables without lines say nothing."""
    if heading and heading not in {_LAYOUT, "Results", *plate.unread}:
        plate.unread.append(heading)


def _paragraphs(lines: Sequence[str], start: int) -> Iterator[list[tuple[int, list[str]]]]:
    """Return lines that stand together, as their number and their cells; empty cells at the end are left out."""
    paragraph: list[tuple[int, list[str]]] = []
    for number, line in enumerate([*lines[start:], ""], start=start + 1):
        cells = [cell.strip() for cell in line.split("\t")]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            paragraph.append((number, cells))
        elif paragraph:
            yield paragraph
            paragraph = []


def _counts_columns(cells: Sequence[str]) -> bool:
    return len(cells) > 1 and not cells[0] and all(cell.isdecimal() for cell in cells[1:])


def _add(table: dict[tuple[str, str], list[str]], paragraph: Sequence[tuple[int, list[str]]]) -> None:
    """Add a table of wells: a line of column numbers, and lines that end with what they hold."""
    at, columns = paragraph[0][0], paragraph[0][1][1:]
    if columns != [str(number) for number in range(1, len(columns) + 1)]:
        raise UnreadableFileError("unsupported", "the columns of the plate are not counted from 1; export the whole plate", f"line {at}")
    row = ""
    for number, cells in paragraph[1:]:
        row = cells[0] or row
        if not _ROW_NAME.fullmatch(row) or len(cells) != len(columns) + 2:
            reason = "a line is no row of the plate or lacks cells; export or transfer the file again"
            raise UnreadableFileError("truncated", reason, f"line {number}")
        key = (row, cells[-1])
        if key in table:
            reason = f"row {row} of the plate has {shorten(cells[-1])} twice; give the data sets different names"
            raise UnreadableFileError("duplicate_key", reason, f"line {number}")
        table[key] = cells[1:-1]


def _check(plate: _Plate) -> None:
    """Refuse features that some rows of the plate lack, and numbers of two decimal marks; write decimal commas as points."""
    if missing := next((key for key in _keys(plate.features) if key not in plate.features), None):
        reason = f"row {missing[0]} of the plate lacks {shorten(missing[1])}; export or transfer the file again"
        raise UnreadableFileError("truncated", reason)
    cells = [cell for values in plate.features.values() for cell in values]
    comma = next((cell for cell in cells if _WITH_COMMA.fullmatch(cell)), None)
    if comma is None:
        return
    if any(_WITH_POINT.fullmatch(cell) for cell in cells):
        raise UnreadableFileError("not_a_number", f"numbers have decimal points and commas, such as {comma!r}; export without separators")
    for values in plate.features.values():
        values[:] = [cell.replace(",", ".") if _WITH_COMMA.fullmatch(cell) else cell for cell in values]


def _keys(table: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return every row of the plate with every name of a table, in the order of the file."""
    found = list(table)
    rows, names = (dict.fromkeys(key[at] for key in found) for at in (0, 1))
    return [(row, name) for row in rows for name in names]


def _wells(table: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[tuple[str, str, str]]:
    """Return the cells of a table with their well and what they hold."""
    for (row, name), cells in table.items():
        for column, cell in enumerate(cells, start=1):
            yield f"{row}{column}", name, cell


def _results(plate: _Plate) -> list[str]:
    """Return the features as one plain table, as the converter needs it."""
    if not plate.features:
        return []
    n_columns = max(map(len, plate.features.values()))
    lines = ["Results", "\t".join(["", *(str(column) for column in range(1, n_columns + 1))])]
    previous = ""
    for row, feature in _keys(plate.features):
        cells = plate.features[row, feature]
        lines.append("\t".join(["" if row == previous else row, *cells, *[""] * (n_columns - len(cells)), feature]))
        previous = row
    return lines


def _is_number(text: str) -> bool:
    try:
        parse_number(text)
    except NumberError:
        return False
    return True


READERS: Final = (Gen5ImageReader(),)
