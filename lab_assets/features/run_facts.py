"""The one gatherer of a run's facts: what was known of a run at a moment, for batch, stream, online and reproduction alike.

Belongs here: context, windows, limits and standards of one run as known at a moment. Does not belong here: reading rows (each caller
brings those it has), what follows from the facts (``reference.py``, ``progress.py``).

Two moments count. *Seen*: runs that ended later have not been seen. *Known*: records made later are not known. They are the same while a
run goes on; a correction recorded afterwards is looked at with a later known time and the same seen one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lab_assets.domain.in_force import Row
from lab_assets.domain.processing_methods import ProcessingMethods, WindowSet
from lab_assets.domain.run_context import STANDARD_ROLES, LimsRecords, RunContext
from lab_assets.domain.specifications import Specifications
from lab_assets.features.expectation import MethodExpectation
from lab_assets.features.reference import expectation_of

LAST_STANDARDS: Final = 5
"""Standard injections used where the run's own sequence has none yet: the instrument's last of the method."""
STANDARDS_LOOKBACK: Final = timedelta(days=180)
"""Standards older than this tell nothing about today's run."""
NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""Moment from which on something holds that does not hold now."""
STANDARD_PEAK_COLUMNS: Final = ("analyte", "channel", "area", "height", "retention_time_min", "area_unit")
NOISE_COLUMN: Final = "signal_to_noise"
"""Of a standard's peak, where it was read: no feature rests on it, it tells whether a trace has the scale of the standards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """A run as its file or a request states it.

    Attributes:
        injection_id: Identity.
        injection_name: Name by which a worklist plans it.
        source: Drop folder; empty for a request.
        started_at_utc: Start; ``None`` where it is not stated.
        instrument_id: Instrument that it states; where it states none, the worklist does.
        stated_sample_name: Sample it states.
        stated_method_name: Method it states.
        stated_lot_id: Lot it states.
    """

    injection_id: str
    injection_name: str
    source: str
    started_at_utc: datetime | None
    instrument_id: str | None = None
    stated_sample_name: str | None = None
    stated_method_name: str | None = None
    stated_lot_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRun:
    """A run that may be a standard for others.

    Attributes:
        run: The run.
        ended_at_utc: When it was over and its trace known.
        peaks: Its named peaks by ``processing_id``: ``STANDARD_PEAK_COLUMNS``.
    """

    run: RunIdentity
    ended_at_utc: datetime
    peaks: Mapping[str, Sequence[Row]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What was known of one run besides its trace.

    Attributes:
        context: Worklist entry, sample, lot.
        windows: Windows in force.
        limits: Limits in force by analyte.
        standards: Peaks of the standards it is measured against, always in the same order.
    """

    context: RunContext
    windows: WindowSet
    limits: Mapping[str, Row]
    standards: Sequence[Row]

    def expectation(self, *, run_time_min: float, channel: str | None) -> MethodExpectation | None:
        """Return what the run should show on a channel; ``None`` where its method is not known."""
        if self.context.method_id is None:
            return None
        return expectation_of(
            self.windows.rows,
            self.limits,
            self.standards,
            method_id=self.context.method_id,
            run_time_min=run_time_min,
            channel=channel,
            weight_mg=self.context.weight_mg,
            nominal_weight_mg=self.context.nominal_weight_mg,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FactTimes:
    """Moments at which the facts of a run may change, each in order.

    Attributes:
        seen: When a run that may be its standard was over, and when it no longer counts.
        known: When a record that concerns it became known.
    """

    seen: Sequence[datetime]
    known: Sequence[datetime]

    def stage(self, *, seen_by: datetime, known_by: datetime) -> tuple[int, int]:
        """Return how often the facts had changed: by two moments of one stage they are the same."""
        return bisect_right(self.seen, seen_by), bisect_right(self.known, known_by)

    def known_after(self, moment: datetime) -> Sequence[datetime]:
        """Return every later moment at which a record became known."""
        return self.known[bisect_right(self.known, moment) :]


class RunBook:
    """Everything the facts of some runs are made of."""

    def __init__(
        self,
        records: LimsRecords,
        methods: ProcessingMethods,
        specifications: Specifications,
        seen: Iterable[SeenRun],
        *,
        is_of_moment: bool = False,
    ) -> None:
        """Prepare.

        Args:
            records: Worklist entries, samples and lots, every version.
            methods: Processing methods, every version.
            specifications: Limits, every version.
            seen: Runs that may be standards: those of the runs' sequences, and of their instruments and methods before them.
            is_of_moment: Whether only some of the standards before a run are among them, those that count at the moment asked about; else
                it serves for any later moment as well.
        """
        self.is_of_moment = is_of_moment
        self.records = records
        self.methods = methods
        self.specifications = specifications
        self._of_sequence: dict[str, list[SeenRun]] = {}
        self._of_instrument: dict[str, list[SeenRun]] = {}
        for other in sorted(seen, key=lambda other: (other.ended_at_utc, other.run.injection_id)):
            plans = records.plans.versions(other.run.injection_name)
            if any(version.row["sample_role"] in STANDARD_ROLES for version in plans):
                for sequence in {version.row["sequence_id"] for version in plans}:
                    self._of_sequence.setdefault(sequence, []).append(other)
                for instrument in self.instruments_of(other.run):
                    self._of_instrument.setdefault(instrument, []).append(other)
        self._of_standard: dict[tuple[str, str | None], frozenset[datetime]] = {}
        self._measured_from: dict[tuple[str, str], datetime] = {}
        self._ends = {name: [other.ended_at_utc for other in runs] for name, runs in self._of_instrument.items()}

    def facts(self, run: RunIdentity, *, seen_by: datetime, known_by: datetime) -> RunFacts:
        """Return what was known of a run.

        Args:
            run: The run.
            seen_by: Runs that ended later have not been seen.
            known_by: Records made later are not known.
        """
        context = self._context(run, known_by)
        at = run.started_at_utc or seen_by
        method = context.method_id
        limits = {} if method is None else self.specifications.limits_of_method(context.product, method, at=at, known_by=known_by)
        return RunFacts(
            context=context,
            windows=self.methods.windows(method, run.source, at=at, known_by=known_by),
            limits=limits,
            standards=self._standards(run, context, seen_by, known_by),
        )

    def times(self, run: RunIdentity, *, first: datetime, last: datetime) -> FactTimes:
        """Return every moment at which the facts of a run may change, for questions of what was seen from one moment to another.

        Args:
            run: The run.
            first: Earliest moment by which runs are seen.
            last: Latest one.
        """
        own = self._of_its_sequences(run, last)
        before: list[SeenRun] = []
        if not (own and self.has_own_standards(run, begun=min(run.started_at_utc or first, first))):
            before = [other for instrument in self.instruments_of(run) for other in self._before(run, instrument, first, last)]
        known = set(self.records.known_times(run.injection_name, sample_name=run.stated_sample_name))
        for context in [self._context(run, moment) for moment in (*sorted(known), None)]:
            known |= self.methods.known_times(context.method_id, run.source)
            known |= self.specifications.known_times(context.product, context.method_id)
        known.update(*(self._times_as_standard(other.run) for other in (*own, *before)))
        over = {other.ended_at_utc for other in (*own, *before)}
        no_longer = {moment for other in before if first < (moment := other.ended_at_utc + STANDARDS_LOOKBACK) <= last}
        return FactTimes(seen=sorted(over | no_longer), known=sorted(known))

    def has_own_standards(self, run: RunIdentity, *, begun: datetime) -> bool:
        """Return whether the run's own sequence had a standard with named peaks when it began, by every record known then or since.

        If so, no earlier standards of its instrument are ever asked for.

        Args:
            run: The run.
            begun: When it began.
        """
        plans = [self.records.plans.row(run.injection_name, known_by=moment) for moment in self._moments_from(run, begun)]
        return all(
            plan is not None and any(self._was_measured(other, plan["sequence_id"], run, begun) for other in self._members_of(plan))
            for plan in plans
        )

    def methods_of(self, run: RunIdentity, *, begun: datetime) -> set[str]:
        """Return every method that a run was known to be of when it began or at any time since."""
        contexts = [self._context(run, moment) for moment in self._moments_from(run, begun)]
        return {context.method_id for context in contexts if context.method_id is not None}

    def instruments_of(self, run: RunIdentity) -> set[str]:
        """Return every instrument that a run was ever known to be on."""
        if run.instrument_id is not None:
            return {run.instrument_id}
        return {version.row["instrument_id"] for version in self.records.plans.versions(run.injection_name)} - {None}

    def _moments_from(self, run: RunIdentity, begun: datetime) -> list[datetime]:
        return [begun, *(moment for moment in self.records.plans.known_times(run.injection_name) if moment > begun)]

    def _members_of(self, plan: Row) -> Sequence[SeenRun]:
        return self._of_sequence.get(plan["sequence_id"] or "", ())

    def _was_measured(self, other: SeenRun, sequence_id: str, run: RunIdentity, begun: datetime) -> bool:
        """Return whether a standard of a sequence had been seen with its peaks by a moment."""
        if other.ended_at_utc > begun or other.run.injection_id == run.injection_id:
            return False
        key = (other.run.injection_id, sequence_id)
        if key not in self._measured_from:

            def holds(moment: datetime) -> bool:
                plan = self._as_standard(other, moment)
                return plan is not None and plan["sequence_id"] == sequence_id and bool(self._peaks([(other, plan)], moment))

            self._measured_from[key] = holds_from(self._times_as_standard(other.run), holds)
        return self._measured_from[key] <= begun

    def _times_as_standard(self, run: RunIdentity) -> frozenset[datetime]:
        """Return when the records became known that decide of what use a run is as a standard; many runs ask for each."""
        key = (run.injection_name, run.source)
        if key not in self._of_standard:
            times = set(self.records.plans.known_times(run.injection_name))
            for version in self.records.plans.versions(run.injection_name):
                times |= self.methods.known_times(version.row["method_id"], run.source)
            self._of_standard[key] = frozenset(times)
        return self._of_standard[key]

    def _context(self, run: RunIdentity, known_by: datetime | None) -> RunContext:
        return self.records.context(
            run.injection_name,
            known_by=known_by,
            sample_name=run.stated_sample_name,
            method_id=run.stated_method_name,
            instrument_id=run.instrument_id,
            lot_id=run.stated_lot_id,
        )

    def _of_its_sequences(self, run: RunIdentity, seen_by: datetime) -> list[SeenRun]:
        """Return the standards of the sequences in which any version of the records plans a run."""
        return [
            other
            for version in self.records.plans.versions(run.injection_name)
            for other in self._of_sequence.get(version.row["sequence_id"], ())
            if other.ended_at_utc <= seen_by and other.run.injection_id != run.injection_id
        ]

    def _before(self, run: RunIdentity, instrument_id: str | None, first: datetime, last: datetime) -> list[SeenRun]:
        """Return the standards on an instrument that count by some moment from one to another, oldest first."""
        if instrument_id is None:
            return []
        others = self._of_instrument.get(instrument_id, [])
        ends = self._ends.get(instrument_id, [])
        start, end = bisect_right(ends, first - STANDARDS_LOOKBACK), bisect_right(ends, last)
        return [other for other in others[start:end] if other.run.injection_id != run.injection_id]

    def _standards(self, run: RunIdentity, context: RunContext, seen_by: datetime, known_by: datetime) -> list[dict[str, Any]]:
        """Return the standards of the run's own sequence so far, else the instrument's last ones of the method."""
        own = [
            (other, plan)
            for other in self._of_sequence.get(context.sequence_id or "", ())
            if other.ended_at_utc <= seen_by
            and other.run.injection_id != run.injection_id
            and (plan := self._as_standard(other, known_by)) is not None
            and plan["sequence_id"] == context.sequence_id
        ]
        rows = self._peaks(own, known_by)
        if rows or context.method_id is None:
            return rows
        last: list[tuple[SeenRun, Row]] = []
        for other in reversed(self._before(run, context.instrument_id, seen_by, seen_by)):
            plan = self._as_standard(other, known_by)
            if plan is None or (other.run.instrument_id or plan["instrument_id"]) != context.instrument_id:
                continue
            if plan["method_id"] == context.method_id:
                last.append((other, plan))
                if len(last) == LAST_STANDARDS:
                    break
        return self._peaks(last, known_by)

    def _as_standard(self, other: SeenRun, known_by: datetime) -> Row | None:
        plan = self.records.plans.row(other.run.injection_name, known_by=known_by)
        return plan if plan is not None and plan["sample_role"] in STANDARD_ROLES else None

    def _peaks(self, standards: Sequence[tuple[SeenRun, Row]], known_by: datetime) -> list[dict[str, Any]]:
        """Return the named peaks of standards with their weighings, in an order that depends on their values alone."""
        rows: list[dict[str, Any]] = []
        for other, plan in standards:
            windows = self.methods.windows(plan["method_id"], other.run.source, at=other.run.started_at_utc, known_by=known_by)
            weighing = {name: plan[name] for name in ("weight_mg", "nominal_weight_mg", "standard_purity_pct")}
            rows += [
                {**{name: peak[name] for name in STANDARD_PEAK_COLUMNS}, NOISE_COLUMN: peak.get(NOISE_COLUMN), **weighing}
                for peak in other.peaks.get(windows.processing_id, ())
            ]
        return sorted(rows, key=lambda row: tuple((row[name] is not None, row[name]) for name in _ORDER))


def holds_from(moments: Iterable[datetime], holds: Callable[[datetime], bool]) -> datetime:
    """Return the moment from which on something has held ever since; ``NEVER`` where it does not hold now.

    Args:
        moments: When it may change.
        holds: Whether it held from one of them on.
    """
    since = NEVER
    for moment in sorted(moments, reverse=True):
        if not holds(moment):
            break
        since = moment
    return since


def standard_from(records: LimsRecords, injection_name: str, method_id: str) -> datetime:
    """Return the moment from which on a run has been known as a standard of a method ever since; ``NEVER`` where it is not now."""

    def holds(moment: datetime) -> bool:
        plan = records.plans.row(injection_name, known_by=moment)
        return plan is not None and plan["sample_role"] in STANDARD_ROLES and plan["method_id"] == method_id

    return holds_from(records.plans.known_times(injection_name), holds)


_ORDER: Final = (*STANDARD_PEAK_COLUMNS, "weight_mg", "nominal_weight_mg", "standard_purity_pct")
