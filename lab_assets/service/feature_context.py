"""What is known around a run at a moment: instrument, lot and storage, from the feature tables.

Which row counts is said in ``lab_assets.features.join``, here for one run over the rows of its keys alone; a test holds both against each
other.

Belongs here: look-up of stored features by key and moment. Does not belong here: reading (``run_rows.py``), computing features, the features
of the trace itself (``scorer.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lab_assets.contracts.features import INSTRUMENT_HISTORY, LOT_HISTORY, STORAGE_EXPOSURE
from lab_assets.domain.in_force import Row
from lab_assets.features.definitions import FEATURE_SET_VERSION
from lab_assets.features.join import LOOKBACK_DAYS, TIMES, before_own_run, latest_of
from lab_assets.stations.gather import KeyedReader


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
    own = read.keyed(INSTRUMENT_HISTORY, TIMES, injection_id=[injection_id], feature_set_version=of_set)
    before = before_own_run(own, at)
    instrument = read.keyed(INSTRUMENT_HISTORY, instrument_id=[instrument_id], method_id=[method_id], feature_set_version=of_set)
    return Surroundings(
        instrument=latest_of(instrument, before, oldest=timedelta(days=LOOKBACK_DAYS)),
        lot=latest_of(read.keyed(LOT_HISTORY, lot_id=[lot_id], feature_set_version=of_set), before),
        storage=latest_of(read.keyed(STORAGE_EXPOSURE, sample_name=[sample_name], feature_set_version=of_set), at),
    )
