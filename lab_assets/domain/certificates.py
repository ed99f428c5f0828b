"""Calibration certificates in force.

Belongs here: which certificate of an instrument holds at a moment, and whether it is good. Does not belong here: the certificates' values.

A certificate holds from when it was performed until the next one is. It is known from when it was recorded, or performed where that is not
stated; a parameter recorded later, or recorded again because it was wrong, makes a further version of it, in whose place the former no
longer counts, and changes nothing that was known before. It is good while no parameter in force failed and the first of them has not
expired.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from lab_assets.domain.in_force import ALWAYS, RECENCY, Row, Version, in_force, recency, utc

if TYPE_CHECKING:
    import polars as pl

CERTIFICATE_COLUMNS: Final = (
    *("instrument_id", "certificate_id", "parameter", "outcome", "performed_at_utc", "valid_until_utc", "recorded_at_utc"),
    *RECENCY,
)
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
        found: dict[str, list[_State]] = {}
        for (instrument, number), known in _by_certificate(rows).items():
            found.setdefault(instrument, []).extend(_states(number, known))
        self._of = {instrument: _Ordered(states) for instrument, states in found.items()}

    def in_force(self, instrument_id: str | None, *, at: datetime | None, known_by: datetime | None = None) -> Certificate | None:
        """Return the certificate in force at a moment; ``None`` without one, or where instrument or moment are unknown."""
        states = None if instrument_id is None else self._of.get(instrument_id)
        return None if states is None or at is None else states.in_force(utc(at), known_by)

    def latest(self, instrument_id: str) -> Certificate | None:
        """Return the certificate of an instrument that was performed last; ``None`` without one."""
        states = self._of.get(instrument_id)
        return None if states is None else states.in_force(None, None)

    def known_times(self, instrument_id: str | None, *, at: datetime, after: datetime) -> set[datetime]:
        """Return when, after a time, something became known of those certificates that hold at a moment, held or were thought to."""
        states = None if instrument_id is None else self._of.get(instrument_id)
        return set() if states is None else states.known_times(utc(at), utc(after))


def counting_since(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of certificates that may be in force, by what is known then, at a moment or any time after it.

    Args:
        rows: Rows of ``bronze.calibrations`` with the column ``since``, one moment an instrument; empty for now.
    """
    import polars as pl

    one, performed = ["instrument_id", "certificate_id"], pl.col("performed_at_utc")
    bounds = (
        rows.filter(performed.is_not_null())
        .group_by(*one, "since")
        .agg(_first=performed.min(), _last=performed.max(), _known=pl.max_horizontal("performed_at_utc", "recorded_at_utc").max())
    )
    # whatever its versions say, the last of those that were settled by the moment is in force then or was followed by another
    is_settled = pl.col("since").is_null() | (pl.col("_known") <= pl.col("since"))
    settled = pl.col("_first").filter(is_settled).max().over("instrument_id")
    counting = bounds.filter(settled.is_null() | (pl.col("_last") >= settled))
    return rows.join(counting, on=one, how="semi")


def parameters_in_force(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of certificates that count, with everything known: not those that were recorded again since."""
    return [row for known in _by_certificate(rows).values() for row in _in_force(_parameters(known), None)]


def _by_certificate(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["performed_at_utc"] is not None:
            found.setdefault((row["instrument_id"], row["certificate_id"]), []).append(row)
    return found


@dataclass(frozen=True, slots=True)
class _State:
    """What was known of a certificate from a time on.

    Attributes:
        certificate: What was known.
        known: From when on.
        until: Up to when, which no longer belongs to it; ``None`` for the last state.
        reach: The earlier of the times at which this state and the one before it say that the certificate was performed.
    """

    certificate: Certificate
    known: datetime
    until: datetime | None
    reach: datetime

    @property
    def place(self) -> tuple[datetime, datetime, str]:
        """What decides between certificates that hold at one moment: the one performed last, then known last, then by number."""
        return utc(self.certificate.performed_at_utc), self.known, self.certificate.certificate_id

    def counts(self, known_by: datetime | None) -> bool:
        """Return whether it is what was known by a time, with everything known for ``None``."""
        return self.until is None if known_by is None else self.known <= known_by and (self.until is None or self.until > known_by)


class _Ordered:
    """States of the certificates of one instrument, of which there may be hundreds, for many questions."""

    def __init__(self, states: Iterable[_State]) -> None:
        self._by_effect = sorted(states, key=lambda state: state.place)
        self._effective = [state.place[0] for state in self._by_effect]
        self._by_known = sorted(self._by_effect, key=lambda state: state.known)
        self._known = [state.known for state in self._by_known]

    def in_force(self, at: datetime | None, known_by: datetime | None) -> Certificate | None:
        """Return what ``lab_assets.domain.in_force.in_force`` does: the last of those effective and known by then."""
        end = len(self._effective) if at is None else bisect_right(self._effective, at)
        for place in range(end - 1, -1, -1):
            if self._by_effect[place].counts(known_by):
                return self._by_effect[place].certificate
        return None

    def known_times(self, at: datetime, after: datetime) -> set[datetime]:
        """Return the known times after a time of those that say or said before that they were effective by a moment."""
        return {state.known for state in self._by_known[bisect_right(self._known, after) :] if state.reach <= at}


def _states(number: str, rows: Sequence[Row]) -> Iterator[_State]:
    """Yield what was known of a certificate from each time on at which one of its parameters was recorded."""
    parameters = _parameters(rows)
    moments = sorted({version.known for versions in parameters.values() for version in versions})
    known = [_certificate(number, _in_force(parameters, moment)) for moment in moments]
    performed = [utc(each.performed_at_utc) for each in known]
    reach = [performed[0], *(min(pair) for pair in pairwise(performed))]
    for place, (certificate, moment) in enumerate(zip(known, moments, strict=True)):
        yield _State(certificate, moment, moments[place + 1] if place + 1 < len(moments) else None, reach[place])


def _parameters(rows: Sequence[Row]) -> dict[str, list[Version]]:
    """Return the versions of each parameter of a certificate, each with its rows: a file may state a parameter at several points."""
    stated = [row["recorded_at_utc"] for row in rows]
    unstated = max((utc(row["performed_at_utc"]) for row, at in zip(rows, stated, strict=True) if at is None), default=ALWAYS)
    recorded = [(unstated if at is None else utc(at), row) for row, at in zip(rows, stated, strict=True)]
    if len({row["parameter"] for row in rows}) == len(rows):  # nearly always: each was recorded once
        return {row["parameter"]: [Version(ALWAYS, at, (), [row])] for at, row in recorded}
    found: dict[str, dict[tuple[object, ...], Version]] = {}
    for at, row in recorded:
        of_file = recency(row)[:-1]
        version = found.setdefault(row["parameter"], {}).setdefault((at, of_file), Version(ALWAYS, at, of_file, []))
        version.row.append(row)
    return {parameter: list(versions.values()) for parameter, versions in found.items()}


def _in_force(parameters: dict[str, list[Version]], known_by: datetime | None) -> list[Row]:
    """Return the rows of the version of each parameter that counted by a time."""
    counting = (in_force(versions, known_by=known_by) for versions in parameters.values())
    return [row for version in counting if version is not None for row in version.row]


def _certificate(number: str, rows: Sequence[Row]) -> Certificate:
    expiries = [utc(row["valid_until_utc"]) for row in rows if row["valid_until_utc"] is not None]
    return Certificate(
        certificate_id=number,
        performed_at_utc=max(utc(row["performed_at_utc"]) for row in rows),
        valid_until_utc=min(expiries, default=None),
        passed=all(row["outcome"] == "pass" for row in rows),
    )
