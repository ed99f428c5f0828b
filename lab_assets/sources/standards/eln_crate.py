"""Notebook exports as .eln: a zip archive with an RO-Crate, after TheELNConsortium's specification.

Belongs here: which nodes are entries, which software wrote them, and the attached files, in the habits of eLabFTW, Kadi4Mat, PASTA,
SampleDB, RSpace, SciLog, AI4Green, datalab and others. Does not belong here: one entry as a row (``eln_entry.py``), the contents of
attached files, each of which is handed on and finds its own reader.

Every dataset below the root that lies inside of the archive is an entry. Not entries are datasets of other places (addresses of the
notebook's server), links written as datasets (RSpace) and comments written as datasets (SciLog). What else a node says goes to
``rescued``: comments as ``comment.1``, steps as ``step.1``, its own fields as ``variable.<name>``, what it says of files as ``file.<name>``.
"""

from __future__ import annotations

import posixpath
import re
from typing import Final

from lab_assets.sources.base import ReadContext, ReadResult, Row, UnreadableFileError
from lab_assets.sources.core.archives import Archive, open_archive
from lab_assets.sources.core.decoding import shorten
from lab_assets.sources.standards.eln_entry import EntryRows
from lab_assets.sources.standards.eln_files import CrateFiles, find_files, find_metadata
from lab_assets.sources.standards.eln_graph import Crate, Node, id_key, is_local, linked_entry, load_crate, parts_below, types_of

MAX_METADATA_BYTES: Final = 128 << 20

_STATED_VERSION: Final = re.compile(r"\bversion\s+v?([0-9][\w.+-]*)", re.IGNORECASE)
_VERSION_ON_DESCRIPTOR: Final = frozenset({"kadi4mat"})
"""Notebooks that state their own version on the metadata file's node; for the others it is the version of the file format."""


class ElnCrateReader:
    """Reader of notebook archives."""

    format: str = "eln_crate"
    tables: tuple[str, ...] = ("eln_entries",)

    def sniff(self, name: str, head: bytes) -> int:
        """Return 0: only archives can be this format."""
        del name, head
        return 0

    def sniff_archive(self, name: str, archive: Archive) -> int:
        """Return how surely this is the format: an RO-Crate's metadata file at the root or in a folder below it."""
        if find_metadata(archive.names) is None:
            return 0
        return 100 if name.lower().endswith(".eln") else 90

    def read(self, data: bytes, context: ReadContext) -> ReadResult:
        """Read one archive: a row for each entry, a member for each attached file.

        Raises:
            UnreadableFileError: ``missing_section`` without metadata or root, ``checksum`` for a file that differs from what the
                metadata states, ``empty`` without entries, ``truncated`` for damaged metadata, or a rule of archives.
        """
        archive = open_archive(data)
        metadata = find_metadata(archive.names)
        if metadata is None:
            raise UnreadableFileError("missing_section", "the archive has no ro-crate-metadata.json; export the notebook again")
        crate = load_crate(archive.read(metadata, MAX_METADATA_BYTES))
        files = find_files(archive, metadata)
        entries = _entries(crate)
        if not entries:
            raise UnreadableFileError("empty", "the notebook export has no entries")
        maker = EntryRows(crate=crate, files=files, comments=_comments(crate), software=_software(crate), zone=context.zone)
        rows = [maker.row(number, node) for number, node in enumerate(entries, start=1)]
        warnings = [*maker.warnings, *_place_unlisted(crate, files, rows)]
        return ReadResult(format=self.format, tables={"eln_entries": rows}, warnings=warnings, members=files.members(crate))


def _entries(crate: Crate) -> list[Node]:
    """Return the nodes that are entries, in the order of the notebook."""
    below = list(parts_below(crate, crate.root))
    reached = {id_key(str(node.get("@id", ""))) for node in below}
    # Some writers list nothing under the root, or leave single entries out of it.
    rest = [node for key, node in crate.nodes.items() if key not in reached and node is not crate.root]
    found = [node for node in (*below, *rest) if _is_entry(crate, node)]
    if found:
        return found
    return [crate.root] if any(crate.root.get(key) for key in ("text", "description", "name", "hasPart")) else []


def _is_entry(crate: Crate, node: Node) -> bool:
    """Tell whether a node is an entry and not a comment, a place elsewhere, or a link in the guise of a dataset."""
    types = types_of(node)
    inside = is_local(id_key(str(node.get("@id", ""))))
    return "Dataset" in types and "Comment" not in types and inside and linked_entry(crate, node) is None


def _comments(crate: Crate) -> dict[str, list[Node]]:
    """Return the comments that name what they comment, by its normalised identifier."""
    found: dict[str, list[Node]] = {}
    for node in crate.nodes.values():
        if "Comment" in types_of(node):
            for parent in crate.refer(node, "parentItem", "about"):
                found.setdefault(id_key(str(parent.get("@id", ""))), []).append(node)
    return found


def _place_unlisted(crate: Crate, files: CrateFiles, rows: list[Row]) -> list[str]:
    """Give files that no entry lists to the entry in whose folder they lie; warn of those the metadata does not know."""
    named = {path for row in rows for path in row["files"]}
    folders = {id_key(row["entry_id"]): row for row in rows}
    for key, (_, path) in files.by_key.items():
        folder = posixpath.dirname(key)
        while folder and folder not in folders:
            folder = posixpath.dirname(folder)
        if path not in named and folder in folders:
            folders[folder]["files"].append(path)
    known = {key for node in crate.nodes.values() if (key := files.key(node)) is not None}
    unlisted = [key for key in files.by_key if key not in known]
    if not unlisted:
        return []
    return [f"{len(unlisted)} files are in the archive but not in its metadata, such as {shorten(unlisted[0])}"]


def _software(crate: Crate) -> str | None:
    """Return the notebook software and its version: of the tool that made the archive, or else of its publisher."""
    actions = (node for node in crate.nodes.values() if "CreateAction" in types_of(node) and _is_export(crate, node))
    tools = [tool for action in actions for tool in crate.refer(action, "instrument")]
    publishers = crate.refer(crate.descriptor, "sdPublisher", "publisher") or crate.refer(crate.root, "sdPublisher", "publisher")
    for node in (*tools, *publishers):
        name = crate.text(node.get("name")) or str(node.get("@id", "")).lstrip("#")
        if name:
            version = _version(crate, node, name)
            return f"{name} {version}" if version else name
    return None


def _is_export(crate: Crate, action: Node) -> bool:
    """Tell whether an action made the archive itself, and not one of its results."""
    made = {id_key(str(node.get("@id"))) for node in crate.refer(action, "object", "result")}
    own = {id_key(str(node.get("@id"))) for node in (crate.root, crate.descriptor)}
    return bool(made & own) or "ro-crate" in str(action.get("@id", ""))


def _version(crate: Crate, node: Node, name: str) -> str:
    stated = crate.text(node.get("version")) or crate.text(node.get("softwareVersion"))
    if stated:
        return stated
    if name.casefold() in _VERSION_ON_DESCRIPTOR:
        return crate.text(crate.descriptor.get("version"))
    described = _STATED_VERSION.search(crate.text(node.get("description")))
    return described[1] if described else ""


READERS: Final = (ElnCrateReader(),)
