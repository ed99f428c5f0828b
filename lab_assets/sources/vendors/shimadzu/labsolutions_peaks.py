"""LabSolutions ASCII exports: peak tables, and compound results joined to them.

Belongs here: ``[Peak Table(...)]``, ``[MC Peak Table]`` and ``[Compound Results(...)]``. A compound result repeats a peak under the
name and concentration that quantification gave it; it fills what the peak table leaves empty, and stands for it where the export has
none for that detector. Does not belong here: traces.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from lab_assets.sources.base import RejectedRow, Row, UnreadableFileError
from lab_assets.sources.core.decoding import shorten
from lab_assets.sources.core.quantities import NumberError, parse_number
from lab_assets.sources.vendors.shimadzu.labsolutions_sections import Export, Section, pairs, stated_count

_PEAKS_TITLE: Final = re.compile(r"\[(?:Peak Table ?\((?P<name>.+)\)|MC Peak Table(?: ?\((?P<mass>.+)\))?)\]")
_COMPOUNDS_TITLE: Final = re.compile(r"\[Compound Results ?\((?P<name>.+)\)\]")
_TIME_UNIT: Final = re.compile(r" ?\(min\)$")
_AMOUNT_UNIT: Final = re.compile(r"Conc\. ?\(([^()]+)\)")
_NUMBERS: Final = {
    **dict.fromkeys(("R.Time", "R. Time", "Ret.Time"), "retention_time"),
    **dict.fromkeys(("I.Time", "I. Time", "Proc.From"), "start_time"),
    **dict.fromkeys(("F.Time", "F. Time", "Proc.To"), "end_time"),
    "Area": "area",
    "Height": "height",
    "Conc.": "amount",
    "Plate #": "plates",
    "Theoretical Plate": "plates",
    "Tailing": "tailing",
    "Tailing Factor": "tailing",
    "Resolution": "resolution",
}
_OTHERS: Final = frozenset(
    {
        *("Peak#", "A/H", "Mark", "ID#", "k'", "Plate Ht.", "Sep.Factor", "Area Ratio", "Height Ratio"),
        *("Conc. %", "Norm Conc.", "Area%", "Height%", "Curve", "Cmpd. Name", "3rd", "2nd", "1st", "Constant", "Mass", "Ret.Index"),
    }
)
"""Columns without a place in the contract that go to ``rescued`` without a word."""
_TEXTS: Final = {"Name": "peak_name", "Unit": "amount_unit", "Conc. Unit": "amount_unit"}
_SAME_TIME_MIN: Final = 0.0015
"""Retention times of one peak are written with three decimals in both tables, minutes."""


def table_titles(export: Export) -> list[str]:
    """Return the titles of the tables of one injection, in their order."""
    return [
        section.title for section in export.sections if _PEAKS_TITLE.fullmatch(section.title) or _COMPOUNDS_TITLE.fullmatch(section.title)
    ]


def has_peaks(export: Export) -> bool:
    """Tell whether an injection has a table of peaks or of compounds."""
    return bool(table_titles(export))


def read_peaks(
    export: Export, injection_name: str, channels: Sequence[str], warnings: list[str]
) -> tuple[list[Row], list[RejectedRow], dict[str, dict[str, str]]]:
    """Read every peak table and compound result of one injection.

    Args:
        export: The sections.
        injection_name: The injection.
        channels: Names of its traces.
        warnings: Appended to.

    Returns:
        Rows of ``vendor_peaks``, rejected rows, and by channel the compounds that belong to no peak, as text.

    Raises:
        UnreadableFileError: ``truncated`` for fewer rows or fields than stated, ``not_a_number`` for a count.
    """
    rows: list[Row] = []
    rejected: list[RejectedRow] = []
    for section in export.sections:
        title = _PEAKS_TITLE.fullmatch(section.title)
        if title is None:
            continue
        channel = _channel((title["name"] or title["mass"] or "MS").strip(), channels)
        for number, line, values in _table(section, export, "# of Peaks", "Peak#"):
            own = channel if title["name"] else _channel_of_mass(values.get("Mass", ""), channels) or channel
            row: Row = {"injection_name": injection_name, "channel": own, "peak_no": number, "retention_unit": "min"}
            try:
                rows.append({**row, **_peak(values, export.decimal), "source_row": line})
            except NumberError as error:
                rejected.append(
                    RejectedRow(table="vendor_peaks", source_row=line, rule=error.rule, reason=str(error), row={**row, **values})
                )
    if unknown := sorted({name for peak in rows for name in peak["rescued"]} - _OTHERS):
        warnings.append(f"columns of the peak table kept in rescued: {', '.join(unknown)}")
    left = _join_compounds(export, rows, channels, injection_name, warnings)
    return rows, rejected, left


def _channel(name: str, channels: Sequence[str]) -> str:
    """Match ``Detector B`` of a table with the only trace of that detector, ``Detector B-Ch1``."""
    own = [channel for channel in channels if channel.startswith((f"{name}-", f"{name} "))]
    return own[0] if name not in channels and len(own) == 1 else name


def _channel_of_mass(mass: str, channels: Sequence[str]) -> str | None:
    """Return the only mass trace of a peak's mass: ``MS 1-1 TIC`` for ``TIC``."""
    own = [channel for channel in channels if mass and channel.startswith("MS ") and channel.split()[-1] == mass]
    return own[0] if len(own) == 1 else None


def _table(section: Section, export: Export, count_key: str, first_column: str) -> list[tuple[int, int, dict[str, str]]]:
    """Return ordinal, line number and values by column of each row of a table."""
    count = stated_count(pairs(section.body[:1], export.separator), count_key, section)
    lines = [(section.line + 1 + index, line) for index, line in enumerate(section.body) if line.strip()]
    header = next((index for index, (_, line) in enumerate(lines) if line.lstrip('"').startswith(first_column)), None)
    what = "peaks" if first_column == "Peak#" else "compounds"
    if header is None:
        if count:
            raise UnreadableFileError("truncated", f"{count} {what} are stated, none is there", section.title)
        return []
    names = export.cells(lines[header][1])
    while names and not names[-1]:
        names.pop()
    found = lines[header + 1 :]
    if count is not None and count != len(found):
        reason = f"{count} {what} are stated, {len(found)} are there; transfer the file again"
        raise UnreadableFileError("truncated", reason, section.title)
    table: list[tuple[int, int, dict[str, str]]] = []
    for number, (line, text) in enumerate(found, start=1):
        values = export.cells(text)
        while len(values) > len(names) and not values[-1]:
            values.pop()
        if len(values) != len(names):
            raise UnreadableFileError("truncated", f"{len(values)} fields under {len(names)} column names", f"line {line}")
        table.append((number, line, dict(zip(names, values, strict=True))))
    return table


def _peak(values: dict[str, str], decimal: str) -> Row:
    """Return one peak's columns of the contract; what it does not name goes to ``rescued``."""
    row: Row = dict.fromkeys((*_NUMBERS.values(), *_TEXTS.values(), "area_unit", "height_unit"))
    rescued: dict[str, str] = {}
    for name, text in values.items():
        unit = _AMOUNT_UNIT.fullmatch(name)
        column = "amount" if unit else _NUMBERS.get(_TIME_UNIT.sub("", name))
        if column is not None:
            row[column] = parse_number(text, decimal) if text else None
            row["amount_unit"] = unit[1] if unit else row["amount_unit"]
        elif name in _TEXTS:
            row[_TEXTS[name]] = text or None
        elif text and name != "Peak#":
            rescued[name] = text
    row["rescued"] = rescued
    return row


def _join_compounds(
    export: Export, peaks: list[Row], channels: Sequence[str], injection_name: str, warnings: list[str]
) -> dict[str, dict[str, str]]:
    """Fill names and amounts the peak tables leave empty; return the compounds without a peak.

    Where the export has no peak table of a detector, its compounds that were found become peaks themselves.
    """
    tabled = [title["name"].strip() for section in export.sections if (title := _PEAKS_TITLE.fullmatch(section.title)) and title["name"]]
    left: dict[str, dict[str, str]] = {}
    for section in export.sections:
        title = _COMPOUNDS_TITLE.fullmatch(section.title)
        if title is None:
            continue
        name = title["name"].strip()
        # a table of "Detector A" means all of its channels
        own = [peak for peak in peaks if peak["channel"] in {name, _channel(name, channels)} or peak["channel"].startswith(f"{name}-")]
        number = 0
        for _, line, values in _table(section, export, "# of IDs", "ID#"):
            try:
                compound = _peak(values, export.decimal)
            except NumberError as error:
                warnings.append(f"line {line}: compound result not joined: {error}")
                continue
            peak = _peak_of(compound, own)
            if peak is None and compound["retention_time"] and not any(other == name or other.startswith(f"{name}-") for other in tabled):
                number += 1
                channel = _channel(name, channels)
                row = {"injection_name": injection_name, "channel": channel, "peak_no": number, "retention_unit": "min"}
                peaks.append({**row, **compound, "source_row": line})
            elif peak is None:
                key = f"compound {values.get('ID#', '')} {values.get('Name', '')}".strip()
                text = "; ".join(f"{column} {value}" for column, value in values.items() if value and column not in {"ID#", "Name"})
                left.setdefault(_channel(name, channels), {})[key] = text
            else:
                _fill(peak, compound, line, warnings)
    return left


def _peak_of(compound: Row, peaks: Sequence[Row]) -> Row | None:
    """Return the peak a compound result means: the one with its ID, else the one at its retention time."""
    at, number = compound["retention_time"], compound["rescued"].get("ID#")
    if not at:  # a compound that was not found is written at time 0
        return None
    near = [peak for peak in peaks if peak["retention_time"] is not None and abs(peak["retention_time"] - at) < _SAME_TIME_MIN]
    same = [peak for peak in near if number and peak["rescued"].get("ID#") == number]
    candidates = same or [peak for peak in near if not peak["rescued"].get("ID#")] or near
    return candidates[0] if len(candidates) == 1 else None


def _fill(peak: Row, compound: Row, line: int, warnings: list[str]) -> None:
    """Put into a peak what its table leaves empty; a concentration of 0 of a peak without a name is empty too."""
    unnamed = peak["peak_name"] is None
    if unnamed:
        peak["peak_name"] = compound["peak_name"]
    elif compound["peak_name"] not in {None, peak["peak_name"]}:
        warnings.append(f"line {line}: the peak table names this compound {shorten(peak['peak_name'])}; that name is kept")
        return
    if compound["amount"] is not None and (peak["amount"] is None or (unnamed and peak["amount"] == 0)):
        peak["amount"] = compound["amount"]
    elif compound["amount"] is not None and compound["amount"] != peak["amount"]:
        warnings.append(f"line {line}: the peak table states an amount of {peak['amount']:g}, the compound result {compound['amount']:g}")
    peak["amount_unit"] = peak["amount_unit"] or compound["amount_unit"]
    peak["rescued"] = {**compound["rescued"], **peak["rescued"]}
