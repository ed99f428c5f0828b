"""The graph of an RO-Crate's metadata file: nodes by identifier, references followed, values as text.

Belongs here: the JSON-LD that RO-Crate 1.0 to 1.2 and notebooks write, flat or with nodes nested in others, keys plain, prefixed or
renamed by the file's own context. Does not belong here: what an entry of a notebook is (``eln_crate.py``).

The ``rocrate`` package is not used to read: it unpacks archives into a temporary folder without any limit, and it refuses crates
that real notebooks write, such as nodes nested without an ``@id``. No context is ever fetched.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import orjson

from lab_assets.sources.base import UnreadableFileError
from lab_assets.sources.core.decoding import is_secret

Node = dict[str, Any]

METADATA_NAMES: Final = ("ro-crate-metadata.json", "ro-crate-metadata.jsonld")
MAX_NODES: Final = 500_000
MAX_DEPTH: Final = 32
"""Deepest nesting of nodes in one another; a flat graph needs 2."""
MAX_VALUE_CHARS: Final = 10_000
_MAX_URL_CHARS: Final = 2000
_MAX_TEXT_DEPTH: Final = 4
_MAX_TEXT_ITEMS: Final = 200
_SCHEMA_ORG: Final = ("schema:", "http://schema.org/", "https://schema.org/", "@")


@dataclass(frozen=True, kw_only=True)
class Crate:
    """One RO-Crate.

    Attributes:
        nodes: Nodes by normalised identifier.
        descriptor: The node of the metadata file itself; empty when there is none.
        root: The node of the whole.
    """

    nodes: Mapping[str, Node]
    descriptor: Node
    root: Node

    def node(self, value: object) -> Node | None:
        """Return the node a value refers to or is: an identifier, a reference, or a node nested in another."""
        if isinstance(value, str):
            return self.nodes.get(id_key(value)) or {"@id": value}
        if not isinstance(value, dict):
            return None
        inline = cast("Node", value)
        known = self.nodes.get(id_key(inline["@id"])) if isinstance(inline.get("@id"), str) else None
        return {**inline, **known} if known else inline

    def refer(self, node: Node, *keys: str) -> list[Node]:
        """Return the nodes that a node's properties refer to, in order."""
        found = (self.node(value) for key in keys for value in listed(node.get(key)))
        return [one for one in found if one]

    def text(self, value: object, depth: int = 0) -> str:
        """Return a value as text: a number or text itself, a node by its text, value or name; empty for nothing."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float):
            return str(value).strip()
        if isinstance(value, list) and depth <= _MAX_TEXT_DEPTH:
            parts = (self.text(one, depth + 1) for one in cast("list[object]", value)[:_MAX_TEXT_ITEMS])
            return "; ".join(part for part in parts if part)
        return self._node_text(cast("Node", value), depth) if isinstance(value, dict) and depth <= _MAX_TEXT_DEPTH else ""

    def _node_text(self, value: Node, depth: int) -> str:
        node = self.node(value) or {}
        for keys in (("@value",), ("text",), ("value", "unitText"), ("name",), ("givenName", "familyName"), ("ratingValue",)):
            said = [self.text(node.get(key), depth + 1) for key in keys]
            if said[0]:
                return " ".join(filter(None, said))
        bare = str(node.get("@id", ""))
        return clean_url(bare) if bare.startswith(("http://", "https://")) else ""


def load_crate(data: bytes) -> Crate:
    """Read a metadata file.

    Args:
        data: The file's bytes, JSON in UTF-8.

    Raises:
        UnreadableFileError: ``truncated`` for damaged JSON, ``missing_section`` without a graph or a root, ``too_large``.
    """
    try:
        document: object = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        reason = f"the metadata file is not JSON ({error}); export the notebook again"
        raise UnreadableFileError("truncated", reason, METADATA_NAMES[0]) from error
    graph = cast("Node", document).get("@graph") if isinstance(document, dict) else document
    if not isinstance(graph, list):
        raise UnreadableFileError("missing_section", "the metadata file has no @graph; it is not an RO-Crate", METADATA_NAMES[0])
    listed_nodes = cast("list[object]", graph)
    if len(listed_nodes) > MAX_NODES:
        raise UnreadableFileError("too_large", f"{len(listed_nodes)} nodes are more than {MAX_NODES}", METADATA_NAMES[0])
    aliases = _aliases(cast("Node", document).get("@context")) if isinstance(document, dict) else {}
    nodes: dict[str, Node] = {}
    for entry in listed_nodes:
        if isinstance(entry, dict):
            node = cast("Node", _named(cast("Node", entry), aliases, 0))
            _add(nodes, node)
    return _rooted(nodes)


def _add(nodes: dict[str, Node], node: Node) -> None:
    """Register a node; of two with one identifier the fuller prevails, the other adds what it lacks."""
    key = id_key(node["@id"]) if isinstance(node.get("@id"), str) else f"_:{len(nodes) + 1}"
    other = nodes.get(key, {})
    nodes[key] = {**node, **other} if len(other) > len(node) else {**other, **node}


def _rooted(nodes: dict[str, Node]) -> Crate:
    own = (nodes.get(name) for name in METADATA_NAMES)
    elsewhere = (node for key, node in nodes.items() if key.endswith(METADATA_NAMES))
    descriptor: Node = next(filter(None, own), None) or next(elsewhere, None) or {}
    about = next(iter(listed(descriptor.get("about"))), "./")
    wanted: object = cast("Node", about).get("@id") if isinstance(about, dict) else about
    root = nodes.get(id_key(str(wanted))) or nodes.get("")
    if root is None:
        raise UnreadableFileError("missing_section", "the metadata file has no root dataset ./", METADATA_NAMES[0])
    return Crate(nodes=nodes, descriptor=descriptor, root=root)


def id_key(identifier: str) -> str:
    """Return an identifier or path in one spelling: unescaped, composed, without a leading ``./`` and a trailing ``/``."""
    plain = unicodedata.normalize("NFC", unquote(identifier)).strip().replace("\\", "/")
    while plain.startswith("./"):
        plain = plain[2:]
    plain = "" if plain == "." else plain
    if "://" in plain:
        return plain.rstrip("/")
    return "/".join(part for part in plain.split("/") if part not in {"", "."})


def listed(value: object) -> list[object]:
    """Return a value as a list; nothing, null and empty text as an empty one."""
    if isinstance(value, list):
        return [one for one in cast("list[object]", value) if one not in (None, "")]
    return [] if value in (None, "") else [value]


def is_local(identifier: str) -> bool:
    """Tell whether an identifier means something inside of the archive and not an address."""
    return "://" not in identifier and not identifier.startswith(("_:", "mailto:"))


def linked_entry(crate: Crate, node: Node) -> str | None:
    """Return the identifier of the entry that a dataset merely links to (RSpace writes links so), or ``None``."""
    named = node.get("identifier")
    other = crate.nodes.get(id_key(named)) if isinstance(named, str) else None
    if other is None or node.get("hasPart") or id_key(str(other.get("@id"))) == id_key(str(node.get("@id"))):
        return None
    return str(other.get("@id"))


def types_of(node: Node) -> frozenset[str]:
    """Return the types of a node without their prefixes, such as ``Dataset``."""
    return frozenset(_local(str(one)) for one in listed(node.get("@type")))


def clean_url(address: str) -> str:
    """Return an address without credentials: neither a user before the host nor parameters named like a secret."""
    try:
        parts = urlsplit(address.strip())
        host = parts.netloc.rpartition("@")[2]
        fields = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return ""
    safe = [(key, value) for key, value in fields if not is_secret(key)]
    query = parts.query if len(safe) == len(fields) else urlencode(safe)
    return urlunsplit((parts.scheme, host, parts.path, query, parts.fragment))[:_MAX_URL_CHARS]


def _local(name: str) -> str:
    """Return a name without prefix or namespace: ``schema:name`` and ``http://schema.org/name`` are ``name``."""
    return name if name.startswith("@") else name.rpartition("/")[2].rpartition("#")[2].rpartition(":")[2]


def _term(key: str) -> str:
    """Return a property in its plain spelling; those of other vocabularies keep their prefix."""
    return _local(key) if key.startswith(_SCHEMA_ORG) else key


def _aliases(context: object) -> dict[str, str]:
    """Return the terms that the file's own context renames, such as ``has_part`` for ``hasPart``."""
    found: dict[str, str] = {}
    for part in listed(context):
        if isinstance(part, dict):
            for alias, meaning in cast("Node", part).items():
                target = cast("Node", meaning).get("@id") if isinstance(meaning, dict) else meaning
                if not alias.startswith("@") and isinstance(target, str) and (target.startswith(_SCHEMA_ORG) or ":" not in target):
                    found[alias] = _local(target)
    return found


def _named(value: object, aliases: Mapping[str, str], depth: int) -> object:
    """Return a value with the keys of its nodes in their plain spelling; of two spellings the plain one wins."""
    if depth > MAX_DEPTH:
        raise UnreadableFileError("too_large", f"nodes are nested deeper than {MAX_DEPTH}", METADATA_NAMES[0])
    if isinstance(value, list):
        return [_named(one, aliases, depth + 1) for one in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value.replace("\x00", "") if isinstance(value, str) else value
    node = cast("Node", value)
    renamed: Node = {}
    for key, one in node.items():
        term = aliases.get(key) or _term(key)
        if term == key or term not in node:
            renamed[term] = _named(one, aliases, depth + 1)
    return renamed


def parts_below(crate: Crate, start: Node) -> Iterator[Node]:
    """Walk the nodes that a node has as parts, deeply, each once, parents before children."""
    seen = {id_key(str(start.get("@id", "./")))}
    pending = crate.refer(start, "hasPart")[::-1]
    while pending:
        node = pending.pop()
        key = id_key(str(node.get("@id", ""))) or f"_:{id(node)}"
        if key not in seen:
            seen.add(key)
            yield node
            pending.extend(crate.refer(node, "hasPart")[::-1])
