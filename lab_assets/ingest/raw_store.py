"""Original bytes, kept by digest, never changed.

Belongs here: copying in, looking up. Does not belong here: which file is taken when (``inbox.py``, ``ingestor.py``).
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from lab_assets.failpoints import failpoint
from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.core.archives import folder_files, pack_folder

_DRAFT: Final = ".draft-"
_CHUNK: Final = 1 << 20


class NotAFileError(OSError):
    """A path that is not a regular file (symbolic link, folder, pipe, device)."""


class StillChangingError(OSError):
    """A file that changed while it was copied; it is taken at a later look."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file after it was copied.

    Attributes:
        sha256: Digest of the bytes, lower-case hex.
        size: Bytes.
        mtime_ns: Modification time of the original.
        ctime_ns: Change time of the original.
    """

    sha256: str
    size: int
    mtime_ns: int
    ctime_ns: int


class RawStore:
    """Content-addressed folder ``raw/<aa>/<sha256>``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        """Return where the bytes of a digest lie."""
        return self.root / sha256[:2] / sha256

    def put_file(self, original: Path, *, seen: tuple[int, int, int] | None = None, recorded_sha256: str = "") -> StoredFile:
        """Copy a file in, durable when this returns.

        Args:
            original: A regular file; symbolic links are not followed.
            seen: Size, modification and change time (nanoseconds) when it was found finished; ``None`` takes it as it is.
            recorded_sha256: Digest it may have: when it does, and its bytes are kept already, it is only read.

        Raises:
            NotAFileError: it is not a regular file.
            StillChangingError: it changed since it was seen, or while it was copied.
            FileNotFoundError: it vanished.
        """
        try:
            descriptor = os.open(original, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if original.is_symlink():
                raise NotAFileError(f"{original.name!r} is a symbolic link") from error
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotAFileError(f"{original.name!r} is not a regular file")
        with os.fdopen(descriptor, "rb") as source:
            before = os.fstat(source.fileno())
            if seen is not None and seen != (before.st_size, before.st_mtime_ns, before.st_ctime_ns):
                raise StillChangingError(f"{original.name!r} changed since it was found finished")
            sha256 = recorded_sha256 if self._holds(recorded_sha256, source) else self._store(source)
            after = os.fstat(source.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise StillChangingError(f"{original.name!r} changed while it was copied")
        return StoredFile(sha256=sha256, size=before.st_size, mtime_ns=before.st_mtime_ns, ctime_ns=before.st_ctime_ns)

    def put_folder(self, original: Path, *, recorded_sha256: str = "") -> StoredFile:
        """Copy a folder that is one item in, as one packed file, durable when this returns.

        Args:
            original: A folder; symbolic links in it are left out.
            recorded_sha256: Digest its packed form may have, as in ``put_file``.

        Raises:
            NotAFileError: it is not a folder, or has more in it than one file may hold.
            StillChangingError: it changed while it was copied.
            FileNotFoundError: it, or a file in it, vanished.
        """
        if original.is_symlink() or not original.is_dir():
            raise NotAFileError(f"{original.name!r} is not a folder")
        before = _fingerprint(original)
        with tempfile.TemporaryFile(dir=self._made_root(), prefix=_DRAFT) as packed:
            try:
                pack_folder(original, packed)
            except UnreadableFileError as error:
                raise NotAFileError(error.reason) from error
            packed.seek(0)
            sha256 = recorded_sha256 if self._holds(recorded_sha256, packed) else self._store(packed)
        if before != _fingerprint(original):
            raise StillChangingError(f"{original.name!r} changed while it was copied")
        sizes, changed = zip(*before.values(), strict=True) if before else ((0,), (original.lstat().st_mtime_ns,))
        return StoredFile(sha256=sha256, size=sum(sizes), mtime_ns=max(changed), ctime_ns=0)

    def sweep(self) -> int:
        """Remove drafts that killed processes left; return how many. Nobody may be copying meanwhile."""
        drafts = list(self.root.glob(f"{_DRAFT}*")) if self.root.is_dir() else []
        for draft in drafts:
            draft.unlink(missing_ok=True)
        return len(drafts)

    def put_bytes(self, data: bytes) -> str:
        """Keep bytes, durable when this returns; return their digest."""
        import io

        return self._store(io.BytesIO(data))

    def _holds(self, recorded_sha256: str, source: BinaryIO) -> bool:
        """Tell whether bytes have a digest under which they are kept; the source is read and put back to its begin."""
        if not recorded_sha256 or not self.path(recorded_sha256).exists():
            return False
        digest = hashlib.sha256()
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
        source.seek(0)
        return digest.hexdigest() == recorded_sha256

    def _made_root(self) -> Path:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.root

    def _store(self, source: BinaryIO) -> str:
        digest = hashlib.sha256()
        descriptor, draft = tempfile.mkstemp(dir=self._made_root(), prefix=_DRAFT)
        draft_path = Path(draft)
        try:
            with os.fdopen(descriptor, "wb") as target:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    target.write(chunk)
                failpoint("raw_copy")
                target.flush()
                os.fchmod(target.fileno(), 0o400)
                os.fsync(target.fileno())
            sha256 = digest.hexdigest()
            final = self.path(sha256)
            if not final.exists():
                if not final.parent.exists():
                    final.parent.mkdir(exist_ok=True, mode=0o700)
                    _sync_folder(self.root)
                draft_path.replace(final)
                _sync_folder(final.parent)
            return sha256
        finally:
            draft_path.unlink(missing_ok=True)


def _fingerprint(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and modification time of each file of a folder."""
    return {name: ((status := entry.stat(follow_symlinks=False)).st_size, status.st_mtime_ns) for name, entry in folder_files(folder)}


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
