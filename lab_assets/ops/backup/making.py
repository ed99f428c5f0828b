"""Making a backup: settle what it consists of, see that it fits, store what is new, write its list.

Belongs here: the order of steps and what is said of them. Does not belong here: what a laboratory consists of (``contents.py``).
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import Timeout

from lab_assets.disk import existing
from lab_assets.failpoints import failpoint
from lab_assets.fault_kinds import EnvironmentFaultError, Kind
from lab_assets.home_identity import place_of
from lab_assets.lake.archive_folder import files_stay
from lab_assets.ops.backup import keys as sealed
from lab_assets.ops.backup.backup_report import BackupReport
from lab_assets.ops.backup.contents import Contents, Source, freeze, require_embedded
from lab_assets.ops.backup.folder import BackupError, BackupFolder, FileEntry, Snapshot, digest_of_file
from lab_assets.ops.backup.reuse import Reuse
from lab_assets.ops.backup.verifying import keys_problem
from lab_assets.ops.environment import stated_settings
from lab_assets.provenance import code_version
from lab_assets.settings import Settings
from lab_assets.state.audit_chain import AuditLog
from lab_assets.state.database import utc_text

if TYPE_CHECKING:
    from sqlalchemy import Engine

READING_SETTINGS: Final = (
    "LAB_ZONE", "LAB_SOURCE_ZONES", "LAB_DATE_ORDER", "LAB_SOURCE_DATE_ORDERS", "LAB_STRICT_SOURCES", "LAB_DONE_SOURCES",
)  # fmt: skip
"""Settings that decide what is read out of the originals: another home needs the same."""
_RESERVE_BYTES: Final = 64 << 20
_SAID_EVERY_S: Final = 2.0
_MAINTENANCE_S: Final = 900.0
"""How long a backup waits for maintenance of one table."""
ORIGIN: Final = "backup"


@dataclass(frozen=True, kw_only=True)
class KeysChoice:
    """What becomes of the keys.

    Attributes:
        passphrase: What they are encrypted with; ``None``: none was stated.
        leave_out: Leave them out.
        may_make: Whether a passphrase may be made where one is needed and none was stated: somebody is there to write it down.
    """

    passphrase: str | None = None
    leave_out: bool = False
    may_make: bool = False


def make_backup(
    settings: Settings,
    engine: Engine,
    destination: Path,
    *,
    by: str,
    keys: KeysChoice,
    copy_all: bool = False,
    keep: int | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> BackupReport:
    """Back a laboratory up while it runs; only contents that the folder does not hold yet are stored.

    Args:
        settings: Whose laboratory.
        engine: Its database.
        destination: Folder of backups, or a new one.
        by: Who asks.
        keys: What becomes of the keys.
        copy_all: Copy the originals also where another name of the file would do.
        keep: How many backups stay in the folder; default: all.
        say: Given progress.

    Raises:
        BackupError: it cannot be made; the earlier backups are as they were.
        EnvironmentFaultError: the disk has too little room.
    """
    require_embedded(settings)
    folder = BackupFolder(_outside(settings, destination))
    place = place_of(settings)
    folder.make(place.home_id)
    report = BackupReport(folder=str(folder.root), same_disk=_same_disk(folder.root, settings.home))
    with folder.alone(), folder.workspace() as work, _files_stay(settings):
        report.damaged_lists = folder.damaged_lists()
        former = folder.newest()
        reuse = Reuse(folder, former)
        snapshot = _keys(settings, folder, former, keys, report, home_id=place.home_id)
        audit = AuditLog(engine)
        audit.append(actor=by, action="backup.begin", target=str(folder.root), reason="asked for", origin=ORIGIN)
        begun = time.monotonic()
        _require_space(folder, _size_of_databases(settings), "the databases")
        contents = freeze(settings, work)
        report.made_at_utc, report.tables = utc_text(), len(contents.tables)
        report.seconds["settling"] = time.monotonic() - begun
        failpoint("backup_settled")
        say(f"{len(contents.sources)} file(s) as of {report.made_at_utc[:19]} UTC, settled in {report.seconds['settling']:.1f} s")
        entries = _store(folder, contents, former, reuse, report, copy_all=copy_all, say=say)
        failpoint("backup_stored")
        made = Snapshot(
            made_at_utc=report.made_at_utc,
            home_id=place.home_id,
            place=place.path,
            code_version=code_version(),
            revision=contents.revision,
            tables=contents.tables,
            audit=contents.audit,
            settings={name: value for name, value in stated_settings(settings).items() if name in READING_SETTINGS},
            keys=snapshot[0],
            keys_file=snapshot[1],
            damaged=contents.damaged,
            hashed_again=reuse.digit,
            files=tuple(entries),
        )
        made = folder.write(made)
        report.removed = folder.prune(keep) if keep is not None else []
        settled = reuse.settle()
        report.mended, report.damaged_contents, report.hashed_bytes = settled.mended, settled.left, reuse.hashed_bytes
    report.name, report.files, report.bytes, report.damaged = made.name, len(made.files), made.bytes, dict(contents.damaged)
    report.waiting = _waiting(settings, engine)
    report.seconds["storing"] = time.monotonic() - begun - report.seconds["settling"]
    new = {"backup": made.name, "files": report.files, "bytes": report.bytes, "keys": report.keys, "damaged": sorted(report.damaged)[:100]}
    new |= {
        "mended": report.mended,
        "damaged_contents": sorted(report.damaged_contents)[:100],
        "damaged_lists": sorted(report.damaged_lists),
    }
    audit.append(actor=by, action="backup.make", target=str(folder.root), new=new, reason="asked for", origin=ORIGIN)
    return report


@contextmanager
def _files_stay(settings: Settings) -> Iterator[None]:
    """Keep maintenance from taking files away while they are copied.

    Raises:
        BackupError: it has been at work on one table for too long.
    """
    with ExitStack() as held:
        try:
            held.enter_context(files_stay(settings, wait_s=_MAINTENANCE_S))
        except Timeout as error:
            raise BackupError(f"maintenance has been at work on a table for {_MAINTENANCE_S:.0f} s; try again later") from error
        yield


def _outside(settings: Settings, destination: Path) -> Path:
    """Return the destination without links, one that stands apart from the home and can be written.

    Raises:
        BackupError: it does not, or cannot.
    """
    place, home = destination.expanduser().resolve(), settings.home.resolve()
    if place.is_relative_to(home):
        raise BackupError(f"{place} lies inside of the laboratory ({home}), whose loss it is to survive: name a folder on another disk")
    if home.is_relative_to(place):
        raise BackupError(f"{place} holds the laboratory itself ({home}): name a folder of its own")
    above = existing(place)
    if not os.access(above, os.W_OK | os.X_OK):
        raise BackupError(f"{above} cannot be written by this account: grant the right, or name another folder")
    return place


def _keys(
    settings: Settings, folder: BackupFolder, former: Snapshot | None, choice: KeysChoice, report: BackupReport, *, home_id: str
) -> tuple[dict[str, str], str]:
    """Encrypt the keys, or name those of the former backup where they are the same; return their digests and the file."""
    found = sealed.key_files(settings.home)
    prints = sealed.fingerprints(found)
    if not found:
        return {}, ""
    if choice.leave_out:
        report.keys = "left out"
        return {}, ""
    report.keys = "encrypted"
    problem = ""
    if choice.passphrase is None and former is not None and former.keys == prints:
        if not (problem := keys_problem(folder, former)):
            return prints, former.keys_file
        problem = f"{folder.keys_folder / former.keys_file}, which holds the keys of the earlier backups, is {problem}: "
    passphrase = choice.passphrase
    if passphrase is None and not choice.may_make:
        raise BackupError(
            f"{problem}the keys need a passphrase, and there is no terminal at which a new one could be shown: "
            "set LAB_BACKUP_PASSPHRASE, name a --passphrase-file, or leave the keys out with --without-keys"
        )
    if passphrase is None:
        passphrase = report.passphrase = sealed.new_passphrase()
    return prints, sealed.encrypt(folder, found, passphrase, home_id=home_id)


def _store(
    folder: BackupFolder,
    contents: Contents,
    former: Snapshot | None,
    reuse: Reuse,
    report: BackupReport,
    *,
    copy_all: bool,
    say: Callable[[str], None],
) -> list[FileEntry]:
    known = {entry.path: entry for entry in former.files} if former else {}
    links = not copy_all and report.same_disk
    planned: list[tuple[Source, FileEntry | None]] = []
    said = time.monotonic()
    for source in contents.sources:
        planned.append((source, _kept_before(source, known, reuse)))
        if time.monotonic() - said > _SAID_EVERY_S:
            said = time.monotonic()
            say(
                f"{len(planned)} of {len(contents.sources)} file(s) looked for, {reuse.hashed_bytes / 1e6:.0f} MB of earlier contents hashed"
            )
    needed = sum(_size(source.file) for source, kept in planned if kept is None and not (links and source.may_be_linked))
    _require_space(folder, needed, "the new files")
    entries: list[FileEntry] = []
    said, done_bytes = time.monotonic(), 0
    for number, (source, kept) in enumerate(planned, start=1):
        try:
            entry = kept or _new(folder, source, report, links=links)
        except FileNotFoundError:
            if not source.may_be_gone:
                contents.damaged[source.path] = "it is missing"
            continue
        except OSError as error:
            if isinstance(error, _DamagedFileError):
                contents.damaged[source.path] = str(error)
                continue
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise no_room(folder.root, "it ran full; the earlier backups are as they were") from error
            raise
        entries.append(entry)
        done_bytes += entry.size
        if time.monotonic() - said > _SAID_EVERY_S:
            said = time.monotonic()
            say(f"{number} of {len(planned)} file(s), {done_bytes / 1e6:.0f} MB; {report.new_files} new, {report.new_bytes / 1e6:.0f} MB")
    return entries


class _DamagedFileError(OSError):
    """A file of the laboratory does not hold what was committed, or cannot be read."""


def _kept_before(source: Source, known: dict[str, FileEntry], reuse: Reuse) -> FileEntry | None:
    """Return the entry of a file whose contents the folder holds already, without reading the file; ``None`` where it is to be stored."""
    try:
        status = source.file.stat()
    except OSError:
        return None
    same = known.get(source.path)
    if source.sha256 is None and not (same is not None and (same.size, same.mtime_ns) == (status.st_size, status.st_mtime_ns)):
        return None
    sha256 = source.sha256 or (same.sha256 if same else "")
    if not reuse.is_sound(sha256, status.st_size):
        return None
    return FileEntry(path=source.path, sha256=sha256, size=status.st_size, mode=status.st_mode & 0o777, mtime_ns=status.st_mtime_ns)


def _new(folder: BackupFolder, source: Source, report: BackupReport, *, links: bool) -> FileEntry:
    """Store a file whose contents the folder does not hold, and hold them against the digest that was noted."""
    status = source.file.stat()
    if links and source.may_be_linked:
        found = _digest(source.file)
        _require_same(source, found)
        if folder.link(source.file, found):
            report.linked_files += 1
            return _entry(source, found, status, report, size=status.st_size, stored=0)
    try:
        sha256, size = folder.store(source.file, limit=None if source.sha256 else status.st_size)
    except PermissionError as error:
        raise _DamagedFileError(f"it cannot be read ({error.strerror})") from error
    _require_same(source, sha256)
    return _entry(source, sha256, status, report, size=size, stored=size)


def _digest(file: Path) -> str:
    try:
        return digest_of_file(file)
    except PermissionError as error:
        raise _DamagedFileError(f"it cannot be read ({error.strerror})") from error


def _require_same(source: Source, found: str) -> None:
    if source.sha256 is not None and found != source.sha256:
        raise _DamagedFileError(f"it does not hold what was committed: its digest is {found[:12]}, {source.sha256[:12]} was noted")


def _entry(source: Source, sha256: str, status: os.stat_result, report: BackupReport, *, size: int, stored: int) -> FileEntry:
    report.new_files, report.new_bytes = report.new_files + 1, report.new_bytes + stored
    return FileEntry(path=source.path, sha256=sha256, size=size, mode=status.st_mode & 0o777, mtime_ns=status.st_mtime_ns)


def _waiting(settings: Settings, engine: Engine) -> int:
    from lab_assets.ingest.inbox import InboxError
    from lab_assets.ops.batches import waiting_files

    try:
        found = waiting_files(settings, engine)
    except InboxError:  # other commands say so; it is no matter of a backup
        return 0
    return found["ready"] + found["growing"]


def _require_space(folder: BackupFolder, needed: int, what: str) -> None:
    free = shutil.disk_usage(folder.root).free
    if needed + _RESERVE_BYTES > free:
        wanted = f"{what} take {needed / 1e6:.0f} MB, with {_RESERVE_BYTES / 1e6:.0f} MB to spare; the earlier backups are as they were"
        raise no_room(folder.root, wanted)


def no_room(place: Path, wanted: str) -> EnvironmentFaultError:
    """Return that a disk has too little room for a backup, or for the laboratory of one.

    Args:
        place: A folder on the disk.
        wanted: What it was wanted for.
    """
    free = shutil.disk_usage(existing(place)).free
    mend = "free space, name a folder on another disk, or remove older backups with --keep"
    return EnvironmentFaultError(Kind.DISK_FULL, str(place), f"({free / 1e6:.0f} MB free; {wanted})", what_to_do=mend)


def _size_of_databases(settings: Settings) -> int:
    return sum(_size(Path(uri.removeprefix("sqlite:///"))) for uri in (settings.database_url, settings.mlflow_uri))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _same_disk(one: Path, other: Path) -> bool:
    return existing(one).stat().st_dev == existing(other).stat().st_dev
