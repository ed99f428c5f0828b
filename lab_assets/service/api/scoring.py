"""``POST /v1/score``: feature values in, risk and suggested review path out.

Belongs here: the fast path. Does not belong here: validation (``service/requests.py``), scoring (``service/scoring.py``).
"""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from lab_assets.features.definitions import FEATURE_NAMES, FEATURES
from lab_assets.service.api import json_response
from lab_assets.service.auth import Identity, Requires
from lab_assets.service.limits import read_json_body
from lab_assets.service.requests import parse_score
from lab_assets.service.serving import MODEL_NAME
from lab_assets.service.state import lab

router = APIRouter(prefix="/v1", tags=["scoring"])
EXECUTE = Requires("EXECUTE", f"model:{MODEL_NAME}")
_NAMES = frozenset(FEATURE_NAMES)
_FEATURE_SCHEMA = {
    feature.name: {"type": ["number", "null"], "description": feature.meaning + (f" [{feature.unit}]" if feature.unit else "")}
    for feature in FEATURES
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["checkpoint_pct", "features"],
            "additionalProperties": False,
            "properties": {
                "injection_id": {"type": ["string", "null"]},
                "lot_id": {"type": ["string", "null"]},
                "checkpoint_pct": {"type": "integer", "minimum": 1, "maximum": 100},
                "features": {"type": "object", "additionalProperties": False, "minProperties": 1, "properties": _FEATURE_SCHEMA},
            },
        }}},
    }
}  # fmt: skip


@router.post("/score", openapi_extra=_BODY)
async def score(request: Request, who: Annotated[Identity, Depends(EXECUTE)]) -> Response:
    """Score feature values; a feature that is not known is null or left out."""
    state = lab(request)
    began_s = time.perf_counter()
    asked = parse_score(await read_json_body(request), _NAMES)
    told = state.scorer.score_features(asked, user=who.name)
    state.metrics.score_count.inc()
    state.metrics.score_seconds.observe(time.perf_counter() - began_s)
    return json_response(told.to_json())
