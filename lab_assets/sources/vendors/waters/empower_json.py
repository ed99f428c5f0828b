"""Empower sample sets as the JSON of Benchling's adapter: injections, channels and results, through ``allotropy``.

Belongs here: this format. Does not belong here: Empower's own raw data export (``arw.py``).

The converter turns minutes into seconds (times x 60), AU into mAU (signals x 1000) and uV.s and uV into mAU.s and mAU (areas and heights
/ 1000, since 1 V is 1 AU in Empower). It refuses any other detector unit; here such a signal is passed through it unchanged and keeps
the unit the file states, and its areas and heights are then mV.s and mV. It knows one channel and one result an injection and
refuses or overwrites the others; here every channel is shown to it as an injection of its own. A converter's document carries user
name and password of the data system: both are gone before it sees the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row, UnreadableFileError
from lab_assets.sources.core.trace_rows import InjectionHeader, injection_time
from lab_assets.sources.standards.allotrope import (
    Node,
    child,
    children,
    clean,
    convert,
    entries,
    fields,
    load_json,
    measurements,
    peek_keys,
)
from lab_assets.sources.standards.allotrope_chromatography import Channel, PeakTerms, channel_of, injection_rows, merge

_STAND_IN_TIME: Final = "2000-01-01T00:00:00"
"""Given to the converter, which would call a local time UTC; the file's own text is read here."""
_NO_VALUES: Final = (-50000.0, -2147483648)
"""What Empower writes into a field without a value."""
_ABSORBANCE: Final = frozenset({"AU", "mAU"})
_TERMS: Final = PeakTerms(
    others={"USPPlateCount": "plates", "USPTailing": "tailing", "USPResolution": "resolution"}, leave=frozenset({"peak index"})
)
_TAKEN: Final = frozenset(
    {"SampleName", "DateAcquired", "SystemName", "AcqSWVersion", "AcqMethodSet", "AcquiredBy", "Channel", "DetUnits", "InjectionId"}
)


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """One channel of one injection and its result, as the file states them."""

    injection_id: str
    fields: Node
    chrom: Any
    result: Node


class EmpowerJsonReader:
    """Reader of Empower adapter JSON."""

    format: str = "empower_json"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status", "vendor_peaks")

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: ``values`` with channels or injections, and Empower's names of fields."""
        del name
        outer, inner = peek_keys(head)
        if "values" not in outer or not inner & {"fields", "channels", "injections", "results"}:
            return 0
        known = sum(word in head for word in (b'"SampleSetId"', b'"InjectionId"', b'"SampleSetName"', b'"ChannelId"', b'"AcqSWVersion"'))
        return 95 if known >= 2 else 60 if known else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one sample set.

        Raises:
            UnreadableFileError: ``encoding``, ``truncated``, ``missing_section`` without injections or channels, ``empty``,
                ``unsupported`` for signals of more than one dimension, or a rule of the trace.
        """
        root = load_json(data)
        values = child(root, "values")
        project = fields({"project": child(root, "metadata").get("project")})
        warnings: list[str] = []
        units = _units(values, warnings)
        if not units:
            raise UnreadableFileError("missing_section", "the file holds no injections; export the sample set with its injections")
        document = convert(_input(values, units), "BENCHLING_EMPOWER", "sample_set.json")
        measured = {_key(measurement): measurement for _, measurement in measurements(document)}
        injections: dict[str, list[tuple[int, _Unit]]] = {}
        for number, unit in enumerate(units):
            injections.setdefault(unit.injection_id, []).append((number, unit))
        tables: dict[str, list[Row]] = {}
        rejected: list[RejectedRow] = []
        for members in injections.values():
            header = _header(members[0][1].fields, measured[str(members[0][0])], {**child(values, "fields"), **project}, context, warnings)
            channels = [_channel(unit, measured[str(number)], number + 1) for number, unit in members]
            more, wrong = injection_rows(header, channels, _TERMS, warnings)
            merge(tables, more)
            rejected += wrong
        if not tables:
            raise UnreadableFileError("empty", "no channel of the file has points or peaks; export the channels with their data")
        return ReadResult(format=self.format, tables=tables, rejected=rejected, warnings=warnings)


def _key(measurement: Node) -> str:
    return str(child(measurement, "injection document").get("injection identifier"))


def _units(values: Node, warnings: list[str]) -> list[_Unit]:
    """Return the channels of every injection, and injections without channels, with the result that counts."""
    injections = {_id(entry): _present(child(entry, "fields")) for entry in children(values, "injections")}
    channels: dict[str, list[tuple[Node, Any]]] = {key: [] for key in injections}
    for entry in children(values, "channels"):
        channels.setdefault(_id(entry), []).append((_present(child(entry, "fields")), entry.get("chrom")))
    results: dict[str, list[Node]] = {}
    for entry in children(values, "results"):
        results.setdefault(_id(entry), []).append(entry)
    units: list[_Unit] = []
    for key, own in channels.items():
        left = results.get(key, [])
        for stated, chrom in own or [({}, None)]:
            mine = [entry for entry in left if len(own) <= 1 or _of_channel(child(entry, "fields"), stated)]
            left = [entry for entry in left if all(entry is not taken for taken in mine)]
            merged = {**injections.get(key, {}), **stated}
            units.append(_Unit(injection_id=key, fields=merged, chrom=chrom, result=_latest(mine, merged, warnings)))
        if left:
            warnings.append(f"injection {key}: {len(left)} results name no channel of the file and are not read")
    return units


def _id(entry: Node) -> str:
    key = clean(child(entry, "fields").get("InjectionId"))
    if key is None:
        raise UnreadableFileError("missing_column", "an injection, channel or result has no InjectionId; export it again")
    return key


def _present(node: Node) -> dict[str, Any]:
    """Return the fields of an object that have a value."""
    return {key: value for key, value in node.items() if value not in (None, "") and not _absent(value)}


def _absent(value: object) -> bool:
    return isinstance(value, int | float) and value in _NO_VALUES


def _of_channel(result: Node, channel: Node) -> bool:
    """Tell whether a result belongs to a channel: by its id, else by its name or description."""
    if result.get("ChannelId") is not None:
        return result["ChannelId"] == channel.get("ChannelId")
    own = {channel.get("Channel"), channel.get("ChannelDescription")} - {None}
    return not own.isdisjoint({clean(result.get("Channel")), clean(result.get("ProcessedChanDesc"))})


def _latest(results: Sequence[Node], channel: Node, warnings: list[str]) -> Node:
    """Return the result that counts: not superseded, processed last."""
    if not results:
        return {}
    ranked = sorted(results, key=lambda entry: _rank(child(entry, "fields")))
    if len(ranked) > 1:
        name = clean(channel.get("SampleName")) or ""
        warnings.append(f"{name}: {len(ranked) - 1} older results of the channel are not read, the peaks are of the last one")
    return ranked[-1]


def _rank(result: Node) -> tuple[bool, str, float]:
    number = result.get("ResultId")
    ordinal = float(number) if isinstance(number, int | float) else 0.0
    return (result.get("ResultSuperseded") is not True, str(result.get("DateProcessed") or ""), ordinal)


def _input(values: Node, units: Sequence[_Unit]) -> bytes:
    """Return the file as the converter needs it: each channel an injection of its own, known by its number."""
    injections: list[Node] = []
    channels: list[Node] = []
    results: list[Node] = []
    for number, unit in enumerate(units):
        injection = {
            "InjectionId": str(number),
            "SampleName": f"sample {number}",
            "DateAcquired": _STAND_IN_TIME,
            "SampleType": unit.fields.get("SampleType"),
            "ColumnSerialNumber": unit.fields.get("ColumnSerialNumber"),
        }
        injections.append({"fields": injection})
        if unit.chrom is not None:
            stated = clean(unit.fields.get("DetUnits"))
            known = stated if stated in _ABSORBANCE else "mAU"
            channels.append({"fields": {"InjectionId": str(number), "DetUnits": known}, "chrom": _two_lists(unit)})
        if peaks := children(unit.result, "peaks"):
            own = [{"fields": _present(child(peak, "fields"))} for peak in peaks]
            results.append({"fields": {"InjectionId": str(number)}, "peaks": own})
    stated_set = _present(child(values, "fields")) | {"SampleSetStartDate": None, "SampleSetFinishDate": None}
    return json.dumps({"values": {"fields": stated_set, "injections": injections, "channels": channels, "results": results}}).encode()


def _two_lists(unit: _Unit) -> list[list[float]]:
    """Return the points of a channel, times and readings.

    Raises:
        UnreadableFileError: ``unsupported``, ``truncated`` or ``not_a_number``.
    """
    place = f"channel {clean(unit.fields.get('Channel')) or ''} of {clean(unit.fields.get('SampleName')) or 'an injection'}"
    columns = entries(unit.chrom)
    if [type(column) for column in columns] != [list, list]:
        raise UnreadableFileError("unsupported", "a signal must be a list of times and one of readings; export single channels", place)
    times, readings = cast("list[list[Any]]", columns)
    if len(times) != len(readings):
        raise UnreadableFileError("truncated", f"{len(times)} times for {len(readings)} readings; export it again", place)
    for value in (*times, *readings):
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise UnreadableFileError("not_a_number", "a point of the signal is not a number", place)
    return [times, readings]


def _header(stated: Node, measurement: Node, sample_set: Node, context: ReadContext, warnings: list[str]) -> InjectionHeader:
    at_text = clean(stated.get("DateAcquired"))
    at_utc, zone_known = injection_time(at_text, context, warnings)
    sample = clean(stated.get("SampleName"))
    software = clean(stated.get("AcqSWVersion"))
    column = child(measurement, "chromatography column document")
    role = clean(child(measurement, "sample document").get("sample role type"))
    rescued = fields(sample_set) | fields(stated, _TAKEN) | fields(column, frozenset({"custom information document"}))
    return InjectionHeader(
        injection_name="_".join(part for part in (sample, clean(stated.get("InjectionId"))) if part),
        sample_name=sample,
        injected_at_text=at_text,
        injected_at_utc=at_utc,
        zone_known=zone_known,
        instrument_name=clean(stated.get("SystemName")) or clean(sample_set.get("SystemName")),
        software=software or "Empower",
        method_name=clean(stated.get("AcqMethodSet")),
        operator=clean(stated.get("AcquiredBy")) or clean(sample_set.get("SampleSetAcquiredBy")),
        rescued=rescued | ({"sample role type": role} if role else {}),
    )


def _channel(unit: _Unit, measurement: Node, row: int) -> Channel:
    name = clean(unit.fields.get("Channel")) or clean(unit.fields.get("ChannelDescription")) or "channel"
    unit_stated = clean(unit.fields.get("DetUnits"))
    absorbance = unit_stated in _ABSORBANCE
    result: Mapping[str, str] = {f"result {key}": text for key, text in fields(_present(child(unit.result, "fields"))).items()}
    return replace(
        channel_of(measurement, row, name),
        y_unit=None if absorbance else unit_stated or "",
        size_units=None if absorbance else ("mV.s", "mV"),
        rescued=result,
    )


READERS: Final = (EmpowerJsonReader(),)
