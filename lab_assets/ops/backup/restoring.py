"""Putting a backup back: a whole laboratory in a new place.

Belongs here: the order of steps, what has to be settled afterwards. Does not belong here: single files (``parts.py``), making tables anew
from the originals (``lab_assets.ops.lake_from_raw``).

A place that is being filled carries a mark, and its database comes last: until everything is there and verified, no command takes it for a
laboratory. What was there already from an interrupted restore of the same backup is kept.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from lab_assets.disk import existing
from lab_assets.failpoints import failpoint
from lab_assets.home_identity import Kept, give_up, record_path
from lab_assets.lake.data_files import local_path
from lab_assets.ops.backup import keys as sealed
from lab_assets.ops.backup.contents import DATABASE, LAKE, require_embedded
from lab_assets.ops.backup.folder import BackupError, BackupFolder, FileEntry, Snapshot, digest_of_file
from lab_assets.ops.backup.making import READING_SETTINGS, no_room
from lab_assets.ops.environment import stated_settings
from lab_assets.settings import Settings

if TYPE_CHECKING:
    from lab_assets.lake.lakehouse import Lakehouse

_MARK: Final = ".restoring"
_LAST: Final = (DATABASE, "home.json")
_RESERVE_BYTES: Final = 64 << 20
_SAID_EVERY_S: Final = 2.0
ORIGIN: Final = "restore"


@dataclass(kw_only=True)
class RestoreReport:
    """What putting a backup back came to.

    Attributes:
        backup: Its name.
        home: Where the laboratory is now.
        made_at_utc: Moment of the backup.
        files: Files written.
        bytes: Bytes of them.
        tables: Tables in it.
        keys: ``restored``, ``none`` (the backup has none) or ``left out``.
        aside: Where what was in the place before lies now; empty where it was empty.
        reconciled: What was set right in ledger and tables.
        ended_runs: Runs that were under way when the backup was made, and are ended here.
        audit: What the check of the audit trail says.
        problems: What is not as it should be.
        settings: Settings of the backed-up laboratory that this one reads files by and does not have.
        seconds: Time of each part.
    """

    backup: str
    home: str
    made_at_utc: str
    files: int = 0
    bytes: int = 0
    tables: int = 0
    keys: str = "none"
    aside: str = ""
    reconciled: list[str] = field(default_factory=list[str])
    ended_runs: int = 0
    audit: str = ""
    problems: list[str] = field(default_factory=list[str])
    settings: dict[str, str] = field(default_factory=dict[str, str])
    seconds: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Which backup is put back, and with what.

    Attributes:
        folder: Folder of backups.
        name: Name of one; ``None``: the newest.
        passphrase: Of its keys.
        without_keys: Leave the keys out.
    """

    folder: Path
    name: str | None = None
    passphrase: str | None = None
    without_keys: bool = False

    def open(self) -> tuple[BackupFolder, Snapshot, dict[str, bytes]]:
        """Return the folder, the backup and its keys; nothing has been written when something of it is missing.

        Raises:
            BackupError: there is no such backup, or its keys need another passphrase.
        """
        folder = BackupFolder(self.folder.expanduser().resolve())
        home_id = folder.home_id()
        names = folder.names()
        if not names:
            raise BackupError(f"{folder.root} holds no finished backup")
        snapshot = folder.snapshot(self.name or names[-1])
        if not snapshot.keys_file or self.without_keys:
            return folder, snapshot, {}
        if self.passphrase is None:
            raise BackupError(
                "the keys of this backup are encrypted: give the passphrase with --passphrase-file or LAB_BACKUP_PASSPHRASE, or leave the "
                "keys out with --without-keys (pseudonyms of people are others from then on)"
            )
        return folder, snapshot, sealed.decrypt(folder, snapshot.keys_file, self.passphrase, home_id=home_id)


def restore(
    settings: Settings, chosen: Chosen, *, by: str, replace: bool = False, say: Callable[[str], None] = lambda _line: None
) -> RestoreReport:
    """Make the laboratory of a backup in a place of its own, and hold it against itself.

    Args:
        settings: Of the new place: its home, and where its tables lie.
        chosen: The backup.
        by: Who asks.
        replace: Lay aside what is in the place, instead of refusing.
        say: Given progress.

    Raises:
        BackupError: the backup is not whole, or the place is not free.
        EnvironmentFaultError: the disk has too little room.
    """
    require_embedded(settings)
    folder, snapshot, keys = chosen.open()
    home = settings.home.resolve()
    if home.is_relative_to(folder.root) or folder.root.is_relative_to(home):
        raise BackupError(f"{home} and the backups in {folder.root} lie in one another: name another place")
    report = RestoreReport(backup=snapshot.name, home=str(home), made_at_utc=snapshot.made_at_utc, tables=len(snapshot.tables))
    report.aside = _free(settings, snapshot, replace=replace)
    begun = time.monotonic()
    for place in (home, settings.run, settings.raw, settings.quarantine):
        place.mkdir(parents=True, exist_ok=True, mode=0o700 if place != home else 0o755)
    (home / _MARK).write_text(snapshot.name)
    _require_space(settings, snapshot)
    _write_all(settings, folder, snapshot, report, say)
    report.keys = _write_keys(settings, keys, snapshot)
    report.seconds["writing"] = time.monotonic() - begun
    failpoint("restore_written")
    _settle(settings, snapshot, report, by=by, say=say)
    (home / _MARK).unlink()
    report.seconds["settling"] = time.monotonic() - begun - report.seconds["writing"]
    own = stated_settings(settings)
    report.settings = {name: value for name, value in snapshot.settings.items() if own.get(name) != value}
    extra = [name for name in READING_SETTINGS if name in own and name not in snapshot.settings]
    report.settings |= dict.fromkeys(extra, "")
    return report


def _free(settings: Settings, snapshot: Snapshot, *, replace: bool) -> str:
    """See that the place is free, or holds the begin of this very restore; return where its former contents lie now."""
    home = settings.home.resolve()
    lake = local_path(settings.lake).resolve()
    taken = [place for place in dict.fromkeys((home, lake)) if place.exists() and (not place.is_dir() or any(place.iterdir()))]
    mark = home / _MARK
    if mark.is_file() and mark.read_text() == snapshot.name:
        return ""
    if not taken:
        return ""
    if not replace:
        what = "the begin of a restore of another backup" if mark.is_file() else "something already"
        raise BackupError(
            f"{taken[0]} holds {what}: name an empty or new place with --home, or lay it aside with --replace "
            f"(to bring single files back into a laboratory that is there, see --only)"
        )
    moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for place in taken:
        if place.exists():
            place.rename(place.with_name(f"{place.name}.before-restore-{moment}"))
    return str(taken[0].with_name(f"{taken[0].name}.before-restore-{moment}"))


def _require_space(settings: Settings, snapshot: Snapshot) -> None:
    home = settings.home
    here = sum(path.stat().st_size for path in home.rglob("*") if path.is_file() and not path.is_symlink())
    needed, free = max(snapshot.bytes - here, 0), shutil.disk_usage(existing(home)).free
    if needed + _RESERVE_BYTES > free:
        raise no_room(home, f"the backup takes {needed / 1e6:.0f} MB more")


def place_of_entry(settings: Settings, path: str) -> Path:
    """Return where a file of a backup belongs.

    Raises:
        BackupError: its name leads out of the home.
    """
    if ".." in Path(path).parts or Path(path).is_absolute():
        raise BackupError(f"the backup names a file {path!r}, which lies in no laboratory: it was not written by this product")
    if path.startswith(f"{LAKE}/"):
        return local_path(settings.lake) / path.removeprefix(f"{LAKE}/")
    return settings.home / path


def _write_all(settings: Settings, folder: BackupFolder, snapshot: Snapshot, report: RestoreReport, say: Callable[[str], None]) -> None:
    order = sorted(snapshot.files, key=lambda entry: entry.path in _LAST)
    lost: dict[str, str] = {}
    said = time.monotonic()
    for number, entry in enumerate(order, start=1):
        if entry.path in _LAST and lost:
            break
        target = place_of_entry(settings, entry.path)
        if not is_there(target, entry) and (problem := write_file(folder, entry, target)):
            lost[entry.path] = problem
        report.files, report.bytes = report.files + 1, report.bytes + entry.size
        if time.monotonic() - said > _SAID_EVERY_S:
            said = time.monotonic()
            say(f"{number} of {len(order)} file(s), {report.bytes / 1e6:.0f} MB")
    if lost:
        first = "; ".join(f"{path} is {problem}" for path, problem in list(lost.items())[:5])
        raise BackupError(
            f"{len(lost)} file(s) of backup {snapshot.name} in {folder.root} are not what was stored ({first}): {report.home} is not a "
            f"laboratory yet; put back an earlier backup ('lab backup list {folder.root}') in another place"
        )
    for path, problem in snapshot.damaged.items():
        report.problems.append(f"{path} was damaged in the laboratory when it was backed up: {problem}")


def is_there(target: Path, entry: FileEntry) -> bool:
    """Return whether a file has its bytes already, from a restore that was interrupted."""
    try:
        return target.stat().st_size == entry.size and digest_of_file(target) == entry.sha256
    except OSError:
        return False


def write_file(folder: BackupFolder, entry: FileEntry, target: Path) -> str:
    """Write one file with its rights and time; return what is wrong with the stored one, empty when it is sound."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{uuid.uuid4().hex}.restoring")
    try:
        shutil.copyfile(folder.object_path(entry.sha256), draft)
        if digest_of_file(draft) != entry.sha256:
            return "changed"
        draft.chmod(entry.mode)
        os.utime(draft, ns=(entry.mtime_ns, entry.mtime_ns))
        draft.replace(target)
    except FileNotFoundError:
        return "missing"
    finally:
        draft.unlink(missing_ok=True)
    return ""


def _write_keys(settings: Settings, keys: dict[str, bytes], snapshot: Snapshot) -> str:
    """Write the keys, readable by their owner alone; without them the home has to make new ones, and says so nowhere else."""
    for path, content in keys.items():
        write_key(settings.home, path, content)
    if keys:
        return "restored"
    if record_path(settings).is_file():
        give_up(settings, Kept.MASK_KEY)
    return "left out" if snapshot.keys_file else "none"


def write_key(home: Path, path: str, content: bytes) -> None:
    """Write one key, readable by its owner alone."""
    target = home / path
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.unlink(missing_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _settle(settings: Settings, snapshot: Snapshot, report: RestoreReport, *, by: str, say: Callable[[str], None]) -> None:
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
