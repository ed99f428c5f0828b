"""Putting a backup back: a whole laboratory in a new place.

Belongs here: the order of steps, writing files. Does not belong here: what has to be settled afterwards (``settling.py``), single files
(``parts.py``), making tables anew from the originals (``lab_assets.ops.lake_from_raw``).

A place that is being filled carries a mark (``lab_assets.unfinished_restore``), and its database comes last: until everything is there and
verified, no command takes it for a laboratory. What was there already from an interrupted restore of the same backup is kept, unless
somebody worked there since.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from lab_assets.disk import existing
from lab_assets.failpoints import failpoint
from lab_assets.home_identity import Kept, give_up, record_path
from lab_assets.lake.data_files import local_path
from lab_assets.ops.backup.contents import DATABASE, LAKE, MLFLOW, require_embedded
from lab_assets.ops.backup.folder import BackupError, BackupFolder, FileEntry, Snapshot, digest_of_file
from lab_assets.ops.backup.going_on import choice_that_goes_on, has_log, written_since
from lab_assets.ops.backup.making import READING_SETTINGS, no_room
from lab_assets.ops.backup.restore_report import Chosen, RestoreReport
from lab_assets.ops.backup.settling import settle
from lab_assets.ops.backup.verifying import problem_of
from lab_assets.ops.environment import stated_settings
from lab_assets.settings import Settings
from lab_assets.state.database import utc_text
from lab_assets.unfinished_restore import UnfinishedRestore, end_restore, mark_restore, restoring_here, unfinished_restore

_LAST: Final = (DATABASE, "home.json")
_NEEDED: Final = (*_LAST, MLFLOW)
"""Without these no laboratory can be made: nothing makes them a second time."""
_DRAFT: Final = ".restoring"
_BESIDE_DATABASES: Final = ("-wal", "-shm", "-journal")
_RESERVE_BYTES: Final = 64 << 20
_SAID_EVERY_S: Final = 2.0


def restore(
    settings: Settings,
    chosen: Chosen,
    *,
    by: str,
    replace: bool = False,
    without_damaged: bool = False,
    say: Callable[[str], None] = lambda _line: None,
) -> RestoreReport:
    """Make the laboratory of a backup in a place of its own, and hold it against itself.

    Args:
        settings: Of the new place: its home, and where its tables lie.
        chosen: The backup; where none is named, the one whose restore was interrupted there, else the newest.
        by: Who asks.
        replace: Lay aside what is in the place, instead of refusing.
        without_damaged: Leave out files whose stored contents are damaged, and name them, instead of refusing.
        say: Given progress.

    Raises:
        BackupError: the backup is not whole, the place is not free, or somebody worked there since the restore was interrupted.
        EnvironmentFaultError: the disk has too little room.
    """
    require_embedded(settings)
    folder, snapshot, keys = choice_that_goes_on(settings, chosen).open()
    home = settings.home.resolve()
    if home.is_relative_to(folder.root) or folder.root.is_relative_to(home):
        raise BackupError(f"{home} and the backups in {folder.root} lie in one another: name another place")
    report = RestoreReport(backup=snapshot.name, home=str(home), made_at_utc=snapshot.made_at_utc, tables=len(snapshot.tables))
    report.aside = _free(settings, snapshot, replace=replace)
    begun = time.monotonic()
    home.mkdir(parents=True, exist_ok=True)
    mark = _marked(settings, folder, snapshot)
    for place in (settings.run, settings.raw, settings.quarantine):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with FileLock(settings.run / "restore.lock", timeout=0), restoring_here(settings):
            _require_space(settings, snapshot)
            _remove_drafts(home, local_path(settings.lake))
            _write_all(settings, folder, snapshot, report, say, without_damaged=without_damaged)
            mark_restore(settings, dataclasses.replace(mark, is_settling=True))
            report.keys = _write_keys(settings, keys, snapshot)
            report.seconds["writing"] = time.monotonic() - begun
            failpoint("restore_written")
            settle(settings, snapshot, report, by=by, say=say)
            end_restore(settings)
    except Timeout as error:
        raise BackupError(f"another 'lab restore' is at work on {home}; wait until it has ended") from error
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
    mark = unfinished_restore(settings)
    goes_on = mark is not None and mark.backup == snapshot.name
    done = written_since(settings, snapshot, mark) if mark is not None and goes_on else ""
    if not taken or (goes_on and not done):
        return ""
    if done and not replace:
        raise BackupError(
            f"{home / DATABASE} was written to since the restore of backup {snapshot.name} was interrupted ({done}), and going on would "
            f"overwrite that: nothing was changed; repeat the command with --replace to lay {home} aside as it is and begin anew"
        )
    if not replace:
        what = "the begin of a restore of another backup" if mark is not None else "something already"
        raise BackupError(
            f"{taken[0]} holds {what}: name an empty or new place with --home, or lay it aside with --replace "
            f"(to bring single files back into a laboratory that is there, see --only)"
        )
    moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for place in taken:
        if place.exists():
            place.rename(place.with_name(f"{place.name}.before-restore-{moment}"))
    return str(taken[0].with_name(f"{taken[0].name}.before-restore-{moment}"))


def _marked(settings: Settings, folder: BackupFolder, snapshot: Snapshot) -> UnfinishedRestore:
    """Return the mark of the place, written before anything else is; an earlier restore of the same backup stays as far as it was."""
    known = unfinished_restore(settings)
    mark = known or UnfinishedRestore(backup=snapshot.name, folder="", begun_at_utc=utc_text())
    mark = dataclasses.replace(mark, folder=str(folder.root))
    if mark != known:
        mark_restore(settings, mark)
    return mark


def _remove_drafts(*roots: Path) -> None:
    """Remove what a restore that was killed had begun to write."""
    for root in dict.fromkeys(roots):
        for path in root.rglob(f".*{_DRAFT}"):
            path.unlink(missing_ok=True)


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


def _write_all(
    settings: Settings,
    folder: BackupFolder,
    snapshot: Snapshot,
    report: RestoreReport,
    say: Callable[[str], None],
    *,
    without_damaged: bool,
) -> None:
    order = sorted(snapshot.files, key=lambda entry: entry.path in _LAST)
    lost: dict[str, str] = {}
    said = time.monotonic()
    for number, entry in enumerate(order, start=1):
        if entry.path in _LAST and lost and not without_damaged:
            break
        target = place_of_entry(settings, entry.path)
        if not is_there(target, entry) and (problem := write_file(folder, entry, target)):
            lost[entry.path] = problem
            continue
        report.files, report.bytes = report.files + 1, report.bytes + entry.size
        if time.monotonic() - said > _SAID_EVERY_S:
            said = time.monotonic()
            say(f"{number} of {len(order)} file(s), {report.bytes / 1e6:.0f} MB")
    if lost:
        folder.note_damaged(entry.sha256 for entry in snapshot.files if entry.path in lost)
        _require_none_needed(folder, snapshot, report, lost, without_damaged=without_damaged)
        report.problems += [f"{path} is {problem} in the backup and was left out: see docs/recovery.md" for path, problem in lost.items()]
    for path, problem in snapshot.damaged.items():
        report.problems.append(f"{path} was damaged in the laboratory when it was backed up: {problem}")


def _require_none_needed(
    folder: BackupFolder, snapshot: Snapshot, report: RestoreReport, lost: dict[str, str], *, without_damaged: bool
) -> None:
    """Refuse to go on without files whose stored contents are damaged, unless that was asked for and a laboratory can be had.

    Raises:
        BackupError: it says which other backups do not hold them, and what else helps.
    """
    needed = [path for path in lost if path in _NEEDED]
    if without_damaged and not needed:
        return
    first = "; ".join(f"{path} is {problem}" for path, problem in list(lost.items())[:5])
    others = folder.without({entry.sha256 for entry in snapshot.files if entry.path in lost}, but=snapshot.name)
    another = (
        f"backup {others[-1]} holds none of these contents: name it with --backup and another place"
        if others
        else "no other backup in the folder is without them"
    )
    leave_out = "" if needed else "; or give --without-damaged, which leaves them out and names them"
    raise BackupError(
        f"{len(lost)} file(s) of backup {snapshot.name} in {folder.root} are not what was stored ({first}): {report.home} is not a "
        f"laboratory yet; where the backed-up laboratory still stands, 'lab backup {folder.root}' stores anew what it still holds, and this "
        f"command goes on; {another}{leave_out}"
    )


def is_there(target: Path, entry: FileEntry) -> bool:
    """Return whether a file has its bytes already, from a restore that was interrupted."""
    try:
        return not has_log(target) and target.stat().st_size == entry.size and digest_of_file(target) == entry.sha256
    except OSError:
        return False


def write_file(folder: BackupFolder, entry: FileEntry, target: Path) -> str:
    """Write one file with its rights and time; return what is wrong with the stored one, empty when it is sound."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{uuid.uuid4().hex}{_DRAFT}")
    try:
        shutil.copyfile(folder.object_path(entry.sha256), draft)
        if digest_of_file(draft) != entry.sha256:
            return "changed"
        draft.chmod(entry.mode)
        os.utime(draft, ns=(entry.mtime_ns, entry.mtime_ns))
        for suffix in _BESIDE_DATABASES if target.suffix == ".db" else ():  # SQLite would write what is of another one into this one
            target.with_name(f"{target.name}{suffix}").unlink(missing_ok=True)
        draft.replace(target)
    except OSError:
        if problem := problem_of(folder, entry.sha256):
            return problem
        raise
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
