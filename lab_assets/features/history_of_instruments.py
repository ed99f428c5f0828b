"""Features of the state that each injection leaves on its instrument, with method and column.

Belongs here: the feature rows of states, with event time and known time. Does not belong here: which runs are known of an instrument at a
time (``instrument_runs.py``), lots (``history_of_lots.py``), choosing the row for a prediction (``join.py``), the running injection
(``progress.py``).

A row made at known time K uses only input rows whose own known time is at most K. So adding later-known rows never changes a row made before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import groupby
from math import isfinite, nan
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab_assets.features.definitions import FEATURE_SET_VERSION, columns_of
from lab_assets.features.extra import extra_values, former_values
from lab_assets.features.history_rows import mean, nulls, require, schema_of
from lab_assets.features.instrument_runs import FIRST_PLATES, InstrumentRun, InstrumentRuns, KnownRuns
from lab_assets.features.trace import fit_line

if TYPE_CHECKING:
    import polars as pl

INSTRUMENT_HISTORY_INPUT: Final[tuple[str, ...]] = (
    "injection_id",
    "instrument_id",
    "method_id",
    "column_id",
    "sample_role",
    "injected_at_utc",
    "known_time_utc",
    "plates",
    "tailing",
    "retention_time_min",
    "standard_response",
    "pressure_mean_bar",
    "pressure_ripple_pct",
    "calibration_due_utc",
)
"""Columns of the input of ``instrument_history``; an absent one counts as empty, except ids and times."""

RECENT: Final = 5
TREND: Final = 20
STANDARDS_NEW: Final = 3
STANDARDS_BEFORE: Final = 10
DRIFT_DAYS: Final = 30.0
DRIFT_MIN_DAYS: Final = 1.0
_DAY_S: Final = 86_400.0


def instrument_history(rows: pl.DataFrame, *, of: Collection[str] | None = None) -> pl.DataFrame:
    """Return the state of instrument, method and column after each injection.

    Deterministic: the order of the input rows does not matter. Whatever is learned of an instrument's runs at a time - a run, a correction,
    that a run was of another method or on another instrument - gives the state of each method it concerns once more with that known time,
    as its last injection known then left it; rows known before stay. A method of which no injection is left has a row that knows nothing.
    Nothing is known before it happened. "Main peak" columns are empty for injections without one; ``standard_response`` is the main peak's
    area per mg of pure standard (one unit an instrument) and empty except for standards.

    Args:
        rows: One row an injection, instrument and known time, columns ``INSTRUMENT_HISTORY_INPUT``; times are UTC datetimes. One without a
            method says that the injection is on this instrument no longer.
        of: Injections whose states are worked out; the others only lead to them. ``None`` for all.

    Returns:
        One row an injection, instrument, method and known time: instrument_id, method_id, injection_id, event_time_utc (start of the
        injection), known_time_utc, feature_set_version and the features of the table; what is not known is null. Ordered by instrument,
        event and known time.

    Raises:
        ValueError: a column that identifies or dates a row is missing.
    """
    import polars as pl

    require(rows, ("injection_id", "instrument_id", "method_id", "injected_at_utc", "known_time_utc"))
    keys = ["instrument_id", "known_time_utc", "injected_at_utc", "injection_id"]
    ordered = (
        rows.select([name for name in INSTRUMENT_HISTORY_INPUT if name in rows.columns])
        .drop_nulls(["injection_id", "instrument_id", "injected_at_utc", "known_time_utc"])
        .with_columns(known_time_utc=pl.max_horizontal("known_time_utc", "injected_at_utc"))
        .sort(keys)
        .unique(subset=["instrument_id", "injection_id", "known_time_utc"], keep="last", maintain_order=True)
    )
    states: dict[str, KnownRuns] = defaultdict(KnownRuns)
    made: list[dict[str, Any]] = []
    for (instrument_id, known), learned in groupby(ordered.iter_rows(named=True), key=itemgetter("instrument_id", "known_time_utc")):
        new = states[instrument_id].learn([InstrumentRun.of(row) for row in learned])
        made += [_instrument_row(instrument_id, known, seen) for seen in new if of is None or seen.run.injection_id in of]
    keyed = ("instrument_id", "method_id", "injection_id")
    order = ("instrument_id", "event_time_utc", "injection_id", "method_id", "known_time_utc")
    return pl.DataFrame(made, schema=schema_of(keyed, "instrument_history")).sort(order)


def _instrument_row(instrument_id: str, known: datetime, seen: InstrumentRuns) -> dict[str, Any]:
    features = dict.fromkeys(columns_of("instrument_history"), nan)
    if seen.of_method:  # files are never given nothing
        features |= _pressure_state(seen.runs, seen.of_method) | _column_state(seen) | _standard_state(seen.of_method)
        features |= extra_values("instrument_history", seen) | former_values("instrument_history", seen)
        due = seen.run.calibration_due_utc
        features["ih_days_to_calibration_due"] = (due - seen.run.at).total_seconds() / _DAY_S if due is not None else nan
    return {
        "instrument_id": instrument_id,
        "method_id": seen.run.method_id,
        "injection_id": seen.run.injection_id,
        "event_time_utc": seen.run.at,
        "known_time_utc": known,
        "feature_set_version": FEATURE_SET_VERSION,
        **nulls(features),
    }


def _last(runs: Sequence[InstrumentRun], name: str, count: int) -> list[float]:
    """Return the last finite values of one quantity, oldest first."""
    found: list[float] = []
    for run in reversed(runs):
        value = run.values[name]
        if isfinite(value):
            found.append(value)
            if len(found) == count:
                break
    return found[::-1]


def _pressure_state(runs: Sequence[InstrumentRun], of_method: Sequence[InstrumentRun]) -> dict[str, float]:
    ripple = _last(runs, "pressure_ripple_pct", TREND)
    slope, _ = fit_line(np.arange(len(ripple), dtype=np.float64), np.asarray(ripple, dtype=np.float64))
    return {
        "ih_pressure_mean_bar": mean(_last(of_method, "pressure_mean_bar", RECENT)),
        "ih_pressure_ripple_pct": mean(ripple[-RECENT:]),
        "ih_pressure_ripple_slope": 10.0 * slope if len(ripple) >= RECENT else nan,
    }


def _column_state(seen: InstrumentRuns) -> dict[str, float]:
    first, plates = seen.first_plates, mean(_last(seen.on_column, "plates", RECENT))
    return {
        "ih_plates_ratio": plates / mean(first) if len(first) == FIRST_PLATES and mean(first) > 0 else nan,
        "ih_tailing": mean(_last(seen.on_column, "tailing", RECENT)),
        "ih_retention_drift_pct_per_day": _retention_drift(seen.on_column, seen.run.at),
        "ih_injections_on_column": seen.injections_on_column,
    }


def _retention_drift(runs: Sequence[InstrumentRun], now: datetime) -> float:
    """Return the slope of the retention over the last 30 days in percent of its mean a day; ``nan`` for under a day or 3 values."""
    days: list[float] = []
    times: list[float] = []
    for run in reversed(runs):
        age = (now - run.at).total_seconds() / _DAY_S
        if age > DRIFT_DAYS:
            break
        if isfinite(run.values["retention_time_min"]):
            days.append(-age)
            times.append(run.values["retention_time_min"])
    if len(days) < 3 or days[0] - days[-1] < DRIFT_MIN_DAYS or mean(times) <= 0:
        return nan
    slope, _ = fit_line(np.asarray(days), np.asarray(times))
    return 100.0 * slope / mean(times)


def _standard_state(of_method: Sequence[InstrumentRun]) -> dict[str, float]:
    recent = _last(of_method, "standard_response", STANDARDS_NEW + STANDARDS_BEFORE)
    new, before = recent[-STANDARDS_NEW:], recent[:-STANDARDS_NEW]
    last = recent[-RECENT:]
    drift = 100.0 * (mean(new) / mean(before) - 1.0) if len(before) >= STANDARDS_NEW and mean(before) > 0 else nan
    spread = float(np.std(last, ddof=1)) if len(last) >= 2 else nan
    return {"ih_standard_rsd_pct": 100.0 * spread / mean(last) if mean(last) > 0 else nan, "ih_standard_drift_pct": drift}
