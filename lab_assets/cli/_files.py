"""Files named on the command line: their bytes, an instrument's folder packed as ingestion packs it.

Belongs here: what ``read`` and ``peaks`` do alike. Does not belong here: any format.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path


def bytes_of(path: Path) -> bytes:
    """Return the bytes of a file, or of an instrument's folder as one packed file.

    Raises:
        UnreadableFileError: ``folder``, ``missing`` or ``unreadable``.
    """
    from lab_assets.sources.base import UnreadableFileError
    from lab_assets.sources.core.archives import is_item_folder, pack_folder

    try:
        if path.is_dir() and is_item_folder(path.resolve().name):
            packed = BytesIO()
            pack_folder(path, packed)
            return packed.getvalue()
        if path.is_dir():
            raise UnreadableFileError("folder", "this is a folder; name the files in it")
        if not path.is_file():
            raise UnreadableFileError("missing", "there is no such file" if not path.exists() else "this is not a regular file")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFileError("unreadable", error.strerror or type(error).__name__) from error
