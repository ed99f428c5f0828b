"""Times as files write them: order of day and month, 12 h clocks, zones.

Belongs here: reading one time without guessing, and finding the date order from several. Does not belong here: any clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DateOrder = Literal["ymd", "dmy", "mdy"]

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2199

_MAX_CHARS: Final = 100
"""Longest text that may be a time; each blank beyond would be tried in several places of the pattern."""
_MOMENT: Final = re.compile(
    r"(?P<a>[0-9]{1,4})(?P<sep>[./-]|,?\s)\s*(?P<b>[0-9]{1,2}|[^\W\d_]{3,9}\.?)(?:(?P=sep)|[.\s])\s*(?P<c>[0-9]{1,4})\.?"
    r"(?:(?:T|,?\s+)(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?)?\s*(?P<zone>Z|[A-Z]{3,4}|(?:UTC|GMT)?\s*[+-][0-9]{1,2}(?::?[0-9]{2})?)?"
)
_COMPACT: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})\s*([+-][0-9]{4}|Z)?")
_MONTH_FIRST: Final = re.compile(r"(?P<month>[^\W\d_]{3,9})\.?\s+(?P<day>[0-9]{1,2}),?\s+(?P<rest>[0-9]{4}(?:\D.*)?)")
_HALF_FIRST: Final = re.compile(
    r"(?P<half>午前|午後|上午|下午|오전|오후)\s*(?P<clock>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?)"
)
_AFTERNOONS: Final = frozenset({"午後", "下午", "오후"})
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        ["jan", "feb", "mar mär mrz", "apr", "may maj mai", "jun", "jul", "aug avg", "sep", "oct okt", "nov", "dec dez"],
        start=1,
    )
    for name in names.split()
}
_NAMED_OFFSETS_H: Final = {
    "UTC": 0,
    "GMT": 0,
    "Z": 0,
    "EST": -5,
    "EDT": -4,
    "CST": -6,
    "CDT": -5,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
}
"""Zone names of RFC 5322, section 4.3."""


class MomentError(ValueError):
    """A time that cannot be read without guessing.

    Attributes:
        rule: ``bad_date``, ``ambiguous_date``, ``nonexistent_time`` or ``implausible_date``.
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One time.

    Attributes:
        utc: The instant.
        zone_known: Whether the text states its zone; otherwise the given zone was assumed.
        repeated: Whether the local time happens twice (clocks set back) and the earlier was taken unless asked otherwise.
    """

    utc: datetime
    zone_known: bool
    repeated: bool = False


def parse_moment(text: str, *, zone: str, order: DateOrder | None = None, later: bool = False) -> Moment:
    """Read one time.

    Args:
        text: Such as ``2025-03-04T05:06:07Z``, ``26.05.2017 16:52:02``, ``7/18/2019 7:45:56 PM`` or ``19900425154459-0800``.
        zone: IANA zone assumed when the text states none; it also tells what a short name such as ``BST`` or ``CEST`` means, where
            it has that name at that time.
        order: Order of day and month for numeric dates that do not begin with the year. Without it a dotted date is day
            first, and one with slashes or dashes must be unambiguous in itself.
        later: Take the second occurrence of a repeated local time.

    Returns:
        The instant; a date without a time is its midnight.

    Raises:
        MomentError: the text is not a time, is ambiguous, falls into the hour skipped when clocks go forward, or lies
            outside of ``FIRST_YEAR`` to ``LAST_YEAR``.
    """
    bare = text.strip()
    if len(bare) > _MAX_CHARS:
        raise MomentError("bad_date", f"{bare[:40]!r} and {len(bare) - 40} more characters are not a time")
    local, offset = _plain_iso(bare) or _compact(bare) or _spelled(_reordered(bare), order, zone)
    if not FIRST_YEAR <= local.year <= LAST_YEAR:
        raise MomentError("implausible_date", f"year {local.year} of {bare!r} cannot be right")
    if offset is not None:
        return Moment(utc=local.replace(tzinfo=offset).astimezone(UTC), zone_known=True)
    return _in_zone(local, zone, later=later)


def known_zone(name: str) -> str | None:
    """Return the zone a header means as a name for ``parse_moment``, or ``None`` when it is not a zone.

    Args:
        name: IANA name, ``UTC``, ``GMT`` or ``Z``.
    """
    if name.strip().upper() in {"UTC", "GMT", "Z"}:
        return "UTC"
    return name.strip() if "/" in name and _zone(name.strip()) is not None else None


def infer_order(texts: Iterable[str]) -> tuple[DateOrder | None, bool]:
    """Find the order of day and month that one writer used, from all the dates it wrote.

    A part above 12 proves the order; so does a 12 h clock with a month or day below 10 written without a zero, which only
    the United States' setting of Windows does. A bare 12 h clock is taken for month first, as an assumption, unless a zero stands
    before the second part: the settings of Australia and New Zealand write the month so, that of the United States writes no zero.

    Args:
        texts: Dates of one file.

    Returns:
        The order, or ``None`` when nothing tells or the dates contradict each other, and whether it is proven.
    """
    proven: set[DateOrder] = set()
    twelve_hour = padded = False
    for text in texts:
        match = _MOMENT.match(text.strip()[:_MAX_CHARS])
        if match is None or match["sep"] != "/" or not match["b"].isdigit() or len(match["a"]) > 2:
            continue
        first, second = int(match["a"]), int(match["b"])
        if first > 12 or second > 12:
            proven.add("dmy" if first > 12 else "mdy")
        elif match["half"]:
            twelve_hour = True
            padded = padded or match["b"].startswith("0")
            if len(match["b"]) == 1:
                proven.add("mdy")
    if len(proven) == 1:
        return proven.pop(), True
    return ("mdy", False) if twelve_hour and not padded and not proven else (None, False)


def _plain_iso(text: str) -> tuple[datetime, None] | None:
    """Read ``YYYY-MM-DD hh:mm:ss`` quickly, the stamp of nearly every log; what is not exactly that is left to the others."""
    if len(text) != 19 or text[4] != "-" or text[7] != "-" or text[10] not in " T" or text[13] != ":" or text[16] != ":":
        return None
    try:
        return datetime.fromisoformat(text), None
    except ValueError:
        return None


def _compact(text: str) -> tuple[datetime, tzinfo | None] | None:
    """Read ``YYYYMMDDhhmmss[+-hhmm]``, the stamp of ASTM E1947."""
    match = _COMPACT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    return _datetime(text, (year, month, day), (hour, minute, second, 0)), _offset(match[7])


def _reordered(text: str) -> str:
    """Write ``May 26, 2017`` with the day first, and the half of the day behind the clock as East Asian settings do not."""
    if month := _MONTH_FIRST.fullmatch(text):
        text = f"{month['day']} {month['month']} {month['rest']}"
    return _HALF_FIRST.sub(_half_behind, text, count=1)


def _half_behind(found: re.Match[str]) -> str:
    """Return the clock with AM or PM behind it; these settings count the hours of a half from 0."""
    hour, _, rest = found["clock"].partition(":")
    return f"{12 if int(hour) == 0 else hour}:{rest} {'PM' if found['half'] in _AFTERNOONS else 'AM'}"


def _spelled(text: str, order: DateOrder | None, zone: str) -> tuple[datetime, tzinfo | None]:
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise MomentError("bad_date", f"{text[:40]!r} is not a time")
    hour = int(match["hour"] or 0)
    if match["half"]:
        if not 1 <= hour <= 12:
            raise MomentError("bad_date", f"{text!r}: hour {hour} on a 12 h clock")
        hour = hour % 12 + (12 if match["half"][0] in "pP" else 0)
    micros = int((match["fraction"] or "").ljust(6, "0")[:6] or 0)
    clock = (hour, int(match["minute"] or 0), int(match["second"] or 0), micros)
    local = _datetime(text, _date(text, match, order), clock)
    return local, _named_offset(local, match["zone"], zone) or _offset(match["zone"])


def _date(text: str, match: re.Match[str], order: DateOrder | None) -> tuple[int, int, int]:
    """Return year, month, day of a matched date."""
    first, middle, last = match["a"], match["b"], match["c"]
    if not middle.isdigit():
        month = _MONTHS.get(middle.casefold()[:3])
        if month is None or len(last) != 4:
            raise MomentError("bad_date", f"{text!r}: month or year is not understood")
        return int(last), month, int(first)
    if len(first) == 4:
        return int(first), int(middle), int(last)
    if len(last) != 4 or len(first) > 2:
        raise MomentError("ambiguous_date", f"{text!r}: the year needs four digits")
    one, two = int(first), int(middle)
    known = order if order in {"dmy", "mdy"} else _own_order(match["sep"], one, two)
    if known is None:
        raise MomentError("ambiguous_date", f"{text!r} may be day or month first; declare the order of dates")
    return (int(last), two, one) if known == "dmy" else (int(last), one, two)


def _own_order(separator: str, one: int, two: int) -> DateOrder | None:
    if separator == "." or one > 12 or one == two:
        return "dmy"
    return "mdy" if two > 12 else None


def _datetime(text: str, date: tuple[int, int, int], clock: tuple[int, int, int, int]) -> datetime:
    try:
        return datetime(*date, *clock, tzinfo=UTC).replace(tzinfo=None)
    except ValueError as error:
        raise MomentError("bad_date", f"{text[:40]!r}: {error}") from error


def _offset(text: str | None) -> tzinfo | None:
    """Return a stated zone as a fixed offset; ``None`` when none is stated.

    Raises:
        MomentError: a zone name that has no single meaning.
    """
    if not text:
        return None
    name = text.strip()
    if name in _NAMED_OFFSETS_H:
        return timezone(timedelta(hours=_NAMED_OFFSETS_H[name]))
    match = re.fullmatch(r"(?:UTC|GMT)?\s*([+-])([0-9]{1,2}):?([0-9]{2})?", name)
    if match is None:
        raise MomentError("bad_date", f"zone {name!r} has no single meaning; declare the zone of the source, such as Europe/London")
    span = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    if span > timedelta(hours=14):
        raise MomentError("bad_date", f"zone {name!r} is beyond 14 hours")
    return timezone(span if match[1] == "+" else -span)


def _named_offset(local: datetime, name: str | None, zone: str) -> tzinfo | None:
    """Return the offset of a zone's short name, where the assumed zone has that name at that time; other names are left open."""
    assumed = _zone(zone) if name and name.isalpha() and name not in _NAMED_OFFSETS_H else None
    for fold in (0, 1):
        aware = local.replace(tzinfo=assumed, fold=fold)
        if assumed is not None and aware.tzname() == name and (offset := aware.utcoffset()) is not None:
            return timezone(offset)
    return None


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return None


def _in_zone(local: datetime, name: str, *, later: bool) -> Moment:
    """Place a local time in an assumed zone."""
    if name == "UTC":
        return Moment(utc=local.replace(tzinfo=UTC), zone_known=False)
    zone = _zone(name)
    if zone is None:
        raise MomentError("bad_date", f"zone {name!r} is not an IANA zone")
    offset = zone.utcoffset(local)
    if offset is not None and offset == zone.utcoffset(local.replace(fold=1)):  # an hour that neither repeats nor is skipped
        return Moment(utc=(local - offset).replace(tzinfo=UTC), zone_known=False)
    aware = local.replace(tzinfo=zone)
    utc = aware.astimezone(UTC)
    if utc.astimezone(zone).replace(tzinfo=None) != local:
        raise MomentError("nonexistent_time", f"{local.isoformat(sep=' ')} does not exist in {name}: clocks went forward")
    second = aware.replace(fold=1).astimezone(UTC)
    return Moment(utc=second if later else utc, zone_known=False, repeated=second != utc)
