"""Files of Delta tables on this machine's disk: which ones a version relies on, which ones a commit added, and their digests.

Belongs here: listing logs, reading commit files, hashing. Does not belong here: Delta's own protocol (``deltalake`` and Spark),
verdicts (``opening.py``, ``scrub.py``). Object stores keep checksums of their own; tables there are not hashed by us.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from lab_assets.state.ledger import DataFile

LOG: Final = "_delta_log"
_DIGITS: Final = 20
_COMMITS: Final = re.compile(r"^(\d{20})\.json$", re.ASCII | re.MULTILINE)
_CHECKPOINTS: Final = re.compile(r"^(\d{20})\.checkpoint\.[\w.-]*(?:parquet|json)$", re.ASCII | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class LogSegment:
    """What opening a version relies on: the newest checkpoint at or before it, and every commit after that.

    Attributes:
        version: Last version that the log speaks of; -1 for an empty log.
        checkpoint: Version of the checkpoint; -1 without one.
        checkpoint_files: Its files' names.
        missing: Versions of commits that are not there though a later one is.
        covered_missing: Whether commits that the checkpoint covers are gone as well, so that it cannot be done without.
    """

    version: int
    checkpoint: int
    checkpoint_files: tuple[str, ...]
    missing: tuple[int, ...]
    covered_missing: bool

    def files(self) -> dict[str, int]:
        """Return the paths below the table's folder, each with the version it tells of."""
        commits = range(self.checkpoint + 1, self.version + 1)
        return {
            **{f"{LOG}/{name}": self.checkpoint for name in self.checkpoint_files},
            **{f"{LOG}/{commit_name(version)}": version for version in commits},
        }


def local_path(uri: str) -> Path:
    """Return the folder of a table that lies on this machine."""
    return Path(uri.removeprefix("file://"))


def commit_name(version: int) -> str:
    """Return the file name of a version's commit."""
    return f"{version:020d}.json"


def commit_path(folder: Path, version: int) -> Path:
    """Return the commit file of a version."""
    return folder / LOG / commit_name(version)


def log_segment(folder: Path, *, through: int | None = None) -> LogSegment:
    """Return what opening a version relies on.

    Args:
        folder: Folder of a table.
        through: The version; default: the last one.
    """
    # every opening looks at the names of thousands of commits: one search through all of them, and only the last few become numbers
    names = "\n".join(sorted(log_names(folder)))
    limit = "9" * _DIGITS if through is None else f"{through:0{_DIGITS}d}"
    commits: list[str] = _COMMITS.findall(names)
    del commits[bisect_right(commits, limit) :]
    checkpoints: dict[int, list[str]] = {}
    for found in _CHECKPOINTS.finditer(names):
        if found[1] <= limit:
            checkpoints.setdefault(int(found[1]), []).append(found[0])
    checkpoint = max(checkpoints, default=-1)
    covered = bisect_right(commits, f"{checkpoint:0{_DIGITS}d}") if checkpoint >= 0 else 0
    later = {int(digits) for digits in commits[covered:]}
    last = max(later, default=checkpoint)
    return LogSegment(
        version=last,
        checkpoint=checkpoint,
        checkpoint_files=tuple(sorted(checkpoints.get(checkpoint, ()))),
        missing=tuple(version for version in range(checkpoint + 1, last) if version not in later),
        covered_missing=covered <= checkpoint,
    )


def log_names(folder: Path) -> list[str]:
    """Return the names of the files of a table's log, in no order; none where there is no log."""
    try:
        return os.listdir(folder / LOG)  # noqa: PTH208 - asked at each opening: names alone, of thousands of files
    except (FileNotFoundError, NotADirectoryError):
        return []


def committed_files(folder: Path, first: int, last: int) -> list[DataFile]:
    """Return the files that the commits of some versions added, the commits themselves, and checkpoints made with them.

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
        log = (f"{LOG}/{path.name}" for path in (commit, commit.with_suffix(".checkpoint.parquet")))
        for path in (*log, *(unquote(action["path"]) for action in added if action)):
            if (folder / path).is_file():
                sha256, size = digest_of(folder / path)
                found[path] = DataFile(path=path, version=version, size=size, sha256=sha256)
    return list(found.values())


def digest_of(path: Path) -> tuple[str, int]:
    """Return SHA-256 and size of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
