"""Bringing a laboratory to life whose files were just put back.

Belongs here: newest forms, runs of then ended, ledger and tables held against each other. Does not belong here: writing the files
(``restoring.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from lab_assets.failpoints import failpoint
from lab_assets.ops.backup.folder import Snapshot
from lab_assets.ops.backup.restore_report import RestoreReport
from lab_assets.settings import Settings

if TYPE_CHECKING:
    from lab_assets.lake.lakehouse import Lakehouse

ORIGIN: Final = "restore"


def settle(settings: Settings, snapshot: Snapshot, report: RestoreReport, *, by: str, say: Callable[[str], None]) -> None:
    """Bring what was copied to life: newest forms, runs of then ended, ledger and tables held against each other."""
    from lab_assets.compute.session import SessionKeeper
    from lab_assets.ingest.inbox_mark import mark_inbox
    from lab_assets.lake.damaged_tables import damaged_tables
    from lab_assets.lake.lakehouse import Lakehouse
    from lab_assets.registry.serving import registry_of
    from lab_assets.state.audit_chain import AuditLog
    from lab_assets.state.database import open_database
    from lab_assets.state.ledger import Ledger
    from lab_assets.state.taken_paths import known_sources
    from lab_assets.state.upgrade import upgrade

    registry_of(settings).make_portable()
    report.ended_runs = _end_runs(settings)
    done = upgrade(settings, say=say)
    engine = open_database(settings)
    ledger = Ledger(engine)
    for source in ("", *known_sources(engine)):
        (settings.inbox / source).mkdir(parents=True, exist_ok=True)
    mark_inbox(settings, anew=True)
    lake = Lakehouse(settings, SessionKeeper(settings), ledger)
    report.reconciled = [*([done.words] if done else []), *_reconcile(lake, report)]
    new = {"backup": snapshot.name, "from": snapshot.place, "to": report.home, "keys": report.keys, "ended_runs": report.ended_runs}
    new |= {"audit_at_backup": list(snapshot.audit), "problems": report.problems[:50]}
    AuditLog(engine).append(actor=by, action="home.restore", target=snapshot.home_id, new=new, reason="asked for", origin=ORIGIN)
    failpoint("restore_recorded")
    say("verifying the audit trail and the tables")
    checked = AuditLog(engine).verify()
    report.audit = f"{checked.entries} entries, chain whole" if checked.ok else checked.reason
    report.problems += [] if checked.ok else [f"audit trail: {checked.reason}"]
    report.problems += [each.problem for each in damaged_tables(settings, ledger)]
    engine.dispose()


def _reconcile(lake: Lakehouse, report: RestoreReport) -> list[str]:
    from lab_assets.ingest.raw_store import RawStore
    from lab_assets.ingest.reconciler import LakeBehindError, Reconciler
    from lab_assets.lake.opening import DamagedTableError

    locks = lake.settings.run / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(locks / "ingest.lock"):
            return Reconciler(lake, RawStore(lake.settings.raw)).settle()
    except (LakeBehindError, DamagedTableError) as error:
        report.problems.append(str(error))
        return []


def _end_runs(settings: Settings) -> int:
    """End runs that were under way when the backup was made: their processes are nowhere."""
    from dagster import DagsterRunStatus, RunsFilter

    from lab_assets.ops.dagster_home import dagster_instance, home_folder

    if not (home_folder(settings) / "storage").is_dir():
        return 0
    under_way = [
        DagsterRunStatus.QUEUED,
        DagsterRunStatus.NOT_STARTED,
        DagsterRunStatus.STARTING,
        DagsterRunStatus.STARTED,
        DagsterRunStatus.CANCELING,
    ]
    with dagster_instance(settings) as instance:
        runs = instance.get_runs(RunsFilter(statuses=under_way))
        for run in runs:
            instance.report_run_failed(run, "it was under way when the laboratory was backed up; its work is taken up by the next run")
        return len(runs)
