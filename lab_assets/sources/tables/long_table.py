"""Long-format traces: one line a point, with the injection's file and the detector beside it.

Belongs here: delimited text with columns such as ``Minutes``, ``Intensity``, ``File`` and ``Detector``, several channels and
injections in one file. Other columns are reported as drift; those that are the same at all points of a trace are kept in ``rescued``.
Does not belong here: a guess of what such a table leaves out (signal unit, date, instrument).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from lab_assets.sources.base import ReadContext, ReadResult, Row, SchemaEvent, UnreadableFileError
from lab_assets.sources.core.column_drift import refuse_unknown, unknown_events
from lab_assets.sources.core.decoding import DecodedText, decode, is_secret, peek_lines, stem
from lab_assets.sources.core.delimited import Header, normalise
from lab_assets.sources.core.trace_rows import InjectionHeader, Trace, parse_points, trace_rows

_TIMES: Final = {"minutes": "min", "time (min)": "min", "time_min": "min", "seconds": "s", "time (s)": "s", "time_s": "s"}
_SIGNALS: Final = ("intensity", "signal", "absorbance")
_FILES: Final = ("file", "data file", "injection", "injection_name")
_CHANNELS: Final = ("detector", "channel")
_MAX_TRACES: Final = 20_000
_UNIT: Final = re.compile(r"\s*[(\[]([^()\[\]]*)[)\]]$")


class _Positions(NamedTuple):
    """Positions of the columns, from 0."""

    time: int
    signal: int
    file: int | None
    channel: int


class LongTableReader:
    """Reader of long-format trace tables."""

    format: str = "long_table"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status")

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: its header names a time, a signal and a detector."""
        del name
        first = peek_lines(head)[0]
        return 95 if _positions(_names(first, _separator(first))) is not None else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one table: one or more injections with one or more channels each.

        Raises:
            UnreadableFileError: ``empty``, ``encoding``, ``missing_column``, ``truncated``, ``field_count`` or a rule of the trace.
        """
        text = decode(data)
        separator = _separator(text.lines[0])
        names = _names(text.lines[0], separator)
        positions = _positions(names)
        if positions is None:
            raise UnreadableFileError("missing_column", "a time, a signal and a detector column are needed", "line 1")
        lines = list(text.lines)
        while lines and not lines[-1].strip():
            lines.pop()
        if len(lines) == 1:
            raise UnreadableFileError("empty", "the table has a header and no points")
        others = [(index, name) for index, name in enumerate(names) if index not in positions and name and not is_secret(name)]
        events = _drift([name for _, name in others], names, separator, context)
        groups = _group(lines, text, separator, positions)
        tables: dict[str, list[Row]] = {}
        for (file, channel), (numbers, points) in groups.items():
            name = stem(file or context.file_name)
            trace = _trace(channel, (numbers, points), names, positions, separator)
            trace = replace(trace, rescued=_constants(points, others, separator))
            for table, rows in trace_rows([trace], InjectionHeader(injection_name=name, sample_name=name)).items():
                tables.setdefault(table, []).extend(rows)
        varying = {name for _, name in others} - {name for rows in tables.values() for row in rows for name in row["rescued"]}
        warnings = [f"columns that change from point to point and were not kept: {', '.join(sorted(varying))}"] if varying else []
        return ReadResult(format=self.format, tables=tables, events=events, warnings=warnings)


def _drift(unknown: Sequence[str], names: Sequence[str], separator: str, context: ReadContext) -> list[SchemaEvent]:
    """Return the columns that mean nothing known, or refuse them where the laboratory wants that."""
    header = Header(directives={}, names=tuple(names), separator=separator, line=1)
    written = [normalise(name) for name in unknown]
    events = unknown_events("chromatograms", written, header)
    refuse_unknown(written, header, context, events)
    return events


def _constants(points: Sequence[str], others: Sequence[tuple[int, str]], separator: str) -> dict[str, str]:
    """Return the other columns of a trace that say the same at each of its points."""
    if not others:
        return {}
    rows = [_fields(line, separator) for line in points]
    found = {name: {row[index].strip() for row in rows if len(row) > index} for index, name in others}
    return {name: value for name, values in found.items() if len(values) == 1 and (value := next(iter(values)))}


def _fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), list[str]())
    except csv.Error as error:
        raise UnreadableFileError("long_line", f"a line is no line of a table ({error})") from error


def _separator(line: str) -> str:
    return max("\t;,", key=line.count)


def _names(line: str, separator: str) -> list[str]:
    return [name.strip().strip('"').strip() for name in line.removeprefix("\ufeff").split(separator)]


def _positions(names: Sequence[str]) -> _Positions | None:
    """Return the positions of time, signal, file (optional) and detector, or ``None``."""
    lower = [name.casefold() for name in names]
    time = next((index for index, name in enumerate(lower) if name in _TIMES), None)
    signal = next((index for index, name in enumerate(lower) if _UNIT.sub("", name) in _SIGNALS), None)
    file = next((index for index, name in enumerate(lower) if name in _FILES), None)
    channel = next((index for index, name in enumerate(lower) if name in _CHANNELS), None)
    return None if time is None or signal is None or channel is None else _Positions(time, signal, file, channel)


def _group(
    lines: list[str], text: DecodedText, separator: str, positions: _Positions
) -> dict[tuple[str, str], tuple[list[int], list[str]]]:
    """Gather the lines of each injection and channel, with their numbers."""
    n_fields = lines[0].count(separator) + 1
    groups: dict[tuple[str, str], tuple[list[int], list[str]]] = {}
    as_written: dict[tuple[str, str], tuple[list[int], list[str]]] = {}
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split(separator)
        if len(fields) != n_fields:
            fields = _fields(line, separator)
        last = number == len(lines) and not text.last_line_ended
        if len(fields) != n_fields or (last and fields[-1].startswith('"') != fields[-1].endswith('"')):
            if last:
                raise UnreadableFileError("truncated", "the last line is cut; transfer the file again", f"line {number}")
            raise UnreadableFileError("field_count", f"{len(fields)} fields under {n_fields} column names", f"line {number}")
        written = (fields[positions.file] if positions.file is not None else "", fields[positions.channel])
        if written not in as_written:
            key = (written[0].strip('" '), written[1].strip('" '))
            if last and key not in groups and len(groups) > 0:
                raise UnreadableFileError("truncated", "the last line is cut; transfer the file again", f"line {number}")
            as_written[written] = groups.setdefault(key, ([], []))
            if len(groups) > _MAX_TRACES:
                raise UnreadableFileError(
                    "too_large", f"more than {_MAX_TRACES} traces; export fewer injections into one file", f"line {number}"
                )
        numbers, points = as_written[written]
        numbers.append(number)
        points.append(line)
    return groups


def _trace(channel: str, group: tuple[list[int], list[str]], names: Sequence[str], positions: _Positions, separator: str) -> Trace:
    numbers, points = group
    at = (positions.time, positions.signal)
    if not channel:
        raise UnreadableFileError("missing_value", "the detector's name is empty", f"line {numbers[0]}")
    first = points[0].split(separator)
    decimal = "," if separator != "," and any("," in first[index] for index in at) else "."
    plain = [line.replace('"', "") for line in points] if '"' in first[positions.time] else points
    x, y = parse_points(plain, numbers, separator=separator, columns=at, decimal=decimal)
    unit = _UNIT.search(names[positions.signal])
    x_unit = _TIMES[names[positions.time].casefold()]
    return Trace(name=channel, x=x, y=y, x_unit=x_unit, y_unit=unit[1] if unit else "", source_row=numbers[0])


READERS: Final = (LongTableReader(),)
