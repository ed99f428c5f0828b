"""Masks of single values, equal to those the SQL gateway applies, for answers that do not come through SQL.

Belongs here: one value in, its masked form out; a test holds it against the gateway's SQL. Does not belong here: whose mask applies
(``lab_assets.governance.policy``), the SQL form (``lab_assets.governance.masking``).
"""

from __future__ import annotations

import hashlib
from typing import Any

from lab_assets.governance.masking import REDACTED, MaskKey


def mask_value(value: Any, *, tag: str, method: str, key: MaskKey) -> Any:
    """Return what stands for a value that a person may not see; anything but text becomes ``None``.

    Args:
        value: The value.
        tag: Tag whose mask applies; names the pseudonym.
        method: ``null``, ``redact`` or ``pseudonym``; an unknown one hides like ``null``.
        key: The installation's key.
    """
    if value is None or not isinstance(value, str):
        return None
    if method == "redact":
        return REDACTED
    if method != "pseudonym":
        return None
    inner = hashlib.sha256(key.inner + value.encode()).digest()
    word = {"personal_name": "person"}.get(tag, tag)
    return f"{word}-{hashlib.sha256(key.outer + inner).hexdigest()[:10]}"
