"""The laboratory at work: queues of tests, sequences on instruments, results, retests, dispositions.

Belongs here: who runs what when, and what comes out. Does not belong here: physics of a trace, file formats.
Every random draw belongs to a named thing (``rng_for``), so nothing before a scenario's start depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lab_assets.simulation.bench_work import Injection, judge, plan_sequence, run_injections
from lab_assets.simulation.instruments import System
from lab_assets.simulation.lots import Sample
from lab_assets.simulation.rng import rng_for
from lab_assets.simulation.scenarios import Scenarios
from lab_assets.simulation.world import ANALYSTS, CYCLE_MIN, INSTRUMENTS, METHODS, Analyst

UNITS_PER_SEQUENCE = 8
LONGEST_WAIT_DAYS = 11
BAD_ANALYST_DAYS = 7.0


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One test of one sample, waiting since ``due``."""

    due: datetime
    sample: Sample
    method_id: str


@dataclass(frozen=True, kw_only=True)
class SequenceRun:
    """One sequence that was run.

    Attributes:
        sequence_id: Worklist number.
        method_id: Its method.
        analyst: Who prepared it.
        planned_at: When the worklist was recorded, UTC.
        started_at: First injection.
        ended_at: End of the last run.
        injections: In order.
        oos_samples: Names of samples with any result out of specification.
    """

    sequence_id: str
    method_id: str
    analyst: Analyst
    planned_at: datetime
    started_at: datetime
    ended_at: datetime
    injections: tuple[Injection, ...]
    oos_samples: frozenset[str]


@dataclass
class Laboratory:
    """The laboratory over the whole period; ``run`` yields its sequences in the order they are run.

    Attributes:
        seed: Seed of the simulation.
        start: Start of the period, UTC.
        end: End of the period, UTC.
        scenarios: Disturbances.
        retests: Retest samples made so far, in order.
        systems: HPLC systems by id.
    """

    seed: int
    start: datetime
    end: datetime
    scenarios: Scenarios
    retests: list[Sample] = field(default_factory=list)
    systems: dict[str, System] = field(default_factory=dict)
    _sequence_no: int = 0

    def __post_init__(self) -> None:
        self.systems = {one.instrument_id: System(one, seed=self.seed, start=self.start, scenarios=self.scenarios) for one in INSTRUMENTS}

    def run(self, samples: Sequence[Sample]) -> Iterator[SequenceRun]:
        """Yield every sequence of the period.

        Args:
            samples: Release samples and stability pulls; retests follow by themselves.
        """
        waiting = sorted(
            (
                Unit(due=sample.sampled_at + timedelta(hours=20), sample=sample, method_id=method)
                for sample in samples
                for method in sample.methods
            ),
            key=lambda unit: (unit.due, unit.sample.sample_name, unit.method_id),
        )
        queues: dict[str, list[Unit]] = {method: [] for method in METHODS}
        day = self.start.replace(hour=8, minute=0, second=0, microsecond=0)
        while day < self.end:
            while waiting and waiting[0].due <= day:
                unit = waiting.pop(0)
                queues[unit.method_id].append(unit)
            if day.weekday() < 5:
                for done in self._work(day, queues):
                    waiting.extend(self._retests(done))
                    waiting.sort(key=lambda unit: (unit.due, unit.sample.sample_name, unit.method_id))
                    yield done
            day += timedelta(days=1)

    def _work(self, day: datetime, queues: Mapping[str, list[Unit]]) -> Iterator[SequenceRun]:
        """Run what is ready on one day: full sequences, and units that have waited long enough."""
        for method in METHODS:
            queue = queues[method]
            while len(queue) >= UNITS_PER_SEQUENCE or (queue and (day - queue[0].due).days >= LONGEST_WAIT_DAYS):
                units = [queue.pop(0) for _ in range(min(UNITS_PER_SEQUENCE, len(queue)))]
                done = self._sequence(day, method, units)
                if done is None:
                    return
                yield done

    def _choose_system(self, day: datetime) -> System:
        """Choose among those free that day the one furthest below its share, else the one that is free first."""
        limit = day + timedelta(hours=9)
        free = [system for system in self.systems.values() if system.busy_until <= limit]
        if not free:
            return min(self.systems.values(), key=lambda system: system.busy_until)
        return min(free, key=lambda system: (system.n_sequences + 0.5) / system.instrument.share)

    def _choose_analyst(self, sequence_id: str, at: datetime) -> Analyst:
        """Choose evenly; during ``bad_analyst_day`` it is always the analyst with the wrong pipette."""
        if self.scenarios.active("bad_analyst_day", at, days=BAD_ANALYST_DAYS):
            return ANALYSTS[-1]
        return ANALYSTS[int(rng_for(self.seed, "analyst", sequence_id).integers(len(ANALYSTS)))]

    def _sequence(self, day: datetime, method: str, units: Sequence[Unit]) -> SequenceRun | None:
        """Plan, run and judge one sequence; ``None`` when it would start after the period."""
        sequence_id = f"SEQ{day:%Y}-{self._sequence_no + 1:04d}"
        system = self._choose_system(day)
        minutes = 60 + float(rng_for(self.seed, "start", sequence_id).integers(0, 90))
        started = max(day + timedelta(minutes=minutes), system.busy_until + timedelta(minutes=45))
        analyst = self._choose_analyst(sequence_id, started)
        planned = plan_sequence(
            sequence_id,
            method,
            [unit.sample for unit in units],
            seed=self.seed,
            started_at=started,
            analyst=analyst,
        )
        ended = started + timedelta(minutes=CYCLE_MIN * len(planned))
        if ended >= self.end:
            return None
        self._sequence_no += 1
        system.exchange_worn_column(started)
        system.busy_until = ended
        system.n_sequences += 1
        bad_day = self.scenarios.active("bad_analyst_day", started, days=BAD_ANALYST_DAYS)
        injections = judge(run_injections(planned, system, seed=self.seed, analyst=analyst, bad_day=bad_day))
        return SequenceRun(
            sequence_id=sequence_id,
            method_id=method,
            analyst=analyst,
            planned_at=started - timedelta(minutes=40),
            started_at=started,
            ended_at=ended,
            injections=tuple(injections),
            oos_samples=frozenset(one.planned.sample_name for one in injections if one.is_oos),
        )

    def _retests(self, done: SequenceRun) -> Iterator[Unit]:
        """Order a retest of each sample that is out of specification and is not a retest itself."""
        samples = {one.planned.sample_name: one.planned.sample for one in done.injections if one.planned.sample is not None}
        for name in sorted(done.oos_samples):
            sample = samples[name]
            if sample.kind == "retest":
                continue
            number = 1 + sum(one.retest_of == name for one in self.retests)
            again = Sample(
                sample_name=f"{name}-R{number}",
                lot=sample.lot,
                kind="retest",
                methods=(done.method_id,),
                storage_condition=sample.storage_condition,
                chamber_id=sample.chamber_id,
                months=sample.months,
                stored_at=sample.stored_at,
                sampled_at=done.ended_at + timedelta(hours=26),
                retest_of=name,
                potency_pct=sample.potency_pct,
                impurity_a_pct=sample.impurity_a_pct,
                impurity_b_pct=sample.impurity_b_pct,
            )
            self.retests.append(again)
            yield Unit(due=again.sampled_at + timedelta(hours=20), sample=again, method_id=done.method_id)
