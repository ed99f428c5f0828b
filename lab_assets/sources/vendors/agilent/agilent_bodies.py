"""Bodies of Agilent signal files: the stored numbers, before any scaling.

Belongs here: records of first differences (versions 8, 30, 130), second differences (81, 181) and plain doubles (179). Does not belong
here: headers, times and units (``agilent_signal.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.core.trace_rows import FloatArray

_MAX_DIFFERENCES_BYTES: Final = 4 << 20
_MAX_PADDING_WORDS: Final = 512
_RECORD_TAG: Final = 0x10
_RECORD_ABSOLUTE: Final = -0x8000
_DIFFERENCE_ABSOLUTE: Final = 0x7FFF


def _doubles(body: bytes, place: str) -> tuple[FloatArray, bool]:
    if len(body) % 8:
        raise UnreadableFileError("truncated", "the last point is cut; transfer the file again", place)
    return np.frombuffer(body, "<f8"), False


def _words(body: bytes, place: str) -> list[int]:
    if len(body) > _MAX_DIFFERENCES_BYTES:
        raise UnreadableFileError("too_large", f"a signal of {len(body)} bytes is no chromatogram", place)
    if len(body) % 2:
        raise UnreadableFileError("truncated", "the file ends within a number; transfer it again", place)
    return np.frombuffer(body, ">i2").tolist()


def _records(body: bytes, place: str) -> tuple[FloatArray, bool]:
    """Decode records of first differences: a tag, a count and the differences; two zero bytes end them.

    Returns:
        The values, and whether the end mark is where it should be: more zeros may be padding or a lost block.
    """
    words = _words(body, place)
    values: list[int] = []
    at = value = 0
    try:
        while words[at] >> 8 == _RECORD_TAG:
            count = words[at] & 0xFF
            at += 1
            for _ in range(count):
                if words[at] == _RECORD_ABSOLUTE:
                    value = (words[at + 1] << 16) | (words[at + 2] & 0xFFFF)
                    at += 3
                else:
                    value += words[at]
                    at += 1
                values.append(value)
    except IndexError as error:
        raise UnreadableFileError("truncated", "the signal has no end mark, so points are missing; transfer it again", place) from error
    left = len(words) - at
    if left > _MAX_PADDING_WORDS or any(words[at:]):
        raise UnreadableFileError("truncated", f"the signal is damaged after point {len(values)}; transfer it again", place)
    return np.array(values, dtype=np.float64), left == 1


def _second_differences(body: bytes, place: str) -> tuple[FloatArray, bool]:
    """Decode second differences; 0x7fff announces an absolute value of 48 bits."""
    words = _words(body, place)
    values: list[int] = []
    at = value = step = 0
    while at < len(words):
        if words[at] != _DIFFERENCE_ABSOLUTE:
            step += words[at]
            value += step
            at += 1
        elif at + 3 < len(words):
            value = (words[at + 1] << 32) | ((words[at + 2] & 0xFFFF) << 16) | (words[at + 3] & 0xFFFF)
            step = 0
            at += 4
        else:
            raise UnreadableFileError("truncated", "the last point is cut; transfer the file again", place)
        values.append(value)
    return np.array(values, dtype=np.float64), False


BODIES: Final[Mapping[str, Callable[[bytes, str], tuple[FloatArray, bool]]]] = {
    "records": _records,
    "second_differences": _second_differences,
    "doubles": _doubles,
}
"""How a body is stored, and its decoder: it takes the bytes and the file's name, and returns the stored numbers and whether an end mark
proves that they are all."""
