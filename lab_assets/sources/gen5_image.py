"""Agilent (BioTek) Gen5 image exports (``.txt``): features of the wells of one plate, through ``allotropy``.

Belongs here: this format. Does not belong here: the images themselves, which Gen5 exports as TIFF files beside it, or Gen5's
absorbance and fluorescence reads.

The converter reads one plate a file, and takes what is no number (``OVRFLW``, an empty well) for NaN: the text is taken from the file
itself. It reads the date month first; the file's own text is read here. Features have no unit in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from lab_assets.sources.allotrope_measurements import Prepared, read_measurements
from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.decoding import base_name, decode, peek_lines, stem
from lab_assets.sources.quantities import NumberError, parse_number

_HEADINGS: Final = ("Experiment File Path:", "Protocol File Path:", "Reader Type:", "Procedure Details")
_MAX_LINES: Final = 5_000
"""Most lines of one plate: 32 rows of a 1536-well plate with 100 features each are 3,200."""
_MAX_CELLS: Final = 500
_MAX_LINE_CHARS: Final = 10_000
_ROW_NAME: Final = re.compile(r"[A-Z]{1,2}")


class Gen5ImageReader:
    """Reader of Gen5 image exports."""

    format: str = "gen5_image"
    tables: tuple[str, ...] = ("measurements",)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: Gen5's headings, and a read of images."""
        del name
        lines = [line for line in peek_lines(head) if line.strip()]
        if not any(line.startswith("Software Version") for line in lines[:5]):
            return 0
        known = sum(any(line.startswith(heading) for line in lines) for heading in _HEADINGS)
        image = any(re.match(r"Read\tImage |\t*Image (?:Single|Montage|Z-Stack)", line) for line in lines)
        return 95 if known >= 2 and image else 50 if known >= 2 else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one plate.

        Raises:
            UnreadableFileError: ``empty``, ``encoding``, ``unsupported`` for reads other than images or several plates,
                ``truncated``, ``too_large``, ``long_line``.
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
    return Prepared(
        data=("\n".join(lines) + "\n").encode(),
        name=f"{stem(context.file_name)}.txt",
        measured_at_text=when or None,
        texts=dict(_no_numbers(lines)),
        instrument_name=stated.get("Reader Type:"),
        software=f"Gen5 {stated.get('Software Version', '')}".strip(),
        rescued={key.rstrip(":"): text for key, text in kept.items()},
    )


def _pairs(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Return the fields above the procedure."""
    for line in lines:
        if line.startswith("Procedure Details"):
            return
        key, found, text = line.partition("\t")
        if found and text.strip():
            yield key.strip(), text.strip()


def _no_numbers(lines: Sequence[str]) -> Iterator[tuple[tuple[str, str], str]]:
    """Return the cells of the results that are no numbers, by well and feature.

    Raises:
        UnreadableFileError: ``truncated`` for a line that lacks cells.
    """
    start = next((at for at, line in enumerate(lines) if line.strip() == "Results"), len(lines))
    body = [(at, line) for at, line in enumerate(lines[start + 1 :], start=start + 2) if line.strip()]
    columns = [cell.strip() for cell in body[0][1].split("\t")[1:]] if body else []
    while columns and not columns[-1]:
        columns.pop()
    row = ""
    for at, line in body[1:]:
        cells = [cell.strip() for cell in line.split("\t")]
        if not (_ROW_NAME.fullmatch(cells[0]) or (not cells[0] and row)):
            return  # a section behind the results
        row = cells[0] or row
        if len(cells) < len(columns) + 2:
            raise UnreadableFileError("truncated", "a line of the results lacks cells; export or transfer the file again", f"line {at}")
        feature = cells[len(columns) + 1]
        for column, cell in zip(columns, cells[1:], strict=False):
            if not _is_number(cell):
                yield (f"{row}{column}", feature), cell


def _is_number(text: str) -> bool:
    try:
        parse_number(text)
    except NumberError:
        return False
    return True
