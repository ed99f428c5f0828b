"""AnIML, the Analytical Information Markup Language of ASTM: traces, peak tables and reported values.

Belongs here: documents of the core schema from draft 0.90 on, with the habits of their writers (namespaces left out, ``label``
and ``quantity`` of units swapped, columns of a peak table shorter than the table). Series over time become traces where the
document is of chromatography; single values of other techniques, and those listed by position such as the wells of a plate, become
``measurements``. Does not belong here: spectra, images and embedded documents, which are left out with a warning; signatures, which
are not verified.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row, UnreadableFileError
from lab_assets.sources.core.decoding import shorten
from lab_assets.sources.core.peak_columns import NUMBERS, peak_column, peak_row
from lab_assets.sources.core.quantities import NumberError, parse_number
from lab_assets.sources.core.trace_rows import InjectionHeader, Trace, check_rising, trace_rows
from lab_assets.sources.core.xml_text import children, local, parse_xml, root_name
from lab_assets.sources.standards.animl_series import NUMERIC_TAGS, Series, SeriesSet, read_numbers, read_texts, series_set
from lab_assets.sources.standards.animl_steps import Step, injection_header, injection_names, injections, parameters, steps_of

_GENERIC_SIGNALS: Final = frozenset(
    {"", "signal", "intensity", "absorbance", "value", "y", "response", "trace", "chromatogram", "detector", "data"}
)
_FEWEST_PEAK_COLUMNS: Final = 3
_PLACEHOLDERS: Final = frozenset({"null", "nan"})
_POSITION: Final = re.compile(r"\b(?:position|well|vial|cuvette|index)\b", re.IGNORECASE)
_WHOLE_NUMBERS: Final = frozenset({"int32", "int64", "int", "long"})


@dataclass(frozen=True, kw_only=True)
class _Table:
    """One series set with the step and the result it is in."""

    step: Step
    result_name: str
    content: SeriesSet

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"step {self.step.number}, {shorten(self.content.name or self.result_name)}"

    @property
    def is_peaks(self) -> bool:
        """Whether it is a peak table: said so, or by its columns."""
        columns = {peak_column(series.name) for series in self.content.series} & set(NUMBERS)
        said = self.step.is_peak_table or "peak" in f"{self.content.name} {self.result_name}".casefold()
        return bool(columns & {"retention_time", "start_time", "area"}) and (said or len(columns) >= _FEWEST_PEAK_COLUMNS)

    @property
    def positions(self) -> Series | None:
        """The series of positions, when the set lists values by position and not along a physical axis."""
        named = [series for series in self.content.series if series.independent and not series.unit and _POSITION.search(series.name)]
        return named[0] if len(named) == 1 else None

    @property
    def time_axis(self) -> Series | None:
        """The series of times, when the set is one or more signals over time."""
        times = [series for series in self.content.series if series.is_time and series.independent is not False]
        return next((series for series in times if series.independent), times[0] if times else None)


@dataclass(kw_only=True)
class _Found:
    """What was collected from the document so far."""

    tables: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    rejected: list[RejectedRow] = field(default_factory=list[RejectedRow])
    warnings: list[str] = field(default_factory=list[str])
    skipped: Counter[str] = field(default_factory=Counter[str])
    n_traces: int = 0
    n_peaks: int = 0

    def add(self, table: str, rows: Sequence[Row]) -> None:
        """Append rows to a table."""
        if rows:
            self.tables.setdefault(table, []).extend(rows)


class AnimlXmlReader:
    """Reader of AnIML documents."""

    format: str = "animl_xml"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status", "vendor_peaks", "measurements")

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: its root element."""
        del name
        return 100 if root_name(head) == "AnIML" else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one document: every injection, or the reported values of other techniques.

        Raises:
            UnreadableFileError: ``hostile_xml``, ``too_large``, ``truncated``, ``encoding``, ``unsupported``, ``not_a_number``,
                ``not_finite``, ``duplicate_x`` or ``descending_x``.
        """
        root = parse_xml(data)
        if local(root) != "AnIML":
            raise UnreadableFileError("unsupported", f"the root element is {shorten(local(root))}, not AnIML")
        steps = steps_of(root)
        found = _Found()
        if any(step.is_chromatographic for step in steps):
            groups = injections(steps)
            for group, name in zip(groups, injection_names(groups, context), strict=True):
                _injection(group, injection_header(root, group, name, context, found.warnings), found)
        else:
            _measurements(root, steps, context, found)
        if found.skipped:
            found.warnings.append("not read: " + ", ".join(f"{count} {what}" for what, count in sorted(found.skipped.items())))
        if not found.tables:
            reason = "the document holds no trace over time, no peak table and no reported value; " + "; ".join(found.warnings)
            raise UnreadableFileError("unsupported", reason.removesuffix("; "))
        return ReadResult(format=self.format, tables=found.tables, rejected=found.rejected, warnings=found.warnings)


def _tables(step: Step) -> list[_Table]:
    return [
        _Table(step=step, result_name=(result.get("name") or "").strip(), content=series_set(element))
        for result in children(step.element, "Result")
        for element in children(result, "SeriesSet")
    ]


def _injection(steps: Sequence[Step], header: InjectionHeader, found: _Found) -> None:
    """Read the traces and then the peak tables of one injection."""
    traces: dict[int, list[Trace]] = {}
    channels: Counter[str] = Counter()
    peaks: list[_Table] = []
    for table in (table for step in steps for table in _tables(step)):
        axis = table.time_axis
        if table.is_peaks:
            peaks.append(table)
        elif axis is None:
            found.skipped[f"series set(s) {shorten(table.content.name)} without an axis of time"] += 1
        else:
            traces.setdefault(table.step.number, []).extend(_traces(table, axis, channels, found))
    every = [trace for own in traces.values() for trace in own]
    for name, rows in trace_rows(every, header).items():
        found.add(name, rows)
    for table in peaks:
        channel = _channel_of(table, traces, steps, found)
        found.add("vendor_peaks", _peaks(table, header.injection_name, channel, found))


def _traces(table: _Table, axis: Series, channels: Counter[str], found: _Found) -> list[Trace]:
    """Return the signals of one series set."""
    length = table.content.length
    x = read_numbers(axis, length, table.place)
    if length is not None and x.size != length:
        reason = f"{length} points are stated, {x.size} are there; transfer the file again"
        raise UnreadableFileError("truncated", reason, table.place)
    if not x.size:
        found.skipped["series set(s) without points"] += 1
        return []
    check_rising(x)
    traces: list[Trace] = []
    signals = [series for series in table.content.series if series is not axis and series.is_numeric and not series.independent]
    for series in signals:
        y = read_numbers(series, length, table.place)
        if y.size != x.size:
            reason = f"{x.size} times and {y.size} values do not belong together; transfer the file again"
            raise UnreadableFileError("truncated", reason, f"{table.place}, {shorten(series.name)}")
        found.n_traces += 1
        name = _channel_name(table, series, alone=len(signals) == 1)
        channels[name] += 1
        unique = name if channels[name] == 1 else f"{name} #{channels[name]}"
        traces.append(Trace(name=unique, x=x, y=y, x_unit=axis.unit, y_unit=series.unit, source_row=found.n_traces))
    return traces


def _channel_name(table: _Table, series: Series, *, alone: bool) -> str:
    """Return the first name that says more than that there is a signal."""
    candidates = [series.name, table.content.name, table.result_name, table.step.name]
    telling = next((name for name in candidates if name.casefold() not in _GENERIC_SIGNALS), "")
    if telling and not alone and telling != series.name and series.name:
        return f"{telling} {series.name}"
    return telling or series.name or "signal"


def _channel_of(table: _Table, traces: dict[int, list[Trace]], steps: Sequence[Step], found: _Found) -> str:
    """Return the channel a peak table belongs to: that of its step, of the step it refers to, or the only one."""
    sources = [step.number for step in steps if step.step_id in table.step.sources]
    for numbers in ([table.step.number], sources, list(traces)):
        own = [trace.name for number in numbers for trace in traces.get(number, []) if not trace.is_status]
        if len(own) == 1:
            return own[0]
    name = table.content.name or table.result_name or table.step.name or "peak table"
    found.warnings.append(f"{table.place}: the peak table does not say to which of the channels it belongs")
    return name


def _peaks(table: _Table, injection_name: str, channel: str, found: _Found) -> list[Row]:
    """Read a peak table; a column that has not one value a peak is left out, since nobody knows which peaks it means."""
    count = table.content.length
    columns = [(series, _cells(series, count, table.place)) for series in table.content.series]
    if count is None:
        count = max((len(values) for _, values in columns), default=0)
    for series, values in columns:
        if values and len(values) != count:
            found.warnings.append(f"{table.place}: {len(values)} values of {shorten(series.name)} for {count} peaks are left out")
    whole = [(series, values) for series, values in columns if len(values) == count]
    if count and not any(peak_column(series.name) in NUMBERS for series, _ in whole):
        reason = f"{count} peaks are stated, no column has as many values; transfer the file again"
        raise UnreadableFileError("truncated", reason, table.place)
    rows: list[Row] = []
    for index in range(count):
        found.n_peaks += 1
        common: Row = {"injection_name": injection_name, "channel": channel, "peak_no": index + 1, "source_row": found.n_peaks}
        try:
            rows.append(peak_row({**common, **_peak([(series, values[index]) for series, values in whole])}))
        except NumberError as error:
            row = RejectedRow(table="vendor_peaks", source_row=found.n_peaks, rule=error.rule, reason=str(error), row=common)
            found.rejected.append(row)
    return rows


def _cells(series: Series, length: int | None, place: str) -> list[str]:
    """Return the values of a column as texts, as written where they are written."""
    texts = read_texts(series)
    return texts if texts or not series.is_numeric else [repr(value) for value in read_numbers(series, length, place).tolist()]


def _peak(cells: Sequence[tuple[Series, str]]) -> Row:
    row: Row = {}
    rescued: dict[str, str] = {}
    for series, text in cells:
        column = peak_column(series.name)
        if not text or column in row or (column not in NUMBERS and text.casefold() in _PLACEHOLDERS):
            continue
        if column in NUMBERS:
            row[column] = parse_number(text)
            if series.unit and column in {"area", "height", "amount"}:
                row[f"{column}_unit"] = series.unit
            elif series.unit and column in {"retention_time", "start_time"}:
                row.setdefault("retention_unit", series.unit)
        elif column is not None:
            row[column] = text
        elif series.name.casefold() != "number":
            rescued[series.name] = f"{text} {series.unit}".strip()
    return {**row, "rescued": rescued}


def _measurements(root: Element, steps: Sequence[Step], context: ReadContext, found: _Found) -> None:
    """Read single values that steps of other techniques report."""
    number = 0
    for step in steps:
        listed = [(table, positions) for table in _tables(step) if (positions := table.positions) is not None]
        n_others = len(_tables(step)) - len(listed)
        if n_others:
            found.skipped[f"series set(s) of technique {shorten(step.technique.split(' http')[0].strip())}"] += n_others
        results = [(result, list(parameters(result))) for result in children(step.element, "Result")]
        if not listed and not any(values for _, values in results):
            continue
        number += 1
        header = injection_header(root, [step], step.name, context, found.warnings)
        for result, values in results:
            for path, name, value, unit in values:
                text = (value.text or "").strip()
                row = _measurement(header, step, "number" if local(value) in NUMERIC_TAGS else "text", text)
                position = " / ".join(filter(None, (result.get("name"), *path)))
                found.add("measurements", [{**row, "measurement_no": number, "quantity": name, "unit": unit, "position": position or None}])
        for table, positions in listed:
            found.add("measurements", _by_position(table, positions, header, number, found))


def _by_position(table: _Table, positions: Series, header: InjectionHeader, number: int, found: _Found) -> list[Row]:
    """Read the values of a table that has one line a position; texts beside them and the method's parameters go to ``rescued``."""
    length = table.content.length
    names = _cells(positions, length, table.place)
    if length is not None and len(names) != length:
        reason = f"{length} positions are stated, {len(names)} are there; transfer the file again"
        raise UnreadableFileError("truncated", reason, table.place)
    if positions.kind in _WHOLE_NUMBERS:
        names = [name.removesuffix(".0") for name in names]
    whole: list[tuple[Series, list[str]]] = []
    for series in table.content.series:
        values = [] if series is positions else _cells(series, length, table.place)
        if len(values) == len(names):
            whole.append((series, values))
        elif values:
            found.warnings.append(f"{table.place}: {len(values)} values of {shorten(series.name)} for {len(names)} positions are left out")
    inner = table.content.name if table.content.name != table.result_name else ""
    rows: list[Row] = []
    for index, name in enumerate(names):
        texts = {series.name: values[index] for series, values in whole if not series.is_numeric and values[index]}
        place = " / ".join(filter(None, (table.result_name, inner, name)))
        for series, values in whole:
            if series.is_numeric:
                row = _measurement(header, table.step, "number", values[index])
                own = {"measurement_no": number, "quantity": series.name or "value", "unit": series.unit, "position": place}
                rows.append({**row, **own, "rescued": {**header.rescued, **texts}})
    return rows


def _measurement(header: InjectionHeader, step: Step, kind: str, text: str) -> Row:
    """Return what all values of one step share, with the value itself; a number that is none stays text."""
    value: float | None = None
    if kind == "number":
        try:
            value = parse_number(text)
        except NumberError:
            value = None
    return {
        "sample_name": header.sample_name,
        "technique": step.technique.split(" http")[0].strip() or step.name or "unknown",
        "value": value,
        "value_text": None if value is not None else text,
        "measured_at_text": header.injected_at_text,
        "measured_at_utc": header.injected_at_utc,
        "zone_known": header.zone_known,
        "instrument_name": header.instrument_name,
        "software": header.software,
        "method_name": header.method_name,
        "operator": header.operator,
        "rescued": {},
        "source_row": step.number,
    }


READERS: Final = (AnimlXmlReader(),)
