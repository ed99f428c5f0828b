"""Agilent OpenLab CDS 2 ``.dx``: one injection in a container, its manifest ``injection.acmd`` and a part for each signal.

Belongs here: the manifest, and which part is what. Does not belong here: the layout of a part (``agilent_signal.py``); parts with
spectra or mass spectra, which are no chromatograms and are named in a warning; results (``.rx``) and sequences (``.acaml``).

Parts are named after ids that mean nothing outside; names, units and counts come from the manifest. ``.CH`` parts are detector
signals at a constant interval, ``.IT`` parts readings of the instrument (pressure, flow, temperatures) with a time for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import Archive, open_archive
from lab_assets.sources.core.channel_names import distinct
from lab_assets.sources.core.decoding import shorten, stem
from lab_assets.sources.core.quantities import NumberError, is_status_signal, parse_number
from lab_assets.sources.core.trace_rows import InjectionHeader, Trace, injection_time, trace_rows
from lab_assets.sources.core.xml_text import parse_xml
from lab_assets.sources.vendors.agilent.agilent_signal import MAX_SIGNAL_BYTES, Signal, read_curve, read_signal, software_of
from lab_assets.sources.vendors.agilent.agilent_xml import MAX_XML_BYTES, named, texts

_MANIFEST: Final = "injection.acmd"
_SIGNALS: Final = {"Signal179": ".ch", "InstrumentTrace179": ".it"}
_RESCUED: Final = {
    "Location": "vial",
    "InjectionVolume": "injection_volume",
    "InjectionVolumeUnits": "injection_volume_unit",
    "InjectionSource": "injection_source",
    "SequenceLine": "sequence_line",
    "Replicate": "replicate",
    "Barcode": "barcode",
}


class AgilentDxReader:
    """Reader of ``.dx`` containers."""

    format: str = "agilent_dx"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status")

    def sniff(self, name: str, head: bytes) -> int:
        """Return 0: the format is an archive."""
        del name, head
        return 0

    def sniff_archive(self, name: str, archive: Archive) -> int:
        """Return how surely this is the format: no other container has its manifest."""
        del name
        return 100 if _manifest_name(archive) is not None else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one container: one injection.

        Raises:
            UnreadableFileError: ``truncated`` for any damaged part or one with fewer points than the manifest states,
                ``missing_section`` for a detector signal without its part or no signal at all, ``unit_changed`` when manifest and
                part scale a signal differently, and the rules of archives.
        """
        archive = open_archive(data)
        name = _manifest_name(archive)
        if name is None:
            raise UnreadableFileError("missing_section", "there is no injection.acmd, so nothing says what the parts are")
        root = parse_xml(archive.read(name, MAX_XML_BYTES), _MANIFEST)
        parts = {PurePosixPath(part).name.casefold(): part for part in archive.names}
        warnings: list[str] = []
        found: list[tuple[Trace, Signal]] = []
        for entry in map(texts, named(root, "Signal")):
            part = _part(entry, parts, warnings)
            if part is not None:
                found += _read_part(archive, part, entry, len(found) + 1, warnings)
                parts.pop(PurePosixPath(part).name.casefold(), None)
        found += _unlisted(archive, parts, len(found) + 1, warnings)
        if not found:
            reason = f"the container has no chromatogram ({'; '.join(warnings)})" if warnings else "the manifest lists no signal"
            raise UnreadableFileError("missing_section", f"{reason}; export the injection with its signals")
        info = next((texts(element) for element in named(root, "InjectionInfo")), dict[str, str]()) or texts(root)
        header = _header(info, found[0][1], context, warnings)
        return ReadResult(format=self.format, tables=trace_rows(distinct([trace for trace, _ in found]), header), warnings=warnings)


def _manifest_name(archive: Archive) -> str | None:
    return next((name for name in archive.names if name.lower() == _MANIFEST), None)


def _label(entry: Mapping[str, str]) -> str:
    """Return the name of a signal for people, empty when the manifest gives it none."""
    return entry.get("Description") or entry.get("ChannelName") or entry.get("DeviceName") or ""


def _part(entry: Mapping[str, str], parts: Mapping[str, str], warnings: list[str]) -> str | None:
    """Return the part of a signal; a signal that is not read is named in a warning.

    Raises:
        UnreadableFileError: ``missing_section`` when the part of a detector's signal is not there.
    """
    kind = entry.get("Encoding", "").rpartition("/")[2]
    label = shorten(_label(entry) or "a signal without a name")
    suffix = _SIGNALS.get(kind)
    if suffix is None:
        warnings.append(f"{label} is of the kind {shorten(kind)}, which is not read")
        return None
    part = parts.get(f"{entry.get('TraceId', '').casefold()}{suffix}")
    if part is None and suffix == ".ch" and _count(entry) != 0:
        raise UnreadableFileError("missing_section", "the manifest lists a signal whose part is missing; transfer the file again", label)
    if part is None:
        warnings.append(f"{label} is listed without data")
    return part


def _count(entry: Mapping[str, str]) -> int | None:
    """Return the stated number of points, ``None`` when the manifest states none that can be."""
    count = _number(entry, "NumberOfValues")
    return int(count) if count is not None and count >= 0 and count == int(count) else None


def _number(entry: Mapping[str, str], name: str) -> float | None:
    try:
        return parse_number(entry.get(name, ""))
    except NumberError:
        return None


def _read_part(archive: Archive, part: str, entry: Mapping[str, str], row: int, warnings: list[str]) -> list[tuple[Trace, Signal]]:
    """Return the trace of one part, none when the run wrote no point of it."""
    curve = PurePosixPath(part).suffix.lower() == ".it"
    label = _label(entry)
    signal = (read_curve if curve else read_signal)(archive.read(part, MAX_SIGNAL_BYTES), shorten(label or "a signal"), _count(entry))
    slope = _number(entry, "Slope")
    if slope is not None and abs(slope - signal.scale) > 1e-9 * abs(slope):
        reason = f"the manifest scales the signal by {slope!r}, its part by {signal.scale!r}; export the injection again"
        raise UnreadableFileError("unit_changed", reason, shorten(label))
    name = label or signal.texts.get("signal") or f"signal {row}"
    if not signal.x.size:
        warnings.append(f"{shorten(name)} has no points and was left out")
        return []
    unit = entry.get("Units") or signal.texts.get("unit", "")
    rescued = {"format_version": signal.version, "scaling_factor": repr(signal.scale)}
    rescued |= {name: entry[theirs] for theirs, name in (("ChannelName", "file"), ("DeviceName", "detector")) if theirs in entry}
    status = True if curve else is_status_signal(name, unit)
    trace = Trace(name=name, x=signal.x, y=signal.y, x_unit="min", y_unit=unit, source_row=row, rescued=rescued, status=status)
    return [(trace, signal)]


def _unlisted(archive: Archive, parts: Mapping[str, str], row: int, warnings: list[str]) -> list[tuple[Trace, Signal]]:
    """Return the traces of parts that the manifest does not list; what they are stands in their own headers."""
    found: list[tuple[Trace, Signal]] = []
    for part in sorted(parts.values()):
        if PurePosixPath(part).suffix.lower() in _SIGNALS.values():
            found += _read_part(archive, part, {}, row + len(found), warnings)
            warnings.append("a signal is not listed in the manifest; its own header was used")
    return found


def _header(info: Mapping[str, str], signal: Signal, context: ReadContext, warnings: list[str]) -> InjectionHeader:
    at_text = info.get("RunDateTime")
    at_utc, zone_known = injection_time(at_text, context, warnings)
    return InjectionHeader(
        injection_name=stem(context.file_name),
        sample_name=info.get("SampleName") or signal.texts.get("sample"),
        injected_at_text=at_text,
        injected_at_utc=at_utc,
        zone_known=zone_known,
        instrument_name=info.get("InstrumentName"),
        software=software_of(signal.texts),
        method_name=stem(info.get("AcquisitionMethod") or signal.texts.get("method") or "") or None,
        operator=info.get("RunOperator") or signal.texts.get("operator"),
        rescued={name: info[theirs] for theirs, name in _RESCUED.items() if theirs in info},
    )


READERS: Final = (AgilentDxReader(),)
