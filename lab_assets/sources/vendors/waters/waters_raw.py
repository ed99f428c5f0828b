"""Waters MassLynx ``.raw`` folders: one injection, its analog channels (``_CHROnnn.DAT``) and UV functions of few wavelengths.

Belongs here: the folder, its header, the channels' names and numbers. Does not belong here: mass spectra and diode array functions of
many wavelengths, which are no chromatograms and are named in a warning; Empower, whose ``.raw`` is not a folder.

Names of the files are compared without regard to case, since copying tools change it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

import numpy as np

from lab_assets.sources.base import ReadContext, ReadResult, UnreadableFileError
from lab_assets.sources.core.archives import Archive, open_archive
from lab_assets.sources.core.channel_names import distinct
from lab_assets.sources.core.decoding import base_name, is_secret, shorten, stem
from lab_assets.sources.core.quantities import is_status_signal
from lab_assets.sources.core.trace_rows import FloatArray, InjectionHeader, Trace, check_rising, injection_time, trace_rows

MAX_WAVELENGTHS: Final = 64
MAX_CHANNEL_BYTES: Final = 64 << 20
_MAX_LIST_BYTES: Final = 1 << 20

_OURS: Final = re.compile(r"_(?:header\.txt|functns\.inf|chroms\.inf|chro[0-9]{1,5}\.dat|func[0-9]{1,5}\.(?:dat|idx))", re.IGNORECASE)
_TABLE_BYTES: Final = 0x80
"""Length of the head of ``_CHROMS.INF`` and ``_CHROnnn.DAT``."""
_CHANNEL_BYTES: Final = 85
_FUNCTION_BYTES: Final = 416
_DIODE_ARRAY: Final = 12
_TYPE_BITS: Final = 0x1F
_SCAN: Final = np.dtype({"names": ["offset", "pairs", "time"], "formats": ["<u4", "<u4", "<f4"], "offsets": [0, 4, 12], "itemsize": 22})
_PAIR: Final = np.dtype([("value", "<i2"), ("key", "<u4")])
_PAIR_COUNT_BITS: Final = 0x3FFFFF
_SAME_NM: Final = 0.5
_STATUS: Final = re.compile(r"composition|flow|peltier|chamber|heater|valve|degass|\broom\b", re.IGNORECASE)
_STATUS_UNITS: Final = frozenset({"%", "% power", "ml/min", "ul/min", "µl/min", "nl/min"})
_SHORTER: Final = 0.9
"""A channel that ends before this part of the longest one may have lost its end."""
_RESCUED: Final = {
    "Acquired Name": "acquired_name",
    "Bottle Number": "vial",
    "Sample Description": "sample_description",
    "SampleID": "sample_id",
    "Job Code": "job_code",
    "Task Code": "task_code",
    "Conditions": "conditions",
    "Plate Desc": "plate",
}
_METHODS: Final = ("HPLC Method", "Inlet Method", "MS Method")


class WatersRawReader:
    """Reader of ``.raw`` folders."""

    format: str = "waters_raw"
    tables: tuple[str, ...] = ("chromatograms", "instrument_status")

    def sniff(self, name: str, head: bytes) -> int:
        """Return 0: a folder arrives as an archive."""
        del name, head
        return 0

    def sniff_archive(self, name: str, archive: Archive) -> int:
        """Return how surely this is a ``.raw`` folder, by the names that MassLynx gives its files."""
        del name
        found = {base_name(file).lower() for file in archive.names}
        if "_header.txt" in found and found & {"_functns.inf", "_chroms.inf"}:
            return 97
        return 70 if found & {"_functns.inf", "_chroms.inf", "_func001.dat"} else 0

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one folder: one injection.

        Raises:
            UnreadableFileError: ``truncated`` for any damaged channel, ``not_finite``, ``duplicate_x``, ``descending_x``,
                ``missing_section`` for a folder without channels or a channel without its file, ``unsupported`` for several
                folders in one archive, and the rules of archives.
        """
        archive = open_archive(data)
        folder, files = _one_folder(archive)
        warnings: list[str] = []
        traces = _channels(archive, files, warnings)
        _warn_of_short(traces, warnings)
        traces += _functions(archive, files, len(traces) + 1, warnings)
        if not traces:
            reason = f"the folder has no chromatogram ({'; '.join(warnings) or 'no channel files'}); export the traces"
            raise UnreadableFileError("missing_section", reason)
        header = _header(_fields(archive, files), folder or context.file_name, context, warnings)
        return ReadResult(format=self.format, tables=trace_rows(distinct(traces), header), warnings=warnings)


def _one_folder(archive: Archive) -> tuple[str, dict[str, str]]:
    """Return the folder, empty when the archive is the folder itself, and MassLynx' files by their name in small letters."""
    found: dict[str, dict[str, str]] = {}
    counts = Counter(archive.names)
    for name in archive.names:
        path = PurePosixPath(name.replace("\\", "/"))
        if _OURS.fullmatch(path.name) and "__MACOSX" not in path.parts:
            files = found.setdefault("" if len(path.parts) == 1 else str(path.parent), {})
            if files.setdefault(path.name.lower(), name) != name or counts[name] > 1:
                raise UnreadableFileError("unsupported", "two files of the folder have the same name; pack it again", path.name)
    if len(found) != 1:
        several = f"several folders with data ({', '.join(shorten(folder) for folder in list(found)[:3])})"
        raise UnreadableFileError("unsupported", f"the archive has {several if found else 'no MassLynx data'}; pack one .raw folder a file")
    return next(iter(found.items()))


def _channels(archive: Archive, files: Mapping[str, str], warnings: list[str]) -> list[Trace]:
    """Return the analog channels; each that is described must have its file."""
    described = _descriptions(archive.read(files["_chroms.inf"], _MAX_LIST_BYTES)) if "_chroms.inf" in files else []
    present = {int(name[5:-4]): name for name in sorted(files) if name.startswith("_chro") and name.endswith(".dat")}
    traces: list[Trace] = []
    for number in sorted({*range(1, len(described) + 1), *present}):
        name, unit, scale = described[number - 1] if 1 <= number <= len(described) else ("", "", "")
        place = f"_CHRO{number:03d}.DAT"
        if number not in present:
            reason = f"the channel {shorten(name)} is described but its file is missing; transfer the folder again"
            raise UnreadableFileError("missing_section", reason, place)
        x, y = _points(archive.read(files[present[number]], MAX_CHANNEL_BYTES), place)
        if not name:
            warnings.append(f"{place} is not described, so its name and unit are unknown")
        if not x.size:
            warnings.append(f"{place}, {shorten(name)}, has no points and was left out")
            continue
        if scale not in {"", "1"} and _not_one(scale):
            warnings.append(f"{place} states the scale {shorten(scale)}, which was not applied to its numbers")
        status = is_status_signal(name, unit) or unit.casefold() in _STATUS_UNITS or _STATUS.search(name) is not None
        rescued = {"file": base_name(files[present[number]])} | ({"scale": scale} if scale else {})
        title = name or stem(place)
        traces.append(Trace(name=title, x=x, y=y, x_unit="min", y_unit=unit, source_row=len(traces) + 1, rescued=rescued, status=status))
    return traces


def _not_one(scale: str) -> bool:
    try:
        return float(scale) != 1.0
    except ValueError:
        return True


def _descriptions(data: bytes) -> list[tuple[str, str, str]]:
    """Return name, unit and scale of each channel: fixed records of a name and ``$CC$,scale,type,low,high,unit``."""
    if len(data) < _TABLE_BYTES or (len(data) - _TABLE_BYTES) % _CHANNEL_BYTES:
        raise UnreadableFileError("truncated", "the list of channels is cut; transfer the folder again", "_CHROMS.INF")
    found: list[tuple[str, str, str]] = []
    for start in range(_TABLE_BYTES, len(data), _CHANNEL_BYTES):
        text = data[start + 4 : start + _CHANNEL_BYTES].decode("cp1252", errors="replace")
        name, _, details = text.partition("$CC$")
        fields = [_printable(part) for part in details.split("\x00", 1)[0].split(",")]
        found.append((_printable(name), fields[5] if len(fields) > 5 else "", fields[1] if len(fields) > 1 else ""))
    return found


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _points(data: bytes, place: str) -> tuple[FloatArray, FloatArray]:
    """Return times in minutes and values: pairs of single precision after the head."""
    if len(data) < _TABLE_BYTES or (len(data) - _TABLE_BYTES) % 8:
        raise UnreadableFileError("truncated", "the channel is cut; transfer the folder again", place)
    pairs = np.frombuffer(data, "<f4", offset=_TABLE_BYTES).astype(np.float64).reshape(-1, 2)
    if not np.isfinite(pairs).all():
        point = int(np.argmin(np.isfinite(pairs).all(axis=1))) + 1
        raise UnreadableFileError("not_finite", "the channel is damaged; transfer the folder again", f"{place}, point {point}")
    _check_times(pairs[:, 0], place)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def _check_times(x: FloatArray, place: str) -> None:
    try:
        check_rising(x)
    except UnreadableFileError as error:
        raise UnreadableFileError(error.rule, f"{error.reason}; transfer the folder again", f"{place}, {error.place}") from error


def _warn_of_short(traces: Sequence[Trace], warnings: list[str]) -> None:
    """Tell of channels that end long before the others, since nothing in them says how many points they should have."""
    longest = max((float(trace.x[-1]) for trace in traces), default=0.0)
    warnings += [
        f"{shorten(trace.name)} ends at {trace.x[-1]:.6g} min, another channel at {longest:.6g} min; is it complete?"
        for trace in traces
        if trace.x[-1] < _SHORTER * longest
    ]


def _functions(archive: Archive, files: Mapping[str, str], first_row: int, warnings: list[str]) -> list[Trace]:
    """Return the wavelengths of UV functions; others are named in a warning."""
    kinds = archive.read(files["_functns.inf"], MAX_CHANNEL_BYTES)[::_FUNCTION_BYTES] if "_functns.inf" in files else b""
    traces: list[Trace] = []
    for name in sorted(name for name in files if name.startswith("_func") and name.endswith(".dat")):
        number = int(name[5:-4])
        kind = kinds[number - 1] & _TYPE_BITS if 1 <= number <= len(kinds) else None
        place = f"_FUNC{number:03d}.DAT"
        if kind != _DIODE_ARRAY:
            warnings.append(f"{place} holds {'mass spectra' if kind is not None else 'an undescribed function'}, which is not read")
        elif name.replace(".dat", ".idx") not in files:
            raise UnreadableFileError("missing_section", "the function's index is missing; transfer the folder again", place)
        else:
            times, n_pairs = _scans(archive.read(files[name.replace(".dat", ".idx")], MAX_CHANNEL_BYTES), place)
            if 1 <= n_pairs <= MAX_WAVELENGTHS:
                traces += _wavelengths(archive.read(files[name], MAX_CHANNEL_BYTES), times, n_pairs, place, first_row + len(traces))
            else:
                warnings.append(f"{place} holds spectra of {n_pairs if n_pairs >= 0 else 'varying'} wavelengths, which are not read")
    return traces


def _scans(data: bytes, place: str) -> tuple[FloatArray, int]:
    """Return the times of a function's spectra, minutes, and how many pairs each has, -1 when that differs."""
    if len(data) % _SCAN.itemsize or not data:
        raise UnreadableFileError("truncated", "the function's index is cut; transfer the folder again", place)
    index = np.frombuffer(data, _SCAN)
    times = index["time"].astype(np.float64)
    if not np.isfinite(times).all():
        raise UnreadableFileError("not_finite", "a time of the function's index is damaged; transfer the folder again", place)
    counts = np.unique(index["pairs"] & _PAIR_COUNT_BITS)
    _check_times(times, place)
    return times, int(counts[0]) if counts.size == 1 else -1


def _wavelengths(data: bytes, times: FloatArray, n_pairs: int, place: str, first_row: int) -> list[Trace]:
    """Return one trace a wavelength: pairs of a packed value and a packed wavelength, six bytes together."""
    if len(data) != _PAIR.itemsize * times.size * n_pairs:
        reason = f"the function has {len(data)} bytes, its index asks for {_PAIR.itemsize * times.size * n_pairs}"
        raise UnreadableFileError("truncated", f"{reason}; transfer the folder again", place)
    pairs = np.frombuffer(data, _PAIR).reshape(times.size, n_pairs)
    key = pairs["key"].astype(np.int64)
    wavelengths = np.ldexp((key >> 9).astype(np.float64), ((key >> 4) & _TYPE_BITS) - 23)
    values = pairs["value"] * np.power(4.0, key & 0xF)
    if np.abs(wavelengths - wavelengths[0]).max() > _SAME_NM:
        raise UnreadableFileError("truncated", "the wavelengths change between spectra: the function is damaged", place)
    return [
        Trace(
            name=f"{stem(place)} {wavelength:.6g} nm",
            x=times,
            y=values[:, column].copy(),
            x_unit="min",
            y_unit="",
            source_row=first_row + column,
            rescued={"file": place},
            status=False,
        )
        for column, wavelength in enumerate(wavelengths[0].tolist())
    ]


def _fields(archive: Archive, files: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of ``_HEADER.TXT`` that say something; credentials and persons are left out."""
    if "_header.txt" not in files:
        return {}
    text = archive.read(files["_header.txt"], 1 << 20).decode("cp1252", errors="replace")
    pairs = (line[2:].partition(": ") for line in text.splitlines() if line.startswith("$$ "))
    return {key.strip(): _printable(value) for key, _, value in pairs if _printable(value) and not is_secret(key)}


def _header(fields: Mapping[str, str], folder: str, context: ReadContext, warnings: list[str]) -> InjectionHeader:
    at_text = " ".join(fields[name] for name in ("Acquired Date", "Acquired Time") if name in fields) or None
    at_utc, zone_known = injection_time(at_text, context, warnings)
    methods = {name.lower().replace(" ", "_"): stem(fields[name]) for name in _METHODS if name in fields}
    return InjectionHeader(
        injection_name=stem(folder),
        sample_name=fields.get("SampleID") or fields.get("Sample Description"),
        injected_at_text=at_text,
        injected_at_utc=at_utc,
        zone_known=zone_known,
        instrument_name=fields.get("Instrument"),
        method_name=next(iter(methods.values()), None),
        rescued={name: fields[theirs] for theirs, name in _RESCUED.items() if theirs in fields} | methods,
    )


READERS: Final = (WatersRawReader(),)
