"""What is known around a run at a moment: instrument, lot and storage, from the feature tables.

The rule is that of ``lab_assets.features.join``, for one run, over the rows of its keys alone; a test holds both against each other.

Belongs here: look-up of stored features by key and moment. Does not belong here: reading (``run_rows.py``), computing features, the features
of the trace itself (``scorer.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from lab_assets.contracts.features import INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE
from lab_assets.domain.in_force import Row
from lab_assets.features.definitions import FEATURE_SET_VERSION
from lab_assets.features.join import LOOKBACK_DAYS
from lab_assets.stations.gather import KeyedReader

if TYPE_CHECKING:
    import polars as pl

_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES: Final = ("event_time_utc", "known_time_utc")


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Feature rows that hold for one run at one moment; ``None`` where nothing is known."""

    instrument: Row | None
    lot: Row | None
    storage: Row | None


def surroundings(
    read: KeyedReader,
    *,
    injection_id: str,
    instrument_id: str | None,
    method_id: str | None,
    lot_id: str | None,
    sample_name: str | None,
    at: datetime,
    feature_set_version: str = FEATURE_SET_VERSION,
) -> Surroundings:
    """Return what was known for a run at a moment; never the run's own outcome.

    Args:
        read: Reads the feature tables.
        injection_id: The run.
        instrument_id: Its instrument.
        method_id: Its method.
        lot_id: Its lot.
        sample_name: Its sample.
        at: Rows of later events, or known later, do not count.
        feature_set_version: Only rows of this feature set count.

    Raises:
        TableUnavailableError: a table cannot be read.
    """
    of_set = [feature_set_version]
    own = read.keyed(INSTRUMENT_HISTORY, _TIMES, injection_id=[injection_id], feature_set_version=of_set)
    started, known = own["event_time_utc"].min(), own["known_time_utc"].min()
    before = at
    if isinstance(started, datetime) and isinstance(known, datetime) and known <= at:
        before = min(at, started - _MICROSECOND)
    instrument = read.keyed(INSTRUMENT_HISTORY, instrument_id=[instrument_id], method_id=[method_id], feature_set_version=of_set)
    return Surroundings(
        instrument=_latest(instrument, before, oldest=before - timedelta(days=LOOKBACK_DAYS)),
        lot=_latest(read.keyed(LOT_HISTORY, lot_id=[lot_id], feature_set_version=of_set), before),
        storage=_latest(read.keyed(STORAGE_EXPOSURE, sample_name=[sample_name], feature_set_version=of_set), at),
    )


def _latest(rows: pl.DataFrame, at: datetime, *, oldest: datetime | None = None) -> Row | None:
    """Return the row with the latest event, of equal ones the latest known, among those available at a moment."""
    import numpy as np

    if rows.is_empty():
        return None
    event, known = (rows[name].to_physical().to_numpy() for name in _TIMES)  # microseconds since 1970
    at_us = _microseconds(at)
    available = np.flatnonzero((event <= at_us) & (known <= at_us))
    if not available.size:
        return None
    place = int(available[np.lexsort((known[available], event[available]))[-1]])
    if oldest is not None and event[place] < _microseconds(oldest):
        return None
    return rows.row(place, named=True)


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
