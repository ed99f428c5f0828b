"""Agilent's signals, spectra, run folders and .dx archives, byte by byte."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

TEXTS = {0x15B: "LC DATA FILE", 0x35A: "STD 1", 0x758: "Tom", 0x957: "11-Jun-22, 21:43:07", 0xA0E: "D:\\Tom\\ASSAY.M", 0xFD7: "P2-B9"}


def put(header: bytearray, offset: int, text: str, *, wide: bool) -> None:
    raw = text.encode("utf-16-le" if wide else "cp1252")
    header[offset : offset + 1 + len(raw)] = bytes([len(text)]) + raw


def header(
    version: str, first: float, last: float, *, scale: float = 0.5, offset: float = 0.0, texts: Mapping[int, str] | None = None
) -> bytearray:
    """Header of a signal file; texts by offset."""
    wide = int(version) >= 100
    data = bytearray(0x1800 if wide else 0x400)
    data[: 1 + len(version)] = bytes([len(version)]) + version.encode()
    struct.pack_into(">I", data, 0x108, len(data) // 512 + 1)
    struct.pack_into(">ff" if version in {"81", "179", "181"} else ">ii", data, 0x11A, first, last)
    struct.pack_into(">dd", data, 0x1274 if wide else 0x27C, offset, scale)
    for at, text in (texts or {}).items():
        put(data, at, text, wide=wide)
    return data


def ch179(
    y: Sequence[float], *, signal: str = "DAD1A,Sig=210,4  Ref=off", unit: str = "mAU", last: float | None = None, scale: float = 0.5
) -> bytes:
    """One point each 400 ms from 400 ms on."""
    texts = {**TEXTS, 0x104C: unit, 0x1075: signal}
    end = 400 * len(y) if last is None else last
    return bytes(header("179", 400, end, texts=texts, scale=scale)) + np.asarray(y, "<f8").tobytes()


def ch130(*, signal: str = "DAD1B, Sig=254,4 Ref=off", unit: str = "mAU") -> bytes:
    """Two records: 5, 5-1, the absolute 70000, 70000+3 | 70003-3; times 0 to 1600 ms."""
    body = struct.pack(">BBhhhihBBhBB", 0x10, 4, 5, -1, -0x8000, 70000, 3, 0x10, 1, -3, 0, 0)
    return bytes(header("130", 0, 1600, texts={**TEXTS, 0x104C: unit, 0x1075: signal})) + body


def folder(files: Mapping[str, bytes], *, top: str = "", compressed: bool = False) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(f"{top}{name}", data)
    return target.getvalue()


def uv(n_wavelengths: int, *, tag: int = 67, n_stated: int = 3) -> bytes:
    """Three spectra at 0, 1 and 2 min; wavelength k of spectrum i has (10 i + k) / 2 mAU."""
    data = bytearray(0x1000)
    data[:4] = b"\x03131"
    struct.pack_into(">I", data, 0x116, n_stated)
    struct.pack_into(">d", data, 0xC0D, 0.5)
    put(data, 0xC15, "mAU", wide=True)
    for row in range(3):
        first = struct.pack("<hi", -0x8000, 10 * row)
        values = first + struct.pack(f"<{n_wavelengths - 1}h", *[1] * (n_wavelengths - 1))
        grid = (4000, 4000 + 41 * (n_wavelengths - 1), 41)  # 200 nm and on in steps of 2.05 nm
        data += struct.pack("<HHIHHH8x", tag, 22 + len(values), 60000 * row, *grid) + values
    return bytes(data + b"\x00" * 4)


A, B, P = "11111111-aaaa-4111-8111-111111111111", "22222222-bbbb-4222-8222-222222222222", "33333333-cccc-4333-8333-333333333333"


def entry(trace: str, kind: str, description: str, units: str, **others: str) -> str:
    fields = {"Encoding": f"Agilent.OpenLab.Rawdata/{kind}", "TraceId": trace, "Description": description, "Units": units} | others
    return "<Signal>" + "".join(f"<{name}>{text}</{name}>" for name, text in fields.items()) + "</Signal>"


def curve(points: Sequence[tuple[float, float]], *, scale: float = 0.1) -> bytes:
    return bytes(header("179", 0, len(points), scale=scale, texts={0x15B: "OL DATA FILE"})) + np.asarray(points, "<f8").tobytes()


def dx(*, signals: str | None = None, parts: Mapping[str, bytes] | None = None) -> bytes:
    """Two detector signals and a pressure curve of uneven times."""
    listed = signals or (
        entry(A, "Signal179", "DAD1A,Sig=210,4  Ref=off", "mAU", NumberOfValues="3", Slope="0.5", ChannelName="DAD1A", DeviceName="DAD")
        + entry(B, "Signal179", "DAD1B,Sig=254,4  Ref=off", "mAU", NumberOfValues="2")
        + entry(P, "InstrumentTrace179", "PMP1A,Pressure", "bar", NumberOfValues="3")
        + entry("44444444", "Spectra131", "DAD1I,DAD: Spectrum", "mAU", NumberOfRecords="9")
    )
    manifest = (
        '\ufeff<?xml version="1.0" encoding="utf-8"?><Acmd xmlns="urn:schemas-agilent-com:acmd20"><InjectionInfo><Version>2</Version>'
        "<Location>D1F-A8</Location><InjectionVolume>5</InjectionVolume><InjectionVolumeUnits>µL</InjectionVolumeUnits>"
        "<SampleName>S-1</SampleName><RunOperator>Admin</RunOperator><RunDateTime>2023-02-23T15:05:20.4882635+01:00</RunDateTime>"
        f"<AcquisitionMethod>D:\\Tom\\x.rslt\\ASSAY 7.amx</AcquisitionMethod><Signals>{listed}</Signals></InjectionInfo></Acmd>"
    )
    files = {
        "injection.acmd": manifest.encode(),
        f"{A}.CH": ch179([2, 4, 6]),
        f"{B.upper()}.ch": ch179([8, 10]),
        f"{P}.IT": curve([(0, 2000), (60000, 2010), (150000, 2030)]),
        "44444444.UV": b"spectra",
        "[Content_Types].xml": b"<Types/>",
    }
    return folder({**files, **(parts or {})}, compressed=True)
