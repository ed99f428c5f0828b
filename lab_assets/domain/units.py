"""Units of time, signal and area: their spellings, and conversion between them.

Belongs here: what a unit's text means and its factor. Does not belong here: traces, peaks, or guesses about a file that states no unit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_SPELLINGS_BY_MINUTES: Final[tuple[tuple[float, tuple[str, ...]], ...]] = (
    (1 / 60_000, ("ms", "msec", "msecs", "millisecond", "milliseconds")),
    (1 / 60, ("s", "sec", "secs", "second", "seconds")),
    (1.0, ("m", "min", "mins", "minute", "minutes")),
    (60.0, ("h", "hr", "hrs", "hour", "hours")),
)
_MINUTES_PER_UNIT: Final = {word: factor for factor, words in _SPELLINGS_BY_MINUTES for word in words}
_TIME_LABELS: Final = frozenset({"time", "in", "retention", "r", "rt", "x", "axis", "unit", "units"})

_SPELLINGS_BY_SIGNAL_UNIT: Final = (
    ("pV", ("pv", "picovolt", "picovolts")),
    ("nV", ("nv", "nanovolt", "nanovolts")),
    ("µV", ("uv", "microvolt", "microvolts")),
    ("mV", ("millivolt", "millivolts")),
    ("V", ("v", "volt", "volts")),
    ("µAU", ("uau", "microau", "uabs", "micro absorbance units")),
    ("mAU", ("mau", "mabs", "milliau", "milli absorbance units")),
    ("AU", ("au", "a.u.", "abs", "absorbance", "absorbance units", "absorbance unit")),
    ("nRIU", ("nriu",)),
    ("µRIU", ("uriu",)),
    ("mRIU", ("mriu",)),
    ("RIU", ("riu",)),
    ("nS", ("ns",)),
    ("µS", ("us", "microsiemens")),
    ("S", ("s", "siemens")),
    ("pA", ("pa",)),
    ("nA", ("na",)),
    ("µA", ("ua",)),
    ("A", ("a",)),
    ("pC", ("pc",)),
    ("nC", ("nc", "nanocoulomb", "nanocoulombs")),
    ("µC", ("uc",)),
    ("LU", ("lu",)),
    ("counts", ("count", "counts", "cts")),
    ("cps", ("cps", "counts/s", "counts per second")),
    ("%", ("%", "percent")),
)
_SIGNAL_UNIT_BY_SPELLING: Final = {word: unit for unit, words in _SPELLINGS_BY_SIGNAL_UNIT for word in words}
_SIGNAL_UNITS: Final = frozenset(unit for unit, _ in _SPELLINGS_BY_SIGNAL_UNIT)
_CASE_MATTERS: Final = {"mV": "mV", "MV": "MV", "mS": "mS", "MS": "MS", "mA": "mA", "MA": "MA"}
_POWER_BY_PREFIX: Final = {"p": -12, "n": -9, "µ": -6, "m": -3, "": 0, "k": 3, "M": 6}
_SCALED_QUANTITIES: Final = ("RIU", "AU", "V", "S", "A", "C")


@lru_cache(maxsize=256)
def minutes_per(unit: str) -> float:
    """Return how many minutes one of a time unit is.

    Spellings seen in real files are understood: ``Time-Sec``, ``seconds``, ``time in seconds``, ``s``, ``R.Time (min)``, ``Minutes``.

    Args:
        unit: The unit as the file states it.

    Raises:
        ValueError: the text names no time unit, or more than one.
    """
    words = [word for word in _words(unit) if word not in _TIME_LABELS]
    factors = {_MINUTES_PER_UNIT[word] for word in words if word in _MINUTES_PER_UNIT}
    if len(factors) != 1 or any(word not in _MINUTES_PER_UNIT for word in words):
        raise ValueError(f"unknown time unit {unit!r}: expected seconds, minutes, hours or milliseconds")
    return factors.pop()


@overload
def to_minutes(x: float, unit: str) -> float: ...
@overload
def to_minutes(x: FloatArray, unit: str) -> FloatArray: ...
def to_minutes(x: float | FloatArray, unit: str) -> float | FloatArray:
    """Convert a time, or an array of times of any shape, to minutes.

    Raises:
        ValueError: the unit is unknown.
    """
    return x * minutes_per(unit)


@lru_cache(maxsize=256)
def normalise_signal_unit(unit: str | None) -> str | None:
    """Return one spelling for a signal unit: ``uV`` and ``microvolts`` become ``µV``, ``mau`` becomes ``mAU``.

    Case decides where it distinguishes (``mV`` is not ``MV``). An unknown unit is kept as it stands, without outer blanks;
    no unit (``None``, empty) gives ``None``.
    """
    text = (unit or "").strip().replace("\u03bc", "µ")
    if not text:
        return None
    if text in _CASE_MATTERS:
        return _CASE_MATTERS[text]
    return _SIGNAL_UNIT_BY_SPELLING.get(" ".join(text.lower().replace("µ", "u").split()), text)


def is_signal_unit(unit: str) -> bool:
    """Return whether a text is a unit that a detector's signal is known to have, in any spelling, with any usual prefix."""
    known = normalise_signal_unit(unit)
    return known is not None and (known in _SIGNAL_UNITS or _split_scale(known)[0] in _SCALED_QUANTITIES)


def signal_unit_of_area(unit: str) -> str | None:
    """Return the signal's unit within an area's, such as ``mAU`` of ``mAU*min``; ``None`` where the area states only a time or nothing known."""
    try:
        return normalise_signal_unit(_split_area(unit)[0])
    except ValueError:
        return None


def signal_factor(unit: str, to_unit: str) -> float:
    """Return the factor that turns a signal in ``unit`` into ``to_unit``, such as 1e-3 for ``µV`` to ``mV``.

    Raises:
        ValueError: the units are not scales of one quantity.
    """
    source, target = normalise_signal_unit(unit), normalise_signal_unit(to_unit)
    if source == target:
        return 1.0
    quantity, power = _split_scale(source or "")
    target_quantity, target_power = _split_scale(target or "")
    if quantity != target_quantity:
        raise ValueError(f"cannot convert signal unit {unit!r} to {to_unit!r}")
    return 10.0 ** (power - target_power)


def area_unit(signal_unit: str | None, time_unit: str = "min") -> str:
    """Return the unit of an area: ``<signal>*<time>``, or only the time where the signal states no unit."""
    signal = normalise_signal_unit(signal_unit)
    return f"{signal}*{time_unit}" if signal else time_unit


def area_factor(unit: str, to_unit: str) -> float:
    """Return the factor that turns an area in ``unit`` into ``to_unit``, such as 1/60 for ``µV*s`` to ``µV*min``.

    Args:
        unit: ``<signal>*<time>``; the sign between may also be ``.``, ``·``, ``x`` between blanks, ``-`` or a blank.
        to_unit: Likewise.

    Raises:
        ValueError: either is not an area, or the signals are not scales of one quantity.
    """
    signal, time_factor = _split_area(unit)
    to_signal, to_time_factor = _split_area(to_unit)
    return signal_factor(signal, to_signal) * time_factor / to_time_factor


def convert_area(area: float, *, unit: str, to_unit: str) -> float:
    """Convert an area from ``unit`` to ``to_unit``; see ``area_factor``.

    Raises:
        ValueError: either unit is not an area, or the signals are not scales of one quantity.
    """
    return area * area_factor(unit, to_unit)


def _words(text: str) -> list[str]:
    """Split into lower-case words of letters."""
    return "".join(char if char.isalpha() else " " for char in text.lower()).split()


def _split_scale(unit: str) -> tuple[str, int]:
    """Split ``mAU`` into its quantity ``AU`` and the power of ten of its prefix."""
    for quantity in _SCALED_QUANTITIES:
        prefix = unit.removesuffix(quantity)
        if prefix != unit and prefix in _POWER_BY_PREFIX:
            return quantity, _POWER_BY_PREFIX[prefix]
    return unit, 0


def _split_area(unit: str) -> tuple[str, float]:
    """Split ``µV*s`` into the signal unit and the minutes of its time unit."""
    text = unit.strip().replace(" x ", "*")
    for sign in ("*", "·", "×", ".", "-", " "):
        left, found, right = text.rpartition(sign)
        if found and left.strip():
            return left.strip(), minutes_per(right)
    raise ValueError(f"{unit!r} is not an area unit: expected signal*time, such as mAU*min")
