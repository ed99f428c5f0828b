"""Zip archives and packed instrument folders: looked into without being unpacked, within limits.

Belongs here: limits against bombs and hostile names, and the one way in which a folder (``.D``, ``.raw``) becomes one file.
Does not belong here: what any archive means (one file a format).

A packed folder is a zip whose members are stored, sorted by name and undated, so that the same folder always gives the same bytes.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Final

from lab_assets.sources.core.decoding import shorten
from lab_assets.sources.core.read_result import UnreadableFileError

ZIP_MAGICS: Final = (b"PK\x03\x04", b"PK\x05\x06")
FOLDER_SUFFIXES: Final = (".d", ".raw", ".rslt", ".sirslt")
"""Folders with these suffixes are one item: the files of one run."""

MAX_MEMBERS: Final = 20_000
MAX_TOTAL_BYTES: Final = 2 << 30
MAX_MEMBER_BYTES: Final = 512 << 20
MAX_RATIO: Final = 200
"""Most bytes that one byte of a member may become; text of instruments stays below 30."""

_SMALL: Final = 1 << 20
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_ENCRYPTED: Final = 0x1
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_LOCAL_HEADER_BYTES: Final = 30
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, eq=False)
class Archive:
    """An opened zip archive.

    Attributes:
        names: Members that are files, in the archive's order, ``/`` between parts.
        n_bytes: Stated size of all members together.
    """

    _zip: zipfile.ZipFile
    names: tuple[str, ...]
    n_bytes: int

    def size(self, name: str) -> int:
        """Return the stated size of a member, bytes."""
        return self._zip.getinfo(name).file_size

    def read(self, name: str, limit: int = MAX_MEMBER_BYTES) -> bytes:
        """Return the bytes of one member.

        Args:
            name: One of ``names``.
            limit: Most bytes that are wanted.

        Raises:
            UnreadableFileError: ``too_large``, ``zip_bomb`` for more bytes than stated, ``truncated`` for damaged ones.
        """
        stated = self.size(name)
        if stated > limit:
            raise UnreadableFileError("too_large", f"the member has {stated} bytes, more than {limit}", shorten(name))
        try:
            with self._zip.open(name) as member:
                data = member.read(stated + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
            raise UnreadableFileError(
                "truncated", f"a member of the archive is damaged ({error}); transfer it again", shorten(name)
            ) from error
        if len(data) > stated:
            raise UnreadableFileError("zip_bomb", "a member has more bytes than the archive states", shorten(name))
        return data

    def extract(self, folder: Path) -> None:
        """Write every member below a folder of this process's own; names were checked when the archive was opened."""
        for name in self.names:
            target = folder.joinpath(*PurePosixPath(name).parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read(name))


def is_archive(head: bytes) -> bool:
    """Tell whether a file begins as a zip archive does."""
    return head.startswith(ZIP_MAGICS)


@lru_cache(maxsize=2)
def open_archive(data: bytes) -> Archive:
    """Open a zip archive without unpacking anything.

    Args:
        data: The whole file.

    Returns:
        Its members.

    Raises:
        UnreadableFileError: ``truncated`` when the directory at its end is missing, ``zip_bomb`` for sizes, counts or ratios beyond
            the limits and for members that share bytes, ``unsafe_name`` for a member that would lie outside, ``encrypted``,
            ``unsupported`` for other ways of compression than the usual one, whose ratio nothing bounds.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = [member for member in archive.infolist() if not member.filename or not member.is_dir()]
    except (zipfile.BadZipFile, ValueError, IndexError, OSError, NotImplementedError) as error:
        raise UnreadableFileError("truncated", f"the archive is cut or damaged ({error}); transfer it again") from error
    for member in members:
        _refuse_member(member)
    _refuse_bomb(members, len(data))
    return Archive(archive, tuple(member.filename for member in members), sum(member.file_size for member in members))


def _refuse_bomb(members: list[zipfile.ZipInfo], n_packed: int) -> None:
    """Refuse what is small and unpacks to much: too many members, members that are ever the same bytes, and empty ones without end."""
    if len(members) > MAX_MEMBERS:
        raise UnreadableFileError("zip_bomb", f"the archive has {len(members)} members, more than {MAX_MEMBERS}")
    total = sum(member.file_size for member in members)
    if total > MAX_TOTAL_BYTES:
        raise UnreadableFileError("zip_bomb", f"the members have {total} bytes together, more than {MAX_TOTAL_BYTES}")
    if total > max(_SMALL, MAX_RATIO * n_packed):
        raise UnreadableFileError("zip_bomb", f"the members unpack to {total // n_packed} times the archive's size")
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < 0:
            raise UnreadableFileError("truncated", "the archive lacks its beginning; transfer it again")
        if member.header_offset < end:
            raise UnreadableFileError("zip_bomb", "two members are made of the same bytes of the archive", shorten(member.filename))
        end = member.header_offset + _LOCAL_HEADER_BYTES + member.compress_size
    if end > n_packed:
        raise UnreadableFileError("truncated", "a member lies beyond the end of the archive; transfer it again")


def _refuse_member(member: zipfile.ZipInfo) -> None:
    name = member.filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\x00" in name:
        raise UnreadableFileError("unsafe_name", "a member's name leads out of the archive", shorten(name))
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UnreadableFileError("unsafe_name", "a member is a symbolic link", shorten(name))
    if member.flag_bits & _ENCRYPTED:
        raise UnreadableFileError("encrypted", "the archive has a password; export it without one", shorten(name))
    if member.compress_type not in _METHODS:
        reason = "a member is compressed in another way than zip archives usually are; pack it again"
        raise UnreadableFileError("unsupported", reason, shorten(name))
    if member.file_size > _SMALL and member.file_size > MAX_RATIO * max(member.compress_size, 1):
        ratio = member.file_size // max(member.compress_size, 1)
        raise UnreadableFileError("zip_bomb", f"a member unpacks to {ratio} times its size", shorten(name))


def is_item_folder(name: str) -> bool:
    """Tell whether a folder of this name is one item, such as ``run 7.D``."""
    return name.lower().endswith(FOLDER_SUFFIXES)


def folder_files(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Walk the regular files of a folder, ``/``-separated names below it; symbolic links are neither followed nor listed."""
    pending = [("", folder)]
    while pending:
        prefix, current = pending.pop()
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append((f"{prefix}{entry.name}/", Path(entry.path)))
                elif entry.is_file(follow_symlinks=False):
                    yield f"{prefix}{entry.name}", entry


def pack_folder(folder: Path, target: IO[bytes]) -> None:
    """Write a folder as one archive whose bytes depend on names and contents alone.

    Args:
        folder: Folder to pack; symbolic links in it are left out.
        target: Binary file to write to, seekable.

    Raises:
        UnreadableFileError: ``zip_bomb`` for more files or bytes than an archive may have.
        OSError: a file vanished or cannot be read.
    """
    files = sorted(folder_files(folder), key=lambda found: found[0])
    if len(files) > MAX_MEMBERS:
        raise UnreadableFileError("zip_bomb", f"the folder has {len(files)} files, more than {MAX_MEMBERS}")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, entry in files:
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr = 0o400 << 16
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as original, archive.open(member, "w", force_zip64=True) as packed:
                while chunk := original.read(_CHUNK):
                    packed.write(chunk)
