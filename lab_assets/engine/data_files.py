"""Files of Delta tables on this machine's disk: which ones a commit added, and their digests.

Belongs here: reading commit files and hashing. Does not belong here: Delta's own protocol (``deltalake`` and Spark), verdicts
(``scrub.py``). Object stores keep checksums of their own; tables there are not hashed by us.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

LOG: Final = "_delta_log"


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One file of a table as it was committed.

    Attributes:
        path: Below the table's folder.
        version: Version that added it.
        size: Bytes.
        sha256: Digest.
    """

    path: str
    version: int
    size: int
    sha256: str


def commit_path(folder: Path, version: int) -> Path:
    """Return the commit file of a version."""
    return folder / LOG / f"{version:020d}.json"


def committed_files(folder: Path, first: int, last: int) -> list[DataFile]:
    """Return the files that the commits of some versions added, and the commits themselves.

    Args:
        folder: Folder of a table.
        first: First version.
        last: Last version.
    """
    found: dict[str, DataFile] = {}
    for version in range(first, last + 1):
        commit = commit_path(folder, version)
        if not commit.is_file():
            continue  # cleaned up after a checkpoint, long ago
        added = (json.loads(line).get("add") for line in commit.read_text(encoding="utf-8").splitlines() if '"add"' in line)
        for path in (f"{LOG}/{commit.name}", *(unquote(action["path"]) for action in added if action)):
            if (folder / path).is_file():
                sha256, size = digest_of(folder / path)
                found[path] = DataFile(path=path, version=version, size=size, sha256=sha256)
    return list(found.values())


def missing_commits(folder: Path) -> list[int]:
    """Return versions whose commit file is gone though a later one follows and no checkpoint covers it."""
    log = folder / LOG
    if not log.is_dir():
        return []
    versions = sorted(int(path.stem) for path in log.glob("*.json") if path.stem.isdecimal())
    checkpoints = [int(path.name.split(".")[0]) for path in log.glob("*.checkpoint*.parquet")]
    covered = max(checkpoints, default=-1)
    wanted = range(min(versions[0], covered + 1) if versions else 0, versions[-1] if versions else 0)
    held = set(versions)
    return [version for version in wanted if version not in held and version > covered]


def digest_of(path: Path) -> tuple[str, int]:
    """Return SHA-256 and size of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
