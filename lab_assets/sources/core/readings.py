"""Readings of chambers and loggers: times in the order they were taken, units of temperature and humidity.

Belongs here: what every table of readings shares. Does not belong here: columns of any one table.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from lab_assets.sources.core.moments import DateOrder, Moment, parse_moment

_UNIT_SPELLINGS: Final = (
    frozenset({"degc", "°c", "ºc", "c", "deg c", "celsius", "grad c", "grad celsius", "℃", "temp c"}),
    frozenset({"degf", "°f", "ºf", "f", "deg f", "fahrenheit", "℉"}),
    frozenset({"k", "kelvin"}),
    frozenset({"%", "%rh", "% rh", "%rf", "% rf", "%rel", "% rel", "%r.h.", "% r.h.", "%r.f.", "% r.f.", "pct", "percent", "rh%", "rh"}),
    frozenset({"um", "µm", "μm"}),
    frozenset({"ug", "µg", "μg", "mcg"}),
)


def moment_after(text: str, previous: datetime | None, *, zone: str, order: DateOrder | None) -> Moment:
    """Read a time; in the hour that happens twice the order of the readings tells which one is meant.

    Args:
        text: The time.
        previous: Time of the reading before it of the same chamber or logger, UTC.
        zone: IANA zone assumed when the text states none.
        order: Declared order of day and month, if any.

    Raises:
        MomentError: the text is not an unambiguous time.
    """
    moment = parse_moment(text, zone=zone, order=order)
    if moment.repeated and previous is not None and moment.utc <= previous:
        return parse_moment(text, zone=zone, order=order, later=True)
    return moment


def join_day_and_clock(parts: list[str]) -> str:
    """Return the text of a time that stands in one or two fields; a workbook's day may carry a midnight of its own."""
    texts = [part for part in parts if part]
    if len(texts) > 1:
        texts[0] = texts[0].removesuffix("T00:00:00")
    return " ".join(texts)


def same_unit(one: str, other: str) -> bool:
    """Tell whether two texts mean the same unit: equal, or known spellings of one, such as ``degC`` and ``°C``."""
    first, second = one.strip().casefold(), other.strip().casefold()
    return first == second or any(first in spellings and second in spellings for spellings in _UNIT_SPELLINGS)
