"""The folder that holds backups: contents by digest, each once, and one list of files for each backup.

Belongs here: layout, storing, reading, removing. Does not belong here: what a laboratory consists of (``contents.py``).

::

    lab-backup.json                  whose backups these are
    objects/<aa>/<sha256>            contents, shared by all backups
    keys/<sha256>.json               keys, encrypted (``keys.py``)
    snapshots/<time>-<digest>.json   one backup: each file with its digest; the name holds the digest of the list itself
    damaged.json                     digests of contents that were found damaged; the next backup stores them anew

A list is written last and at once: a backup that was interrupted leaves contents that no list names, and the earlier backups as they were.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

FORMAT: Final = 1
_MARKER: Final = "lab-backup.json"
_CHUNK: Final = 1 << 20
_DIGEST_IN_NAME: Final = 16
_DAMAGED: Final = "damaged.json"


class BackupError(RuntimeError):
    """A backup cannot be made, read or put back; the message says where, why and what to do."""


class DamagedListError(BackupError):
    """The list of a backup was changed or cannot be read."""


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file of a backup.

    Attributes:
        path: Its place, below the home or, from ``lake/`` on, below the root of the tables.
        sha256: Digest of its bytes.
        size: Bytes.
        mode: Rights, as of ``chmod``.
        mtime_ns: Modification time; Delta tells versions of a time by it.
    """

    path: str
    sha256: str
    size: int
    mode: int
    mtime_ns: int


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One backup.

    Attributes:
        name: Its name, empty before it is written.
        made_at_utc: Moment of the ledger's state, ISO 8601.
        home_id: The laboratory.
        place: Where its home stood.
        code_version: Version of the product.
        revision: Revision of the database.
        tables: Version of each table.
        audit: Number and hash of the last entry of the audit trail.
        settings: Settings that decide how files are read, where they are no defaults.
        keys: Digest of each key by its place, or empty where they were left out.
        keys_file: File of the encrypted keys below ``keys/``; empty where there are none.
        damaged: What was not as it should be in the laboratory itself, by place.
        hashed_again: First digit of the digests of those earlier contents that were hashed again for it; see ``reuse.py``.
        files: Every file.
    """

    name: str = ""
    made_at_utc: str
    home_id: str
    place: str
    code_version: str
    revision: str
    tables: dict[str, int]
    audit: tuple[int, str]
    settings: dict[str, str] = field(default_factory=dict[str, str])
    keys: dict[str, str] = field(default_factory=dict[str, str])
    keys_file: str = ""
    damaged: dict[str, str] = field(default_factory=dict[str, str])
    hashed_again: str = ""
    files: tuple[FileEntry, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of all files together, those that share their contents counted each."""
        return sum(entry.size for entry in self.files)


class BackupFolder:
    """A folder of backups of one laboratory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.snapshots_folder = root / "snapshots"
        self.keys_folder = root / "keys"

    def is_made(self) -> bool:
        """Return whether there is a folder of backups in this place."""
        return (self.root / _MARKER).is_file()

    def home_id(self) -> str:
        """Return whose backups these are.

        Raises:
            BackupError: it is no folder of backups, or one of a newer version of the product.
        """
        if not self.root.is_dir():
            raise BackupError(f"{self.root}: there is no such folder; name the folder that 'lab backup' wrote to")
        try:
            content = json.loads((self.root / _MARKER).read_text())
            made_by, home_id = int(content["format"]), str(content["home_id"])
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            if (newest := self.newest()) is not None:  # every list says it as well
                return newest.home_id
            raise BackupError(f"{self.root} is no folder of backups: {_MARKER} is missing or cannot be read") from error
        if made_by > FORMAT:
            raise BackupError(f"{self.root} was written by a newer version of the product (format {made_by}, known is {FORMAT}): update it")
        return home_id

    def make(self, home_id: str) -> None:
        """Make the folder for a laboratory, or see that it is this laboratory's.

        Raises:
            BackupError: it holds something else.
        """
        if self.is_made() or self.newest() is not None:
            if (other := self.home_id()) != home_id:
                raise BackupError(
                    f"{self.root} holds backups of another laboratory ({other[:8]}, this one is {home_id[:8]}): name another folder"
                )
        elif self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise BackupError(f"{self.root} holds something else than backups: name an empty or a new folder, or that of an earlier backup")
        for folder in (self.root, self.root / "objects", self.snapshots_folder, self.keys_folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        marker = json.dumps({"format": FORMAT, "home_id": home_id}).encode()
        if not self.is_made() or (self.root / _MARKER).read_bytes() != marker:
            _write_whole(self.root / _MARKER, marker)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the right to write to the folder; what an interrupted backup was working with is removed.

        Raises:
            BackupError: another backup is being written.
        """
        try:
            with FileLock(self.root / ".lock", timeout=0):
                for left in (*self.root.glob(".work-*"), *(self.root / "objects").glob(".draft-*")):
                    shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
                yield
        except Timeout as error:
            raise BackupError(f"another backup is being written to {self.root}; wait until it has ended") from error

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Hand out a folder beside the backups, gone at the end."""
        work = self.root / f".work-{uuid.uuid4().hex[:8]}"
        work.mkdir(mode=0o700)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def object_path(self, sha256: str) -> Path:
        """Return where contents lie."""
        return self.root / "objects" / sha256[:2] / sha256

    def holds(self, sha256: str, size: int) -> bool:
        """Return whether contents are there in their whole length."""
        try:
            return self.object_path(sha256).stat().st_size == size
        except OSError:
            return False

    def link(self, source: Path, sha256: str) -> bool:
        """Keep contents as another name of a file that never changes; return whether the disk allows it."""
        target = self.object_path(sha256)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:
            return False
        return True

    def store(self, source: Path, *, limit: int | None = None) -> tuple[str, int]:
        """Keep the contents of a file.

        Args:
            source: The file.
            limit: Bytes to take of a file that grows; default: all.

        Returns:
            Digest and size of what was kept.
        """
        draft = self.root / "objects" / f".draft-{uuid.uuid4().hex}"
        digest, size = hashlib.sha256(), 0
        try:
            with source.open("rb") as given, draft.open("xb") as kept:
                while chunk := given.read(_CHUNK if limit is None else min(_CHUNK, limit - size)):
                    digest.update(chunk)
                    kept.write(chunk)
                    size += len(chunk)
            draft.chmod(0o400)
            target = self.object_path(digest.hexdigest())
            target.parent.mkdir(exist_ok=True, mode=0o700)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        return digest.hexdigest(), size

    def names(self) -> list[str]:
        """Return the names of the backups, oldest first."""
        return sorted(path.stem for path in self.snapshots_folder.glob("*.json"))

    def newest_name(self) -> str:
        """Return the name of the newest backup.

        Raises:
            BackupError: there is none.
        """
        names = self.names()
        if not names:
            raise BackupError(f"{self.root} holds no finished backup")
        return names[-1]

    def newest(self) -> Snapshot | None:
        """Return the newest backup whose list can be read; ``None`` where there is none."""
        return next(self._readable(), None)

    def whole(self) -> list[Snapshot]:
        """Return the backups whose lists can be read, oldest first."""
        return list(self._readable())[::-1]

    def _readable(self) -> Iterator[Snapshot]:
        for name in reversed(self.names()):
            with suppress(DamagedListError):
                yield self.snapshot(name)

    def damaged_lists(self) -> dict[str, str]:
        """Return the backups whose lists cannot be read, by name, with what to do."""
        found: dict[str, str] = {}
        for name in self.names():
            try:
                self.snapshot(name)
            except DamagedListError as error:
                found[name] = str(error)
        return found

    def without(self, contents: Collection[str], *, but: str) -> list[str]:
        """Return the other backups that name none of some contents, oldest first."""
        return [each.name for each in self.whole() if each.name != but and not any(entry.sha256 in contents for entry in each.files)]

    def snapshot(self, name: str) -> Snapshot:
        """Return one backup, its list of files verified.

        Raises:
            DamagedListError: its list was changed or cannot be read.
            BackupError: there is none of that name.
        """
        path = self.snapshots_folder / f"{name}.json"
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            known = ", ".join(self.names()) or "none"
            raise BackupError(f"{self.root} holds no backup {name!r}; there are: {known}") from error
        except OSError as error:
            raise DamagedListError(self._about_list(path, f"cannot be read ({error.strerror})")) from error
        if not name.endswith(f"-{hashlib.sha256(content).hexdigest()[:_DIGEST_IN_NAME]}"):
            raise DamagedListError(self._about_list(path, "was changed since it was written"))
        return _snapshot_of(name, json.loads(content))

    def _about_list(self, path: Path, problem: str) -> str:
        root = shlex.quote(str(self.root))
        return (
            f"{path}, the list of one backup, {problem}, and the other backups are as they were: name another one with --backup "
            f"('lab backup list {root}' shows them), or set this list aside with 'mv {shlex.quote(str(path))} {root}'"
        )

    def damaged_contents(self) -> set[str]:
        """Return the digests of contents that were found damaged and were not mended since."""
        try:
            return {str(each) for each in json.loads((self.root / _DAMAGED).read_text())}
        except (OSError, ValueError, TypeError):
            return set()

    def note_damaged(self, contents: Iterable[str], *, sound: Collection[str] = ()) -> bool:
        """Note contents that are damaged, beside those that were noted before; return whether the folder could be written.

        Args:
            contents: Their digests.
            sound: Digests of contents that are not damaged, whatever was noted before.
        """
        known = self.damaged_contents()
        now = {*known, *contents} - {*sound}
        try:
            if now and now != known:
                _write_whole(self.root / _DAMAGED, json.dumps(sorted(now)).encode())
            elif not now:
                (self.root / _DAMAGED).unlink(missing_ok=True)
        except OSError:  # a folder mounted for reading: whoever asked says what is damaged, and a later backup finds it
            return False
        return True

    def write(self, snapshot: Snapshot) -> Snapshot:
        """Write the list of a backup whose contents are all kept, durable when this returns; that makes it one."""
        content = json.dumps(_document_of(snapshot), separators=(",", ":")).encode()
        moment = "".join(each for each in snapshot.made_at_utc[:23] if each not in "-:.")
        name = f"{moment}Z-{hashlib.sha256(content).hexdigest()[:_DIGEST_IN_NAME]}"
        os.sync()  # the contents first, all at once: a file each would take minutes
        _write_whole(self.snapshots_folder / f"{name}.json", content)
        return replace(snapshot, name=name)

    def prune(self, keep: int) -> list[str]:
        """Remove all but the newest backups, and contents that none of those names.

        The newest one of a laboratory in which nothing was damaged stays in any case: it may hold what is damaged there now. While a list
        cannot be read, nobody knows what it needs, and nothing is removed.

        Args:
            keep: How many stay, at least 1.

        Returns:
            The names of those that were removed.
        """
        names = self.names()
        before, newest = names[: -max(keep, 1)], names[-max(keep, 1) :]
        if not before or self.damaged_lists():
            return []
        kept = [self.snapshot(name) for name in newest]
        if all(each.damaged for each in kept):
            whole = [name for name in before if not self.snapshot(name).damaged]
            kept += [self.snapshot(name) for name in whole[-1:]]
        gone = [name for name in before if name not in {each.name for each in kept}]
        for name in gone:
            (self.snapshots_folder / f"{name}.json").unlink()
        named = {entry.sha256 for each in kept for entry in each.files}
        for path in (self.root / "objects").glob("??/*"):
            if path.name not in named:
                path.unlink()
        keys = {each.keys_file for each in kept}
        for path in self.keys_folder.glob("*.json"):
            if path.name not in keys:
                path.unlink()
        return gone


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _document_of(snapshot: Snapshot) -> dict[str, Any]:
    document = {name: value for name, value in asdict(replace(snapshot, files=())).items() if name != "name"}
    document["files"] = [[entry.path, entry.sha256, entry.size, entry.mode, entry.mtime_ns] for entry in snapshot.files]
    return {"format": FORMAT, **document}


def _snapshot_of(name: str, document: dict[str, Any]) -> Snapshot:
    files = tuple(
        FileEntry(path=path, sha256=sha256, size=size, mode=mode, mtime_ns=mtime_ns)
        for path, sha256, size, mode, mtime_ns in document.pop("files")
    )
    known = {key: value for key, value in document.items() if key in Snapshot.__dataclass_fields__}
    return Snapshot(**known | {"name": name, "files": files, "audit": tuple(document["audit"])})


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, also after a power cut."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
