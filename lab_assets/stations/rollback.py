"""What runs wrote, as the commits say, and taking it back.

Belongs here: from commits to runs, the plan of a rollback, doing it in an order that may be cut off anywhere. Does not belong here: what
setting one table back means (``restoring.py``), asking people, the audit trail (``lab_assets.cli``).

The tables that a run made fit together before it and after it. Where nobody has written since to any of them, nor made anything of them,
all go back to before the run, and fit together again; the next run makes them anew. Where others have, no earlier version fits what they
wrote: then all are made anew at once from their inputs, in flow order, and what rests on them follows. A table that went back alone would
empty what is made of it (incident: the lots of a first run were set back, and every disposition of the second was gone until the third).

Rows of former feature sets are made by nobody any more. Those that the run brought while such a set was today's, and those that others made
of what it wrote, must not count as known and go, with no others in their place; all others stay (``former_rows.py``). Earlier versions of
the table hold them, and ``lab table restore`` brings them back, where the run turns out to have been right.

The predictions that the run made end, as do those that others made from what it wrote, until the next scoring, as after a restore
(``ml/taken_back.py``). Those that it had superseded stay as they are: whether they are right by what is known now the next scoring says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.ml import DECISIONS, PREDICTIONS
from lab_assets.lake.derivation import RUN, STATION, Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.provenance import code_version
from lab_assets.stations.all_stations import downstream, stations
from lab_assets.stations.former_rows import former_rows_since, take_away_former
from lab_assets.stations.ml import ended_reasons, predictions
from lab_assets.stations.ml.prediction_records import ended, mark
from lab_assets.stations.ml.taken_back import ARRANGING, resting_on, versions_made_of
from lab_assets.stations.restoring import RestoringError, rests_on, set_back
from lab_assets.stations.runner import StationOutcome, mark_anew, only_one, update


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One commit of a run.

    Attributes:
        table: ``layer.table``.
        version: Version it made.
        at_utc: When, as the commit says.
        operation: What it did, in Delta's words.
    """

    table: str
    version: int
    at_utc: datetime
    operation: str


@dataclass(kw_only=True)
class RunWrites:
    """What a run wrote.

    Attributes:
        run_id: The run.
        commits: Its commits, oldest first.
        written_over: Tables in which others have committed rows since its first commit.
        built_upon: Tables that others have made of what it wrote; only known of a run that was asked for by its name.
    """

    run_id: str
    commits: list[Commit] = field(default_factory=list[Commit])
    written_over: set[str] = field(default_factory=set[str])
    built_upon: set[str] = field(default_factory=set[str])

    @property
    def tables(self) -> dict[str, list[int]]:
        """Versions it made, by table, in the order in which it first wrote to each."""
        made: dict[str, list[int]] = {}
        for commit in self.commits:
            made.setdefault(commit.table, []).append(commit.version)
        return made

    @property
    def first_utc(self) -> datetime:
        """When it first committed."""
        return self.commits[0].at_utc

    @property
    def last_utc(self) -> datetime:
        """When it last committed."""
        return self.commits[-1].at_utc


def runs(lake: Lakehouse, *, newest: int | None = None) -> list[RunWrites]:
    """Return what each run wrote, as the commits say, the run that wrote last first.

    Args:
        lake: Tables.
        newest: Commits looked at of each table; default: all.
    """
    found: dict[str, RunWrites] = {}
    versions = lake.versions_as_they_are(list(contracts()))
    for name in (name for name, version in versions.items() if version >= 0):
        first: dict[str, int] = {}
        for entry in sorted(lake.history(contracts()[name], newest), key=lambda entry: entry["version"]):
            operation, run_id = str(entry.get("operation")), str(entry.get(RUN) or "")
            if operation.startswith(ARRANGING) or entry.get(STATION) == "maintenance":
                continue
            back = _made_last_again(entry, name)
            for other, began in first.items():
                if other != run_id and back != began - 1:  # taking back that very run is no other writing
                    found[other].written_over.add(name)
            if run_id:
                first.setdefault(run_id, int(entry["version"]))
                at = datetime.fromtimestamp(entry["timestamp"] / 1000, tz=UTC)
                commit = Commit(table=name, version=int(entry["version"]), at_utc=at, operation=operation)
                found.setdefault(run_id, RunWrites(run_id=run_id)).commits.append(commit)
    for run in found.values():
        run.commits.sort(key=lambda commit: commit.at_utc)
    return sorted(found.values(), key=lambda run: run.last_utc, reverse=True)


def _made_last_again(entry: Mapping[str, Any], name: str) -> int | None:
    """Return the version of a table that a commit restored; ``None`` for other commits."""
    stated = Derivation.of_commit(entry) if str(entry.get("operation")) == "RESTORE" else None
    return int(stated.inputs[name]) if stated is not None and name in stated.inputs else None


def run_named(lake: Lakehouse, prefix: str) -> RunWrites:
    """Return what a run wrote.

    Args:
        lake: Tables.
        prefix: Its id, or the beginning of it that no other run has.

    Raises:
        RestoringError: no run, or several, are named so.
    """
    known = runs(lake)
    named = [run for run in known if run.run_id == prefix] or [run for run in known if prefix and run.run_id.startswith(prefix)]
    if not named:
        raise RestoringError(f"no run whose id begins with {prefix!r} has written to a table; 'lab run list' shows those that have")
    if len(named) > 1:
        raise RestoringError(f"{len(named)} runs begin with {prefix!r}: {', '.join(run.run_id for run in named[:5])}; give more of the id")
    (run,) = named
    run.built_upon = _built_upon(lake, run)
    return run


def _built_upon(lake: Lakehouse, run: RunWrites) -> set[str]:
    """Return the tables in which a commit of others says that it read what a run wrote, or what came after it."""
    first = {name: min(versions) for name, versions in run.tables.items()}
    found: set[str] = set()
    versions = lake.versions_as_they_are(list(contracts()))
    for name in (name for name, version in versions.items() if version >= 0):
        for entry in lake.history(contracts()[name]):
            stated = Derivation.of_commit(entry)
            if stated is None or stated.run_id == run.run_id:
                continue
            if any(str(read).isdecimal() and int(read) >= first[given] for given, read in stated.inputs.items() if given in first):
                found.add(name)
                break
    return found


@dataclass(frozen=True, kw_only=True)
class RollbackPlan:
    """What taking back a run does to each table it wrote.

    Attributes:
        run: The run.
        set_back: Version that each table is set back to; empty where others have written since.
        made_anew: Tables that their stations make anew at once, in flow order, where others have written since.
        followed: Tables that rest on those and are brought up to date at once, in flow order.
        scored: Whether its predictions and their decisions are ended.
        rescored: Whether predictions that others made from what it wrote, and their decisions, are ended until the next scoring.
        kept: Tables that stay as they are: bronze and records.
    """

    run: RunWrites
    set_back: dict[str, int]
    made_anew: list[str]
    followed: list[str]
    scored: bool
    rescored: bool
    kept: list[str]

    @property
    def others(self) -> list[str]:
        """Tables in which others have written since, so that nothing can be set back."""
        return sorted((self.run.written_over | self.run.built_upon) & {*self.made_anew, *self.followed})


def rollback_plan(run: RunWrites) -> RollbackPlan:
    """Return what taking back a run does."""
    tables = run.tables
    made = [name for name in stations() if name in tables]
    resting = downstream(set(made))
    is_alone = not (run.written_over | run.built_upon) & {*made, *resting}
    return RollbackPlan(
        run=run,
        set_back={name: max(min(tables[name]) - 1, 0) for name in made} if is_alone else {},
        made_anew=[] if is_alone else made,
        followed=[] if is_alone else resting,
        scored=PREDICTIONS.full_name in tables,
        rescored=PREDICTIONS.full_name in rests_on(set(made)),
        kept=sorted(name for name in tables if name not in made and name not in {PREDICTIONS.full_name, DECISIONS.full_name}),
    )


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """What taking back a run came to.

    Attributes:
        set_back: Version afterwards of each table that was set back; the next run of the stations makes them anew.
        made_anew: What each station did that made its table anew at once.
        followed: What each station did whose table rests on those.
        former_gone: Rows of former feature sets that are gone and not made again, by table.
        ended: Predictions of the run that count no more.
        waiting: Predictions of others, made from what it wrote, that do not count until the next scoring.
        marked_in: Version of ``ml.predictions`` that says so of them; ``None`` where there are none.
        kept: Tables that stay as they are: bronze and records.
    """

    set_back: dict[str, int]
    made_anew: dict[str, StationOutcome]
    followed: dict[str, StationOutcome]
    former_gone: dict[str, int]
    ended: int
    waiting: int
    marked_in: int | None
    kept: list[str]


def rollback(
    lake: Lakehouse, plan: RollbackPlan, *, at_utc: datetime, run_id: str = "", say: Callable[[str], None] = lambda _line: None
) -> RolledBack:
    """Take back what a run wrote to the tables that stations make, and end its predictions; repeating it is harmless.

    Args:
        lake: Tables.
        plan: What is done.
        at_utc: Now.
        run_id: Run that the commits name.
        say: Given progress of long work.
    """
    reason = ended_reasons.taken_back(plan.run.run_id)
    # the next scoring looks at every run again, also where no feature has changed
    scored = [predictions.STATION] if plan.scored or plan.rescored else []
    mark_anew(lake, [*plan.set_back, *plan.made_anew, *scored], reason)
    derivation = Derivation(inputs={f"run:{plan.run.run_id}": "taken back"}, run_id=run_id, code_version=code_version())
    with only_one(lake, predictions.STATION):
        own = _own_predictions(lake, plan.run) if plan.scored else []
        resting = _predictions_of_others(lake, plan.run, own) if plan.rescored else []
        why = ended_reasons.rests_on_taken_back(plan.run.run_id)
        ends = [*(ended(name, at_utc, reason) for name in own), *(ended(name, at_utc, why) for name in resting)]
        mark(lake, ends, derivation)
        marked_in = lake.version(PREDICTIONS) if ends else None
    former_gone = {name: former_rows_since(lake, stations()[name], version) for name, version in plan.set_back.items()}
    restored = {name: set_back(lake, name, version, reason, with_former=True) for name, version in plan.set_back.items()}
    former_gone |= _take_away_former(lake, plan, derivation)
    made: dict[str, StationOutcome] = {}
    followed: dict[str, StationOutcome] = {}
    for name, station in stations().items():
        if name in plan.made_anew:
            made[name] = update(lake, station, run_id=run_id, rebuild=True, say=say)
        elif name in plan.followed:
            followed[name] = update(lake, station, run_id=run_id, say=say)
    return RolledBack(
        set_back=restored,
        made_anew=made,
        followed=followed,
        former_gone={name: count for name, count in former_gone.items() if count},
        ended=len(own),
        waiting=len(resting),
        marked_in=marked_in,
        kept=plan.kept,
    )


def _take_away_former(lake: Lakehouse, plan: RollbackPlan, derivation: Derivation) -> dict[str, int]:
    """Take away what rests on a run of former feature sets, from tables that are made anew; return how many rows, by table."""
    made = {name: stations()[name] for name in (*plan.made_anew, *plan.followed) if stations()[name].within is not None}
    if not made:
        return {}
    tables = plan.run.tables
    since = {name: min(versions) for name, versions in tables.items() if name in stations()}
    resting = versions_made_of(lake, [station.target for station in made.values()], since)
    gone: dict[str, int] = {}
    for name, station in made.items():
        with only_one(lake, name):
            gone[name] = take_away_former(lake, station, sorted({*resting[name], *tables.get(name, ())}), derivation)
    return gone


def _own_predictions(lake: Lakehouse, run: RunWrites) -> list[str]:
    """Return the predictions that a run made and that count; what the service answered was only copied by it."""
    import polars as pl

    own = sorted(_predictions_of(lake, run.tables[PREDICTIONS.full_name]))
    mine = pl.col("prediction_id").is_in(own) & pl.col("ended_at_utc").is_null() & (pl.col("mode") != "online")
    return lake.polars(PREDICTIONS, ["prediction_id"], where=mine)["prediction_id"].to_list()


def _predictions_of_others(lake: Lakehouse, run: RunWrites, own: Sequence[str]) -> list[str]:
    """Return the predictions that count and that others made from what a run wrote."""
    made = stations()
    since = {name: min(versions) for name, versions in run.tables.items() if name in made}
    return sorted(set(resting_on(lake, since)).difference(own))


def _predictions_of(lake: Lakehouse, versions: Sequence[int]) -> set[str]:
    """Return the predictions that some commits added; a commit that marks others as ended adds none."""
    found: set[str] = set()
    for version in versions:
        changes = lake.changes(PREDICTIONS, ["prediction_id"], since=version - 1, until=version)
        found |= set(changes.added["prediction_id"])
    return found
