"""Mask methods: the ways in which a text can be hidden, each once, as SQL and as a function.

Belongs here: the methods and the key of pseudonyms. Does not belong here: which columns are masked for whom (``policy.py``), putting
masks into a query (``masking.py``).

Masks keep a column's type. A pseudonym is an HMAC under a key of the installation, so equal values stay equal and nobody without the
key can try names against it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab_assets.home_identity import Kept, note_made, require_kept
from lab_assets.settings import Settings

REDACTED: Final = "***"
INNER_KEY: Final = "lab_inner_key"
OUTER_KEY: Final = "lab_outer_key"
_BLOCK: Final = 64  # bytes in a block of SHA-256
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, kw_only=True)
class MaskKey:
    """The installation's key for pseudonyms, in the two padded forms HMAC takes (RFC 2104)."""

    inner: bytes
    outer: bytes

    @classmethod
    def from_secret(cls, secret: bytes) -> MaskKey:
        """Pad a secret of at most 64 bytes."""
        block = secret.ljust(_BLOCK, b"\x00")
        return cls(inner=bytes(byte ^ 0x36 for byte in block), outer=bytes(byte ^ 0x5C for byte in block))

    @classmethod
    def of(cls, settings: Settings) -> MaskKey:
        """Read a laboratory's key; it is made once, readable by its owner alone, and never a second time.

        Raises:
            LostError: it was made before and is gone or empty.
            PermissionError: others may read the file.
            ValueError: the file does not hold 32 bytes.
        """
        path = settings.home / Kept.MASK_KEY
        path.parent.mkdir(parents=True, exist_ok=True)
        require_kept(settings, Kept.MASK_KEY)
        if not path.exists():
            _make_key(path)
        if path.stat().st_mode & 0o077:
            raise PermissionError(f"{path} may be read by others; set its mode to 600")
        secret = path.read_bytes()
        if len(secret) != _SECRET_BYTES:
            raise ValueError(f"{path} does not hold a key of {_SECRET_BYTES} bytes; {Kept.MASK_KEY.way_back}")
        note_made(settings, Kept.MASK_KEY)
        return cls.from_secret(secret)


def _make_key(path: Path) -> None:
    """Make a key; of several processes only one wins, and nobody sees half a key."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()


@dataclass(frozen=True, kw_only=True)
class MaskMethod:
    """One way of hiding text; values of other kinds are hidden by NULL, whatever the method.

    Attributes:
        sql: From a quoted column and its tag to the SQL that stands for it, also where the column is NULL.
        value: From a text or ``None``, its tag and the key to what stands for it, equal to what ``sql`` gives.
        words: What it does, for people.
    """

    sql: Callable[[str, str], str]
    value: Callable[[str | None, str, MaskKey], str | None]
    words: str


def _stand_in(tag: str) -> str:
    """Return the first part of a pseudonym."""
    return {"personal_name": "person"}.get(tag, tag)


def _pseudonym_sql(column: str, tag: str) -> str:
    inner = f"unhex(sha256(${INNER_KEY} || encode({column})))"
    return f"CASE WHEN {column} IS NULL THEN NULL ELSE '{_stand_in(tag)}-' || left(sha256(${OUTER_KEY} || {inner}), 10) END"


def _pseudonym(value: str | None, tag: str, key: MaskKey) -> str | None:
    if value is None:
        return None
    inner = hashlib.sha256(key.inner + value.encode()).digest()
    return f"{_stand_in(tag)}-{hashlib.sha256(key.outer + inner).hexdigest()[:10]}"


MASK_METHODS: Final[Mapping[str, MaskMethod]] = {
    "null": MaskMethod(sql=lambda _column, _tag: "CAST(NULL AS VARCHAR)", value=lambda _value, _tag, _key: None, words="nothing"),
    "redact": MaskMethod(
        sql=lambda _column, _tag: f"'{REDACTED}'",
        value=lambda _value, _tag, _key: REDACTED,
        words=f"{REDACTED} for every value, and for none",
    ),
    "pseudonym": MaskMethod(sql=_pseudonym_sql, value=_pseudonym, words="the same stand-in for the same value"),
}
"""Every method, strictest first: a column with several tags that a person is not cleared for gets the strictest of their masks."""
