"""Series of AnIML: value sets to arrays, and what a series says about itself.

Belongs here: ``SeriesSet``, ``Series`` and the three ways of writing values. Does not belong here: steps, samples and tables
(``animl_xml.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np

from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.core.decoding import shorten
from lab_assets.sources.core.quantities import time_unit
from lab_assets.sources.core.trace_rows import FloatArray
from lab_assets.sources.core.xml_text import MAX_POINTS, child, children, local, parse_values, require_finite, unpack_base64

NUMERIC_TAGS: Final = frozenset({"I", "L", "F", "D"})
"""Elements of one number: int32, int64, float32, float64."""
TEXT_TAGS: Final = frozenset({"S", "Boolean", "DateTime"})
"""Elements of one text."""

_VALUE_SETS: Final = ("IndividualValueSet", "EncodedValueSet", "AutoIncrementedValueSet")
_DTYPES: Final = {
    **dict.fromkeys(("int32", "int"), "<i4"),
    **dict.fromkeys(("int64", "long"), "<i8"),
    **dict.fromkeys(("float32", "float"), "<f4"),
    **dict.fromkeys(("float64", "double"), "<f8"),
}
_KINDS: Final = {"I": "int32", "L": "int64", "F": "float32", "D": "float64", "S": "string"}
_ALWAYS_INCREMENTED: Final = 10_000
_VALUES_A_CHAR: Final = 4
_OTHER_TIMES: Final = frozenset({"ms", "msec", "h", "hr", "hours"})
_QUANTITIES: Final = frozenset({"time", "signal", "intensity", "absorbance", "voltage", "current", "arbitrary", "area", "height"})
"""Words that some writers put into ``label``, with the unit itself in ``quantity``."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One column of a series set, its values not yet read.

    Attributes:
        name: As stated.
        unit: As stated, empty when the file states none.
        independent: Whether it is stated as independent; ``None`` when nothing is stated.
        kind: Stated type of its values in lower case.
        element: The element itself.
        most_incremented: Most values that it may state by start and increment alone.
    """

    name: str
    unit: str
    independent: bool | None
    kind: str
    element: Element
    most_incremented: int

    @property
    def is_numeric(self) -> bool:
        """Whether its values are numbers."""
        return self.kind in _DTYPES

    @property
    def is_time(self) -> bool:
        """Whether it is an axis of time, by its unit or its name."""
        return self.is_numeric and (time_unit(self.unit) is not None or self.unit in _OTHER_TIMES or "time" in self.name.casefold())


@dataclass(frozen=True, kw_only=True)
class SeriesSet:
    """A table of series of one length; ``length`` is ``None`` when the file states none."""

    name: str
    length: int | None
    series: tuple[Series, ...]


def series_set(element: Element) -> SeriesSet:
    """Return a series set without reading its values."""
    most = _most_incremented(element)
    return SeriesSet(
        name=(element.get("name") or "").strip(),
        length=_index(element.get("length"), "length", "SeriesSet"),
        series=tuple(_series(item, most) for item in children(element, "Series")),
    )


def _most_incremented(element: Element) -> int:
    """Return how many values a series may state without writing them: times of a signal whose values are written beside them."""
    n_sets = sum(1 for item in element.iter() if local(item) == "AutoIncrementedValueSet")
    written = sum(len(item.text or "") for item in element.iter()) if n_sets else 0
    return min(MAX_POINTS, max(_ALWAYS_INCREMENTED, _VALUES_A_CHAR * written // max(n_sets, 1)))


def _series(element: Element, most_incremented: int) -> Series:
    dependency = (element.get("dependency") or "").strip().casefold()
    return Series(
        name=(element.get("name") or element.get("seriesID") or "").strip(),
        unit=unit_of(element),
        independent=None if dependency not in {"independent", "dependent"} else dependency == "independent",
        kind=(element.get("seriesType") or "").strip().casefold() or _kind_of_values(element),
        element=element,
        most_incremented=most_incremented,
    )


def _kind_of_values(element: Element) -> str:
    """Return the type of a series that does not state it, by its first value."""
    holder = child(element, "IndividualValueSet")
    first = next(iter(element if holder is None else holder), None)
    return "" if first is None else _KINDS.get(local(first), "")


def unit_of(element: Element) -> str:
    """Return the unit stated below an element, empty when none is stated."""
    unit = child(element, "Unit")
    label, quantity = ("", "") if unit is None else ((unit.get(key) or "").strip() for key in ("label", "quantity"))
    return quantity if quantity and label.casefold() in _QUANTITIES and quantity.casefold() not in _QUANTITIES - {"arbitrary"} else label


def read_numbers(series: Series, length: int | None, place: str) -> FloatArray:
    """Return the values of a numeric series.

    Args:
        series: The series.
        length: Stated length of its set, for values that are only stated by start and increment.
        place: Where it is, for messages.

    Returns:
        Finite numbers, shape ``(n,)``; empty when the series has none.

    Raises:
        UnreadableFileError: ``truncated``, ``not_a_number``, ``not_finite``, ``too_large`` or ``unsupported``.
    """
    place = f"{place}, {shorten(series.name)}"
    if not series.is_numeric:
        raise UnreadableFileError("unsupported", f"values of type {shorten(series.kind)} are no numbers", place)
    sets = list(children(series.element, *_VALUE_SETS))
    if not sets:  # some writers leave the value set out and put the values into the series
        return _written(list(series.element), place)
    starts = [_index(item.get("startIndex"), "startIndex", place) for item in sets]
    order = sorted(range(len(sets)), key=lambda at: starts[at] or 0) if None not in starts else range(len(sets))
    parts: list[FloatArray] = []
    n_points = 0
    for at in order:
        start = starts[at]
        if start is not None and start != n_points:
            raise UnreadableFileError("truncated", f"values {n_points} to {start} are missing or overlap; export the file again", place)
        part = _value_set(sets[at], series, None if length is None else length - n_points, place)
        n_points += part.size
        parts.append(part)
    return np.concatenate(parts)


def read_texts(series: Series) -> list[str]:
    """Return the values of a series as texts, numbers as written; those packed as base64 are not texts."""
    holders = [*children(series.element, "IndividualValueSet")] or [series.element]
    return [(value.text or "").strip() for holder in holders for value in children(holder, *NUMERIC_TAGS, *TEXT_TAGS)]


def _value_set(element: Element, series: Series, remaining: int | None, place: str) -> FloatArray:
    name = local(element)
    if name == "EncodedValueSet":
        values = unpack_base64(element.text or "", _DTYPES[series.kind], place)
    elif name == "IndividualValueSet":
        values = _written(list(element), place)
    else:
        return _incremented(element, remaining, series.most_incremented, place)
    stated = _stated_count(element, place)
    if stated is not None and stated != values.size:
        reason = f"{stated} values are stated, {values.size} are there; transfer the file again"
        raise UnreadableFileError("truncated", reason, place)
    return values


def _written(elements: Sequence[Element], place: str) -> FloatArray:
    return parse_values([(value.text or "").strip() for value in elements if local(value) in NUMERIC_TAGS], place)


def _incremented(element: Element, remaining: int | None, most: int, place: str) -> FloatArray:
    """Return start + i x increment."""
    stated = _stated_count(element, place)
    count = remaining if stated is None else stated
    start, step = (_written(list(children(child(element, name), *NUMERIC_TAGS)), place) for name in ("StartValue", "Increment"))
    if count is None or count < 0 or start.size != 1 or step.size != 1:
        raise UnreadableFileError("truncated", "start, increment and number of the values must be stated; export the file again", place)
    if count > most:
        raise UnreadableFileError(
            "too_large", f"{count} values are stated by their increment, and far fewer are written beside them", place
        )
    with np.errstate(over="ignore", invalid="ignore"):
        return require_finite(start[0] + np.arange(count, dtype=np.float64) * step[0], place)


def _stated_count(element: Element, place: str) -> int | None:
    """Return how many values the indices of a value set state; both ends belong to it."""
    start, end = (_index(element.get(key), key, place) for key in ("startIndex", "endIndex"))
    return None if start is None or end is None else end - start + 1


def _index(text: str | None, key: str, place: str) -> int | None:
    bare = (text or "").strip()
    if not bare:
        return None
    if not bare.isascii() or not bare.isdigit() or len(bare) > 15:
        raise UnreadableFileError("not_a_number", f"{key} is {shorten(bare)}", place)
    return int(bare)
