"""Numbers and units as files write them.

Belongs here: strict reading of one number, and the spellings of time units. Does not belong here: conversion of values.
"""

from __future__ import annotations

import math
import re
from typing import Final, Literal

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_NOT_FINITE: Final = frozenset({"nan", "inf", "infinity", "1.#inf", "1.#qnan", "nan(ind)"})
_SECONDS: Final = frozenset({"s", "sec", "secs", "second", "seconds", "time in seconds", "time-sec", "time (s)", "time (sec)"})
_MINUTES: Final = frozenset({"min", "mins", "minute", "minutes", "time in minutes", "time-min", "time (min)"})
_STATUS_UNITS: Final = frozenset({"bar", "psi", "psig", "kpa", "mpa", "kgf/cm2", "kgf/cm²", "°c", "degc", "deg c", "celsius", "c"})
_STATUS_WORDS: Final = re.compile(r"pressure|\btemp\b|temp\.|temperature|\boven\b|druck|\blamp (?:energy|voltage)", re.IGNORECASE)


class NumberError(ValueError):
    """Text that is not a finite number.

    Attributes:
        rule: ``not_a_number`` or ``not_finite``.
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


def parse_number(text: str, decimal: str = ".") -> float:
    """Read one number strictly: no thousands separators, no blanks inside, nothing guessed.

    Args:
        text: The number; blanks around it are allowed.
        decimal: Decimal mark, ``.`` or ``,``.

    Returns:
        The double nearest to the text.

    Raises:
        NumberError: ``not_finite`` for NaN and infinities, ``not_a_number`` for everything else.
    """
    bare = text.strip()
    plain = bare.replace(",", ".") if decimal == "," and "." not in bare else bare
    if _NUMBER.fullmatch(plain) and not (decimal == "," and "." in bare):
        value = float(plain)
        if math.isfinite(value):
            return value
        raise NumberError("not_finite", f"{bare[:40]!r} is beyond the range of a double")
    if bare.lstrip("+-").casefold() in _NOT_FINITE:
        raise NumberError("not_finite", f"{bare!r} is not a finite number")
    mark = "comma" if decimal == "," else "point"
    hint = f"; the decimal mark is a {mark} here" if "," in bare or "." in bare else ""
    raise NumberError("not_a_number", f"{bare[:40]!r} is not a number{hint}")


def time_unit(text: str | None) -> Literal["s", "min"] | None:
    """Return the unit of time that a file's wording means, or ``None`` when it is not a known wording.

    Args:
        text: Such as ``min``, ``Time-Sec`` or ``time in seconds``.
    """
    wording = (text or "").strip().casefold()
    if wording in _SECONDS:
        return "s"
    return "min" if wording in _MINUTES else None


def is_status_signal(name: str, unit: str | None) -> bool:
    """Tell whether a trace is a reading of the instrument itself (pressure, temperature) and not a detector signal.

    Args:
        name: Channel as the file states it.
        unit: Unit of the trace as stated.
    """
    return (unit or "").strip().casefold() in _STATUS_UNITS or _STATUS_WORDS.search(name.replace("_", " ")) is not None
