"""The REST routes, one file a noun.

Belongs here: reading requests and writing answers. Does not belong here: what is answered (the modules beside ``api``).
"""

from __future__ import annotations

from base64 import b64encode
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
    """Return the routers of every noun."""
    from lab_assets.service.api import audit, catalog, decisions, health, models, predictions, query, runs, scoring, sessions

    modules = (health, sessions, scoring, runs, predictions, decisions, query, catalog, models, audit)
    return tuple(module.router for module in modules)
