"""Commits of a table that were put away: compressed packs, each with the checkpoint that its first commit follows.

Belongs here: writing, reading and giving back packs. Does not belong here: which commits are put away (``archiving.py``).

A pack is a tar file, so that a person can take it apart by hand: ``tar --zstd -xf`` into ``_delta_log``.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab_assets.lake.archive_folder import FOLDER, ArchiveError, archive_lock, names, sync_folder
from lab_assets.lake.data_files import LOG, commit_name, commit_path, log_segment

_PACK: Final = re.compile(r"^log-(\d{20})-(\d{20})\.tar\.zst$", re.ASCII)
_LEVEL: Final = 12


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Commits that were put away, with the checkpoint that the first of them follows."""

    path: Path
    first: int
    last: int


def packs(folder: Path) -> list[Pack]:
    """Return the packs of commits of a table, oldest first."""
    found = ((name, _PACK.match(name)) for name in sorted(names(folder)))
    return [Pack(path=folder / FOLDER / name, first=int(match[1]), last=int(match[2])) for name, match in found if match]


def write_pack(folder: Path, commits: Sequence[int]) -> Path:
    """Write commits into a pack, and read it back.

    Args:
        folder: Folder of a table, under its archive's lock.
        commits: Versions in a row.

    Raises:
        ArchiveError: it does not hold what it should.
    """
    import zstandard

    base = [name for name in log_segment(folder, through=commits[0]).checkpoint_files if int(name[:20]) == commits[0]]
    path = folder / FOLDER / f"log-{commits[0]:020d}-{commits[-1]:020d}.tar.zst"
    draft = path.with_name(f".{path.name}.draft")
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    inside = [*base, *map(commit_name, commits)]
    with draft.open("wb") as file:
        with compressor.stream_writer(file, closefd=False) as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
            for name in inside:
                tar.add(folder / LOG / name, arcname=name)
        file.flush()
        os.fsync(file.fileno())
    if [name for name, _ in members(draft)] != inside:
        raise ArchiveError(f"{draft} does not hold the commits that were to be kept; nothing was taken away")
    draft.replace(path)
    sync_folder(path.parent)
    return path


def commit_descriptions(folder: Path, before: int) -> list[dict[str, Any]]:
    """Return what the commits that were put away say of themselves, versions below a limit, newest first."""
    found: list[dict[str, Any]] = []
    for pack in reversed(packs(folder)):
        if pack.first < before:
            commits = {int(name.removesuffix(".json")): content for name, content in members(pack.path) if name.endswith(".json")}
            found += [_described(commits[version], version) for version in sorted(commits, reverse=True) if version < before]
    return found


def _described(content: bytes, version: int) -> dict[str, Any]:
    for line in content.splitlines():
        if (stated := json.loads(line).get("commitInfo")) is not None:
            return {**stated, "version": version}
    return {"version": version, "timestamp": 0}


def put_back_log(folder: Path, version: int) -> None:
    """See that a version's commits lie in the log where they were put away."""
    segment = log_segment(folder, through=version)
    if segment.version == version and not segment.missing and (segment.checkpoint >= 0 or commit_path(folder, 0).is_file()):
        return
    needed = next((pack for pack in packs(folder) if pack.first <= version <= pack.last), None)
    if needed is None:
        return
    with archive_lock(folder):
        drafts: list[tuple[Path, Path]] = []
        for name, content in members(needed.path):
            if int(name[:20]) <= version and not (place := folder / LOG / name).exists():
                drafts.append((place.with_name(f".{name}.draft"), place))
                drafts[-1][0].write_bytes(content)
        os.sync()  # once for hundreds of small files
        for draft, place in drafts:
            draft.replace(place)


def members(pack: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a pack."""
    import zstandard

    try:
        with (
            pack.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            for member in tar:
                content = tar.extractfile(member)
                if content is not None:
                    yield member.name, content.read()
    except (zstandard.ZstdError, tarfile.TarError) as error:
        raise ArchiveError(f"{pack} is damaged ({error}); restore the table's folder from the last backup") from error
