"""Seeded damage to files: cut, flipped, inserted, swapped and repeated bytes, of the file itself or of a member of an archive."""

from __future__ import annotations

import io
import random
import zipfile

TOKENS = (
    *(b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\t", b'"', b"\r", b"\n", b",", b";"),
    *(b"-1", b"1e309", b"NaN", b"-Infinity", b"9999999999999999999", b"0000-00-00", b"<", b"&x;", b"{", b"[", b"]", b"=1+1", b"../"),
    "\u202e\u00e9\U0001f4a5".encode(),
)


def mutated(data: bytes, seed: int) -> bytes:
    """One damaged copy; the same for the same seed.

    Args:
        data: A valid file.
        seed: Which damage; in two of three copies of an archive it is a member that is damaged, and its checksum right.
    """
    chance = random.Random(seed)
    if data.startswith(b"PK\x03\x04") and seed % 3:
        return _in_member(data, chance)
    return _damaged(data, chance)


def _in_member(data: bytes, chance: random.Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        hit = chance.choice([name for name in old.namelist() if old.getinfo(name).file_size] or [""])
        for name in old.namelist():
            part = old.read(name)
            if name == hit:
                nested = part.startswith(b"PK\x03\x04") and chance.random() < 0.7
                part = _in_member(part, chance) if nested else _damaged(part, chance)
            new.writestr(zipfile.ZipInfo(name), part)
    return buffer.getvalue()


def _damaged(data: bytes, chance: random.Random) -> bytes:
    left = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(left) + 1)
        to = min(len(left), at + chance.choice((1, 4, 40)))
        kind = chance.randrange(6)
        if kind == 0:
            del left[at:]
        elif kind == 1 and at < len(left):
            left[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            left[at:at] = chance.choice(TOKENS)
        elif kind == 3:
            left[at:to] = chance.choice(TOKENS)
        elif kind == 4:
            other = chance.randrange(len(left) + 1)
            left[at:to], left[other : other + to - at] = left[other : other + to - at], left[at:to]
        else:
            left[at:at] = bytes(left[at:to]) * chance.choice((1, 3, 50))
    return bytes(left)
