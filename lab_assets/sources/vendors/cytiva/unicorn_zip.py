"""Cytiva UNICORN results exported as a zip archive: curves over volume and peak tables, through ``allotropy``.

Belongs here: this format. Does not belong here: UNICORN's older ``.res`` files, or results that were not exported.

The converter turns conductivity from mS/cm into S/m (/ 10) and the areas of its peaks from mL.mS/cm into [S/m].L (/ 10 000); all else
stays. Curves that it does not know (a fourth UV, fractions) are not in its document. Its times are labelled UTC; they are the clock of
the system, whose offset the file states beside them (kept in ``rescued``) without saying whether it is already in. Its sample
identifier is that of the last of up to three samples, and its injection volume is in mL but labelled mm^3: both are read from
``Result.xml`` here.

Points lie in archives inside the archive, as serialised arrays of single floats between 47 bytes of heading and 48 of tail. Some writers
leave both away, and the converter would then read floats out of step: such arrays (a multiple of four bytes, which a framed one never
is) are framed first.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from lab_assets.sources.base import ReadContext, ReadResult, RejectedRow, Row, UnreadableFileError
from lab_assets.sources.core.archives import Archive, is_archive, open_archive
from lab_assets.sources.core.decoding import shorten, stem
from lab_assets.sources.core.trace_rows import InjectionHeader, injection_time
from lab_assets.sources.core.xml_text import parse_xml
from lab_assets.sources.standards.allotrope import Node, aggregate_of, child, children, clean, convert, fields, groups
from lab_assets.sources.standards.allotrope_chromatography import PeakTerms, channel_of, injection_rows, merge

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # the type only; parsing is defusedxml's

_HEADING_BYTES: Final = 47
_TAIL_BYTES: Final = 48
_FLOAT_BYTES: Final = 4
_MAX_XML_BYTES: Final = 64 << 20
_MAX_POINTS_BYTES: Final = 256 << 20
_MAX_RESULT_BYTES: Final = 128 << 20
"""Most bytes that a result and the archives inside of it unpack to."""
_DEFAULT_CHROMATOGRAM: Final = "Chrom.1"
_TERMS: Final = PeakTerms(
    tailing="chromatographic peak asymmetry factor", retention_time="max peak retention", leave=frozenset({"peak index"})
)
_SET_TAKEN: Final = frozenset({"Name", "ChromatogramName", "FormatVersion"})


class UnicornZipReader:
    """Reader of UNICORN result archives."""

    format: str = "unicorn_zip"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status", "vendor_peaks")

    def sniff(self, name: str, head: bytes) -> int:
        """Return 0: the format is an archive."""
        del name, head
        return 0

    def sniff_archive(self, name: str, archive: Archive) -> int:
        """Return how surely this is the format: ``Result.xml`` beside chromatograms."""
        del name
        bases = {PurePosixPath(member).name for member in archive.names}
        if "Result.xml" not in bases or not any(base.endswith(".Xml") for base in bases):
            return 0
        plain = {base.removesuffix(".zip") for base in bases}
        return 95 if plain & {"SystemData", "EvaluationLog.xml", "InstrumentConfigurationData"} else 60

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one result: a run with one chromatogram or several.

        Raises:
            UnreadableFileError: a rule of archives, ``missing_section``, ``truncated``, ``unsupported``, ``empty``, or a rule of the
                trace.
        """
        archive = open_archive(data)
        result = _xml(archive, "Result.xml")
        document = convert(_framed(archive), "CYTIVA_UNICORN", "result.zip")
        _, aggregate = aggregate_of(document)
        system = clean(child(aggregate, "device system document").get("device identifier"))
        warnings: list[str] = []
        tables: dict[str, list[Row]] = {}
        rejected: list[RejectedRow] = []
        row = 0
        for group in groups(document):
            measured = children(group, "measurement aggregate document", "measurement document")
            channels = [channel_of(measurement, row + at) for at, measurement in enumerate(measured, start=1)]
            row += len(channels)
            header = _header(group, system=system, result=result, archive=archive, context=context, warnings=warnings)
            more, wrong = injection_rows(header, channels, _TERMS, warnings)
            merge(tables, more)
            rejected += wrong
        if not tables:
            raise UnreadableFileError("empty", "no curve of the result has points; export it with its curves")
        return ReadResult(format=self.format, tables=tables, rejected=rejected, warnings=warnings)


def _xml(archive: Archive, name: str) -> Element:
    """Return the root of the member of that base name.

    Raises:
        UnreadableFileError: ``missing_section``, or a rule of ``parse_xml``.
    """
    member = next((member for member in archive.names if PurePosixPath(member).name == name), None)
    if member is None:
        raise UnreadableFileError("missing_section", f"the archive holds no {name}; export the whole result")
    return _parsed(archive.read(member, _MAX_XML_BYTES), name)


def _parsed(data: bytes, name: str) -> Element:
    """Return the root of a document, around which some writers leave other bytes."""
    start, end = data.find(b"<"), data.rfind(b">")
    return parse_xml(data[start : end + 1] if start >= 0 else data, shorten(name))


def _framed(archive: Archive) -> bytes:
    """Return the archive with every array of points framed as the converter expects it, checked against bombs on the way."""
    _refuse_large(archive)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for name in archive.names:
            content = archive.read(name, _MAX_POINTS_BYTES)
            if is_archive(content):
                content = _framed_arrays(_inner(content), name)
            elif name.casefold().endswith(".xml"):
                _parsed(content, PurePosixPath(name).name)
            target.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _inner(content: bytes) -> Archive:
    """Open an archive inside of the archive; UNICORN leaves bytes behind its end."""
    end = content.rfind(b"PK\x05\x06")
    return open_archive(content[: end + 22] if end > 0 else content)


def _refuse_large(archive: Archive) -> None:
    """Refuse a result that unpacks to too much, before any of it is."""
    n_bytes = archive.n_bytes
    for name in archive.names:
        if n_bytes <= _MAX_RESULT_BYTES and is_archive(content := archive.read(name, _MAX_POINTS_BYTES)):
            n_bytes += _inner(content).n_bytes
    if n_bytes > _MAX_RESULT_BYTES:
        raise UnreadableFileError("too_large", f"the result unpacks to more than {_MAX_RESULT_BYTES} bytes; export fewer curves")


def _framed_arrays(inner: Archive, name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for member in inner.names:
            points = inner.read(member, _MAX_POINTS_BYTES)
            if member.endswith(("CoordinateData.Amplitudes", "CoordinateData.Volumes")):
                points = _framed_points(points, name)
            elif PurePosixPath(member).name == "Xml":
                _parsed(points, name)
            target.writestr(zipfile.ZipInfo(member), points)
    return buffer.getvalue()


def _framed_points(points: bytes, name: str) -> bytes:
    if len(points) % _FLOAT_BYTES == 0:
        return bytes(_HEADING_BYTES) + points + bytes(_TAIL_BYTES)
    if (len(points) - _HEADING_BYTES - _TAIL_BYTES) % _FLOAT_BYTES or len(points) < _HEADING_BYTES + _TAIL_BYTES:
        raise UnreadableFileError("truncated", f"{len(points)} bytes are no array of single floats; export it again", name)
    return points


def _header(
    group: Node, *, system: str | None, result: Element, archive: Archive, context: ReadContext, warnings: list[str]
) -> InjectionHeader:
    custom = child(group, "measurement aggregate document", "custom information document")
    chromatogram = clean(custom.get("ChromatogramName")) or _DEFAULT_CHROMATOGRAM
    curve = _curve(archive, chromatogram)
    at_text = clean(_text(curve, "MethodStartTime"))
    at_utc, _ = injection_time(at_text, context, warnings)
    name = clean(_text(result, "Name")) or stem(context.file_name)
    samples = dict(_samples(result))
    return InjectionHeader(
        injection_name=name if chromatogram == _DEFAULT_CHROMATOGRAM else f"{name} {chromatogram}",
        sample_name=samples.get("Sample_ID"),
        injected_at_text=at_text,
        injected_at_utc=at_utc,
        zone_known=False,
        instrument_name=system,
        software=" ".join(part for part in ("UNICORN", clean(result.get("UNICORNVersion"))) if part),
        method_name=clean(_text(result, "MethodName")),
        operator=clean(_text(result, "CreatedBy")),
        rescued=_rescued(group, samples, curve),
    )


def _curve(archive: Archive, chromatogram: str) -> Element | None:
    """Return the first curve of a chromatogram, whose start is that of the method."""
    for member in archive.names:
        base = PurePosixPath(member).name
        if base.endswith(".Xml") and stem(base) == chromatogram:
            return _xml(archive, base).find("Curves/Curve")
    return None


def _text(node: Element | None, path: str) -> str | None:
    found = node.find(path) if node is not None else None
    return found.text if found is not None else None


def _samples(result: Element) -> Iterator[tuple[str, str]]:
    """Return what the result states about its samples, by UNICORN's keyword."""
    for keyword, path in (("Sample_ID", "SampleId"), ("Sample volume", "SampleVolume"), ("Flow rate", "FlowRate")):
        if text := clean(_text(result, f"ResultDocumentation/{path}")):
            yield keyword, text
    for criterion in result.findall("ResultSearchCriterias/ResultSearchCriteria"):
        keyword, text = clean(_text(criterion, "Keyword1")), clean(_text(criterion, "Keyword2"))
        if keyword and text:
            yield keyword, text


def _rescued(group: Node, samples: dict[str, str], curve: Element | None) -> dict[str, str]:
    """Return the fields of the run that the contract does not name."""
    measured = children(group, "measurement aggregate document", "measurement document")[:1]
    rescued = fields(child(group, "measurement aggregate document"), _SET_TAKEN)
    for measurement in measured:
        rescued |= fields(child(measurement, "chromatography column document"))
        rescued |= fields({"batch identifier": child(measurement, "sample document").get("batch identifier")})
    rescued |= fields(samples, frozenset({"Sample_ID"}))
    offset = clean(_text(curve, "MethodStartTimeUtcOffsetMinutes"))
    return rescued | ({"MethodStartTimeUtcOffsetMinutes": offset} if offset else {})


READERS: Final = (UnicornZipReader(),)
