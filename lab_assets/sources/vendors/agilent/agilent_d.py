"""Agilent ChemStation and OpenLab ``.D`` folders: one injection, a signal file (``.ch``) for each detector channel.

Belongs here: which files of the folder are read, and where the injection's fields come from. Does not belong here: the layout of a
signal file (``agilent_signal.py``); diode array and mass spectra (``.uv``, ``.ms``), which are no chromatograms and are named in
a warning; the data system's own integration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import MAX_MEMBER_BYTES, Archive, open_archive
from lab_assets.sources.core.channel_names import distinct
from lab_assets.sources.core.decoding import base_name, shorten, stem
from lab_assets.sources.core.quantities import is_status_signal
from lab_assets.sources.core.trace_rows import InjectionHeader, Trace, injection_time, trace_rows
from lab_assets.sources.core.xml_text import parse_xml
from lab_assets.sources.vendors.agilent.agilent_signal import MAX_SIGNAL_BYTES, Signal, read_signal, software_of
from lab_assets.sources.vendors.agilent.agilent_spectra import read_wavelengths
from lab_assets.sources.vendors.agilent.agilent_xml import MAX_XML_BYTES, named, texts

_DATA: Final = (".ch", ".uv", ".ms")
_ACAML: Final = ("sequence.acam_", "sample.acaml", "sequence.acaml", "acq.macaml")
_SAMPLE_INFO: Final = "acqdata/sample_info.xml"
_STATUS_DEVICE: Final = re.compile(r"(?:PMP|THM|TCC|WPS|WLS|ALS|HIP|CLU)\d", re.IGNORECASE)
_SHORT_YEAR: Final = re.compile(r"^(\d{1,2}[-/. ](?:[^\W\d_]{3,9}|\d{1,2})[-/. ])(\d{2})(?=[,\s]|$)")


class AgilentDReader:
    """Reader of ``.D`` folders."""

    format: str = "agilent_d"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status")

    def sniff(self, name: str, head: bytes) -> int:
        """Return 0: a folder arrives as an archive."""
        del name, head
        return 0

    def sniff_archive(self, name: str, archive: Archive) -> int:
        """Return how surely this is a ``.D`` folder: by its data files, more so below a folder's name ending in ``.D``."""
        found = data_files(archive)
        folders = [folder or name for folder in found if folder or len(found) == 1]
        signals = any(_suffix(file) != ".ms" for files in found.values() for file in files)
        return 0 if not found else 95 if signals and all(folder.lower().endswith(".d") for folder in folders) else 60

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one folder: one injection.

        Raises:
            UnreadableFileError: ``truncated``, ``unsupported`` and the other rules of ``read_signal`` for any damaged channel,
                ``missing_section`` for a folder without channels, and the rules of archives.
        """
        archive = open_archive(data)
        folder, files = _one_folder(archive)
        warnings: list[str] = []
        signals = {file: read_signal(archive.read(file, MAX_SIGNAL_BYTES), base_name(file)) for file in files if _suffix(file) == ".ch"}
        traces = [_trace(file, signal, row) for row, (file, signal) in enumerate(signals.items(), start=1) if signal.x.size]
        warnings += [f"{base_name(file)} has no points and was left out" for file, signal in signals.items() if not signal.x.size]
        for file in files:
            if _suffix(file) == ".uv":
                traces += read_wavelengths(archive.read(file, MAX_MEMBER_BYTES), base_name(file), len(traces) + 1, warnings)
            elif _suffix(file) == ".ms":
                warnings.append(f"{base_name(file)} holds mass spectra, which are not read")
        if not traces:
            reason = f"the folder has no chromatogram ({'; '.join(warnings)}); store single wavelengths as signals, or export them"
            raise UnreadableFileError("missing_section", reason)
        header = _header(folder or context.file_name, list(signals.values()), _folder_fields(archive, folder, warnings), context, warnings)
        return ReadResult(format=self.format, tables=trace_rows(distinct(traces), header), warnings=warnings)


def data_files(archive: Archive) -> dict[str, list[str]]:
    """Return the data files of an archive by folder, sorted; folders of methods (``.M``) and what macOS adds are left out."""
    found: dict[str, list[str]] = {}
    for name in archive.names:
        path = _path(name)
        strange = path.name.startswith("._") or any(part == "__MACOSX" or part.lower().endswith(".m") for part in path.parts[:-1])
        if path.suffix.lower() in _DATA and not strange:
            found.setdefault("" if len(path.parts) == 1 else str(path.parent), []).append(name)
    return {folder: sorted(found[folder], key=lambda file: (file.casefold(), file)) for folder in sorted(found)}


def _path(name: str) -> PurePosixPath:
    """Return a member's name as a path; some tools of Windows write it with backslashes."""
    return PurePosixPath(name.replace("\\", "/"))


def _suffix(file: str) -> str:
    return _path(file).suffix.lower()


def _one_folder(archive: Archive) -> tuple[str, list[str]]:
    """Return the folder, empty when the archive is the folder itself, and its data files."""
    found = data_files(archive)
    if len(found) != 1:
        several = f"several folders with data ({', '.join(shorten(folder) for folder in list(found)[:3])})"
        reason = f"the archive has {several if found else 'no .ch, .uv or .ms file'}; pack one .D folder a file"
        raise UnreadableFileError("unsupported", reason)
    folder, files = next(iter(found.items()))
    lowered = [file.casefold() for file in files]
    if len(set(lowered)) < len(lowered):
        twice = next(file for file in lowered if lowered.count(file) > 1)
        raise UnreadableFileError("unsupported", "two files of the folder have the same name; pack it again", shorten(base_name(twice)))
    return folder, files


def _trace(file: str, signal: Signal, row: int) -> Trace:
    name = signal.texts.get("signal") or stem(file)
    unit = signal.texts.get("unit", "")
    status = is_status_signal(name, unit) or any(_STATUS_DEVICE.match(text) is not None for text in (name, base_name(file)))
    rescued = {"file": base_name(file), "format_version": signal.version, "scaling_factor": repr(signal.scale)}
    if "detector" in signal.texts:
        rescued["detector"] = signal.texts["detector"]
    return Trace(name=name, x=signal.x, y=signal.y, x_unit="min", y_unit=unit, source_row=row, rescued=rescued, status=status)


def four_digit_year(text: str) -> str:
    """Return a date with its year in four digits, since ChemStation writes two; the century is that of 1970 to 2069."""
    return _SHORT_YEAR.sub(lambda match: f"{match[1]}{'19' if int(match[2]) >= 70 else '20'}{match[2]}", text, count=1)


def _header(
    folder: str, signals: Sequence[Signal], fields: Mapping[str, str], context: ReadContext, warnings: list[str]
) -> InjectionHeader:
    """Return what the signals' headers say, and where they say nothing, what the folder's other files say."""
    found: dict[str, str] = {}
    for signal in signals:
        for name, text in signal.texts.items():
            found.setdefault(name, text)
    at_text = found.get("date") or fields.get("date")
    dated = four_digit_year(at_text or "")
    at_utc, zone_known = injection_time(dated, context, warnings)
    others = {name: found.get(name) or fields.get(name) for name in ("vial", "injection_volume", "file_type")}
    return InjectionHeader(
        injection_name=stem(folder),
        sample_name=found.get("sample") or fields.get("sample"),
        injected_at_text=at_text,
        injected_at_utc=at_utc,
        zone_known=zone_known,
        instrument_name=fields.get("instrument") or found.get("software"),
        software=software_of(found) or fields.get("software"),
        method_name=stem(found.get("method") or fields.get("method") or "") or None,
        operator=found.get("operator") or fields.get("operator"),
        rescued={name: text for name, text in others.items() if text},
    )


def _folder_fields(archive: Archive, folder: str, warnings: list[str]) -> dict[str, str]:
    """Return fields of the injection that the folder's XML files state; a warning names a file that cannot be read."""
    below = PurePosixPath(folder)
    paths = {name: _path(name) for name in archive.names}
    files = {str(path.relative_to(below)).lower(): name for name, path in paths.items() if path.is_relative_to(below)}
    fields: dict[str, str] = {}
    for wanted, reader in ((_SAMPLE_INFO, _sample_info), *((name, _acaml) for name in _ACAML)):
        if wanted not in files:
            continue
        try:
            found = reader(archive.read(files[wanted], MAX_XML_BYTES), base_name(files[wanted]))
        except UnreadableFileError as error:
            warnings.append(f"{shorten(base_name(files[wanted]))} was not read: {error.reason}")
            continue
        for name, text in found.items():
            fields.setdefault(name, text)
    return fields


def _sample_info(data: bytes, place: str) -> dict[str, str]:
    """Return fields of MassHunter's list of names and values."""
    listed = [texts(element) for element in named(parse_xml(data, place), "Field")]
    values = {entry["Name"]: entry["Value"] for entry in listed if "Name" in entry and "Value" in entry}
    columns = {
        "sample": "Sample Name",
        "vial": "Sample Position",
        "method": "Method",
        "operator": "OperatorName",
        "instrument": "InstrumentName",
        "date": "AcqTime",
        "injection_volume": "Inj Vol (µl)",
    }
    return {name: values[theirs] for name, theirs in columns.items() if theirs in values}


def _acaml(data: bytes, place: str) -> dict[str, str]:
    """Return fields of an ACAML document; what it states more than once, differently, is of other injections and is left out."""
    root = parse_xml(data, place)
    stated: dict[str, set[str]] = {}
    for name, parent, child in (
        ("instrument", "Instrument", "Name"),
        ("vial", "AcqParam", "VialNumber"),
        ("software", "Result", "DataAnalysisSoftware"),
    ):
        stated[name] = {texts(element)[child] for element in named(root, parent) if child in texts(element)}
    params = [element for parent in named(root, "SampleParams") for element in named(parent, "IdentParam")]
    stated["sample"] = {texts(element)["Name"] for element in params if "Name" in texts(element)}
    stated["injection_volume"] = {element.get("val", "") for element in named(root, "InjectionVolume")}
    return {name: next(iter(values)) for name, values in stated.items() if len(values) == 1 and "" not in values}


READERS: Final = (AgilentDReader(),)
