"""Reported values of an ASM document that is no chromatography: one reader for instruments that differ in few things.

Belongs here: the walk from a document's measurements to rows of ``measurements``, and the reader that declares a vendor. Does not
belong here: what a vendor's file looks like (one small file each), running the parser (``allotrope.py``).

A row is one number: a scalar of a measurement, an image feature, a bin of a distribution, a point of a spectrum, or a value calculated
over the measurements. Units and quantities are the Allotrope terms unless the vendor's file says that they are wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from lab_assets.sources.base import ReadContext, ReadResult, Row, UnreadableFileError
from lab_assets.sources.core.decoding import stem
from lab_assets.sources.core.trace_rows import injection_time
from lab_assets.sources.standards.allotrope import (
    Node,
    aggregate_of,
    child,
    children,
    clean,
    convert,
    cube,
    fields,
    groups,
    quantity,
    stated,
)

_SIZE: Final = "particle size"
_WAVELENGTH: Final = "detector wavelength setting"
_SAMPLE_TAKEN: Final = frozenset({"sample identifier"})
_GROUP_TAKEN: Final = frozenset({"measurement time", "data processing time", "analyst", "analytical method identifier"})
_CONTROL_TAKEN: Final = frozenset({"device type", "detection type", "detector view volume", "flush volume setting"})
"""Names of kinds, and settings that a converter states though no file does (a volume flushed, a percentage viewed as mL)."""
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MAX_VALUES: Final = 1_000_000
"""Most values of one file."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A vendor's file, ready for its parser, and what the parser would spoil.

    Attributes:
        data: Bytes for the parser.
        name: File name for the parser.
        measured_at_text: Time of measurement, the file's own text.
        units: Unit by quantity, where ASM's is wrong.
        texts: Text by position and quantity, of values that are no numbers; an empty text is a value the file does not hold.
        samples: Sample by position, where ASM spoils its name.
        instrument_name: Instrument where ASM does not know it.
        software: Software and version where ASM does not know them.
        operator: Person at the instrument where ASM does not know them.
        rescued: Fields of the file that ASM leaves out or spoils.
        rescued_at: The same by position, such as what a plate's layout says of a well.
        warnings: What was noticed and let pass, for people.
    """

    data: bytes
    name: str
    measured_at_text: str | None = None
    units: Mapping[str, str] = field(default_factory=dict[str, str])
    texts: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    samples: Mapping[str, str] = field(default_factory=dict[str, str])
    instrument_name: str | None = None
    software: str | None = None
    operator: str | None = None
    rescued: Mapping[str, str] = field(default_factory=dict[str, str])
    rescued_at: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class _Value:
    """One number; ``None`` where the document says that it is none."""

    quantity: str
    number: float | None
    unit: str
    position: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One measurement with its values."""

    number: int
    sample_name: str | None
    operator: str | None
    method: str | None
    values: Sequence[_Value]
    rescued: Mapping[str, str] = field(default_factory=dict[str, str])


def read_measurements(
    data: bytes, context: ReadContext, *, file_format: str, vendor: str, prepare: Callable[[bytes, ReadContext], Prepared]
) -> ReadResult:
    """Read one file of one vendor.

    Args:
        data: The whole file.
        context: What is known besides the bytes.
        file_format: Name of the format.
        vendor: A key of ``PARSERS``.
        prepare: Returns the file as the parser needs it.

    Raises:
        UnreadableFileError: what ``prepare`` or the parser refuses, ``empty`` without values, ``too_large``.
    """
    prepared = prepare(data, context)
    document = convert(prepared.data, vendor, prepared.name)
    warnings = list(prepared.warnings)
    rows = _rows(document, prepared, context, warnings)
    if not rows:
        raise UnreadableFileError("empty", "the file holds settings and no measured value; export it with its results")
    return ReadResult(format=file_format, tables={"measurements": rows}, warnings=warnings)


def _rows(document: Node, prepared: Prepared, context: ReadContext, warnings: list[str]) -> list[Row]:
    technique, aggregate = aggregate_of(document)
    entries = list(_entries(document))
    if sum(len(entry.values) for entry in entries) > MAX_VALUES:
        raise UnreadableFileError("too_large", f"the file holds more than {MAX_VALUES} values")
    at_utc, zone_known = injection_time(prepared.measured_at_text, context, warnings)
    common: Row = {
        "technique": technique,
        "measured_at_text": prepared.measured_at_text,
        "measured_at_utc": at_utc,
        "zone_known": zone_known,
        "instrument_name": prepared.instrument_name or clean(child(aggregate, "device system document").get("model number")),
        "software": prepared.software or _software(aggregate),
    }
    rows: list[Row] = []
    left_out = 0
    for entry in entries:
        shared: Row = {
            **common,
            "measurement_no": entry.number,
            "sample_name": entry.sample_name,
            "operator": entry.operator or prepared.operator,
            "method_name": stem(entry.method) if entry.method else None,
            "rescued": {**entry.rescued, **prepared.rescued},
        }
        for value in entry.values:
            text = prepared.texts.get((value.position or "", value.quantity)) if value.number is None else None
            if value.number is None and not text:
                left_out += 1
                continue
            unit = prepared.units.get(value.quantity, value.unit)
            own: Row = {"quantity": value.quantity, "value": value.number, "value_text": text, "unit": unit, "position": value.position}
            if sample := prepared.samples.get(value.position or ""):
                own["sample_name"] = sample
            if about := prepared.rescued_at.get(value.position or ""):
                own["rescued"] = {**shared["rescued"], **about}
            rows.append({**shared, **own, "source_row": len(rows) + 1})
    if left_out:
        warnings.append(f"{left_out} results without a value are left out")
    return rows


def _software(aggregate: Node) -> str | None:
    system = child(aggregate, "data system document")
    parts = (clean(system.get(key)) for key in ("software name", "software version"))
    return " ".join(part for part in parts if part and part != "Unknown") or None


def _entries(document: Node) -> Iterator[_Entry]:
    """Return the measurements that have values, then what was calculated over them."""
    number = 0
    by_identifier: dict[str, _Entry] = {}
    samples: set[str | None] = set()
    for group in groups(document):
        about = child(group, "measurement aggregate document")
        measured = children(about, "measurement document")
        values = [_values(measurement) for measurement in measured]
        if measured and (shared := list(_processed(about))):
            # features of a well imaged in several channels belong to the well, not to one of its channels
            measured, values = measured[:1], [shared]
        for measurement, own in zip(measured, values, strict=True):
            if not own:
                continue
            number += 1
            entry = _entry(number, measurement, group, own)
            samples.add(entry.sample_name)
            by_identifier[str(measurement.get("measurement identifier"))] = entry
            yield entry
    yield from _calculated(document, by_identifier, number, samples)


def _entry(number: int, measurement: Node, group: Node, values: Sequence[_Value]) -> _Entry:
    about = child(group, "measurement aggregate document")
    sample = child(measurement, "sample document")
    place = clean(sample.get("location identifier"))
    rescued = fields(about, _GROUP_TAKEN) | fields(sample, _SAMPLE_TAKEN)
    for at, settings in enumerate(_settings(about), start=1):
        rescued |= {f"channel {at} {key}": text for key, text in settings.items()}
    run = clean(measurement.get("measurement identifier"))
    if run is not None and not _UUID.fullmatch(run):
        rescued["measurement identifier"] = run
    return _Entry(
        number=number,
        sample_name=clean(sample.get("sample identifier")),
        operator=clean(group.get("analyst")) or clean(about.get("analyst")),
        method=clean(about.get("analytical method identifier")),
        values=[replace(value, position=value.position or place) for value in values],
        rescued=rescued,
    )


def _settings(about: Node) -> list[dict[str, str]]:
    """Return the settings of each device control of a group once; they are the same for every well."""
    found: list[dict[str, str]] = []
    for measurement in children(about, "measurement document"):
        for control in children(measurement, "device control aggregate document", "device control document"):
            settings = fields(control, _CONTROL_TAKEN)
            if settings and settings not in found:
                found.append(settings)
    return found


def _values(measurement: Node) -> list[_Value]:
    """Return the values of one measurement."""
    controls = children(measurement, "device control aggregate document", "device control document")
    wavelength = next((stated(control[_WAVELENGTH]) for control in controls if _WAVELENGTH in control), None)
    values = [replace(value, position=wavelength) for value in _scalars(measurement)]
    for key, node in measurement.items():
        found = cube(node) if key.endswith("data cube") else None
        if found is not None:
            points = zip(found.x.tolist(), found.y.tolist(), strict=True)
            values += [
                _Value(quantity=found.concept, number=y, unit=found.y_unit, position=f"{x:.15g} {found.x_unit}".strip()) for x, y in points
            ]
    return [*values, *_processed(measurement)]


def _scalars(node: Node) -> Iterator[_Value]:
    for key, value in node.items():
        if isinstance(value, dict) and "value" in value:
            yield _value(key, cast("Node", value))


def _value(name: str, node: Any, position: str | None = None) -> _Value:
    found = quantity(node)
    number = found.value if found.value is not None and math.isfinite(found.value) else None
    return _Value(quantity=name, number=number, unit=found.unit, position=position)


def _processed(node: Node) -> Iterator[_Value]:
    """Return what was worked out of one measurement, or of all measurements of a group."""
    for document in children(node, "processed data aggregate document", "processed data document"):
        yield from _scalars(document)
        for feature in children(document, "image feature aggregate document", "image feature document"):
            if name := clean(feature.get("image feature name")):
                yield _value(name, feature.get("image feature result"))
        for bin_ in children(document, "distribution aggregate document", "distribution document"):
            position = stated(bin_.get(_SIZE))
            yield from (
                replace(value, position=position) for value in _scalars(bin_) if value.quantity != _SIZE and value.number is not None
            )


def _calculated(document: Node, entries: Mapping[str, _Entry], last: int, samples: set[str | None]) -> Iterator[_Entry]:
    """Return values calculated over measurements: at their measurement where they name one, else at one of their own.

    Distributions are calculated bin by bin, the size before the counts.
    """
    _, aggregate = aggregate_of(document)
    own: list[_Value] = []
    position: str | None = None
    for item in children(aggregate, "calculated data aggregate document", "calculated data document"):
        name = (clean(item.get("calculated data name")) or "calculated").replace("_", " ")
        if name.endswith(_SIZE):
            position = stated(item.get("calculated result"))
            continue
        value = _value(name, item.get("calculated result"), position)
        sources = children(item, "data source aggregate document", "data source document")
        entry = next((entries[key] for source in sources if (key := str(source.get("data source identifier"))) in entries), None)
        if entry is None:
            own.append(value)
        else:
            yield replace(entry, values=[value])
    if own:
        first = next(iter(entries.values()), None)
        sample = next(iter(samples)) if len(samples) == 1 else None
        operator = first.operator if first else None
        yield _Entry(number=last + 1, sample_name=sample, operator=operator, method=first.method if first else None, values=own)
