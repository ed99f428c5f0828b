"""Posted partial traces, kept by content beside the raw files so that their predictions can be repeated.

Belongs here: bytes by digest. Does not belong here: what a trace says (``requests.py``, ``scorer.py``).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final
from uuid import uuid4

TRACE_KEY: Final = "trace:"
"""Prefix of the entry in ``table_versions`` that names the posted trace by its SHA-256; its version is 0."""


def trace_path(raw: Path, digest: str) -> Path:
    """Return where the bytes of a digest are kept, ``raw/<aa>/<sha256>``."""
    return raw / digest[:2] / digest


def keep_trace(raw: Path, body: bytes) -> tuple[str, Path]:
    """Write a posted body under its SHA-256; the prediction log makes it durable together with the prediction.

    Returns:
        Digest and path.

    Raises:
        OSError: it cannot be written.
    """
    digest = hashlib.sha256(body).hexdigest()
    path = trace_path(raw, digest)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{digest}.{uuid4().hex}"
        try:
            temporary.write_bytes(body)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return digest, path


def read_trace(raw: Path, digest: str) -> bytes:
    """Return the bytes of a posted trace.

    Raises:
        OSError: they are not there.
        ValueError: they are not the bytes of that digest.
    """
    body = trace_path(raw, digest).read_bytes()
    if hashlib.sha256(body).hexdigest() != digest:
        raise ValueError(f"the kept trace {digest} was changed")
    return body


def sync_file(path: Path) -> None:
    """Make a file and its name durable."""
    for place in (path, path.parent):
        fd = os.open(place, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
