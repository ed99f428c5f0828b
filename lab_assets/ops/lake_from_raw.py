"""Making tables of the lake anew that are lost: bronze from the kept originals, the others from bronze, copies from the state.

Belongs here: which tables are lost, and the order in which they come back. Does not belong here: reading files again
(``lab_assets.ingest.replay``), what a station makes (``lab_assets.stations``), putting a backup back (``lab_assets.ops.backup``).

What files say and what follows from it comes back equal, row by row. Records (predictions, decisions, training sets, what the service
answered) were made once, from models and moments: nothing makes the same again. Those that a backup has put back are kept as they are;
those that are gone are named, and runs are scored anew. So are tables whose rows of former feature sets are gone with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from lab_assets.contracts.all_contracts import contracts
from lab_assets.contracts.bronze import QUARANTINE
from lab_assets.contracts.governance import ACCESS, AUDIT, LINEAGE
from lab_assets.contracts.ml import PREDICTIONS
from lab_assets.ingest.reconciler import end_replay, note_replay, tables_being_replayed
from lab_assets.ingest.replay import REPLAYED, Replay, Replayed
from lab_assets.lake.opening import is_remote
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import writing
from lab_assets.stations.all_stations import downstream, stations
from lab_assets.stations.governance import copies, lineage
from lab_assets.stations.ml import predictions
from lab_assets.stations.restoring import rebuild
from lab_assets.stations.runner import mark_anew

if TYPE_CHECKING:
    from lab_assets.lake.lakehouse import Lakehouse

_REASON: Final = "made anew from the originals"
_COPIED: Final = (QUARANTINE.full_name, AUDIT.full_name, ACCESS.full_name, LINEAGE.full_name)
"""Copies of what the state or the commits hold: nothing is lost with them."""


class LakeRebuildError(RuntimeError):
    """The tables cannot be made anew now; the message says why."""


@dataclass(kw_only=True)
class LakeRebuilt:
    """What making lost tables anew came to.

    Attributes:
        replayed: What reading the originals again came to.
        bronze: Bronze tables that were made anew.
        made: Tables of stations that were made anew, in flow order.
        former_lost: Tables of stations that began anew without the rows of former feature sets that they may have held.
        records_lost: Tables of records that begin anew, empty; each with the version it had.
        records_kept: Tables of records that are older than the ledger knew and were kept; each with the version it had.
        scored: Runs that were scored again.
        aside: Folders in which what was left of damaged tables lies.
    """

    replayed: Replayed = field(default_factory=Replayed)
    bronze: list[str] = field(default_factory=list[str])
    made: list[str] = field(default_factory=list[str])
    former_lost: list[str] = field(default_factory=list[str])
    records_lost: dict[str, int] = field(default_factory=dict[str, int])
    records_kept: dict[str, int] = field(default_factory=dict[str, int])
    scored: int = 0
    aside: list[str] = field(default_factory=list[str])

    @property
    def is_whole(self) -> bool:
        """Whether every file was read as it was then."""
        return not self.replayed.differing_files

    @property
    def did_anything(self) -> bool:
        """Whether any table was lost."""
        return bool(self.bronze or self.made or self.records_lost or self.records_kept)


def rebuild_lake(
    lake: Lakehouse, *, by: str, reason: str, run_id: str = "", say: Callable[[str], None] = lambda _line: None
) -> LakeRebuilt:
    """Make every table anew that is lost or damaged; what is whole is left alone. Safe to repeat, and goes on where it was killed.

    Args:
        lake: Tables.
        by: Who asks.
        reason: Why.
        run_id: Run that the commits name.
        say: Given progress.

    Raises:
        LakeRebuildError: an ingestion is under way, or the tables lie on object storage.
    """
    if is_remote(lake.settings.lake):
        raise LakeRebuildError(f"{lake.settings.lake} is object storage: restore the tables there")
    locks = lake.settings.run / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    done = LakeRebuilt()
    try:
        with FileLock(locks / "ingest.lock", timeout=0):
            lost = _lost(lake)
            if lost:
                AuditLog(lake.ledger.engine).append(
                    actor=by, action="lake.rebuild_begin", target="lake", old=lost, reason=reason, origin="restore"
                )
            _bronze(lake, lost, done, run_id, say)
    except Timeout as error:
        raise LakeRebuildError("an ingestion is under way; run 'lab down', or wait until it has ended") from error
    _records(lake, lost, done)
    _made(lake, lost, done, run_id, say)
    _copies(lake, lost, run_id)
    _score(lake, lost, done, run_id, say)
    lake.versions([contracts()[name] for name in lost])  # what had no row is there again, too
    lineage.catch_up(lake, run_id=run_id, say=say)
    if done.did_anything:
        new = {"bronze": done.bronze, "made": done.made, "records_lost": done.records_lost, "records_kept": done.records_kept}
        new |= {"former_lost": done.former_lost}
        new |= {"files_read_again": done.replayed.files, "files_read_otherwise": done.replayed.differing_files, "scored": done.scored}
        AuditLog(lake.ledger.engine).append(actor=by, action="lake.rebuild", target="lake", new=new, reason=reason, origin="restore")
    return done


def _lost(lake: Lakehouse) -> dict[str, int]:
    """Return the tables that are gone, damaged or older than was committed, with the version that was."""
    known = lake.ledger.known_versions()
    now = lake.versions_as_they_are(list(contracts()))
    found = {name: known.get(name, -1) for name, table in contracts().items() if lake.damage(table) or now[name] < known.get(name, -1)}
    return found | {name: known.get(name, -1) for name in tables_being_replayed(lake.ledger)}


def _bronze(lake: Lakehouse, lost: dict[str, int], done: LakeRebuilt, run_id: str, say: Callable[[str], None]) -> None:
    """Read the committed batches again for the bronze tables that are lost."""
    begun = tables_being_replayed(lake.ledger)
    wanted = [name for name in REPLAYED if name in lost]
    note_replay(lake.ledger, wanted, _REASON)
    done.bronze = [*wanted, *([QUARANTINE.full_name] if QUARANTINE.full_name in lost else [])]
    _give_up(lake, [name for name in done.bronze if name not in begun], done)
    if done.bronze:
        say(f"bronze from the originals: {', '.join(done.bronze)}")
        done.replayed = Replay(lake, wanted, run_id=run_id, progress=say).go_through()
        end_replay(lake.ledger)


def _records(lake: Lakehouse, lost: dict[str, int], done: LakeRebuilt) -> None:
    """Let records that are gone begin anew, and take those that are older than was known as they are."""
    for name, version in lost.items():
        if name.startswith("bronze.") or name in stations() or name in _COPIED:
            continue
        now = lake.versions_as_they_are([name])[name]
        if now >= 0 and _is_only_older(lake, name, now):
            done.records_kept[name] = version
        else:
            _give_up(lake, [name], done)
            done.records_lost[name] = version
    if lost and (done.bronze or PREDICTIONS.full_name in lost):
        mark_anew(lake, [predictions.STATION], _REASON)


def _is_only_older(lake: Lakehouse, name: str, version: int) -> bool:
    """Take a table's last version for what was committed; return whether it can be opened so."""
    with writing(lake.ledger.engine) as connection:
        lake.ledger.accept_version(connection, name, version)
    return lake.damage(contracts()[name]) is None


def _made(lake: Lakehouse, lost: dict[str, int], done: LakeRebuilt, run_id: str, say: Callable[[str], None]) -> None:
    """Make the tables of stations anew that are lost, or rest on one that was."""
    follow = set(downstream(set(done.bronze) | (set(lost) & set(stations()))))
    for name in stations():
        if name in lost or name in follow:
            say(f"{name} is made anew")
            found = rebuild(lake, name, run_id=run_id, say=say)
            done.made.append(name)
            done.aside += [str(found.aside)] if found.aside is not None else []
            done.former_lost += [name] if found.not_made_again else []


def _copies(lake: Lakehouse, lost: dict[str, int], run_id: str) -> None:
    """Fill copies of the state again; of the lineage, what the commits that are there say."""
    _give_up(lake, [name for name in _COPIED if name in lost and name != QUARANTINE.full_name], LakeRebuilt())
    if AUDIT.full_name in lost:
        copies.update_audit(lake, run_id=run_id)
    if ACCESS.full_name in lost:
        copies.update_access(lake, run_id=run_id)
    if lost:  # versions of tables that were made anew begin at 0 again
        progress = lake.ledger.progress(lineage.STATION)
        begin = [name for name in progress if name in lost or LINEAGE.full_name in lost]
        lineage.begun_anew(lake, begin)


def _score(lake: Lakehouse, lost: dict[str, int], done: LakeRebuilt, run_id: str, say: Callable[[str], None]) -> None:
    """Score every run by the model that serves, as after any restore: records that are gone do not come back, new ones stand in."""
    from lab_assets.registry.serving import current_serving, verified_bundle

    serving = current_serving(lake.ledger.engine)
    if not lost or serving is None:
        return
    say(f"runs are scored by {serving.model_name} {serving.version}")
    scoring = predictions.Scoring(
        model_version=serving.version, mode="batch", requested_by="system:restore", predicted_at_utc=datetime.now(UTC), run_id=run_id
    )
    scored = predictions.score_waiting(lake, verified_bundle(lake.settings, lake.ledger.engine), scoring, everything=True)
    done.scored = scored.predictions
    if scored.reason:
        say(scored.reason)


def _give_up(lake: Lakehouse, names: Iterable[str], done: LakeRebuilt) -> None:
    """Lay aside what is left of some tables, so that they begin anew."""
    for name in names:
        aside = lake.give_up(contracts()[name])
        done.aside += [str(aside)] if aside is not None else []
