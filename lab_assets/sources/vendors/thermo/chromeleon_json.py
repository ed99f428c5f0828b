"""Chromeleon sequences as the JSON of Benchling's adapter: injections with their signals and peaks, through ``allotropy``.

Belongs here: this format. Does not belong here: Chromeleon's own text export (``chromeleon_text.py``).

The converter turns minutes into seconds (times and widths x 60) and mAU.min into mAU.s (areas x 60). It states mAU for every signal,
since the export states no unit; only signals of an absorbance detector, those with a wavelength whose name tells no other detector,
keep it. It multiplies baseline values by 60 and labels them ``s``, which they are not: they are taken from the file itself, without
a unit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row, UnreadableFileError
from lab_assets.sources.core.decoding import is_secret
from lab_assets.sources.core.trace_rows import InjectionHeader, injection_time
from lab_assets.sources.standards.allotrope import Node, aggregate_of, child, children, clean, convert, fields, groups, load_json, peek_keys
from lab_assets.sources.standards.allotrope_chromatography import Channel, PeakTerms, channel_of, injection_rows, merge

_OPERATOR: Final = "last update user name"
_STAND_IN_TIME: Final = "2000-01-01T00:00:00+00:00"
"""Given to the converter, which would guess the order of day and month; the file's own text is read here."""
_BASELINE: Final = ("start value baseline", "stop value baseline")
_TERMS: Final = PeakTerms(
    plates="number of theoretical plates by peak width at half height",
    tailing="asymmetry factor measured at 5 % height",
    leave=frozenset({"baseline value at start of peak", "baseline value at end of peak", "peak index"}),
)
_NOT_ABSORBANCE: Final = re.compile(
    r"(?<![a-z])(?:fl|fld|rf|flu[a-z]*|emission|excitation|em|ex|ecd|cd|rid?|elsd|cad|ms)(?![a-z])", re.IGNORECASE
)
"""Names of signals of other detectors; those of fluorescence have a wavelength too."""
_TAKEN: Final = frozenset({"injection name", "injection time", "injection identifier", _OPERATOR, "injection method"})


class ChromeleonJsonReader:
    """Reader of Chromeleon adapter JSON."""

    format: str = "chromeleon_json"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status", "vendor_peaks")

    def sniff(self, name: str, head: bytes) -> int:
        """Return how surely this is the format: injections beside a sequence, named as the adapter names them."""
        del name
        outer, inner = peek_keys(head)
        if not outer or b'"injection' not in head:
            return 0
        frame = len(outer & {"injections", "sequence", "device information"})
        if frame >= 2 and (inner & {"sequence name", "sequence directory", "pump model number"} or b'"injection name"' in head):
            return 95
        return 80 if "injections" in outer and b'"injection identifier"' in head else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one sequence.

        Raises:
            UnreadableFileError: ``encoding``, ``truncated``, ``missing_section`` without injections, ``empty`` without signals,
                ``unsupported``, or a rule of the trace.
        """
        root = load_json(data, keep=frozenset({_OPERATOR}))
        injections = [injection for injection in children(root, "injections") if children(injection, "signals")]
        if not injections:
            rule = "empty" if isinstance(root.get("injections"), list) else "missing_section"
            raise UnreadableFileError(rule, "the file holds no injection with signals; export the sequence with its signals")
        document = convert(_input(root, injections), "BENCHLING_CHROMELEON", "sequence.json")
        found = groups(document)
        if len(found) != len(injections):
            raise UnreadableFileError("truncated", f"{len(injections)} injections gave {len(found)} documents")
        tables: dict[str, list[Row]] = {}
        rejected: list[RejectedRow] = []
        warnings: list[str] = []
        _, aggregate = aggregate_of(document)
        instrument = clean(child(aggregate, "device system document").get("asset management identifier"))
        row = 0
        for injection, group in zip(injections, found, strict=True):
            sequence = child(root, "sequence")
            header = _header(injection, group=group, instrument=instrument, sequence=sequence, context=context, warnings=warnings)
            signals = children(injection, "signals")
            measured = children(group, "measurement aggregate document", "measurement document")
            pairs = zip(signals, measured, strict=True)
            channels = [_channel(signal, measurement, row + at) for at, (signal, measurement) in enumerate(pairs, start=1)]
            row += len(channels)
            more, wrong = injection_rows(header, channels, _TERMS, warnings)
            merge(tables, more)
            rejected += wrong
        if not tables:
            raise UnreadableFileError("empty", "no signal of the file has points or peaks")
        return ReadResult(format=self.format, tables=tables, rejected=rejected, warnings=warnings)


def _input(root: Node, injections: list[Node]) -> bytes:
    """Return the file as the converter needs it: only injections with signals, and nothing it would refuse or guess."""
    prepared: list[Node] = [
        {
            **injection,
            "sample identifier": clean(injection.get("sample identifier")) or "",
            "injection identifier": str(number),
            "injection time": _STAND_IN_TIME,
            "custom variables": {},
        }
        for number, injection in enumerate(injections)
    ]
    return json.dumps({**root, "injections": prepared}).encode()


def _header(
    injection: Node, *, group: Node, instrument: str | None, sequence: Node, context: ReadContext, warnings: list[str]
) -> InjectionHeader:
    at_text = clean(injection.get("injection time"))
    at_utc, zone_known = injection_time(at_text, context, warnings)
    name = clean(injection.get("injection name")) or "injection"
    return InjectionHeader(
        # a sequence injects blanks and standards of one name several times; the number within it tells them apart
        injection_name="_".join(part for part in (name, clean(injection.get("injection number"))) if part),
        sample_name=clean(injection.get("sample identifier")) or clean(injection.get("injection name")),
        injected_at_text=at_text,
        injected_at_utc=at_utc,
        zone_known=zone_known,
        instrument_name=clean(injection.get("precondition system instrument name")) or instrument,
        software="Chromeleon",
        method_name=clean(injection.get("injection method")),
        operator=clean(group.get("analyst")),
        rescued=fields(sequence) | fields(child(injection, "custom variables")) | fields(injection, _TAKEN),
    )


def _channel(signal: Mapping[str, Any], measurement: Node, row: int) -> Channel:
    channel = channel_of(measurement, row, clean(signal.get("signal name")))
    absorbance = isinstance(signal.get("wavelength setting"), int | float) and not _NOT_ABSORBANCE.search(channel.name)
    others = {key: text for key, text in fields(signal, frozenset({"signal name"})).items() if text != "unknown" and not is_secret(key)}
    peaks = [{**peak, **_baseline(own)} for peak, own in zip(channel.peaks, children(signal, "peaks"), strict=False)]
    return replace(
        channel,
        peaks=peaks,
        y_unit=None if absorbance else "",
        size_units=None if absorbance else ("", ""),
        rescued=others,
    )


def _baseline(peak: Node) -> dict[str, Any]:
    return {key: peak[key] for key in _BASELINE if peak.get(key) is not None}


READERS: Final = (ChromeleonJsonReader(),)
