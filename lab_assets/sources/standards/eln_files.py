"""The files inside of a notebook archive: found by the identifiers of the metadata, checked against their stated size and SHA-256.

Belongs here: which member a node means, and which members are files of the laboratory. Does not belong here: entries (``eln_crate.py``).
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lab_assets.sources.base import Member, UnreadableFileError
from lab_assets.sources.core.archives import Archive
from lab_assets.sources.core.decoding import shorten
from lab_assets.sources.standards.eln_graph import METADATA_NAMES, Crate, Node, id_key

_SHA256: Final = re.compile(r"(?:sha-?256:)?([0-9a-f]{64})", re.IGNORECASE)
_DIGITS: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_CLUTTER: Final = frozenset({".ds_store", "thumbs.db", "desktop.ini", ".gitkeep"})
_OF_THE_CRATE: Final = re.compile(
    r"ro-crate-metadata\.json(?:ld)?|.*\.minisig|ro-crate-preview\.html|ro-crate-preview_files/.*|bagit\.txt|bag-info\.txt"
    r"|(?:tag)?manifest-[a-z0-9]+\.txt|(?:checksums?|sha256sums?|sha512sums?|md5sums?)(?:\.[a-z0-9]+)?",
    re.IGNORECASE,
)
"""The metadata file, its preview and signature, and lists of checksums, relative to the crate's folder."""


@dataclass(frozen=True, kw_only=True)
class CrateFiles:
    """Files of an archive.

    Attributes:
        root: Folder of the crate inside of the archive, with ``/`` at its end, or empty.
        by_key: Name in the archive and clean path, by normalised path below the crate's folder; files of the crate itself left out.
    """

    archive: Archive
    root: str
    by_key: Mapping[str, tuple[str, str]]

    def path(self, node: Node) -> str | None:
        """Return the clean path of the member a node means, or ``None`` when the archive has none such."""
        key = self.key(node)
        return self.by_key[key][1] if key is not None else None

    def key(self, node: Node) -> str | None:
        """Return the key of the member a node means; identifiers may be escaped as addresses or not."""
        identifier = str(node.get("@id", ""))
        for candidate in (id_key(identifier), unicodedata.normalize("NFC", posixpath.normpath(identifier))):
            if candidate in self.by_key:
                return candidate
        return None

    def members(self, crate: Crate) -> list[Member]:
        """Return every file with its bytes, in the archive's order.

        Raises:
            UnreadableFileError: ``checksum`` for one that differs from what the metadata states, or a rule of archives.
        """
        stated = {key: node for node in crate.nodes.values() if (key := self.key(node)) is not None}
        found: list[Member] = []
        for key, (name, clean) in self.by_key.items():
            data = self.archive.read(name)
            _check(data, stated.get(key, {}), clean)
            found.append(Member(name=clean, data=data))
        return found


def find_metadata(names: tuple[str, ...]) -> str | None:
    """Return the metadata file nearest to the archive's root, at most two folders down, or ``None``."""
    found = [name for name in names if posixpath.basename(_slashed(name)).casefold() in METADATA_NAMES]
    found = [name for name in found if _slashed(name).count("/") <= 2 and not name.startswith("__MACOSX")]
    return min(found, key=lambda name: (_slashed(name).count("/"), len(name)), default=None)


def find_files(archive: Archive, metadata: str) -> CrateFiles:
    """List the files of a crate.

    Raises:
        UnreadableFileError: ``unsafe_name`` when two members have one name, so that nobody can say which is meant.
    """
    root = posixpath.dirname(_slashed(metadata))
    root = f"{root}/" if root else ""
    by_key: dict[str, tuple[str, str]] = {}
    for name in archive.names:
        clean = posixpath.normpath(_repaired(_slashed(name)))
        below = clean.removeprefix(root)
        if _is_clutter(clean) or (clean.startswith(root) and _OF_THE_CRATE.fullmatch(below)):
            continue
        key = unicodedata.normalize("NFC", below)
        if key in by_key:
            raise UnreadableFileError("unsafe_name", "two files of the archive have the same name; export it again", shorten(clean))
        by_key[key] = (name, clean)
    return CrateFiles(archive=archive, root=root, by_key=by_key)


def _slashed(name: str) -> str:
    return re.sub(r"/{2,}", "/", name.replace("\\", "/"))


def _repaired(name: str) -> str:
    """Return a name whose writer forgot to mark it as UTF-8, read as such; zip tools then show it as code page 437."""
    if name.isascii():
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _is_clutter(path: str) -> bool:
    return path.startswith("__MACOSX/") or posixpath.basename(path).casefold() in _CLUTTER


def _check(data: bytes, node: Node, path: str) -> None:
    """Refuse a file that differs from what the metadata states of it."""
    size = str(node.get("contentSize", "")).strip()
    if _DIGITS.fullmatch(size) and int(size) != len(data):
        reason = f"the file has {len(data)} bytes, its notebook states {size}; export the notebook again"
        raise UnreadableFileError("checksum", reason, shorten(path))
    digest = _SHA256.fullmatch(str(node.get("sha256", "")).strip())
    if digest and digest[1].lower() != hashlib.sha256(data).hexdigest():
        reason = "the file's SHA-256 is not the one its notebook states; it was changed or damaged, export the notebook again"
        raise UnreadableFileError("checksum", reason, shorten(path))
