"""The REST routes, one file a noun.

Belongs here: reading requests and writing answers. Does not belong here: what is answered (the modules beside ``api``).
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from lab_assets.service.json_text import json_text


def json_response(content: Any, status_code: int = 200) -> Response:
    """Return JSON, as ``json_text``."""
    return Response(json_text(content), status_code=status_code, media_type="application/json")


def all_routers() -> tuple[APIRouter, ...]:
    """Return the ``router`` of every module of this folder, in the order of their names."""
    names = sorted(module.name for module in iter_modules(__path__, f"{__name__}."))
    return tuple(import_module(name).router for name in names)
