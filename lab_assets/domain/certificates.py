"""Calibration certificates in force.

Belongs here: which certificate of an instrument holds at a moment, and whether it is good. Does not belong here: the certificates' values.

A certificate holds from when it was performed until the next one is. It is known from when it was recorded, or performed where that is not
stated; a parameter recorded later makes a further version of it and changes nothing that was known before. It is good while no parameter
failed and the first of its parameters has not expired.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lab_assets.domain.in_force import Row, Version, utc

CERTIFICATE_COLUMNS: Final = ("instrument_id", "certificate_id", "outcome", "performed_at_utc", "valid_until_utc", "recorded_at_utc")
"""Columns of ``bronze.calibrations`` that this module reads."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """One certificate of one instrument.

    Attributes:
        certificate_id: Its number.
        performed_at_utc: When the last of its parameters was calibrated.
        valid_until_utc: When the first of them expires.
        passed: Whether no parameter failed.
    """

    certificate_id: str
    performed_at_utc: datetime
    valid_until_utc: datetime | None
    passed: bool

    def is_valid_at(self, moment: datetime) -> bool:
        """Return whether it was good at a moment."""
        return self.passed and self.valid_until_utc is not None and utc(self.valid_until_utc) >= utc(moment)


class Certificates:
    """Every certificate of every instrument."""

    def __init__(self, rows: Iterable[Row]) -> None:
        parameters: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            if row["performed_at_utc"] is not None:
                parameters.setdefault((row["instrument_id"], row["certificate_id"]), []).append(row)
        found: dict[str, list[Version]] = {}
        for (instrument, number), known in parameters.items():
            found.setdefault(instrument, []).extend(_versions(number, known))
        self._of = {instrument: _Ordered(versions) for instrument, versions in found.items()}

    def in_force(self, instrument_id: str | None, *, at: datetime | None, known_by: datetime | None = None) -> Certificate | None:
        """Return the certificate in force at a moment; ``None`` without one, or where instrument or moment are unknown."""
        versions = None if instrument_id is None else self._of.get(instrument_id)
        return None if versions is None or at is None else versions.in_force(utc(at), known_by)

    def known_times(self, instrument_id: str | None, *, at: datetime, after: datetime) -> set[datetime]:
        """Return when, after a time, those certificates of an instrument became known that may hold at a moment: performed by then."""
        versions = None if instrument_id is None else self._of.get(instrument_id)
        return set() if versions is None else versions.known_times(utc(at), utc(after))


class _Ordered:
    """Versions of the certificates of one instrument, of which there may be hundreds, for many questions."""

    def __init__(self, versions: Iterable[Version]) -> None:
        self._by_effect = sorted(versions, key=lambda version: (version.effective, version.known, version.order))
        self._effective = [version.effective for version in self._by_effect]
        self._by_known = sorted(self._by_effect, key=lambda version: version.known)
        self._known = [version.known for version in self._by_known]

    def in_force(self, at: datetime, known_by: datetime | None) -> Certificate | None:
        """Return what ``lab_assets.domain.in_force.in_force`` does: the last of those effective and known by then."""
        for place in range(bisect_right(self._effective, at) - 1, -1, -1):
            version = self._by_effect[place]
            if known_by is None or version.known <= known_by:
                return version.row
        return None

    def known_times(self, at: datetime, after: datetime) -> set[datetime]:
        """Return the known times after a time of those effective by a moment."""
        return {version.known for version in self._by_known[bisect_right(self._known, after) :] if version.effective <= at}


def _versions(number: str, rows: list[Row]) -> Iterator[Version]:
    """Yield what was known of a certificate from each time on at which one of its parameters was recorded."""
    stated = [row["recorded_at_utc"] for row in rows]
    if None in stated:
        unstated = max(utc(row["performed_at_utc"]) for row, at in zip(rows, stated, strict=True) if at is None)
        stated = [unstated if at is None else at for at in stated]
    if stated.count(stated[0]) == len(stated):  # nearly always: a certificate is exported whole
        yield _version(number, rows, utc(stated[0]))
        return
    known = [(utc(at), row) for row, at in zip(rows, stated, strict=True)]
    for moment in sorted({at for at, _ in known}):
        yield _version(number, [row for at, row in known if at <= moment], moment)


def _version(number: str, rows: list[Row], known: datetime) -> Version:
    performed = max(utc(row["performed_at_utc"]) for row in rows)
    expiries = [utc(row["valid_until_utc"]) for row in rows if row["valid_until_utc"] is not None]
    certificate = Certificate(
        certificate_id=number,
        performed_at_utc=performed,
        valid_until_utc=min(expiries, default=None),
        passed=all(row["outcome"] == "pass" for row in rows),
    )
    return Version(effective=performed, known=known, order=(number,), row=certificate)
