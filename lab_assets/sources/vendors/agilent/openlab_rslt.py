"""Agilent OpenLab CDS result sets (``.rslt``: a zip archive or a packed folder), through ``allotropy``.

Belongs here: this format. Does not belong here: a single ``.dx`` or ``.D``.

A result set holds an ``.acaml`` description, and for every injection a ``.dx`` with its signals and a ``.rx`` with its peaks. The
converter names no injection's data file, and lets the pump of one injection stand for the next; so each injection is shown to it alone,
and the name of its data file is the injection's name.

The converter turns minutes into seconds (x 60) and the pump's bar into MPa (/ 10); areas and heights stay. It calls every signal that is
not of a diode array fluorescence in RFU (Agilent: LU), and refuses result sets without a diode array or fluorescence detector. It finds
the sample of an injection by a part of its name, so that ``S1`` may stand for ``S10``: role and amount of the sample are left out where
that could happen. Its asymmetry at 10 % height is the width at half height, and its column serial number that of the oven.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row, UnreadableFileError
from lab_assets.sources.core.archives import Archive, is_archive, open_archive
from lab_assets.sources.core.decoding import shorten, stem
from lab_assets.sources.core.trace_rows import InjectionHeader, injection_time
from lab_assets.sources.core.xml_text import local, parse_xml, text_of
from lab_assets.sources.standards.allotrope import Node, aggregate_of, child, children, clean, convert, fields, measurements
from lab_assets.sources.standards.allotrope_chromatography import Channel, PeakTerms, channel_of, injection_rows, merge

_MAX_NESTING: Final = 3
_MAX_CONTEXT_BYTES: Final = 64 << 20
_MAX_INJECTION_BYTES: Final = 128 << 20
_CONTEXT_SUFFIXES: Final = (".acaml", ".sqx")
_XML_SUFFIXES: Final = (".acaml", ".acmd", ".injectionacaml", ".sqx", ".xml")
_TERMS: Final = PeakTerms(
    plates="number of theoretical plates (chromatography)", leave=frozenset({"asymmetry factor measured at 10 % height"})
)
_RUN_TIME: Final = re.compile(rb"<RunDateTime>([^<]*)</RunDateTime>")
_SAMPLE_TAKEN: Final = frozenset({"sample identifier"})
_BY_NAME: Final = frozenset({"sample role type", "sample type", "sample amount", "injector position"})
"""What the converter looks up by a part of the sample's name."""
_INJECTION_TAKEN: Final = frozenset({"injection identifier", "injection time", "acquisition method identifier"})


class OpenLabRsltReader:
    """Reader of OpenLab CDS result sets."""

    format: str = "openlab_rslt"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status", "vendor_peaks")

    def sniff(self, name: str, head: bytes) -> int:
        """Return 0: the format is an archive."""
        del name, head
        return 0

    def sniff_archive(self, name: str, archive: Archive) -> int:
        """Return how surely this is the format: a description beside signals, or one result set packed once more."""
        del name
        suffixes = [PurePosixPath(member).suffix.casefold() for member in archive.names]
        if ".acaml" in suffixes:
            return 95 if ".dx" in suffixes else 60
        return 60 if suffixes == [".rslt"] else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one result set: its injections.

        Raises:
            UnreadableFileError: a rule of archives, ``missing_section`` without description or signals, ``unsupported`` for detectors
                that are not known, ``truncated``, or a rule of the trace.
        """
        archive = _result_set(data)
        signals = [name for name in archive.names if name.casefold().endswith(".dx") and not PurePosixPath(name).name.startswith(".")]
        if not signals:
            raise UnreadableFileError("missing_section", "the result set holds no .dx file; export it with its data files")
        warnings: list[str] = []
        confusable = _confusable(_sample_names(archive))
        tables: dict[str, list[Row]] = {}
        rejected: list[RejectedRow] = []
        row = 0
        for name in signals:
            document = convert(_alone(archive, name), "AGILENT_OPENLAB_CDS", "result.rslt")
            measured = [measurement for _, measurement in measurements(document)]
            if not measured:
                warnings.append(f"{PurePosixPath(name).name} holds no signal that is known")
                continue
            channels = [_channel(measurement, row + at) for at, measurement in enumerate(measured, start=1)]
            row += len(channels)
            at_text = _run_time(archive.read(name))
            certain = _sample(measured[0]) not in confusable
            header = _header(document, PurePosixPath(name).stem, at_text, context, warnings, certain=certain)
            more, wrong = injection_rows(header, channels, _TERMS, warnings)
            merge(tables, more)
            rejected += wrong
        if confusable:
            warnings.append(f"sample role and amount are not certain for {', '.join(sorted(confusable)[:5])}, and left out")
        if not tables:
            raise UnreadableFileError("empty", "no injection of the result set has signals; export it with its data files")
        return ReadResult(format=self.format, tables=tables, rejected=rejected, warnings=warnings)


def _result_set(data: bytes) -> Archive:
    """Return the archive that holds the description, which may have been packed once or twice more."""
    archive = open_archive(data)
    for _ in range(_MAX_NESTING):
        if any(name.casefold().endswith(".acaml") for name in archive.names):
            return archive
        nested = [name for name in archive.names if name.casefold().endswith((".rslt", ".zip"))]
        if len(nested) != 1:
            break
        archive = open_archive(archive.read(nested[0]))
    raise UnreadableFileError("missing_section", "the result set holds no .acaml file; export the whole result set")


def _alone(archive: Archive, signal: str) -> bytes:
    """Return a result set of one injection, its inner archives checked against bombs."""
    injection = PurePosixPath(signal).stem
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for name in archive.names:
            path = PurePosixPath(name)
            if path.name.startswith("."):
                continue
            if path.suffix.casefold() in _CONTEXT_SUFFIXES:
                target.writestr(zipfile.ZipInfo(name), archive.read(name, _MAX_CONTEXT_BYTES))  # checked with the names of its samples
            elif name == signal or (path.suffix.casefold() == ".rx" and path.stem == injection):
                content = archive.read(name)
                if not is_archive(content):
                    raise UnreadableFileError("truncated", "a data file is cut or damaged; transfer it again", shorten(path.name))
                _refuse_hostile(open_archive(content))
                target.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _refuse_hostile(archive: Archive) -> None:
    """Refuse what the converter would not stand: parts that unpack to too much, or XML no data system writes."""
    if archive.n_bytes > _MAX_INJECTION_BYTES:
        raise UnreadableFileError("too_large", f"an injection has {archive.n_bytes} bytes, more than {_MAX_INJECTION_BYTES}")
    for name in archive.names:
        if name.casefold().endswith(_XML_SUFFIXES):
            parse_xml(archive.read(name, _MAX_CONTEXT_BYTES), shorten(PurePosixPath(name).name))


def _sample(measurement: Node) -> str | None:
    return clean(child(measurement, "sample document").get("sample identifier"))


def _sample_names(archive: Archive) -> set[str]:
    """Return the names of all samples that the description knows; every description is checked on the way."""
    names: set[str] = set()
    for member in archive.names:
        if member.casefold().endswith(_CONTEXT_SUFFIXES):
            root = parse_xml(archive.read(member, _MAX_CONTEXT_BYTES), shorten(PurePosixPath(member).name))
            names |= {text_of(ident, "Name") or "" for ident in root.iter() if local(ident) == "IdentParam"}
    return names - {""}


def _confusable(names: Iterable[str]) -> frozenset[str]:
    """Return the samples whose names hold another sample's name."""
    known = set(names)
    return frozenset(name for name in known if any(other != name and other in name for other in known))


def _run_time(dx: bytes) -> str | None:
    """Return the time of injection in a data file's own words; the converter would call one without a zone UTC."""
    inner = open_archive(dx)
    for member in inner.names:
        if member.casefold().endswith(".acmd") and (match := _RUN_TIME.search(inner.read(member, _MAX_CONTEXT_BYTES))):
            return clean(match[1].decode("utf-8", "replace"))
    return None


def _channel(measurement: Node, row: int) -> Channel:
    """Return a signal: ``DAD1A chromatogram`` is channel ``DAD1A``."""
    channel = channel_of(measurement, row)
    controls = children(measurement, "device control aggregate document", "device control document")
    rescued = fields(controls[0], frozenset({"device identifier", "device type"})) if controls and channel.detector else {}
    return Channel(
        name=channel.name.removesuffix(" chromatogram"),
        source_row=row,
        detector=channel.detector,
        status=channel.status,
        peaks=channel.peaks,
        rescued=rescued,
    )


def _header(document: Node, name: str, at_text: str | None, context: ReadContext, warnings: list[str], *, certain: bool) -> InjectionHeader:
    measurement = next(measurement for _, measurement in measurements(document))
    sample, injection = child(measurement, "sample document"), child(measurement, "injection document")
    custom = child(injection, "custom information document")
    _, aggregate = aggregate_of(document)
    system, device = child(aggregate, "data system document"), child(aggregate, "device system document")
    group = next(group for group, _ in measurements(document))
    at_utc, zone_known = injection_time(at_text, context, warnings)
    leave = frozenset[str]() if certain else _BY_NAME
    analysis = clean(child(group, "measurement aggregate document", "custom information document").get("analytical method identifier"))
    oven = fields(child(measurement, "chromatography column document"), frozenset({"firmware version", "product manufacturer"}))
    rescued = fields(sample, _SAMPLE_TAKEN | leave) | fields(injection, _INJECTION_TAKEN | leave)
    rescued |= {key.replace("chromatography column", "column oven"): value for key, value in oven.items()}
    return InjectionHeader(
        injection_name=name,
        sample_name=_sample(measurement),
        injected_at_text=at_text,
        injected_at_utc=at_utc,
        zone_known=zone_known,
        instrument_name=clean(device.get("model number")),
        software=" ".join(part for key in ("software name", "software version") if (part := clean(system.get(key)))) or None,
        method_name=stem(clean(custom.get("acquisition method identifier")) or "") or None,
        operator=clean(group.get("analyst")),
        rescued=rescued | ({"analysis method": analysis} if analysis else {}),
    )


READERS: Final = (OpenLabRsltReader(),)
