"""Features of the state that each injection leaves on its instrument, with method and column.

Belongs here: turning rows of runs already known into feature rows with event time and known time.
Does not belong here: lots (``history_of_lots.py``), choosing the row for a prediction (``join.py``), the running injection (``progress.py``).

A row made at known time K uses only input rows whose own known time is at most K. So adding later-known rows never changes a row made before.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab_assets.features.definitions import FEATURE_SET_VERSION
from lab_assets.features.extra import extra_values, former_values
from lab_assets.features.history_rows import mean, nulls, require, schema_of
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
KEEP: Final = 400
"""Injections kept in mind an instrument, and of each of its methods and columns."""


@dataclass(frozen=True, kw_only=True, order=True)
class InstrumentRun:
    """One injection as the history sees it; ordered by time, then identity.

    Attributes:
        at: When it was injected.
        injection_id: Injection.
        method_id: Test method.
        column_id: Column; empty where it is not known.
        values: ``plates``, ``tailing``, ``retention_time_min`` of the main peak, ``standard_response``, ``pressure_mean_bar``,
            ``pressure_ripple_pct``; ``nan`` where not known.
        calibration_due_utc: When the calibration in force ends.
    """

    at: datetime
    injection_id: str
    method_id: str = field(compare=False)
    column_id: str = field(compare=False)
    values: Mapping[str, float] = field(compare=False)
    calibration_due_utc: datetime | None = field(compare=False, default=None)

    @property
    def scopes(self) -> tuple[tuple[str, ...], ...]:
        """What its history is kept by: the instrument, the method, the method on the column."""
        return ((), (self.method_id,), (self.method_id, self.column_id))


def instrument_history(rows: pl.DataFrame, *, of: Collection[str] | None = None) -> pl.DataFrame:
    """Return the state of instrument, method and column after each injection.

    Deterministic: the order of the input rows does not matter. Where an injection occurs again with a later known time (a correction), the
    corrected values count from then on; the state of the method's last injection is given once more with that known time, and rows known
    before stay. Nothing is known before it happened. "Main peak" columns are empty for injections without one; ``standard_response`` is the
    main peak's area per mg of pure standard (one unit an instrument) and empty except for standards.

    Args:
        rows: One row an injection and known time, columns ``INSTRUMENT_HISTORY_INPUT``; times are UTC datetimes.
        of: Injections whose states are worked out; the others only lead to them. ``None`` for all.

    Returns:
        One row an injection and known time: instrument_id, method_id, injection_id, event_time_utc (start of the injection), known_time_utc,
        feature_set_version and the features of the table; what is not known is null. Ordered by instrument, event and known time.

    Raises:
        ValueError: a column that identifies or dates a row is missing.
    """
    import polars as pl

    require(rows, ("injection_id", "instrument_id", "method_id", "injected_at_utc", "known_time_utc"))
    keys = ["instrument_id", "known_time_utc", "injected_at_utc", "injection_id"]
    ordered = (
        rows.select([name for name in INSTRUMENT_HISTORY_INPUT if name in rows.columns])
        .drop_nulls(["injection_id", "instrument_id", "method_id", "injected_at_utc", "known_time_utc"])
        .with_columns(known_time_utc=pl.max_horizontal("known_time_utc", "injected_at_utc"))
        .sort(keys)
        .unique(subset=["instrument_id", "injection_id", "known_time_utc"], keep="last", maintain_order=True)
    )
    states: dict[str, _InstrumentState] = defaultdict(_InstrumentState)
    made: dict[tuple[str, datetime], dict[str, Any]] = {}
    for row in ordered.iter_rows(named=True):
        state = states[row["instrument_id"]]
        run = state.take(row)
        if of is None or run.injection_id in of:
            made[run.injection_id, row["known_time_utc"]] = _instrument_row(row, run, state.upto(run))
    keyed = ("instrument_id", "method_id", "injection_id")
    order = ("instrument_id", "event_time_utc", "injection_id", "known_time_utc")
    return pl.DataFrame(list(made.values()), schema=schema_of(keyed, "instrument_history")).sort(order)


@dataclass(frozen=True, kw_only=True)
class InstrumentRuns:
    """The runs of an instrument up to one, oldest first, as extra features are given them.

    Attributes:
        run: The one.
        runs: Those of the instrument, this one included; at most the last ``KEEP``.
        of_method: Those of its method.
        on_column: Those of its method on its column.
        first_plates: Plates of the first main peaks of its method on its column.
        injections_on_column: Injections known on its column up to it, ``nan`` where the column is not known.
    """

    run: InstrumentRun
    runs: Sequence[InstrumentRun]
    of_method: Sequence[InstrumentRun]
    on_column: Sequence[InstrumentRun]
    first_plates: Sequence[float]
    injections_on_column: float


_RUN_VALUES: Final = ("plates", "tailing", "retention_time_min", "standard_response", "pressure_mean_bar", "pressure_ripple_pct")


@dataclass(kw_only=True)
class _InstrumentState:
    """What is known of one instrument so far, in order of injection."""

    runs: dict[tuple[str, ...], list[InstrumentRun]] = field(default_factory=dict[tuple[str, ...], list[InstrumentRun]])
    first_plates: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict[tuple[str, str], dict[str, float]])
    column_times: dict[str, list[datetime]] = field(default_factory=dict[str, list[datetime]])
    known: dict[str, InstrumentRun] = field(default_factory=dict[str, InstrumentRun])

    def take(self, row: Mapping[str, Any]) -> InstrumentRun:
        """Take an input row in; return the run after which the state is another: its own, or the method's last where it is corrected."""
        values = {name: _number(row.get(name)) for name in _RUN_VALUES}
        if row.get("sample_role") not in {None, "standard", "suitability"}:
            values["standard_response"] = nan
        run = InstrumentRun(
            at=row["injected_at_utc"],
            injection_id=row["injection_id"],
            method_id=row["method_id"],
            column_id=row.get("column_id") or "",
            values=values,
            calibration_due_utc=row.get("calibration_due_utc"),
        )
        return self.last_of(run.method_id) if self.add(run) else run

    def add(self, run: InstrumentRun) -> bool:
        """Take a run in, in place of what was known of it before; return whether something was."""
        before = self.known.get(run.injection_id)
        if before is not None:
            self._remove(before)
        self.known[run.injection_id] = run
        for scope in run.scopes:
            kept = self.runs.setdefault(scope, [])
            insort(kept, run)
            del kept[:-KEEP]
        insort(self.column_times.setdefault(run.column_id, []), run.at)
        first = self.first_plates.setdefault((run.column_id, run.method_id), {})
        if (len(first) < RECENT or run.injection_id in first) and isfinite(run.values["plates"]):
            first[run.injection_id] = run.values["plates"]
        return before is not None

    def _remove(self, run: InstrumentRun) -> None:
        for scope in run.scopes:
            kept = self.runs[scope]
            place = bisect_left(kept, run)
            if place < len(kept) and kept[place] == run:
                del kept[place]
        self.column_times[run.column_id].remove(run.at)

    def last_of(self, method_id: str) -> InstrumentRun:
        """Return the last run of a method known so far."""
        return self.runs[(method_id,)][-1]

    def upto(self, run: InstrumentRun) -> InstrumentRuns:
        """Return the runs known so far and not injected after this one."""
        runs, of_method, on_column = (self.runs[scope][: bisect_right(self.runs[scope], run)] for scope in run.scopes)
        return InstrumentRuns(
            run=run,
            runs=runs,
            of_method=of_method,
            on_column=on_column,
            first_plates=list(self.first_plates.get((run.column_id, run.method_id), {}).values()),
            injections_on_column=float(bisect_right(self.column_times[run.column_id], run.at)) if run.column_id else nan,
        )


def _instrument_row(row: Mapping[str, Any], run: InstrumentRun, seen: InstrumentRuns) -> dict[str, Any]:
    features = _pressure_state(seen.runs, seen.of_method) | _column_state(seen) | _standard_state(seen.of_method)
    features |= extra_values("instrument_history", seen) | former_values("instrument_history", seen)
    due = run.calibration_due_utc
    features["ih_days_to_calibration_due"] = (due - run.at).total_seconds() / _DAY_S if due is not None else nan
    return {
        "instrument_id": row["instrument_id"],
        "method_id": run.method_id,
        "injection_id": run.injection_id,
        "event_time_utc": run.at,
        "known_time_utc": row["known_time_utc"],
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
        "ih_plates_ratio": plates / mean(first) if len(first) == RECENT and mean(first) > 0 else nan,
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


def _number(value: float | None) -> float:
    return nan if value is None else float(value)
