"""Setting tables back without leaving a hole: made anew from their inputs, or restored to a version.

Belongs here: what follows for a table from what it is (made by a station, bronze, a record), and doing it in an order that may be cut off
anywhere. Does not belong here: taking back a run (``rollback.py``), asking people, the audit trail (``lab_assets.cli``), making tables
(``runner.py``).

A table that a station makes is marked to be made anew before it is set back, both under the station's lock: what is set back is made again
by the next run of the stations, and is then what a rebuild gives. Bronze and records follow from nothing else in the lake: they stay, or
are set back by force with all that follows. Of a table that holds rows of former feature sets as well, what its station makes today is set back
alone (``former_rows.py``). Predictions that rest on what is set back are marked at once as ended, with their decisions,
and count again when the next scoring makes the same (``ml/taken_back.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from lab_assets.contracts.bronze import QUARANTINE
from lab_assets.contracts.core import TableContract
from lab_assets.contracts.governance import ACCESS, AUDIT, LINEAGE
from lab_assets.contracts.ml import DECISIONS, EXPLANATIONS, ONLINE_LOG, PREDICTIONS
from lab_assets.lake.derivation import Derivation
from lab_assets.lake.lakehouse import Lakehouse
from lab_assets.state.clock import utc_now
from lab_assets.stations.all_stations import downstream, stations
from lab_assets.stations.former_rows import LOST_WITH_A_TABLE, restore_beside_former
from lab_assets.stations.governance import lineage
from lab_assets.stations.ml import ended_reasons, lost_records, predictions
from lab_assets.stations.ml.online import TARGETS, fold_anew, folding_alone
from lab_assets.stations.ml.prediction_records import ended, mark
from lab_assets.stations.ml.taken_back import SCORED_FROM, resting_on
from lab_assets.stations.runner import StationOutcome, mark_anew, only_one, update

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["made", "bronze", "record"]


class RestoringError(ValueError):
    """A table cannot be made anew or set back as asked; the message says what to do instead."""


def kind_of(name: str) -> Kind:
    """Return what a table is: made by a station from other tables, bronze, or a record that is kept as it was made."""
    if name in stations():
        return "made"
    return "bronze" if name.startswith("bronze.") else "record"


_INSTEAD: Final = {
    PREDICTIONS.full_name: "the job 'score_batch' scores every run again and adds what differs beside it",
    DECISIONS.full_name: "the job 'score_batch' scores every run again and decides where a prediction differs",
    EXPLANATIONS.full_name: "'lab explain PREDICTION' works an explanation out on request",
    "ml.training_sets": "the job 'train' freezes a new one",
    "ml.evaluations": "the job 'train' evaluates a new model",
    "ml.drift": "the job 'check_drift' looks at the recent predictions again",
    "ml.alerts": "the job 'check_drift' looks at the recent predictions again",
    "ml.online_log": "the service writes it while it answers",
    AUDIT.full_name: "the job 'refresh_gold' copies the entries of the audit trail that it lacks",
    ACCESS.full_name: "the job 'refresh_gold' adds a review when rights have changed, or when the last one is not there any more",
    "governance.integrity": "'lab scrub' looks at every file again",
}


def require_made(name: str) -> None:
    """See that a table can be made anew.

    Raises:
        RestoringError: it is bronze or a record; the message says what to do instead.
    """
    kind = kind_of(name)
    if name == LINEAGE.full_name:
        return
    if kind == "bronze":
        raise RestoringError(
            f"{name} holds what files say and is made from nothing else in the lake: 'lab table restore TABLE VERSION' sets it back, "
            "'lab quarantine retry NUMBER' reads a refused file again, and after a backup of the tables was put back "
            "'lab reconcile --accept-lake' reads again what they lack"
        )
    if kind == "record":
        instead = _INSTEAD.get(name, "'lab table restore TABLE VERSION' sets it back")
        raise RestoringError(f"{name} is a record, kept as it was made and never made again: {instead}")


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What making a table anew came to.

    Attributes:
        outcome: What the station did.
        before: Version before.
        added: Rows that only the new version has.
        removed: Rows that only the former version has.
        lost: What was wrong with the table, where it was damaged and begins anew without its earlier versions; else empty.
        aside: Where what was left of it lies now.
        not_made_again: What of it nothing makes again, in words, where it begins anew; else empty.
    """

    outcome: StationOutcome
    before: int
    added: pl.DataFrame
    removed: pl.DataFrame
    lost: str = ""
    aside: Path | None = None
    not_made_again: str = ""


def rebuild(lake: Lakehouse, name: str, *, run_id: str = "", say: Callable[[str], None] = lambda _line: None) -> Rebuilt:
    """Make a table anew from its inputs, and say what differed.

    One that is gone or whose log is damaged begins anew: what is left of it is laid aside. Rows of former feature sets that it held do not
    come back, which the outcome says. Of the lineage, rows that two programs wrote at
    once are taken away, and what it lacks is read from the commits.

    Args:
        lake: Tables.
        name: ``layer.table``.
        run_id: Run that the commits name.
        say: Given progress of long work.

    Returns:
        What was done; the rows that differ have the columns that are no arrays, maps or bytes.

    Raises:
        RestoringError: no station makes it; the message says what to do instead.
    """
    require_made(name)
    if name == LINEAGE.full_name:
        return _rebuilt_lineage(lake, run_id)
    station = stations()[name]
    lost, aside, not_made_again = "", None, ""
    if (error := lake.damage(station.target)) is not None:
        lost = error.problem
        not_made_again = "" if station.within is None else LOST_WITH_A_TABLE
        say("; ".join([lost, "it begins anew, without its earlier versions", *filter(None, [not_made_again])]))
        with only_one(lake, name):
            mark_anew(lake, [name], "it was damaged")
            aside = lake.give_up(station.target)
            lineage.begun_anew(lake, [name])
    before = lake.version(station.target)
    outcome = update(lake, station, run_id=run_id, rebuild=True, say=say)
    plain = [column.name for column in station.target.columns if "<" not in column.kind and column.kind != "binary"]
    changes = lake.changes(station.target, plain, since=before, until=outcome.version)
    return Rebuilt(
        outcome=outcome,
        before=before,
        added=changes.added,
        removed=changes.removed,
        lost=lost,
        aside=aside,
        not_made_again=not_made_again,
    )


def _rebuilt_lineage(lake: Lakehouse, run_id: str) -> Rebuilt:
    before = lake.version(LINEAGE)
    gone = lineage.without_doubled(lake, run_id=run_id)
    mended = lake.version(LINEAGE)
    version = lineage.update_lineage(lake, list(stations().values()), run_id=run_id)
    added = lake.changes(LINEAGE, list(LINEAGE.column_names), since=mended, until=version).added
    outcome = StationOutcome(station=LINEAGE.full_name, version=version, rows=added.height, anew="asked for")
    return Rebuilt(outcome=outcome, before=before, added=added, removed=gone)


_COPIED: Final = {
    QUARANTINE.full_name: "The next run that takes in files copies the steps that it lacks.",
    AUDIT.full_name: "The next run of the job 'refresh_gold' copies the entries that it lacks; the audit trail itself stays as it is.",
    ACCESS.full_name: "The next run of the job 'refresh_gold' adds a review of today's rights; reviews in between are not made again.",
}
"""Copies of what the state holds, which find by themselves what they lack, and how they are filled again."""


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What setting a table back came to.

    Attributes:
        before: Version before.
        version: Version afterwards.
        anew: Whether the next run of the stations makes the table anew.
        rests_on_it: Tables that follow from it and follow the change by themselves, in flow order.
        ended: Predictions that were made from what it lost and do not count until the next scoring.
        marked_in: Version of ``ml.predictions`` that says so of them; ``None`` where there are none.
    """

    before: int
    version: int
    anew: bool
    rests_on_it: list[str]
    ended: int = 0
    marked_in: int | None = None


def require_may_be_set_back(name: str) -> None:
    """Refuse the log of what people were answered.

    Raises:
        RestoringError: it is that one; the message says what brings its files back.
    """
    if name == ONLINE_LOG.full_name:
        raise RestoringError(
            f"{name} holds what people were answered, and the service goes on writing it: nothing is taken away from it, by force either. "
            f"Files that are damaged come back from a backup: 'lab restore DIR --only lake/{name.replace('.', '/')}'"
        )


def consequences(name: str, before: int) -> str:
    """Return what follows from setting a table back that no station makes, for who is asked to force it; empty for others."""
    kind = kind_of(name)
    back = f"'lab table restore {name} {before} --force' takes it back"
    if name in _COPIED:
        return f"{name} is a record, and a copy. What was recorded since is missing from it for now. {_COPIED[name]} {back}"
    if kind == "bronze":
        return (
            f"{name} holds what files say. Rows that files brought since are gone from it and from every table made of it, do not come "
            f"in again by themselves, and the check that holds the ledger against the tables fails; {back}"
        )
    if kind == "record":
        again = {
            PREDICTIONS.full_name: " The next scoring looks at every run again and adds what today's features and model give.",
            DECISIONS.full_name: " The next scoring decides again what counts and has no decision any more.",
            EXPLANATIONS.full_name: " The next scoring explains again what counts and has no explanation any more.",
            LINEAGE.full_name: " The next run reads from the commits what it lacks.",
        }.get(name, " No run writes them again.")
        return f"{name} is a record. What was recorded since is missing from it, and what points to that leads nowhere.{again} {back}"
    return ""


def restore(lake: Lakehouse, contract: TableContract, version: int, *, force: bool = False) -> Restored:
    """Make an earlier version of a table the latest one, as a new commit.

    A table that a station makes is made anew by the station's next run, so that what it lacks does not stay a hole. Rows of former feature
    sets, which no run makes again, are not taken away.

    Args:
        lake: Tables.
        contract: The table.
        version: Version to go back to.
        force: Set back bronze or a record as well.

    Raises:
        RestoringError: it is bronze or a record, and not forced; the message says what follows. Or it is the log of what people were answered,
            of which nothing is taken away: the service goes on writing it, and nobody could say what was lost between two commits.
        DamagedTableError: the log of that version is not whole.
    """
    name, before = contract.full_name, lake.version(contract)
    require_may_be_set_back(name)
    if not force and (words := consequences(name, before)):
        raise RestoringError(f"{words}. --force sets it back all the same")
    reason, rests = f"restored to version {version}", rests_on({name})
    if PREDICTIONS.full_name in (name, *rests):
        mark_anew(lake, [predictions.STATION], reason if name == PREDICTIONS.full_name else f"{name} was {reason}")
    lost_records.ask_for(lake, contract, reason)
    resting = _end_predictions(lake, contract, version) if PREDICTIONS.full_name in rests else 0
    marked_in = lake.version(PREDICTIONS) if resting else None
    if kind_of(name) == "made":
        after = set_back(lake, name, version, reason)
        return Restored(before=before, version=after, anew=True, rests_on_it=rests, ended=resting, marked_in=marked_in)
    if contract in TARGETS:
        with folding_alone(lake):
            fold_anew(lake)  # before: a process that dies in between leaves work and no hole
            after = lake.restore(contract, version)
    else:
        after = lake.restore(contract, version)
    if name == LINEAGE.full_name:
        lake.ledger.set_progress(lineage.STATION, dict.fromkeys(lake.ledger.progress(lineage.STATION), -1))
    return Restored(before=before, version=after, anew=False, rests_on_it=rests, ended=resting, marked_in=marked_in)


def _end_predictions(lake: Lakehouse, contract: TableContract, version: int) -> int:
    """Mark the predictions as ended that were made from what a table loses, with their decisions."""
    name = contract.full_name
    with only_one(lake, predictions.STATION):
        resting = resting_on(lake, {name: version + 1})
        reason, now = ended_reasons.restored(name, version), utc_now()
        mark(lake, [ended(each, now, reason) for each in resting], Derivation(inputs={name: lake.version(contract)}))
        return len(resting)


def rests_on(names: set[str]) -> list[str]:
    """Return the tables that follow from some tables, in flow order; predictions are among them where what they are scored from is."""
    made = downstream(names)
    return [*made, *([PREDICTIONS.full_name] if SCORED_FROM & {*names, *made} else [])]


def set_back(lake: Lakehouse, name: str, version: int, reason: str, *, with_former: bool = False) -> int:
    """Set back a table that a station makes: marked first, so that a process that dies in between leaves work and no hole.

    Args:
        lake: Tables.
        name: ``layer.table``.
        version: Version to go back to.
        reason: Why.
        with_former: Set back rows of former feature sets as well, which no run makes again.

    Returns:
        Version of the table afterwards.
    """
    station = stations()[name]
    with only_one(lake, name):
        mark_anew(lake, [name], reason)
        return lake.restore(station.target, version) if with_former else restore_beside_former(lake, station, version)
