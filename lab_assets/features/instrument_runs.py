"""The runs of one instrument as they are known at a time, in order of injection.

Belongs here: taking in what is learned of runs, looking back from one. Does not belong here: what features say of them
(``history_of_instruments.py``).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite, nan
from typing import Any, Final

from lab_assets.domain.run_context import STANDARD_ROLES

KEEP: Final = 400
"""Injections kept in mind an instrument, and of each of its methods and columns."""
FIRST_PLATES: Final = 5
"""Injections of a method on a column with which later ones are compared."""
FIRST_KEPT: Final = 2 * FIRST_PLATES
"""First ones kept in mind: some may turn out to be on another column."""

_VALUES: Final = ("plates", "tailing", "retention_time_min", "standard_response", "pressure_mean_bar", "pressure_ripple_pct")


@dataclass(frozen=True, kw_only=True, order=True)
class InstrumentRun:
    """One injection as the history sees it; ordered by time, then identity.

    Attributes:
        at: When it was injected.
        injection_id: Injection.
        method_id: Test method; empty where it is on the instrument no longer.
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

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> InstrumentRun:
        """Make one of an input row of ``instrument_history``."""
        values = {name: nan if row.get(name) is None else float(row[name]) for name in _VALUES}
        if row.get("sample_role") not in {None, *STANDARD_ROLES}:
            values["standard_response"] = nan
        return cls(
            at=row["injected_at_utc"],
            injection_id=row["injection_id"],
            method_id=row["method_id"] or "",
            column_id=row.get("column_id") or "",
            values=values,
            calibration_due_utc=row.get("calibration_due_utc"),
        )

    @property
    def scopes(self) -> tuple[tuple[str, ...], ...]:
        """What its history is kept by: the instrument, the method, the method on the column."""
        return ((), (self.method_id,), (self.method_id, self.column_id))


@dataclass(frozen=True, kw_only=True)
class InstrumentRuns:
    """The runs of an instrument up to one, oldest first, as extra features are given them.

    Attributes:
        run: The one.
        runs: Those of the instrument, this one included; at most the last ``KEEP``.
        of_method: Those of its method; none where the method has none left.
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


@dataclass(kw_only=True)
class KnownRuns:
    """What is known of one instrument so far."""

    _runs: dict[tuple[str, ...], list[InstrumentRun]] = field(default_factory=dict[tuple[str, ...], list[InstrumentRun]])
    _first: dict[tuple[str, ...], list[InstrumentRun]] = field(default_factory=dict[tuple[str, ...], list[InstrumentRun]])
    _column_times: dict[str, list[datetime]] = field(default_factory=dict[str, list[datetime]])
    _known: dict[str, InstrumentRun] = field(default_factory=dict[str, InstrumentRun])

    def learn(self, runs: Iterable[InstrumentRun]) -> list[InstrumentRuns]:
        """Take in what became known at one time; return the states that are new.

        These are those of runs heard of for the first time, as runs of their method, and those of the last run of each method that anything
        was learned of.

        Args:
            runs: Each injection once; one without a method is on this instrument no longer.
        """
        new: list[InstrumentRun] = []
        concerned: dict[str, InstrumentRun] = {}
        for run in runs:
            before = self._known.pop(run.injection_id, None)
            if before is not None:
                self._remove(before)
                concerned.setdefault(before.method_id, before)
            if run.method_id:
                self._add(run)
                concerned[run.method_id] = run
                new += [run] if before is None or before.method_id != run.method_id else []
        last = [self._last_of(method_id) or run for method_id, run in concerned.items()]
        return [self._upto(run) for run in {(run.method_id, run.injection_id): run for run in (*new, *last)}.values()]

    def _add(self, run: InstrumentRun) -> None:
        self._known[run.injection_id] = run
        for scope in run.scopes:
            kept = self._runs.setdefault(scope, [])
            insort(kept, run)
            del kept[:-KEEP]
        insort(self._column_times.setdefault(run.column_id, []), run.at)
        if isfinite(run.values["plates"]):
            first = self._first.setdefault(run.scopes[-1], [])
            insort(first, run)
            del first[FIRST_KEPT:]

    def _remove(self, run: InstrumentRun) -> None:
        for kept in (*(self._runs[scope] for scope in run.scopes), self._first.get(run.scopes[-1], [])):
            place = bisect_left(kept, run)
            if place < len(kept) and kept[place] == run:
                del kept[place]
        self._column_times[run.column_id].remove(run.at)

    def _last_of(self, method_id: str) -> InstrumentRun | None:
        """Return the last run of a method; ``None`` where none is left."""
        runs = self._runs[(method_id,)]
        return runs[-1] if runs else None

    def _upto(self, run: InstrumentRun) -> InstrumentRuns:
        """Return the runs known so far and not injected after this one."""
        runs, of_method, on_column = (kept[: bisect_right(kept, run)] for kept in map(self._runs.__getitem__, run.scopes))
        first = [each.values["plates"] for each in self._first.get(run.scopes[-1], []) if each <= run]
        return InstrumentRuns(
            run=run,
            runs=runs,
            of_method=of_method,
            on_column=on_column,
            first_plates=first[:FIRST_PLATES],
            injections_on_column=float(bisect_right(self._column_times[run.column_id], run.at)) if run.column_id else nan,
        )
