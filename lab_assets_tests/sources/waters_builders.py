"""Waters .raw folders, byte by byte."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

HEADER = (
    "$$ Version: 01.00\r\n$$ Acquired Name: run_h\r\n$$ Acquired Date: 03-Dec-2011\r\n$$ Acquired Time: 18:34:05\r\n"
    "$$ Job Code: 12032011_2\r\n$$ User Name: hunter2\r\n$$ Submitter: Tom\r\n$$ Instrument: ZQ\r\n$$ SampleID: S-7\r\n"
    "$$ Bottle Number: f,3\r\n$$ Inlet Method: C:\\MassLynx\\Tom.PRO\\ACQUDB\\gradient_13min\r\n$$ Task Code: \r\n"
).encode("cp1252")
CHANNELS = (("TUV 260nm@1", "AU"), ("(1) Column Temperature", "°C"), ("µBSM Composition A", "%"), ("ELSD Signal", ""))
POINTS = ((0.5, 0.25), (1.0, 0.75), (1.5, -0.125))


def chroms(channels: Sequence[tuple[str, str]] = CHANNELS, *, scale: str = "1.0") -> bytes:
    data = bytearray(128)
    struct.pack_into("<4H", data, 0, 128, 1, 85, 2)
    for name, unit in channels:
        text = name + (f"\x00$CC$,{scale},3,0,0,{unit}\x00" if unit else "\x00")
        data += struct.pack("<I", 1) + text.encode("cp1252").ljust(81, b"\x00")
    return bytes(data)


def chro(points: Sequence[tuple[float, float]] = POINTS) -> bytes:
    data = bytearray(128)
    struct.pack_into("<4H", data, 0, 128, 1, 8, 2)
    return bytes(data) + np.asarray(points, "<f4").tobytes()


def functions(*kinds: int) -> bytes:
    return b"".join(bytes([kind | 0x20]) + bytes(415) for kind in kinds)


def scans(n_scans: int, n_pairs: int) -> bytes:
    """Index of a function: one spectrum each half minute."""
    records = (struct.pack("<II4xf6x", 6 * n_pairs * row, n_pairs | 0x18000000, 0.5 * row) for row in range(n_scans))
    return b"".join(records)


def spectra(n_scans: int, wavelengths: Sequence[int], *, power: int = 1) -> bytes:
    """Wavelength as 2**14 x nm in 23 bits and a power of two; value as 16 bits times a power of four."""
    keys = [(nm << 14) << 9 | (23 - 14) << 4 | power for nm in wavelengths]
    return b"".join(struct.pack("<hI", 100 * row - 50 + column, key) for row in range(n_scans) for column, key in enumerate(keys))


def files() -> dict[str, bytes]:
    return {"_HEADER.TXT": HEADER, "_CHROMS.INF": chroms(), **{f"_CHRO00{number}.DAT": chro() for number in (1, 2, 3, 4)}}


def with_functions(*kinds: int) -> dict[str, bytes]:
    found = {**files(), "_FUNCTNS.INF": functions(*kinds)}
    for number in range(1, len(kinds) + 1):
        found |= {f"_FUNC00{number}.DAT": spectra(3, (210, 254)), f"_FUNC00{number}.IDX": scans(3, 2)}
    return found


def folder(members: Mapping[str, bytes], *, top: str = "") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{top}{name}", data)
    return target.getvalue()
