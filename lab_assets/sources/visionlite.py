"""Thermo VISIONlite exports (``.csv``): absorbance at fixed wavelengths, quantification and spectra, through ``allotropy``.

Belongs here: this format. Does not belong here: kinetic runs (``min,A``), which the converter refuses.

The converter calls every absorbance mAU; the file states ``A`` (absorbance units), in brackets or as the heading of the spectrum, and
that is the unit here, empty where the file states none. Exports without a header have no time of measurement; the converter's is 1970.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from lab_assets.sources.allotrope_measurements import Prepared, read_measurements
from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.decoding import decode, looks_cut, peek_lines, stem

_SAMPLE_HEADINGS: Final = ("sample name", "well position")
_MAX_SAMPLES: Final = 2_000
"""Most lines of a table of samples; the converter takes a millisecond for each."""
_MAX_POINTS: Final = 100_000
_READING: Final = re.compile(r"\d+ nm\s+\[A\]|A\d{3,4}|Ordinate \[A\]|Absorbance")
_HEADER_CELLS: Final = ("file name", "sample name", "analyst", "time", "instrument", "instrument serial number", "instrument version")


class VisionliteReader:
    """Reader of VISIONlite exports."""

    format: str = "visionlite"
    tables: tuple[str, ...] = ("measurements",)

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: a heading of readings in ``A`` beside the sample, or a spectrum below its header."""
        del name
        lines = [line for line in peek_lines(head)[:3] if line.strip()]
        if len(lines) < 2:
            return 0
        cells = _cells(lines[0])
        if cells[0].casefold() in _SAMPLE_HEADINGS:
            bracketed = any("[A]" in cell and _READING.fullmatch(cell) for cell in cells)
            return 90 if bracketed else 60 if any(_READING.fullmatch(cell) for cell in cells) else 0
        if len(cells) < 4:
            return 0
        heading = _cells(lines[1])
        return 90 if heading == ["nm", "A"] else 60 if heading == ["min", "A"] else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one export.

        Raises:
            UnreadableFileError: ``empty``, ``encoding``, ``unsupported`` for kinetic runs, ``truncated``, ``too_large``.
        """
        return read_measurements(data, context, file_format=self.format, vendor="THERMO_FISHER_VISIONLITE", prepare=_prepare)


def _cells(line: str) -> list[str]:
    return [cell.strip().strip('"').strip() for cell in line.split("\t" if "\t" in line else ",")]


def _prepare(data: bytes, context: ReadContext) -> Prepared:
    text = decode(data)
    lines = [line for line in text.lines if line.strip()]
    cells = _cells(lines[0])
    table = cells[0].casefold() in _SAMPLE_HEADINGS
    if len(lines) > (most := _MAX_SAMPLES if table else _MAX_POINTS):
        raise UnreadableFileError("too_large", f"the export has {len(lines)} lines, more than {most}; export fewer into one file")
    headings = cells if table else _cells(lines[1]) if len(lines) > 1 else []
    _refuse_ragged(lines[1:] if table else lines[2:], headings, 2 if table else 3)
    if not text.last_line_ended:
        _refuse_cut(lines[1:] if table else lines[2:])
    stated = {} if table else dict(zip(_HEADER_CELLS, cells, strict=False))
    return Prepared(
        data=("\n".join(lines) + "\n").encode(),
        name=f"{stem(context.file_name)}.csv",
        measured_at_text=stated.get("time") or None,
        units={"absorbance": "A" if any(cell == "A" or "[A]" in cell for cell in headings) else ""},
        instrument_name=stated.get("instrument") or None,
        rescued={key: stated[key] for key in ("file name", "instrument serial number", "instrument version") if stated.get(key)},
    )


def _refuse_cut(rows: Sequence[str]) -> None:
    last = [_cells(row)[-1] for row in rows]
    if len(last) > 1 and looks_cut(last[:-1], last[-1]):
        raise UnreadableFileError("truncated", f"the last value, {last[-1]!r}, has lost digits; transfer the file again", "last line")


def _refuse_ragged(rows: Sequence[str], headings: Sequence[str], first: int) -> None:
    """Refuse a file whose rows have other cells than its heading; the converter would fill them up."""
    for at, row in enumerate(rows, start=first):
        if len(_cells(row)) != len(headings):
            reason = f"{len(_cells(row))} cells under {len(headings)} headings; export or transfer the file again"
            raise UnreadableFileError("truncated", reason, f"line {at}")
