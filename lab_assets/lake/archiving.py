"""Putting away what earlier versions of a table need and the last one does not: data files as reverse deltas, commits in packs.

Belongs here: choosing, writing, checking, and only then taking away. Does not belong here: putting back (``archive.py``), when it is done
(``maintenance.py``).

Nothing is lost at any moment: what is put away is on the disk, read back and noted in the ledger with its digest before a file is taken
away, and whatever a killed process left is found by the next one. Files of versions younger than the grace stay as they are.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from lab_assets.contracts.core import TableContract
from lab_assets.lake import archive
from lab_assets.lake.archive_batch import ReplacedFiles, read_log, write_batch
from lab_assets.lake.data_files import LOG, commit_name, commit_path, digest_of, local_path, log_names, log_segment
from lab_assets.lake.opening import is_remote
from lab_assets.lake.writer import LakeWriter
from lab_assets.state.archived_files import note_archived, noted_paths
from lab_assets.state.ledger import DataFile

_LEAST_COMMITS: Final = 100
"""Commits that are worth a pack of their own."""
_ORPHAN_AGE: Final = timedelta(days=7)
"""How long a data file that no commit names may be one that is being written, beyond the grace."""
_LEVEL: Final = 12


@dataclass(frozen=True, kw_only=True)
class PutAway:
    """What was put away of one table, or would be.

    Attributes:
        files: Data files taken away.
        commits: Files of the log taken away.
        orphans: Data files that no version ever had, taken away.
        bytes: Bytes of all of them.
        archive_bytes: Bytes that the archive grew by; 0 where nothing was done yet.
        kept_whole: Data files of earlier versions that stay as they are, since their rows need as many bytes.
    """

    files: int = 0
    commits: int = 0
    orphans: int = 0
    bytes: int = 0
    archive_bytes: int = 0
    kept_whole: int = 0

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
        DamagedTableError: the table's log does not hold what was committed.
        ArchiveError: a file that is to be put away cannot be read.
    """
    uri = lake.uri(contract)
    if is_remote(uri) or not (local_path(uri) / LOG).is_dir():
        return PutAway()
    folder = local_path(uri)
    with lake.locked(contract), nullcontext() if dry_run else archive.archive_lock(folder):
        table = lake.open(contract)
        found = _Found(
            folder=folder,
            before=now - grace,
            live={os.path.relpath(str(each).removeprefix("file://"), folder) for each in table.file_uris()},
            noted=noted_paths(lake.ledger.engine, contract.full_name),
            log=read_log(folder, table.version(), now - grace),
        )
        if dry_run:
            return found.as_planned()
        written = [*found.write_data(), *found.write_pack()]
        _note(lake, contract, written, version=max(found.log.through, 0))
        return _take_away(lake, contract, found, archive_bytes=sum(each.stat().st_size for each in written))


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
        held = archive.entries(self.folder)
        replaced = (path for path, version in self.log.removed_in.items() if version <= self.log.through)
        return sorted(path for path in replaced if path not in self.live and path not in held and (self.folder / path).exists())

    def archived(self) -> list[str]:
        """Return the data files that the archive holds and that lie in the folder all the same, those put back within the grace apart."""
        held = (path for path, entry in archive.entries(self.folder).items() if entry.digest and path not in self.live)
        return [path for path in held if self.log.removed_in.get(path, -1) <= self.log.through and self._is_old(path)]

    def orphans(self) -> list[str]:
        """Return data files that no version has: what a killed writer left."""
        named = self.live | archive.entries(self.folder).keys() | self.log.named | self.noted
        paths = (path.relative_to(self.folder) for path in self.folder.rglob("*.parquet"))
        plain = (str(path) for path in paths if not path.parts[0].startswith(("_", ".")))
        return sorted(path for path in plain if path not in named and self._is_old(path, by=_ORPHAN_AGE))

    def packed(self) -> list[str]:
        """Return the files of the log that packs have, or that repeat what packs have."""
        last = max((pack.last for pack in archive.packs(self.folder)), default=-1)
        names = sorted(name for name in log_names(self.folder) if name[:20].isdigit() and int(name[:20]) <= last)
        return [f"{LOG}/{name}" for name in names if self._is_old(f"{LOG}/{name}")]

    def to_pack(self) -> range:
        """Return the commits that are worth a pack: all before the newest checkpoint that is old enough, which stays."""
        base = log_segment(self.folder, through=self.log.through).checkpoint if self.log.through >= 0 else -1
        first = max((pack.last + 1 for pack in archive.packs(self.folder)), default=0)
        whole = all(commit_path(self.folder, version).is_file() for version in range(first, base))
        return range(first, base) if base - first >= _LEAST_COMMITS and whole else range(0)

    def as_planned(self) -> PutAway:
        """Return what would be put away."""
        files, orphans = [*self.dead(), *self.archived()], self.orphans()
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
        """Write the commits that are worth it into a pack, and read it back."""
        import zstandard

        if not (commits := self.to_pack()):
            return []
        base = [name for name in log_segment(self.folder, through=commits[0]).checkpoint_files if int(name[:20]) == commits[0]]
        path = self.folder / archive.FOLDER / archive.pack_name(commits[0], commits[-1])
        draft = path.with_name(f".{path.name}.draft")
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        names = [*base, *map(commit_name, commits)]
        with draft.open("wb") as file:
            with compressor.stream_writer(file, closefd=False) as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
                for name in names:
                    tar.add(self.folder / LOG / name, arcname=name)
            file.flush()
            os.fsync(file.fileno())
        if [name for name, _ in archive.members(draft)] != names:
            raise archive.ArchiveError(f"{draft} does not hold the commits that were to be kept; nothing was taken away")
        draft.replace(path)
        archive.sync_folder(path.parent)
        return [path]


def _note(lake: LakeWriter, contract: TableContract, written: Sequence[Path], *, version: int) -> None:
    """Note the archive's files in the ledger, as part of the table."""
    folder, files = local_path(lake.uri(contract)), list[DataFile]()
    for path in written:
        sha256, size = digest_of(path)
        files.append(DataFile(path=str(path.relative_to(folder)), version=version, size=size, sha256=sha256))
    if files:
        note_archived(lake.ledger.engine, contract.full_name, files, gone=())


def _take_away(lake: LakeWriter, contract: TableContract, found: _Found, *, archive_bytes: int) -> PutAway:
    """Take away what the archive holds; what is taken away is no longer expected by the scrub."""
    files, commits, orphans = found.archived(), found.packed(), found.orphans()
    gone = [*files, *commits, *orphans]
    size = found.size(gone)
    note_archived(lake.ledger.engine, contract.full_name, [], gone=gone)
    for path in gone:
        (found.folder / path).unlink(missing_ok=True)
    held = archive.entries(found.folder)
    whole = sum(not entry.digest and path not in found.live and (found.folder / path).exists() for path, entry in held.items())
    return PutAway(files=len(files), commits=len(commits), orphans=len(orphans), bytes=size, archive_bytes=archive_bytes, kept_whole=whole)
