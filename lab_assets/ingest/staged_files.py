"""The folder of a batch that was read and is not committed yet: whether it still holds what was laid down.

Belongs here: sealing it and looking. Does not belong here: what is in it (``parsing.py``), when it is committed (``ingestor.py``).

A run that takes up a batch after another one was killed commits what that one laid down. What a disk changed meanwhile is read again from the
originals instead.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from lab_assets.lake.data_files import digest_of

_SEAL: Final = "seal.json"


def seal(folder: Path) -> None:
    """Write down the digest of everything in a folder."""
    draft = folder / f".{_SEAL}"
    draft.write_text(json.dumps(_digests(folder)))
    draft.replace(folder / _SEAL)


def is_whole(folder: Path) -> bool:
    """Return whether a folder was sealed and holds exactly what it held then."""
    try:
        sealed = json.loads((folder / _SEAL).read_bytes().decode())
    except (OSError, ValueError):
        return False
    return sealed == _digests(folder)


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(_SEAL))
    return {str(path.relative_to(folder)): digest_of(path)[0] for path in files}
