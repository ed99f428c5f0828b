"""The REST routes, one file a noun.

Belongs here: reading requests and writing answers. Does not belong here: what is answered (the modules beside ``api``).
"""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter
from fastapi.responses import Response


def json_response(content: Any, status_code: int = 200) -> Response:
    """Return JSON; floats that are not finite become null."""
    return Response(orjson.dumps(content), status_code=status_code, media_type="application/json")


def all_routers() -> tuple[APIRouter, ...]:
    """Return the routers of every noun."""
    from lab_assets.service.api import audit, catalog, decisions, health, models, predictions, query, runs, scoring, sessions

    modules = (health, sessions, scoring, runs, predictions, decisions, query, catalog, models, audit)
    return tuple(module.router for module in modules)
