"""Masks of single values, equal to those the SQL gateway applies, for answers that do not come through SQL.

Belongs here: one value in, its masked form out; a test holds it against the gateway's SQL. Does not belong here: whose mask applies
(``lab_assets.governance.policy``), the methods (``lab_assets.governance.mask_methods``).
"""

from __future__ import annotations

from typing import Any

from lab_assets.governance.mask_methods import MASK_METHODS, MaskKey


def mask_value(value: Any, *, kind: str, tag: str, method: str, key: MaskKey) -> Any:
    """Return what stands for a value that a person may not see.

    Args:
        value: The value.
        kind: Its kind in the contract; anything but text becomes ``None``, whatever the method.
        tag: Tag whose mask applies; names the pseudonym.
        method: One of ``MASK_METHODS``; an unknown one hides like ``null``.
        key: The installation's key.
    """
    if kind != "string" or method not in MASK_METHODS:
        return None
    return MASK_METHODS[method].value(value, tag, key)
