"""The keys of a laboratory in a backup: apart from everything else, and readable with a passphrase alone.

Belongs here: encrypting, decrypting, making a passphrase. Does not belong here: where keys are used (``lab_assets.governance``).

AES-256-GCM under a key that scrypt derives from the passphrase (RFC 7914); the laboratory's id is bound to the text, so that keys of
another one are not taken for these.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lab_assets.ops.backup.folder import BackupError, BackupFolder

_SCRYPT: Final = {"n": 2**16, "r": 8, "p": 1}
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_GROUPS: Final = 6
_LETTERS: Final = "23456789abcdefghjkmnpqrstuvwxyz"
"""No two of these are taken for one another when they are written down."""


def new_passphrase() -> str:
    """Return a passphrase of 119 random bits, in groups that can be written down."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(_GROUPS))


def key_files(home: Path) -> dict[str, bytes]:
    """Return the keys of a home by their place below it."""
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in sorted((home / "run").glob("*.key")) if path.is_file()}


def fingerprints(keys: Mapping[str, bytes]) -> dict[str, str]:
    """Return what tells the same keys from others; they are random, so nothing can be worked out from it."""
    return {path: hashlib.sha256(b"lab-key\x00" + content).hexdigest() for path, content in keys.items()}


def encrypt(folder: BackupFolder, keys: Mapping[str, bytes], passphrase: str, *, home_id: str) -> str:
    """Write keys into a folder of backups, encrypted; return the name of the file."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = os.urandom(16), os.urandom(_NONCE_BYTES)
    plain = json.dumps({path: _text(content) for path, content in keys.items()}).encode()
    sealed = AESGCM(_derived(passphrase, salt, _SCRYPT)).encrypt(nonce, plain, home_id.encode())
    document = {"kdf": "scrypt", **_SCRYPT, "salt": _text(salt), "cipher": "AES-256-GCM", "nonce": _text(nonce), "sealed": _text(sealed)}
    content = json.dumps(document).encode()
    name = f"{hashlib.sha256(content).hexdigest()}.json"
    path = folder.keys_folder / name
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return name


def decrypt(folder: BackupFolder, name: str, passphrase: str, *, home_id: str) -> dict[str, bytes]:
    """Return the keys of a backup by their place below the home.

    Raises:
        BackupError: the passphrase is another one, or the file is missing or was changed.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    path = folder.keys_folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BackupError(f"{path}: the keys of the backup cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != name.removesuffix(".json"):
        raise BackupError(f"{path}: the keys of the backup were changed since they were written")
    document = json.loads(content)
    key = _derived(passphrase, _bytes(document["salt"]), {each: int(document[each]) for each in _SCRYPT})
    try:
        plain = AESGCM(key).decrypt(_bytes(document["nonce"]), _bytes(document["sealed"]), home_id.encode())
    except InvalidTag as error:
        raise BackupError(f"{path}: the passphrase is not the one that the keys of this backup were encrypted with") from error
    return {place: _bytes(value) for place, value in json.loads(plain).items()}


def _derived(passphrase: str, salt: bytes, cost: Mapping[str, Any]) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=_KEY_BYTES, n=cost["n"], r=cost["r"], p=cost["p"]).derive(passphrase.encode())


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
