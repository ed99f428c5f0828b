"""Traces and peak tables of an ASM document of liquid chromatography, as rows.

Belongs here: what all chromatography readers over ``allotropy`` do alike. Does not belong here: any vendor (one file each), running
the parser or walking a document (``allotrope.py``).

A measurement is one channel of one injection. Its own data cube is a detector's; the cubes of its device control are readings of the
instrument. Peak tables state times in the unit of the cubes: seconds, or mL where the data system counts volume.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from lab_assets.sources.base import RejectedRow, Row
from lab_assets.sources.core.trace_rows import InjectionHeader, Trace, check_rising, trace_rows
from lab_assets.sources.standards.allotrope import Cube, Node, child, children, clean, cube, fields, quantity

TIMES: Final = {"retention_time": "retention time", "start_time": "peak start", "end_time": "peak end"}
SIZES: Final = {"area": "peak area", "height": "peak height"}
AMOUNT: Final = "peak analyte amount"
RESOLUTION: Final = "chromatographic peak resolution"

_STATUS_CONCEPTS: Final = frozenset({"ph", "electric conductivity"})
"""Monitors of the eluent; they are detectors only where the data system integrated them."""
_TAKEN: Final = frozenset({*TIMES.values(), *SIZES.values(), AMOUNT, RESOLUTION, "written name", "identifier"})


@dataclass(frozen=True, kw_only=True)
class PeakTerms:
    """Which terms of a vendor's ASM peaks mean what.

    Attributes:
        plates: Term of the plate number.
        tailing: Term of the tailing or symmetry factor.
        retention_time: Term of the retention time within the custom information, when it is not the usual one.
        others: Columns by name of the custom information, for values that ASM has no term for.
        leave: Terms that the converter fills wrongly.
    """

    plates: str = ""
    tailing: str = ""
    retention_time: str = ""
    others: Mapping[str, str] = field(default_factory=dict[str, str])
    leave: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One channel of an injection, ready to become rows.

    Attributes:
        name: Distinct within the injection.
        source_row: Its place in the file, from 1.
        detector: The detector's trace.
        status: Readings of the instrument that came with it.
        peaks: Peaks as ASM states them.
        y_unit: Unit of the trace where ASM's is not the file's.
        size_units: Units of area and height where ASM's are not the file's.
        rescued: Fields of the channel that the contract does not name.
    """

    name: str
    source_row: int
    detector: Cube | None = None
    status: Sequence[Cube] = ()
    peaks: Sequence[Node] = ()
    y_unit: str | None = None
    size_units: tuple[str, str] | None = None
    rescued: Mapping[str, str] = field(default_factory=dict[str, str])


def channel_of(measurement: Node, source_row: int, name: str | None = None) -> Channel:
    """Collect the cubes and peaks of a measurement.

    Args:
        measurement: One measurement of the document.
        source_row: Its place in the file, from 1.
        name: Name of the channel; the label of the trace when ``None``.
    """
    detector = cube(measurement.get("chromatogram data cube"))
    controls = children(measurement, "device control aggregate document", "device control document")
    processed = children(measurement, "processed data aggregate document", "processed data document")
    nodes = [value for control in controls for key, value in control.items() if key.endswith("data cube")]
    nodes += [value for document in processed[:1] for key, value in document.items() if key.endswith("data cube")]
    # every document of processed data repeats the same peaks
    peaks = children(processed[0], "peak list", "peak") if processed else []
    return Channel(
        name=name or (detector.label if detector else "") or "channel",
        source_row=source_row,
        detector=detector,
        status=[found for node in nodes if (found := cube(node)) is not None],
        peaks=peaks,
    )


def distinct(names: Iterable[str]) -> list[str]:
    """Return names made distinct: the second ``UV`` becomes ``UV (2)``."""
    seen: set[str] = set()
    result: list[str] = []
    for name in names:
        candidate, number = name, 2
        while candidate in seen:
            candidate, number = f"{name} ({number})", number + 1
        seen.add(candidate)
        result.append(candidate)
    return result


def injection_rows(
    header: InjectionHeader, channels: Sequence[Channel], terms: PeakTerms, warnings: list[str]
) -> tuple[dict[str, list[Row]], list[RejectedRow]]:
    """Turn the channels of one injection into rows of ``chromatograms``, ``instrument_status`` and ``vendor_peaks``.

    Args:
        header: What is known about the injection.
        channels: Its channels.
        terms: Which terms of the peaks mean what.
        warnings: Appended to.

    Returns:
        Rows by table, and peaks left out.

    Raises:
        UnreadableFileError: ``descending_x``.
    """
    names = distinct(channel.name for channel in channels)
    traces: list[Trace] = []
    readings: list[Trace] = []
    peaks: list[Row] = []
    rejected: list[RejectedRow] = []
    for name, channel in zip(names, channels, strict=True):
        if channel.detector is not None:
            monitor = channel.detector.concept.casefold() in _STATUS_CONCEPTS and not channel.peaks
            traces.append(_trace(channel.detector, name, channel, header, warnings, status=True if monitor else None))
        readings += [_trace(found, found.label or found.concept, channel, header, warnings, status=True) for found in channel.status]
        rows, wrong = _peaks(channel, name, header.injection_name, terms)
        peaks += rows
        rejected += wrong
    # channels keep their names, which the peaks state too; readings give way
    signals = distinct([*names, *(reading.name for reading in readings)])[len(names) :]
    traces += [replace(reading, name=name) for reading, name in zip(readings, signals, strict=True)]
    tables = trace_rows(traces, header)
    if peaks:
        tables["vendor_peaks"] = peaks
    return tables, rejected


def merge(tables: dict[str, list[Row]], more: Mapping[str, list[Row]]) -> None:
    """Append the rows of another injection."""
    for table, rows in more.items():
        tables.setdefault(table, []).extend(rows)


def _trace(found: Cube, name: str, channel: Channel, header: InjectionHeader, warnings: list[str], *, status: bool | None) -> Trace:
    """Return a cube as a trace; readings taken while the volume stood still have no place on an axis of volume."""
    x, y = found.x, found.y
    if found.x_unit.casefold() == "ml":
        moved = np.concatenate(([True], np.diff(x) != 0))
        if left := int(x.size - moved.sum()):
            warnings.append(f"{header.injection_name}, {name}: {left} readings without flow are left out")
            x, y = x[moved], y[moved]
    check_rising(x)
    detector = found is channel.detector
    return Trace(
        name=name,
        x=x,
        y=y,
        x_unit=found.x_unit,
        y_unit=channel.y_unit if detector and channel.y_unit is not None else found.y_unit,
        source_row=channel.source_row,
        rescued=channel.rescued if detector else {},
        status=status,
    )


def _peaks(channel: Channel, name: str, injection_name: str, terms: PeakTerms) -> tuple[list[Row], list[RejectedRow]]:
    """Return the peak table of a channel; a peak with a value that is not finite is rejected."""
    rows: list[Row] = []
    rejected: list[RejectedRow] = []
    for number, peak in enumerate(channel.peaks, start=1):
        row: Row = {
            "injection_name": injection_name,
            "channel": name,
            "peak_no": number,
            "peak_name": clean(peak.get("written name")),
            **_values(peak, terms, channel.size_units),
            "source_row": channel.source_row,
        }
        wrong = [column for column, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
        if wrong:
            reason = f"{wrong[0]} of peak {number} is not finite"
            rejected.append(
                RejectedRow(table="vendor_peaks", source_row=channel.source_row, rule="not_finite", reason=reason, column=wrong[0], row=row)
            )
        else:
            rows.append(row)
    return rows, rejected


def _values(peak: Node, terms: PeakTerms, size_units: tuple[str, str] | None) -> Row:
    """Return the numbers of a peak with their units; what the contract does not name goes to ``rescued``."""
    custom = child(peak, "custom information document")
    times = {column: quantity(peak.get(term)) for column, term in TIMES.items()}
    if terms.retention_time:
        times["retention_time"] = quantity(custom.get(terms.retention_time))
    area, height = (quantity(peak.get(term)) for term in SIZES.values())
    units = size_units or (area.unit, height.unit)
    amount = quantity(peak.get(AMOUNT))
    row: Row = {column: time.value for column, time in times.items()}
    row |= {
        "retention_unit": next((time.unit for time in times.values() if time.value is not None), None),
        "area": area.value,
        "area_unit": units[0] or None if area.value is not None else None,
        "height": height.value,
        "height_unit": units[1] or None if height.value is not None else None,
        "amount": amount.value,
        "amount_unit": amount.unit or None,
        "plates": quantity(peak.get(terms.plates)).value,
        "tailing": quantity(peak.get(terms.tailing)).value,
        "resolution": quantity(peak.get(RESOLUTION)).value,
    }
    taken = {terms.plates, terms.tailing, terms.retention_time}
    for key, column in terms.others.items():
        if row[column] is None and (value := _number(custom.get(key))) is not None:
            row[column] = value
            taken.add(key)
    row["rescued"] = fields(peak, _TAKEN | terms.leave | taken)
    return row


def _number(value: object) -> float | None:
    """Read a number of the custom information, which is text there."""
    try:
        return float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except ValueError:
        return None
