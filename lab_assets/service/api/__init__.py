"""The REST routes, one file a noun.

Belongs here: reading requests and writing answers. Does not belong here: what is answered (the modules beside ``api``).
"""

from __future__ import annotations

from base64 import b64encode
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import orjson
from fastapi import APIRouter
from fastapi.responses import Response


def json_response(content: Any, status_code: int = 200) -> Response:
    """Return JSON; floats that are not finite become null, bytes base64, other values text."""
    body = orjson.dumps(content, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    return Response(body, status_code=status_code, media_type="application/json")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return b64encode(value).decode("ascii") if isinstance(value, bytes) else str(value)


def all_routers() -> tuple[APIRouter, ...]:
    """Return the ``router`` of every module of this folder, in the order of their names."""
    names = sorted(module.name for module in iter_modules(__path__, f"{__name__}."))
    return tuple(import_module(name).router for name in names)
