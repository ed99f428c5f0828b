"""GAML, the Generalized Analytical Markup Language of Thermo Galactic: experiments with traces and peak tables.

Belongs here: chromatograms (``technique="CHROM"``) of files that converters wrote from other data systems; one file may hold a
whole sequence, one experiment an injection. Does not belong here: spectra and other techniques, which are left out with a
warning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row, UnreadableFileError
from lab_assets.sources.core.decoding import is_secret, shorten, stem
from lab_assets.sources.core.peak_columns import NUMBERS, normalised, peak_column, peak_row
from lab_assets.sources.core.quantities import NumberError, parse_number, time_unit
from lab_assets.sources.core.trace_rows import FloatArray, InjectionHeader, Trace, check_rising, injection_time, trace_rows
from lab_assets.sources.core.xml_text import (
    MAX_POINTS,
    child,
    children,
    local,
    parse_xml,
    root_name,
    text_of,
    unpack_base64,
    without_folders,
)

_DTYPES: Final = {"FLOAT32": "<f4", "FLOAT64": "<f8"}
_UNSTATED: Final = frozenset({"", "UNKNOWN", "NONE", "ARBITRARY"})
_MAX_RESCUED: Final = 500
"""Parameters kept of one injection; data systems dump their whole method into some files."""
_SPELLINGS: Final = {
    "sample": frozenset({"samplename", "sdsampname", "samplenametext"}),
    "operator": frozenset({"operator", "operatorname", "adoperator", "operatorinitials", "analyst", "analystname"}),
    "method": frozenset({"instrumentmethod", "instrumentmethodname", "methodname", "methodid", "acquisitionmethod", "sdinstfile"}),
    "instrument": frozenset({"instrumentname", "instrument", "ininstname", "systemname"}),
}
_SYMBOLS_BY_UNIT: Final = {
    "MICROVOLTS": frozenset({"uv", "microvolts"}),
    "MILLIVOLTS": frozenset({"mv", "millivolts"}),
    "VOLTS": frozenset({"v", "volts"}),
    "ABSORBANCE": frozenset({"au", "absorbance"}),
}
_UNIT_SYMBOLS: Final = frozenset({"uv", "mv", "v", "au", "mau", "uau", "riu", "uriu", "nriu", "mriu", "pa", "na", "nc", "us"})
"""Labels that are a unit; the vocabulary of GAML lacks most of them, so that converters write the nearest word beside them."""
_NUMBER_AND_UNIT: Final = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)\s+(\S.*)")


@dataclass(frozen=True, kw_only=True)
class _Parameter:
    """One ``parameter`` element."""

    name: str
    words: frozenset[str]
    value: str


@dataclass(kw_only=True)
class _Found:
    """What was collected from the document so far."""

    tables: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    rejected: list[RejectedRow] = field(default_factory=list[RejectedRow])
    warnings: list[str] = field(default_factory=list[str])
    skipped: Counter[str] = field(default_factory=Counter[str])
    n_traces: int = 0
    n_peaks: int = 0


class GamlXmlReader:
    """Reader of GAML documents."""

    format: str = "gaml_xml"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status", "vendor_peaks")

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: its root element."""
        del name
        return 100 if root_name(head) == "GAML" else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one document: every chromatogram of every experiment.

        Raises:
            UnreadableFileError: ``hostile_xml``, ``too_large``, ``truncated``, ``encoding``, ``unsupported``, ``not_a_number``,
                ``not_finite``, ``duplicate_x`` or ``descending_x``.
        """
        root = parse_xml(data)
        if local(root) != "GAML":
            raise UnreadableFileError("unsupported", f"the root element is {shorten(local(root))}, not GAML")
        found = _Found()
        experiments = list(children(root, "experiment"))
        general = list(_parameters(root))
        names: Counter[str] = Counter()
        for number, experiment in enumerate(experiments, start=1):
            name = _injection_name(root, experiment, number if len(experiments) > 1 else 0, context)
            names[name] += 1
            if names[name] > 1:
                found.warnings.append(f"{names[name]} experiments are named {shorten(name)}; they are numbered")
                name = f"{name} #{names[name]}"
            _experiment(experiment, name, general, context, found)
        if found.skipped:
            found.warnings.append("not read: " + ", ".join(f"{count} {what}" for what, count in sorted(found.skipped.items())))
        if not found.tables:
            raise UnreadableFileError("unsupported", "the document holds no chromatogram (technique CHROM); " + "; ".join(found.warnings))
        return ReadResult(format=self.format, tables=found.tables, rejected=found.rejected, warnings=found.warnings)


def _injection_name(root: Element, experiment: Element, number: int, context: ReadContext) -> str:
    stated = (experiment.get("name") or "").strip()
    general = (root.get("name") or "").strip() or stem(context.file_name)
    return stated or (f"{general} {number}" if number else general)


def _parameters(element: Element) -> Iterator[_Parameter]:
    """Yield the parameters of an element that say something; credentials are left out."""
    for item in children(element, "parameter"):
        name, label, alias = (item.get(key, "").strip() for key in ("name", "label", "alias"))
        value = (item.text or "").strip()
        if value and value != "NULL" and not any(map(is_secret, (name, label, alias))):
            words = frozenset(normalised(text) for text in (name, label, alias) if text)
            yield _Parameter(name=name or label or alias or "parameter", words=words, value=value)


def _experiment(experiment: Element, name: str, general: list[_Parameter], context: ReadContext, found: _Found) -> None:
    """Read the traces of one injection."""
    channels: Counter[str] = Counter()
    own = list(_parameters(experiment))
    at_text = text_of(experiment, "collectdate")
    at_utc, zone_known = injection_time(at_text, context, found.warnings)
    for element in children(experiment, "trace"):
        technique = element.get("technique", "").strip().upper()
        if technique != "CHROM":
            found.skipped[f"trace(s) of technique {shorten(technique)}"] += 1
            continue
        if any(_stated_count(item) > 1 for item in children(element, "coordinates")):
            found.skipped["trace(s) with a further dimension"] += 1
            continue
        parameters = [*own, *_parameters(element)]
        stated = {what: _first(parameters, words) or _first(general, words) for what, words in _SPELLINGS.items()}
        header = InjectionHeader(
            injection_name=name,
            sample_name=stated["sample"] or (experiment.get("name") or "").strip() or None,
            injected_at_text=at_text,
            injected_at_utc=at_utc,
            zone_known=zone_known,
            instrument_name=stated["instrument"],
            software=_first(general, frozenset({"converterdescription"})) or _first(general, frozenset({"convertername"})),
            method_name=stem(stated["method"] or "") or None,
            operator=stated["operator"],
            rescued=_rescued(parameters),
        )
        for trace, y_data, peak_unit in _traces(element, channels, found):
            for table, rows in trace_rows([trace], header).items():
                found.tables.setdefault(table, []).extend(rows)
            if not trace.is_status:
                _peaks(y_data, {"injection_name": name, "channel": trace.name, "retention_unit": peak_unit}, found)


def _first(parameters: list[_Parameter], words: frozenset[str]) -> str | None:
    return next((parameter.value for parameter in parameters if parameter.words & words), None)


def _rescued(parameters: list[_Parameter]) -> dict[str, str]:
    """Return the other parameters by name; of two of one name the first."""
    taken = _SPELLINGS["sample"] | _SPELLINGS["operator"]
    rescued: dict[str, str] = {}
    for parameter in parameters:
        if not parameter.words & taken and len(rescued) < _MAX_RESCUED:
            rescued.setdefault(parameter.name, without_folders(parameter.value))
    return rescued


def _traces(element: Element, channels: Counter[str], found: _Found) -> Iterator[tuple[Trace, Element, str]]:
    """Yield the signals of a trace element, each with its ``Ydata`` and the unit of the times in its peak table."""
    pairs = [(x_data, y_data) for x_data in children(element, "Xdata") for y_data in children(x_data, "Ydata")]
    for x_data, y_data in pairs:
        found.n_traces += 1
        place = f"trace {found.n_traces}"
        x_unit, x_source = _abscissa(x_data)
        x, y = _values(x_source, place), _values(y_data, place)
        if x.size != y.size:
            raise UnreadableFileError("truncated", f"{x.size} times and {y.size} values do not belong together", place)
        if not x.size:
            found.skipped["trace(s) without points"] += 1
            continue
        check_rising(x)
        label = (y_data.get("label") or "").strip()
        name = (element.get("name") or "").strip() or label or "channel"
        if (y_unit := _unit(y_data)) and normalised(label) in _UNIT_SYMBOLS - _SYMBOLS_BY_UNIT.get(y_unit.upper(), frozenset[str]()):
            found.warnings.append(f"{place}: the unit is stated as {y_unit}, but labelled {shorten(label)}")
        if len(pairs) > 1 and label and label != name:
            name = f"{name} {label}"
        channels[name] += 1
        trace = Trace(
            name=name if channels[name] == 1 else f"{name} #{channels[name]}",
            x=x,
            y=y,
            x_unit=x_unit,
            y_unit=y_unit,
            source_row=found.n_traces,
            rescued={"Ydata label": label} if label else {},
        )
        yield trace, y_data, _unit(x_data)


def _abscissa(x_data: Element) -> tuple[str, Element]:
    """Return the unit and the element of the times: those of ``Xdata``, unless only an alternative abscissa is a time."""
    for candidate in (x_data, *children(x_data, "altXdata")):
        if time_unit(_unit(candidate)) is not None:
            return _unit(candidate), candidate
    return _unit(x_data), x_data


def _unit(element: Element) -> str:
    """Return the unit as stated; where the vocabulary of GAML has no word for it, a label that is a time."""
    unit, label = element.get("units", "").strip(), element.get("label", "").strip()
    if unit.upper() in _UNSTATED:
        return label if time_unit(label) is not None else ""
    return unit


def _stated_count(element: Element) -> int:
    values = child(element, "values")
    text = "" if values is None else values.get("numvalues", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0


def _values(element: Element, place: str) -> FloatArray:
    """Unpack the values below an element.

    Raises:
        UnreadableFileError: ``truncated``, ``unsupported``, ``too_large``, ``not_a_number`` or ``not_finite``.
    """
    place = f"{place}, {local(element)}"
    values = child(element, "values")
    if values is None:
        raise UnreadableFileError("truncated", "there are no values; convert the file again", place)
    packing, order = values.get("format", "").strip().upper(), values.get("byteorder", "INTEL").strip().upper()
    if packing not in _DTYPES or order != "INTEL":
        raise UnreadableFileError("unsupported", f"values of format {shorten(packing)}, byte order {shorten(order)}", place)
    stated = _stated_count(element)
    if stated > MAX_POINTS:
        raise UnreadableFileError("too_large", f"{stated} values are stated; {MAX_POINTS} are accepted", place)
    numbers = unpack_base64(values.text or "", _DTYPES[packing], place)
    if values.get("numvalues") is not None and stated != numbers.size:
        reason = f"{values.get('numvalues')} values are stated, {numbers.size} are there; transfer the file again"
        raise UnreadableFileError("truncated", reason, place)
    return numbers


def _peaks(y_data: Element, common: Mapping[str, object], found: _Found) -> None:
    """Read the peak tables of one signal; a peak with a bad number is rejected."""
    peaks = [peak for table in children(y_data, "peaktable") for peak in children(table, "peak")]
    for number, peak in enumerate(peaks, start=1):
        found.n_peaks += 1
        row = {**common, "peak_no": number, "source_row": found.n_peaks}
        try:
            found.tables.setdefault("vendor_peaks", []).append(peak_row({**row, **_peak(peak)}))
        except NumberError as error:
            rejected = RejectedRow(table="vendor_peaks", source_row=found.n_peaks, rule=error.rule, reason=str(error), row=row)
            found.rejected.append(rejected)
    if not found.tables.get("vendor_peaks"):
        found.tables.pop("vendor_peaks", None)


def _peak(peak: Element) -> Row:
    """Return one peak: its own elements first, then parameters; of two parameters for one column the first."""
    row: Row = {"peak_name": (peak.get("name") or "").strip() or None}
    rescued: dict[str, str] = {}
    places = {"retention_time": ("peakXvalue",), "start_time": ("baseline", "startXvalue"), "end_time": ("baseline", "endXvalue")}
    for column, path in places.items():
        if text := text_of(peak, *path):
            row[column] = parse_number(text)
    for parameter in _parameters(peak):
        column = peak_column(parameter.name) or next((peak_column(word) for word in sorted(parameter.words) if peak_column(word)), None)
        if column is None or row.get(column) is not None or (column == "peak_name" and row["peak_name"]):
            rescued.setdefault(parameter.name, without_folders(parameter.value))
        elif column in NUMBERS:
            unit = _NUMBER_AND_UNIT.fullmatch(parameter.value)
            row[column] = parse_number(unit[1] if unit else parameter.value)
            if unit and column in {"area", "height", "amount"}:
                row[f"{column}_unit"] = unit[2]
        else:
            row[column] = parameter.value
    return {**row, "rescued": rescued}


READERS: Final = (GamlXmlReader(),)
