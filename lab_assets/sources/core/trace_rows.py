"""Traces: columns of numbers to arrays, and arrays to rows of the bronze contracts.

Belongs here: what every chromatography reader does alike. Does not belong here: any file format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from lab_assets.sources.core.decoding import looks_cut, shorten
from lab_assets.sources.core.moments import DateOrder, Moment, MomentError, infer_order, parse_moment
from lab_assets.sources.core.quantities import NumberError, is_status_signal, parse_number
from lab_assets.sources.core.read_result import Row, UnreadableFileError
from lab_assets.sources.core.reader import ReadContext

FloatArray = NDArray[np.float64]

_COMPARED_ROWS: Final = 20
_IN_NUMBERS: Final = b"0123456789.+-eE"


@dataclass(frozen=True, kw_only=True)
class InjectionHeader:
    """What a file says about an injection; ``None`` where it says nothing.

    Attributes:
        injection_name: Name of the injection.
        sample_name: Sample.
        injected_at_text: Time of injection, verbatim.
        injected_at_utc: The same in UTC.
        zone_known: Whether the file states the zone.
        instrument_name: Instrument.
        software: Data system and version.
        method_name: Method.
        operator: Person at the instrument.
        rescued: Fields the contract does not name.
    """

    injection_name: str
    sample_name: str | None = None
    injected_at_text: str | None = None
    injected_at_utc: datetime | None = None
    zone_known: bool = False
    instrument_name: str | None = None
    software: str | None = None
    method_name: str | None = None
    operator: str | None = None
    rescued: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One signal over time, the file's own numbers.

    Attributes:
        name: Channel or status signal.
        x: Abscissa, shape ``(n_points,)``, strictly rising.
        y: Signal, shape ``(n_points,)``; ``y * y_factor`` is in ``y_unit``.
        x_unit: Unit of x as stated, empty when not stated.
        y_unit: Unit of y as stated, empty when not stated.
        y_factor: Stated intensity multiplier, 1 when the file states none.
        source_row: Line or block in the file, from 1.
        rescued: Fields of the signal the contract does not name.
        status: Whether it is a reading of the instrument itself; decided from name and unit when ``None``.
    """

    name: str
    x: FloatArray
    y: FloatArray
    x_unit: str
    y_unit: str
    y_factor: float = 1.0
    source_row: int = 1
    rescued: Mapping[str, str] = field(default_factory=dict[str, str])
    status: bool | None = None

    @property
    def is_status(self) -> bool:
        """Whether the trace belongs to ``instrument_status``."""
        return is_status_signal(self.name, self.y_unit) if self.status is None else self.status


def parse_points(
    lines: Sequence[str],
    numbers: Sequence[int],
    *,
    separator: str = "\t",
    columns: tuple[int, int] = (0, 1),
    decimal: str = ".",
    last_line_ended: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Read two columns of numbers.

    Args:
        lines: One point a line.
        numbers: Their numbers in the file, from 1, such as ``range(12, 12 + len(lines))``.
        separator: Field separator.
        columns: Positions of x and y, from 0; the caller found them by name.
        decimal: Decimal mark.
        last_line_ended: Whether the last line has a line end.

    Returns:
        x and y, shape ``(len(lines),)``, finite, x strictly rising.

    Raises:
        UnreadableFileError: ``truncated``, ``not_a_number``, ``not_finite``, ``duplicate_x`` or ``descending_x``, with the line.
    """
    try:
        x, y = _parse_fast(lines, separator, columns, decimal)
    except (ValueError, IndexError):
        x, y = _parse_slowly(lines, numbers, separator, columns, decimal, last_line_ended=last_line_ended)
    if not last_line_ended:
        _refuse_cut(lines, numbers[-1], separator, columns[1], decimal)
    check_rising(x, numbers)
    return x, y


def _parse_fast(lines: Sequence[str], separator: str, columns: tuple[int, int], decimal: str) -> tuple[FloatArray, FloatArray]:
    """Read two columns at once; any ValueError or IndexError sends the text to the slow way, which names the line."""
    at_x, at_y = columns
    text = "\n".join(lines)
    plain = columns == (0, 1) and _is_pairs(text, len(lines), separator, decimal)
    if plain:
        text = text.replace(separator, "\n")
    else:
        fields = [line.split(separator) for line in lines]
        text = "\n".join([f"{field[at_x]}\n{field[at_y]}" for field in fields])
    if decimal == ",":
        if "." in text:
            raise ValueError("not plain numbers")
        text = text.replace(",", ".")
    flat = _numbers(text, 2 * len(lines), plain=plain)
    if not np.isfinite(flat).all():
        raise ValueError("not finite")
    return flat[0::2].copy(), flat[1::2].copy()


def _is_pairs(text: str, n_lines: int, separator: str, decimal: str) -> bool:
    """Tell whether every line is two words of digits and signs: what is left without them is one separator a line."""
    left = text.encode().translate(None, delete=_IN_NUMBERS + decimal.encode())
    return left == (f"{separator}\n" * (n_lines - 1) + separator).encode()


def _numbers(text: str, count: int, *, plain: bool) -> FloatArray:
    """Read one number a line.

    Most exports write numbers as JSON does, whose parser is several times as fast as ``float`` and as exact. What JSON does not
    know (``.5``, ``+1``, blanks) is left to ``float``, and so is ``-0``, which JSON takes for a whole number without a sign.

    Args:
        text: The numbers.
        count: How many.
        plain: Whether it is known that there are only digits and signs between the line ends.

    Raises:
        ValueError: a line is not a number.
    """
    data = text.encode()
    plain = plain or not data.translate(None, delete=_IN_NUMBERS + b"\n")
    if plain and b"-0\n" not in data and not data.endswith(b"-0"):
        try:
            return np.fromiter(orjson.loads(b"[%b]" % data.replace(b"\n", b",")), dtype=np.float64, count=count)
        except orjson.JSONDecodeError:
            pass
    if not text.isascii() or "_" in text:
        raise ValueError("not plain numbers")
    return np.fromiter(map(float, text.split("\n")), dtype=np.float64, count=count)


def _parse_slowly(
    lines: Sequence[str], numbers: Sequence[int], separator: str, columns: tuple[int, int], decimal: str, *, last_line_ended: bool
) -> tuple[FloatArray, FloatArray]:
    """Read line by line to name the line that is wrong."""
    points = np.empty((len(lines), 2))
    for index, line in enumerate(lines):
        fields = line.split(separator)
        place = f"line {numbers[index]}"
        cut = index == len(lines) - 1 and not last_line_ended
        if len(fields) <= max(columns):
            if cut:
                raise UnreadableFileError("truncated", "the last line is cut; transfer the file again", place)
            raise UnreadableFileError("not_a_number", f"a point needs two numbers, found {shorten(line)}", place)
        for column, position in enumerate(columns):
            try:
                points[index, column] = parse_number(fields[position], decimal)
            except NumberError as error:
                if cut:
                    raise UnreadableFileError("truncated", "the last line is cut; transfer the file again", place) from error
                raise UnreadableFileError(error.rule, str(error), place) from error
    return points[:, 0].copy(), points[:, 1].copy()


def _refuse_cut(lines: Sequence[str], last_number: int, separator: str, at_y: int, decimal: str) -> None:
    values = [line.split(separator)[at_y].strip().replace(decimal, ".") for line in lines[-_COMPARED_ROWS - 1 :]]
    if len(values) > 1 and looks_cut(values[:-1], values[-1]):
        reason = f"the last number, {values[-1]!r}, has lost digits; transfer the file again"
        raise UnreadableFileError("truncated", reason, f"line {last_number}")


def check_rising(x: FloatArray, numbers: Sequence[int] | None = None) -> None:
    """Refuse an abscissa that does not rise from point to point.

    Args:
        x: Abscissa, shape ``(n_points,)``.
        numbers: Lines of its points, for the message; points are counted when ``None``.

    Raises:
        UnreadableFileError: ``duplicate_x`` or ``descending_x``.
    """
    steps = np.diff(x)
    if steps.size == 0 or steps.min() > 0:
        return
    index = int(np.argmax(steps <= 0)) + 1
    rule = "duplicate_x" if steps[index - 1] == 0 else "descending_x"
    place = f"point {index + 1}" if numbers is None else f"line {numbers[index]}"
    raise UnreadableFileError(rule, f"x is {x[index]:.10g} after {x[index - 1]:.10g}; it must rise", place)


def trace_rows(traces: Sequence[Trace], header: InjectionHeader) -> dict[str, list[Row]]:
    """Turn traces of one injection into rows of ``chromatograms`` and ``instrument_status``.

    Args:
        traces: Its signals.
        header: What is known about the injection.

    Returns:
        Rows by table; a table without rows is left out.
    """
    tables: dict[str, list[Row]] = {}
    for trace in traces:
        name = "instrument_status" if trace.is_status else "chromatograms"
        row = _status_row(trace, header) if trace.is_status else _chromatogram_row(trace, header)
        tables.setdefault(name, []).append(row)
    return tables


def _common(trace: Trace, header: InjectionHeader) -> Row:
    return {
        "injection_name": header.injection_name,
        "x": trace.x,
        "y": trace.y,
        "x_unit": trace.x_unit,
        "y_unit": trace.y_unit,
        "y_factor": trace.y_factor,
        "n_points": len(trace.x),
        "injected_at_text": header.injected_at_text,
        "instrument_name": header.instrument_name,
        "source_row": trace.source_row,
    }


def _status_row(trace: Trace, header: InjectionHeader) -> Row:
    return {**_common(trace, header), "signal": trace.name}


def _chromatogram_row(trace: Trace, header: InjectionHeader) -> Row:
    return {
        **_common(trace, header),
        "x_last": float(trace.x[-1]),
        "channel": trace.name,
        "sample_name": header.sample_name,
        "injected_at_utc": header.injected_at_utc,
        "zone_known": header.zone_known,
        "software": header.software,
        "method_name": header.method_name,
        "operator": header.operator,
        "rescued": {**header.rescued, **trace.rescued},
    }


def injection_time(
    text: str | None, context: ReadContext, warnings: list[str], *, dates: Iterable[str] = ()
) -> tuple[datetime | None, bool]:
    """Read the time of an injection or measurement; one that cannot be read is a warning, since the text itself is kept.

    The file's dates decide between day and month; where these do not, the order declared for the source, and as an
    assumption by the 12 h clock.

    Args:
        text: The file's own text.
        context: Zone and order of dates of the source.
        warnings: Appended to.
        dates: Other dates that the same writer put into the file.

    Returns:
        The instant in UTC or ``None``, and whether the file states the zone.
    """
    if not text:
        return None, False
    order, proven = infer_order([*dates, text])
    try:
        moment, assumed = _moment(text, context, order, proven=proven)
    except MomentError as error:
        warnings.append(f"time not understood, kept as text: {error}")
        return None, False
    if assumed:
        warnings.append(f"{text!r}: month first is assumed from the 12 h clock")
    if moment.repeated:
        warnings.append(f"time {text!r} happens twice in {context.zone}; the earlier was taken")
    return moment.utc, moment.zone_known


def _moment(text: str, context: ReadContext, order: DateOrder | None, *, proven: bool) -> tuple[Moment, bool]:
    """Return the moment, and whether its order of day and month is an assumption."""
    try:
        return parse_moment(text, zone=context.zone, order=order if proven else None), False
    except MomentError as error:
        known = context.date_order or order
        if error.rule != "ambiguous_date" or proven or known is None:
            raise
        return parse_moment(text, zone=context.zone, order=known), context.date_order is None
