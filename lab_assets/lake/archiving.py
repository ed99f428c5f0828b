"""Putting away what earlier versions of a table need and the last one does not: data files as reverse deltas, commits in packs.

Belongs here: choosing, writing, checking, and only then taking away. Does not belong here: putting back (``archive.py``), when it is done
(``maintenance.py``).

Nothing is lost at any moment: what is put away is on the disk, read back and noted in the ledger with its digest before a file is taken
away, and whatever a killed process left is found by the next one. Files of versions younger than the grace stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from filelock import Timeout

from lab_assets.contracts.core import TableContract
from lab_assets.lake import archive
from lab_assets.lake.archive_batch import ReplacedFiles, read_log, write_batch
from lab_assets.lake.archive_folder import FOLDER, ArchiveError, archive_lock, files_stay, write_durably
from lab_assets.lake.data_files import LOG, commit_name, commit_path, digest_of, local_path, log_names, log_segment
from lab_assets.lake.file_digests import require_whole_files
from lab_assets.lake.layout import layout_of
from lab_assets.lake.log_packs import members, packs, write_pack
from lab_assets.lake.opening import is_remote
from lab_assets.lake.writer import LakeWriter
from lab_assets.settings import Settings
from lab_assets.state.archived_files import note_archived, noted_paths
from lab_assets.state.ledger import DataFile

_LEAST_COMMITS: Final = 100
"""Commits that are worth a pack of their own."""
_IN_PART: Final = "the table's folder was restored in part: restore it whole, with its _archive, or move _archive out of it"
_ORPHAN_AGE: Final = timedelta(days=7)
"""How long a data file that no commit names may be one that is being written, beyond the grace."""


@dataclass(frozen=True, kw_only=True)
class PutAway:
    """What was put away of one table, or would be.

    Attributes:
        files: Data files taken away.
        commits: Files of the log taken away.
        orphans: Data files that no version ever had, taken away.
        bytes: Bytes of all of them.
        archive_bytes: Bytes that the archive grew by; 0 where nothing was done yet.
        kept_whole: Data files among these that the archive keeps as they are, since their rows need as many bytes.
        is_held: Whether nothing was done since a backup, or another maintenance, needs the files as they are: the next one does it.
    """

    files: int = 0
    commits: int = 0
    orphans: int = 0
    bytes: int = 0
    archive_bytes: int = 0
    kept_whole: int = 0
    is_held: bool = False

    @property
    def done(self) -> bool:
        """Whether there was anything."""
        return bool(self.files or self.commits or self.orphans)


def put_away(lake: LakeWriter, contract: TableContract, *, now: datetime, grace: timedelta, dry_run: bool = False) -> PutAway:
    """Put away what only versions need that were replaced longer ago than the grace.

    Args:
        lake: Tables.
        contract: The table.
        now: The moment.
        grace: How long replaced files stay as they are, for those who are reading them.
        dry_run: Only say what would be put away.

    Returns:
        What was put away; nothing on object storage, whose own rules do it.

    Raises:
        DamagedTableError: the table's log, or a file that is to be put away, does not hold what was committed; nothing was put away.
        ArchiveError: a file that is to be put away cannot be read.
    """
    uri = lake.uri(contract)
    if is_remote(uri) or not (local_path(uri) / LOG).is_dir():
        return PutAway()
    if dry_run:
        return _found(lake, contract, now - grace).as_planned()
    try:
        with files_stay(lake.settings, wait_s=0):
            return _put_away(lake, contract, now - grace)
    except Timeout:
        return PutAway(is_held=True)


def _put_away(lake: LakeWriter, contract: TableContract, before: datetime) -> PutAway:
    folder = local_path(lake.uri(contract))
    # rows are looked for without the table's lock, which whoever writes a score waits for
    with archive_lock(folder):
        found = _found(lake, contract, before)
        paths = (*found.dead(), *(f"{LOG}/{commit_name(version)}" for version in found.to_pack()))
        require_whole_files(contract.full_name, lake.uri(contract), lake.ledger, [str(folder / path) for path in paths])
        written = [*found.write_data(), *found.write_pack()]
        _note(lake, contract, written, version=max(found.log.through, 0))
    with lake.locked(contract), archive_lock(folder):
        return _take_away(lake, contract, before, archive_bytes=sum(each.stat().st_size for each in written))


def grace_of(settings: Settings, contract: TableContract) -> timedelta:
    """Return how long a table's replaced files stay as they are: the setting, or less where the table's layout says so."""
    at_most = layout_of(contract).replaced_h
    return timedelta(hours=settings.replaced_hours if at_most is None else min(settings.replaced_hours, at_most))


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What lies in a table's folder, and since when it is not needed by the last version.

    Attributes:
        folder: The table's folder.
        before: What was replaced before this moment is put away.
        live: Data files of the last version.
        noted: Files that the ledger knows.
        log: What commits did to data files.
    """

    folder: Path
    before: datetime
    live: set[str]
    noted: set[str]
    log: ReplacedFiles

    def _is_old(self, path: str, *, by: timedelta = timedelta(0)) -> bool:
        """Return whether a file lies there, and was written, or put back, before the moment."""
        try:
            return (self.folder / path).stat().st_mtime < (self.before - by).timestamp()
        except FileNotFoundError:
            return False

    def dead(self) -> list[str]:
        """Return the data files that are to be put away."""
        replaced = (path for path, version in self.log.removed_in.items() if version <= self.log.through)
        return sorted(path for path in replaced if path not in self.live and (self.folder / path).exists())

    def archived(self) -> list[str]:
        """Return the data files that the archive holds and that lie in the folder all the same, those put back within the grace apart."""
        new = (batch for batch in archive.batches(self.folder) if batch.last > _taken(self.folder))
        held, back = {path for batch in new for path in batch.entries()}, set(archive.marked(self.folder))
        old = (path for path in sorted((held | back) - self.live) if self.log.removed_in.get(path, -1) <= self.log.through)
        return [path for path in old if (self._is_old(path) if path in back else (self.folder / path).exists())]

    def orphans(self) -> list[str]:
        """Return data files that no version has: what a killed writer left."""
        named = self.live | set(archive.marked(self.folder)) | self.log.named | self.noted
        paths = (path.relative_to(self.folder) for path in self.folder.rglob("*.parquet"))
        plain = (str(path) for path in paths if not path.parts[0].startswith(("_", ".")))
        return sorted(path for path in plain if path not in named and self._is_old(path, by=_ORPHAN_AGE))

    def packed(self) -> list[str]:
        """Return the files of the log that packs have, or that repeat what packs have."""
        last = max((pack.last for pack in packs(self.folder)), default=-1)
        names = sorted(name for name in log_names(self.folder) if name[:20].isdigit() and int(name[:20]) <= last)
        old = [name for name in names if self._is_old(f"{LOG}/{name}")]
        for pack in packs(self.folder):
            inside = {name for name in old if pack.first <= int(name[:20]) <= pack.last}
            for name, content in members(pack.path) if inside else ():
                if name in inside and (self.folder / LOG / name).read_bytes() != content:
                    raise ArchiveError(f"{pack.path} holds another {name} than the log; {_IN_PART}")
        return [f"{LOG}/{name}" for name in old]

    def to_pack(self) -> range:
        """Return the commits that are worth a pack: all before the newest checkpoint that is old enough, which stays."""
        base = log_segment(self.folder, through=self.log.through).checkpoint if self.log.through >= 0 else -1
        first = max((pack.last + 1 for pack in packs(self.folder)), default=0)
        whole = all(commit_path(self.folder, version).is_file() for version in range(first, base))
        return range(first, base) if base - first >= _LEAST_COMMITS and whole else range(0)

    def as_planned(self) -> PutAway:
        """Return what would be put away."""
        files, orphans = sorted({*self.dead(), *self.archived()}), self.orphans()
        commits = {*self.packed(), *(f"{LOG}/{commit_name(version)}" for version in self.to_pack())}
        size = self.size([*files, *commits, *orphans])
        return PutAway(files=len(files), commits=len(commits), orphans=len(orphans), bytes=size)

    def size(self, paths: Iterable[str]) -> int:
        """Return the bytes of some files."""
        return sum((self.folder / path).stat().st_size for path in paths if (self.folder / path).exists())

    def write_data(self) -> list[Path]:
        """Write the data files that are to be put away into the archive."""
        dead = self.dead()
        return write_batch(self.folder, dead, self.live, self.log) if dead else []

    def write_pack(self) -> list[Path]:
        """Write the commits that are worth it into a pack."""
        return [write_pack(self.folder, commits)] if (commits := self.to_pack()) else []


def _note(lake: LakeWriter, contract: TableContract, written: Sequence[Path], *, version: int) -> None:
    """Note the archive's files in the ledger, as part of the table."""
    folder, files = local_path(lake.uri(contract)), list[DataFile]()
    for path in written:
        sha256, size = digest_of(path)
        files.append(DataFile(path=str(path.relative_to(folder)), version=version, size=size, sha256=sha256))
    if files:
        note_archived(lake.ledger.engine, contract.full_name, files, gone=())


def _found(lake: LakeWriter, contract: TableContract, before: datetime) -> _Found:
    """Look at a table's folder and log."""
    folder, table = local_path(lake.uri(contract)), lake.open(contract)
    last = max((each.last for each in (*archive.batches(folder), *packs(folder))), default=-1)
    if last > table.version():
        raise ArchiveError(f"{contract.full_name} is at version {table.version()}, but its archive goes on to {last}; {_IN_PART}")
    return _Found(
        folder=folder,
        before=before,
        live={os.path.relpath(str(each).removeprefix("file://"), folder) for each in table.file_uris()},
        noted=noted_paths(lake.ledger.engine, contract.full_name),
        log=read_log(folder, table.version(), before),
    )


def _taken(folder: Path) -> int:
    """Return the last commit whose replaced files were taken away."""
    try:
        return int((folder / FOLDER / archive.TAKEN).read_text())
    except (FileNotFoundError, ValueError):
        return -1


def _noted_whole(found: _Found, paths: Iterable[str]) -> list[DataFile]:
    """Return files that are kept whole as the archive's own; they are moved there, out of the way of a VACUUM by another program."""
    files: list[DataFile] = []
    for path in sorted(paths):
        place, now = archive.whole_of(found.folder, path), found.folder / path
        place.parent.mkdir(exist_ok=True)
        if (held := place if place.exists() else now).exists():
            sha256, size = digest_of(held)
            files.append(DataFile(path=str(place.relative_to(found.folder)), version=max(found.log.through, 0), size=size, sha256=sha256))
    return files


def _take_away(lake: LakeWriter, contract: TableContract, before: datetime, *, archive_bytes: int) -> PutAway:
    """Take away what the archive holds; what is taken away is no longer expected by the scrub."""
    found = _found(lake, contract, before)
    folder, batches = found.folder, archive.batches(found.folder)
    new = [batch for batch in batches if batch.last > _taken(folder)]
    whole = {path for batch in new for path, entry in batch.entries().items() if not entry.digest}
    files, commits, orphans = found.archived(), found.packed(), found.orphans()
    gone = [*files, *commits, *orphans]
    size = found.size(gone)
    note_archived(lake.ledger.engine, contract.full_name, _noted_whole(found, whole), gone=gone)
    for path in gone:
        if path in whole and not archive.whole_of(folder, path).exists():
            (folder / path).replace(archive.whole_of(folder, path))
        (folder / path).unlink(missing_ok=True)
        archive.mark_of(folder, path).unlink(missing_ok=True)
    if new:
        write_durably(folder / FOLDER / archive.TAKEN, str(batches[-1].last).encode())
    return PutAway(
        files=len(files), commits=len(commits), orphans=len(orphans), bytes=size, archive_bytes=archive_bytes, kept_whole=len(whole)
    )
