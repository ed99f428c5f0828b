"""Values as the text of a JSON answer.

Belongs here: what JSON has no form for. Does not belong here: HTTP, reading JSON (``json_body.py``).
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson


def json_text(content: Any) -> bytes:
    """Return JSON; floats that are not finite become null, bytes base64, other values text."""
    return orjson.dumps(content, default=_plain, option=orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return b64encode(value).decode("ascii") if isinstance(value, bytes) else str(value)
