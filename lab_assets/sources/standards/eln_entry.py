"""One entry of a notebook archive as a row: title, text, persons, times, files, links, and what else its node says.

Belongs here: how notebooks write these. Does not belong here: which nodes are entries (``eln_crate.py``), the graph (``eln_graph.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

import orjson

from lab_assets.sources.base import Row
from lab_assets.sources.core.decoding import is_secret, shorten
from lab_assets.sources.core.markup import PlainText, plain_text
from lab_assets.sources.core.moments import MomentError, parse_moment
from lab_assets.sources.standards.eln_files import CrateFiles
from lab_assets.sources.standards.eln_graph import MAX_VALUE_CHARS, Crate, Node, clean_url, id_key, is_local, linked_entry, listed, types_of

MAX_RESCUED: Final = 1000
"""Most fields of one entry that are kept beside its columns."""

_FILE_TYPES: Final = frozenset({"File", "MediaObject", "ImageObject", "VideoObject", "AudioObject", "DataDownload"})
_LINKS: Final = ("mentions", "isBasedOn", "citation", "relatedLink", "sameAs", "isPartOf")
_PERSONS: Final = ("author", "creator")
# fmt: off
_IN_COLUMNS: Final = frozenset({
    "@id", "@type", "@reverse", "name", "text", *_PERSONS, "dateCreated", "dateModified", "keywords", "hasPart", "comment", "genre", "url",
    "step", "variableMeasured", "encodingFormat", *_LINKS,
})
# fmt: on
_ELABFTW_JSON: Final = "elabftw_metadata"


@dataclass(frozen=True, kw_only=True)
class EntryRows:
    """Makes the rows of one archive.

    Attributes:
        comments: Comments by the normalised identifier of what they comment, where they say it themselves.
        software: Notebook software and version.
        zone: IANA zone assumed for times without one.
        warnings: What was noticed, filled while rows are made.
    """

    crate: Crate
    files: CrateFiles
    comments: Mapping[str, list[Node]]
    software: str | None
    zone: str
    warnings: list[str] = field(default_factory=list[str])

    def row(self, number: int, node: Node) -> Row:
        """Return one entry."""
        body = self._body(node)
        created, modified = (self._moment(node, key) for key in ("dateCreated", "dateModified"))
        parts = [part for one in (node, *self._comment_nodes(node)) for part in self.crate.refer(one, "hasPart")]
        files = [part for part in parts if types_of(part) & _FILE_TYPES or self.files.path(part)]
        stated = [zone_known for _, _, zone_known in (created, modified) if zone_known is not None]
        return {
            "entry_id": str(node.get("@id", f"#{number}")),
            "title": self.crate.text(node.get("name")) or None,
            "entry_type": self._type(node),
            "text": body.text or None,
            "authors": self._authors(node),
            "created_at_text": created[0],
            "created_at_utc": created[1],
            "modified_at_text": modified[0],
            "modified_at_utc": modified[1],
            "zone_known": bool(stated) and all(stated),
            "keywords": self._keywords(node),
            "files": self._paths(node, files),
            "links": self._links(node, body, [part for part in parts if not types_of(part) & _FILE_TYPES]),
            "software": self.software,
            "rescued": dict(_bounded(self._rescued(node, files))),
            "source_row": number,
        }

    def _body(self, node: Node) -> PlainText:
        """Return the text of an entry: its ``text``, or else its ``description``, which may be a node of its own."""
        for key in ("text", "description"):
            found = [_plain(self.crate, value, node) for value in listed(node.get(key))]
            if text := "\n\n".join(one.text for one in found if one.text):
                return PlainText(text=text, links=tuple(link for one in found for link in one.links))
        return PlainText(text="")

    def _type(self, node: Node) -> str | None:
        stated = self.crate.text(node.get("genre")) or self.crate.text(node.get("additionalType"))
        return stated or next(iter(sorted(types_of(node) - {"Dataset", "RepositoryObject"})), None)

    def _authors(self, node: Node) -> list[str]:
        return list(dict.fromkeys(name for person in self.crate.refer(node, *_PERSONS) if (name := _person(self.crate, person))))

    def _moment(self, node: Node, key: str) -> tuple[str | None, datetime | None, bool | None]:
        """Return a time as text and in UTC, and whether its zone is stated."""
        text = self.crate.text(node.get(key))
        if not text:
            return None, None, None
        try:
            moment = parse_moment(text, zone=self.zone)
        except MomentError as error:
            self.warnings.append(f"{key} of {shorten(str(node.get('@id')))}: {error}")
            return text, None, None
        return text, moment.utc, moment.zone_known

    def _keywords(self, node: Node) -> list[str]:
        words = [self.crate.text(value) for value in listed(node.get("keywords"))]
        # One string is a list with commas; in a list of strings a comma belongs to its keyword.
        words = words[0].split(",") if len(words) == 1 else words
        return list(dict.fromkeys(bare for word in words if (bare := word.strip().strip("'\"").strip())))

    def _paths(self, node: Node, files: list[Node]) -> list[str]:
        """Return the paths of an entry's files inside of the archive; a warning names one that is missing."""
        found: list[str] = []
        for file in files:
            path = self.files.path(file)
            if path is not None:
                found.append(path)
            elif is_local(id_key(str(file.get("@id", "")))):
                self.warnings.append(f"{shorten(str(node.get('@id')))}: file {shorten(str(file.get('@id')))} is not in the archive")
        return list(dict.fromkeys(found))

    def _links(self, node: Node, body: PlainText, parts: list[Node]) -> list[str]:
        """Return what an entry names: other entries by identifier, places by address; persons are left out."""
        named = [one for one in (*self.crate.refer(node, *_LINKS), *parts) if not types_of(one) & {"Person", "Comment"}]
        addresses = [
            *(str(linked_entry(self.crate, one) or one.get("@id") or self.crate.text(one)) for one in named),
            self.crate.text(node.get("url")),
            *body.links,
        ]
        places = (address for address in addresses if not address.startswith(("mailto:", "person:", "javascript:", "data:")))
        return list(dict.fromkeys(clean for place in places if (clean := clean_url(place) if "://" in place else place)))

    def _comment_nodes(self, node: Node) -> list[Node]:
        """Return the comments of an entry, listed by it (most writers) or pointing to it as their parent (SampleDB)."""
        own = id_key(str(node.get("@id", "")))
        stated = [one for one in self.crate.refer(node, "comment") if set(one) - {"@id"}]
        return stated or self.comments.get(own, [])

    def _rescued(self, node: Node, files: list[Node]) -> Iterator[tuple[str, str]]:
        """Yield what an entry says besides its columns."""
        crate = self.crate
        for number, comment in enumerate(self._comment_nodes(node), start=1):
            said = [crate.text(comment.get("dateCreated")), ", ".join(self._authors(comment))]
            yield f"comment.{number}", ": ".join(filter(None, [" ".join(filter(None, said)), self._body(comment).text]))
        for number, step in enumerate(crate.refer(node, "step"), start=1):
            words = crate.text(step.get("itemListElement")) or crate.text(step)
            yield f"step.{number}", ": ".join(filter(None, [crate.text(step.get("creativeWorkStatus")), words]))
        yield from self._variables(node, "variable")
        for file in files:
            name = crate.text(file.get("name")) or id_key(str(file.get("@id"))).rpartition("/")[2]
            yield f"file.{name}", "\n\n".join(dict.fromkeys(filter(None, (self._body(file).text, crate.text(file.get("description"))))))
            yield from self._variables(file, f"file.{name}")
        shown = "description" if not node.get("text") else ""
        for key, value in node.items():
            if key not in _IN_COLUMNS and key != shown and not is_secret(key):
                yield key, plain_text(crate.text(value)).text if key == "description" else crate.text(value)

    def _variables(self, node: Node, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield the fields a notebook defines itself, with their units."""
        stated: dict[str, list[str]] = {}
        inside: dict[str, str] = {}
        for one in self.crate.refer(node, "variableMeasured"):
            name = self.crate.text(one.get("propertyID")) or self.crate.text(one.get("name"))
            if name == _ELABFTW_JSON:
                inside |= _elabftw_fields(one)
            else:
                stated.setdefault(name, []).append(self.crate.text(one))
        # Newer exports of eLabFTW write each field as a node of its own beside the JSON that holds them all.
        for key, value in ((key, "; ".join(filter(None, values))) for key, values in stated.items()) if stated else inside.items():
            if key and value and not is_secret(key):
                yield f"{prefix}.{key}", value


def _elabftw_fields(node: Node) -> dict[str, str]:
    """Return the extra fields of eLabFTW's own JSON, which older exports have nowhere else."""
    try:
        stated: object = orjson.loads(str(node.get("value") or "{}"))
    except orjson.JSONDecodeError:
        return {}
    fields: object = cast("Node", stated).get("extra_fields") if isinstance(stated, dict) else None
    if not isinstance(fields, dict):
        return {}
    known = {key: cast("Node", one) for key, one in cast("Node", fields).items() if isinstance(one, dict)}
    return {key: f"{one.get('value', '')} {one.get('unit') or ''}".strip() for key, one in known.items()}


def _plain(crate: Crate, value: object, holder: Node) -> PlainText:
    """Return one text without markup; its format is stated on the text's own node or on the node that holds it."""
    node: Node = (crate.node(cast("Node", value)) or {}) if isinstance(value, dict) else {}
    stated = crate.text(node.get("encodingFormat")) or crate.text(holder.get("encodingFormat"))
    source = crate.text(cast("object", value))
    return plain_text(source, stated if stated.startswith("text/") else None)


def _person(crate: Crate, node: Node) -> str:
    """Return how a person or organisation is named: by name, or else e-mail or identifier."""
    full = " ".join(filter(None, (crate.text(node.get("givenName")), crate.text(node.get("familyName")))))
    stated = (crate.text(node.get("name")), full, crate.text(node.get("email")), crate.text(node.get("identifier")))
    return next((one for one in stated if one), str(node.get("@id") or crate.text(node.get("@value"))))


def _bounded(pairs: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield at most ``MAX_RESCUED`` texts that say something, each bounded; of two with one name the second gets a number."""
    used: dict[str, int] = {}
    for key, text in pairs:
        if text and len(used) < MAX_RESCUED:
            used[key] = used.get(key, 0) + 1
            yield (key if used[key] == 1 else f"{key} ({used[key]})"), text[:MAX_VALUE_CHARS]
