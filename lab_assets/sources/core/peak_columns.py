"""Peak tables whose columns are named in words: which name means which column of ``vendor_peaks``.

Belongs here: spellings of columns in XML exports. Does not belong here: tables with a layout of their own (their readers know
it), and conversion of numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from lab_assets.sources.core.read_result import Row

NUMBERS: Final = ("retention_time", "start_time", "end_time", "area", "height", "amount", "plates", "tailing", "resolution")
"""Columns of a peak that are numbers."""

_UNITS: Final = ("retention_unit", "area_unit", "height_unit", "amount_unit")
_SPELLINGS: Final = {
    "peak_name": ("name", "peakname", "component", "componentname", "compound", "compoundname"),
    "retention_time": ("retentiontime", "rt", "rettime", "peakretentiontime"),
    "start_time": ("starttime", "peakstart", "peakstarttime", "start"),
    "end_time": ("endtime", "stoptime", "peakend", "peakendtime", "peakstop", "end"),
    "area": ("area", "peakarea"),
    "height": ("height", "peakheight"),
    "amount": ("amount", "peakamount", "concentration", "rawamount"),
    "plates": ("plates", "platecount", "theoreticalplates", "numberoftheoreticalplates", "platenumber", "efficiency"),
    "tailing": ("tailing", "tailingfactor", "symmetry", "symmetryfactor", "asymmetry", "asymmetryfactor", "asymmetryratio"),
    "resolution": ("resolution", "peakresolution"),
}
_COLUMN_BY_SPELLING: Final = {word: column for column, words in _SPELLINGS.items() for word in words}


def normalised(name: str) -> str:
    """Return a name for comparison: ``Peak_Area`` and ``peak area`` are one, ``µV`` and ``uV`` too."""
    return re.sub(r"[^a-z0-9]", "", name.casefold().replace("\u03bc", "u"))


def peak_column(name: str) -> str | None:
    """Return the column of ``vendor_peaks`` that a name means, or ``None``.

    Args:
        name: Such as ``Retention Time``, ``Peak_Area`` or ``PK_HEIGHT``.
    """
    return _COLUMN_BY_SPELLING.get(normalised(re.sub(r"^pk[_ ]", "", name.casefold())))


def peak_row(values: Mapping[str, object]) -> Row:
    """Return a row of ``vendor_peaks`` with every column that a reader fills, ``None`` where nothing is known."""
    row: Row = dict.fromkeys(("peak_name", *NUMBERS, *_UNITS))
    return {**row, "rescued": {}, **values}
