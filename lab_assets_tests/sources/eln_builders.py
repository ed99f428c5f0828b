"""Exports of an electronic notebook as RO-Crate archives."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

Node = dict[str, Any]
DESCRIPTOR: Node = {
    "@id": "ro-crate-metadata.json",
    "@type": "CreativeWork",
    "about": {"@id": "./"},
    "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    "sdPublisher": {"@id": "#publisher"},
    "version": "1.0",
}


def root(*parts: str) -> Node:
    return {"@id": "./", "@type": "Dataset", "hasPart": [{"@id": part} for part in parts]}


def entry(identifier: str = "./a/", **more: Any) -> Node:
    return {"@id": identifier, "@type": "Dataset", **more}


def crate(
    *nodes: Node,
    files: Mapping[str, bytes] | None = None,
    folder: str = "export/",
    descriptor: Node | None = DESCRIPTOR,
    context: object = "https://w3id.org/ro/crate/1.1/context",
    parts: Sequence[str] | None = None,
) -> bytes:
    """An archive; the root lists every local dataset unless ``parts`` or a root is given."""
    graph = [*([descriptor] if descriptor else []), *nodes]
    if not any(node.get("@id") == "./" for node in nodes):
        local = [node["@id"] for node in nodes if node["@type"] == "Dataset" and node["@id"].startswith("./")]
        graph.append(root(*(local if parts is None else parts)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}ro-crate-metadata.json", json.dumps({"@context": context, "@graph": graph}))
        for name, data in (files or {}).items():
            archive.writestr(f"{folder}{name}", data)
    return buffer.getvalue()
