"""Calibration certificates in force.

Belongs here: which certificate of an instrument holds at a moment, and whether it is good. Does not belong here: the certificates' values.

A certificate holds from when it was performed until the next one is. It is known from when it was recorded, or performed where that is not
stated; a parameter recorded later, or recorded again because it was wrong, makes a further version of it, in whose place the former no
longer counts, and changes nothing that was known before. It is good while no parameter in force failed and the first of them has not
expired.

A record is that of one parameter of one certificate, so the two identify it: the instrument is part of what it says. Recorded again for
another instrument, the parameter holds on that one only from then on. Records of one file and time stand beside each other: a
certificate may so be of several instruments, or of several points of a parameter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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
    """One certificate as it holds on one instrument.

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
        for number, known in _by_certificate(rows).items():
            for instrument, state in _states(number, known):
                found.setdefault(instrument, []).append(state)
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


def counting_since(rows: pl.DataFrame, since: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of certificates that may be in force on some instruments, by what is known then, at a moment or any time after it.

    Args:
        rows: Every row of ``bronze.calibrations`` of the certificates of these instruments.
        since: ``instrument_id`` and ``since``, one moment an instrument; empty for now.
    """
    import polars as pl

    performed, number = pl.col("performed_at_utc"), "certificate_id"
    bounds = (
        rows.filter(performed.is_not_null())
        .with_columns(_instruments=pl.col("instrument_id").n_unique().over(number))
        .join(since, on="instrument_id")
        .group_by("instrument_id", number, "since", "_instruments")
        .agg(_first=performed.min(), _last=performed.max(), _known=pl.max_horizontal("performed_at_utc", "recorded_at_utc").max())
    )
    # whatever its versions say, the last of those that were settled by the moment is in force then or was followed by another
    is_settled = (pl.col("_instruments") == 1) & (pl.col("since").is_null() | (pl.col("_known") <= pl.col("since")))
    settled = pl.col("_first").filter(is_settled).max().over("instrument_id")
    counting = bounds.filter(settled.is_null() | (pl.col("_last") >= settled))
    return rows.join(counting, on=number, how="semi")


def parameters_in_force(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of certificates that count, with everything known: not those that were recorded again since.

    Args:
        rows: Every row of some certificates.
    """
    return [row for known in _by_certificate(rows).values() for row in _in_force(_parameters(known), None)]


def instruments_of_certificates(rows: Iterable[Row]) -> dict[str, str]:
    """Return the instrument of each certificate by its number, with everything known; of several, the one recorded last.

    Args:
        rows: Every row of some certificates; outcome and end of validity are not asked for.
    """
    found: dict[str, str] = {}
    for number, known in _by_certificate(rows).items():
        counting = [version for versions in _parameters(known).values() if (version := in_force(versions)) is not None]
        found[number] = max((version.known, recency(row), row["instrument_id"]) for version in counting for row in version.row)[-1]
    return found


def _by_certificate(rows: Iterable[Row]) -> dict[str, list[Row]]:
    return _by("certificate_id", (row for row in rows if row["performed_at_utc"] is not None))


def _by(column: str, rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


@dataclass(frozen=True, slots=True)
class _State:
    """What was known of a certificate on one instrument from a time on.

    Attributes:
        certificate: What was known.
        known: From when on.
        until: Up to when, which no longer belongs to it; ``None`` where that is still known.
    """

    certificate: Certificate
    known: datetime
    until: datetime | None

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
        # a state that ends is news of when it was performed as one that begins is
        times = ((state.place[0], moment) for state in self._by_effect for moment in (state.known, state.until))
        self._news = sorted((moment, performed) for performed, moment in times if moment is not None)
        self._known = [moment for moment, _ in self._news]

    def in_force(self, at: datetime | None, known_by: datetime | None) -> Certificate | None:
        """Return what ``lab_assets.domain.in_force.in_force`` does: the last of those effective and known by then."""
        end = len(self._effective) if at is None else bisect_right(self._effective, at)
        for place in range(end - 1, -1, -1):
            if self._by_effect[place].counts(known_by):
                return self._by_effect[place].certificate
        return None

    def known_times(self, at: datetime, after: datetime) -> set[datetime]:
        """Return the known times after a time of those that say or said before that they were effective by a moment."""
        return {moment for moment, performed in self._news[bisect_right(self._known, after) :] if performed <= at}


def _states(number: str, rows: Sequence[Row]) -> Iterator[tuple[str, _State]]:
    """Yield each instrument of a certificate with what was known of it there, from each time on at which one of its records changed it."""
    parameters = _parameters(rows)
    standing: dict[str, tuple[datetime, list[Row]]] = {}
    for moment in sorted({version.known for versions in parameters.values() for version in versions}):
        known = _by("instrument_id", _in_force(parameters, moment))
        for instrument, (since, held) in list(standing.items()):
            if known.get(instrument) != held:
                yield instrument, _State(_certificate(number, held), since, moment)
                del standing[instrument]
        for instrument, held in known.items():
            standing.setdefault(instrument, (moment, held))
    for instrument, (since, held) in standing.items():
        yield instrument, _State(_certificate(number, held), since, None)


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


def _in_force(parameters: Mapping[str, list[Version]], known_by: datetime | None) -> list[Row]:
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
